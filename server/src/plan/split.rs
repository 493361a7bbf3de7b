//! Pure. Which holders are asked to cut their ranges, so that idle agents get something to do.

use std::collections::BTreeSet;

use s3sync_proto::model::Held;

use super::place::{careful, obstacle};
use crate::store::{
    LeasedView, MAX_RANGES_PER_DESTINATION, SessionId, SessionView, Snapshot, WorkKind,
};

/// Most requests of one turn; each costs the holder a few LIST requests.
pub const MAX_SPLIT_REQUESTS: usize = 32;

/// Ranges to be cut, with their holders. `quiet` are those that were asked lately.
///
/// One request for each free place that nothing ready can fill. Ranges with the fewest siblings come first, then those
/// held longest: they have the most left.
#[must_use]
pub fn splits(snapshot: &Snapshot, quiet: &BTreeSet<Held>) -> Vec<(SessionId, Held)> {
    let mut candidates: Vec<&LeasedView> = snapshot
        .leased
        .iter()
        .filter(|leased| leased.range.kind == WorkKind::Range && !leased.range.careful)
        .filter(|leased| !leased.revoke && leased.siblings < MAX_RANGES_PER_DESTINATION)
        .filter(|leased| !quiet.contains(&leased.range.held))
        .collect();
    candidates.sort_by_key(|leased| (leased.siblings, leased.since, leased.range.held));
    let mut requests = Vec::new();
    let mut asked = BTreeSet::new();
    let careful = careful(snapshot);
    let takes = |session: &&SessionView| !session.draining && !careful.contains(&session.session);
    for session in snapshot.sessions.iter().filter(takes) {
        let waiting = snapshot.ready.iter().any(|range| obstacle(session, range).is_none());
        if waiting {
            continue;
        }
        for _ in session.held..session.capacity {
            let next = candidates.iter().find(|leased| {
                !asked.contains(&leased.range.held) && obstacle(session, &leased.range).is_none()
            });
            let Some(leased) = next else { break };
            asked.insert(leased.range.held);
            requests.push((leased.session, leased.range.held));
            if requests.len() == MAX_SPLIT_REQUESTS {
                return requests;
            }
        }
    }
    requests
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
