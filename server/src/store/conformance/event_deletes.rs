//! Deletes by events: what a look found to be gone waits for the guard or for a person, and is work only then.

use std::time::Duration;

use s3sync_proto::model::{
    Assignment, CompareMode, Counters, DeleteMode, DeletePolicy, ExtraKey, FailureClass, Held,
    JobSpec, Key, Outcome, RunState, Trigger, Verdict, Work, WorkReport,
};

use super::bench::{Bench, TTL, destination, failure, job, key, name, report};
use super::events::{following, tell};
use crate::store::{CatalogueChange, Error, SessionId, StartRun};

fn spec(deletes: DeletePolicy) -> JobSpec {
    let destinations = vec![destination("usw2", "near")];
    JobSpec { events: Some(name("q")), deletes, ..job(destinations) }
}

async fn put(bench: &Bench, spec: JobSpec) {
    let change = CatalogueChange::PutJob { name: name("media"), spec: Box::new(spec) };
    bench.change(change).await.unwrap();
}

pub(super) fn mirror(max_per_hour: u64) -> DeletePolicy {
    DeletePolicy {
        mode: DeleteMode::Mirror,
        max_percent: Some(100.0),
        max_per_hour: Some(max_per_hour),
        ..DeletePolicy::default()
    }
}

/// A job that mirrors and follows a queue, after a scan that found so many keys in place.
pub(super) async fn begun(bench: &Bench, policy: DeletePolicy, in_place: u64) -> (SessionId, Held) {
    let (session, watch) = following(bench).await;
    put(bench, spec(policy)).await;
    bench.start().await;
    while let Some(work) = bench.try_take(session).await {
        let counters = Counters { listed: in_place, in_step: in_place, ..Counters::default() };
        let report =
            WorkReport { counters, ..report(work.held, Outcome::Completed, [None, None], 0) };
        assert_eq!(bench.say(report).await.unwrap(), Verdict::Applied);
    }
    assert_eq!(bench.run().await.state, RunState::Succeeded);
    (session, watch.held)
}

/// Takes a work of events: whether it deletes, and its keys.
async fn work(bench: &Bench, session: SessionId) -> Option<(Assignment, bool, Vec<Key>)> {
    let work = bench.try_take(session).await?;
    Some(match work.work.clone() {
        Work::Keys(keys) => (work, false, keys),
        Work::DeleteKeys { keys, unconditional } => {
            assert!(!unconditional);
            (work, true, keys.into_iter().map(|one| one.key).collect())
        }
        other @ (Work::Range { .. } | Work::Reap | Work::Delete(_)) => panic!("{other:?}"),
    })
}

/// Reports that all keys of a work are gone at the source; at the destination the first object stands under each.
async fn all_gone(bench: &Bench, held: Held, keys: Vec<Key>) -> Verdict {
    found(bench, held, keys, "1").await
}

/// As [`all_gone`], with the object that stands there.
async fn found(bench: &Bench, held: Held, keys: Vec<Key>, object: &str) -> Verdict {
    let count = keys.len() as u64;
    let counters = Counters { listed: count, vanished: count, extra: count, ..Counters::default() };
    let mut report = WorkReport { counters, ..report(held, Outcome::Completed, [None, None], 0) };
    let object = object.to_owned();
    report.extras.gone =
        keys.into_iter().map(|key| ExtraKey { key, object: object.clone() }).collect();
    bench.say(report).await.unwrap()
}

/// Looks at everything that is due to be looked at, and finds it gone; tells what is then to be deleted.
async fn look(bench: &Bench, session: SessionId) -> Vec<(Assignment, Vec<Key>)> {
    let mut deletes = Vec::new();
    while let Some((work, delete, keys)) = work(bench, session).await {
        if delete {
            deletes.push((work, keys));
        } else {
            assert_eq!(all_gone(bench, work.held, keys).await, Verdict::Applied);
        }
    }
    deletes
}

async fn deleted(bench: &Bench, held: Held, count: u64) {
    let counters = Counters { deleted: count, ..Counters::default() };
    let report = WorkReport { counters, ..report(held, Outcome::Completed, [None, None], 0) };
    assert_eq!(bench.say(report).await.unwrap(), Verdict::Applied);
}

/// Keys of the run of events that wait to be looked at or deleted, and those that wait for a person.
pub(super) async fn waiting(bench: &Bench) -> (u64, u64) {
    let following = bench.store.following(&name("media"), bench.now).await.unwrap().unwrap();
    let one = &following.destinations[0];
    (one.keys, one.awaiting)
}

async fn events_run(bench: &Bench) -> s3sync_proto::model::Run {
    let runs = bench.store.runs(Some(&name("media")), None, 10).await.unwrap();
    let mut runs = runs.into_iter().map(|one| one.run);
    runs.find(|run| run.trigger == Trigger::Events).unwrap()
}

fn names(keys: &[Key]) -> Vec<String> {
    keys.iter().map(Key::to_string).collect()
}

pub(super) async fn named_before(mut bench: Bench) {
    let (session, queue) = begun(&bench, mirror(10), 100).await;
    tell(&bench, queue, &["a", "b"]).await;
    let deletes = look(&bench, session).await;
    assert_eq!(deletes.len(), 1);
    assert_eq!(names(&deletes[0].1), ["a", "b"]);
    assert_eq!(waiting(&bench).await, (2, 0), "on disk until they are deleted");
    // A holder that dies leaves them to the next one.
    bench.store.close_session(session, bench.now).await.unwrap();
    bench.pass(TTL);
    let next = bench.connect("b", "1", Vec::new()).await.session;
    let (again, delete, keys) = work(&bench, next).await.unwrap();
    assert!(delete && names(&keys) == ["a", "b"], "{keys:?}");
    assert!(again.held.epoch > deletes[0].0.held.epoch);
    // One cannot be deleted for now, and is tried again later, as a delete.
    let mut failed = failure(key("b"));
    failed.class = FailureClass::Transient;
    let counters = Counters { deleted: 1, not_deleted: 1, ..Counters::default() };
    let mut last =
        WorkReport { counters, ..report(again.held, Outcome::Completed, [None, None], 0) };
    last.failures = vec![failed];
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    assert_eq!(waiting(&bench).await, (1, 0));
    let run = events_run(&bench).await;
    let counters = run.totals();
    assert_eq!((counters.deleted, counters.not_deleted, counters.failed), (1, 0, 0));
    let mut bench = bench;
    bench.pass(Duration::from_secs(5));
    bench.store.tend_events(bench.now).await.unwrap();
    let (again, delete, keys) = work(&bench, next).await.unwrap();
    assert!(delete && names(&keys) == ["b"], "{keys:?}");
    deleted(&bench, again.held, 1).await;
    assert_eq!(waiting(&bench).await, (0, 0));
}

pub(super) async fn stopped_flood(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(3), 100).await;
    tell(&bench, queue, &["a", "b"]).await;
    for (work, keys) in look(&bench, session).await {
        deleted(&bench, work.held, keys.len() as u64).await;
    }
    // One more passes; from then on a person is asked, in whatever pieces they come, whatever time passes.
    let mut bench = bench;
    tell(&bench, queue, &["c", "d", "e"]).await;
    let deletes = look(&bench, session).await;
    assert_eq!(deletes.iter().map(|(_, keys)| keys.len()).sum::<usize>(), 1, "{deletes:?}");
    deleted(&bench, deletes[0].0.held, 1).await;
    assert_eq!(waiting(&bench).await, (0, 2));
    bench.pass(Duration::from_secs(2 * 3_600));
    tell(&bench, queue, &["f"]).await;
    assert_eq!(look(&bench, session).await, []);
    assert_eq!(waiting(&bench).await, (0, 3));
    // What else changes is worked off meanwhile.
    tell(&bench, queue, &["copied"]).await;
    let (copy, delete, keys) = work(&bench, session).await.unwrap();
    assert!(!delete && names(&keys) == ["copied"]);
    bench.done(copy.held, Outcome::Completed, [None, None], 1).await;
    // One of them is written again, and is looked at again.
    tell(&bench, queue, &["f"]).await;
    let (back, delete, keys) = work(&bench, session).await.unwrap();
    assert!(!delete && names(&keys) == ["f"]);
    bench.done(back.held, Outcome::Completed, [None, None], 1).await;
    assert_eq!(waiting(&bench).await, (0, 2));

    let run = events_run(&bench).await;
    assert_eq!(run.state, RunState::Running, "it goes on beside");
    let review = run.deletes.clone().unwrap();
    let share = &review.destinations[0];
    assert_eq!((share.extra, share.listed), (2, 100));
    assert_eq!(share.reason, "more than max_per_hour allows, 3 of 100 keys within an hour");
    assert_eq!(share.samples.len(), 2);
    // Approved is what was shown, not what came since.
    bench.pass(Duration::from_secs(1));
    tell(&bench, queue, &["later"]).await;
    assert_eq!(look(&bench, session).await, []);
    let wrong = bench.store.approve_run(&run.name, "1-0123456789abcdef", bench.now).await;
    assert!(matches!(wrong, Err(Error::Outdated(_))), "{wrong:?}");
    let approved = bench.store.approve_run(&run.name, &review.etag, bench.now).await.unwrap();
    assert_eq!(approved.state, RunState::Running);
    bench.store.approve_run(&run.name, &review.etag, bench.now).await.expect("said twice");
    // The hours that passed have made room for the one that came later.
    let deletes = look(&bench, session).await;
    let mut all: Vec<String> = deletes.iter().flat_map(|(_, keys)| names(keys)).collect();
    all.sort();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all.contains(&"later".to_owned()));
}

pub(super) async fn counted_once(mut bench: Bench) {
    let (session, queue) = begun(&bench, mirror(1), 100).await;
    tell(&bench, queue, &["a"]).await;
    let (first, _, keys) = work(&bench, session).await.unwrap();
    all_gone(&bench, first.held, keys).await;
    assert_eq!(waiting(&bench).await, (1, 0), "it may be deleted");
    // Who told of it died before the message was deleted: it comes again.
    tell(&bench, queue, &["a"]).await;
    let deletes = look(&bench, session).await;
    assert_eq!(waiting(&bench).await, (1, 0), "it was let pass before");
    assert_eq!(names(&deletes[0].1), ["a"]);
    // Once more while it is being deleted, and the holder dies.
    tell(&bench, queue, &["a"]).await;
    bench.store.close_session(session, bench.now).await.unwrap();
    bench.pass(TTL);
    let next = bench.connect("b", "1", Vec::new()).await.session;
    let again = bench.try_take(next).await.unwrap();
    let allowed = ExtraKey { key: key("a"), object: "1".into() };
    assert_eq!(again.work, Work::DeleteKeys { keys: vec![allowed], unconditional: false });
    // Its run is replaced meanwhile, and the guard shuts.
    assert_eq!(
        bench.say(report(again.held, Outcome::Yielded, [None, None], 0)).await.unwrap(),
        Verdict::Applied
    );
    put(&bench, JobSpec { paused: false, compare: CompareMode::Etag, ..spec(mirror(1)) }).await;
    tell(&bench, queue, &["b"]).await;
    let deletes = look(&bench, next).await;
    assert_eq!(deletes.iter().map(|(_, keys)| names(keys)).collect::<Vec<_>>(), [["a"]]);
    assert_eq!(waiting(&bench).await, (1, 1), "the other one waits");
    // It was deleted, written and deleted again before anybody could tell: that is another delete.
    found(&bench, deletes[0].0.held, vec![key("a")], "2").await;
    assert_eq!(waiting(&bench).await, (0, 2));
    // What a person approves does not count, also when it is looked at again.
    let run = events_run(&bench).await;
    bench.store.approve_run(&run.name, &run.deletes.unwrap().etag, bench.now).await.unwrap();
    tell(&bench, queue, &["a", "b"]).await;
    let (last, delete, keys) = work(&bench, next).await.unwrap();
    assert!(!delete && names(&keys) == ["a", "b"]);
    let counters = Counters { listed: 2, vanished: 2, extra: 2, ..Counters::default() };
    let mut told =
        WorkReport { counters, ..report(last.held, Outcome::Completed, [None, None], 0) };
    told.extras.gone = [("a", "2"), ("b", "1")]
        .map(|(name, object)| ExtraKey { key: key(name), object: object.into() })
        .into();
    assert_eq!(bench.say(told).await.unwrap(), Verdict::Applied);
    assert_eq!(waiting(&bench).await, (2, 0));
}

pub(super) async fn lapsed(mut bench: Bench) {
    let (session, queue) = begun(&bench, mirror(1), 100).await;
    tell(&bench, queue, &["a"]).await;
    let (first, _, keys) = work(&bench, session).await.unwrap();
    all_gone(&bench, first.held, keys).await;
    // Nobody deletes it for as long as it counts: then it must not go beside what passes now.
    bench.pass(Duration::from_secs(3_660));
    tell(&bench, queue, &["b"]).await;
    let deletes = look(&bench, session).await;
    assert_eq!(deletes.iter().map(|(_, keys)| keys.len()).sum::<usize>(), 1, "{deletes:?}");
    assert_eq!(waiting(&bench).await, (1, 1));
}

pub(super) async fn tighter(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(3), 100).await;
    tell(&bench, queue, &["a", "b"]).await;
    let (first, _, keys) = work(&bench, session).await.unwrap();
    all_gone(&bench, first.held, keys).await;
    assert_eq!(waiting(&bench).await, (2, 0));
    // A person sees what comes and wants to be asked.
    put(&bench, spec(mirror(0))).await;
    assert_eq!(look(&bench, session).await, []);
    assert_eq!(waiting(&bench).await, (0, 2));
}

pub(super) async fn other_shown(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(0), 100).await;
    tell(&bench, queue, &["a", "b"]).await;
    assert_eq!(look(&bench, session).await, []);
    let run = events_run(&bench).await;
    let etag = run.deletes.unwrap().etag;
    // Of what was shown one is looked at again, so less would be deleted than was approved.
    tell(&bench, queue, &["a"]).await;
    let old = bench.store.approve_run(&run.name, &etag, bench.now).await;
    assert!(matches!(old, Err(Error::Outdated(_))), "{old:?}");
    let (work, ..) = work(&bench, session).await.unwrap();
    bench.done(work.held, Outcome::Completed, [None, None], 1).await;
    let etag = events_run(&bench).await.deletes.unwrap().etag;
    bench.store.approve_run(&run.name, &etag, bench.now).await.unwrap();
    let deletes = look(&bench, session).await;
    assert_eq!(names(&deletes[0].1), ["b"]);
    deleted(&bench, deletes[0].0.held, 1).await;
    let nothing = bench.store.approve_run(&run.name, "1-00", bench.now).await;
    assert!(matches!(nothing, Err(Error::NotNow { .. })), "{nothing:?}");
}

pub(super) async fn unscanned(bench: Bench) {
    let (session, watch) = following(&bench).await;
    put(&bench, spec(mirror(1_000))).await;
    tell(&bench, watch.held, &["a"]).await;
    assert_eq!(look(&bench, session).await, []);
    let review = events_run(&bench).await.deletes.unwrap();
    let reason = &review.destinations[0].reason;
    assert_eq!(reason, "before the first scan it is not known how many keys there are");
}

pub(super) async fn kept(bench: Bench) {
    let (session, watch) = following(&bench).await;
    put(&bench, spec(DeletePolicy::default())).await;
    tell(&bench, watch.held, &["a"]).await;
    assert_eq!(look(&bench, session).await, []);
    assert_eq!(waiting(&bench).await, (0, 0), "a job that keeps forgets it");
}

pub(super) async fn newer_reason(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(10), 100).await;
    tell(&bench, queue, &["a"]).await;
    let (look, _, keys) = work(&bench, session).await.unwrap();
    // While it is looked at it is written again: that counts.
    tell(&bench, queue, &["a"]).await;
    all_gone(&bench, look.held, keys).await;
    let (look, delete, keys) = work(&bench, session).await.unwrap();
    assert!(!delete && names(&keys) == ["a"]);
    all_gone(&bench, look.held, keys).await;
    // And while it is being deleted: then it is looked at afterwards.
    let (removal, delete, _) = work(&bench, session).await.unwrap();
    assert!(delete);
    tell(&bench, queue, &["a"]).await;
    deleted(&bench, removal.held, 1).await;
    let (_, delete, keys) = work(&bench, session).await.unwrap();
    assert!(!delete && names(&keys) == ["a"]);
}

pub(super) async fn replaced(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(1), 100).await;
    tell(&bench, queue, &["a", "b", "c"]).await;
    let first = look(&bench, session).await;
    assert_eq!(first.len(), 1);
    deleted(&bench, first[0].0.held, 1).await;
    let before = events_run(&bench).await;
    // Another run of events takes over with a higher limit; what waited goes on waiting.
    put(&bench, spec(mirror(50))).await;
    let after = events_run(&bench).await;
    assert_ne!(after.name, before.name);
    assert_eq!(waiting(&bench).await, (0, 2));
    tell(&bench, queue, &["d"]).await;
    assert_eq!(look(&bench, session).await, []);
    assert_eq!(waiting(&bench).await, (0, 3));
    assert_eq!(after.deletes.unwrap().destinations[0].extra, 2);
    // A job that does not mirror any more looks at them again, and forgets them.
    put(&bench, spec(DeletePolicy::default())).await;
    assert_eq!(waiting(&bench).await, (3, 0));
    assert_eq!(look(&bench, session).await, []);
    assert_eq!(waiting(&bench).await, (0, 0));
}

pub(super) async fn odd_report(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(10), 100).await;
    tell(&bench, queue, &["a", "b"]).await;
    let (look, ..) = work(&bench, session).await.unwrap();
    let counters = Counters { listed: 1, vanished: 1, extra: 1, ..Counters::default() };
    let mut odd =
        WorkReport { counters, ..report(look.held, Outcome::Checkpoint, [None, Some("a")], 0) };
    odd.extras.gone = vec![ExtraKey { key: key("b"), object: String::new() }];
    let refused = bench.say(odd).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

pub(super) async fn beside_scans(bench: Bench) {
    let (session, queue) = begun(&bench, mirror(10), 100).await;
    let scan = bench.run().await.name;
    tell(&bench, queue, &["a"]).await;
    let run = events_run(&bench).await;
    assert!(run.name.number > scan.number);
    let catalogue = bench.store.catalogue().await.unwrap();
    assert_eq!(catalogue.jobs[&name("media")].latest_run, Some(scan), "not that of events");
    let (work, ..) = work(&bench, session).await.unwrap();
    let counters = Counters { listed: 1, failed: 1, ..Counters::default() };
    let mut failed =
        WorkReport { counters, ..report(work.held, Outcome::Completed, [None, None], 0) };
    failed.failures = vec![failure(key("a"))];
    assert_eq!(bench.say(failed).await.unwrap(), Verdict::Applied);
    let retry = StartRun { retries: Some(run.name.number), ..bench.start_of("media") };
    let Err(Error::NotNow { text, .. }) = bench.store.start_run(retry, bench.now).await else {
        panic!("the run goes on")
    };
    assert!(text.ends_with("to look at all keys now, run the job"), "{text}");
}
