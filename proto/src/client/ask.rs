//! Calls that have agents look at something.

use tokio_stream::{Stream, StreamExt as _};

use super::ApiError;
use super::api::ApiClient;
use crate::model::{Difference, EndpointProbe, Explanation, Job, JobPlan, JobSpec, Key, Name};
use crate::pb::v1 as pb;
use crate::wire;

impl ApiClient {
    /// How a key stands at all destinations of a job now. With `bucket`, the key is the full key there.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn explain_key(
        &mut self,
        job: &Name,
        key: &Key,
        bucket: Option<&str>,
    ) -> Result<Explanation, ApiError> {
        let request = pb::ExplainKeyRequest {
            name: wire::format_job(job),
            key: key.clone().into_bytes(),
            bucket: bucket.unwrap_or_default().to_owned(),
        };
        Ok(wire::key_explained_from(self.jobs.explain_key(request).await?.into_inner())?)
    }

    /// Forgets what was learned of an endpoint's buckets, and has agents look again.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn probe_endpoint(
        &mut self,
        name: &Name,
        bucket: Option<&str>,
    ) -> Result<EndpointProbe, ApiError> {
        let request = pb::ProbeEndpointRequest {
            name: wire::format_endpoint(name),
            bucket: bucket.unwrap_or_default().to_owned(),
        };
        Ok(wire::probed_from(self.endpoints.probe_endpoint(request).await?.into_inner())?)
    }

    /// What a run of a job would do now; of the recorded settings, or of these instead. Each message has the plan so far,
    /// and what was found since the one before when `differences` are wanted. Dropped, the plan ends.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn plan_job(
        &mut self,
        name: &Name,
        spec: Option<&JobSpec>,
        differences: bool,
    ) -> Result<impl Stream<Item = Result<(JobPlan, Vec<Difference>), ApiError>> + use<>, ApiError>
    {
        let job = spec.map(|spec| wire::job_to(Job::asked(name.clone(), spec.clone())));
        let request = pb::PlanJobRequest { name: wire::format_job(name), job, differences };
        let stream = self.jobs.plan_job(request).await?.into_inner();
        Ok(stream.map(|message| Ok(wire::planned_from(message?)?)))
    }
}
