//! Pure. Who receives from which queue.

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_proto::model::{FEATURE_EVENTS, Name};

use super::place::nobody;
use crate::store::{Grant, SessionId, SessionView, Snapshot, WatchView};

/// Pause after the first error of a queue; doubles with each more.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest such pause: about as long as a person who mends a permission would wait to see it work.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A decision over all queues that nobody receives from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    /// Who gets what.
    pub grants: Vec<Grant>,
    /// Why nobody can receive from a queue, for people.
    pub reasons: Vec<(Name, String)>,
}

/// Of the agents that can receive from a queue the one with the fewest queues gets it. It takes none of their capacity:
/// to receive is little work, and an agent of capacity one would do nothing else.
#[must_use]
pub fn watches(snapshot: &Snapshot) -> Watches {
    let mut watching: BTreeMap<SessionId, u32> = snapshot.watching.clone();
    let mut decided = Watches::default();
    for watch in &snapshot.watches {
        let (able, lacks): (Vec<_>, Vec<_>) = snapshot
            .sessions
            .iter()
            .map(|session| (session, obstacle(session, watch)))
            .partition(|(_, lack)| lack.is_none());
        let free = |session: &&SessionView| {
            !session.draining && watch.refused_by.as_ref() != Some(&session.agent)
        };
        let fewest = |session: &&SessionView| {
            (watching.get(&session.session).copied().unwrap_or_default(), session.session)
        };
        match able.iter().map(|(session, _)| *session).filter(free).min_by_key(fewest) {
            Some(session) => {
                decided.grants.push(Grant { held: watch.held, session: session.session });
                *watching.entry(session.session).or_default() += 1;
            }
            None if able.is_empty() => {
                let lacks = lacks.into_iter().filter_map(|(session, lack)| {
                    lack.map(|lack| format!("{} {lack}", session.agent))
                });
                let reason = nobody("receive from this queue", lacks.collect());
                decided.reasons.push((watch.queue.clone(), reason));
            }
            None => {}
        }
    }
    decided
}

/// How long a queue is left alone after the `attempts`-th error in a row. It is never given up.
#[must_use]
pub fn watch_pause(attempts: u32) -> Duration {
    let pause = FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(10));
    pause.min(LONGEST_PAUSE)
}

/// What keeps an agent from ever receiving from a queue.
fn obstacle(session: &SessionView, watch: &WatchView) -> Option<String> {
    if !session.features.iter().any(|feature| feature == FEATURE_EVENTS) {
        return Some(format!("does not know the feature {FEATURE_EVENTS}; update it"));
    }
    let endpoint = &watch.spec.endpoint;
    let known = session.endpoints.iter().any(|offer| offer.endpoint == *endpoint);
    (!known).then(|| format!("lacks a credential for {endpoint}"))
}

#[cfg(test)]
mod tests {
    use s3sync_proto::model::{AgentEndpoint, Held, QueueSpec};

    use super::*;

    fn session(id: u64, endpoint: &str, features: &[&str]) -> SessionView {
        SessionView {
            session: SessionId(id),
            agent: format!("agent-{id}").parse().unwrap(),
            labels: BTreeMap::new(),
            endpoints: vec![AgentEndpoint {
                endpoint: endpoint.parse().unwrap(),
                credential_kind: "static".into(),
                allow: Vec::new(),
                credential_fingerprint: String::new(),
            }],
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
            capacity: 1,
            held: 1,
            draining: false,
        }
    }

    fn watch(id: u64) -> WatchView {
        WatchView {
            held: Held { id, epoch: 3 },
            queue: format!("q{id}").parse().unwrap(),
            spec: QueueSpec { url: "https://q/1/q".into(), endpoint: "usw2".parse().unwrap() },
            refused_by: None,
        }
    }

    #[test]
    fn queues_are_spread_over_agents_that_can_whatever_else_they_do() {
        let knows = &[FEATURE_EVENTS][..];
        let snapshot = Snapshot {
            sessions: vec![
                session(1, "usw2", knows),
                session(2, "usw2", knows),
                session(3, "cnn1", knows),
                session(4, "usw2", &[]),
            ],
            watches: vec![watch(10), watch(11), watch(12)],
            watching: BTreeMap::from([(SessionId(1), 2)]),
            ..Snapshot::default()
        };
        let given: Vec<_> =
            watches(&snapshot).grants.iter().map(|one| (one.held.id, one.session.0)).collect();
        assert_eq!(given, [(10, 2), (11, 2), (12, 1)]);
    }

    #[test]
    fn a_queue_that_fails_is_tried_for_ever() {
        let pauses: Vec<_> = [1, 2, 5, 6, 1_000].map(|n| watch_pause(n).as_secs()).into();
        assert_eq!(pauses, [2, 4, 32, 60, 60]);
    }

    #[test]
    fn why_nobody_can_is_told_and_who_refused_waits() {
        let mut refused = watch(10);
        refused.refused_by = Some("agent-1".parse().unwrap());
        let mut snapshot = Snapshot {
            sessions: vec![session(1, "usw2", &[FEATURE_EVENTS])],
            watches: vec![refused],
            ..Snapshot::default()
        };
        assert_eq!(watches(&snapshot), Watches::default(), "it can, but not now");
        snapshot.sessions = vec![session(3, "cnn1", &[FEATURE_EVENTS]), session(4, "usw2", &[])];
        let told = watches(&snapshot).reasons;
        assert_eq!(
            told[0].1,
            "no agent can receive from this queue: agent-3 lacks a credential for usw2; agent-4 does not know the \
             feature events; update it"
        );
        snapshot.sessions.clear();
        assert_eq!(watches(&snapshot).reasons[0].1, "no agent is connected");
    }
}
