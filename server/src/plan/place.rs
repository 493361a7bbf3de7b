//! Pure. Who gets which range, and why some get to nobody.

use std::collections::{BTreeMap, BTreeSet};

use s3sync_proto::model::{
    FEATURE_CAREFUL, FEATURE_EVENT_DELETES, FEATURE_EVENTS, FEATURE_KEYS, Location, RunName,
    SPARE_KEY_WORKS, Verb,
};

use super::fair::in_turns;
use crate::store::{Grant, RangeView, SessionId, SessionView, Snapshot, WorkKind};

/// Longest explanation, in characters.
const MAX_REASON: usize = 400;

/// A decision over all ready ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Who gets what.
    pub grants: Vec<Grant>,
    /// Why a run stands still, for people; an empty text when it no longer does.
    pub reasons: Vec<(RunName, String)>,
}

/// Sessions that get nothing: they do careful work, which nothing else may be beside. When their agent dies it was that.
pub(super) fn careful(snapshot: &Snapshot) -> BTreeSet<SessionId> {
    let careful = snapshot.leased.iter().filter(|leased| leased.range.careful);
    careful.map(|leased| leased.session).collect()
}

/// Decides over the ready ranges of a snapshot, in the order of turns: those of the run that holds least come first. Of the
/// agents that can, the least loaded gets the range. Careful work comes before: an agent that holds something is kept free
/// for it until it holds nothing.
#[must_use]
pub fn place(snapshot: &Snapshot, lately: &BTreeSet<RunName>) -> Placement {
    let mut held: BTreeMap<_, u32> =
        snapshot.sessions.iter().map(|one| (one.session, one.held)).collect();
    let mut placement = Placement::default();
    let mut stuck: BTreeMap<&RunName, String> = BTreeMap::new();
    let mut moving: BTreeSet<&RunName> =
        snapshot.leased.iter().map(|leased| &leased.range.run).collect();
    let mut taken = careful(snapshot);
    let (first, then): (Vec<_>, Vec<_>) =
        in_turns(snapshot, lately).into_iter().partition(|range| range.careful);
    for range in first.into_iter().chain(then) {
        let able: Vec<_> =
            snapshot.sessions.iter().filter(|session| obstacle(session, range).is_none()).collect();
        let free = |session: &&&SessionView| {
            let refused = range.refused_by.as_ref() == Some(&session.agent);
            let room = held[&session.session] < room(session, range.kind) || range.careful;
            let room = room && session.capacity > 0 && !taken.contains(&session.session);
            !session.draining && !refused && room
        };
        let least_loaded = |session: &&&SessionView| (held[&session.session], session.session);
        match able.iter().filter(free).min_by_key(least_loaded) {
            Some(session) if range.careful && held[&session.session] > 0 => {
                taken.insert(session.session);
                moving.insert(&range.run);
            }
            Some(session) => {
                if range.careful {
                    taken.insert(session.session);
                }
                placement.grants.push(Grant { held: range.held, session: session.session });
                *held.entry(session.session).or_default() += 1;
                moving.insert(&range.run);
            }
            None if able.is_empty() => {
                stuck.entry(&range.run).or_insert_with(|| explain(&snapshot.sessions, range));
            }
            None => {
                // Somebody can and is busy, draining or refused it lately: no reason to tell.
                moving.insert(&range.run);
            }
        }
    }
    for run in moving.iter().filter(|run| !stuck.contains_key(*run)) {
        placement.reasons.push(((*run).clone(), String::new()));
    }
    for (run, until) in &snapshot.late {
        if !moving.contains(run) && !stuck.contains_key(run) {
            let until = until.to_full_second();
            let reason = format!(
                "what an agent that ended had begun to write may still arrive; its work goes on at {until}"
            );
            placement.reasons.push((run.clone(), reason));
        }
    }
    placement.reasons.extend(stuck.into_iter().map(|(run, reason)| (run.clone(), reason)));
    placement
}

/// How many assignments an agent may hold for one more of a kind.
fn room(session: &SessionView, kind: WorkKind) -> u32 {
    let spare = session.capacity > 0
        && matches!(kind, WorkKind::Keys | WorkKind::DeleteKeys)
        && session.features.iter().any(|feature| feature == FEATURE_EVENTS);
    session.capacity + if spare { SPARE_KEY_WORKS } else { 0 }
}

/// What keeps an agent from ever doing a range, whatever its load.
pub(super) fn obstacle(session: &SessionView, range: &RangeView) -> Option<String> {
    let of_kind = match range.kind {
        WorkKind::Keys => Some(FEATURE_KEYS),
        WorkKind::DeleteKeys => Some(FEATURE_EVENT_DELETES),
        WorkKind::Range | WorkKind::Count | WorkKind::Delete => {
            range.careful.then_some(FEATURE_CAREFUL)
        }
    };
    // Uploads are aborted in the same way whatever the work was.
    let needs = range.needs.iter().copied().chain(of_kind).filter(|_| !range.reap);
    let deletes = matches!(range.kind, WorkKind::Delete | WorkKind::DeleteKeys) && !range.reap;
    let all = [Verb::List, Verb::Read, Verb::Write, Verb::Delete];
    let written = if deletes { &all[..] } else { &all[..3] };
    let places =
        [(&range.source, &[Verb::List, Verb::Read][..]), (&range.destination.location, written)];
    lack(session, needs, &range.destination.agent_labels, &places)
}

/// What an agent lacks of these features, labels and things to do at places.
pub(super) fn lack<'a>(
    session: &SessionView,
    features: impl IntoIterator<Item = &'a str>,
    labels: &BTreeMap<String, String>,
    places: &[(&Location, &[Verb])],
) -> Option<String> {
    let unknown = |feature: &&str| !session.features.iter().any(|known| known == feature);
    if let Some(feature) = features.into_iter().find(unknown) {
        return Some(format!("does not know the feature {feature}; update it"));
    }
    if let Some((name, value)) =
        labels.iter().find(|(name, value)| session.labels.get(*name) != Some(value))
    {
        return Some(format!("has not the label {name}={value}"));
    }
    for (location, verbs) in places {
        let Some(offer) =
            session.endpoints.iter().find(|offer| offer.endpoint == location.endpoint)
        else {
            return Some(format!("lacks a credential for {}", location.endpoint));
        };
        if let Some(verb) =
            verbs.iter().find(|verb| !offer.allows(&location.bucket, &location.prefix, **verb))
        {
            let verb = format!("{verb:?}").to_lowercase();
            let place = format!("{}:{}/{}", location.endpoint, location.bucket, location.prefix);
            return Some(format!("does not allow {verb} in {place}"));
        }
    }
    None
}

fn explain(sessions: &[SessionView], range: &RangeView) -> String {
    let lacks = sessions.iter().filter_map(|session| {
        obstacle(session, range).map(|lack| format!("{} {lack}", session.agent))
    });
    nobody("do this work", lacks.collect())
}

/// Why no agent can do something, by what each lacks.
pub(super) fn nobody(what: &str, mut lacks: Vec<String>) -> String {
    if lacks.is_empty() {
        return "no agent is connected".to_owned();
    }
    lacks.sort();
    let text = format!("no agent can {what}: {}", lacks.join("; "));
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
