//! What is refused, and what is said of it.

mod events;
mod view;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use prost_types::{Duration, Timestamp};
use s3sync_proto::model::{Held, Invalid, MAX_DESTINATIONS, MAX_KEY_BYTES};
use s3sync_proto::pb::agent::v1 as agent_pb;
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire::{self, UnknownMessage};

use crate::values;

/// A job without any problem, in which each case breaks something.
fn good() -> pb::Job {
    let location = |bucket: &str| pb::Location {
        endpoint: "usw2".to_owned(),
        bucket: bucket.to_owned(),
        prefix: "a/".to_owned(),
    };
    let destination =
        |bucket: &str| pb::Destination { location: Some(location(bucket)), ..Default::default() };
    pb::Job {
        source: Some(location("from")),
        destinations: vec![destination("to-1"), destination("to-2")],
        ..Default::default()
    }
}

/// `field: beginning of the description`, for each violation.
fn told(invalid: &Invalid) -> Vec<String> {
    invalid.violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Invalid>, expected: &[&str]) {
    let told = told(&result.expect_err("must be refused"));
    let fits = told.len() == expected.len()
        && told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected));
    assert!(fits, "told {told:#?}, expected {expected:#?}");
}

#[track_caller]
fn job(change: impl FnOnce(&mut pb::Job), expected: &[&str]) {
    let mut job = good();
    change(&mut job);
    refused(wire::job_spec(job), expected);
}

fn location(job: &mut pb::Job, index: usize) -> &mut pb::Location {
    job.destinations[index].location.as_mut().unwrap()
}

fn source(job: &mut pb::Job) -> &mut pb::Location {
    job.source.as_mut().unwrap()
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

#[test]
fn the_good_job_is_good() {
    assert!(wire::job_spec(good()).is_ok());
}

#[test]
fn places() {
    job(|job| job.source = None, &["source: is missing"]);
    job(|job| job.destinations.clear(), &["destinations: is empty"]);
    job(
        |job| job.destinations = vec![job.destinations[0].clone(); MAX_DESTINATIONS + 1],
        &["destinations: has 17; at most 16"],
    );
    job(|job| job.destinations[1].location = None, &["destinations[1]: is missing"]);
    job(|job| source(job).endpoint.clear(), &["source.endpoint: is missing"]);
    job(|job| location(job, 1).endpoint = "US".to_owned(), &["destinations[1].endpoint: \"US\""]);
    job(|job| source(job).bucket.clear(), &["source.bucket: is missing"]);
    for bucket in ["ab", "a/b", "a b", "..", "a..b", ".abc", "-abc", "bücket", &"x".repeat(256)] {
        job(|job| location(job, 0).bucket = bucket.to_owned(), &["destinations[0].bucket: "]);
    }
    job(
        |job| source(job).prefix = "x".repeat(MAX_KEY_BYTES + 1),
        &["source.prefix: has 1025 bytes; at most 1024"],
    );
}

#[test]
fn limits_are_allowed() {
    let mut job = good();
    job.destinations = vec![job.destinations[0].clone(); MAX_DESTINATIONS];
    source(&mut job).prefix = "x".repeat(MAX_KEY_BYTES);
    source(&mut job).bucket = "abc".to_owned();
    location(&mut job, 0).bucket = "x".repeat(255);
    job.schedule = Some(pb::Schedule { every: seconds(1), ..Default::default() });
    for percent in [0.0, 100.0] {
        job.deletes = Some(pb::DeletePolicy { max_percent: Some(percent), ..Default::default() });
        let spec = wire::job_spec(job.clone()).unwrap();
        // 0 is a bound of its own, not "no bound".
        assert_eq!(spec.deletes.max_percent, Some(percent));
    }
}

#[test]
fn how_objects_are_written() {
    let encryption = |algorithm: &str, key: &str| {
        Some(pb::Encryption { algorithm: algorithm.to_owned(), kms_key_id: key.to_owned() })
    };
    job(
        |job| job.destinations[1].storage_class = "standard_ia".to_owned(),
        &["destinations[1].storage_class: \"standard_ia\" is not a storage class"],
    );
    job(
        |job| job.destinations[0].encryption = encryption("aes", ""),
        &["destinations[0].encryption.algorithm: \"aes\" is not known; use AES256"],
    );
    job(
        |job| job.destinations[0].encryption = encryption("AES256", "key"),
        &["destinations[0].encryption.kms_key_id: goes with aws:kms"],
    );
}

#[test]
fn which_objects() {
    let filter = |filter: pb::Filter, expected: &[&str]| {
        job(|job| job.filter = Some(filter), expected);
    };
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    filter(
        pb::Filter {
            include: vec![String::new()],
            exclude: vec![String::new()],
            ..Default::default()
        },
        &["filter.include[0]: \"\" is empty", "filter.exclude[0]: \"\" is empty"],
    );
    let one =
        |pattern: &str| pb::Filter { include: vec![pattern.to_owned()], ..Default::default() };
    filter(one("a["), &["filter.include[0]: \"a[\" is not a pattern"]);
    filter(one("[é]"), &["filter.include[0]: \"[é]\" has a character outside ASCII"]);
    let many = pb::Filter { exclude: vec!["a".to_owned(); 101], ..Default::default() };
    filter(many, &["filter.exclude: has 101 patterns; at most 100"]);
    filter(
        pb::Filter { min_size: -1, max_size: i64::MIN, ..Default::default() },
        &["filter.min_size: -1 is negative", "filter.max_size: -9223372036854775808 is negative"],
    );
    filter(
        pb::Filter { min_size: 2, max_size: 1, ..Default::default() },
        &["filter.max_size: is below filter.min_size"],
    );
    // A time that is none must not become "no bound".
    filter(
        pb::Filter { modified_after: time(i64::MAX), ..Default::default() },
        &["filter.modified_after: is not a time"],
    );
    filter(
        pb::Filter {
            modified_before: Some(Timestamp { seconds: 0, nanos: -1 }),
            ..Default::default()
        },
        &["filter.modified_before: is not a time"],
    );
    filter(
        pb::Filter { modified_after: time(5), modified_before: time(5), ..Default::default() },
        &["filter.modified_before: is not later"],
    );
}

#[test]
fn rules_and_bounds() {
    job(|job| job.compare = 99, &["compare: 99 is not a value"]);
    for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        let deletes = pb::DeletePolicy { max_percent: Some(percent), ..Default::default() };
        job(|job| job.deletes = Some(deletes), &["deletes.max_percent: "]);
    }
    let deletes = pb::DeletePolicy {
        mode: 7,
        max_count: Some(-1),
        max_per_hour: Some(-2),
        ..Default::default()
    };
    job(
        |job| job.deletes = Some(deletes),
        &[
            "deletes.policy: 7 is not",
            "deletes.max_count: -1 is negative",
            "deletes.max_per_hour: -2 is negative",
        ],
    );
    let limits = pb::Limits { bandwidth: -1, requests_per_second: -1 };
    job(
        |job| job.limits = Some(limits),
        &["limits.bandwidth: -1", "limits.requests_per_second: -1"],
    );
    job(
        |job| job.events = Some(pb::EventSource { queue: "Q".to_owned() }),
        &["events.queue: \"Q\" is not a name"],
    );
}

#[test]
fn when_it_runs() {
    let schedule = |schedule: pb::Schedule, expected: &[&str]| {
        job(|job| job.schedule = Some(schedule), expected);
    };
    let cron = |text: &str| pb::Schedule { cron: text.to_owned(), ..Default::default() };
    schedule(
        pb::Schedule {
            every: Some(Duration { seconds: 0, nanos: 999_999_999 }),
            ..Default::default()
        },
        &["schedule.every: is too short; use 1s"],
    );
    for every in [-1, i64::MAX] {
        schedule(
            pb::Schedule { every: seconds(every), ..Default::default() },
            &["schedule.every: is not a duration"],
        );
    }
    schedule(
        pb::Schedule { every: seconds(60), ..cron("0 3 * * *") },
        &["schedule.cron: goes not together"],
    );
    schedule(cron("@daily"), &["schedule.cron: \"@daily\" is not a cron expression; write five"]);
    schedule(cron("0 0 3 * * *"), &["schedule.cron: "]);
    schedule(
        pb::Schedule { timezone: "../etc".to_owned(), ..cron("0 3 * * *") },
        &["schedule.timezone: \"../etc\" is not a time zone"],
    );
    schedule(
        pb::Schedule { timezone: "UTC".to_owned(), every: seconds(60), ..Default::default() },
        &["schedule.timezone: goes with schedule.cron"],
    );
    schedule(
        pb::Schedule { at_start: Some(false), ..Default::default() },
        &["schedule: starts nothing"],
    );
    schedule(
        pb::Schedule { every: seconds(60), jitter: seconds(-1), overlap: 9, ..Default::default() },
        &["schedule.jitter: is not a duration", "schedule.overlap: 9 is not"],
    );
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_fields() {
    job(
        |job| {
            source(job).bucket.clear();
            location(job, 1).bucket.clear();
            job.destinations[1].storage_class = "x".to_owned();
            job.compare = 99;
            job.limits = Some(pb::Limits { bandwidth: -1, requests_per_second: 0 });
        },
        &[
            "source.bucket: ",
            "destinations[1].bucket: ",
            "destinations[1].storage_class: ",
            "compare: ",
            "limits.bandwidth: ",
        ],
    );
}

#[test]
fn endpoints() {
    let endpoint = |region: &str, url: &str| pb::Endpoint {
        region: region.to_owned(),
        url: url.to_owned(),
        ..Default::default()
    };
    for url in [
        "minio:9000",
        "ftp://minio",
        "https://",
        "https://:9000",
        "https://minio/bucket",
        "https://minio?x",
        "https://minio#x",
        "https://mi nio",
        "https://minio:0",
        "https://minio:99999",
        "https://[::1]:x",
    ] {
        refused(wire::endpoint_spec(endpoint("r", url)), &["url: "]);
    }
    for url in
        ["", "http://127.0.0.1:9000", "https://minio.example/", "http://[::1]:9000", "http://[::1]"]
    {
        assert!(wire::endpoint_spec(endpoint("RegionOne", url)).is_ok(), "{url}");
    }
    refused(wire::endpoint_spec(endpoint("", "")), &["region: is missing"]);
    refused(wire::endpoint_spec(endpoint("us/west", "")), &["region: \"us/west\" is not a region"]);
    let bad = pb::Endpoint { etags: 9, max_object_size: -1, ..endpoint("r", "") };
    refused(wire::endpoint_spec(bad), &["etags: 9 is not", "max_object_size: -1 is negative"]);
    // Nothing of a URL with a user in it is repeated.
    let invalid = wire::endpoint_spec(endpoint("r", "https://me:pass@minio")).unwrap_err();
    assert!(!invalid.to_string().contains("pass"), "{invalid}");
}

#[test]
fn audit_entries() {
    let entry = pb::AuditEntry {
        name: "auditEntries/x".to_owned(),
        outcome: 9,
        ..pb::AuditEntry::default()
    };
    refused(wire::audit_entry_from(entry), &["name: is not auditEntries/NUMBER", "outcome: "]);
}

#[test]
fn a_resource_tells_all_its_problems_too() {
    let bucket = pb::BucketFacts { endpoint: "x".to_owned(), tags: 9, ..Default::default() };
    let endpoint = pb::Endpoint { buckets: vec![bucket], ..Default::default() };
    refused(
        wire::endpoint_from(endpoint),
        &[
            "name: is missing",
            "buckets[0].bucket: is missing",
            "buckets[0].tags: 9",
            "region: is missing",
        ],
    );
    let progress = pb::DestinationProgress {
        endpoint: "x".to_owned(),
        bucket: "abc".to_owned(),
        counters: Some(pb::Counters { copied: -1, ..Default::default() }),
        open_ranges: -1,
        ..Default::default()
    };
    let run =
        pb::Run { name: "jobs/a".to_owned(), destinations: vec![progress], ..Default::default() };
    refused(
        wire::run_from(run),
        &[
            "name: \"jobs/a\" is not jobs/JOB/runs/NUMBER",
            "state: 0 is not",
            "trigger: 0 is not",
            "destinations[0].counters.copied: -1",
            "destinations[0].open_ranges: -1",
        ],
    );
    let failure = pb::Failure {
        key: vec![0; MAX_KEY_BYTES + 1].into(),
        destination: -1,
        attempts: -1,
        ..Default::default()
    };
    refused(
        wire::failure_from(failure),
        &["key: has 1025 bytes", "class: 0 is not", "destination: -1", "attempts: -1"],
    );
}

fn from_agent(message: agent_pb::open_session_request::Message) -> UnknownMessage {
    let request = agent_pb::OpenSessionRequest { message: Some(message) };
    wire::from_agent(request).expect_err("must be refused")
}

#[track_caller]
fn invalid(unknown: UnknownMessage, expected: &[&str]) {
    let UnknownMessage::Invalid(invalid) = unknown else { panic!("{unknown:?}") };
    refused::<()>(Err(invalid), expected);
}

#[test]
fn messages_of_agents() {
    use agent_pb::open_session_request::Message;
    let unknown = wire::from_agent(agent_pb::OpenSessionRequest { message: None });
    assert_eq!(unknown, Err(UnknownMessage::Kind));
    let hello =
        agent_pb::Hello { min_protocol: 2, max_protocol: 1, capacity: -1, ..Default::default() };
    invalid(
        from_agent(Message::Hello(hello)),
        &["agent: is missing", "instance_id: is missing", "max_protocol: 2 to 1", "capacity: -1"],
    );
    let report = agent_pb::WorkReport {
        outcome: 4,
        cursor: Some(vec![0; MAX_KEY_BYTES + 1].into()),
        counters: Some(pb::Counters { failed: -1, ..Default::default() }),
        failures: vec![pb::Failure { class: 1, destination: -1, ..Default::default() }],
        gone: vec!["k".into()],
        gone_objects: vec!["o".repeat(257), String::new()],
        ..Default::default()
    };
    invalid(
        from_agent(Message::Report(report)),
        &[
            "error: is missing",
            "cursor: has 1025",
            "counters.failed: -1",
            "failures[0].destination: -1",
            "gone_objects: has 2 objects of 1 keys; give as many, or none",
            "gone_objects[0]: has 257 bytes; at most 256 are allowed",
        ],
    );
    invalid(from_agent(Message::Report(Default::default())), &["outcome: 0 is not"]);
    invalid(from_agent(Message::Refusal(Default::default())), &["error: is missing"]);
    invalid(from_agent(Message::Facts(Default::default())), &["facts: is missing"]);
}

/// Any assignment, for what is then broken in it.
fn assignment() -> agent_pb::Assignment {
    let any = values::assignment().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let message = wire::to_agent_to(s3sync_proto::model::ToAgent::Assignment(Box::new(any)));
    match message.message {
        Some(agent_pb::open_session_response::Message::Assignment(assignment)) => assignment,
        other => panic!("{other:?}"),
    }
}

fn to_agent(assignment: agent_pb::Assignment) -> UnknownMessage {
    use agent_pb::open_session_response::Message;
    let message = Some(Message::Assignment(assignment));
    wire::to_agent(agent_pb::OpenSessionResponse { message }).expect_err("must be refused")
}

#[test]
fn an_assignment_that_is_not_understood_can_be_refused_by_its_id() {
    let held = Held { id: 7, epoch: 3 };
    let known = agent_pb::Assignment { assignment_id: 7, epoch: 3, ..assignment() };
    let unknown_work = agent_pb::Assignment { work: None, ..known.clone() };
    let UnknownMessage::Assignment { held: told, problem } = to_agent(unknown_work) else {
        panic!("must be told as an assignment")
    };
    assert_eq!(told, held);
    refused::<()>(Err(problem), &["work: is of a kind this version does not know"]);

    let work = Some(agent_pb::assignment::Work::Reap(agent_pb::ReapWork {}));
    let careful = agent_pb::Assignment { careful: true, work, ..known.clone() };
    let UnknownMessage::Assignment { problem, .. } = to_agent(careful) else {
        panic!("must be told as an assignment")
    };
    refused::<()>(Err(problem), &["careful: is set, and the work is no range"]);
    let linked = agent_pb::Assignment { trace_links: vec![String::new(); 33], ..known.clone() };
    let UnknownMessage::Assignment { problem, .. } = to_agent(linked) else {
        panic!("its id is known");
    };
    refused::<()>(Err(problem), &["trace_links: are more than 32"]);

    let broken = agent_pb::Assignment {
        run: "jobs/a/runs/-".to_owned(),
        source_facts: None,
        compare: 99,
        uploads: vec![agent_pb::Upload {
            plan: Some(agent_pb::UploadPlan {
                size: 10_001,
                part_size: 1,
                opened_with: "x".repeat(129),
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..known
    };
    let UnknownMessage::Assignment { held: told, problem } = to_agent(broken) else {
        panic!("must be told as an assignment")
    };
    assert_eq!(told, held);
    refused::<()>(
        Err(problem),
        &[
            "run: \"jobs/a/runs/-\"",
            "source_facts: is missing",
            "compare: 99",
            "uploads[0]: has neither upload_id nor intent_time",
            "uploads[0].plan: is of an upload without an id",
            "uploads[0].plan.source_etag: is missing",
            "uploads[0].plan.part_size: 1 makes of 10001 bytes not between 1 and 10000 parts",
            "uploads[0].plan.opened_with: is longer than 128 bytes",
        ],
    );
}

#[test]
fn messages_to_agents() {
    use agent_pb::open_session_response::Message;
    let refuse = |message| {
        let response = agent_pb::OpenSessionResponse { message: Some(message) };
        wire::to_agent(response).expect_err("must be refused")
    };
    let unknown = wire::to_agent(agent_pb::OpenSessionResponse { message: None });
    assert_eq!(unknown, Err(UnknownMessage::Kind));
    invalid(
        refuse(Message::Lease(Default::default())),
        &["write_window: is missing", "heartbeat_interval: is missing"],
    );
    invalid(
        refuse(Message::Welcome(agent_pb::Welcome { protocol: -1, ..Default::default() })),
        &["protocol: -1", "lease.write_window: is missing", "lease.heartbeat_interval: is missing"],
    );
    invalid(refuse(Message::Ack(Default::default())), &["verdict: 0 is not"]);
    invalid(
        refuse(Message::Redirect(agent_pb::Redirect { within: seconds(-1) })),
        &["within: is not a duration"],
    );
}
