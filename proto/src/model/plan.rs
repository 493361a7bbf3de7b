//! Plans: what a run would do, found by looking only.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use super::{Assignment, CopyWay, Key, Location, Name, NextStep};

/// Name of the feature of a session: the agent answers [`super::Ask::Plan`].
pub const FEATURE_PLAN: &str = "plan";

/// Keys shown as samples at most.
pub const MAX_SAMPLES: usize = 3;

/// What a run of a job would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPlan {
    /// The job.
    pub job: Name,
    /// Whether every key was looked at, or is known not to be lookable at.
    pub complete: bool,
    /// One for each destination.
    pub destinations: Vec<DestinationPlan>,
    /// What no copy carries.
    pub not_carried: Vec<String>,
}

/// What a run would do at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationPlan {
    /// Index in the job.
    pub index: u32,
    /// Where.
    pub location: Location,
    /// Why not every key could be looked at.
    pub problem: Option<String>,
    /// What was found.
    pub tally: PlanTally,
    /// Requests of a listing that a run would make, about.
    pub list_requests: u64,
    /// What becomes of the extra keys, for a person.
    pub extra_fate: String,
}

/// What was found of the keys that were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanTally {
    /// Source keys the filter lets through.
    pub listed: u64,
    /// Of the listed, in step.
    pub in_step: u64,
    /// Of the listed, gone before they were looked at more closely.
    pub vanished: u64,
    /// Source keys the filter leaves out.
    pub filtered: u64,
    /// Of the listed, those that would be copied, by way.
    pub copies: BTreeMap<CopyWay, PlannedKeys>,
    /// Of the listed, archived.
    pub archived: PlannedKeys,
    /// Of the listed, those that a run would list as failures.
    pub failing: PlannedKeys,
    /// Destination keys that the source does not have.
    pub extra: PlannedKeys,
    /// Keys that the source listed.
    pub source_keys: u64,
    /// Keys that the destination listed.
    pub destination_keys: u64,
    /// Of these, those that the filter's patterns let through; a guard's percentage is of them.
    pub destination_in_scope: u64,
    /// Requests that read other than by listing, which a run would make, about.
    pub read_requests: u64,
    /// Requests that write, which a run would make, about.
    pub write_requests: u64,
}

/// Some keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedKeys {
    /// How many.
    pub objects: u64,
    /// What they have in bytes.
    pub bytes: u64,
    /// The first of them, ascending.
    pub samples: Vec<Key>,
}

/// One key that is not in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Index of the destination.
    pub destination: u32,
    /// The key without prefix.
    pub key: Key,
    /// What a run would do with it.
    pub next: NextStep,
    /// Why.
    pub reason: String,
    /// Its size.
    pub size: u64,
    /// How it would be copied, when it would.
    pub way: Option<CopyWay>,
}

/// A slice to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanAsk {
    /// The work as it would be assigned now.
    pub work: Assignment,
    /// No more keys are looked at.
    pub max_keys: u64,
    /// No further keys are looked at after this time.
    pub time: Duration,
    /// A cut of what is left is wanted.
    pub cut: bool,
    /// Every difference is wanted.
    pub differences: bool,
}

/// What was found in the first part of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanPart {
    /// Everything up to and including this key was looked at.
    pub cursor: Option<Key>,
    /// The slice was looked at to its end.
    pub completed: bool,
    /// A key above the cursor that halves what is left.
    pub cut: Option<Key>,
    /// What was found.
    pub tally: PlanTally,
    /// Every difference, when they were asked for.
    pub differences: Vec<Difference>,
}

impl JobPlan {
    /// Whether some destination could not be looked at in full.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.destinations.iter().any(|destination| destination.problem.is_some())
    }
}

impl PlanTally {
    /// All that would be copied.
    #[must_use]
    pub fn copied(&self) -> PlannedKeys {
        let mut all = PlannedKeys::default();
        self.copies.values().for_each(|keys| all += keys.clone());
        all
    }

    /// Whether each listed key was counted exactly once.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let Self { listed, in_step, vanished, archived, failing, .. } = self;
        let counted = in_step + vanished + archived.objects + failing.objects;
        *listed == counted + self.copied().objects
    }
}

impl PlannedKeys {
    /// Adds a key.
    pub fn add(&mut self, key: &Key, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
        self.sample(key);
    }

    fn sample(&mut self, key: &Key) {
        let at = self.samples.partition_point(|known| known < key);
        if at < MAX_SAMPLES {
            self.samples.insert(at, key.clone());
            self.samples.truncate(MAX_SAMPLES);
        }
    }
}

impl AddAssign for PlannedKeys {
    fn add_assign(&mut self, other: Self) {
        let Self { objects, bytes, samples } = other;
        self.objects += objects;
        self.bytes += bytes;
        samples.iter().for_each(|key| self.sample(key));
    }
}

impl AddAssign for PlanTally {
    fn add_assign(&mut self, other: Self) {
        // Destructured, so that a new count cannot be forgotten.
        let Self {
            listed,
            in_step,
            vanished,
            filtered,
            copies,
            archived,
            failing,
            extra,
            source_keys,
            destination_keys,
            destination_in_scope,
            read_requests,
            write_requests,
        } = other;
        self.listed += listed;
        self.in_step += in_step;
        self.vanished += vanished;
        self.filtered += filtered;
        for (way, keys) in copies {
            *self.copies.entry(way).or_default() += keys;
        }
        self.archived += archived;
        self.failing += failing;
        self.extra += extra;
        self.source_keys += source_keys;
        self.destination_keys += destination_keys;
        self.destination_in_scope += destination_in_scope;
        self.read_requests += read_requests;
        self.write_requests += write_requests;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keys_are_the_samples_in_whatever_order_parts_come() {
        let part = |keys: &[&str]| {
            let mut part = PlannedKeys::default();
            keys.iter().for_each(|key| part.add(&Key::from(*key), 2));
            part
        };
        let (mut one, mut other) = (part(&["x", "c", "b"]), part(&["d", "a"]));
        one += part(&["d", "a"]);
        other += part(&["x", "c", "b"]);
        assert_eq!(one, other);
        assert_eq!((one.objects, one.bytes), (5, 10));
        assert_eq!(one.samples, ["a", "b", "c"].map(Key::from));
    }
}
