//! Events: watch work, marked keys, and the run in which they are worked off.

use std::time::Duration;

use s3sync_proto::model::{
    Assignment, CompareMode, EventBatch, EventKind, FailureClass, Held, JobSpec, Key, News,
    ObjectEvent, Outcome, QueueSpec, Run, RunState, Trigger, Verdict, Watch, Work, WorkError,
};

use super::bench::{Bench, TTL, destination, job, key, name, report, stating, transient};
use crate::plan::events::EVENT_RUN_LASTS;
use crate::store::{CatalogueChange, Error, Grant, SessionId};

pub(super) fn spec_with_events() -> JobSpec {
    let destinations = vec![destination("cnn1", "target"), destination("usw2", "near")];
    JobSpec { events: Some(name("q")), ..job(destinations) }
}

pub(super) async fn put(bench: &Bench, job: &str, spec: JobSpec) {
    let change = CatalogueChange::PutJob { name: name(job), spec: Box::new(spec) };
    bench.change(change).await.unwrap();
}

async fn put_queue(bench: &Bench, url: &str) {
    let spec = QueueSpec { url: url.into(), endpoint: name("usw2"), receivers: 1 };
    bench.change(CatalogueChange::PutQueue { name: name("q"), spec }).await.unwrap();
}

/// The job follows a queue; a session receives from it.
pub(super) async fn following(bench: &Bench) -> (SessionId, Watch) {
    put_queue(bench, "https://sqs/1/q").await;
    put(bench, "media", spec_with_events()).await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    (session, watch(bench, session).await.expect("there is a queue to receive from"))
}

/// Leases the first queue that nobody receives from.
async fn watch(bench: &Bench, session: SessionId) -> Option<Watch> {
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    let held = snapshot.watches.first()?.held;
    let grants = vec![Grant { held, session }];
    bench.store.lease_watches(grants, bench.now).await.unwrap().pop().map(|(_, watch)| watch)
}

pub(super) fn event(key: &str) -> ObjectEvent {
    ObjectEvent {
        bucket: "source".into(),
        key: Key::from(format!("from/{key}").as_str()),
        kind: EventKind::Written,
        sequencer: "00A1".into(),
        sent: None,
    }
}

pub(super) async fn tell_all(bench: &Bench, held: Held, events: Vec<ObjectEvent>) -> Verdict {
    let messages = events.len() as u64;
    let news = News { events, messages, ..News::default() };
    let batch = EventBatch { sequence: 1, held, news };
    bench.store.take_events(batch, bench.now).await.unwrap()
}

pub(super) async fn tell(bench: &Bench, held: Held, keys: &[&str]) -> Verdict {
    tell_all(bench, held, keys.iter().map(|key| event(key)).collect()).await
}

pub(super) fn keys_of(work: &Assignment) -> Vec<Key> {
    let Work::Keys(keys) = &work.work else { panic!("{work:?} is no key work") };
    keys.clone()
}

pub(super) fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| key(text)).collect()
}

/// All work there is, leased to a session.
pub(super) async fn take_all(bench: &Bench, session: SessionId) -> Vec<Assignment> {
    let mut all = Vec::new();
    while let Some(work) = bench.try_take(session).await {
        all.push(work);
    }
    all
}

/// Everything of a key work is in step.
pub(super) async fn settle(bench: &Bench, work: &Assignment) {
    let count = keys_of(work).len() as u64;
    bench.done(work.held, Outcome::Completed, [None, None], count).await;
}

/// The newest run, also when it is that of events.
pub(super) async fn newest(bench: &Bench) -> Run {
    bench.store.runs(Some(&name("media")), None, 1).await.unwrap().remove(0).run
}

pub(super) async fn leased_once(bench: Bench) {
    put_queue(&bench, "https://sqs/1/q").await;
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    assert_eq!(snapshot.watches, [], "no job names it");
    let (session, first) = following(&bench).await;
    assert_eq!((first.queue.as_str(), first.spec.url.as_str()), ("q", "https://sqs/1/q"));
    assert_eq!(watch(&bench, session).await, None, "it is leased");
    // It takes none of the capacity, and is confirmed as assignments are.
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    assert_eq!((snapshot.sessions[0].held, snapshot.watching[0].1), (0, session));
    let held = bench.renew(session, stating(1, 0, vec![first.held])).await.unwrap();
    assert_eq!(held, [first.held]);
    // Another lease of it makes the one before stale.
    bench.store.close_session(session, bench.now).await.unwrap();
    let other = bench.connect("b", "1", Vec::new()).await.session;
    assert_eq!(tell(&bench, first.held, &["late"]).await, Verdict::Applied, "nobody has it yet");
    let second = watch(&bench, other).await.unwrap();
    assert_eq!(second.held.id, first.held.id);
    assert_eq!(tell(&bench, first.held, &["too late"]).await, Verdict::Stale);
    assert_eq!(tell(&bench, second.held, &["in time"]).await, Verdict::Applied);
}

pub(super) async fn moves(mut bench: Bench) {
    let (session, first) = following(&bench).await;
    // The holder dies.
    bench.pass(TTL * 2);
    assert_eq!(bench.store.expire_sessions(bench.now).await.unwrap(), [session]);
    let other = bench.connect("b", "1", Vec::new()).await.session;
    let second = watch(&bench, other).await.unwrap();
    assert!(second.held.epoch > first.held.epoch);
    // A reconnect of the same process keeps it.
    let again = bench.connect("b", "1", vec![second.held]).await;
    assert_eq!(again.confirmed, [second.held]);
    // Lost on the way: given out, and the agent has seen newer leases and does not hold it.
    for sequence in 1..=3 {
        let state = stating(sequence, sequence - 1, Vec::new());
        bench.renew(again.session, state).await.unwrap();
    }
    let held = bench.renew(again.session, stating(4, 3, Vec::new())).await.unwrap();
    assert_eq!(held, [], "it was let go of");
    // A queue with other settings is leased anew; one that no job names is not received from.
    let third = watch(&bench, again.session).await.unwrap();
    put_queue(&bench, "https://sqs/1/other").await;
    assert_eq!(tell(&bench, third.held, &["x"]).await, Verdict::Stale);
    let fourth = watch(&bench, again.session).await.unwrap();
    assert_eq!(fourth.spec.url, "https://sqs/1/other");
    put(&bench, "media", job(vec![destination("cnn1", "target")])).await;
    assert_eq!(tell(&bench, fourth.held, &["x"]).await, Verdict::Stale);
    assert_eq!(watch(&bench, again.session).await, None);
}

pub(super) async fn errors(mut bench: Bench) {
    let (session, first) = following(&bench).await;
    let denied = WorkError {
        class: FailureClass::Permanent,
        code: "AccessDenied".into(),
        message: "ReceiveMessage: no".into(),
    };
    let last = report(first.held, Outcome::Errored(denied.clone()), [None, None], 0);
    assert_eq!(bench.say(last.clone()).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Stale, "it comes twice");
    assert_eq!(watch(&bench, session).await, None, "not at once");
    bench.pass(Duration::from_secs(2));
    let second = watch(&bench, session).await.unwrap();
    assert!(second.held.epoch > first.held.epoch);
    // Who refuses it is not asked again at once.
    let agent = name("a");
    let refused = bench.store.refuse(second.held, &agent, &denied, bench.now).await.unwrap();
    assert_eq!(refused, Verdict::Applied);
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    assert_eq!(snapshot.watches[0].refused_by, Some(agent));
}

pub(super) async fn marks(bench: Bench) {
    let (session, watch) = following(&bench).await;
    let mut events: Vec<_> = ["b", "a", "b"].into_iter().map(event).collect();
    events.push(ObjectEvent { bucket: "other".into(), ..event("x") });
    events.push(ObjectEvent { key: key("elsewhere"), ..event("x") });
    assert_eq!(tell_all(&bench, watch.held, events).await, Verdict::Applied);
    let run = newest(&bench).await;
    assert_eq!((run.trigger, run.state), (Trigger::Events, RunState::Pending));
    let works = take_all(&bench, session).await;
    let places: Vec<_> =
        works.iter().map(|work| work.destination.location.bucket.as_str()).collect();
    assert_eq!(places, ["target", "near"], "one row for each destination");
    assert!(works.iter().all(|work| keys_of(work) == keys(&["a", "b"])), "{works:?}");
    // While one is worked on it changes again; another comes.
    tell(&bench, watch.held, &["b", "c"]).await;
    let more = take_all(&bench, session).await;
    assert!(more.iter().all(|work| keys_of(work) == keys(&["c"])), "b is held: {more:?}");
    settle(&bench, &works[0]).await;
    let again = bench.take(session).await;
    assert_eq!((keys_of(&again), &again.destination), (keys(&["b"]), &works[0].destination));
    for work in [&again, &works[1], &more[0], &more[1]] {
        settle(&bench, work).await;
    }
    settle(&bench, &bench.take(session).await).await;
    assert!(bench.try_take(session).await.is_none());
    let run = newest(&bench).await;
    assert_eq!(run.state, RunState::Running, "it waits for more");
    assert_eq!((run.totals().listed, run.totals().in_step), (8, 8));
}

pub(super) async fn beside_a_scan(bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["a"]).await;
    let events = newest(&bench).await.name;
    let scan = bench.start().await;
    assert_eq!(scan.number, events.number + 1);
    let again = bench.store.start_run(bench.start_of("media"), bench.now).await;
    assert!(matches!(again, Err(Error::RunActive(run)) if run == scan));
    for work in take_all(&bench, session).await {
        match work.work {
            Work::Keys(_) => settle(&bench, &work).await,
            Work::Range { .. } => bench.done(work.held, Outcome::Completed, [None, None], 3).await,
            Work::DeleteKeys { .. } | Work::Delete(_) | Work::Reap => panic!("{work:?}"),
        }
    }
    let ended = bench.store.run(&scan.job, Some(scan.number)).await.unwrap();
    assert_eq!((ended.state, ended.totals().listed), (RunState::Succeeded, 6));
    let events = bench.store.run(&events.job, Some(events.number)).await.unwrap();
    assert_eq!((events.state, events.totals().listed), (RunState::Running, 2));
}

pub(super) async fn rotates(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["a"]).await;
    let works = take_all(&bench, session).await;
    let first = newest(&bench).await.name;
    bench.pass(EVENT_RUN_LASTS);
    tell(&bench, watch.held, &["a", "b"]).await;
    let second = newest(&bench).await;
    assert_eq!(second.name.number, first.number + 1);
    // What is held ends where it began.
    let old = bench.store.run(&first.job, Some(first.number)).await.unwrap();
    assert_eq!(old.state, RunState::Running);
    for work in &works {
        settle(&bench, work).await;
    }
    let old = bench.store.run(&first.job, Some(first.number)).await.unwrap();
    assert_eq!((old.state, old.totals().in_step), (RunState::Succeeded, 2));
    let works = take_all(&bench, session).await;
    assert!(works.iter().all(|work| work.run == second.name && keys_of(work) == keys(&["a", "b"])));
    // Without events the day ends by itself.
    for work in &works {
        settle(&bench, work).await;
    }
    bench.pass(EVENT_RUN_LASTS);
    bench.store.tend_events(bench.now).await.unwrap();
    let second = bench.store.run(&first.job, Some(second.name.number)).await.unwrap();
    assert_eq!(second.state, RunState::Succeeded);
}

pub(super) async fn settings(bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["a", "b"]).await;
    let first = newest(&bench).await.name;
    let held = bench.take(session).await;
    assert_eq!(held.destination.location.bucket, "target");
    // One destination goes, another comes; the other keeps its keys.
    let changed = JobSpec {
        destinations: vec![destination("usw2", "near"), destination("usw2", "third")],
        ..spec_with_events()
    };
    put(&bench, "media", changed.clone()).await;
    tell(&bench, watch.held, &["c"]).await;
    let works = take_all(&bench, session).await;
    let seen: Vec<_> = works
        .iter()
        .map(|work| (work.destination.location.bucket.as_str(), keys_of(work)))
        .collect();
    assert_eq!(seen, [("near", keys(&["a", "b", "c"])), ("third", keys(&["c"]))]);
    settle(&bench, &held).await;
    let old = bench.store.run(&first.job, Some(first.number)).await.unwrap();
    assert_eq!(old.state, RunState::Succeeded, "what was held was done by the earlier settings");
    // A paused job keeps its keys, also those that were held, and new ones.
    let paused = JobSpec { paused: true, ..changed.clone() };
    put(&bench, "media", paused).await;
    for work in &works {
        bench.done(work.held, Outcome::Yielded, [None, None], 0).await;
    }
    tell(&bench, watch.held, &["d"]).await;
    assert!(bench.try_take(session).await.is_none());
    put(&bench, "media", changed).await;
    let works = take_all(&bench, session).await;
    let mut seen: Vec<_> = works.iter().flat_map(keys_of).collect();
    seen.sort();
    assert_eq!(seen, keys(&["a", "b", "c", "c", "d", "d"]));
}

pub(super) async fn deleted_job(bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["a"]).await;
    let work = bench.take(session).await;
    let delete = || bench.change(CatalogueChange::DeleteJob { name: name("media") });
    assert!(matches!(delete().await, Err(Error::RunActive(_))), "somebody holds work of it");
    bench.done(work.held, Outcome::Yielded, [None, None], 0).await;
    delete().await.unwrap();
    assert!(bench.try_take(session).await.is_none());
    assert_eq!(tell(&bench, watch.held, &["b"]).await, Verdict::Stale, "no job names the queue");
}

pub(super) async fn lost_holder(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["a", "b"]).await;
    let works = take_all(&bench, session).await;
    tell(&bench, watch.held, &["a"]).await;
    bench.pass(super::bench::TTL * 2);
    bench.store.expire_sessions(bench.now).await.unwrap();
    let other = bench.connect("b", "1", Vec::new()).await.session;
    let again = take_all(&bench, other).await;
    assert_eq!(again.len(), works.len());
    for work in &again {
        assert_eq!(keys_of(work), keys(&["a", "b"]));
        settle(&bench, work).await;
    }
    assert!(bench.try_take(other).await.is_none(), "the newest look saw what the event told");
    let error = bench.say(report(works[0].held, transient(), [None, None], 0)).await.unwrap();
    assert_eq!(error, Verdict::Stale);
}

/// A process is superseded while its keys are written: they wait, and no others with them.
pub(super) async fn late_commits(mut bench: Bench) {
    let (session, watched) = following(&bench).await;
    tell(&bench, watched.held, &["a"]).await;
    let works = take_all(&bench, session).await;
    let first = newest(&bench).await.name;
    let other = bench.connect("a", "2", Vec::new()).await.session;
    let watched = watch(&bench, other).await.expect("to receive is free at once").held;
    tell(&bench, watched, &["a", "b"]).await;
    let free = take_all(&bench, other).await;
    assert_eq!(free.iter().map(keys_of).collect::<Vec<_>>(), [keys(&["b"]), keys(&["b"])]);
    let dirty = bench.store.dirty_key(&name("media"), &key("a")).await.unwrap();
    let until = bench.now.plus(TTL);
    assert!(dirty.iter().all(|(_, row)| row.late_until == until && row.holder.is_none()));
    // A new run of events, with other settings, takes them along no sooner.
    put(&bench, "media", JobSpec { compare: CompareMode::Size, ..spec_with_events() }).await;
    tell(&bench, watched, &["c"]).await;
    assert_ne!(newest(&bench).await.name, first);
    let fresh = take_all(&bench, other).await;
    assert_eq!(fresh.iter().map(keys_of).collect::<Vec<_>>(), [keys(&["c"]), keys(&["c"])]);
    bench.pass(TTL);
    let again = take_all(&bench, other).await;
    assert_eq!(again.len(), works.len());
    for work in &again {
        assert_eq!((&work.run, keys_of(work)), (&first, keys(&["a"])));
    }
}

pub(super) async fn follows_two(bench: Bench) {
    let (session, watch) = following(&bench).await;
    let mut other = spec_with_events();
    other.source.prefix = "from/sub/".into();
    other.destinations = vec![destination("cnn1", "second")];
    put(&bench, "other", other).await;
    tell(&bench, watch.held, &["sub/k", "top"]).await;
    let mut seen: Vec<_> = take_all(&bench, session)
        .await
        .iter()
        .map(|work| (work.run.job.to_string(), keys_of(work)))
        .collect();
    seen.sort();
    let media = || ("media".to_owned(), keys(&["sub/k", "top"]));
    assert_eq!(seen, [media(), media(), ("other".to_owned(), keys(&["k"]))]);
}

pub(super) async fn following_of(bench: &Bench) -> s3sync_proto::model::Following {
    bench.store.following(&name("media"), bench.now).await.unwrap().expect("it follows a queue")
}

/// Every range of the newest run that is not of events is done.
pub(super) async fn scan(bench: &Bench, session: SessionId) {
    for work in take_all(bench, session).await {
        match work.work {
            Work::Keys(_) => settle(bench, &work).await,
            Work::Range { .. } => bench.done(work.held, Outcome::Completed, [None, None], 3).await,
            Work::Reap | Work::DeleteKeys { .. } | Work::Delete(_) => panic!("{work:?}"),
        }
    }
}

pub(super) async fn told(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    let start = bench.now;
    bench.pass(Duration::from_secs(5));
    let sent = Some(start);
    tell_all(&bench, watch.held, vec![ObjectEvent { sent, ..event("a") }, event("b")]).await;
    let told = following_of(&bench).await;
    assert_eq!((told.events, told.gap, told.destinations.len()), (2, None, 2));
    let first = &told.destinations[0];
    assert_eq!((first.keys, first.oldest, first.location.bucket.as_str()), (2, sent, "target"));
    let reason = "no agent can do this work";
    bench.store.explain_runs(vec![(told.run.unwrap(), reason.into())]).await.unwrap();
    assert_eq!(following_of(&bench).await.reason, reason);
    scan(&bench, session).await;
    let told = following_of(&bench).await;
    assert_eq!((told.destinations[0].keys, told.destinations[0].oldest), (0, None));
    bench.store.explain_runs(vec![(told.run.unwrap(), reason.into())]).await.unwrap();
    assert_eq!(following_of(&bench).await.reason, "", "no key waits");
    // Of the queue.
    let rubbish = s3sync_proto::model::UnreadableMessage {
        reason: "is not JSON".into(),
        excerpt: "x".into(),
        receives: 1,
        removed: false,
        received: start,
    };
    let state = s3sync_proto::model::QueueState {
        waiting: 9,
        retention: Some(Duration::from_secs(3_600)),
        ..Default::default()
    };
    let lost = ObjectEvent { kind: EventKind::Lost, ..event("gone") };
    let news = News {
        events: vec![ObjectEvent { bucket: "other".into(), ..event("x") }, lost],
        messages: 4,
        ignored: 1,
        unreadable: vec![rubbish; 12],
        state: Some(state.clone()),
        ..News::default()
    };
    let batch = EventBatch { sequence: 2, held: watch.held, news };
    assert_eq!(bench.store.take_events(batch, bench.now).await.unwrap(), Verdict::Applied);
    let status = bench.store.queue_status(&name("q"), bench.now).await.unwrap().unwrap();
    assert_eq!((&*status.agents, status.told), (&[name("a")][..], Some(bench.now)));
    assert_eq!((status.state, status.messages), (state, 6));
    assert_eq!((status.events, status.unmatched, status.ignored), (3, 1, 1));
    assert_eq!((status.unreadable, status.last_unreadable.len()), (12, 10));
    assert_eq!(status.last_unreadable[0].received, bench.now);
    let told = following_of(&bench).await;
    assert_eq!((told.lost, told.last_lost), (1, Some(key("gone"))));
    assert!(bench.try_take(session).await.is_none(), "what S3 lost is not looked at");
    let none = bench.store.queue_status(&name("none"), bench.now).await.unwrap();
    assert_eq!(none, None);
}
