//! Leases and reports.

use std::time::Duration;

use s3sync_proto::model::{
    Counters, FailureClass, Held, Outcome, RunState, Upload, Verdict, Work, WorkError,
};

use super::bench::{Bench, TTL, destination, failure, key, name, report, transient};
use crate::plan::REFUSAL_PAUSE;
use crate::store::{Error, Grant, SessionId};

/// A run that `a` has taken the only range of.
async fn begun(bench: &Bench) -> (SessionId, Held) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    (session, bench.take(session).await.held)
}

pub(super) async fn leased_once(bench: Bench) {
    bench.start().await;
    let a = bench.connect("a", "1", Vec::new()).await.session;
    let b = bench.connect("b", "1", Vec::new()).await.session;
    let held = bench.ready().await[0].held;
    let both = vec![Grant { held, session: a }, Grant { held, session: b }];
    let leased = bench.store.lease(both.clone(), bench.now).await.unwrap();
    let got: Vec<_> = leased.iter().map(|(who, one)| (*who, one.held)).collect();
    assert_eq!(got, [(a, Held { id: held.id, epoch: held.epoch + 1 })]);
    assert!(bench.store.lease(both, bench.now).await.unwrap().is_empty());
    let view = bench.store.snapshot(9, bench.now).await.unwrap();
    assert!(view.ready.is_empty());
    let one = &view.leased[0];
    assert_eq!((one.session, one.since, one.revoke, one.siblings), (a, bench.now, false, 1));
    assert_eq!(bench.run().await.destinations[0].leased_ranges, 1);
}

pub(super) async fn checkpoints(bench: Bench) {
    let (_, held) = begun(&bench).await;
    let first = report(held, Outcome::Checkpoint, [None, Some("c")], 3);
    assert_eq!(bench.say(first.clone()).await.unwrap(), Verdict::Applied);
    // The acknowledgement was lost: told again, it is on disk, and not counted twice.
    assert_eq!(bench.say(first.clone()).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.run().await.totals().listed, 3);
    let second = report(held, Outcome::Checkpoint, [Some("c"), Some("f")], 2);
    assert_eq!(bench.say(second).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.say(first).await.unwrap(), Verdict::Stale);
    let elsewhere = report(held, Outcome::Checkpoint, [Some("d"), Some("g")], 1);
    assert_eq!(bench.say(elsewhere).await.unwrap(), Verdict::Stale);
    let last = report(held, Outcome::Completed, [Some("f"), None], 1);
    assert_eq!(bench.say(last.clone()).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Stale);
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().listed), (RunState::Succeeded, 6));
}

pub(super) async fn stale(bench: Bench) {
    let (session, held) = begun(&bench).await;
    bench.done(held, Outcome::Yielded, [None, Some("c")], 3).await;
    let next = bench.take(session).await.held;
    for epoch in [held.epoch, next.epoch + 1] {
        let other = Held { epoch, ..held };
        for outcome in [Outcome::Checkpoint, Outcome::Completed, Outcome::Yielded, transient()] {
            let said = report(other, outcome, [Some("c"), Some("d")], 1);
            assert_eq!(bench.say(said).await.unwrap(), Verdict::Stale);
        }
        assert_eq!(bench.cut(other, "x", None).await.unwrap(), Verdict::Stale);
        assert_eq!(bench.intend(other, "x", None).await, Verdict::Stale);
        let Outcome::Errored(error) = transient() else { unreachable!("it is an error") };
        let refused = bench.store.refuse(other, &name("a"), &error, bench.now).await;
        assert_eq!(refused.unwrap(), Verdict::Stale);
    }
    let unknown = Held { id: held.id + 99, epoch: 1 };
    let said = report(unknown, Outcome::Checkpoint, [None, Some("d")], 1);
    assert_eq!(bench.say(said).await.unwrap(), Verdict::Stale);
    assert_eq!(bench.run().await.totals().listed, 3);
    assert_eq!(bench.leased().await, [(session, next)]);
}

pub(super) async fn contradictions(bench: Bench) {
    let (session, held) = begun(&bench).await;
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied);
    bench.done(held, Outcome::Checkpoint, [None, Some("c")], 3).await;
    let good = report(held, Outcome::Checkpoint, [Some("c"), Some("f")], 1);
    let with = |change: &dyn Fn(&mut s3sync_proto::model::WorkReport)| {
        let mut said = good.clone();
        change(&mut said);
        said
    };
    let failed = |at: &str| {
        let mut said = good.clone();
        said.counters = Counters { listed: 1, failed: 1, ..Counters::default() };
        said.failures = vec![failure(key(at))];
        said
    };
    let bad = [
        with(&|said| said.counters.listed += 1),
        with(&|said| said.cursor = Some(key("b"))),
        with(&|said| said.cursor = None),
        with(&|said| said.cursor = Some(key("n"))),
        // Without a cursor that moves, the same would come again as a new report and count twice.
        with(&|said| said.cursor = Some(key("c"))),
        with(&|said| {
            said.outcome = Outcome::Yielded;
            said.cursor = Some(key("c"));
        }),
        with(&|said| {
            said.outcome = Outcome::Completed;
            said.cursor = None;
        }),
        with(&|said| said.failures = vec![failure(key("d"))]),
        with(&|said| {
            said.counters = Counters { listed: 1, archived: 1, ..Counters::default() };
        }),
        failed("c"),
        failed("g"),
    ];
    for said in bad {
        let verdict = bench.say(said.clone()).await;
        assert!(matches!(verdict, Err(Error::Invalid(_))), "{verdict:?} for {said:?}");
    }
    assert_eq!(bench.run().await.totals().listed, 3);
    assert_eq!(bench.leased().await, [(session, held)]);
    assert_eq!(bench.say(failed("f")).await.unwrap(), Verdict::Applied);
}

pub(super) async fn yielded(bench: Bench) {
    let (session, held) = begun(&bench).await;
    let last = report(held, Outcome::Yielded, [None, Some("c")], 3);
    assert_eq!(bench.say(last.clone()).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Stale);
    let next = bench.take(session).await;
    assert!(next.held.epoch > held.epoch);
    let Work::Range { range, cursor } = next.work else { panic!("not a range") };
    assert_eq!((range.after, range.until, cursor), (None, None, Some(key("c"))));
    // Also one that moved no cursor counts once.
    let mut last = report(next.held, Outcome::Yielded, [Some("c"), Some("c")], 0);
    last.counters.list_requests = 2;
    assert_eq!(bench.say(last.clone()).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Stale);
    assert_eq!(bench.run().await.totals().list_requests, 2);
}

pub(super) async fn errors(mut bench: Bench) {
    let (session, mut held) = begun(&bench).await;
    let mut tries = 1;
    loop {
        let said = report(held, transient(), [None, None], 0);
        assert_eq!(bench.say(said.clone()).await.unwrap(), Verdict::Applied);
        assert_eq!(bench.say(said).await.unwrap(), Verdict::Stale);
        let run = bench.run().await;
        if run.state != RunState::Running {
            break;
        }
        assert!(bench.ready().await.is_empty(), "a pause comes before the next try");
        bench.pass(Duration::from_secs(60));
        held = bench.take(session).await.held;
        tries += 1;
        assert!(tries < 100, "it is tried for ever");
    }
    let run = bench.run().await;
    assert!(tries > 1, "an error that may pass is tried again");
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(run.reason, "cnn1:target/to/: SlowList: the listing broke");
    // What cannot pass is not tried again, and the other ranges go on.
    bench.start().await;
    let held = bench.take(session).await.held;
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied);
    bench.done(held, Outcome::Errored(permanent()), [None, Some("c")], 3).await;
    assert_eq!(bench.run().await.state, RunState::Running);
    let rest = bench.take(session).await.held;
    assert_ne!(rest.id, held.id);
    bench.done(rest, Outcome::Completed, [None, None], 4).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().listed), (RunState::Failed, 7));
    assert_eq!(run.reason, "cnn1:target/to/: X: y");
}

pub(super) async fn attempts(mut bench: Bench) {
    let (session, mut held) = begun(&bench).await;
    let mut before = None;
    for number in 100..150 {
        let cursor = number.to_string();
        bench.done(held, transient(), [before.as_deref(), Some(&cursor)], 1).await;
        assert_eq!(bench.run().await.state, RunState::Running, "at key {cursor}");
        before = Some(cursor);
        bench.pass(Duration::from_secs(60));
        held = bench.take(session).await.held;
    }
}

pub(super) async fn refusals(mut bench: Bench) {
    let (session, held) = begun(&bench).await;
    let Outcome::Errored(error) = transient() else { unreachable!("it is an error") };
    let refuse = |held| {
        let (store, now, error) = (bench.store.clone(), bench.now, error.clone());
        async move { store.refuse(held, &name("a"), &error, now).await.unwrap() }
    };
    assert_eq!(refuse(held).await, Verdict::Applied);
    assert_eq!(refuse(held).await, Verdict::Stale);
    assert_eq!(bench.ready().await[0].refused_by, Some(name("a")));
    let again = bench.connect("b", "1", Vec::new()).await.session;
    assert!(bench.take(again).await.held.epoch > held.epoch);
    bench.store.close_session(again, bench.now).await.unwrap();
    bench.pass(REFUSAL_PAUSE.max(TTL));
    assert_eq!(bench.ready().await[0].refused_by, None);
    bench.take(session).await;
}

/// Keys and ids of uploads, as they are handed to a holder.
fn shown(uploads: &[Upload]) -> Vec<(String, Option<&str>)> {
    uploads.iter().map(|one| (one.key.to_string(), one.upload_id.as_deref())).collect()
}

pub(super) async fn uploads(mut bench: Bench) {
    let (session, held) = begun(&bench).await;
    let intended = bench.now;
    for (at, id) in [("b", None), ("b", Some("u1")), ("e", None), ("g", None), ("g", Some("u2"))] {
        assert_eq!(bench.intend(held, at, id).await, Verdict::Applied);
        bench.pass(Duration::from_secs(1));
    }
    // The answers were lost, and all comes again.
    for (at, id) in [("g", None), ("g", Some("u2"))] {
        assert_eq!(bench.intend(held, at, id).await, Verdict::Applied);
    }
    // The first upload was given up and another begun: either may be open. The answer to opening that one was lost once,
    // so there may be another whose id nobody knows.
    for (at, id) in [("g", None), ("g", Some("u3")), ("g", None)] {
        assert_eq!(bench.intend(held, at, id).await, Verdict::Applied);
    }
    bench.done(held, Outcome::Checkpoint, [None, Some("c")], 2).await;
    // Too late for a key that is settled.
    assert_eq!(bench.intend(held, "b", Some("u9")).await, Verdict::Applied);
    bench.done(held, Outcome::Yielded, [Some("c"), Some("c")], 0).await;
    let next = bench.take(session).await;
    let open = [("e", None), ("g", None), ("g", Some("u2")), ("g", Some("u3"))];
    assert_eq!(shown(&next.uploads), open.map(|(at, id)| (at.to_owned(), id)));
    assert_eq!(next.uploads[0].intent, intended.plus(Duration::from_secs(2)));
    bench.done(next.held, Outcome::Yielded, [Some("c"), Some("f")], 0).await;
    let last = bench.take(session).await;
    assert_eq!(last.uploads.len(), 3);
    bench.done(last.held, Outcome::Completed, [Some("f"), None], 1).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
}

pub(super) async fn plans_of_uploads(mut bench: Bench) {
    let (session, held) = begun(&bench).await;
    bench.intend(held, "b", None).await;
    let plan = bench.intend_to_become(held, "b", "u1").await;
    // The answer was lost, and it comes again.
    assert_eq!(bench.intend_to_become(held, "b", "u1").await, plan);
    bench.intend(held, "x", Some("u2")).await;
    let planned = |uploads: &[Upload]| -> Vec<_> {
        uploads.iter().map(|one| (one.key.to_string(), one.plan.clone())).collect()
    };
    bench.store.close_session(session, bench.now).await.unwrap();
    bench.pass(TTL);
    let other = bench.connect("b", "1", Vec::new()).await.session;
    let next = bench.take(other).await;
    assert_eq!(
        planned(&next.uploads),
        [("b".to_owned(), Some(plan)), ("x".to_owned(), None)],
        "another agent is told"
    );
    // It goes along when the range is cut.
    let beyond = bench.intend_to_become(next.held, "x", "u3").await;
    assert_eq!(bench.cut(next.held, "m", None).await.unwrap(), Verdict::Applied);
    let rest = bench.take(other).await;
    assert_eq!(planned(&rest.uploads), [("x".to_owned(), None), ("x".to_owned(), Some(beyond))]);
}

pub(super) async fn left_uploads(bench: Bench) {
    let (session, held) = begun(&bench).await;
    let plan = bench.intend_to_become(held, "b", "u1").await;
    bench.intend(held, "x", Some("u2")).await;
    bench.intend(held, "y", None).await;
    bench.done(held, Outcome::Errored(permanent()), [None, None], 0).await;
    assert_eq!(bench.run().await.state, RunState::Failed);
    // Elsewhere these uploads are not.
    bench.put_job("media", vec![destination("cnn1", "elsewhere")]).await;
    bench.start().await;
    let held = bench.take(session).await;
    assert_eq!(held.uploads, []);
    bench.done(held.held, Outcome::Completed, [None, None], 1).await;
    // Back at their place the next run has them, but for the one that only its time would tell from others'.
    bench.put_job("media", vec![destination("cnn1", "target")]).await;
    bench.start().await;
    let held = bench.take(session).await;
    let told: Vec<_> = held
        .uploads
        .iter()
        .map(|one| (one.key.to_string(), one.upload_id.as_deref(), one.plan.clone()))
        .collect();
    assert_eq!(told, [("b".into(), Some("u1"), Some(plan)), ("x".into(), Some("u2"), None)]);
    bench.done(held.held, Outcome::Completed, [None, None], 1).await;
    bench.start().await;
    assert_eq!(bench.take(session).await.uploads, [], "once");
}

fn permanent() -> WorkError {
    WorkError { class: FailureClass::Permanent, code: "X".into(), message: "y".into() }
}

pub(super) async fn destinations(bench: Bench) {
    bench.put_job("media", vec![destination("usw2", "one"), destination("cnn1", "two")]).await;
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let (first, second) = (bench.take(session).await, bench.take(session).await);
    let buckets = [&first, &second].map(|one| one.destination.location.bucket.as_str());
    assert_eq!(buckets, ["one", "two"]);
    bench.done(first.held, Outcome::Completed, [None, None], 3).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.destinations[1].open_ranges), (RunState::Running, 1));
    let mut said = report(second.held, Outcome::Completed, [None, None], 2);
    said.counters.failed = 1;
    said.counters.listed = 3;
    said.failures = vec![failure(key("k"))];
    assert_eq!(bench.say(said).await.unwrap(), Verdict::Applied);
    let run = bench.run().await;
    let listed: Vec<_> = run.destinations.iter().map(|one| one.counters.listed).collect();
    assert_eq!((run.state, listed), (RunState::FinishedWithFailures, vec![3, 3]));
    let (failures, total) = bench.store.failures(&run.name, None, None, 9).await.unwrap();
    assert_eq!((failures.len(), failures[0].destination, total), (1, 1, 1));
    let after = bench.store.failures(&run.name, None, Some((1, key("k"))), 9).await.unwrap().0;
    assert!(after.is_empty());
    let before = bench.store.failures(&run.name, None, Some((0, key("z"))), 9).await.unwrap().0;
    assert_eq!(before.len(), 1);
}
