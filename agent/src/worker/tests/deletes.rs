//! Deletes of what the source does not have: each trap, and random histories.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use s3sync_proto::model::{Counters, DeleteWork, FailureClass, Key, Outcome, Work};

use super::fake::{Fault, Nature};
use super::history::{cases, simulated};
use super::{Bench, MD5, OLD, name, orders, pattern};
use crate::s3::{Attributes, Class, Operation};
use crate::worker::{Engine, Settings};

impl Bench {
    /// One holder deletes what the desk has recorded of the range.
    async fn hold_deletes(&mut self, change: impl FnOnce(&mut DeleteWork)) {
        let recorded = self.desk.with(|recorded| recorded.clone());
        let mut work = DeleteWork {
            range: recorded.range,
            cursor: recorded.cursor,
            count_only: false,
            unconditional: false,
            deleting: recorded.deleting,
        };
        change(&mut work);
        self.hold_work(Work::Delete(work)).await;
    }

    /// A whole pass.
    async fn delete(&mut self) -> Counters {
        self.hold_deletes(|_| {}).await;
        self.check_deletes();
        self.finish_run()
    }

    /// Every key that was deleted was named before, and nothing beside the prefix was touched.
    fn check_deletes(&self) {
        let named = self.desk.with(|recorded| recorded.named.clone());
        self.destination.with(|contents| {
            for key in contents.deleted.drain(..) {
                let key = key.as_bytes().strip_prefix(b"to/x/").expect("below the prefix");
                let key = Key::from(key.to_vec());
                assert!(named.contains(&key) || key.to_string().starts_with(".s3sync-probe-"));
            }
            for beside in BESIDE {
                assert!(contents.objects.contains_key(&Key::from(beside)), "{beside}");
            }
        });
    }

    pub(super) fn there(&self) -> Vec<String> {
        self.destination.bodies("to/x/").into_keys().collect()
    }
}

/// Keys that are no job's business.
const BESIDE: [&str; 4] = ["to/", "to/x", "to/x0", "to/y/a"];

/// `kept` at both sides, `extra` only at the destination.
pub(super) fn mirrored(destination: Nature, kept: &[&str], extra: &[&str]) -> Bench {
    let bench = Bench::new(MD5, destination);
    for key in kept {
        bench.source.store(&format!("from/{key}"), pattern(1, 20));
    }
    for key in kept.iter().chain(extra) {
        bench.destination.store(&format!("to/x/{key}"), pattern(1, 20));
    }
    for key in BESIDE {
        bench.destination.store(key, "somebody else's");
    }
    bench
}

fn many(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n:04}")).collect()
}

#[tokio::test(start_paused = true)]
async fn extra_keys_go_and_nothing_else_does() {
    let extra = many("e", 1_203);
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    let mut bench = mirrored(MD5, &["", "a", "e0500x", "z"], &extra);
    bench.engine = Engine::new(Settings { checkpoint_keys: 50_000, ..bench.engine.settings });
    let counters = bench.delete().await;
    assert_eq!(bench.there(), ["", "a", "e0500x", "z"]);
    let expected = Counters { deleted: 1_203, ..Counters::default() };
    let got = Counters { list_requests: 0, read_requests: 0, write_requests: 0, ..counters };
    assert_eq!(got, expected);
    assert_eq!(counters.read_requests, 2 * 1_203, "asked for before and after");
    assert_eq!(bench.destination.count(Operation::DeleteMany), 1 + 3, "one to learn, 500 at most");
    assert_eq!(bench.destination.count(Operation::Delete), 1, "to learn");
    let facts = &bench.facts[&name("b")];
    assert_eq!((facts.conditional_deletes, facts.batch_deletes), (Some(true), Some(true)));
    let again = bench.delete().await;
    assert_eq!((again.deleted, again.write_requests), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_scan_counts_what_a_guard_decides_by_and_names_some() {
    let mut bench = mirrored(MD5, &["a", "b.jpg"], &["c.jpg", "d"]);
    bench.filter.include = vec!["*.jpg".into()];
    let counters = bench.run().await;
    assert_eq!((counters.destination_listed, counters.extra, counters.listed), (2, 1, 1));
    let counters = bench.delete().await;
    assert_eq!((counters.deleted, counters.destination_listed), (1, 0));
    assert_eq!(bench.there(), ["a", "b.jpg", "d"], "patterns say what is in scope");
}

#[tokio::test(start_paused = true)]
async fn counting_deletes_nothing() {
    let mut bench = mirrored(MD5, &["a", "b"], &["c", "d", "e"]);
    bench.hold_deletes(|work| work.count_only = true).await;
    let counters = bench.finish_run();
    assert_eq!((counters.extra, counters.destination_listed, counters.deleted), (3, 5, 0));
    assert_eq!(counters.write_requests, 0);
    assert_eq!(bench.there().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lost_a_page_deletes_nothing_that_the_source_has() {
    let mut bench = mirrored(MD5, &["a", "b", "c", "d"], &["x"]);
    // Of the source every other key is left out of listings, and only of listings.
    bench.source.with(|contents| {
        contents.unlisted = ["from/b", "from/c"].map(Key::from).into();
    });
    let counters = bench.delete().await;
    assert_eq!(bench.there(), ["a", "b", "c", "d"]);
    assert_eq!((counters.deleted, counters.in_step), (1, 2), "what is there is in step");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_proves_nothing_deletes_nothing() {
    for class in [Class::NotFound, Class::Denied, Class::Permanent, Class::Transient] {
        let mut bench = mirrored(MD5, &["a"], &["b"]);
        bench.source.meddle(move |_, operation, _| {
            (operation == Operation::Get).then_some(Fault::Before(class))
        });
        bench.hold_deletes(|_| {}).await;
        let failures = bench.desk.with(|recorded| recorded.failures.clone());
        assert_eq!(failures.len(), 1, "{class:?}");
        let counters = bench.finish_run();
        assert_eq!((counters.deleted, counters.not_deleted), (0, 1), "{class:?}");
        assert_eq!(bench.there(), ["a", "b"], "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_odd_page_ends_the_work_and_deletes_nothing() {
    let mut bench = mirrored(MD5, &["a"], &["b"]);
    bench.source.with(|contents| contents.odd_listings = true);
    bench.hold_deletes(|_| {}).await;
    let outcomes = bench.desk.with(|recorded| recorded.outcomes.clone());
    let [Outcome::Errored(error)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!((error.code.as_str(), error.class), ("odd_listing", FailureClass::Transient));
    assert_eq!(bench.there(), ["a", "b"]);
}

/// The source gets a key back right before the k-th request of a kind to a side. `copied`: as events do, the
/// destination gets it as well.
async fn comes_back(at: (bool, Operation), same_bytes: bool, copied: bool) {
    let what = format!("{at:?} {same_bytes} {copied}");
    let mut bench = mirrored(MD5, &["a"], &["b", "c"]);
    let (source, destination) = (Arc::clone(&bench.source), Arc::clone(&bench.destination));
    let bytes = if same_bytes { pattern(1, 20) } else { pattern(2, 33) };
    let done = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&done);
    let (on_source, operation) = at;
    let meddled = if on_source { &bench.source } else { &bench.destination };
    meddled.meddle(move |contents, op, _| {
        let mut done = seen.lock().unwrap();
        if op == operation {
            *done += 1;
            // The first delete only learns.
            let wanted = if operation == Operation::DeleteMany { 2 } else { 1 };
            if *done == wanted {
                let key = |prefix: &str| Key::from(format!("{prefix}b").as_str());
                let (mine, other, from, to) = if on_source {
                    (contents, &destination, key("from/"), key("to/x/"))
                } else {
                    (contents, &source, key("to/x/"), key("from/"))
                };
                if copied || on_source {
                    mine.store(MD5, &from, bytes.clone(), Attributes::default());
                }
                if copied || !on_source {
                    other.with(|contents| {
                        contents.store(MD5, &to, bytes.clone(), Attributes::default())
                    });
                }
            }
        }
        None
    });
    let counters = bench.delete().await;
    assert!(*done.lock().unwrap() > 0, "{what}: it never came to that");
    assert!(counters.add_up() && counters.failed == 0, "{what}: {counters:?}");
    bench.source.leave_alone();
    bench.destination.leave_alone();
    assert_eq!(bench.there(), ["a", "b"], "{what}: the source has it, so the destination does");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_at_any_moment_is_there_in_the_end() {
    let moments = [
        (true, Operation::List),
        (true, Operation::Get),
        (false, Operation::List),
        (false, Operation::Delete),
        (false, Operation::DeleteMany),
    ];
    for at in moments {
        for same_bytes in [true, false] {
            for copied in [true, false] {
                comes_back(at, same_bytes, copied).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_writes_meanwhile_is_looked_at_again() {
    let mut bench = mirrored(MD5, &["a"], &["b"]);
    let mut writes = 0;
    bench.destination.meddle(move |contents, operation, _| {
        if matches!(operation, Operation::DeleteMany | Operation::Delete) && writes < 4 {
            writes += 1;
            let key = Key::from("to/x/b");
            contents.store(MD5, &key, pattern(writes, 30), Attributes::default());
        }
        None
    });
    let counters = bench.delete().await;
    assert_eq!((counters.deleted, bench.there()), (1, vec!["a".to_owned()]));
    assert!(bench.destination.count(Operation::Head) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_a_delete_is_a_delete() {
    let mut bench = mirrored(MD5, &["a"], &["b", "c"]);
    let mut deletes = 0;
    bench.destination.meddle(move |_, operation, _| {
        deletes += u32::from(operation == Operation::DeleteMany);
        (operation == Operation::DeleteMany && deletes == 2)
            .then_some(Fault::After(Class::Transient))
    });
    let counters = bench.delete().await;
    assert_eq!((counters.deleted, counters.not_deleted), (2, 0));
    assert_eq!(bench.there(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn where_batches_ignore_etags_keys_go_one_by_one() {
    let mut bench = mirrored(MD5, &["a"], &["b", "c"]);
    bench.destination.with(|contents| contents.no_batch_etags = true);
    assert_eq!(bench.delete().await.deleted, 2);
    let facts = &bench.facts[&name("b")];
    assert_eq!((facts.conditional_deletes, facts.batch_deletes), (Some(true), Some(false)));
    assert_eq!(bench.there(), ["a"], "nothing of our own is left");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_ignores_conditions_deletes_only_when_it_is_told_to() {
    let mut bench = mirrored(OLD, &["a"], &["b", "c"]);
    bench.hold_deletes(|_| {}).await;
    let failures = bench.desk.with(|recorded| recorded.failures.clone());
    assert_eq!(failures.len(), 2);
    assert_eq!(failures[0].code, "unconditional_delete");
    assert!(failures[0].message.contains("deletes.unconditional"), "{}", failures[0].message);
    let counters = bench.finish_run();
    assert_eq!((counters.deleted, counters.not_deleted), (0, 2));
    assert_eq!(bench.there(), ["a", "b", "c"], "not even while it was learned");
    bench.hold_deletes(|work| work.unconditional = true).await;
    let counters = bench.finish_run();
    assert_eq!((counters.deleted, counters.not_deleted), (2, 0));
    assert_eq!(bench.there(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_go_than_were_counted() {
    let mut bench = mirrored(MD5, &["a"], &["b", "c", "d"]);
    bench.desk.with(|recorded| recorded.budget = Some(2));
    bench.hold_deletes(|_| {}).await;
    assert!(bench.desk.with(|recorded| recorded.stopped && recorded.named.is_empty()));
    assert_eq!(bench.there(), ["a", "b", "c", "d"]);
    bench.desk.with(|recorded| (recorded.budget, recorded.stopped) = (Some(3), false));
    assert_eq!(bench.delete().await.deleted, 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_holder_deleted_is_counted_and_what_came_back_is_copied() {
    let mut bench = mirrored(MD5, &["a"], &["b", "c", "d"]);
    let (orders, _split) = orders();
    let lost = orders.lost.clone();
    bench.orders = Some(orders);
    let desk = Arc::clone(&bench.desk);
    let mut gets = 0;
    bench.source.meddle(move |_, operation, _| {
        gets += u32::from(operation == Operation::Get);
        // After the delete, before anything is looked at again.
        if gets == 4 {
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
        }
        None
    });
    bench.hold_deletes(|_| {}).await;
    bench.source.leave_alone();
    assert_eq!(bench.there(), ["a"], "all are gone, and nobody has said so");
    bench.source.store("from/c", pattern(5, 40));
    bench.desk.with(|recorded| {
        (recorded.lost, recorded.budget) = (false, Some(3));
        assert_eq!((recorded.counters.deleted, recorded.deleting.len()), (0, 3));
    });
    // One that appeared among them since was not counted.
    bench.destination.store("to/x/bb", pattern(1, 20));
    let counters = bench.delete().await;
    assert_eq!((counters.deleted, counters.copied), (3, 1));
    assert_eq!(bench.there(), ["a", "bb", "c"]);
}

/// When each key was last made at the source.
type Made = Arc<Mutex<BTreeMap<Key, u64>>>;

const KEYS: usize = 14;

/// Writers make and delete keys at the source, with or without an event that copies them; others write at the
/// destination; requests fail; holders die; more or less may be deleted.
async fn one_history(seed: u64, nature: Nature, batches: bool, budget: Option<usize>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bench = mirrored(nature, &[], &[]);
    bench.destination.with(|contents| contents.no_batch_etags = !batches);
    let key_of = |n: usize| Key::from(format!("{n:02}").as_str());
    for n in 0..KEYS {
        let body = pattern(n, 10 + n);
        if rng.bool() {
            bench.source.store(&format!("from/{}", key_of(n)), body.clone());
        }
        bench.destination.store(&format!("to/x/{}", key_of(n)), body);
    }
    let made = Made::default();
    meddle(&bench, &mut rng, &made);
    bench.desk.with(|recorded| recorded.budget = budget);
    for _ in 0..rng.usize(..4) {
        let (orders, _split) = orders();
        let lost = orders.lost.clone();
        bench.orders = Some(orders);
        let desk = Arc::clone(&bench.desk);
        let turns = rng.u64(1..2_000);
        let killer = async move {
            tokio::time::sleep(Duration::from_millis(turns)).await;
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
        };
        tokio::join!(bench.hold_deletes(|_| {}), killer);
        bench.desk.with(|recorded| recorded.lost = false);
        if bench.desk.with(|recorded| recorded.done) {
            break;
        }
    }
    bench.source.leave_alone();
    bench.destination.leave_alone();
    if !bench.desk.with(|recorded| recorded.done) {
        bench.hold_deletes(|_| {}).await;
    }
    bench.check_deletes();
    let recorded = bench.desk.with(|recorded| recorded.clone());
    assert!(recorded.done || recorded.stopped, "seed {seed}: {:?}", recorded.outcomes);
    if let Some(budget) = budget {
        assert!(recorded.named.len() <= budget, "seed {seed}");
    }
    let (source, there) = (bench.source.bodies("from/"), bench.destination.bodies("to/x/"));
    let made = made.lock().unwrap();
    let deleted = bench.destination.with(|contents| contents.deleted_at.clone());
    for key in source.keys().map(|key| Key::from(key.as_str())) {
        let gone = !there.contains_key(&key.to_string());
        let by_us = deleted.get(&Key::from(format!("to/x/{key}").as_str())) > made.get(&key);
        let excused = recorded.stopped || recorded.failures.iter().any(|one| one.key == key);
        assert!(
            !gone || !by_us || excused,
            "seed {seed}: {key} is at the source, and we deleted it"
        );
    }
}

fn meddle(bench: &Bench, rng: &mut fastrand::Rng, made: &Made) {
    let nature = bench.destination.nature;
    let other = Arc::clone(&bench.destination);
    let ticks = bench.destination.with(|contents| Arc::clone(&contents.ticks));
    let (noted, mut writer) = (Arc::clone(made), rng.fork());
    bench.source.with(|contents| contents.slow = Some((rng.fork(), 50)));
    bench.destination.with(|contents| contents.slow = Some((rng.fork(), 50)));
    bench.source.meddle(move |contents, operation, _| {
        if writer.u32(..8) == 0 {
            let name = format!("{:02}", writer.usize(..KEYS));
            let key = Key::from(format!("from/{name}").as_str());
            if writer.bool() {
                contents.objects.remove(&key);
            } else {
                let body = pattern(writer.usize(..3), 20);
                let now = ticks.fetch_add(1, Ordering::SeqCst);
                noted.lock().unwrap().insert(Key::from(name.as_str()), now);
                contents.store(MD5, &key, body.clone(), Attributes::default());
                if writer.bool() {
                    let to = Key::from(format!("to/x/{name}").as_str());
                    other.with(|there| there.store(nature, &to, body, Attributes::default()));
                }
            }
        }
        fault(&mut writer, operation)
    });
    let mut writer = rng.fork();
    bench.destination.meddle(move |contents, operation, _| {
        if writer.u32(..15) == 0 {
            let to = Key::from(format!("to/x/{:02}", writer.usize(..KEYS)).as_str());
            contents.store(nature, &to, pattern(9, 25), Attributes::default());
        }
        fault(&mut writer, operation)
    });
}

fn fault(rng: &mut fastrand::Rng, operation: Operation) -> Option<Fault> {
    match rng.u32(..60) {
        0 => Some(Fault::Before(Class::Transient)),
        1 => Some(Fault::After(Class::Transient)),
        2 if operation != Operation::List => Some(Fault::Before(Class::NotFound)),
        3 => Some(Fault::Before(Class::Throttled)),
        // A permission that is lost for a while, and a bucket that is said not to exist.
        4 => Some(Fault::Before(Class::Denied)),
        5 => Some(Fault::Before(Class::Permanent)),
        _ => None,
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// Whatever comes between: what we deleted and the source has in the end is there; nothing beside the prefix was
    /// touched; nothing went that was not named before, and no more than was allowed.
    #[test]
    fn any_history_of_deletes_loses_nothing(
        seed in any::<u64>(), batches in any::<bool>(), budget in prop::option::of(0..12_usize),
    ) {
        simulated(one_history(seed, MD5, batches, budget));
    }
}
