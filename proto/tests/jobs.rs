//! Calls about jobs and runs, to a server that records what was asked for and answers with what is asked for here.

use std::sync::{Arc, Mutex};

use s3sync_proto::client::{ApiClient, Code, ConnectOptions, WatchEvent};
use s3sync_proto::model::{FailureClass, Key, RunName, RunState};
use s3sync_proto::pb::v1 as pb;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::values::named;

/// Names that were asked for, in their order.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn run(number: u64, state: pb::RunState) -> pb::Run {
    pb::Run {
        name: format!("jobs/a/runs/{number}"),
        state: state.into(),
        trigger: pb::Trigger::Manual.into(),
        ..Default::default()
    }
}

type Planned = tokio_stream::Iter<std::vec::IntoIter<Result<pb::PlanJobResponse, Status>>>;
type Watched = tokio_stream::Iter<std::vec::IntoIter<Result<pb::WatchRunsResponse, Status>>>;

#[tonic::async_trait]
impl pb::job_service_server::JobService for Asked {
    type WatchRunsStream = Watched;
    type PlanJobStream = Planned;

    async fn plan_job(
        &self,
        request: Request<pb::PlanJobRequest>,
    ) -> Result<Response<Planned>, Status> {
        let pb::PlanJobRequest { name, job, differences } = request.into_inner();
        self.note(format!("plan {name} {} {differences}", job.is_some()));
        let plan = |complete| pb::PlanJobResponse {
            plan: Some(pb::JobPlan { name: name.clone(), complete, ..Default::default() }),
            differences: vec![pb::Difference {
                key: "k".into(),
                next: pb::NextStep::Copy.into(),
                way: pb::CopyWay::Single.into(),
                ..Default::default()
            }],
        };
        let end = Err(Status::unavailable("stopping"));
        Ok(Response::new(tokio_stream::iter(vec![Ok(plan(false)), Ok(plan(true)), end])))
    }

    async fn get_job(&self, _: Request<pb::GetJobRequest>) -> Result<Response<pb::Job>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_jobs(
        &self,
        _: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn explain_key(
        &self,
        request: Request<pb::ExplainKeyRequest>,
    ) -> Result<Response<pb::ExplainKeyResponse>, Status> {
        let pb::ExplainKeyRequest { name, key, bucket } = request.into_inner();
        self.note(format!("{name} {} {bucket}", Key::new(key.clone())));
        Ok(Response::new(pb::ExplainKeyResponse { name, key, ..Default::default() }))
    }

    async fn create_job(
        &self,
        _: Request<pb::CreateJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update_job(
        &self,
        _: Request<pb::UpdateJobRequest>,
    ) -> Result<Response<pb::Job>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn delete_job(
        &self,
        request: Request<pb::DeleteJobRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteJobRequest { name, etag } = request.into_inner();
        self.note(format!("{name} {etag}"));
        Ok(Response::new(()))
    }

    async fn run_job(
        &self,
        request: Request<pb::RunJobRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let pb::RunJobRequest { name, request_id } = request.into_inner();
        self.note(format!("{name} {request_id}"));
        Ok(Response::new(run(1, pb::RunState::Pending)))
    }

    async fn get_run(
        &self,
        request: Request<pb::GetRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        self.note(request.into_inner().name);
        Ok(Response::new(run(7, pb::RunState::Running)))
    }

    async fn get_run_view(
        &self,
        request: Request<pb::GetRunViewRequest>,
    ) -> Result<Response<pb::RunView>, Status> {
        self.note(format!("view of {}", request.into_inner().name));
        Ok(Response::new(pb::RunView {
            run: Some(run(7, pb::RunState::Running)),
            stage: pb::RunStage::Scan.into(),
            source_endpoint: "usw2".to_owned(),
            ..Default::default()
        }))
    }

    async fn get_run_report(
        &self,
        request: Request<pb::GetRunReportRequest>,
    ) -> Result<Response<pb::RunReport>, Status> {
        self.note(format!("report of {}", request.into_inner().name));
        Ok(Response::new(pb::RunReport {
            run: Some(run(7, pb::RunState::Running)),
            source_endpoint: "usw2".to_owned(),
            ..Default::default()
        }))
    }

    async fn list_runs(
        &self,
        request: Request<pb::ListRunsRequest>,
    ) -> Result<Response<pb::ListRunsResponse>, Status> {
        let pb::ListRunsRequest { parent, page_size, page_token } = request.into_inner();
        self.note(format!("{parent} {page_size} {page_token}"));
        let next_page_token = if page_token.is_empty() { "more" } else { "" }.to_owned();
        let runs = vec![run(7, pb::RunState::Running)];
        Ok(Response::new(pb::ListRunsResponse { runs, next_page_token }))
    }

    async fn watch_runs(
        &self,
        request: Request<pb::WatchRunsRequest>,
    ) -> Result<Response<Watched>, Status> {
        use pb::watch_runs_response::Kind;
        let pb::WatchRunsRequest { parent, run: name } = request.into_inner();
        self.note(format!("{parent}|{name}"));
        let message =
            |kind: Kind, run: Option<pb::Run>| Ok(pb::WatchRunsResponse { kind: kind.into(), run });
        let messages = vec![
            message(Kind::Snapshot, Some(run(7, pb::RunState::Running))),
            message(Kind::SnapshotEnd, None),
            message(Kind::Changed, Some(run(7, pb::RunState::Succeeded))),
            message(Kind::Changed, None),
        ];
        Ok(Response::new(tokio_stream::iter(messages)))
    }

    async fn cancel_run(
        &self,
        request: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        self.note(request.into_inner().name);
        Ok(Response::new(run(7, pb::RunState::Cancelling)))
    }

    async fn approve_run(
        &self,
        request: Request<pb::ApproveRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let pb::ApproveRunRequest { name, etag } = request.into_inner();
        self.note(format!("approve {name} {etag}"));
        Ok(Response::new(run(7, pb::RunState::Running)))
    }

    async fn pause_run(
        &self,
        request: Request<pb::PauseRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        self.note(format!("pause {}", request.into_inner().name));
        Ok(Response::new(run(7, pb::RunState::Paused)))
    }

    async fn resume_run(
        &self,
        request: Request<pb::ResumeRunRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        self.note(format!("resume {}", request.into_inner().name));
        Ok(Response::new(run(7, pb::RunState::Running)))
    }

    async fn retry_run_failures(
        &self,
        request: Request<pb::RetryRunFailuresRequest>,
    ) -> Result<Response<pb::Run>, Status> {
        let pb::RetryRunFailuresRequest { name, request_id } = request.into_inner();
        self.note(format!("{name} {request_id}"));
        Ok(Response::new(run(8, pb::RunState::Pending)))
    }

    async fn group_failures(
        &self,
        request: Request<pb::GroupFailuresRequest>,
    ) -> Result<Response<pb::GroupFailuresResponse>, Status> {
        self.note(request.into_inner().parent);
        let sample =
            Some(pb::Failure { class: pb::FailureClass::Archived.into(), ..Default::default() });
        let groups = vec![pb::FailureGroup { size: 3, sample }];
        Ok(Response::new(pb::GroupFailuresResponse { groups, total_size: 4 }))
    }

    async fn list_failures(
        &self,
        request: Request<pb::ListFailuresRequest>,
    ) -> Result<Response<pb::ListFailuresResponse>, Status> {
        self.note(request.into_inner().parent);
        let failure = pb::Failure { key: "k".into(), class: 4, ..Default::default() };
        Ok(Response::new(pb::ListFailuresResponse {
            failures: vec![failure],
            next_page_token: String::new(),
            total_size: 100_001,
        }))
    }
}

async fn start() -> (ApiClient, Asked, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let service = pb::job_service_server::JobServiceServer::new(asked.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    let client = ApiClient::new(&ConnectOptions { url, ..Default::default() }).unwrap();
    (client, asked, tasks)
}

#[tokio::test]
async fn resources_are_asked_for_by_their_names() {
    let (mut client, asked, _tasks) = start().await;
    let job = named("a");
    client.delete_job(&job, Some("e1".to_owned())).await.unwrap();
    client.run_job(&job, Some("id".to_owned())).await.unwrap();
    client.get_run(&job, None).await.unwrap();
    client.get_run_view(&job, Some(7)).await.unwrap();
    client.get_run_report(&job, Some(7)).await.unwrap();
    client.cancel_run(&job, Some(7)).await.unwrap();
    client.retry_run_failures(&job, None, Some("id".to_owned())).await.unwrap();
    client.pause_run(&job, None).await.unwrap();
    client.approve_run(&job, Some(7), "e2").await.unwrap();
    client.resume_run(&job, Some(7)).await.unwrap();
    client.explain_key(&job, &Key::from("k"), None).await.unwrap();
    let full = client.explain_key(&job, &Key::from(vec![0xff]), Some("b")).await.unwrap();
    assert_eq!(full.key, Key::from(vec![0xff]));
    let expected = [
        "jobs/a e1",
        "jobs/a id",
        "jobs/a/runs/-",
        "view of jobs/a/runs/7",
        "report of jobs/a/runs/7",
        "jobs/a/runs/7",
        "jobs/a/runs/- id",
        "pause jobs/a/runs/-",
        "approve jobs/a/runs/7 e2",
        "resume jobs/a/runs/7",
        "jobs/a k ",
        "jobs/a \\xff b",
    ];
    assert_eq!(asked.taken(), expected);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let (mut client, asked, _tasks) = start().await;
    let first = client.list_runs(None, 5, "").await.unwrap();
    assert_eq!(first.items[0].name, RunName { job: named("a"), number: 7 });
    assert_eq!(first.next.as_deref(), Some("more"));
    let last = client.list_runs(Some(&named("a")), u32::MAX, "more").await.unwrap();
    assert_eq!(last.next, None);
    assert_eq!(asked.taken(), ["jobs/- 5 ".to_owned(), format!("jobs/a {} more", i32::MAX)]);

    let (failures, all) = client.list_failures(&named("a"), None, None, 5, "").await.unwrap();
    let (groups, of) = client.group_failures(&named("a"), Some(7)).await.unwrap();
    assert_eq!((groups[0].size, groups[0].sample.class, of), (3, FailureClass::Archived, 4));
    assert_eq!((failures.items.len(), failures.next, all), (1, None, 100_001));
    assert_eq!(asked.taken(), ["jobs/a/runs/-", "jobs/a/runs/7"]);
}

#[tokio::test]
async fn a_watch_tells_the_snapshot_then_changes() {
    let (mut client, asked, _tasks) = start().await;
    let mut events = std::pin::pin!(client.watch_run(&named("a"), 7).await.unwrap());
    let Some(Ok(WatchEvent::Snapshot(run))) = events.next().await else { panic!("no snapshot") };
    assert_eq!(run.state, RunState::Running);
    assert_eq!(events.next().await, Some(Ok(WatchEvent::SnapshotEnd)));
    let Some(Ok(WatchEvent::Changed(run))) = events.next().await else { panic!("no change") };
    assert_eq!(run.state, RunState::Succeeded);
    let senseless = events.next().await.unwrap().unwrap_err();
    assert_eq!(senseless.code, Code::Internal);
    assert_eq!(events.next().await, None);

    drop(client.watch_runs(None).await.unwrap());
    assert_eq!(asked.taken(), ["|jobs/a/runs/7", "jobs/-|"]);
}

#[tokio::test]
async fn a_plan_tells_how_far_it_is_and_what_was_found_since() {
    let (mut client, asked, _tasks) = start().await;
    let mut plan = std::pin::pin!(client.plan_job(&named("a"), None, true).await.unwrap());
    for complete in [false, true] {
        let (plan, differences) = plan.next().await.unwrap().unwrap();
        assert_eq!((plan.complete, differences[0].key.clone()), (complete, Key::from("k")));
    }
    assert_eq!(plan.next().await.unwrap().unwrap_err().code, Code::Unavailable);
    assert_eq!(asked.taken(), ["plan jobs/a false true"]);
}
