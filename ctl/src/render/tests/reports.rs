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

fn group(size: u64, class: FailureClass, code: &str, key: &str, message: &str) -> FailureGroup {
    let sample = Failure {
        key: Key::from(key),
        destination: 1,
        class,
        code: code.into(),
        message: message.into(),
        s3_request_id: "R1".into(),
        attempts: 1,
        first: at(1),
        last: at(2),
    };
    FailureGroup { size, sample }
}

/// A run of a job that mirrors to two sides, with everything a run can meet.
fn eventful() -> RunReport {
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
    let mut run = run();
    run.destinations = vec![
        progress(location("usw2", "destbucket-usw2", "destfolder/"), west),
        progress(location("cnn1", "destbucket-cnn1", "destfolder/"), china),
    ];
    run.trigger = Trigger::Schedule;
    run.nominal = Some(at(0));
    run.started = Some(at(2));
    run.ended = Some(at(4_510));
    let happened = |seconds, what| TimelineEntry { time: at(seconds), what, reason: String::new() };
    let because = |seconds, what, reason: &str| TimelineEntry {
        time: at(seconds),
        what,
        reason: reason.into(),
    };
    let slowed = RequestUsage {
        slowed: 311,
        failed: 138,
        ..asked(RequestSide::Destination, Operation::Put, 4_566, 118)
    };
    RunReport {
        run,
        source: location("usw2", "srcbucket", "srcfolder/"),
        usages: vec![
            Usage {
                requests: vec![
                    asked(RequestSide::Source, Operation::List, 1_206, 31),
                    asked(RequestSide::Destination, Operation::List, 1_206, 29),
                    asked(RequestSide::Destination, Operation::Copy, 4_308, 74),
                ],
                waits: vec![WaitUsage {
                    reason: WaitReason::Listing,
                    time: Duration::from_millis(31_400),
                }],
            },
            Usage {
                requests: vec![
                    asked(RequestSide::Source, Operation::List, 1_206, 33),
                    asked(RequestSide::Source, Operation::Get, 4_400, 9),
                    asked(RequestSide::Destination, Operation::List, 1_206, 212),
                    slowed,
                ],
                waits: vec![
                    WaitUsage { reason: WaitReason::SlowDown, time: Duration::from_secs(1_930) },
                    WaitUsage { reason: WaitReason::Lease, time: Duration::from_millis(40) },
                ],
            },
        ],
        timeline: vec![
            happened(0, Happening::State(RunState::Pending)),
            happened(2, Happening::State(RunState::Running)),
            happened(2, Happening::Stage(RunStage::Scan)),
            happened(931, Happening::Lost("cn-1".parse().unwrap())),
            because(
                3_600,
                Happening::State(RunState::AwaitingApproval),
                "600 keys to delete are more than max_count (500)",
            ),
            happened(4_402, Happening::Stage(RunStage::Delete)),
            happened(4_510, Happening::State(RunState::FinishedWithFailures)),
        ],
        splits: 14,
        losses: 3,
        failures: vec![
            group(
                138,
                FailureClass::Permanent,
                "AccessDenied",
                "photos/2024/01/17/0042.jpg",
                "PutObject: the bucket's policy refuses it",
            ),
            group(
                2,
                FailureClass::Archived,
                "InvalidObjectState",
                "old/1",
                "the object is archived (GLACIER)",
            ),
            group(
                1,
                FailureClass::Permanent,
                "PreconditionFailed",
                "a/b",
                "DeleteObject: the object changed meanwhile",
            ),
        ],
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
