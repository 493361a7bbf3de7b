//! Each call that asks agents, while the server stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3sync_proto::model::{
    Destination, EndpointSpec, JobSpec, Location, Name, QueueSpec, Timestamp,
};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::endpoint_service_server::EndpointService as _;
use s3sync_proto::pb::v1::job_service_server::JobService as _;
use s3sync_proto::pb::v1::queue_service_server::QueueService as _;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request};

use super::*;
use crate::catalogue::{ChangeOptions, Editor, Precondition};
use crate::clock;
use crate::grpc::endpoints::Endpoints;
use crate::grpc::jobs::Jobs;
use crate::grpc::queues::Queues;
use crate::session::{LeaseTimes, Sessions};
use crate::store::sqlite::Sqlite;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A server with an endpoint, a queue and a job, of which every session has ended.
async fn deserted() -> Context {
    let store = Arc::new(Sqlite::in_memory().await.unwrap());
    let editor = Editor::new(store.clone());
    let (options, now) = (ChangeOptions::default, Timestamp::from_micros(1));
    let usw2 = EndpointSpec { region: "us-west-2".into(), ..EndpointSpec::default() };
    editor.put_endpoint(&name("usw2"), usw2, Precondition::Absent, options(), now).await.unwrap();
    let events = QueueSpec {
        url: "https://sqs.us-west-2.amazonaws.com/123456789012/events".into(),
        endpoint: name("usw2"),
        receivers: 1,
    };
    editor.put_queue(&name("events"), events, Precondition::Absent, options(), now).await.unwrap();
    let place = |bucket: &str| Location {
        endpoint: name("usw2"),
        bucket: bucket.into(),
        prefix: "p/".into(),
    };
    let into = Destination {
        location: place("into"),
        storage_class: None,
        agent_labels: BTreeMap::new(),
        encryption: None,
    };
    let spec = serde_json::json!({ "source": place("from"), "destinations": [into] });
    let spec: JobSpec = serde_json::from_value(spec).unwrap();
    editor.put_job(&name("media"), spec, Precondition::Absent, options(), now).await.unwrap();
    Context {
        store,
        clock: clock::system(),
        sessions: Arc::new(Sessions::default()),
        times: LeaseTimes::default(),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
    }
}

/// What each call that asks agents answers.
async fn answers(context: &Context) -> Vec<(&'static str, Result<(), Status>)> {
    let jobs = Jobs(context.clone());
    let plan = pb::PlanJobRequest { name: "jobs/media".into(), ..Default::default() };
    let plan = async {
        let mut plan = jobs.plan_job(Request::new(plan)).await?.into_inner();
        while let Some(message) = plan.next().await {
            message?;
        }
        Ok(())
    };
    let explain =
        pb::ExplainKeyRequest { name: "jobs/media".into(), key: "k".into(), ..Default::default() };
    let probe = pb::ProbeEndpointRequest { name: "endpoints/usw2".into(), ..Default::default() };
    let check = pb::CheckQueueRequest { name: "queues/events".into() };
    let (endpoints, queues) = (Endpoints(context.clone()), Queues(context.clone()));
    vec![
        ("plan", plan.await),
        ("explain", jobs.explain_key(Request::new(explain)).await.map(drop)),
        ("probe", endpoints.probe_endpoint(Request::new(probe)).await.map(drop)),
        ("check", queues.check_queue(Request::new(check)).await.map(drop)),
    ]
}

#[tokio::test]
async fn that_sessions_ended_with_the_server_is_not_taken_for_a_lack_of_agents() {
    let context = deserted().await;
    for (call, answer) in answers(&context).await {
        match answer {
            Err(error) => assert_eq!(error.code(), Code::FailedPrecondition, "{call}: {error}"),
            Ok(()) => assert_eq!(call, "check", "its findings say that nobody is connected"),
        }
    }
    context.shutdown.cancel();
    for (call, answer) in answers(&context).await {
        let error = answer.expect_err(call);
        assert_eq!(error.code(), Code::Unavailable, "{call}: {error}");
        assert!(error.message().contains("the server is stopping"), "{call}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_while_the_server_begins_to_stop_is_not_believed() {
    let context = deserted().await;
    let call = async {
        context.shutdown.cancel();
        Err::<(), _>(Status::failed_precondition("no agent is connected"))
    };
    let error = context.unless_stopping(call).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}
