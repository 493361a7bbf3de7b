//! What happens to the source of the model, and when it would be worst.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use s3sync_proto::model::{FailureClass, Key, RunName};
use tokio::time::{Instant, sleep};

use super::{KEYS, MD5, PLACES, World, name};
use crate::s3::Attributes;

impl World {
    /// A write, an overwrite, a removal or a re-creation; often of bytes that were there before.
    pub(super) fn change(&self, rng: &mut fastrand::Rng) -> Key {
        let key = Key::from(format!("from/{}", KEYS[rng.usize(..KEYS.len())]).as_str());
        let there = self.source().with(|contents| contents.objects.contains_key(&key));
        let removal = there && rng.u32(..3) == 0;
        let body = (!removal).then(|| format!("{} of {key}", rng.u32(..4)).into());
        self.write(&key, body);
        key
    }

    /// What was there before the last change is there again.
    fn change_back(&self, key: &Key) {
        let before = self.before.lock().unwrap().get(key).cloned();
        if let Some(body) = before {
            self.write(key, body);
        }
    }

    fn write(&self, key: &Key, body: Option<Bytes>) {
        let before = self.source().with(|contents| {
            let there = contents.objects.get(key).map(|object| object.bytes.clone());
            match &body {
                None => drop(contents.objects.remove(key)),
                Some(body) => {
                    contents.store(MD5, key, body.clone(), Attributes::default());
                }
            }
            there
        });
        if before.is_none() || body.is_none() {
            self.absent.lock().unwrap().insert(key.clone(), Instant::now());
        }
        self.before.lock().unwrap().insert(key.clone(), before);
        self.letters.tell(key, body.is_none());
    }

    /// A key that too many agents died with is listed as a failure, and nobody looks at it by itself. A person writes it again as it
    /// is, once for each time that it is listed. Nothing else may fail for good.
    pub(super) fn look_into_failures(&self, seen: &mut BTreeSet<(RunName, u32, Key)>) {
        for (index, _, _, from) in PLACES {
            for run in self.runs(name(index)).into_iter().map(|run| run.name) {
                let of = run.clone();
                let listed = self
                    .server
                    .ask(|store, _| async move { store.failures(&of, None, None, 100).await });
                for failure in listed.unwrap().0 {
                    assert_eq!(failure.class, FailureClass::Poison, "{failure:?}");
                    let key = Key::from(format!("{from}{}", failure.key).as_str());
                    if seen.insert((run.clone(), failure.destination, failure.key)) {
                        let there = self.source().with(|c| c.objects.contains_key(&key));
                        self.letters.tell(&key, !there);
                    }
                }
            }
        }
    }

    /// While a change is on its way to a destination, every agent is replaced by a new process of its name, and the change is
    /// undone: what the new ones find is in step, and what the dead ones sent may still arrive.
    pub(super) async fn turn_about(&mut self, rng: &mut fastrand::Rng) {
        let key = self.change(rng);
        let rest = key.to_string().strip_prefix("from/").unwrap().to_owned();
        let places = PLACES.map(|(_, bucket, prefix, from)| {
            let rest = from.strip_prefix("from/").and_then(|more| rest.strip_prefix(more));
            (bucket, rest.map(|rest| Key::from(format!("{prefix}{rest}").as_str())))
        });
        // Events come within a minute.
        for _ in 0..12_000 {
            sleep(Duration::from_millis(5)).await;
            let under_way = |(bucket, key): &(&str, Option<Key>)| {
                self.buckets[*bucket]
                    .with(|c| c.under_way.iter().any(|one| Some(one) == key.as_ref()))
            };
            if places.iter().any(under_way) {
                break;
            }
        }
        let agents: Vec<_> = self.agents.keys().copied().collect();
        for agent in agents {
            self.kill_agent(agent).await;
            self.start_agent(agent);
        }
        self.change_back(&key);
    }
}
