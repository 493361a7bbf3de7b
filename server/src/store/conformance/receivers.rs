//! Several receive from one queue.

use std::time::Duration;

use s3sync_proto::model::{
    EventBatch, Held, News, Outcome, QueueSpec, QueueState, Timestamp, Verdict, Watch, WorkError,
};

use super::bench::{Bench, TTL, key, name, report, stating};
use super::events::{event, following, tell};
use crate::store::{CatalogueChange, Grant, SessionId};

async fn put_queue(bench: &Bench, url: &str, receivers: u32) {
    let spec = QueueSpec { url: url.into(), endpoint: name("usw2"), receivers };
    bench.change(CatalogueChange::PutQueue { name: name("q"), spec }).await.unwrap();
}

/// A queue with so many receivers, of which session `a` is the first.
async fn several(bench: &Bench, receivers: u32) -> (SessionId, Watch) {
    let (session, first) = following(bench).await;
    put_queue(bench, "https://sqs/1/q", receivers).await;
    (session, first)
}

/// Leases everything that nobody does to a session.
async fn take_rest(bench: &Bench, session: SessionId) -> Vec<Watch> {
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    let grants = snapshot.watches.iter().map(|one| Grant { held: one.held, session }).collect();
    let leased = bench.store.lease_watches(grants, bench.now).await.unwrap();
    leased.into_iter().map(|(_, watch)| watch).collect()
}

async fn agents(bench: &Bench) -> Vec<String> {
    let status = bench.store.queue_status(&name("q"), bench.now).await.unwrap().unwrap();
    status.agents.iter().map(ToString::to_string).collect()
}

async fn say(bench: &Bench, held: Held, news: News) -> Verdict {
    let batch = EventBatch { sequence: 1, held, news };
    bench.store.take_events(batch, bench.now).await.unwrap()
}

async fn say_state(bench: &Bench, held: Held, state: QueueState) {
    let news = News { state: Some(state), ..News::default() };
    assert_eq!(say(bench, held, news).await, Verdict::Applied);
}

/// Each is leased, lost and taken over by itself, and what any of them tells counts.
pub(super) async fn each_by_itself(mut bench: Bench) {
    let (one, first) = several(&bench, 3).await;
    let two = bench.connect("b", "1", Vec::new()).await.session;
    let rest = take_rest(&bench, two).await;
    let [second, third] = rest.as_slice() else { panic!("{rest:?}") };
    assert!(second.held.id != third.held.id && second.held.id != first.held.id);
    assert_eq!(agents(&bench).await, ["a", "b", "b"]);
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    assert_eq!(snapshot.watching.iter().map(|one| one.1).collect::<Vec<_>>(), [one, two, two]);
    // The same key by two of them: the second is a newer reason, also while somebody looks.
    assert_eq!(tell(&bench, first.held, &["k"]).await, Verdict::Applied);
    let work = bench.take(one).await;
    assert_eq!(tell(&bench, third.held, &["k"]).await, Verdict::Applied);
    bench.done(work.held, Outcome::Completed, [None, None], 1).await;
    let again = bench.take(one).await;
    assert_eq!((again.destination, again.work), (work.destination, work.work), "a newer reason");
    // One agent dies: its receiver is free, the others are as they were.
    bench.pass(TTL / 2);
    let state = stating(1, 0, vec![second.held, third.held]);
    assert_eq!(bench.renew(two, state).await.unwrap(), [second.held, third.held]);
    bench.pass(TTL);
    let state = stating(2, 1, vec![second.held, third.held]);
    bench.renew(two, state).await.unwrap();
    assert_eq!(bench.store.expire_sessions(bench.now).await.unwrap(), [one]);
    assert_eq!(agents(&bench).await, ["b", "b"]);
    assert_eq!(tell(&bench, first.held, &["late"]).await, Verdict::Applied, "nobody has it yet");
    let moved = take_rest(&bench, two).await;
    let ids: Vec<_> = moved.iter().map(|watch| watch.held.id).collect();
    assert_eq!(ids, [first.held.id]);
    assert_eq!(tell(&bench, first.held, &["too late"]).await, Verdict::Stale);
    for held in [moved[0].held, second.held, third.held] {
        assert_eq!(tell(&bench, held, &["in time"]).await, Verdict::Applied);
    }
    let status = bench.store.queue_status(&name("q"), bench.now).await.unwrap().unwrap();
    assert_eq!((status.messages, status.events), (6, 6), "all of them are counted together");
}

/// More or fewer are wanted: those that stay are not interrupted.
pub(super) async fn more_and_fewer(bench: Bench) {
    let (one, first) = several(&bench, 1).await;
    assert_eq!(take_rest(&bench, one).await, [], "there is one");
    put_queue(&bench, "https://sqs/1/q", 4).await;
    let two = bench.connect("b", "1", Vec::new()).await.session;
    let more = take_rest(&bench, two).await;
    assert_eq!((more.len(), agents(&bench).await.len()), (3, 4));
    // The agent of `a` dies with its receiver; two of four are to stay: one goes that nobody does, and one of `b`.
    bench.store.close_session(one, bench.now).await.unwrap();
    put_queue(&bench, "https://sqs/1/q", 2).await;
    let state = stating(1, 0, more.iter().map(|watch| watch.held).collect());
    let kept = bench.renew(two, state).await.unwrap();
    assert_eq!(kept, [more[0].held, more[1].held]);
    assert_eq!(tell(&bench, more[2].held, &["x"]).await, Verdict::Stale, "it is none any more");
    assert_eq!(tell(&bench, first.held, &["x"]).await, Verdict::Stale);
    assert_eq!(tell(&bench, more[0].held, &["x"]).await, Verdict::Applied);
    // Numbers are not used again.
    put_queue(&bench, "https://sqs/1/q", 3).await;
    let new = take_rest(&bench, two).await;
    assert!(new.len() == 1 && new[0].held.id > more[2].held.id, "{new:?}");
    // Another address makes all of them begin anew.
    put_queue(&bench, "https://sqs/1/other", 3).await;
    assert_eq!(agents(&bench).await, [""; 0]);
    let anew = take_rest(&bench, two).await;
    assert_eq!(anew.len(), 3);
    assert!(anew.iter().all(|watch| watch.spec.url.ends_with("other")));
}

/// Nothing is missing while one of them tells; and what one may not see, or has not told, the others do not hide.
pub(super) async fn together(mut bench: Bench) {
    let (one, first) = several(&bench, 2).await;
    let second = take_rest(&bench, one).await.remove(0);
    let minute = Duration::from_secs(60);
    let at = |seconds: i64| Some(Timestamp::from_micros(seconds * 1_000_000));
    let seen = QueueState {
        waiting: 5,
        retention: Some(minute),
        oldest_sent: at(100),
        ..QueueState::default()
    };
    say_state(&bench, first.held, seen.clone()).await;
    // It may receive, and not look.
    say_state(&bench, second.held, QueueState { oldest_sent: at(90), ..Default::default() }).await;
    let status = bench.store.queue_status(&name("q"), bench.now).await.unwrap().unwrap();
    assert_eq!(
        status.state,
        QueueState { oldest_sent: at(90), ..seen.clone() },
        "the older of both"
    );
    let gap = async |bench: &Bench| {
        let told = bench.store.following(&name("media"), bench.now).await.unwrap().unwrap();
        told.gap
    };
    for _ in 0..3 {
        bench.pass(minute / 2);
        say_state(&bench, second.held, QueueState::default()).await;
    }
    say_state(&bench, first.held, seen.clone()).await;
    assert_eq!(gap(&bench).await, None, "somebody received all the time");
    bench.pass(minute * 2);
    say_state(&bench, second.held, QueueState::default()).await;
    let found = gap(&bench).await.expect("nobody did");
    say_state(&bench, first.held, seen).await;
    assert_eq!(gap(&bench).await, Some(found), "one gap, whoever tells first");
}

/// An agent that fails does not keep the others from receiving.
pub(super) async fn failing(mut bench: Bench) {
    let (one, first) = several(&bench, 2).await;
    let two = bench.connect("b", "1", Vec::new()).await.session;
    let second = take_rest(&bench, two).await.remove(0);
    let denied = WorkError {
        class: s3sync_proto::model::FailureClass::Permanent,
        code: "AccessDenied".into(),
        message: "ReceiveMessage: no".into(),
    };
    let last = report(first.held, Outcome::Errored(denied), [None, None], 0);
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    let status = bench.store.queue_status(&name("q"), bench.now).await.unwrap().unwrap();
    assert_eq!(status.agents, [name("b")]);
    assert_eq!(status.reason, "AccessDenied: ReceiveMessage: no");
    assert_eq!(tell(&bench, second.held, &["k"]).await, Verdict::Applied);
    assert_eq!(take_rest(&bench, one).await, [], "not at once");
    bench.pass(Duration::from_secs(2));
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    assert_eq!(snapshot.watches[0].failed_by, Some(name("a")), "others are preferred");
    // Not for ever.
    bench.pass(crate::plan::FAILURE_PAUSE);
    let snapshot = bench.store.snapshot(0, bench.now).await.unwrap();
    assert_eq!(snapshot.watches[0].failed_by, None);
}

/// The age of a change is that of the oldest event of it, whichever comes first.
pub(super) async fn oldest(bench: Bench) {
    let (one, first) = several(&bench, 2).await;
    let second = take_rest(&bench, one).await.remove(0);
    let sent = |seconds: u64| {
        let sent =
            Some(Timestamp::from_micros(bench.now.as_micros() - (seconds as i64) * 1_000_000));
        News {
            events: vec![s3sync_proto::model::ObjectEvent { sent, ..event("k") }],
            ..News::default()
        }
    };
    say(&bench, first.held, sent(10)).await;
    say(&bench, second.held, sent(30)).await;
    say(&bench, first.held, sent(20)).await;
    let told = bench.store.following(&name("media"), bench.now).await.unwrap().unwrap();
    let ages: Vec<_> = told
        .destinations
        .iter()
        .map(|one| bench.now.since(one.oldest.unwrap()).as_secs())
        .collect();
    assert_eq!(ages, [30, 30]);
    assert_eq!(bench.take(one).await.work, s3sync_proto::model::Work::Keys(vec![key("k")]));
}
