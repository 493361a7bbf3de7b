//! Approvals of deletes.

use super::ApiError;
use super::api::{ApiClient, run_name};
use crate::model::{Name, Run};
use crate::pb::v1 as pb;
use crate::wire;

impl ApiClient {
    /// Approves the deletes of a run as they were shown: `etag` is that of its [`Run::deletes`].
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn approve_run(
        &mut self,
        job: &Name,
        number: Option<u64>,
        etag: &str,
    ) -> Result<Run, ApiError> {
        let request = pb::ApproveRunRequest { name: run_name(job, number), etag: etag.to_owned() };
        Ok(wire::run_from(self.jobs.approve_run(request).await?.into_inner())?)
    }
}
