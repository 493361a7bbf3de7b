//! Pure. Whose turn it is: in which order runs get their ranges placed, and which holders let go of one, so that a huge run
//! that has taken all agents does not keep small ones waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use s3sync_proto::model::{Held, Name, RunName, Timestamp};

use super::place::obstacle;
use crate::store::{Grant, LeasedView, RangeView, SessionId, SessionView, Snapshot, WorkKind};

/// Holders asked to let go in one turn at most.
pub const MAX_YIELDS: usize = 32;

/// Where there are more runs than places, a run has a place for this long before another gets it.
pub const TURN: Duration = Duration::from_secs(30);

/// Ready ranges in the order they are placed: the run that holds least comes first, and of each run the destination that
/// holds least. Of runs that hold the same, those that gave way `lately` come last.
pub(super) fn in_turns<'a>(
    snapshot: &'a Snapshot,
    lately: &BTreeSet<RunName>,
) -> Vec<&'a RangeView> {
    let mut of_place: BTreeMap<(&RunName, Place<'_>), usize> = BTreeMap::new();
    let mut of_run: BTreeMap<&RunName, usize> = BTreeMap::new();
    for leased in snapshot.leased.iter().filter(|leased| !leased.revoke) {
        *of_place.entry((&leased.range.run, place(&leased.range))).or_default() += 1;
        *of_run.entry(&leased.range.run).or_default() += 1;
    }
    let mut sorted: Vec<&RangeView> = snapshot.ready.iter().collect();
    sorted.sort_by_key(|range| range.held);
    let mut queue: Vec<(usize, &RangeView)> = sorted
        .into_iter()
        .map(|range| {
            let turn = of_place.entry((&range.run, place(range))).or_default();
            *turn += 1;
            (*turn, range)
        })
        .collect();
    queue.sort_by_key(|(turn, range)| (*turn, range.held));
    let mut queue: Vec<((usize, bool, usize), &RangeView)> = queue
        .into_iter()
        .map(|(turn, range)| {
            let of_run = of_run.entry(&range.run).or_default();
            *of_run += 1;
            ((*of_run, lately.contains(&range.run), turn), range)
        })
        .collect();
    queue.sort_by_key(|(order, range)| (*order, range.held));
    queue.into_iter().map(|(_, range)| range).collect()
}

type Place<'a> = (&'a Name, &'a str, &'a str);

fn place(range: &RangeView) -> Place<'_> {
    let location = &range.destination.location;
    (&location.endpoint, &location.bucket, &location.prefix)
}

/// Ranges whose holders are to let go, with their holders. `told` are those that were told lately and may still be letting
/// go.
///
/// A run gives way to one that waits when it holds at least two more ranges than that one: so neither is ever the worse
/// off, and nothing goes back and forth. Where a run waits without holding anything and nobody holds two more, one that
/// has held its range for a [`TURN`] gives way.
#[must_use]
pub fn yields(
    snapshot: &Snapshot,
    grants: &[Grant],
    lately: &BTreeSet<RunName>,
    told: &BTreeSet<Held>,
    now: Timestamp,
) -> Vec<(SessionId, Held)> {
    let granted: BTreeSet<Held> = grants.iter().map(|grant| grant.held).collect();
    let leaving = |leased: &LeasedView| leased.revoke || told.contains(&leased.range.held);
    let mut counts: BTreeMap<&RunName, u32> = BTreeMap::new();
    let mut soon_free: BTreeMap<SessionId, u32> = BTreeMap::new();
    for leased in &snapshot.leased {
        if leaving(leased) {
            *soon_free.entry(leased.session).or_default() += 1;
        } else {
            *counts.entry(&leased.range.run).or_default() += 1;
        }
    }
    for range in snapshot.ready.iter().filter(|range| granted.contains(&range.held)) {
        *counts.entry(&range.run).or_default() += 1;
    }
    let mut candidates: Vec<&LeasedView> = snapshot
        .leased
        .iter()
        // Works on named keys are short, and careful work must find what kills.
        .filter(|leased| {
            let named = matches!(leased.range.kind, WorkKind::Keys | WorkKind::DeleteKeys);
            !named && !leased.range.careful
        })
        .filter(|leased| !leaving(leased))
        .collect();
    let mut chosen = Vec::new();
    let mut in_vain: BTreeSet<(&RunName, Place<'_>)> = BTreeSet::new();
    let waiting = in_turns(snapshot, lately);
    for range in waiting.into_iter().filter(|range| !granted.contains(&range.held)) {
        if chosen.len() == MAX_YIELDS || in_vain.contains(&(&range.run, place(range))) {
            continue;
        }
        let able: BTreeSet<SessionId> =
            snapshot.sessions.iter().filter(|one| can(one, range)).map(|one| one.session).collect();
        if let Some(free) =
            able.iter().find(|id| soon_free.get(*id).is_some_and(|free| *free > 0)).copied()
        {
            *soon_free.entry(free).or_default() -= 1;
            *counts.entry(&range.run).or_default() += 1;
            continue;
        }
        let mine = counts.get(&range.run).copied().unwrap_or_default();
        let victim = candidates
            .iter()
            .enumerate()
            .filter(|(_, leased)| leased.range.run != range.run && able.contains(&leased.session))
            .filter(|(_, leased)| {
                let theirs = counts.get(&leased.range.run).copied().unwrap_or_default();
                theirs >= mine + 2 || (mine == 0 && now.since(leased.since) >= TURN)
            })
            // The youngest has the least under way.
            .max_by_key(|(_, leased)| {
                (counts.get(&leased.range.run).copied(), leased.since, leased.range.held)
            })
            .map(|(index, _)| index);
        let Some(index) = victim else {
            in_vain.insert((&range.run, place(range)));
            continue;
        };
        let leased = candidates.swap_remove(index);
        chosen.push((leased.session, leased.range.held));
        let theirs = counts.entry(&leased.range.run).or_default();
        *theirs = theirs.saturating_sub(1);
        *counts.entry(&range.run).or_default() += 1;
    }
    chosen
}

fn can(session: &SessionView, range: &RangeView) -> bool {
    let refused = range.refused_by.as_ref() == Some(&session.agent);
    !session.draining && !refused && obstacle(session, range).is_none()
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
