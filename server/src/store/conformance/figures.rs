//! What is counted over all runs.

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_proto::model::{
    Counters, EventBatch, Held, News, Outcome, QueueSpec, QueueState, Timestamp, Verdict,
};

use super::bench::{Bench, TTL, destination, failure, job, key, name, report};
use super::events::{event, following, tell_all};
use crate::store::{CatalogueChange, DestinationFigures, Figures, Grant, RangeState};

async fn figures(bench: &Bench) -> Figures {
    bench.store.figures().await.unwrap()
}

/// Those of a destination of `media`.
async fn of(bench: &Bench, place: &str) -> DestinationFigures {
    let all = figures(bench).await.destinations;
    let found = all.into_iter().find(|one| one.job == name("media") && one.place == place);
    found.expect("the job has this destination")
}

const TARGET: &str = "cnn1:target/to/";

pub(super) async fn agree(mut bench: Bench) {
    assert_eq!(of(&bench, TARGET).await.counters, Counters::default());
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    let ranges = of(&bench, TARGET).await.ranges;
    assert_eq!(ranges, BTreeMap::from([(RangeState::Leased, 1)]));
    let step = report(held, Outcome::Checkpoint, [None, Some("m")], 7);
    for _ in 0..2 {
        // Also when its answer was lost and it comes again.
        assert_eq!(bench.say(step.clone()).await.unwrap(), Verdict::Applied);
    }
    assert_eq!(of(&bench, TARGET).await.counters, bench.run().await.destinations[0].counters);
    let mut last = report(held, Outcome::Completed, [Some("m"), None], 0);
    last.counters =
        Counters { listed: 2, copied: 1, copied_bytes: 9, failed: 1, ..Counters::default() };
    last.failures = vec![failure(key("x"))];
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    let first = bench.run().await.destinations[0].counters;
    // A second run adds to it.
    bench.pass(Duration::from_secs(10));
    bench.start().await;
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [None, None], 3).await;
    let mut both = bench.run().await.destinations[0].counters;
    both += first;
    let found = of(&bench, TARGET).await;
    assert_eq!((found.counters, found.ranges.len(), found.lost), (both, 0, 0));
    let jobs = figures(&bench).await.jobs;
    let ended = [("finished_with_failures".to_owned(), 1), ("succeeded".to_owned(), 1)];
    assert_eq!((jobs.len(), &jobs[0].ended), (1, &BTreeMap::from(ended)));
    assert_eq!(jobs[0].active, BTreeMap::new());
    // And it goes with the job.
    bench.change(CatalogueChange::DeleteJob { name: name("media") }).await.unwrap();
    assert_eq!(figures(&bench).await.destinations, []);
    bench.put_job("media", vec![destination("cnn1", "target")]).await;
    assert_eq!(of(&bench, TARGET).await.counters, Counters::default());
}

pub(super) async fn lost(mut bench: Bench) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let all = figures(&bench).await;
    assert_eq!((all.sessions, all.capacity, all.credits), (1, 4, 4));
    bench.take(session).await;
    assert_eq!(figures(&bench).await.credits, 3);
    bench.pass(TTL + Duration::from_secs(1));
    bench.store.expire_sessions(bench.now).await.unwrap();
    let all = figures(&bench).await;
    assert_eq!((all.sessions, all.credits, all.destinations[0].lost), (0, 0, 1));
    assert_eq!(all.jobs[0].active, BTreeMap::from([("running".to_owned(), 1)]));
}

pub(super) async fn lag(mut bench: Bench) {
    let created = bench.now;
    bench.pass(Duration::from_secs(100));
    let session = bench.connect("a", "1", Vec::new()).await.session;
    // Two destinations, one of which is brought in step.
    let both = vec![destination("cnn1", "target"), destination("usw2", "near")];
    bench.put_job("media", both.clone()).await;
    let changed = bench.now;
    assert!(changed > created);
    bench.pass(Duration::from_secs(100));
    bench.start().await;
    let began = bench.now;
    let first = bench.take(session).await;
    let second = bench.take(session).await;
    bench.pass(Duration::from_secs(100));
    assert_eq!(of(&bench, TARGET).await.in_step, changed, "nothing is known while it goes on");
    bench.done(first.held, Outcome::Completed, [None, None], 3).await;
    let mut failed = report(second.held, Outcome::Completed, [None, None], 0);
    failed.counters = Counters { listed: 1, failed: 1, ..Counters::default() };
    failed.failures = vec![failure(key("x"))];
    assert_eq!(bench.say(failed).await.unwrap(), Verdict::Applied);
    assert_eq!(of(&bench, TARGET).await.in_step, began);
    assert_eq!(of(&bench, "usw2:near/to/").await.in_step, changed);
    // Of another source nothing is known, also not by a run that began before.
    bench.start().await;
    let held = [bench.take(session).await.held, bench.take(session).await.held];
    bench.pass(Duration::from_secs(100));
    let mut other = job(both);
    other.source.prefix = "elsewhere/".into();
    let spec = Box::new(other);
    bench.change(CatalogueChange::PutJob { name: name("media"), spec }).await.unwrap();
    for held in held {
        bench.done(held, Outcome::Completed, [None, None], 3).await;
    }
    assert_eq!(of(&bench, TARGET).await.in_step, bench.now);
}

pub(super) async fn lag_with_events(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    let tell = async |bench: &Bench, state: QueueState| {
        let news = News { state: Some(state), ..News::default() };
        let batch = EventBatch { sequence: 1, held: watch.held, news };
        bench.store.take_events(batch, bench.now).await.unwrap();
    };
    bench.pass(Duration::from_secs(10));
    tell(&bench, QueueState::default()).await;
    let before = of(&bench, TARGET).await;
    assert!(before.in_step < bench.now, "no scan has been");
    assert_eq!(before.dirty, Some(0));
    bench.start().await;
    for _ in 0..2 {
        let held = bench.take(session).await.held;
        bench.done(held, Outcome::Completed, [None, None], 3).await;
    }
    let scanned = bench.now;
    bench.pass(Duration::from_secs(20));
    assert_eq!(of(&bench, TARGET).await.in_step, scanned, "when the queue was told of last");
    tell(&bench, QueueState::default()).await;
    let empty = bench.now;
    assert_eq!(of(&bench, TARGET).await.in_step, empty);
    // A key is dirty at both, and worked off at one.
    bench.pass(Duration::from_secs(30));
    tell_all(&bench, watch.held, vec![event("a")]).await;
    let dirty = of(&bench, TARGET).await;
    assert_eq!((dirty.in_step, dirty.dirty), (bench.now, Some(1)));
    let marked = bench.now;
    let work = bench.take(session).await;
    bench.pass(Duration::from_secs(40));
    tell(&bench, QueueState::default()).await;
    assert_eq!(of(&bench, TARGET).await.in_step, marked);
    bench.done(work.held, Outcome::Completed, [None, None], 1).await;
    let places = ["usw2:near/to/", TARGET];
    let mut found = Vec::new();
    for place in places {
        let one = of(&bench, place).await;
        found.push((one.in_step, one.dirty.unwrap()));
    }
    found.sort();
    assert_eq!(found, [(marked, 1), (bench.now, 0)]);
    // What waits in the queue was changed before anybody was told.
    let waiting = QueueState { waiting: 5, oldest_sent: Some(marked), ..QueueState::default() };
    tell(&bench, waiting).await;
    assert_eq!(of(&bench, TARGET).await.in_step.max(marked), marked);
    let queue = &figures(&bench).await.queues[0];
    assert_eq!((queue.received, queue.state.waiting, queue.messages), (true, 5, 1));
    // A second receiver: what it has received may be older than what the first tells.
    let (url, endpoint) = ("https://sqs/1/q".to_owned(), name("usw2"));
    let spec = QueueSpec { url, endpoint, receivers: 2 };
    bench.change(CatalogueChange::PutQueue { name: name("q"), spec }).await.unwrap();
    tell(&bench, QueueState::default()).await;
    let together = bench.now;
    let held = bench.store.snapshot(0, bench.now).await.unwrap().watches[0].held;
    let leased = bench.store.lease_watches(vec![Grant { held, session }], bench.now).await.unwrap();
    let behind = async |bench: &Bench| {
        let one = (of(bench, TARGET).await, of(bench, "usw2:near/to/").await);
        one.0.in_step.max(one.1.in_step)
    };
    bench.pass(Duration::from_secs(50));
    tell(&bench, QueueState::default()).await;
    assert_eq!(behind(&bench).await, together, "the second has not told anything since");
    let news = News { state: Some(QueueState::default()), ..News::default() };
    let batch = EventBatch { sequence: 1, held: leased[0].1.held, news };
    bench.store.take_events(batch, bench.now).await.unwrap();
    assert_eq!(behind(&bench).await, bench.now);
}

/// What is not known of a queue is not good.
pub(super) async fn lag_with_a_backlog(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    bench.start().await;
    for _ in 0..2 {
        let held = bench.take(session).await.held;
        bench.done(held, Outcome::Completed, [None, None], 3).await;
    }
    let scanned = bench.now;
    let in_step = async |bench: &Bench| of(bench, TARGET).await.in_step;
    let tell = async |bench: &Bench, held: Held, news: News| {
        let batch = EventBatch { sequence: 1, held, news };
        bench.store.take_events(batch, bench.now).await.unwrap();
    };
    let kept = Some(Duration::from_secs(86_400));
    let looked = |waiting: u64, oldest_sent: Option<Timestamp>| News {
        state: Some(QueueState { waiting, oldest_sent, retention: kept, ..QueueState::default() }),
        ..News::default()
    };
    let received = |waited: u64| News {
        messages: 10,
        longest_wait: Some(Duration::from_secs(waited)),
        ..News::default()
    };
    // At first there is a backlog of which nothing was received.
    bench.pass(Duration::from_secs(100));
    tell(&bench, watch.held, looked(500, None)).await;
    assert_eq!(in_step(&bench).await, scanned);
    tell(&bench, watch.held, looked(0, None)).await;
    assert_eq!(in_step(&bench).await, bench.now, "all was received");
    let empty = bench.now;
    // The agent is away for a while, and what comes meanwhile is received before the queue is looked at again.
    bench.store.close_session(session, bench.now).await.unwrap();
    bench.pass(Duration::from_secs(1_000));
    let session = bench.connect("b", "1", Vec::new()).await.session;
    let held = bench.store.snapshot(0, bench.now).await.unwrap().watches[0].held;
    let leased = bench.store.lease_watches(vec![Grant { held, session }], bench.now).await.unwrap();
    let held = leased[0].1.held;
    assert_eq!(in_step(&bench).await, empty, "it has not told anything");
    tell(&bench, held, received(900)).await;
    assert_eq!(in_step(&bench).await, bench.now.minus(Duration::from_secs(900)));
    let first = in_step(&bench).await;
    // A receive that found nothing says nothing while messages wait, and one that did does.
    tell(&bench, held, looked(500, None)).await;
    assert_eq!(in_step(&bench).await, first);
    let oldest = first.plus(Duration::from_secs(300));
    tell(&bench, held, looked(500, Some(oldest))).await;
    assert_eq!(in_step(&bench).await, oldest);
    bench.pass(Duration::from_secs(10));
    tell(&bench, held, News { state: looked(0, None).state, ..received(2) }).await;
    assert_eq!(in_step(&bench).await, bench.now.minus(Duration::from_secs(2)));
    tell(&bench, held, looked(0, Some(oldest))).await;
    assert_eq!(in_step(&bench).await, bench.now, "nothing waits");
}
