//! The report of a run and a plan, as golden files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use expect_test::expect_file;
use s3sync_proto::model::{
    CopyWay, DestinationPlan, FailureGroup, Happening, JobPlan, Operation, PlanTally, PlannedKeys,
    RequestSide, RequestUsage, RunReport, RunStage, TimelineEntry, Usage, WaitReason, WaitUsage,
};

use super::*;

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/golden").join(name);
    expect_file![path].assert_eq(text);
}

fn location(endpoint: &str, bucket: &str, prefix: &str) -> Location {
    Location { endpoint: endpoint.parse().unwrap(), bucket: bucket.into(), prefix: prefix.into() }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

fn progress(location: Location, counters: Counters) -> DestinationProgress {
    DestinationProgress { location, counters, open_ranges: 0, leased_ranges: 0, done_ranges: 4 }
}

fn asked(side: RequestSide, operation: Operation, made: u64, millis_each: u64) -> RequestUsage {
    let time = Duration::from_millis(made * millis_each);
    RequestUsage { side, operation, made, slowed: 0, failed: 0, time }
}

fn group(size: u64, class: FailureClass, code: &str, key: &str) -> FailureGroup {
    let sample = Failure {
        key: Key::from(key),
        destination: 1,
        class,
        code: code.into(),
        message: "PutObject: the endpoint's own words".into(),
        s3_request_id: "R1".into(),
        attempts: 1,
        first: at(1),
        last: at(2),
    };
    FailureGroup { size, sample }
}

/// What a run of a job that mirrors counted at two sides.
fn mirrored() -> [Counters; 2] {
    let west = Counters {
        listed: 1_204_311,
        in_step: 1_200_000,
        copied: 4_310,
        vanished: 1,
        filtered: 12,
        extra: 300,
        deleted: 300,
        copied_bytes: 41 << 30,
        copied_server_side: 4_310,
        copied_server_side_bytes: 41 << 30,
        copied_server_side_parts: 2,
        copied_server_side_parts_bytes: 12 << 30,
        ..Counters::default()
    };
    let china = Counters {
        listed: 1_204_311,
        in_step: 1_199_870,
        copied: 4_300,
        failed: 138,
        vanished: 1,
        archived: 2,
        filtered: 12,
        extra: 300,
        deleted: 299,
        not_deleted: 1,
        copied_bytes: 40 << 30,
        copied_parts: 42,
        copied_parts_bytes: 31 << 30,
        repaired: 7,
        server_side_refused: 3,
        ..Counters::default()
    };
    [west, china]
}

/// What it asked for and waited for there.
fn used() -> Vec<Usage> {
    use RequestSide::{Destination, Source};
    let waited = |reason, millis| WaitUsage { reason, time: Duration::from_millis(millis) };
    let slowed =
        RequestUsage { slowed: 311, failed: 138, ..asked(Destination, Operation::Put, 4_566, 118) };
    vec![
        Usage {
            requests: vec![
                asked(Source, Operation::List, 1_206, 31),
                asked(Destination, Operation::List, 1_206, 29),
                asked(Destination, Operation::Copy, 4_308, 74),
            ],
            waits: vec![waited(WaitReason::Listing, 31_400)],
        },
        Usage {
            requests: vec![
                asked(Source, Operation::List, 1_206, 33),
                asked(Source, Operation::Get, 4_400, 9),
                asked(Destination, Operation::List, 1_206, 12_120),
                slowed,
            ],
            waits: vec![waited(WaitReason::SlowDown, 36_000_000), waited(WaitReason::Lease, 40)],
        },
    ]
}

/// What happened to it.
fn happened() -> Vec<TimelineEntry> {
    use Happening::{Lost, Stage, State};
    let entry = |seconds, what, reason: &str| TimelineEntry {
        time: at(seconds),
        what,
        reason: reason.into(),
    };
    let why = "600 keys to delete are more than max_count (500)";
    vec![
        entry(0, State(RunState::Pending), ""),
        entry(2, State(RunState::Running), ""),
        entry(2, Stage(RunStage::Scan), ""),
        entry(931, Lost("cn-1".parse().unwrap()), ""),
        entry(3_600, State(RunState::AwaitingApproval), why),
        entry(4_402, Stage(RunStage::Delete), ""),
        entry(4_510, State(RunState::FinishedWithFailures), ""),
    ]
}

/// A run that met everything a run can meet.
fn eventful() -> RunReport {
    let [west, china] = mirrored();
    let mut run = run();
    run.destinations = vec![
        progress(location("usw2", "destbucket-usw2", "destfolder/"), west),
        progress(location("cnn1", "destbucket-cnn1", "destfolder/"), china),
    ];
    run.trigger = Trigger::Schedule;
    run.nominal = Some(at(0));
    run.started = Some(at(2));
    run.ended = Some(at(4_510));
    let failures = [
        (138, FailureClass::Permanent, "AccessDenied", "photos/2024/01/17/0042.jpg"),
        (2, FailureClass::Archived, "InvalidObjectState", "old/1"),
        (1, FailureClass::Permanent, "PreconditionFailed", "a/b"),
    ];
    RunReport {
        run,
        source: location("usw2", "srcbucket", "srcfolder/"),
        usages: used(),
        timeline: happened(),
        splits: 14,
        losses: 3,
        failures: failures.map(|(size, class, code, key)| group(size, class, code, key)).to_vec(),
    }
}

#[test]
fn the_report_of_an_eventful_run() {
    golden("report.eventful.txt", &report(&eventful()));
}

#[test]
fn the_report_of_a_run_that_found_everything_in_step() {
    let counters = Counters { listed: 300, in_step: 300, ..Counters::default() };
    let mut run = run();
    run.state = RunState::Succeeded;
    run.destinations = vec![progress(location("cnn1", "destbucket-cnn1", "destfolder/"), counters)];
    run.ended = Some(at(1));
    let state = |seconds, state| TimelineEntry {
        time: at(seconds),
        what: Happening::State(state),
        reason: String::new(),
    };
    let quiet = RunReport {
        run,
        source: location("usw2", "srcbucket", "srcfolder/"),
        usages: vec![Usage {
            requests: vec![
                asked(RequestSide::Source, Operation::List, 1, 31),
                asked(RequestSide::Destination, Operation::List, 1, 90),
            ],
            waits: Vec::new(),
        }],
        timeline: vec![
            state(0, RunState::Pending),
            state(0, RunState::Running),
            state(1, RunState::Succeeded),
        ],
        splits: 0,
        losses: 0,
        failures: Vec::new(),
    };
    golden("report.quiet.txt", &report(&quiet));
}

#[test]
fn the_report_of_a_run_that_never_started() {
    let mut run = run();
    run.state = RunState::Cancelled;
    run.reason = "cancelled by alice".into();
    run.started = None;
    run.destinations =
        vec![progress(location("cnn1", "destbucket-cnn1", "destfolder/"), Counters::default())];
    let never = RunReport {
        run,
        source: location("usw2", "srcbucket", "srcfolder/"),
        usages: vec![Usage::default()],
        timeline: Vec::new(),
        splits: 0,
        losses: 0,
        failures: Vec::new(),
    };
    golden("report.never.txt", &report(&never));
}

fn keys(objects: u64, bytes: u64, samples: &[&str]) -> PlannedKeys {
    PlannedKeys { objects, bytes, samples: samples.iter().map(|key| Key::from(*key)).collect() }
}

#[test]
fn a_plan_for_people() {
    let west = PlanTally {
        listed: 1_204_311,
        in_step: 1_200_000,
        filtered: 12,
        copies: BTreeMap::from([
            (CopyWay::ServerSide, keys(4_309, 29 << 30, &["a/1.jpg", "a/2.jpg", "a/3.jpg"])),
            (CopyWay::ServerSideParts, keys(2, 12 << 30, &["video/1.mov", "video/2.mov"])),
        ]),
        extra: keys(300, 1 << 20, &["gone/1", "gone/2", "gone/3"]),
        read_requests: 0,
        write_requests: 4_402,
        ..PlanTally::default()
    };
    let china = PlanTally {
        listed: 1_204_311,
        in_step: 1_199_870,
        copies: BTreeMap::from([
            (CopyWay::Single, keys(4_300, 9 << 30, &["a/1.jpg", "a/2.jpg", "a/3.jpg"])),
            (CopyWay::Parts, keys(1, 31 << 30, &["video/1.mov"])),
            (CopyWay::Repair, keys(7, 4_096, &["a/b c", "a/line\nfeed", "d"])),
        ]),
        archived: keys(2, 2 << 30, &["old/1", "old/2"]),
        failing: keys(1, 1, &["denied"]),
        vanished: 1,
        read_requests: 4_312,
        write_requests: 4_420,
        ..PlanTally::default()
    };
    let destination = |index, location, problem, tally, extra_fate: &str| DestinationPlan {
        index,
        location,
        problem,
        tally,
        list_requests: 2_412,
        extra_fate: extra_fate.into(),
    };
    let plan = JobPlan {
        job: "media".parse().unwrap(),
        complete: true,
        destinations: vec![
            destination(
                0,
                location("usw2", "destbucket-usw2", "destfolder/"),
                None,
                west,
                "they would be deleted: the guards of the job allow it",
            ),
            destination(
                1,
                location("cnn1", "destbucket-cnn1", "destfolder/"),
                Some("no agent with a credential for cnn1 is connected".into()),
                china,
                "they stay: the job deletes nothing",
            ),
        ],
        not_carried: vec!["access control lists".into(), "object lock".into()],
    };
    golden("plan.txt", &super::plan(&plan, Output::Table));
}
