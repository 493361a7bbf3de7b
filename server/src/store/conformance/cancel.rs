//! Runs that are cancelled.

use std::time::Duration;

use s3sync_proto::model::{Held, Outcome, RunName, RunState, Verdict, Work};

use super::bench::{Bench, TTL, report};
use crate::store::SessionId;

/// A run with the ranges up to "m", which `a` holds, and above, which nobody does.
async fn begun(bench: &Bench) -> (RunName, SessionId, Held) {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied);
    (run, session, held)
}

async fn cancel(bench: &Bench, run: &RunName) -> RunState {
    bench.store.cancel_run(run, bench.now).await.unwrap().state
}

pub(super) async fn idle(bench: Bench) {
    let run = bench.start().await;
    let seen = bench.ready().await[0].held;
    assert_eq!(cancel(&bench, &run).await, RunState::Cancelled);
    assert_eq!(bench.run().await.ended, Some(bench.now));
    assert!(bench.ready().await.is_empty());
    // A decision from before is not carried out.
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let grant = crate::store::Grant { held: seen, session };
    assert!(bench.store.lease(vec![grant], bench.now).await.unwrap().is_empty());
    let none = RunName { number: 9, ..run };
    let refused = bench.store.cancel_run(&none, bench.now).await;
    assert!(matches!(refused, Err(crate::store::Error::NotFound(_))));
}

pub(super) async fn held(bench: Bench) {
    let (run, session, held) = begun(&bench).await;
    assert_eq!(cancel(&bench, &run).await, RunState::Cancelling);
    assert_eq!(cancel(&bench, &run).await, RunState::Cancelling);
    let view = bench.store.snapshot(9, bench.now).await.unwrap();
    assert!(view.ready.is_empty(), "what nobody held is closed");
    assert!(view.leased[0].revoke && view.leased[0].range.reap);
    // A cut that was on its way makes no new work.
    assert_eq!(bench.cut(held, "g", Some("m")).await.unwrap(), Verdict::Applied);
    assert!(bench.ready().await.is_empty());
    assert_eq!(
        bench.renew(session, super::bench::stating(1, 0, vec![held])).await.unwrap(),
        [held]
    );
    bench.done(held, Outcome::Yielded, [None, Some("c")], 3).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().listed), (RunState::Cancelled, 3));
    assert_eq!(run.destinations[0].done_ranges, 0);
    let late = bench.say(report(held, Outcome::Checkpoint, [Some("c"), Some("d")], 1)).await;
    assert_eq!(late.unwrap(), Verdict::Stale);
}

pub(super) async fn reaped(mut bench: Bench) {
    let (run, session, held) = begun(&bench).await;
    let rest = bench.take(session).await.held;
    bench.intend(rest, "p", Some("u")).await;
    bench.done(rest, Outcome::Yielded, [None, Some("n")], 2).await;
    bench.intend(held, "d", None).await;
    assert_eq!(cancel(&bench, &run).await, RunState::Cancelling);
    let ready = bench.ready().await;
    assert_eq!((ready.len(), ready[0].held.id, ready[0].reap), (1, rest.id, true));
    bench.done(held, Outcome::Yielded, [None, Some("c")], 1).await;
    assert_eq!(bench.ready().await.len(), 2);

    // Who is to abort uploads knows no cursor, whatever the range had got to.
    let first = bench.take(session).await;
    assert_eq!((&first.work, first.uploads.len()), (&Work::Reap, 1));
    let mut odd = report(first.held, Outcome::Completed, [None, None], 1);
    assert!(bench.say(odd.clone()).await.is_err(), "there were no keys to look at");
    odd.counters = Default::default();
    odd.counters.write_requests = 1;
    assert_eq!(bench.say(odd.clone()).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.say(odd).await.unwrap(), Verdict::Stale);
    assert_eq!(bench.run().await.state, RunState::Cancelling);

    // It may take more than one.
    let second = bench.take(session).await;
    bench.done(second.held, Outcome::Yielded, [None, None], 0).await;
    let third = bench.take(session).await;
    bench.done(third.held, super::bench::transient(), [None, None], 0).await;
    bench.pass(Duration::from_secs(60));
    let last = bench.take(session).await;
    assert_eq!(last.uploads, second.uploads);
    bench.done(last.held, Outcome::Completed, [None, None], 0).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().listed), (RunState::Cancelled, 3));
}

pub(super) async fn lost(mut bench: Bench) {
    let (run, _, held) = begun(&bench).await;
    bench.intend(held, "d", Some("u")).await;
    cancel(&bench, &run).await;
    bench.pass(TTL + Duration::from_secs(1));
    bench.store.expire_sessions(bench.now).await.unwrap();
    assert_eq!(bench.run().await.state, RunState::Cancelling);
    // A late report of the earlier work still has its cursor, until the range is leased again.
    bench.done(held, Outcome::Checkpoint, [None, Some("c")], 3).await;
    let session = bench.connect("b", "1", Vec::new()).await.session;
    let reap = bench.take(session).await;
    assert_eq!((reap.work, reap.uploads.len()), (Work::Reap, 1));
    let late = bench.say(report(held, Outcome::Yielded, [Some("c"), Some("d")], 1)).await;
    assert_eq!(late.unwrap(), Verdict::Stale);
    bench.pass(TTL + Duration::from_secs(1));
    bench.store.expire_sessions(bench.now).await.unwrap();
    bench.done(reap.held, Outcome::Completed, [None, None], 0).await;
    assert_eq!(bench.run().await.state, RunState::Cancelled);
}

pub(super) async fn ended(bench: Bench) {
    let (run, session, held) = begun(&bench).await;
    bench.done(held, Outcome::Completed, [None, Some("m")], 1).await;
    let rest = bench.take(session).await.held;
    bench.done(rest, Outcome::Completed, [None, None], 1).await;
    assert_eq!(cancel(&bench, &run).await, RunState::Succeeded);
}
