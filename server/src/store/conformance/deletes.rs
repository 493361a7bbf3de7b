//! Guarded deletes: counted, passed or approved, and no more of them than that.

use s3sync_proto::model::{
    Counters, DeleteMode, DeletePolicy, DeleteWork, Extras, Held, Key, Outcome, Run, RunState,
    Trigger, Verdict, Work, WorkReport,
};

use super::bench::{Bench, destination, failure, job, key, name, report, transient};
use crate::plan::MAX_RECOUNTS;
use crate::store::{CatalogueChange, Error, SessionId, StartRun, WorkKind};

fn mirror() -> DeletePolicy {
    DeletePolicy { mode: DeleteMode::Mirror, max_percent: Some(100.0), ..DeletePolicy::default() }
}

/// A job that mirrors to two destinations, with a run of it and an agent.
async fn started(bench: &Bench, deletes: DeletePolicy) -> SessionId {
    let destinations = vec![destination("cnn1", "one"), destination("usw2", "two")];
    let spec = Box::new(s3sync_proto::model::JobSpec { deletes, ..job(destinations) });
    bench.change(CatalogueChange::PutJob { name: name("media"), spec }).await.unwrap();
    bench.start().await;
    bench.connect("a", "1", Vec::new()).await.session
}

/// A completed scan of a range that has this many keys at both sides, and so many more at the destination.
fn scanned(held: Held, until: [Option<&str>; 2], keys: u64, extra: u64) -> WorkReport {
    let counters = Counters {
        listed: keys,
        in_step: keys,
        extra,
        destination_listed: keys + extra,
        ..Counters::default()
    };
    let samples = (0..extra.min(3)).map(|n| key(&format!("a{n}"))).collect();
    let extras = Extras { samples, ..Extras::default() };
    WorkReport { counters, extras, ..report(held, Outcome::Completed, until, 0) }
}

/// Scans both destinations: the first has extra keys on both sides of `m`, the second none.
async fn scan(bench: &Bench, session: SessionId, extra: [u64; 2]) {
    let first = bench.take(session).await.held;
    assert_eq!(bench.cut(first, "m", None).await.unwrap(), Verdict::Applied);
    let second = bench.take(session).await.held;
    bench.say(scanned(first, [None, Some("m")], 100, extra[0])).await.unwrap();
    bench.say(scanned(second, [None, None], 100, 0)).await.unwrap();
    let rest = bench.take(session).await.held;
    assert_eq!(
        bench.say(scanned(rest, [None, None], 100, extra[1])).await.unwrap(),
        Verdict::Applied
    );
}

async fn take_deletes(bench: &Bench, session: SessionId) -> (Held, DeleteWork) {
    let assignment = bench.take(session).await;
    let Work::Delete(work) = assignment.work else {
        panic!("{:?} deletes nothing", assignment.work);
    };
    (assignment.held, work)
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|name| key(name)).collect()
}

/// A report that names keys to be deleted, over so many that were deleted up to its cursor.
fn naming(
    held: Held,
    outcome: Outcome,
    cursors: [Option<&str>; 2],
    deleted: u64,
    named: &[&str],
) -> WorkReport {
    let counters = Counters { deleted, ..Counters::default() };
    let extras = Extras { deleting: keys(named), ..Extras::default() };
    WorkReport { counters, extras, ..report(held, outcome, cursors, 0) }
}

async fn applied(bench: &Bench, report: WorkReport) {
    assert_eq!(bench.say(report).await.unwrap(), Verdict::Applied);
}

fn counts(run: &Run) -> (u64, u64, u64) {
    let totals = run.totals();
    (totals.extra, totals.deleted, totals.destination_listed)
}

pub(super) async fn passed(bench: Bench) {
    let session = started(&bench, mirror()).await;
    scan(&bench, session, [2, 0]).await;
    let run = bench.run().await;
    assert_eq!((run.state, counts(&run)), (RunState::Running, (2, 0, 302)));
    let review = run.deletes.clone().unwrap();
    let share = &review.destinations[0];
    assert_eq!((review.destinations.len(), share.destination, share.extra), (1, 0, 2));
    assert_eq!((share.listed, share.reason.as_str()), (202, ""));
    assert_eq!(share.samples, keys(&["a0", "a1"]));
    let ready = bench.ready().await;
    assert_eq!((ready.len(), ready[0].kind), (1, WorkKind::Delete), "only where there is anything");
    assert_eq!(run.destinations[0].done_ranges, 1, "one of its two is open again");
    let (held, work) = take_deletes(&bench, session).await;
    assert_eq!((work.range.after, work.range.until), (None, Some(key("m"))));
    assert_eq!((work.cursor, work.count_only, work.unconditional), (None, false, false));
    applied(&bench, naming(held, Outcome::Checkpoint, [None, None], 0, &["a0", "a1"])).await;
    let mut last = naming(held, Outcome::Completed, [None, Some("m")], 1, &[]);
    last.counters.not_deleted = 1;
    last.failures = vec![failure(key("a1"))];
    applied(&bench, last).await;
    let run = bench.run().await;
    assert_eq!((run.state, counts(&run)), (RunState::FinishedWithFailures, (2, 1, 302)));
    assert_eq!(bench.store.failures(&run.name, None, None, 9).await.unwrap().1, 1);
    assert_eq!(run.destinations[0].done_ranges, 2);
    assert_eq!(run.deletes, Some(review));
}

pub(super) async fn asks(bench: Bench) {
    let session = started(&bench, DeletePolicy { max_count: Some(3), ..mirror() }).await;
    scan(&bench, session, [2, 2]).await;
    let run = bench.run().await;
    assert_eq!(run.state, RunState::AwaitingApproval);
    let wanted = "deletes need an approval: 4 keys to delete in cnn1:one/to/: 4 keys are more than max_count allows, 3";
    assert_eq!(run.reason, wanted);
    assert!(bench.ready().await.is_empty() && run.ended.is_none());
    let other = bench.store.start_run(bench.start_of("media"), bench.now).await;
    assert!(matches!(other, Err(Error::RunActive(_))), "it is going on: {other:?}");
    for refused in [
        bench.store.resume_run(&run.name, bench.now).await,
        bench.store.pause_run(&run.name, "no").await,
    ] {
        assert!(matches!(refused, Err(Error::NotNow { .. })), "{refused:?}");
    }
    let wrong = bench.store.approve_run(&run.name, "0123456789abcdef", bench.now).await;
    assert!(matches!(wrong, Err(Error::Outdated(_))), "{wrong:?}");
    assert_eq!(bench.run().await.state, RunState::AwaitingApproval);
    let etag = run.deletes.unwrap().etag;
    let approved = bench.store.approve_run(&run.name, &etag, bench.now).await.unwrap();
    assert_eq!((approved.state, approved.reason.as_str()), (RunState::Running, ""));
    assert_eq!(
        bench.store.approve_run(&run.name, &etag, bench.now).await.unwrap(),
        approved,
        "said twice"
    );
    for (until, named) in [(Some("m"), ["a", "b"]), (None, ["n", "o"])] {
        let (held, _) = take_deletes(&bench, session).await;
        applied(&bench, naming(held, Outcome::Checkpoint, [None, None], 0, &named)).await;
        applied(&bench, naming(held, Outcome::Completed, [None, until], 2, &[])).await;
    }
    let run = bench.run().await;
    assert_eq!((run.state, counts(&run)), (RunState::Succeeded, (4, 4, 304)));
    let late = bench.store.approve_run(&run.name, "ff", bench.now).await;
    assert!(matches!(late, Err(Error::NotNow { .. })), "{late:?}");
}

pub(super) async fn cancelled(bench: Bench) {
    let session = started(&bench, DeletePolicy { max_count: Some(0), ..mirror() }).await;
    scan(&bench, session, [1, 0]).await;
    let run = bench.run().await;
    assert_eq!(run.state, RunState::AwaitingApproval);
    let ended = bench.store.cancel_run(&run.name, bench.now).await.unwrap();
    assert_eq!((ended.state, counts(&ended)), (RunState::Cancelled, (1, 0, 301)));
    let late = bench.store.approve_run(&run.name, &run.deletes.unwrap().etag, bench.now).await;
    assert!(matches!(late, Err(Error::NotNow { .. })), "{late:?}");
    bench.start().await;
    assert!(bench.run().await.deletes.is_none(), "the next run counts anew");
}

pub(super) async fn never(bench: Bench) {
    // The job keeps.
    let session = started(&bench, DeletePolicy::default()).await;
    scan(&bench, session, [5, 0]).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.deletes), (RunState::Succeeded, None));
    // A part could not be listed.
    let session = started(&bench, mirror()).await;
    let first = bench.take(session).await.held;
    let second = bench.take(session).await.held;
    bench.say(scanned(first, [None, None], 100, 5)).await.unwrap();
    let mut broken = report(second, transient(), [None, None], 0);
    if let Outcome::Errored(error) = &mut broken.outcome {
        error.class = s3sync_proto::model::FailureClass::Permanent;
    }
    bench.say(broken).await.unwrap();
    let run = bench.run().await;
    assert_eq!((run.state, run.deletes), (RunState::Failed, None));
    // Only looks.
    let plan = StartRun { trigger: Trigger::Plan, ..bench.start_of("media") };
    bench.store.start_run(plan, bench.now).await.unwrap();
    for _ in 0..2 {
        let held = bench.take(session).await.held;
        bench.say(scanned(held, [None, None], 100, 5)).await.unwrap();
    }
    assert_eq!(bench.run().await.state, RunState::Succeeded);
    assert_eq!(bench.run().await.deletes, None);
}

pub(super) async fn named_once(mut bench: Bench) {
    let session = started(&bench, mirror()).await;
    scan(&bench, session, [3, 0]).await;
    let (held, _) = take_deletes(&bench, session).await;
    let first = naming(held, Outcome::Checkpoint, [None, None], 0, &["a", "b"]);
    applied(&bench, first.clone()).await;
    applied(&bench, first).await;
    // It dies; the next holder knows what it may have deleted, and names that again.
    bench.pass(super::bench::TTL * 2);
    bench.store.expire_sessions(bench.now).await.unwrap();
    let session = bench.connect("b", "1", Vec::new()).await.session;
    let (held, work) = take_deletes(&bench, session).await;
    assert_eq!(work.deleting, keys(&["a", "b"]));
    applied(&bench, naming(held, Outcome::Checkpoint, [None, Some("a")], 1, &["b", "c"])).await;
    let yielded = naming(held, Outcome::Yielded, [Some("a"), Some("a")], 0, &["b", "c"]);
    applied(&bench, yielded).await;
    // Its session dies without a word of it.
    let (held, work) = take_deletes(&bench, session).await;
    assert_eq!((work.cursor, work.deleting), (Some(key("a")), keys(&["b", "c"])));
    applied(&bench, report(held, transient(), [Some("a"), Some("a")], 0)).await;
    bench.pass(std::time::Duration::from_secs(60));
    let (held, work) = take_deletes(&bench, session).await;
    assert_eq!(work.deleting, keys(&["b", "c"]), "an error forgets nothing");
    applied(&bench, naming(held, Outcome::Completed, [Some("a"), Some("m")], 2, &[])).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().deleted), (RunState::Succeeded, 3));
}

/// Names one key more than was counted; what is left is then counted anew.
async fn one_too_many(bench: &Bench, session: SessionId) {
    let (held, _) = take_deletes(bench, session).await;
    applied(bench, naming(held, Outcome::Checkpoint, [None, None], 0, &["a", "b"])).await;
    let more = naming(held, Outcome::Checkpoint, [None, Some("b")], 2, &["c"]);
    assert_eq!(bench.say(more).await.unwrap(), Verdict::Stale, "two were counted");
    let late = naming(held, Outcome::Checkpoint, [Some("b"), Some("b")], 0, &["c"]);
    assert_eq!(bench.say(late).await.unwrap(), Verdict::Stale);
}

async fn count(bench: &Bench, session: SessionId, cursor: &str, until: Option<&str>, extra: u64) {
    assert_eq!(bench.ready().await[0].kind, WorkKind::Count);
    let (held, work) = take_deletes(bench, session).await;
    assert!(work.count_only);
    assert_eq!((work.range.after, work.cursor), (Some(key(cursor)), None));
    let mut counted = naming(held, Outcome::Completed, [None, until], 0, &[]);
    (counted.counters.extra, counted.counters.destination_listed) = (extra, extra + 50);
    counted.extras.samples = keys(&["c"]);
    applied(bench, counted).await;
}

pub(super) async fn too_many(bench: Bench) {
    let session = started(&bench, DeletePolicy { max_count: Some(6), ..mirror() }).await;
    scan(&bench, session, [2, 0]).await;
    one_too_many(&bench, session).await;
    let run = bench.run().await;
    assert_eq!((run.state, counts(&run)), (RunState::Running, (2, 2, 302)));
    count(&bench, session, "b", Some("m"), 4).await;
    let run = bench.run().await;
    assert_eq!(counts(&run), (2, 2, 302), "what is counted anew is not counted twice");
    let share = &run.deletes.unwrap().destinations[0];
    assert_eq!((share.extra, share.deleted, share.listed), (4, 2, 302 - 100));
    assert_eq!(share.samples, keys(&["c"]), "those of the first count are gone");
    // Six in all are within the policy, so it goes on by itself.
    let (held, work) = take_deletes(&bench, session).await;
    assert_eq!((work.range.after, work.count_only), (Some(key("b")), false));
    let four = ["c", "d", "e", "f"];
    applied(&bench, naming(held, Outcome::Checkpoint, [None, None], 0, &four)).await;
    let seventh = naming(held, Outcome::Checkpoint, [None, Some("f")], 4, &["g"]);
    assert_eq!(bench.say(seventh).await.unwrap(), Verdict::Stale);
    count(&bench, session, "f", Some("m"), 1).await;
    let run = bench.run().await;
    assert_eq!(run.state, RunState::AwaitingApproval);
    assert!(run.reason.ends_with("7 keys are more than max_count allows, 6"), "{}", run.reason);
}

pub(super) async fn approved_too_many(bench: Bench) {
    let session = started(&bench, DeletePolicy { max_count: Some(1), ..mirror() }).await;
    scan(&bench, session, [2, 1]).await;
    let run = bench.run().await;
    let first = run.deletes.clone().unwrap().etag;
    bench.store.approve_run(&run.name, &first, bench.now).await.unwrap();
    // The other range is at work meanwhile. It is told to let go, and may name nothing more.
    let waiting = bench.ready().await;
    one_too_many(&bench, session).await;
    assert_eq!(waiting.len(), 2);
    count(&bench, session, "b", Some("m"), 1).await;
    let ready = bench.ready().await;
    assert_eq!((ready.len(), ready[0].kind), (1, WorkKind::Count), "the other is counted too");
    let (held, work) = take_deletes(&bench, session).await;
    assert!(work.count_only && work.range.after == Some(key("m")), "{work:?}");
    let mut counted = naming(held, Outcome::Completed, [None, None], 0, &[]);
    counted.counters.extra = 1;
    applied(&bench, counted).await;
    let run = bench.run().await;
    assert_eq!(run.state, RunState::AwaitingApproval);
    assert!(run.reason.ends_with("there is more to delete than was approved"), "{}", run.reason);
    let old = bench.store.approve_run(&run.name, &first, bench.now).await;
    assert!(matches!(old, Err(Error::Outdated(_))), "that was another count: {old:?}");
    let etag = run.deletes.unwrap().etag;
    assert_eq!(
        bench.store.approve_run(&run.name, &etag, bench.now).await.unwrap().state,
        RunState::Running
    );
    for (until, named) in [(Some("m"), "d"), (None, "n")] {
        let (held, _) = take_deletes(&bench, session).await;
        applied(&bench, naming(held, Outcome::Checkpoint, [None, None], 0, &[named])).await;
        applied(&bench, naming(held, Outcome::Completed, [None, until], 1, &[])).await;
    }
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().deleted), (RunState::Succeeded, 4));
}

pub(super) async fn told_to_count(bench: Bench) {
    let session = started(&bench, mirror()).await;
    scan(&bench, session, [2, 3]).await;
    let first = bench.take(session).await.held;
    let (second, _) = take_deletes(&bench, session).await;
    applied(&bench, naming(second, Outcome::Checkpoint, [None, None], 0, &["x"])).await;
    let more = naming(first, Outcome::Checkpoint, [None, Some("a")], 0, &["b", "c", "d"]);
    assert_eq!(bench.say(more).await.unwrap(), Verdict::Stale);
    let leased = bench.store.snapshot(9, bench.now).await.unwrap().leased;
    assert!(leased.len() == 1 && leased[0].revoke, "the other holder is to let go");
    let more = naming(second, Outcome::Checkpoint, [None, Some("x")], 1, &["y"]);
    assert_eq!(bench.say(more).await.unwrap(), Verdict::Stale, "although it was within its count");
    count(&bench, session, "a", Some("m"), 3).await;
}

pub(super) async fn again_and_again(bench: Bench) {
    let session = started(&bench, mirror()).await;
    scan(&bench, session, [1, 0]).await;
    let mut cursor = None;
    for round in 0..MAX_RECOUNTS {
        let (held, _) = take_deletes(&bench, session).await;
        let next = format!("k{round}");
        applied(&bench, naming(held, Outcome::Checkpoint, [None, None], 0, &[&next])).await;
        let more = naming(held, Outcome::Checkpoint, [None, Some(&next)], 1, &["l"]);
        assert_eq!(bench.say(more).await.unwrap(), Verdict::Stale);
        count(&bench, session, &next, Some("m"), 1).await;
        cursor = Some(next);
    }
    assert!(cursor.is_some());
    let run = bench.run().await;
    assert_eq!(run.state, RunState::AwaitingApproval, "a source that shrinks all the time");
    assert_eq!(run.totals().deleted, u64::from(MAX_RECOUNTS));
}
