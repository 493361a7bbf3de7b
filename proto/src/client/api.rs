//! The public API's client.

use tokio_stream::{Stream, StreamExt as _};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::{ApiError, Code, ConnectOptions, Credentials, MAX_API_MESSAGE};
use crate::model::{
    Agent, Endpoint, EndpointSpec, Failure, FailureClass, FailureGroup, Invalid, Job, JobSpec,
    Name, Run,
};
use crate::pb::v1 as pb;
use crate::wire;

type Wire = InterceptedService<Channel, Credentials>;

/// Calls the public API.
#[derive(Clone, Debug)]
pub struct ApiClient {
    pub(super) endpoints: pb::endpoint_service_client::EndpointServiceClient<Wire>,
    pub(super) jobs: pb::job_service_client::JobServiceClient<Wire>,
    agents: pb::agent_admin_service_client::AgentAdminServiceClient<Wire>,
    pub(super) queues: pb::queue_service_client::QueueServiceClient<Wire>,
    pub(super) audit: pb::audit_service_client::AuditServiceClient<Wire>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Token of the next page.
    pub next: Option<String>,
}

/// What must be so for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is none of that name.
    Absent,
    /// There is one; with an etag, it is still that one.
    Exists(Option<String>),
    /// Either way; with an etag, what exists is still that one.
    Any(Option<String>),
}

/// How a write is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Check only.
    pub validate_only: bool,
    /// A UUID; a repetition within a day has no further effect.
    pub request_id: Option<String>,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// A run as it was at the beginning.
    Snapshot(Run),
    /// The snapshot is complete.
    SnapshotEnd,
    /// A run that began, changed or ended.
    Changed(Run),
}

impl ApiClient {
    /// A client for a server; connects when first used.
    ///
    /// # Errors
    /// When the options contradict themselves.
    pub fn new(options: &ConnectOptions) -> Result<Self, ApiError> {
        Ok(Self::over(options.channel()?, options.credentials()))
    }

    /// A client over a channel.
    #[must_use]
    pub fn over(channel: Channel, credentials: Credentials) -> Self {
        let wire = || InterceptedService::new(channel.clone(), credentials.clone());
        Self {
            endpoints: pb::endpoint_service_client::EndpointServiceClient::new(wire())
                .max_decoding_message_size(MAX_API_MESSAGE),
            jobs: pb::job_service_client::JobServiceClient::new(wire())
                .max_decoding_message_size(MAX_API_MESSAGE),
            agents: pb::agent_admin_service_client::AgentAdminServiceClient::new(wire())
                .max_decoding_message_size(MAX_API_MESSAGE),
            queues: pb::queue_service_client::QueueServiceClient::new(wire())
                .max_decoding_message_size(MAX_API_MESSAGE),
            audit: pb::audit_service_client::AuditServiceClient::new(wire())
                .max_decoding_message_size(MAX_API_MESSAGE),
        }
    }

    // --- endpoints ---

    /// One endpoint.
    ///
    /// # Errors
    /// See the .proto file, as for all calls.
    pub async fn get_endpoint(&mut self, name: &Name) -> Result<Endpoint, ApiError> {
        let request = pb::GetEndpointRequest { name: wire::format_endpoint(name) };
        Ok(wire::endpoint_from(self.endpoints.get_endpoint(request).await?.into_inner())?)
    }

    /// A page of endpoints.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_endpoints(
        &mut self,
        size: u32,
        token: &str,
    ) -> Result<Page<Endpoint>, ApiError> {
        let request =
            pb::ListEndpointsRequest { page_size: page_size(size), page_token: token.to_owned() };
        let answer = self.endpoints.list_endpoints(request).await?.into_inner();
        page(answer.endpoints, answer.next_page_token, wire::endpoint_from)
    }

    /// Creates or replaces an endpoint.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn put_endpoint(
        &mut self,
        name: &Name,
        spec: &EndpointSpec,
        precondition: Precondition,
        options: WriteOptions,
    ) -> Result<Endpoint, ApiError> {
        let model = Endpoint {
            name: name.clone(),
            spec: spec.clone(),
            buckets: Vec::new(),
            etag: String::new(),
            created: crate::model::Timestamp::default(),
            updated: crate::model::Timestamp::default(),
        };
        let mut endpoint = wire::endpoint_to(model);
        let (WriteOptions { validate_only, request_id }, allow_missing) =
            (options, matches!(precondition, Precondition::Any(_)));
        let answer = match precondition {
            Precondition::Absent => {
                let request = pb::CreateEndpointRequest {
                    endpoint_id: name.to_string(),
                    endpoint: Some(endpoint),
                    validate_only,
                    request_id: request_id.unwrap_or_default(),
                };
                self.endpoints.create_endpoint(request).await?
            }
            Precondition::Exists(etag) | Precondition::Any(etag) => {
                endpoint.etag = etag.unwrap_or_default();
                let request = pb::UpdateEndpointRequest {
                    endpoint: Some(endpoint),
                    update_mask: None,
                    allow_missing,
                    validate_only,
                };
                self.endpoints.update_endpoint(request).await?
            }
        };
        Ok(wire::endpoint_from(answer.into_inner())?)
    }

    /// Deletes an endpoint.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn delete_endpoint(
        &mut self,
        name: &Name,
        etag: Option<String>,
    ) -> Result<(), ApiError> {
        let request = pb::DeleteEndpointRequest {
            name: wire::format_endpoint(name),
            etag: etag.unwrap_or_default(),
        };
        self.endpoints.delete_endpoint(request).await?;
        Ok(())
    }

    // --- jobs ---

    /// One job.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn get_job(&mut self, name: &Name) -> Result<Job, ApiError> {
        let request = pb::GetJobRequest { name: wire::format_job(name) };
        Ok(wire::job_from(self.jobs.get_job(request).await?.into_inner())?)
    }

    /// A page of jobs.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_jobs(&mut self, size: u32, token: &str) -> Result<Page<Job>, ApiError> {
        let request =
            pb::ListJobsRequest { page_size: page_size(size), page_token: token.to_owned() };
        let answer = self.jobs.list_jobs(request).await?.into_inner();
        page(answer.jobs, answer.next_page_token, wire::job_from)
    }

    /// Creates or replaces a job.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn put_job(
        &mut self,
        name: &Name,
        spec: &JobSpec,
        precondition: Precondition,
        options: WriteOptions,
    ) -> Result<Job, ApiError> {
        let mut job = wire::job_to(Job::asked(name.clone(), spec.clone()));
        let (WriteOptions { validate_only, request_id }, allow_missing) =
            (options, matches!(precondition, Precondition::Any(_)));
        let answer = match precondition {
            Precondition::Absent => {
                let request = pb::CreateJobRequest {
                    job_id: name.to_string(),
                    job: Some(job),
                    validate_only,
                    request_id: request_id.unwrap_or_default(),
                };
                self.jobs.create_job(request).await?
            }
            Precondition::Exists(etag) | Precondition::Any(etag) => {
                job.etag = etag.unwrap_or_default();
                let request = pb::UpdateJobRequest {
                    job: Some(job),
                    update_mask: None,
                    allow_missing,
                    validate_only,
                };
                self.jobs.update_job(request).await?
            }
        };
        Ok(wire::job_from(answer.into_inner())?)
    }

    /// Pauses a job, or lets it go on: a paused one starts no run by itself. A run that is going on goes on.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn set_job_paused(&mut self, name: &Name, paused: bool) -> Result<Job, ApiError> {
        let job = pb::Job { name: wire::format_job(name), paused, ..pb::Job::default() };
        let request = pb::UpdateJobRequest {
            job: Some(job),
            update_mask: Some(prost_types::FieldMask { paths: vec!["paused".to_owned()] }),
            allow_missing: false,
            validate_only: false,
        };
        Ok(wire::job_from(self.jobs.update_job(request).await?.into_inner())?)
    }

    /// Deletes a job.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn delete_job(&mut self, name: &Name, etag: Option<String>) -> Result<(), ApiError> {
        let request =
            pb::DeleteJobRequest { name: wire::format_job(name), etag: etag.unwrap_or_default() };
        self.jobs.delete_job(request).await?;
        Ok(())
    }

    /// Starts a run.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn run_job(
        &mut self,
        name: &Name,
        request_id: Option<String>,
    ) -> Result<Run, ApiError> {
        let request = pb::RunJobRequest {
            name: wire::format_job(name),
            request_id: request_id.unwrap_or_default(),
        };
        Ok(wire::run_from(self.jobs.run_job(request).await?.into_inner())?)
    }

    // --- runs ---

    /// One run; `number` `None` means the newest.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn get_run(&mut self, job: &Name, number: Option<u64>) -> Result<Run, ApiError> {
        let request = pb::GetRunRequest { name: run_name(job, number) };
        Ok(wire::run_from(self.jobs.get_run(request).await?.into_inner())?)
    }

    /// A page of runs, newest first, of a job or of all.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_runs(
        &mut self,
        job: Option<&Name>,
        size: u32,
        token: &str,
    ) -> Result<Page<Run>, ApiError> {
        let request = pb::ListRunsRequest {
            parent: job_parent(job),
            page_size: page_size(size),
            page_token: token.to_owned(),
        };
        let answer = self.jobs.list_runs(request).await?.into_inner();
        page(answer.runs, answer.next_page_token, wire::run_from)
    }

    /// Watches one run until it has ended.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn watch_run(
        &mut self,
        job: &Name,
        number: u64,
    ) -> Result<impl Stream<Item = Result<WatchEvent, ApiError>> + use<>, ApiError> {
        let run = run_name(job, Some(number));
        self.watch(pb::WatchRunsRequest { parent: String::new(), run }).await
    }

    /// Watches the runs of a job or of all until the caller stops.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn watch_runs(
        &mut self,
        job: Option<&Name>,
    ) -> Result<impl Stream<Item = Result<WatchEvent, ApiError>> + use<>, ApiError> {
        self.watch(pb::WatchRunsRequest { parent: job_parent(job), run: String::new() }).await
    }

    async fn watch(
        &mut self,
        request: pb::WatchRunsRequest,
    ) -> Result<impl Stream<Item = Result<WatchEvent, ApiError>> + use<>, ApiError> {
        let stream = self.jobs.watch_runs(request).await?.into_inner();
        Ok(stream.map(|message| watch_event(message?)))
    }

    /// Cancels a run.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn cancel_run(&mut self, job: &Name, number: Option<u64>) -> Result<Run, ApiError> {
        let request = pb::CancelRunRequest { name: run_name(job, number) };
        Ok(wire::run_from(self.jobs.cancel_run(request).await?.into_inner())?)
    }

    /// Pauses a run.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn pause_run(&mut self, job: &Name, number: Option<u64>) -> Result<Run, ApiError> {
        let request = pb::PauseRunRequest { name: run_name(job, number) };
        Ok(wire::run_from(self.jobs.pause_run(request).await?.into_inner())?)
    }

    /// Lets a paused run go on.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn resume_run(&mut self, job: &Name, number: Option<u64>) -> Result<Run, ApiError> {
        let request = pb::ResumeRunRequest { name: run_name(job, number) };
        Ok(wire::run_from(self.jobs.resume_run(request).await?.into_inner())?)
    }

    /// Starts a run over the failures of another.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn retry_run_failures(
        &mut self,
        job: &Name,
        number: Option<u64>,
        request_id: Option<String>,
    ) -> Result<Run, ApiError> {
        let request = pb::RetryRunFailuresRequest {
            name: run_name(job, number),
            request_id: request_id.unwrap_or_default(),
        };
        Ok(wire::run_from(self.jobs.retry_run_failures(request).await?.into_inner())?)
    }

    /// A run's failures by class and code, and how many there are in all.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn group_failures(
        &mut self,
        job: &Name,
        number: Option<u64>,
    ) -> Result<(Vec<FailureGroup>, u64), ApiError> {
        let request = pb::GroupFailuresRequest { parent: run_name(job, number) };
        let answer = self.jobs.group_failures(request).await?.into_inner();
        let total = u64::try_from(answer.total_size).unwrap_or_default();
        Ok((page(answer.groups, String::new(), wire::failure_group_from)?.items, total))
    }

    /// A page of a run's failures, of one class or of all, and how many there are in all.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_failures(
        &mut self,
        job: &Name,
        number: Option<u64>,
        class: Option<FailureClass>,
        size: u32,
        token: &str,
    ) -> Result<(Page<Failure>, u64), ApiError> {
        let request = pb::ListFailuresRequest {
            parent: run_name(job, number),
            class: wire::failure_class_to(class),
            page_size: page_size(size),
            page_token: token.to_owned(),
        };
        let answer = self.jobs.list_failures(request).await?.into_inner();
        let total = u64::try_from(answer.total_size).unwrap_or_default();
        Ok((page(answer.failures, answer.next_page_token, wire::failure_from)?, total))
    }

    // --- agents ---

    /// One agent.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn get_agent(&mut self, name: &Name) -> Result<Agent, ApiError> {
        let request = pb::GetAgentRequest { name: wire::format_agent(name) };
        Ok(wire::agent_from(self.agents.get_agent(request).await?.into_inner())?)
    }

    /// A page of agents.
    ///
    /// # Errors
    /// See the .proto file.
    pub async fn list_agents(&mut self, size: u32, token: &str) -> Result<Page<Agent>, ApiError> {
        let request =
            pb::ListAgentsRequest { page_size: page_size(size), page_token: token.to_owned() };
        let answer = self.agents.list_agents(request).await?.into_inner();
        page(answer.agents, answer.next_page_token, wire::agent_from)
    }
}

pub(super) fn page_size(size: u32) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

pub(super) fn run_name(job: &Name, number: Option<u64>) -> String {
    match number {
        Some(number) => format!("jobs/{job}/runs/{number}"),
        None => format!("jobs/{job}/runs/-"),
    }
}

fn job_parent(job: Option<&Name>) -> String {
    job.map_or_else(|| "jobs/-".to_owned(), wire::format_job)
}

pub(super) fn page<W, M>(
    items: Vec<W>,
    next: String,
    convert: impl Fn(W) -> Result<M, Invalid>,
) -> Result<Page<M>, ApiError> {
    let items = items.into_iter().map(convert).collect::<Result<_, _>>()?;
    Ok(Page { items, next: Some(next).filter(|next| !next.is_empty()) })
}

fn watch_event(message: pb::WatchRunsResponse) -> Result<WatchEvent, ApiError> {
    use pb::watch_runs_response::Kind;
    let kind = message.kind();
    let run = message.run.map(wire::run_from).transpose()?;
    match (kind, run) {
        (Kind::SnapshotEnd, _) => Ok(WatchEvent::SnapshotEnd),
        (Kind::Snapshot, Some(run)) => Ok(WatchEvent::Snapshot(run)),
        (Kind::Changed, Some(run)) => Ok(WatchEvent::Changed(run)),
        (Kind::Unspecified | Kind::Snapshot | Kind::Changed, _) => {
            Err(ApiError::local(Code::Internal, "the server sent a change without a run"))
        }
    }
}
