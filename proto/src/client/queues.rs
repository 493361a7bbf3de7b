//! Calls about queues.

use super::ApiError;
use super::api::{ApiClient, Page, Precondition, WriteOptions, page, page_size};
use crate::model::{Name, Queue, QueueCheck, QueueSpec, Timestamp};
use crate::pb::v1 as pb;
use crate::wire;

impl ApiClient {
    /// One queue.
    ///
    /// # Errors
    /// See the .proto file, as for all calls.
    pub async fn get_queue(&mut self, name: &Name) -> Result<Queue, ApiError> {
        let request = pb::GetQueueRequest { name: wire::format_queue(name) };
        Ok(wire::queue_from(self.queues.get_queue(request).await?.into_inner())?)
    }

    /// A page of queues.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_queues(&mut self, size: u32, token: &str) -> Result<Page<Queue>, ApiError> {
        let request =
            pb::ListQueuesRequest { page_size: page_size(size), page_token: token.to_owned() };
        let answer = self.queues.list_queues(request).await?.into_inner();
        page(answer.queues, answer.next_page_token, wire::queue_from)
    }

    /// Creates or replaces a queue.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn put_queue(
        &mut self,
        name: &Name,
        spec: &QueueSpec,
        precondition: Precondition,
        options: WriteOptions,
    ) -> Result<Queue, ApiError> {
        let mut queue = wire::queue_to(Queue {
            name: name.clone(),
            spec: spec.clone(),
            etag: String::new(),
            created: Timestamp::default(),
            updated: Timestamp::default(),
            status: None,
        });
        let WriteOptions { validate_only, request_id } = options;
        let allow_missing = matches!(precondition, Precondition::Any(_));
        let answer = match precondition {
            Precondition::Absent => {
                let request = pb::CreateQueueRequest {
                    queue_id: name.to_string(),
                    queue: Some(queue),
                    validate_only,
                    request_id: request_id.unwrap_or_default(),
                };
                self.queues.create_queue(request).await?
            }
            Precondition::Exists(etag) | Precondition::Any(etag) => {
                queue.etag = etag.unwrap_or_default();
                let request = pb::UpdateQueueRequest {
                    queue: Some(queue),
                    update_mask: None,
                    allow_missing,
                    validate_only,
                };
                self.queues.update_queue(request).await?
            }
        };
        Ok(wire::queue_from(answer.into_inner())?)
    }

    /// Deletes a queue.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn delete_queue(
        &mut self,
        name: &Name,
        etag: Option<String>,
    ) -> Result<(), ApiError> {
        let request = pb::DeleteQueueRequest {
            name: wire::format_queue(name),
            etag: etag.unwrap_or_default(),
        };
        self.queues.delete_queue(request).await?;
        Ok(())
    }

    /// Has agents look at how a queue and the source buckets are set up.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn check_queue(&mut self, name: &Name) -> Result<QueueCheck, ApiError> {
        let request = pb::CheckQueueRequest { name: wire::format_queue(name) };
        Ok(wire::queue_checked_from(self.queues.check_queue(request).await?.into_inner())?)
    }
}
