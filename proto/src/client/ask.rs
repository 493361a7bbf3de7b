//! Calls that have agents look at something.

use super::ApiError;
use super::api::ApiClient;
use crate::model::{EndpointProbe, Explanation, Key, Name};
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
}
