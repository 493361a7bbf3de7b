//! How a run stands, for somebody who watches it.

use std::time::Duration;

use s3sync_proto::model::{
    Happening, KeyRange, Operation, Outcome, RangeState, RequestSide, RequestUsage, RunStage,
    RunState, Trigger, Usage, WaitReason, WaitUsage,
};

use super::bench::{Bench, TTL, destination, key, name, report, transient};
use crate::store::{Error, StartRun};

fn states(view: &s3sync_proto::model::RunView) -> String {
    let states = view.strips.iter().map(|strip| {
        let letter = |state: &RangeState| match state {
            RangeState::Waiting => 'w',
            RangeState::PutOff => 'p',
            RangeState::Held => 'h',
            RangeState::Done => 'd',
            RangeState::GivenUp => 'g',
        };
        strip.states.iter().map(letter).collect::<String>()
    });
    states.collect::<Vec<_>>().join(" ")
}

pub(super) async fn strips(mut bench: Bench) {
    bench.put_job("media", vec![destination("cnn1", "target"), destination("usw2", "other")]).await;
    let run = bench.start().await;
    let look = async |bench: &Bench| {
        bench.store.run_view(&run.job, Some(run.number), bench.now).await.unwrap()
    };
    let (view, sessions) = look(&bench).await;
    assert_eq!((view.stage, view.run.state), (RunStage::Scan, RunState::Pending));
    assert_eq!((view.connected_agents, view.free_places), (0, 0));
    assert_eq!((states(&view).as_str(), sessions.len()), ("w w", 0));

    let session = bench.connect("a", "1", Vec::new()).await.session;
    let first = bench.take(session).await.held;
    bench.done(first, Outcome::Checkpoint, [None, Some("c")], 3).await;
    bench.cut(first, "t", None).await.unwrap();
    bench.cut(first, "m", Some("t")).await.unwrap();
    let (view, sessions) = look(&bench).await;
    assert_eq!(states(&view), "hww w", "in the order of keys, not in that of their making");
    assert_eq!(sessions, [None], "its agent does not tell what it does");
    assert_eq!((view.agents[0].agent.clone(), view.agents[0].held), (name("a"), 1));
    assert_eq!((view.connected_agents, view.free_places), (1, view.agents[0].capacity - 1));
    let [held] = view.held.as_slice() else { panic!("{:?}", view.held) };
    assert_eq!((held.destination, held.position, held.lost), (0, 0, 0));
    assert_eq!((&held.agent, held.since), (&name("a"), bench.now));
    assert_eq!(held.range, KeyRange { after: None, until: Some(key("m")) });
    assert_eq!(held.cursor, Some(key("c")));

    bench.say(report(first, transient(), [Some("c"), Some("d")], 1)).await.unwrap();
    assert_eq!(states(&look(&bench).await.0), "pww w", "it is tried again after a while");
    bench.pass(Duration::from_secs(3600));
    assert_eq!(states(&look(&bench).await.0), "www w");
    let missing = bench.store.run_view(&name("none"), None, bench.now).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
}

pub(super) async fn expected(bench: Bench) {
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let whole = async |keys: u64| {
        let run = bench.start().await;
        let held = bench.take(session).await.held;
        bench.done(held, Outcome::Completed, [None, None], keys).await;
        run
    };
    let of = async || bench.store.run_view(&name("media"), None, bench.now).await.unwrap().0;
    let first = whole(70).await;
    assert_eq!(of().await.expected_by, None, "there was no run before the first");
    bench.start().await;
    let view = of().await;
    assert_eq!((view.expected_by, view.strips[0].expected_keys), (Some(first), Some(70)));
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Checkpoint, [None, Some("x")], 71).await;
    let view = of().await;
    assert_eq!(view.strips[0].expected_keys, Some(70), "also when it was wrong");
    bench.done(held, Outcome::Completed, [Some("x"), None], 1).await;

    // Another destination has other keys to look at.
    bench.put_job("media", vec![destination("usw2", "other")]).await;
    bench.start().await;
    assert_eq!(of().await.strips[0].expected_keys, None);
}

pub(super) async fn named_keys(bench: Bench) {
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let run = bench.start().await;
    let held = bench.take(session).await.held;
    let failures: Vec<_> = ["b", "f"].map(|text| super::bench::failure(key(text))).into();
    let mut failed = report(held, Outcome::Completed, [None, None], 9);
    failed.counters.in_step = 7;
    failed.counters.failed = 2;
    failed.failures = failures;
    bench.say(failed).await.unwrap();
    let retry =
        StartRun { trigger: Trigger::Retry, retries: Some(run.number), ..bench.start_of("media") };
    bench.store.start_run(retry, bench.now).await.unwrap();
    let view = bench.store.run_view(&run.job, None, bench.now).await.unwrap().0;
    assert_eq!((view.stage, states(&view).as_str()), (RunStage::Keys, "w"));
    assert_eq!(view.strips[0].expected_keys, Some(2));
    assert_eq!(view.expected_by, None, "its own keys are known");
}

pub(super) async fn reported(mut bench: Bench) {
    let request = |operation, made| RequestUsage {
        side: RequestSide::Source,
        operation,
        made,
        slowed: 1,
        failed: 0,
        time: Duration::from_millis(5),
    };
    let wait = WaitUsage { reason: WaitReason::Listing, time: Duration::from_secs(2) };
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.cut(held, "m", None).await.unwrap();
    let mut first = report(held, Outcome::Checkpoint, [None, Some("c")], 3);
    first.extras.usage = Usage { requests: vec![request(Operation::List, 2)], waits: vec![wait] };
    bench.say(first.clone()).await.unwrap();
    // Its acknowledgement was lost; it counts once.
    bench.say(first).await.unwrap();
    let mut last = report(held, Outcome::Checkpoint, [Some("c"), Some("d")], 1);
    last.extras.usage.requests = vec![request(Operation::Get, 4), request(Operation::List, 1)];
    bench.say(last).await.unwrap();

    bench.pass(TTL * 2);
    bench.store.expire_sessions(bench.now).await.unwrap();
    bench.store.pause_run(&run, "paused by a person").await.unwrap();
    bench.store.resume_run(&run, bench.now).await.unwrap();
    bench.store.cancel_run(&run, bench.now).await.unwrap();

    let report = bench.store.run_report(&run.job, None).await.unwrap();
    assert_eq!((report.splits, report.losses), (1, 1));
    let [usage] = report.usages.as_slice() else { panic!("{report:?}") };
    let made: Vec<_> =
        usage.requests.iter().map(|one| (one.operation, one.made, one.slowed)).collect();
    assert_eq!(made, [(Operation::List, 3, 2), (Operation::Get, 4, 1)]);
    assert_eq!(usage.waits, [wait]);
    let happened: Vec<_> = report.timeline.iter().map(|entry| entry.what.clone()).collect();
    let states = |states: &[RunState]| states.iter().copied().map(Happening::State).collect();
    let mut expected: Vec<Happening> = states(&[RunState::Pending, RunState::Running]);
    expected.push(Happening::Lost(name("a")));
    let rest: Vec<Happening> =
        states(&[RunState::Paused, RunState::Running, RunState::Cancelling, RunState::Cancelled]);
    expected.extend(rest);
    assert_eq!(happened, expected);
    assert_eq!(report.timeline[3].reason, "paused by a person");
    assert_eq!(report.run.state, RunState::Cancelled);
}
