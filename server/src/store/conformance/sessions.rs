//! Sessions: opened, renewed, superseded, expired.

use std::time::Duration;

use s3sync_proto::model::{
    AgentState, FEATURE_KEYS, Held, Outcome, RangeState, RunState, State, Verdict,
};

use super::bench::{Bench, TTL, destination, name, report, stating};
use crate::store::{Error, Grant};

/// One instant more than a session lasts.
const PAST: Duration = Duration::from_micros(1);

pub(super) async fn same(bench: Bench) {
    bench.start().await;
    let first = bench.connect("a", "1", Vec::new()).await;
    assert_eq!((first.superseded, first.confirmed.len()), (None, 0));
    let held = bench.take(first.session).await.held;
    let second = bench.connect("a", "1", vec![held]).await;
    assert_eq!(second.superseded, Some(first.session));
    assert_eq!(second.confirmed, [held]);
    assert_eq!(bench.leased().await, [(second.session, held)]);
    let gone = bench.renew(first.session, stating(1, 0, vec![held])).await;
    assert!(matches!(gone, Err(Error::SessionGone)), "{gone:?}");
    // The end of the earlier one touches nothing of the new one.
    bench.store.close_session(first.session, bench.now).await.unwrap();
    assert_eq!(bench.leased().await, [(second.session, held)]);
    bench.done(held, Outcome::Completed, [None, None], 1).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
}

pub(super) async fn other(mut bench: Bench) {
    bench.start().await;
    let first = bench.connect("a", "1", Vec::new()).await;
    let held = bench.take(first.session).await.held;
    let second = bench.connect("a", "2", Vec::new()).await;
    assert_eq!((second.superseded, second.confirmed.len()), (Some(first.session), 0));
    assert!(bench.leased().await.is_empty());
    // What the dead process had sent counts until the work is leased again.
    bench.done(held, Outcome::Checkpoint, [None, Some("d")], 4).await;
    // Which is not before its session would have expired: until then what it began to write may arrive.
    bench.pass(TTL - PAST);
    assert!(bench.ready().await.is_empty());
    let run = bench.run().await.name;
    let late = bench.store.snapshot(10, bench.now).await.unwrap().late;
    assert_eq!(late, [(run, bench.now.plus(PAST))]);
    let hasty = Grant { held, session: second.session };
    assert!(bench.store.lease(vec![hasty], bench.now).await.unwrap().is_empty());
    bench.pass(PAST);
    assert!(bench.store.snapshot(10, bench.now).await.unwrap().late.is_empty());
    let next = bench.take(second.session).await.held;
    assert_eq!(next, Held { id: held.id, epoch: held.epoch + 1 });
    let late = bench.say(report(held, Outcome::Checkpoint, [Some("d"), Some("e")], 1)).await;
    assert_eq!(late.unwrap(), Verdict::Stale);
    // And it may not claim what is another's.
    let thief = bench.connect("b", "1", vec![next, held]).await;
    assert!(thief.confirmed.is_empty());
    assert_eq!(bench.leased().await, [(second.session, next)]);
}

/// Only what the dead process held waits, and it is nobody's but its own when it was not dead.
pub(super) async fn waits(mut bench: Bench) {
    bench.put_job("other", vec![destination("cnn1", "elsewhere")]).await;
    bench.start().await;
    let first = bench.connect("a", "1", Vec::new()).await;
    let held = bench.take(first.session).await.held;
    bench.pass(Duration::from_secs(20));
    bench.renew(first.session, stating(1, 0, vec![held])).await.unwrap();
    bench.pass(Duration::from_secs(10));
    let second = bench.connect("a", "2", Vec::new()).await;
    bench.store.start_run(bench.start_of("other"), bench.now).await.unwrap();
    let free = bench.take(second.session).await;
    assert_ne!(free.held.id, held.id, "what nobody held is free at once");
    let view = bench.store.run_view(&name("media"), None, bench.now).await.unwrap().0;
    assert_eq!(view.strips[0].states, [RangeState::PutOff]);
    // Pausing and going on makes nothing of it sooner.
    let run = bench.run().await.name;
    bench.store.pause_run(&run, "a person").await.unwrap();
    bench.store.resume_run(&run, bench.now).await.unwrap();
    assert!(bench.ready().await.is_empty());
    // It was cut off only: it goes on with what it has.
    let back = bench.connect("a", "1", vec![held]).await;
    assert_eq!(back.confirmed, [held]);
    // When it gives it back, there is nothing to wait for.
    bench.done(held, Outcome::Yielded, [None, None], 0).await;
    let ready: Vec<u64> = bench.ready().await.iter().map(|range| range.held.id).collect();
    assert_eq!(ready, [held.id], "the second's own waits");
    bench.pass(TTL);
    assert_eq!(bench.ready().await.len(), 2);
}

pub(super) async fn expiry(mut bench: Bench) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.pass(TTL);
    assert!(bench.store.expire_sessions(bench.now).await.unwrap().is_empty(), "not yet due");
    bench.pass(PAST);
    assert_eq!(bench.store.expire_sessions(bench.now).await.unwrap(), [session]);
    assert!(bench.store.expire_sessions(bench.now).await.unwrap().is_empty());
    assert_eq!(bench.store.agents().await.unwrap()[0].state, AgentState::Offline);
    assert_eq!(bench.ready().await[0].held, held, "the epoch stays");
    bench.done(held, Outcome::Checkpoint, [None, Some("k")], 3).await;
    let other = bench.connect("b", "1", Vec::new()).await.session;
    let stale_grant = Grant { held: Held { epoch: held.epoch + 7, ..held }, session: other };
    assert!(bench.store.lease(vec![stale_grant], bench.now).await.unwrap().is_empty());
    let next = bench.take(other).await.held;
    assert!(next.epoch > held.epoch);
    let late = bench.say(report(held, Outcome::Completed, [Some("k"), None], 9)).await;
    assert_eq!(late.unwrap(), Verdict::Stale);
    assert_eq!(bench.run().await.totals().in_step, 3);
    // To a session that is gone nothing is leased.
    bench.done(next, Outcome::Yielded, [Some("k"), Some("k")], 0).await;
    let held = bench.ready().await[0].held;
    assert!(bench.store.lease(vec![Grant { held, session }], bench.now).await.unwrap().is_empty());
}

pub(super) async fn returns(mut bench: Bench) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.pass(TTL + PAST);
    bench.store.expire_sessions(bench.now).await.unwrap();
    let other = bench.connect("b", "1", Vec::new()).await.session;
    let decided = bench.ready().await[0].held;
    let back = bench.connect("a", "1", vec![held]).await;
    assert_eq!((back.superseded, back.confirmed), (None, vec![held]));
    // A decision from before finds it taken.
    let grant = Grant { held: decided, session: other };
    assert!(bench.store.lease(vec![grant], bench.now).await.unwrap().is_empty());
    assert_eq!(bench.leased().await, [(back.session, held)]);
    let unknown = Held { id: held.id + 99, epoch: 1 };
    let again = bench.connect("a", "1", vec![held, unknown]).await;
    assert_eq!(again.confirmed, [held]);
}

pub(super) async fn lost(bench: Bench) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    // States that may have been under way when it was leased prove nothing.
    for (sequence, last_lease) in [(1, 0), (2, 1)] {
        let confirmed = bench.renew(session, stating(sequence, last_lease, Vec::new())).await;
        assert_eq!(confirmed.unwrap(), [held], "after state {sequence}");
    }
    let confirmed = bench.renew(session, stating(3, 2, Vec::new())).await.unwrap();
    assert!(confirmed.is_empty());
    assert_eq!(bench.ready().await[0].held, held);
    // One that arrived stays, however many states follow.
    let held = bench.take(session).await.held;
    for sequence in 4..8 {
        let confirmed = bench.renew(session, stating(sequence, sequence - 1, vec![held])).await;
        assert_eq!(confirmed.unwrap(), [held]);
    }
}

async fn state_of(bench: &Bench) -> (AgentState, u32, u32) {
    let agents = bench.store.agents().await.unwrap();
    assert_eq!(agents.len(), 1);
    (agents[0].state, agents[0].held, agents[0].capacity)
}

pub(super) async fn state(mut bench: Bench) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    assert_eq!(state_of(&bench).await, (AgentState::Online, 0, 4));
    let held = bench.take(session).await.held;
    bench.pass(Duration::from_secs(9));
    let draining =
        State { sequence: 1, capacity: 7, held: vec![held], draining: true, last_lease: 0 };
    bench.renew(session, draining).await.unwrap();
    assert_eq!(state_of(&bench).await, (AgentState::Draining, 1, 7));
    let agent = bench.store.agents().await.unwrap().remove(0);
    assert_eq!((agent.name, agent.last_seen), (name("a"), bench.now));
    assert_eq!(
        (agent.features, agent.endpoints.len()),
        (vec!["split".to_owned(), FEATURE_KEYS.to_owned()], 2)
    );
    let view = bench.store.snapshot(9, bench.now).await.unwrap().sessions.remove(0);
    assert_eq!((view.session, view.capacity, view.held, view.draining), (session, 7, 1, true));
    assert_eq!(view.labels["region"], "us");
    // It was renewed: the first bound has no effect any more.
    bench.pass(TTL - Duration::from_secs(1));
    assert!(bench.store.expire_sessions(bench.now).await.unwrap().is_empty());
}

pub(super) async fn leaves(mut bench: Bench) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.store.close_session(session, bench.now).await.unwrap();
    assert_eq!(state_of(&bench).await.0, AgentState::Offline);
    // It left with work in its hands: what it had begun to write may still arrive.
    assert!(bench.ready().await.is_empty());
    bench.pass(TTL);
    assert_eq!(bench.ready().await[0].held, held);
    assert!(bench.store.snapshot(9, bench.now).await.unwrap().sessions.is_empty());
    assert!(matches!(
        bench.renew(session, stating(1, 0, vec![held])).await,
        Err(Error::SessionGone)
    ));
    bench.store.close_session(session, bench.now).await.unwrap();
}

pub(super) async fn extended(mut bench: Bench) {
    let session = bench.connect("a", "1", Vec::new()).await.session;
    bench.pass(TTL * 10);
    bench.store.extend_sessions(bench.now.plus(TTL)).await.unwrap();
    bench.store.extend_sessions(bench.now).await.unwrap();
    bench.pass(TTL);
    assert!(bench.store.expire_sessions(bench.now).await.unwrap().is_empty());
    bench.pass(PAST);
    assert_eq!(bench.store.expire_sessions(bench.now).await.unwrap(), [session]);
}
