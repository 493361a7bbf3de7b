//! Keys of events that fail are put off, and what brings their next look forward.

use std::time::Duration;

use s3sync_proto::model::{Counters, Failure, FailureClass, Held, Outcome, Verdict};

use super::bench::{Bench, failure, key, report};
use super::events::{following, following_of, keys, keys_of, newest, settle, take_all, tell};
use crate::plan::events::NEWS_WAIT_AT_MOST;

pub(super) async fn put_off(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["bad", "good", "worse"]).await;
    let works = take_all(&bench, session).await;
    let mut last = report(works[0].held, Outcome::Completed, [None, None], 0);
    last.counters = Counters { listed: 3, copied: 1, failed: 2, ..Counters::default() };
    let bad = Failure { class: FailureClass::Transient, ..failure(key("bad")) };
    last.failures = vec![bad, failure(key("worse"))];
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    settle(&bench, &works[1]).await;
    let run = newest(&bench).await;
    assert_eq!(
        (run.totals().listed, run.totals().failed),
        (5, 1),
        "what is put off is not counted"
    );
    let (listed, total) = bench.store.failures(&run.name, None, None, 9).await.unwrap();
    assert_eq!((listed.len(), total, &listed[0].key), (1, 1, &key("worse")));
    assert!(bench.try_take(session).await.is_none(), "not before its time");
    // Others do not wait for it.
    tell(&bench, watch.held, &["other"]).await;
    let others = take_all(&bench, session).await;
    assert_eq!(keys_of(&others[0]), keys(&["other"]));
    for work in &others {
        settle(&bench, work).await;
    }
    bench.pass(Duration::from_secs(5));
    bench.store.tend_events(bench.now).await.unwrap();
    let again = bench.take(session).await;
    assert_eq!(keys_of(&again), keys(&["bad"]));
    settle(&bench, &again).await;
    // What failed is looked at when it changes, and then it is no failure any more.
    tell(&bench, watch.held, &["worse"]).await;
    for work in take_all(&bench, session).await {
        settle(&bench, &work).await;
    }
    let run = newest(&bench).await;
    assert_eq!(bench.store.failures(&run.name, None, None, 9).await.unwrap(), (Vec::new(), 0));
    assert_eq!(run.totals().failed, 0);
    assert!(run.totals().add_up(), "{run:?}");
}

/// News of a key that is put off bring its next look forward, and no further than that one look in a while is made.
pub(super) async fn told_while_put_off(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["k"]).await;
    let mut works = take_all(&bench, session).await;
    settle(&bench, &works.remove(1)).await;
    let mut held = works.remove(0).held;
    let fails = async |bench: &Bench, held: Held| {
        let failure = Failure { class: FailureClass::Transient, ..failure(key("k")) };
        let mut last = report(held, Outcome::Completed, [None, None], 0);
        last.counters = Counters { listed: 1, failed: 1, ..Counters::default() };
        last.failures = vec![failure];
        assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    };
    let second = Duration::from_secs(1);
    for looks in 1..=3 {
        fails(&bench, held).await;
        if looks < 3 {
            bench.pass(Duration::from_secs(20));
            bench.store.tend_events(bench.now).await.unwrap();
            held = bench.take(session).await.held;
        }
    }
    // 80 s from now on, without news.
    bench.pass(Duration::from_secs(10));
    let of = async |bench: &mut Bench| {
        for work in take_all(bench, session).await {
            assert_eq!(work.destination.location.bucket, "near", "it was told too early");
            settle(bench, &work).await;
        }
    };
    tell(&bench, watch.held, &["k"]).await;
    of(&mut bench).await;
    bench.pass(NEWS_WAIT_AT_MOST - second);
    // More news put nothing off again.
    tell(&bench, watch.held, &["k"]).await;
    of(&mut bench).await;
    bench.pass(second);
    bench.store.tend_events(bench.now).await.unwrap();
    let held = bench.take(session).await.held;
    // And what comes while it is looked at counts as well: 320 s otherwise.
    tell(&bench, watch.held, &["k"]).await;
    of(&mut bench).await;
    fails(&bench, held).await;
    bench.pass(NEWS_WAIT_AT_MOST - second);
    bench.store.tend_events(bench.now).await.unwrap();
    assert!(bench.try_take(session).await.is_none());
    bench.pass(second);
    bench.store.tend_events(bench.now).await.unwrap();
    settle(&bench, &bench.take(session).await).await;
    assert_eq!(following_of(&bench).await.destinations[0].keys, 0);
}
