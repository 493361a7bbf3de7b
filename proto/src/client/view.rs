//! Calls of those who watch a run.

use super::ApiError;
use super::api::{ApiClient, run_name};
use crate::model::{Name, RunReport, RunView};
use crate::pb::v1 as pb;
use crate::wire;

impl ApiClient {
    /// How a run stands right now; `number` `None` means the newest.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn get_run_view(
        &mut self,
        job: &Name,
        number: Option<u64>,
    ) -> Result<RunView, ApiError> {
        let request = pb::GetRunViewRequest { name: run_name(job, number) };
        Ok(wire::run_view_from(self.jobs.get_run_view(request).await?.into_inner())?)
    }

    /// What a run did, as far as it has come; `number` `None` means the newest.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn get_run_report(
        &mut self,
        job: &Name,
        number: Option<u64>,
    ) -> Result<RunReport, ApiError> {
        let request = pb::GetRunReportRequest { name: run_name(job, number) };
        Ok(wire::run_report_from(self.jobs.get_run_report(request).await?.into_inner())?)
    }
}
