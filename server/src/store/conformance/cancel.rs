//! Runs that are cancelled.

use std::time::Duration;

use s3sync_proto::model::{
    FailureClass, Held, Outcome, RunName, RunState, Suspicion, Verdict, Work, WorkError,
};

use super::bench::{Bench, TTL, key, report};
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

/// Its session expires.
async fn dies(bench: &mut Bench) {
    bench.pass(TTL + Duration::from_secs(1));
    bench.store.expire_sessions(bench.now).await.unwrap();
}

/// An agent is told to abort what is open, and dies of it. Whether it was to do so alone.
async fn dies_aborting(bench: &mut Bench) -> bool {
    let alone = bench.ready().await[0].careful;
    let session = bench.connect("b", "1", Vec::new()).await.session;
    assert_eq!(bench.take(session).await.work, Work::Reap);
    dies(bench).await;
    alone
}

/// What is listed: key, class, code and message.
async fn listed(bench: &Bench, run: &RunName) -> Vec<(String, FailureClass, String, String)> {
    let failures = bench.store.failures(run, None, None, 9).await.unwrap().0;
    let each = failures.into_iter();
    each.map(|one| (one.key.to_string(), one.class, one.code, one.message)).collect()
}

pub(super) async fn deadly(mut bench: Bench) {
    let (run, _, held) = begun(&bench).await;
    bench.intend(held, "d", Some("u")).await;
    let plan = bench.intend_to_become(held, "d", "v").await;
    bench.intend(held, "e", None).await;
    bench.intend(held, "e", Some("w")).await;
    bench.intend(held, "f", None).await;
    cancel(&bench, &run).await;
    // The one that had the work counts among those that may have died of something else, and of aborting it was not.
    dies(&mut bench).await;
    let mut alone = Vec::new();
    for death in 1..=5 {
        assert_eq!(bench.run().await.state, RunState::Cancelling, "{death}");
        alone.push(dies_aborting(&mut bench).await);
    }
    assert_eq!(alone, [false, false, true, true, true]);
    let ended = bench.run().await;
    let totals = ended.totals();
    assert_eq!((ended.state, totals.listed, totals.failed), (RunState::Cancelled, 3, 3));
    let told = listed(&bench, &run).await;
    let keys: Vec<_> =
        told.iter().map(|(key, class, code, _)| (key.as_str(), *class, code.as_str())).collect();
    let poison = |key| (key, FailureClass::Poison, "agents_died_aborting");
    assert_eq!(keys, [poison("d"), poison("e"), poison("f")]);
    assert!(told[0].3.contains("the job's next run"), "{told:?}");
    assert!(told[0].3.ends_with(": 6 agents died that had this work"), "{told:?}");
    assert!(told[2].3.contains("id is not known"), "{told:?}");

    // The next run over all keys goes on with what is open, or aborts it.
    bench.start().await;
    let session = bench.connect("c", "1", Vec::new()).await.session;
    let next = bench.take(session).await;
    let open: Vec<_> =
        next.uploads.iter().map(|one| (one.upload_id.as_deref(), one.plan.as_ref())).collect();
    assert_eq!(open, [(Some("u"), None), (Some("v"), Some(&plan)), (Some("w"), None)]);
}

pub(super) async fn deadly_after_deadly(mut bench: Bench) {
    // Agents died of the work already, and one key of it was given up with an upload open.
    let run = bench.start().await;
    for _ in 0..3 {
        let session = bench.connect("a", "1", Vec::new()).await.session;
        bench.take(session).await;
        dies(&mut bench).await;
    }
    for id in ["u", "v"] {
        let session = bench.connect("a", "1", Vec::new()).await.session;
        let held = bench.take(session).await.held;
        let suspicion = Suspicion { sequence: 1, held, key: key("d") };
        assert_eq!(bench.store.suspect(suspicion).await.unwrap(), Verdict::Applied);
        bench.intend(held, "d", Some(id)).await;
        dies(&mut bench).await;
    }
    assert_eq!(listed(&bench, &run).await.len(), 1);
    cancel(&bench, &run).await;
    for _ in 0..2 {
        assert!(!dies_aborting(&mut bench).await);
    }
    // In order; nothing is suspected any more.
    let session = bench.connect("b", "1", Vec::new()).await.session;
    let reap = bench.take(session).await.held;
    bench.done(reap, Outcome::Yielded, [None, None], 0).await;
    bench.store.close_session(session, bench.now).await.unwrap();
    let mut alone = Vec::new();
    for _ in 0..6 {
        assert_eq!(bench.run().await.state, RunState::Cancelling);
        alone.push(dies_aborting(&mut bench).await);
    }
    assert_eq!(alone, [false, false, false, true, true, true]);
    let ended = bench.run().await;
    let totals = ended.totals();
    assert_eq!((ended.state, totals.listed, totals.failed), (RunState::Cancelled, 1, 1));
    let told = listed(&bench, &run).await;
    assert_eq!((told.len(), told[0].2.as_str()), (1, "agents_died"), "{told:?}");
    assert!(told[0].3.contains("; an upload of it is left open"), "{told:?}");
}

pub(super) async fn impossible(bench: Bench) {
    let (run, _, held) = begun(&bench).await;
    bench.intend(held, "d", Some("u")).await;
    cancel(&bench, &run).await;
    bench.done(held, Outcome::Yielded, [None, None], 0).await;
    let session = bench.connect("b", "1", Vec::new()).await.session;
    let reap = bench.take(session).await;
    // A run that is being cancelled cannot be paused until the credential is mended.
    let error = WorkError {
        class: FailureClass::Permanent,
        code: "AccessDenied".into(),
        message: "no".into(),
    };
    bench.done(reap.held, Outcome::Errored(error), [None, None], 0).await;
    assert_eq!(bench.run().await.state, RunState::Cancelled);
    let told = listed(&bench, &run).await;
    let [(key, class, code, message)] = &told[..] else { panic!("{told:?}") };
    let found = (key.as_str(), *class, code.as_str());
    assert_eq!(found, ("d", FailureClass::Permanent, "AccessDenied"));
    assert!(message.ends_with(": no"), "{message}");
}

pub(super) async fn explained(mut bench: Bench) {
    let (run, session, held) = begun(&bench).await;
    bench.intend(held, "d", Some("u")).await;
    cancel(&bench, &run).await;
    bench.store.close_session(session, bench.now).await.unwrap();
    bench.pass(TTL);
    // It does not end by itself, so a person is told for whom it waits; and no more once somebody does it.
    for why in ["no agent is connected", "", "no agent is connected"] {
        bench.store.explain_runs(vec![(run.clone(), why.to_owned())]).await.unwrap();
        let told = bench.run().await;
        assert_eq!((told.state, told.reason.as_str()), (RunState::Cancelling, why));
    }
    let session = bench.connect("b", "1", Vec::new()).await.session;
    let reap = bench.take(session).await.held;
    bench.done(reap, Outcome::Completed, [None, None], 0).await;
    let ended = bench.run().await;
    assert_eq!((ended.state, ended.reason.as_str()), (RunState::Cancelled, ""));
}
