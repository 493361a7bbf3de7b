//! JobService: jobs and their runs.

use prost::Message;
use s3sync_proto::model::{Invalid, Job, Key, LastRun, Name, Run, RunName, Trigger};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::job_service_server::JobService;
use s3sync_proto::wire;
use sha2::{Digest as _, Sha256};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::endpoints::{change_refused, id};
use super::merge::{Kind, Merge, merge};
use super::status::{missing, refused};
use super::update::Update;
use super::{Context, explain, page, plan, trace, view, watch};
use crate::catalogue::{ChangeOptions, Editor, Precondition, Refused};
use crate::plan::check;
use crate::plan::schedule::upcoming;
use crate::store::{Catalogue, Error, RequestKey, StartRun};

/// Next times that are told of a single job.
const NEXT_STARTS: usize = 3;

pub(super) struct Jobs(pub(super) Context);

impl Jobs {
    fn editor(&self) -> Editor {
        Editor::new(self.0.store.clone())
    }

    async fn must_exist(&self, job: &Name, text: &str) -> Result<(), Status> {
        let catalogue = self.0.store.catalogue().await.map_err(refused)?;
        if catalogue.jobs.contains_key(job) { Ok(()) } else { Err(missing(text)) }
    }

    /// How a job's newest run stands. A job may have gone since it was read, and its runs with it.
    async fn last_run(&self, job: &Job) -> Result<Option<LastRun>, Status> {
        if job.latest_run.is_none() {
            return Ok(None);
        }
        match self.0.store.run(&job.name, None).await {
            Ok(Run { name, state, created, ended, .. }) => {
                Ok(Some(LastRun { name, state, created, ended }))
            }
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// The full name of a run that may have been asked for as the newest.
    async fn run_name(&self, text: &str) -> Result<RunName, Status> {
        let (job, number) = wire::parse_run(text)?;
        match number {
            Some(number) => Ok(RunName { job, number }),
            None => Ok(self.0.store.run(&job, None).await.map_err(refused)?.name),
        }
    }
}

/// An etag that was sent, if one was.
pub(super) fn etag_of(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|etag| !etag.is_empty())
}

/// The key of a request id; `None` when the client sent none.
pub(super) fn request_key(
    method: &'static str,
    id: &str,
    request: &impl Message,
    resource: String,
) -> Result<Option<RequestKey>, Invalid> {
    if id.is_empty() {
        return Ok(None);
    }
    let hex = id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if !hex || !id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) {
        return Err(Invalid::one("request_id", format!("{id:?} is not a UUID")));
    }
    let digest = Sha256::digest(request.encode_to_vec());
    let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(RequestKey { method, id: id.to_lowercase(), fingerprint, resource }))
}

/// A job with its warnings.
fn warned(name: &Name, mut job: Job, catalogue: &Catalogue) -> pb::Job {
    job.warnings = check::check_job(name, &job.spec, catalogue).unwrap_or_default();
    wire::job_to(job)
}

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchRunsStream = ReceiverStream<Result<pb::WatchRunsResponse, Status>>;
    type PlanJobStream = ReceiverStream<Result<pb::PlanJobResponse, Status>>;

    async fn get_job(
        &self,
        request: Request<pb::GetJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let text = &request.get_ref().name;
        let name = wire::job_name(text)?;
        let catalogue = self.0.store.catalogue().await.map_err(refused)?;
        let mut job = catalogue.jobs.get(&name).cloned().ok_or_else(|| missing(text))?;
        let timing = job.spec.schedule.as_ref().and_then(|schedule| schedule.timing.as_ref());
        if let (Some(timing), Some(next)) = (timing, job.next_starts.first()) {
            job.next_starts = upcoming(timing, *next, NEXT_STARTS);
        }
        job.following = self.0.store.following(&name, self.0.clock.now()).await.map_err(refused)?;
        job.last = self.last_run(&job).await?;
        Ok(Response::new(warned(&name, job, &catalogue)))
    }

    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let pb::ListJobsRequest { page_size, page_token } = request.into_inner();
        let catalogue = self.0.store.catalogue().await.map_err(refused)?;
        let named = catalogue.jobs.values().map(|job| (job.name.to_string(), job.clone()));
        let (mut jobs, next_page_token) = page::by_name("jobs", named, page_size, &page_token)?;
        let now = self.0.clock.now();
        for job in &mut jobs {
            if job.spec.events.is_some() {
                job.following = self.0.store.following(&job.name, now).await.map_err(refused)?;
            }
            job.last = self.last_run(job).await?;
        }
        let jobs = jobs.into_iter().map(|job| warned(&job.name.clone(), job, &catalogue)).collect();
        Ok(Response::new(pb::ListJobsResponse { jobs, next_page_token }))
    }

    async fn create_job(
        &self,
        request: Request<pb::CreateJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let request = request.into_inner();
        let name = id("job_id", &request.job_id)?;
        let resource = wire::format_job(&name);
        let key = request_key("CreateJob", &request.request_id, &request, resource.clone())?;
        let spec = wire::job_spec(request.job.unwrap_or_default())?;
        let options = ChangeOptions { validate_only: request.validate_only, request: key };
        let made = self
            .editor()
            .put_job(&name, spec, Precondition::Absent, options, self.0.clock.now())
            .await;
        made.map(|made| Response::new(wire::job_to(made)))
            .map_err(|error| change_refused(&resource, error))
    }

    async fn update_job(
        &self,
        request: Request<pb::UpdateJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        let pb::UpdateJobRequest { job, update_mask, allow_missing, validate_only } =
            request.into_inner();
        let job = job.ok_or_else(|| Invalid::one("job", "is missing"))?;
        let name = wire::job_name(&job.name)?;
        let update = Update {
            paths: update_mask.map(|mask| mask.paths).unwrap_or_default(),
            etag: etag_of(&job.etag),
            allow_missing,
        };
        let made = merge(self, &name, job, update, validate_only).await?;
        let resource = wire::format_job(&name);
        made.map(|made| Response::new(wire::job_to(made)))
            .map_err(|error| change_refused(&resource, error))
    }

    async fn delete_job(
        &self,
        request: Request<pb::DeleteJobRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteJobRequest { name: text, etag } = request.into_inner();
        let name = wire::job_name(&text)?;
        let deleted = self.editor().delete_job(&name, etag_of(&etag), self.0.clock.now()).await;
        deleted.map(Response::new).map_err(|error| change_refused(&text, error))
    }

    async fn explain_key(
        &self,
        request: Request<pb::ExplainKeyRequest>,
    ) -> Result<Response<pb::ExplainKeyResponse>, Status> {
        let traceparent = trace::traceparent(request.metadata());
        let explained = explain::key(&self.0, request.into_inner(), traceparent);
        self.0.unless_stopping(explained).await.map(Response::new)
    }

    async fn plan_job(
        &self,
        request: Request<pb::PlanJobRequest>,
    ) -> Result<Response<Self::PlanJobStream>, Status> {
        let traceparent = trace::traceparent(request.metadata());
        plan::job(&self.0, request.into_inner(), traceparent).await.map(Response::new)
    }

    async fn run_job(
        &self,
        request: Request<pb::RunJobRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let traceparent = trace::traceparent(request.metadata());
        let request = request.into_inner();
        let job = wire::job_name(&request.name)?;
        let key = request_key("RunJob", &request.request_id, &request, String::new())?;
        let start = StartRun {
            job,
            trigger: Trigger::Manual,
            traceparent,
            request: key,
            retries: None,
            nominal: None,
        };
        let run = self.0.store.start_run(start, self.0.clock.now()).await.map_err(refused)?;
        tracing::info!(run = %run.name, "a run was started");
        Ok(Response::new(wire::run_to(run)))
    }

    async fn get_run(
        &self,
        request: Request<pb::GetRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let (job, number) = wire::parse_run(&request.get_ref().name)?;
        let run = self.0.store.run(&job, number).await.map_err(refused)?;
        Ok(Response::new(wire::run_to(run)))
    }

    async fn get_run_view(
        &self,
        request: Request<pb::GetRunViewRequest>,
    ) -> Result<Response<pb::RunView>, Status> {
        let (job, number) = wire::parse_run(&request.get_ref().name)?;
        let view = async { view::of_run(&self.0, &job, number).await.map_err(refused) };
        let view = self.0.unless_stopping(view).await?;
        Ok(Response::new(wire::run_view_to(view)))
    }

    async fn get_run_report(
        &self,
        request: Request<pb::GetRunReportRequest>,
    ) -> Result<Response<pb::RunReport>, Status> {
        let (job, number) = wire::parse_run(&request.get_ref().name)?;
        let report = self.0.store.run_report(&job, number).await.map_err(refused)?;
        Ok(Response::new(wire::run_report_to(report)))
    }

    async fn list_runs(
        &self,
        request: Request<pb::ListRunsRequest>,
    ) -> Result<Response<pb::ListRunsResponse>, Status> {
        let pb::ListRunsRequest { parent, page_size, page_token } = request.into_inner();
        let job = wire::parse_job_parent(&parent)?;
        if let Some(job) = &job {
            self.must_exist(job, &parent).await?;
        }
        let list = format!("runs of {parent}");
        let before = page::number(&list, &page_token)?;
        let size = page::size(page_size);
        let mut runs = self.0.store.runs(job.as_ref(), before, size + 1).await.map_err(refused)?;
        let next_page_token =
            page::cut(&list, &mut runs, size, |last| last.position.to_be_bytes().to_vec());
        let runs = runs.into_iter().map(|listed| wire::run_to(listed.run)).collect();
        Ok(Response::new(pb::ListRunsResponse { runs, next_page_token }))
    }

    async fn watch_runs(
        &self,
        request: Request<pb::WatchRunsRequest>,
    ) -> Result<Response<Self::WatchRunsStream>, Status> {
        let pb::WatchRunsRequest { parent, run } = request.into_inner();
        let scope = match (parent.is_empty(), run.is_empty()) {
            (false, true) => watch::Scope::Job(wire::parse_job_parent(&parent)?),
            (true, false) => watch::Scope::Run(self.run_name(&run).await?),
            _ => return Err(Invalid::one("parent", "name either a parent or a run").into()),
        };
        // Says at once that there is nothing to watch.
        match &scope {
            watch::Scope::Run(name) => {
                self.0.store.run(&name.job, Some(name.number)).await.map_err(refused)?;
            }
            watch::Scope::Job(Some(job)) => self.must_exist(job, &parent).await?,
            watch::Scope::Job(None) => {}
        }
        Ok(Response::new(watch::start(self.0.clone(), scope)))
    }

    async fn cancel_run(
        &self,
        request: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let name = self.run_name(&request.get_ref().name).await?;
        let run = self.0.store.cancel_run(&name, self.0.clock.now()).await.map_err(refused)?;
        Ok(Response::new(wire::run_to(run)))
    }

    async fn approve_run(
        &self,
        request: Request<pb::ApproveRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let pb::ApproveRunRequest { name, etag } = request.into_inner();
        if etag.is_empty() {
            let text = "is missing; it is deletes.etag of the run as it was shown";
            return Err(Invalid::one("etag", text).into());
        }
        let name = self.run_name(&name).await?;
        let run =
            self.0.store.approve_run(&name, &etag, self.0.clock.now()).await.map_err(refused)?;
        tracing::info!(run = %name, etag, "the deletes of a run were approved");
        Ok(Response::new(wire::run_to(run)))
    }

    async fn pause_run(
        &self,
        request: Request<pb::PauseRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let name = self.run_name(&request.get_ref().name).await?;
        let run = self.0.store.pause_run(&name, "paused by a person").await.map_err(refused)?;
        tracing::info!(run = %name, "a run was paused");
        Ok(Response::new(wire::run_to(run)))
    }

    async fn resume_run(
        &self,
        request: Request<pb::ResumeRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let name = self.run_name(&request.get_ref().name).await?;
        let run = self.0.store.resume_run(&name, self.0.clock.now()).await.map_err(refused)?;
        tracing::info!(run = %name, "a run was resumed");
        Ok(Response::new(wire::run_to(run)))
    }

    async fn retry_run_failures(
        &self,
        request: Request<pb::RetryRunFailuresRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let traceparent = trace::traceparent(request.metadata());
        let request = request.into_inner();
        let name = self.run_name(&request.name).await?;
        let key = request_key("RetryRunFailures", &request.request_id, &request, String::new())?;
        let (job, retries) = (name.job.clone(), Some(name.number));
        let start = StartRun {
            job,
            trigger: Trigger::Retry,
            traceparent,
            request: key,
            retries,
            nominal: None,
        };
        let run = self.0.store.start_run(start, self.0.clock.now()).await.map_err(refused)?;
        tracing::info!(run = %run.name, of = %name, "a retry was started");
        Ok(Response::new(wire::run_to(run)))
    }

    async fn group_failures(
        &self,
        request: Request<pb::GroupFailuresRequest>,
    ) -> Result<Response<pb::GroupFailuresResponse>, Status> {
        let name = self.run_name(&request.get_ref().parent).await?;
        let (groups, total) = self.0.store.failure_groups(&name).await.map_err(refused)?;
        Ok(Response::new(pb::GroupFailuresResponse {
            groups: groups.into_iter().map(wire::failure_group_to).collect(),
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
        }))
    }

    async fn list_failures(
        &self,
        request: Request<pb::ListFailuresRequest>,
    ) -> Result<Response<pb::ListFailuresResponse>, Status> {
        let pb::ListFailuresRequest { parent, page_size, page_token, class } = request.into_inner();
        let class = wire::failure_class(class)?;
        let name = self.run_name(&parent).await?;
        let list = format!("failures of {name} of {class:?}");
        let after = match page::position(&list, &page_token)? {
            None => None,
            Some(position) => {
                let (destination, key) =
                    position.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
                Some((u32::from_be_bytes(*destination), Key::from(key.to_vec())))
            }
        };
        let size = page::size(page_size);
        let (mut failures, total) =
            self.0.store.failures(&name, class, after, size + 1).await.map_err(refused)?;
        let next_page_token = page::cut(&list, &mut failures, size, |last| {
            [&last.destination.to_be_bytes(), last.key.as_bytes()].concat()
        });
        Ok(Response::new(pb::ListFailuresResponse {
            failures: failures.into_iter().map(wire::failure_to).collect(),
            next_page_token,
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
        }))
    }
}

#[tonic::async_trait]
impl Kind for Jobs {
    type Wire = pb::Job;
    type Made = s3sync_proto::model::Job;

    async fn read(&self, name: &Name) -> Result<Option<Self::Wire>, Status> {
        let mut catalogue = self.0.store.catalogue().await.map_err(refused)?;
        Ok(catalogue.jobs.remove(name).map(wire::job_to))
    }

    async fn write(
        &self,
        name: &Name,
        one: Self::Wire,
        precondition: Precondition,
        validate_only: bool,
    ) -> Result<Result<Self::Made, Refused>, Status> {
        let spec = wire::job_spec(one)?;
        let options = ChangeOptions { validate_only, request: None };
        Ok(self.editor().put_job(name, spec, precondition, options, self.0.clock.now()).await)
    }
}

impl Merge for pb::Job {
    fn etag(&self) -> &String {
        &self.etag
    }

    fn masked(mut self, new: Self, paths: &[String]) -> Result<Self, Invalid> {
        for path in paths {
            match path.as_str() {
                "*" => return Ok(new),
                "source" => self.source.clone_from(&new.source),
                "destinations" => self.destinations.clone_from(&new.destinations),
                "filter" => self.filter.clone_from(&new.filter),
                "compare" => self.compare = new.compare,
                "deletes" => self.deletes = new.deletes,
                "schedule" => self.schedule.clone_from(&new.schedule),
                "events" => self.events.clone_from(&new.events),
                "limits" => self.limits = new.limits,
                "paused" => self.paused = new.paused,
                other => {
                    let text = format!(
                        "{other:?} cannot be changed; use source, destinations, filter, compare, deletes, schedule, \
                         events, limits, paused"
                    );
                    return Err(Invalid::one("update_mask", text));
                }
            }
        }
        Ok(self)
    }
}
