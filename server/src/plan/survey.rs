//! Pure. The look over all keys that a plan makes: which slices are left, what was found so far, and what follows when
//! nobody could look. Nothing is kept of a single key but a few samples.

use std::collections::{BTreeSet, VecDeque};

use s3sync_proto::model::{
    DeleteMode, DeletePolicy, DestinationPlan, Difference, JobPlan, JobSpec, Key, KeyRange, Name,
    NextStep, PlanPart,
};

use super::guard::{Before, Counted, Guard, guard};
use crate::store::SessionId;

/// A slice that is looked at so often without getting on is given up.
const MAX_TRIES: u32 = 3;

/// Slices that wait at most; what is left is not cut any more then.
const MAX_WAITING: usize = 256;

/// Keys of a page of a listing.
const PAGE: u64 = 1_000;

/// What no copy carries (docs/copies.md).
const NOT_CARRIED: [&str; 3] =
    ["access control lists", "object lock (retention and legal holds)", "annotations"];

/// A slice of the key space of one destination that is still to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Index of the destination.
    pub destination: usize,
    /// The slice.
    pub range: KeyRange,
    /// Everything up to and including this key was looked at.
    pub cursor: Option<Key>,
    /// Who could not look.
    pub avoid: BTreeSet<SessionId>,
    tries: u32,
}

/// A plan that is being made.
#[derive(Debug)]
pub struct Survey {
    plan: JobPlan,
    deletes: DeletePolicy,
    waiting: VecDeque<Slice>,
    /// Slices that are being looked at.
    looking: usize,
}

impl Survey {
    /// Nothing was looked at yet.
    #[must_use]
    pub fn new(job: &Name, spec: &JobSpec) -> Self {
        let destinations = spec.destinations.iter().enumerate();
        let deletes = spec.deletes;
        let plans = destinations.map(|(index, destination)| DestinationPlan {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            location: destination.location.clone(),
            problem: None,
            tally: Default::default(),
            list_requests: 0,
            extra_fate: String::new(),
        });
        let plan = JobPlan {
            job: job.clone(),
            complete: false,
            destinations: plans.collect(),
            not_carried: NOT_CARRIED.map(str::to_owned).into(),
        };
        let waiting = (0..plan.destinations.len()).map(|destination| Slice {
            destination,
            range: KeyRange::default(),
            cursor: None,
            avoid: BTreeSet::new(),
            tries: 0,
        });
        Self { waiting: waiting.collect(), plan, deletes, looking: 0 }
    }

    /// The plan so far.
    #[must_use]
    pub fn plan(&self) -> JobPlan {
        let mut plan = self.plan.clone();
        plan.complete = self.waiting.is_empty() && self.looking == 0;
        for destination in &mut plan.destinations {
            let pages = |keys: u64| keys.div_ceil(PAGE).max(1);
            let tally = &destination.tally;
            destination.list_requests = pages(tally.source_keys) + pages(tally.destination_keys);
        }
        for (index, fate) in extra_fates(&self.deletes, &plan.destinations).into_iter().enumerate()
        {
            plan.destinations[index].extra_fate = fate;
        }
        plan
    }

    /// Whether there is nothing left to look at.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.looking == 0
    }

    /// Slices that nobody looks at.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the first slice that waits and that `can` be looked at now.
    pub fn take(&mut self, can: impl Fn(&Slice) -> bool) -> Option<Slice> {
        let at = self.waiting.iter().position(can)?;
        self.looking += 1;
        self.waiting.remove(at)
    }

    /// Somebody looked at the first part of a slice. Returns the differences found there; none and a try spent when that
    /// led nowhere.
    pub fn looked(&mut self, slice: Slice, part: PlanPart) -> Vec<Difference> {
        let PlanPart { cursor, completed, cut, tally, mut differences } = part;
        let after = slice.cursor.as_ref().max(slice.range.after.as_ref());
        let onward = cursor.as_ref().is_some_and(|cursor| {
            after.is_none_or(|after| cursor > after)
                && slice.range.until.as_ref().is_none_or(|until| cursor <= until)
        });
        let empty = completed && cursor.is_none();
        if !onward && !empty {
            let why = "nothing of a slice could be looked at in time".to_owned();
            self.failed(slice, None, why);
            return Vec::new();
        }
        self.looking -= 1;
        let index = slice.destination;
        let destination = &mut self.plan.destinations[index];
        destination.tally += tally;
        for difference in &mut differences {
            difference.destination = destination.index;
            if difference.next == NextStep::Delete && self.deletes.mode == DeleteMode::Keep {
                difference.next = NextStep::Nothing;
            }
        }
        if completed || destination.problem.is_some() {
            return differences;
        }
        let Slice { destination, range: KeyRange { after, until }, .. } = slice;
        let rest = |range: KeyRange, cursor: Option<Key>| Slice {
            destination,
            range,
            cursor,
            avoid: BTreeSet::new(),
            tries: 0,
        };
        let cut = cut.filter(|cut| {
            self.waiting.len() < MAX_WAITING
                && cursor.as_ref().is_none_or(|cursor| cut > cursor)
                && until.as_ref().is_none_or(|until| cut < until)
        });
        let first_until = cut.clone().or_else(|| until.clone());
        self.waiting.push_front(rest(KeyRange { after, until: first_until }, cursor));
        if cut.is_some() {
            self.waiting.push_back(rest(KeyRange { after: cut, until }, None));
        }
        differences
    }

    /// A slice could not be looked at, though it should have been; by whom, and why.
    pub fn failed(&mut self, mut slice: Slice, who: Option<SessionId>, why: String) {
        slice.tries += 1;
        slice.avoid.extend(who);
        if slice.tries < MAX_TRIES {
            return self.put_back(slice);
        }
        self.looking -= 1;
        self.give_up(slice.destination, why);
    }

    /// Whoever was to look at a slice cannot any more; that says nothing of the slice.
    pub fn put_back(&mut self, slice: Slice) {
        self.looking -= 1;
        if self.plan.destinations[slice.destination].problem.is_none() {
            self.waiting.push_front(slice);
        }
    }

    /// What waits of a destination is not looked at.
    pub fn give_up(&mut self, destination: usize, why: String) {
        self.waiting.retain(|slice| slice.destination != destination);
        self.plan.destinations[destination].problem.get_or_insert(why);
    }

    /// Destinations of which something waits.
    #[must_use]
    pub fn waits_for(&self) -> BTreeSet<usize> {
        self.waiting.iter().map(|slice| slice.destination).collect()
    }
}

/// What a run would do with the keys that only the destination has: what its guard would say of what was found so far.
fn extra_fates(deletes: &DeletePolicy, plans: &[DestinationPlan]) -> Vec<String> {
    if deletes.mode == DeleteMode::Keep {
        return vec!["they stay: the job deletes nothing".to_owned(); plans.len()];
    }
    if plans.iter().any(|plan| plan.problem.is_some()) {
        let text = "they stay: a run deletes nothing while it cannot look at every key";
        return vec![text.to_owned(); plans.len()];
    }
    let counted = plans.iter().map(|plan| Counted {
        source: plan.tally.source_keys,
        listed: plan.tally.destination_in_scope,
        extra: plan.tally.extra.objects,
        deleted: 0,
    });
    match guard(deletes, &counted.collect::<Vec<_>>(), Before::default()) {
        Guard::Nothing => vec![String::new(); plans.len()],
        Guard::Passed => {
            vec!["a run would delete them; its guard lets them pass".to_owned(); plans.len()]
        }
        Guard::Asks(reasons) => reasons.into_iter().map(asks).collect(),
    }
}

fn asks(reason: String) -> String {
    if reason.is_empty() {
        "a run would delete them, once what another destination needs is approved".to_owned()
    } else {
        format!("a run would ask for an approval before it deletes them: {reason}")
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
