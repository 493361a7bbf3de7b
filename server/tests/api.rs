//! The services over a real listener, with the real store in memory: good ways and bad ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::client::{
    AgentLink, ApiClient, Code, ConnectOptions, Precondition, Secret, WatchEvent, WriteOptions,
};
use s3sync_proto::model::{
    AgentEndpoint, Counters, Destination, EndpointSpec, FromAgent, Held, Hello, JobSpec, Location,
    Name, Outcome, RunState, State, Timestamp, ToAgent, Verdict, WorkReport,
};
use s3sync_proto::status::reason;
use s3sync_server::clock;
use s3sync_server::grpc::{Context, Tokens, router};
use s3sync_server::reconcile;
use s3sync_server::session::{LeaseTimes, Sessions};
use s3sync_server::store::Store;
use s3sync_server::store::sqlite::Sqlite;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Whatever is waited for comes within this, or the test fails.
const BOUND: Duration = Duration::from_secs(30);

#[path = "api/asked.rs"]
mod asked;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/changes.rs"]
mod changes;
#[path = "api/doors.rs"]
mod doors;
#[path = "api/queues.rs"]
mod queues;
#[path = "api/sessions.rs"]
mod sessions;

struct Server {
    url: String,
    store: Arc<Sqlite>,
    sessions: Arc<Sessions>,
    shutdown: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn server(tokens: Tokens) -> Server {
    server_with(tokens, LeaseTimes::default()).await
}

async fn server_with(tokens: Tokens, times: LeaseTimes) -> Server {
    let sessions = Arc::new(Sessions::default());
    let store = Arc::new(Sqlite::in_memory().await.unwrap());
    let shutdown = CancellationToken::new();
    let context = Context {
        store: Arc::clone(&store) as Arc<dyn Store>,
        clock: clock::system(),
        sessions: Arc::clone(&sessions),
        times,
        shutdown: shutdown.clone(),
        tasks: TaskTracker::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = router(&context, &tokens, None).unwrap();
    tokio::spawn(reconcile::serve(context));
    tokio::spawn(router.serve_with_incoming_shutdown(
        TcpListenerStream::new(listener),
        shutdown.clone().cancelled_owned(),
    ));
    Server { url, store, sessions, shutdown }
}

impl Server {
    fn options(&self, token: Option<&str>) -> ConnectOptions {
        ConnectOptions {
            url: self.url.clone(),
            token: token.map(Secret::new),
            ..ConnectOptions::default()
        }
    }

    fn client(&self) -> ApiClient {
        ApiClient::new(&self.options(None)).unwrap()
    }

    async fn dial(&self, hello: FromAgent) -> Result<AgentLink, s3sync_proto::client::ApiError> {
        let options = self.options(None);
        AgentLink::open(options.channel().unwrap(), options.credentials(), hello).await
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn endpoint() -> EndpointSpec {
    EndpointSpec { region: "us-west-2".into(), ..EndpointSpec::default() }
}

fn job() -> JobSpec {
    let place = |bucket: &str| Location {
        endpoint: name("usw2"),
        bucket: bucket.into(),
        prefix: "p/".into(),
    };
    let spec = serde_json::json!({"source": place("from"), "destinations": [Destination {
        location: place("into"),
        storage_class: None,
        agent_labels: BTreeMap::new(),
        encryption: None,
    }]});
    serde_json::from_value(spec).unwrap()
}

/// A server with an endpoint and a job.
async fn with_job() -> (Server, ApiClient) {
    with_job_at(LeaseTimes::default()).await
}

async fn with_job_at(times: LeaseTimes) -> (Server, ApiClient) {
    let server = server_with(Tokens::default(), times).await;
    let mut client = server.client();
    let options = WriteOptions::default;
    client.put_endpoint(&name("usw2"), &endpoint(), Precondition::Absent, options()).await.unwrap();
    client.put_job(&name("media"), &job(), Precondition::Absent, options()).await.unwrap();
    (server, client)
}

fn hello(agent: &str, instance: &str) -> Hello {
    Hello {
        protocol: (1, 1),
        features: vec!["split".into(), "unheard-of".into()],
        agent: name(agent),
        instance_id: instance.into(),
        version: "test".into(),
        labels: BTreeMap::new(),
        endpoints: vec![AgentEndpoint {
            endpoint: name("usw2"),
            credential_kind: "static".into(),
            allow: Vec::new(),
            credential_fingerprint: "f".into(),
        }],
        held: Vec::new(),
        capacity: 2,
        now: Timestamp::default(),
    }
}

async fn next(link: &mut AgentLink) -> ToAgent {
    let message = tokio::time::timeout(BOUND, link.receive()).await.expect("a message in time");
    message.unwrap().expect("the stream goes on").unwrap()
}

/// The next message that is not of a kind every session gets.
async fn next_assignment(link: &mut AgentLink) -> s3sync_proto::model::Assignment {
    loop {
        if let ToAgent::Assignment(assignment) = next(link).await {
            return *assignment;
        }
    }
}

#[tokio::test]
async fn a_lost_update_is_refused_by_its_etag() {
    let (_server, mut client) = with_job().await;
    let read = client.get_endpoint(&name("usw2")).await.unwrap();
    let mut changed = endpoint();
    changed.path_style = true;
    let exists = |etag: &str| Precondition::Exists(Some(etag.to_owned()));
    let written = client
        .put_endpoint(&name("usw2"), &changed, exists(&read.etag), WriteOptions::default())
        .await
        .unwrap();
    assert_ne!(written.etag, read.etag);
    let refused = client
        .put_endpoint(&name("usw2"), &endpoint(), exists(&read.etag), WriteOptions::default())
        .await
        .unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, reason::ETAG_MISMATCH));
    assert_eq!(refused.metadata["current_etag"], written.etag);
    assert!(
        client.get_endpoint(&name("usw2")).await.unwrap().spec.path_style,
        "nothing was changed"
    );
}

#[tokio::test]
async fn checking_alone_stores_nothing_and_tells_warnings() {
    let (_server, mut client) = with_job().await;
    let mut spec = job();
    spec.source.prefix = "no-slash".into();
    let options = WriteOptions { validate_only: true, request_id: None };
    let checked =
        client.put_job(&name("other"), &spec, Precondition::Absent, options).await.unwrap();
    assert_eq!(checked.warnings[0].field, "source.prefix");
    let missing = client.get_job(&name("other")).await.unwrap_err();
    assert_eq!(
        (missing.code, missing.reason.as_str()),
        (Code::NotFound, reason::RESOURCE_NOT_FOUND)
    );
}

#[tokio::test]
async fn a_request_id_makes_one_run_and_cannot_be_used_for_another() {
    let (_server, mut client) = with_job().await;
    client
        .put_job(
            &name("two"),
            &{
                let mut spec = job();
                spec.destinations[0].location.bucket = "elsewhere".into();
                spec
            },
            Precondition::Absent,
            WriteOptions::default(),
        )
        .await
        .unwrap();
    let id = "0b2f1f1e-5a4b-4c3d-9e8f-7a6b5c4d3e2f";
    let first = client.run_job(&name("media"), Some(id.into())).await.unwrap();
    let again = client.run_job(&name("media"), Some(id.into())).await.unwrap();
    assert_eq!(first.name, again.name);
    let reused = client.run_job(&name("two"), Some(id.into())).await.unwrap_err();
    assert_eq!(reused.reason, reason::REQUEST_ID_REUSED);
    let busy = client.run_job(&name("media"), None).await.unwrap_err();
    assert_eq!((busy.code, busy.reason.as_str()), (Code::AlreadyExists, reason::RUN_IN_PROGRESS));
    let no_uuid = client.run_job(&name("two"), Some("seven".into())).await.unwrap_err();
    assert_eq!(no_uuid.violations[0].field, "request_id");
}

#[tokio::test]
async fn pages_go_on_and_foreign_tokens_are_refused() {
    let (_server, mut client) = with_job().await;
    for number in 0..5 {
        let one = name(&format!("e{number}"));
        client
            .put_endpoint(&one, &endpoint(), Precondition::Absent, WriteOptions::default())
            .await
            .unwrap();
    }
    let first = client.list_endpoints(4, "").await.unwrap();
    let token = first.next.clone().unwrap();
    let second = client.list_endpoints(4, &token).await.unwrap();
    let names: Vec<_> =
        first.items.iter().chain(&second.items).map(|one| one.name.to_string()).collect();
    assert_eq!(names, ["e0", "e1", "e2", "e3", "e4", "usw2"]);
    assert_eq!(second.next, None);
    let refused = client.list_jobs(4, &token).await.unwrap_err();
    assert_eq!(refused.reason, reason::PAGE_TOKEN_INVALID);
}

#[tokio::test]
async fn a_watch_tells_each_change_and_ends_with_the_run() {
    let (server, mut client) = with_job().await;
    let run = client.run_job(&name("media"), None).await.unwrap();
    let mut events =
        std::pin::pin!(client.watch_run(&run.name.job, run.name.number).await.unwrap());
    assert!(
        matches!(events.next().await, Some(Ok(WatchEvent::Snapshot(seen))) if seen.name == run.name)
    );
    assert_eq!(events.next().await, Some(Ok(WatchEvent::SnapshotEnd)));
    server.client().cancel_run(&run.name.job, Some(run.name.number)).await.unwrap();
    let mut last = None;
    while let Some(event) =
        tokio::time::timeout(BOUND, events.next()).await.expect("the watch ends")
    {
        if let WatchEvent::Changed(run) = event.unwrap() {
            last = Some(run.state);
        }
    }
    assert_eq!(last, Some(RunState::Cancelled));
}

#[tokio::test]
async fn each_token_opens_its_own_door() {
    let tokens = Tokens {
        api: vec![(name("alice"), Secret::new("the-api-token-1"))],
        agent: Some(Secret::new("the-agent-token")),
    };
    let server = server(tokens).await;
    for (token, allowed) in
        [(Some("the-api-token-1"), true), (Some("the-agent-token"), false), (None, false)]
    {
        let answer = ApiClient::new(&server.options(token)).unwrap().list_jobs(1, "").await;
        assert_eq!(answer.is_ok(), allowed, "{token:?}");
        if let Err(error) = answer {
            assert_eq!(
                (error.code, error.reason.as_str()),
                (Code::Unauthenticated, reason::CREDENTIALS_INVALID)
            );
        }
    }
    for (token, allowed) in
        [(Some("the-api-token-1"), false), (Some("the-agent-token"), true), (None, false)]
    {
        let options = server.options(token);
        let hello = FromAgent::Hello(hello("a", "1"));
        let opened =
            AgentLink::open(options.channel().unwrap(), options.credentials(), hello).await;
        assert_eq!(opened.is_ok(), allowed, "{token:?}");
    }
}

#[tokio::test]
async fn health_follows_the_database() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let server = server(Tokens::default()).await;
    let mut health = HealthClient::new(server.options(None).channel().unwrap());
    for service in ["", "s3sync.v1.JobService", "s3sync.agent.v1.AgentService"] {
        let request = HealthCheckRequest { service: service.into() };
        let mut states = health.watch(request).await.unwrap().into_inner();
        let mut wait_for = async |wanted: ServingStatus| {
            loop {
                let state = tokio::time::timeout(BOUND, states.message())
                    .await
                    .expect("a state in time")
                    .unwrap();
                if state.expect("the watch goes on").status() == wanted {
                    return;
                }
            }
        };
        if service.is_empty() {
            wait_for(ServingStatus::Serving).await;
            server.store.close().await;
        }
        wait_for(ServingStatus::NotServing).await;
    }
}

#[tokio::test]
async fn the_first_message_must_be_hello_and_its_protocol_known() {
    let server = server(Tokens::default()).await;
    let refused = server.dial(FromAgent::Goodbye).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument, "{refused:?}");
    let mut newer = hello("a", "1");
    newer.protocol = (7, 9);
    let refused = server.dial(FromAgent::Hello(newer)).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::FailedPrecondition, reason::AGENT_PROTOCOL_UNSUPPORTED)
    );
    assert_eq!(refused.metadata["max_version"], "1");
}

#[tokio::test]
async fn work_comes_is_reported_and_a_stale_report_changes_nothing() {
    let (server, mut client) = with_job().await;
    let mut link = server.dial(FromAgent::Hello(hello("a", "1"))).await.unwrap();
    let ToAgent::Welcome(welcome) = next(&mut link).await else { panic!("Welcome comes first") };
    assert_eq!((welcome.protocol, welcome.features), (1, vec!["split".to_owned()]));
    let run = client.run_job(&name("media"), None).await.unwrap();
    let assignment = next_assignment(&mut link).await;
    assert_eq!((assignment.run.clone(), assignment.held.epoch), (run.name.clone(), 1));
    assert_eq!(assignment.traceparent, run.traceparent);
    let report = |sequence: u64, epoch: u64| {
        FromAgent::Report(WorkReport {
            sequence,
            held: Held { id: assignment.held.id, epoch },
            outcome: Outcome::Completed,
            previous_cursor: None,
            cursor: None,
            counters: Counters { listed: 3, in_step: 3, ..Counters::default() },
            failures: Vec::new(),
            extras: Default::default(),
        })
    };
    for (sequence, epoch, verdict) in
        [(1, 9, Verdict::Stale), (2, 1, Verdict::Applied), (3, 1, Verdict::Stale)]
    {
        assert!(link.send(report(sequence, epoch)).await);
        let ack = loop {
            if let ToAgent::Ack(ack) = next(&mut link).await {
                break ack;
            }
        };
        assert_eq!((ack.sequence, ack.verdict), (sequence, verdict));
    }
    let ended = client.get_run(&run.name.job, None).await.unwrap();
    assert_eq!((ended.state, ended.totals().listed), (RunState::Succeeded, 3));
}

#[tokio::test]
async fn the_newest_session_of_a_name_wins_and_the_other_is_told() {
    let times = LeaseTimes {
        heartbeat_interval: Duration::from_secs(1),
        write_window: Duration::from_secs(2),
        session_ttl: Duration::from_secs(3),
    };
    let (server, mut client) = with_job_at(times).await;
    let mut first = server.dial(FromAgent::Hello(hello("a", "1"))).await.unwrap();
    next(&mut first).await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut first).await.held;
    let mut second = server.dial(FromAgent::Hello(hello("a", "2"))).await.unwrap();
    let told = loop {
        match tokio::time::timeout(BOUND, first.receive()).await.expect("an end in time") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end has no reason"),
            Err(error) => break error,
        }
    };
    assert_eq!((told.code, told.reason.as_str()), (Code::Aborted, reason::SESSION_SUPERSEDED));
    let took_over = tokio::time::Instant::now();
    let mut sequence = 0;
    let again = loop {
        let wait = tokio::time::timeout(times.heartbeat_interval, next_assignment(&mut second));
        if let Ok(assignment) = wait.await {
            break assignment.held;
        }
        sequence += 1;
        let state = State { sequence, capacity: 2, held: vec![], draining: false, last_lease: 0 };
        assert!(second.send(FromAgent::State(state)).await);
        assert!(took_over.elapsed() < BOUND, "its work goes to the new one");
    };
    assert_eq!((again.id, again.epoch), (held.id, held.epoch + 1));
}

#[tokio::test]
async fn a_state_is_answered_by_what_is_confirmed() {
    let (server, mut client) = with_job().await;
    let mut link = server.dial(FromAgent::Hello(hello("a", "1"))).await.unwrap();
    next(&mut link).await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut link).await.held;
    let state =
        State { sequence: 1, capacity: 2, held: vec![held], draining: false, last_lease: 0 };
    assert!(link.send(FromAgent::State(state)).await);
    let lease = loop {
        if let ToAgent::Lease(lease) = next(&mut link).await {
            break lease;
        }
    };
    assert_eq!((lease.sequence, lease.confirmed), (1, vec![held]));
    assert_eq!(lease.write_window, LeaseTimes::default().write_window);
    let agents = client.list_agents(10, "").await.unwrap().items;
    assert_eq!((agents[0].held, agents[0].capacity), (1, 2));
}

#[tokio::test]
async fn a_cancelled_run_is_taken_back_from_its_holder() {
    let (server, mut client) = with_job().await;
    let mut link = server.dial(FromAgent::Hello(hello("a", "1"))).await.unwrap();
    next(&mut link).await;
    let run = client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut link).await.held;
    client.cancel_run(&run.name.job, None).await.unwrap();
    loop {
        if let ToAgent::Revocation { held: taken, .. } = next(&mut link).await {
            assert_eq!(taken, held);
            break;
        }
    }
    let yielded = WorkReport {
        sequence: 1,
        held,
        outcome: Outcome::Yielded,
        previous_cursor: None,
        cursor: None,
        counters: Counters::default(),
        failures: Vec::new(),
        extras: Default::default(),
    };
    assert!(link.send(FromAgent::Report(yielded)).await);
    loop {
        if let ToAgent::Ack(ack) = next(&mut link).await {
            assert_eq!(ack.verdict, Verdict::Applied);
            break;
        }
    }
    assert_eq!(client.get_run(&run.name.job, None).await.unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn a_stopping_server_sends_agents_away() {
    let (server, _client) = with_job().await;
    let mut link = server.dial(FromAgent::Hello(hello("a", "1"))).await.unwrap();
    next(&mut link).await;
    server.shutdown.cancel();
    loop {
        if let ToAgent::Redirect(within) = next(&mut link).await {
            assert!(within > Duration::ZERO);
            break;
        }
    }
}
