//! EndpointService.

use s3sync_proto::model::{Invalid, Name};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::endpoint_service_server::EndpointService;
use s3sync_proto::status::{precondition_failed, reason, status};
use s3sync_proto::wire;
use tonic::{Code, Request, Response, Status};

use super::merge::{Kind, Merge, merge};
use super::status::{etag_mismatch, exists, missing, refused};
use super::update::Update;
use super::{Context, page, probe};
use crate::catalogue::{ChangeOptions, Editor, Precondition, Refused};
use crate::grpc::jobs::{etag_of, request_key};

pub(super) struct Endpoints(pub(super) Context);

impl Endpoints {
    fn editor(&self) -> Editor {
        Editor::new(self.0.store.clone())
    }
}

/// A refused change as a status.
pub(super) fn change_refused(name: &str, error: Refused) -> Status {
    match error {
        Refused::Invalid(invalid) => invalid.into(),
        Refused::Exists => exists(name),
        Refused::Missing => missing(name),
        Refused::Changed(current) => etag_mismatch(name, &current),
        Refused::InUse(users) => {
            let message =
                format!("{name} is used by {}; change or delete these first", users.join(", "));
            let queue = name.starts_with("queues/");
            let reason = if queue { reason::QUEUE_IN_USE } else { reason::ENDPOINT_IN_USE };
            precondition_failed(reason, message, users)
        }
        Refused::Store(crate::store::Error::RunActive(run)) => {
            let message = format!("{run} has not ended; wait for it or cancel it");
            status(Code::FailedPrecondition, reason::JOB_HAS_ACTIVE_RUN, message)
        }
        Refused::Store(error) => refused(error),
    }
}

#[tonic::async_trait]
impl EndpointService for Endpoints {
    async fn get_endpoint(
        &self,
        request: Request<pb::GetEndpointRequest>,
    ) -> Result<Response<pb::Endpoint>, Status> {
        let text = &request.get_ref().name;
        let name = wire::endpoint_name(text)?;
        let mut catalogue = self.0.store.catalogue().await.map_err(refused)?;
        let endpoint = catalogue.endpoints.remove(&name).ok_or_else(|| missing(text))?;
        Ok(Response::new(wire::endpoint_to(endpoint)))
    }

    async fn list_endpoints(
        &self,
        request: Request<pb::ListEndpointsRequest>,
    ) -> Result<Response<pb::ListEndpointsResponse>, Status> {
        let pb::ListEndpointsRequest { page_size, page_token } = request.into_inner();
        let catalogue = self.0.store.catalogue().await.map_err(refused)?;
        let named = catalogue
            .endpoints
            .into_iter()
            .map(|(name, one)| (name.to_string(), wire::endpoint_to(one)));
        let (endpoints, next_page_token) =
            page::by_name("endpoints", named, page_size, &page_token)?;
        Ok(Response::new(pb::ListEndpointsResponse { endpoints, next_page_token }))
    }

    async fn create_endpoint(
        &self,
        request: Request<pb::CreateEndpointRequest>,
    ) -> Result<Response<pb::Endpoint>, Status> {
        let request = request.into_inner();
        let name = id("endpoint_id", &request.endpoint_id)?;
        let resource = wire::format_endpoint(&name);
        let key = request_key("CreateEndpoint", &request.request_id, &request, resource.clone())?;
        let spec = wire::endpoint_spec(request.endpoint.unwrap_or_default())?;
        let options = ChangeOptions { validate_only: request.validate_only, request: key };
        let made = self
            .editor()
            .put_endpoint(&name, spec, Precondition::Absent, options, self.0.clock.now())
            .await;
        made.map(|made| Response::new(wire::endpoint_to(made)))
            .map_err(|error| change_refused(&resource, error))
    }

    async fn update_endpoint(
        &self,
        request: Request<pb::UpdateEndpointRequest>,
    ) -> Result<Response<pb::Endpoint>, Status> {
        let pb::UpdateEndpointRequest { endpoint, update_mask, allow_missing, validate_only } =
            request.into_inner();
        let endpoint = endpoint.ok_or_else(|| Invalid::one("endpoint", "is missing"))?;
        let name = wire::endpoint_name(&endpoint.name)?;
        let update = Update {
            paths: update_mask.map(|mask| mask.paths).unwrap_or_default(),
            etag: etag_of(&endpoint.etag),
            allow_missing,
        };
        let made = merge(self, &name, endpoint, update, validate_only).await?;
        let resource = wire::format_endpoint(&name);
        made.map(|made| Response::new(wire::endpoint_to(made)))
            .map_err(|error| change_refused(&resource, error))
    }

    async fn delete_endpoint(
        &self,
        request: Request<pb::DeleteEndpointRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteEndpointRequest { name: text, etag } = request.into_inner();
        let name = wire::endpoint_name(&text)?;
        let deleted =
            self.editor().delete_endpoint(&name, etag_of(&etag), self.0.clock.now()).await;
        deleted.map(Response::new).map_err(|error| change_refused(&text, error))
    }

    async fn probe_endpoint(
        &self,
        request: Request<pb::ProbeEndpointRequest>,
    ) -> Result<Response<pb::ProbeEndpointResponse>, Status> {
        let probed = probe::endpoint(&self.0, request.into_inner());
        self.0.unless_stopping(probed).await.map(Response::new)
    }
}

/// The id of a resource to create.
pub(super) fn id(field: &str, text: &str) -> Result<Name, Invalid> {
    text.parse()
        .map_err(|error: s3sync_proto::model::NotAName| Invalid::one(field, error.to_string()))
}

#[tonic::async_trait]
impl Kind for Endpoints {
    type Wire = pb::Endpoint;
    type Made = s3sync_proto::model::Endpoint;

    async fn read(&self, name: &Name) -> Result<Option<Self::Wire>, Status> {
        let mut catalogue = self.0.store.catalogue().await.map_err(refused)?;
        Ok(catalogue.endpoints.remove(name).map(wire::endpoint_to))
    }

    async fn write(
        &self,
        name: &Name,
        one: Self::Wire,
        precondition: Precondition,
        validate_only: bool,
    ) -> Result<Result<Self::Made, Refused>, Status> {
        let spec = wire::endpoint_spec(one)?;
        let options = ChangeOptions { validate_only, request: None };
        Ok(self.editor().put_endpoint(name, spec, precondition, options, self.0.clock.now()).await)
    }
}

impl Merge for pb::Endpoint {
    fn etag(&self) -> &String {
        &self.etag
    }

    fn masked(mut self, new: Self, paths: &[String]) -> Result<Self, Invalid> {
        for path in paths {
            match path.as_str() {
                "*" => return Ok(new),
                "region" => self.region.clone_from(&new.region),
                "url" => self.url.clone_from(&new.url),
                "path_style" => self.path_style = new.path_style,
                "etags" => self.etags = new.etags,
                "max_object_size" => self.max_object_size = new.max_object_size,
                other => {
                    let text = format!(
                        "{other:?} cannot be changed; use region, url, path_style, etags, max_object_size"
                    );
                    return Err(Invalid::one("update_mask", text));
                }
            }
        }
        Ok(self)
    }
}
