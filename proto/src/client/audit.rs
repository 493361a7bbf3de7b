//! Calls about the audit log.

use super::ApiError;
use super::api::{ApiClient, Page, page, page_size};
use crate::model::AuditEntry;
use crate::pb::v1 as pb;
use crate::wire;

impl ApiClient {
    /// A page of the audit log, newest first; of one resource and what is below it, or of all (empty).
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_audit_entries(
        &mut self,
        resource: &str,
        size: u32,
        token: &str,
    ) -> Result<Page<AuditEntry>, ApiError> {
        let request = pb::ListAuditEntriesRequest {
            page_size: page_size(size),
            page_token: token.to_owned(),
            resource: resource.to_owned(),
        };
        let answer = self.audit.list_audit_entries(request).await?.into_inner();
        page(answer.entries, answer.next_page_token, wire::audit_entry_from)
    }
}
