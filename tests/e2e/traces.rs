//! What a collector on a socket gets: one connected trace of what belongs together, and nothing that must not be told.

use std::collections::BTreeSet;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use s3sync_lab::{Fault, Faults, Object, QueueConfig, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::collector::{Collector, Protocol, Shown, Trace};
use s3sync_tests::objects;
use s3sync_tests::rounds::copied;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, CHINA_DESTINATION, SOURCE, Times, WEST_READ, World};

use super::{RUN_BOUND, world_with};

const ROOT: &str = "s3syncctl job run";

/// A world whose programs deliver traces, with all requests in them.
async fn traced(protocol: Protocol, more: &[(&str, &str)]) -> (World, super::Folder, Collector) {
    let collector = Collector::start(protocol).await.unwrap();
    let mut environment = collector.environment();
    environment.push(("S3SYNC_AGENT_TRACE_REQUESTS".to_owned(), "1".to_owned()));
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment.extend(more);
    let (world, folder) = world_with(Times::short(), environment).await;
    (world, folder, collector)
}

/// Starts two agents each of which takes one range, so that a run with two destinations needs both.
async fn start_two(world: &mut World) {
    for name in ["cn-1", "cn-2"] {
        let both = [("usw2", WEST_READ), ("cnn1", CHINA)];
        world.start_agent(name, "cn-north-1", &both, "[limits]\nassignments = 1\n").unwrap();
    }
    until("both agents are there", RUN_BOUND, || async {
        let agents = world.client().unwrap().list_agents(10, "").await.unwrap().items;
        if agents.len() == 2 { Ok(()) } else { Err(agents) }
    })
    .await;
}

/// Stops everything, so that all is delivered.
async fn stop(world: &mut World) {
    for agent in world.agent_names() {
        world.stop_agent(&agent).await.unwrap();
    }
    world.stop_server().await.unwrap();
}

/// Programs, and processes of agents, that a trace is of.
fn places(trace: &Trace) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let services = trace.0.iter().map(|span| span.service.as_str()).collect();
    let agents = trace.named("assignment").into_iter().map(|span| span.process.as_str()).collect();
    (services, agents)
}

async fn run_is_one_trace(protocol: Protocol, keys: bool) {
    let (mut world, _folder, collector) =
        traced(protocol, if keys { &[("S3SYNC_AGENT_TRACE_KEYS", "true")] } else { &[] }).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 40, 8);
    world.apply_job().await.unwrap();
    start_two(&mut world).await;
    let output = world.ctl(&["job", "run", "media", "--wait"]).await.unwrap();
    assert!(output.status.success(), "{output:?}\n{}", world.logs());
    stop(&mut world).await;

    let trace = collector.trace_of(ROOT);
    let root = trace.root().unwrap();
    assert_eq!((root.name.as_str(), root.failed), (ROOT, false));
    let (services, agents) = places(&trace);
    assert_eq!(services, BTreeSet::from(["s3sync-agent", "s3sync-server", "s3syncctl"]));
    assert_eq!(agents.len(), 2, "both agents: {trace:#?}");
    // To the request: nothing is lost and nothing is told twice.
    let china = world.side("cnn1");
    let puts = trace.named("S3/PutObject");
    assert_eq!(u64::try_from(puts.len()).unwrap(), china.counts().of("PutObject"));
    for put in &puts {
        let path = trace.path(put);
        let expected =
            ["S3/PutObject", "copy", "assignment", "lease", "s3sync.v1.JobService/RunJob", ROOT];
        assert_eq!(path, expected);
        assert_eq!(put.attributes["rpc.system"], "aws-api");
        assert_eq!(put.attributes["rpc.method"], "PutObject");
        assert_eq!(put.attributes["aws.s3.bucket"], CHINA_DESTINATION);
        assert_eq!(put.attributes.contains_key("aws.s3.key"), keys, "{put:?}");
    }
    let call = trace.named("s3sync.v1.JobService/RunJob")[0];
    assert_eq!(call.attributes["rpc.method"], "RunJob");
    assert_eq!(call.attributes["rpc.service"], "s3sync.v1.JobService");
    let secrets = [WEST_READ.1, CHINA.1].map(str::to_owned);
    assert!(!collector.holds(&secrets));
    assert!(collector.holds(&["RunJob".to_owned()]), "the search finds what is there");
    // A key is nowhere else either.
    let told = format!("{:?}", collector.spans());
    assert_eq!(told.contains("folder/"), keys, "{told}");
    // The run's log lines name the trace, in both programs.
    let logs = world.logs();
    for line in ["a run was started", "assignment ended"] {
        let line = logs.lines().find(|text| text.contains(line)).unwrap_or_default();
        assert!(line.contains(&format!("\"trace_id\":\"{}\"", root.trace)), "{line}");
        assert!(line.contains("\"span_id\":\""), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_trace_from_the_command_to_each_request_by_grpc() {
    run_is_one_trace(Protocol::Grpc, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_trace_from_the_command_to_each_request_by_http() {
    run_is_one_trace(Protocol::Http, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_mid_run_does_not_tear_the_trace() {
    let (mut world, _folder, collector) = traced(Protocol::Grpc, &[]).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 200, 8);
    world.apply_job().await.unwrap();
    // Slow reads keep both agents at work until the server is gone.
    let slow = ["GetObject", "CopyObject"];
    let slow = slow.map(|name| Rule::of(name, Fault::Delay(300), When::Always));
    for side in ["usw2", "cnn1"] {
        world.side(side).set_faults(Faults::new(1, slow.to_vec()));
    }
    start_two(&mut world).await;
    let run = world.ctl_ok(&["job", "run", "media", "-o", "json"]).await.unwrap();
    assert!(run.contains("media"), "{run}");
    // What a killed process has not delivered is lost; here it has delivered what leads to the agents' work.
    until("both agents work, and what they work for is delivered", RUN_BOUND, || async {
        let trace = collector.trace_of(ROOT);
        let leases = trace.named("lease").len();
        let working = trace.0.iter().filter(|span| span.name == "S3/ListObjectsV2");
        let working: BTreeSet<_> = working.map(|span| span.process.clone()).collect();
        let done = copied(&world);
        if leases >= 2 && working.len() == 2 && done > 0 {
            Ok(())
        } else {
            Err((leases, working, done))
        }
    })
    .await;
    world.kill_server().await.unwrap();
    world.start_server().await.unwrap();
    for side in ["usw2", "cnn1"] {
        world.side(side).set_faults(Faults::default());
    }
    // An agent that comes afterwards, and a killed one's work that is leased again, are of the same trace.
    world.kill_agent("cn-1").await.unwrap();
    world.start_china("cn-3").unwrap();
    let output = world.ctl(&["run", "wait", "media"]).await.unwrap();
    assert!(output.status.success(), "{output:?}\n{}", world.logs());
    stop(&mut world).await;

    let trace = collector.trace_of(ROOT);
    let servers: BTreeSet<_> =
        trace.named("lease").into_iter().map(|span| span.process.as_str()).collect();
    assert_eq!(servers.len(), 2, "leases of both lives of the server");
    // The killed agent's own span was never ended; what it did below it was told, and hangs in the air.
    let killed: BTreeSet<_> = trace
        .0
        .iter()
        .filter(|span| span.service == "s3sync-agent")
        .map(|span| span.process.clone())
        .filter(|process| !trace.named("assignment").iter().any(|span| span.process == *process))
        .collect();
    assert_eq!(killed.len(), 1, "{killed:?}");
    let rest: Vec<_> =
        trace.0.iter().filter(|span| !killed.contains(&span.process)).cloned().collect();
    let rest = Trace(rest);
    assert_eq!(rest.root().unwrap().name, ROOT);
    let (_, agents) = places(&rest);
    assert_eq!(agents.len(), 2, "the one that went on, and the one that came");
    let went_on = rest.named("assignment").into_iter().any(|span| {
        let lease = rest.0.iter().find(|lease| lease.id == span.parent).unwrap();
        lease.process == rest.named("s3sync.v1.JobService/RunJob")[0].process
    });
    assert!(went_on, "work that was leased before the restart went on after it: {rest:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_events_way_from_the_queue_to_the_object_in_place_is_a_trace() {
    let (mut world, _folder, collector) = traced(Protocol::Grpc, &[]).await;
    let _queues = world.start_queue(QueueConfig::new("media-events")).await.unwrap();
    world.apply_job_with_events("media-events", "").await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    west.change(SOURCE, "srcfolder/k", Some(Object::new("told by an event")));
    until("it is copied", RUN_BOUND, || {
        let copy = china.object(CHINA_DESTINATION, "destfolder/k");
        std::future::ready(if copy.is_some() { Ok(()) } else { Err("not there") })
    })
    .await;
    stop(&mut world).await;

    let trace = collector.trace_of("receive media-events");
    let root = trace.root().unwrap();
    assert_eq!(
        (root.name.as_str(), root.attributes["messaging.system"].as_str()),
        ("receive media-events", "aws_sqs")
    );
    let put = trace.named("S3/PutObject")[0];
    let expected = ["S3/PutObject", "key", "assignment", "lease", "events", "receive media-events"];
    assert_eq!(trace.path(put), expected);
    let agent = |name: &str| {
        trace.named(name).into_iter().map(|span| span.process.clone()).collect::<BTreeSet<_>>()
    };
    assert!(agent("assignment").contains(&put.process), "{trace:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_of_one_work_are_linked_and_a_scheduled_run_is_a_trace_of_its_own() {
    let (mut world, _folder, collector) = traced(Protocol::Grpc, &[]).await;
    let queues = world.start_queue(QueueConfig::new("media-events")).await.unwrap();
    let every = "schedule: { every: 12h, at_start: true }\n";
    world.apply_job_with_events("media-events", every).await.unwrap();
    let west = world.side("usw2");
    // Only who receives is there at first; the keys wait for one who can copy.
    let both = [("usw2", WEST_READ), ("cnn1", CHINA)];
    world.start_west("us-1").unwrap();
    for number in 0..3 {
        west.change(SOURCE, format!("srcfolder/{number}"), Some(Object::new("x")));
        until("it is told", RUN_BOUND, || {
            let waiting = queues.messages("media-events").len();
            std::future::ready(if waiting == 0 { Ok(()) } else { Err(waiting) })
        })
        .await;
    }
    world.start_agent("cn-1", "cn-north-1", &both, "").unwrap();
    until("all are copied", RUN_BOUND, || {
        let objects = world.side("cnn1").objects(CHINA_DESTINATION).len();
        std::future::ready(if objects == 3 { Ok(()) } else { Err(objects) })
    })
    .await;
    until("the scan has ended", RUN_BOUND, || async {
        let run = world.client().unwrap().get_run(&super::media(), None).await.unwrap();
        if run.state == RunState::Succeeded { Ok(()) } else { Err(run) }
    })
    .await;
    stop(&mut world).await;

    let spans = collector.spans();
    let receives: BTreeSet<_> = spans
        .iter()
        .filter(|span| span.name == "receive media-events")
        .map(|span| span.trace.clone())
        .collect();
    assert_eq!(receives.len(), 3, "each was received by itself");
    let linked = spans.iter().find(|span| span.name == "assignment" && !span.links.is_empty());
    let linked = linked.expect("the work of several events");
    let others: BTreeSet<_> = spans
        .iter()
        .filter(|span| linked.links.contains(&span.id))
        .map(|span| (span.name.as_str(), span.trace.clone()))
        .collect();
    assert!(!others.is_empty());
    for (name, trace) in others {
        assert_eq!(name, "events");
        assert!(receives.contains(&trace) && trace != linked.trace);
    }
    let scan = collector.trace_of("start");
    assert_eq!(scan.root().unwrap().name, "start");
    let list = scan.named("S3/ListObjectsV2")[0];
    assert_eq!(scan.path(list), ["S3/ListObjectsV2", "assignment", "lease", "start"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_trace_that_is_not_chosen_what_failed_is_told_with_what_is_above() {
    let few = [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.000000000001"),
        ("S3SYNC_AGENT_TRACE_REQUESTS", "0"),
    ];
    let (mut world, _folder, collector) = traced(Protocol::Http, &few).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 40, 8);
    world.apply_job().await.unwrap();
    let fails = vec![Rule::of("PutObject", Fault::InternalError, When::Nth(3))];
    world.side("cnn1").set_faults(Faults::new(1, fails));
    start_two(&mut world).await;
    world.ctl_ok(&["job", "run", "media", "--wait"]).await.unwrap();
    stop(&mut world).await;

    // Of all there was: the one request that failed, the object it was for, and the work that was.
    let spans = collector.spans();
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["S3/PutObject", "assignment", "copy"], "{spans:#?}");
    let trace = collector.trace_of("S3/PutObject");
    let failed = trace.named("S3/PutObject")[0];
    assert!(failed.failed, "{failed:?}");
    assert_eq!(failed.attributes["error.type"], "InternalError");
    assert_eq!(failed.attributes["http.response.status_code"], "IntValue(500)");
    assert_eq!(trace.path(failed), ["S3/PutObject", "copy", "assignment"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_holds_up_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, protocol) in [(gone, "grpc"), (silent.local_addr().unwrap(), "http/protobuf")] {
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let (mut world, _folder) = world_with(Times::short(), environment).await;
        objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 10, 8);
        world.apply_job().await.unwrap();
        world.start_west("us-1").unwrap();
        world.start_china("cn-1").unwrap();
        let client = world.client().unwrap();
        let run = super::start_run(&world).await;
        let run = super::ended(&world, &run).await;
        assert_eq!(run.state, RunState::Succeeded, "{}", world.logs());
        drop(client);
        let began = tokio::time::Instant::now();
        world.ctl_ok(&["job", "list"]).await.unwrap();
        // 1.5 s are allowed for what is delivered in vain; the rest is for a machine that is busy with other tests.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        stop(&mut world).await;
        let said = world.logs().matches("traces cannot be delivered").count();
        // Each of the three programs at most once.
        assert!(said <= 3, "{said}: {}", world.logs());
        if protocol == "http/protobuf" {
            let late = world.logs().matches("the collector did not answer within 2s").count();
            assert_eq!(
                late,
                3,
                "server and agents end without their last metrics: {}",
                world.logs()
            );
        }
    }
}

/// A folder with an authority, and a certificate of it for this machine.
fn authority() -> (tempfile::TempDir, Shown) {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap().pem();
    (folder, Shown { certificate, key: key.serialize_pem() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_an_own_authority_is_trusted_by_both_protocols_and_only_when_told() {
    let (folder, shown) = authority();
    for protocol in [Protocol::Grpc, Protocol::Http] {
        for (file, trusted) in [("ca.pem", true), ("other.pem", false)] {
            let collector = Collector::start_behind(protocol, shown.clone()).await.unwrap();
            let mut environment = collector.environment();
            let file = folder.path().join(file).display().to_string();
            environment.push(("OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(), file.clone()));
            let (mut world, _folder) = world_with(Times::short(), environment).await;
            let listed = world.ctl(&["job", "list"]).await.unwrap();
            assert!(listed.status.success(), "telemetry keeps nobody from work: {listed:?}");
            world.stop_server().await.unwrap();
            let services: BTreeSet<_> =
                collector.spans().into_iter().map(|span| span.service).collect();
            let metrics = collector.metrics().len();
            if trusted {
                let expected = BTreeSet::from(["s3sync-server".into(), "s3syncctl".into()]);
                assert_eq!(services, expected, "{protocol:?}\n{}", world.logs());
                assert!(metrics > 0, "{protocol:?}\n{}", world.logs());
            } else {
                assert_eq!((services.len(), metrics), (0, 0), "{protocol:?}");
                let logs = world.logs();
                for what in ["traces are not delivered", "metrics are not sent"] {
                    let line = logs.lines().find(|line| line.contains(what)).expect(&logs);
                    let named = line.contains("OTEL_EXPORTER_OTLP_CERTIFICATE");
                    assert!(named && line.contains(&file), "{line}");
                }
            }
        }
    }
}
