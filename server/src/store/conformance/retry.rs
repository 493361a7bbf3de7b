//! Key work: the failures of a run, looked at again by name.

use std::time::Duration;

use s3sync_proto::model::{
    Counters, FailureClass, Key, Outcome, RunName, RunState, Timestamp, Trigger, Verdict, Work,
};

use super::bench::{Bench, destination, failure, key, name};
use crate::store::{Error, MAX_KEY_WORKS_PER_DESTINATION, StartRun};

/// A run in which keys failed; returns its name.
async fn failed(bench: &Bench, keys: &[&str]) -> RunName {
    let run = bench.start().await;
    let session = bench.connect("first", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    let mut report = super::bench::report(held, Outcome::Completed, [None, None], 0);
    report.failures = keys.iter().map(|text| failure(key(text))).collect();
    let failed = keys.len() as u64;
    report.counters = Counters { listed: failed, failed, ..Counters::default() };
    assert_eq!(bench.store.report(report, bench.now).await.unwrap(), Verdict::Applied);
    bench.store.close_session(session, bench.now).await.unwrap();
    run
}

fn retry_of(bench: &Bench, run: &RunName) -> StartRun {
    let start = bench.start_of(run.job.as_str());
    StartRun { trigger: Trigger::Retry, retries: Some(run.number), ..start }
}

fn keys_of(work: &Work) -> Vec<Key> {
    match work {
        Work::Keys(keys) => keys.clone(),
        Work::Range { .. } | Work::DeleteKeys { .. } | Work::Delete(_) | Work::Reap => {
            panic!("{work:?} is no key work")
        }
    }
}

pub(super) async fn whole(bench: Bench) {
    let earlier = failed(&bench, &["a", "b", "c"]).await;
    let run = bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    assert_eq!((run.trigger, run.name.number), (Trigger::Retry, earlier.number + 1));
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let work = bench.take(session).await;
    assert_eq!(keys_of(&work.work), [key("a"), key("b"), key("c")]);
    let mut report = super::bench::report(work.held, Outcome::Checkpoint, [None, Some("b")], 1);
    report.counters = Counters { listed: 2, in_step: 1, failed: 1, ..Counters::default() };
    report.failures = vec![failure(key("b"))];
    assert_eq!(bench.store.report(report, bench.now).await.unwrap(), Verdict::Applied);
    bench.done(work.held, Outcome::Completed, [Some("b"), None], 1).await;
    let ended = bench.store.run(&run.name.job, None).await.unwrap();
    assert_eq!(ended.state, RunState::FinishedWithFailures);
    assert_eq!((ended.totals().listed, ended.totals().failed), (3, 1));
    let (left, _) = bench.store.failures(&run.name, None, None, 9).await.unwrap();
    assert_eq!(left.len(), 1);
    // Tried once then and once now, and failing since then.
    assert_eq!((&left[0].key, left[0].attempts), (&key("b"), 2));
    assert_eq!(left[0].first, Timestamp::from_micros(1));
}

pub(super) async fn groups(bench: Bench) {
    let run = failed(&bench, &["c", "a", "b", "z"]).await;
    let (groups, total) = bench.store.failure_groups(&run).await.unwrap();
    assert_eq!((groups.len(), groups[0].size, total), (1, 4, 4));
    assert_eq!(groups[0].sample.key, key("a"));
    let of = async |class| bench.store.failures(&run, Some(class), None, 9).await.unwrap().0.len();
    assert_eq!((of(FailureClass::Permanent).await, of(FailureClass::Archived).await), (4, 0));
}

pub(super) async fn nothing(bench: Bench) {
    let run = bench.start().await;
    let going_on = bench.store.start_run(retry_of(&bench, &run), bench.now).await;
    assert!(matches!(going_on, Err(Error::RunActive(_))), "{going_on:?}");
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [None, None], 5).await;
    let refused = bench.store.start_run(retry_of(&bench, &run), bench.now).await;
    assert!(matches!(refused, Err(Error::NotNow { .. })), "{refused:?}");
    let none = RunName { job: name("media"), number: 99 };
    let missing = bench.store.start_run(retry_of(&bench, &none), bench.now).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    // Nothing of them is left behind.
    assert_eq!(bench.start().await.number, run.number + 1);
}

pub(super) async fn destinations(bench: Bench) {
    let earlier = failed(&bench, &["a"]).await;
    bench.put_job("media", vec![destination("usw2", "new"), destination("cnn1", "target")]).await;
    let run = bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let work = bench.take(session).await;
    assert_eq!(work.destination.location.bucket, "target", "the place counts, not its number");
    bench.done(work.held, Outcome::Completed, [None, None], 1).await;
    let ended = bench.store.run(&run.name.job, None).await.unwrap();
    assert_eq!(ended.state, RunState::Succeeded);
    assert_eq!(ended.destinations[1].counters.in_step, 1);
    // At a place that is no more there is nothing to try again.
    bench.put_job("media", vec![destination("usw2", "other")]).await;
    let refused = bench.store.start_run(retry_of(&bench, &earlier), bench.now).await;
    assert!(matches!(refused, Err(Error::NotNow { .. })), "{refused:?}");
}

pub(super) async fn yielded(bench: Bench) {
    let earlier = failed(&bench, &["a", "b", "c"]).await;
    bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let work = bench.take(session).await;
    bench.done(work.held, Outcome::Yielded, [None, Some("a")], 1).await;
    let again = bench.take(session).await;
    assert_eq!(keys_of(&again.work), [key("b"), key("c")]);
    bench.done(again.held, Outcome::Completed, [None, None], 2).await;
    let ended = bench.store.run(&name("media"), None).await.unwrap();
    assert_eq!((ended.state, ended.totals().listed), (RunState::Succeeded, 3));
}

pub(super) async fn late(mut bench: Bench) {
    let earlier = failed(&bench, &["a", "b"]).await;
    bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let work = bench.take(session).await;
    bench.pass(super::bench::TTL + Duration::from_secs(1));
    bench.store.expire_sessions(bench.now).await.unwrap();
    // Nobody took it since, so the report of the one who was cut off counts.
    let report = super::bench::report(work.held, Outcome::Completed, [None, None], 2);
    assert_eq!(bench.store.report(report.clone(), bench.now).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.store.report(report, bench.now).await.unwrap(), Verdict::Stale);
    let ended = bench.store.run(&name("media"), None).await.unwrap();
    assert_eq!((ended.state, ended.totals().listed), (RunState::Succeeded, 2));
}

pub(super) async fn poison(mut bench: Bench) {
    let earlier = failed(&bench, &["a", "deadly", "z"]).await;
    let run = bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    let mut deaths = 0;
    for agent in 0_u32.. {
        assert!(agent < 20, "it never ends");
        let session = bench.connect(&format!("a{agent}"), "1", Vec::new()).await.session;
        let Some(work) = bench.try_take(session).await else { break };
        let keys = keys_of(&work.work);
        if keys.contains(&key("deadly")) {
            deaths += 1;
            bench.pass(super::bench::TTL + Duration::from_secs(1));
            bench.store.expire_sessions(bench.now).await.unwrap();
        } else {
            let count = keys.len() as u64;
            bench.done(work.held, Outcome::Completed, [None, None], count).await;
        }
    }
    // Three times with others, and once alone.
    assert_eq!(deaths, 4);
    let ended = bench.store.run(&run.name.job, None).await.unwrap();
    assert_eq!(ended.state, RunState::FinishedWithFailures);
    assert_eq!((ended.totals().in_step, ended.totals().failed), (2, 1));
    let (left, _) = bench.store.failures(&run.name, None, None, 9).await.unwrap();
    assert_eq!((&left[0].key, left[0].class), (&key("deadly"), FailureClass::Poison));
}

pub(super) async fn many(bench: Bench) {
    let keys: Vec<String> = (0..2_500).map(|n| format!("{n:05}")).collect();
    let earlier = failed(&bench, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let run = bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    assert_eq!(run.destinations[0].open_ranges, 3);
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let mut seen = Vec::new();
    while let Some(work) = bench.try_take(session).await {
        let keys = keys_of(&work.work);
        assert!(keys.len() <= s3sync_proto::model::MAX_KEYS_PER_WORK);
        let count = keys.len() as u64;
        seen.extend(keys);
        bench.done(work.held, Outcome::Completed, [None, None], count).await;
    }
    seen.sort();
    assert_eq!(seen, keys.iter().map(|text| key(text)).collect::<Vec<_>>(), "each once");
    assert_eq!(bench.store.run(&run.name.job, None).await.unwrap().state, RunState::Succeeded);
    const { assert!(MAX_KEY_WORKS_PER_DESTINATION >= 3) };
}

pub(super) async fn cancelled(bench: Bench) {
    let earlier = failed(&bench, &["a", "b"]).await;
    let run = bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let work = bench.take(session).await;
    bench.store.cancel_run(&run.name, bench.now).await.unwrap();
    bench.done(work.held, Outcome::Yielded, [None, Some("a")], 1).await;
    let ended = bench.store.run(&run.name.job, None).await.unwrap();
    assert_eq!(ended.state, RunState::Cancelled);
    // The earlier run's failures are still there to be tried again.
    bench.store.start_run(retry_of(&bench, &earlier), bench.now).await.unwrap();
}
