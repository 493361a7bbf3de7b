//! QueueService.

use s3sync_proto::model::{Invalid, Name};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::queue_service_server::QueueService;
use s3sync_proto::wire;
use tonic::{Request, Response, Status};

use super::endpoints::{change_refused, id};
use super::jobs::{etag_of, request_key};
use super::merge::{Kind, Merge, merge};
use super::status::{missing, refused};
use super::update::Update;
use super::{Context, page, setup};
use crate::catalogue::{ChangeOptions, Editor, Precondition, Refused};

pub(super) struct Queues(pub(super) Context);

impl Queues {
    fn editor(&self) -> Editor {
        Editor::new(self.0.store.clone())
    }
}

#[tonic::async_trait]
impl QueueService for Queues {
    async fn get_queue(
        &self,
        request: Request<pb::GetQueueRequest>,
    ) -> Result<Response<pb::Queue>, Status> {
        let text = &request.get_ref().name;
        let name = wire::queue_name(text)?;
        let mut catalogue = self.0.store.catalogue().await.map_err(refused)?;
        let mut queue = catalogue.queues.remove(&name).ok_or_else(|| missing(text))?;
        queue.status =
            self.0.store.queue_status(&name, self.0.clock.now()).await.map_err(refused)?;
        Ok(Response::new(wire::queue_to(queue)))
    }

    async fn list_queues(
        &self,
        request: Request<pb::ListQueuesRequest>,
    ) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let pb::ListQueuesRequest { page_size, page_token } = request.into_inner();
        let catalogue = self.0.store.catalogue().await.map_err(refused)?;
        let named = catalogue.queues.into_iter().map(|(name, one)| (name.to_string(), one));
        let (mut queues, next_page_token) = page::by_name("queues", named, page_size, &page_token)?;
        let now = self.0.clock.now();
        for queue in &mut queues {
            queue.status = self.0.store.queue_status(&queue.name, now).await.map_err(refused)?;
        }
        let queues = queues.into_iter().map(wire::queue_to).collect();
        Ok(Response::new(pb::ListQueuesResponse { queues, next_page_token }))
    }

    async fn create_queue(
        &self,
        request: Request<pb::CreateQueueRequest>,
    ) -> Result<Response<pb::Queue>, Status> {
        let request = request.into_inner();
        let name = id("queue_id", &request.queue_id)?;
        let resource = wire::format_queue(&name);
        let key = request_key("CreateQueue", &request.request_id, &request, resource.clone())?;
        let spec = wire::queue_spec(request.queue.unwrap_or_default())?;
        let options = ChangeOptions { validate_only: request.validate_only, request: key };
        let now = self.0.clock.now();
        let made = self.editor().put_queue(&name, spec, Precondition::Absent, options, now).await;
        made.map(|made| Response::new(wire::queue_to(made)))
            .map_err(|error| change_refused(&resource, error))
    }

    async fn update_queue(
        &self,
        request: Request<pb::UpdateQueueRequest>,
    ) -> Result<Response<pb::Queue>, Status> {
        let pb::UpdateQueueRequest { queue, update_mask, allow_missing, validate_only } =
            request.into_inner();
        let queue = queue.ok_or_else(|| Invalid::one("queue", "is missing"))?;
        let name = wire::queue_name(&queue.name)?;
        let update = Update {
            paths: update_mask.map(|mask| mask.paths).unwrap_or_default(),
            etag: etag_of(&queue.etag),
            allow_missing,
        };
        let made = merge(self, &name, queue, update, validate_only).await?;
        let resource = wire::format_queue(&name);
        made.map(|made| Response::new(wire::queue_to(made)))
            .map_err(|error| change_refused(&resource, error))
    }

    async fn delete_queue(
        &self,
        request: Request<pb::DeleteQueueRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteQueueRequest { name: text, etag } = request.into_inner();
        let name = wire::queue_name(&text)?;
        let deleted = self.editor().delete_queue(&name, etag_of(&etag), self.0.clock.now()).await;
        deleted.map(Response::new).map_err(|error| change_refused(&text, error))
    }

    async fn check_queue(
        &self,
        request: Request<pb::CheckQueueRequest>,
    ) -> Result<Response<pb::CheckQueueResponse>, Status> {
        let checked = setup::queue(&self.0, request.into_inner());
        self.0.unless_stopping(checked).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl Kind for Queues {
    type Wire = pb::Queue;
    type Made = s3sync_proto::model::Queue;

    async fn read(&self, name: &Name) -> Result<Option<Self::Wire>, Status> {
        let mut catalogue = self.0.store.catalogue().await.map_err(refused)?;
        Ok(catalogue.queues.remove(name).map(wire::queue_to))
    }

    async fn write(
        &self,
        name: &Name,
        one: Self::Wire,
        precondition: Precondition,
        validate_only: bool,
    ) -> Result<Result<Self::Made, Refused>, Status> {
        let spec = wire::queue_spec(one)?;
        let options = ChangeOptions { validate_only, request: None };
        Ok(self.editor().put_queue(name, spec, precondition, options, self.0.clock.now()).await)
    }
}

impl Merge for pb::Queue {
    fn etag(&self) -> &String {
        &self.etag
    }

    fn masked(mut self, new: Self, paths: &[String]) -> Result<Self, Invalid> {
        for path in paths {
            match path.as_str() {
                "*" => return Ok(new),
                "url" => self.url.clone_from(&new.url),
                "endpoint" => self.endpoint.clone_from(&new.endpoint),
                "receivers" => self.receivers = new.receivers,
                other => {
                    let text = format!("{other:?} cannot be changed; use url, endpoint, receivers");
                    return Err(Invalid::one("update_mask", text));
                }
            }
        }
        Ok(self)
    }
}
