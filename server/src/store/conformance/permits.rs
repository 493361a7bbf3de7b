//! Random histories of deletes by events: holders that die before or after they acted, events that come twice, objects that
//! are written again, also by a scan of which no event tells. Each object that is found to be gone is counted once, and none
//! is deleted that was not counted.

use std::collections::{BTreeMap, BTreeSet};

use s3sync_proto::model::{Counters, ExtraKey, Held, Key, Outcome, Verdict, Work, WorkReport};

use super::bench::{Bench, TTL, key, report};
use super::event_deletes::{begun, mirror, waiting};
use super::events::tell;
use crate::store::SessionId;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// More than a history can delete.
const LIMIT: u64 = 100;
const STEPS: usize = 120;

/// Both sides, and what was done there.
#[derive(Default)]
struct Sides {
    source: BTreeSet<Key>,
    /// Which object stands at the destination.
    there: BTreeMap<Key, u64>,
    objects: u64,
    /// Which object of a key may be deleted, and how often that was decided.
    allowed: BTreeMap<Key, u64>,
    decided: u64,
    deleted: u64,
}

impl Sides {
    fn copy(&mut self, key: &Key) {
        if self.source.contains(key) && !self.there.contains_key(key) {
            self.objects += 1;
            self.there.insert(key.clone(), self.objects);
        }
    }

    /// Works on one key; tells whether it is gone, and which object is there.
    fn act(&mut self, key: &Key, allowed: Option<&str>, counters: &mut Counters) -> Option<u64> {
        if self.source.contains(key) {
            self.copy(key);
            counters.listed += 1;
            counters.in_step += 1;
            return None;
        }
        let Some(object) = self.there.get(key).copied() else {
            if allowed.is_none() {
                counters.listed += 1;
                counters.vanished += 1;
            }
            return None;
        };
        if allowed == Some(object.to_string().as_str()) {
            assert_eq!(self.allowed.get(key), Some(&object), "{key} was not counted");
            self.there.remove(key);
            self.deleted += 1;
            counters.deleted += 1;
            return None;
        }
        counters.listed += 1;
        counters.vanished += 1;
        counters.extra += 1;
        Some(object)
    }
}

/// What comes between.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    /// The holder dies after so many keys.
    Death(usize),
    /// An event is told before the report.
    Event(Held, &'static str),
}

/// Does the next work; whether there was any.
async fn work(bench: &Bench, sides: &mut Sides, session: SessionId, between: Between) -> bool {
    let Some(work) = bench.try_take(session).await else { return false };
    let keys: Vec<(Key, Option<String>)> = match work.work {
        Work::Keys(keys) => keys.into_iter().map(|key| (key, None)).collect(),
        Work::DeleteKeys { keys, .. } => {
            keys.into_iter().map(|ExtraKey { key, object }| (key, Some(object))).collect()
        }
        other @ (Work::Range { .. } | Work::Reap | Work::Delete(_)) => panic!("{other:?}"),
    };
    let most = if let Between::Death(most) = between { most } else { usize::MAX };
    let (mut counters, mut gone, mut settled) = (Counters::default(), Vec::new(), Vec::new());
    for (key, allowed) in keys.into_iter().take(most) {
        match sides.act(&key, allowed.as_deref(), &mut counters) {
            Some(object) => gone.push((key, object)),
            None => settled.push(key),
        }
    }
    let again = match between {
        Between::Nothing => None,
        Between::Death(_) => return true,
        Between::Event(queue, name) => {
            tell(bench, queue, &[name]).await;
            Some(key(name))
        }
    };
    let mut last =
        WorkReport { counters, ..report(work.held, Outcome::Completed, [None, None], 0) };
    last.extras.gone = gone
        .iter()
        .map(|(key, object)| ExtraKey { key: key.clone(), object: object.to_string() })
        .collect();
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    // What there is a newer reason to look at stays as it was.
    for (key, object) in gone.into_iter().filter(|(key, _)| Some(key) != again.as_ref()) {
        sides.decided += u64::from(sides.allowed.insert(key, object) != Some(object));
    }
    for key in settled.iter().filter(|key| Some(*key) != again.as_ref()) {
        sides.allowed.remove(key);
    }
    true
}

pub(super) async fn play(mut bench: Bench, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut session, queue) = begun(&bench, mirror(LIMIT), 100_000).await;
    let (mut sides, mut processes) = (Sides::default(), 0);
    for _ in 0..STEPS {
        let name = KEYS[rng.usize(..KEYS.len())];
        match rng.u32(..12) {
            0..=1 => {
                sides.source.insert(key(name));
                tell(&bench, queue, &[name]).await;
            }
            2..=4 => {
                sides.source.remove(&key(name));
                tell(&bench, queue, &[name]).await;
            }
            5 => drop(tell(&bench, queue, &[name]).await),
            // A scan meets it between two changes that were not told of yet.
            6 => {
                let is_there = !sides.source.insert(key(name));
                sides.copy(&key(name));
                if !is_there {
                    sides.source.remove(&key(name));
                }
            }
            7..=8 => {
                let death = Between::Death(rng.usize(..=KEYS.len()));
                if work(&bench, &mut sides, session, death).await {
                    bench.store.close_session(session, bench.now).await.unwrap();
                    bench.pass(TTL);
                    processes += 1;
                    let instance = format!("process-{processes}");
                    session = bench.connect("b", &instance, Vec::new()).await.session;
                }
            }
            9 => drop(work(&bench, &mut sides, session, Between::Event(queue, name)).await),
            _ => drop(work(&bench, &mut sides, session, Between::Nothing).await),
        }
    }
    tell(&bench, queue, &KEYS).await;
    while work(&bench, &mut sides, session, Between::Nothing).await {}
    assert_eq!(waiting(&bench).await, (0, 0), "seed {seed}");
    let there: BTreeSet<Key> = sides.there.keys().cloned().collect();
    assert_eq!(there, sides.source, "seed {seed}");
    let counted = counted(&bench, session, queue).await;
    assert_eq!(counted, sides.decided, "seed {seed}: each object once");
    assert!(0 < sides.deleted && sides.deleted <= counted, "seed {seed}: {}", sides.deleted);
}

/// How many were counted: so many fewer pass of more than may.
async fn counted(bench: &Bench, session: SessionId, queue: Held) -> u64 {
    let names: Vec<String> = (0..LIMIT).map(|n| format!("fill-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    tell(bench, queue, &names).await;
    let there = names.iter().map(|name| (key(name), 1)).collect();
    let mut sides = Sides { there, ..Sides::default() };
    while work(bench, &mut sides, session, Between::Nothing).await {}
    LIMIT - sides.deleted
}
