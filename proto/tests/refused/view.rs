//! Views of runs that make no sense.

use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire;

#[test]
fn views_of_runs() {
    let view = || pb::RunView {
        run: Some(pb::Run {
            name: "jobs/a/runs/1".to_owned(),
            state: pb::RunState::Running.into(),
            trigger: pb::Trigger::Manual.into(),
            ..Default::default()
        }),
        stage: pb::RunStage::Scan.into(),
        source_endpoint: "usw2".to_owned(),
        ..Default::default()
    };
    assert!(wire::run_view_from(view()).is_ok());
    let held = pb::HeldRange { destination: -1, agent: "x".to_owned(), ..Default::default() };
    let bad = pb::RunView {
        run: None,
        stage: 99,
        source_endpoint: String::new(),
        strips: vec![pb::RangeStrip { states: vec![1, 0, 77], expected_keys: Some(-3) }],
        held: vec![held],
        agents: vec![pb::RunAgent { agent: "agents/a".to_owned(), held: -2, ..Default::default() }],
        free_places: -1,
        expected_by: "media".to_owned(),
        ..view()
    };
    let problems = wire::run_view_from(bad).unwrap_err().to_string();
    for field in [
        "run.name",
        "stage: 99",
        "source_endpoint: is missing",
        "strips[0].states[1]: 0",
        "strips[0].states[2]: 77",
        "strips[0].expected_keys: -3",
        "held[0].destination: -1",
        "held[0].agent",
        "agents[0].held: -2",
        "free_places: -1",
        "expected_by",
    ] {
        assert!(problems.contains(field), "{field} is not in {problems}");
    }
}

#[test]
fn reports_of_runs_and_what_is_not_known_in_them() {
    let request = |operation: i32, made: i64| pb::RequestUsage {
        side: pb::RequestSide::Source.into(),
        operation,
        made,
        ..Default::default()
    };
    let wait = |reason: i32| pb::WaitUsage { reason, time: None };
    let report = |usage: pb::Usage, entry: pb::TimelineEntry| pb::RunReport {
        run: Some(pb::Run {
            name: "jobs/a/runs/1".to_owned(),
            state: pb::RunState::Running.into(),
            trigger: pb::Trigger::Manual.into(),
            ..Default::default()
        }),
        source_endpoint: "usw2".to_owned(),
        usages: vec![usage],
        timeline: vec![entry],
        ..Default::default()
    };
    // Of a newer version: left out, and nothing else is lost by it.
    let newer = pb::Usage {
        requests: vec![request(99, 5), request(1, 3), request(1, 4)],
        waits: vec![wait(77), wait(1)],
    };
    let entry = pb::TimelineEntry { state: 99, ..Default::default() };
    let known = wire::run_report_from(report(newer, entry)).unwrap();
    let [one] = known.usages[0].requests.as_slice() else { panic!("{known:?}") };
    assert_eq!(one.made, 7, "each is there once");
    assert_eq!((known.usages[0].waits.len(), known.timeline.len()), (1, 0));

    let bad = pb::Usage { requests: vec![request(1, -2)], waits: Vec::new() };
    let entry = pb::TimelineEntry { lost_agent: "x".to_owned(), ..Default::default() };
    let mut bad = report(bad, entry);
    bad.splits = -1;
    let problems = wire::run_report_from(bad).unwrap_err().to_string();
    for field in ["usages[0].requests[0].made: -2", "timeline[0].lost_agent", "splits: -1"] {
        assert!(problems.contains(field), "{field} is not in {problems}");
    }
}
