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
