//! Pure. Who receives from which queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use s3sync_proto::model::{FEATURE_EVENTS, Held, Name};

use super::place::nobody;
use crate::store::{Grant, SessionId, SessionView, Snapshot, WatchView};

/// Pause after the first error of a queue; doubles with each more.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest such pause: about as long as a person who mends a permission would wait to see it work.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A decision over all queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    /// Who gets what.
    pub grants: Vec<Grant>,
    /// Receivers that are to be let go of, since an agent without one of the queue's can be one.
    pub moves: Vec<(SessionId, Held)>,
    /// Why nobody can receive from a queue, for people.
    pub reasons: Vec<(Name, String)>,
}

/// How many receivers sessions are.
#[derive(Default)]
struct Load<'a> {
    all: BTreeMap<SessionId, u32>,
    /// Of one queue.
    of: BTreeMap<(&'a Name, SessionId), u32>,
}

impl<'a> Load<'a> {
    fn add(&mut self, queue: &'a Name, session: SessionId) {
        *self.all.entry(session).or_default() += 1;
        *self.of.entry((queue, session)).or_default() += 1;
    }

    fn of(&self, queue: &'a Name, session: SessionId) -> u32 {
        self.of.get(&(queue, session)).copied().unwrap_or_default()
    }

    /// By what an agent is chosen: the least is best. A queue's receivers are spread first: the agents that die together are
    /// fewer then.
    fn rank(&self, watch: &'a WatchView, session: &SessionView) -> (bool, u32, u32, SessionId) {
        let failed = watch.failed_by.as_ref() == Some(&session.agent);
        let all = self.all.get(&session.session).copied().unwrap_or_default();
        (failed, self.of(&watch.queue, session.session), all, session.session)
    }
}

/// Of the agents that can receive from a queue the one that is the fewest of its receivers gets it, of those the one with the
/// fewest queues. It takes none of their capacity: to receive is little work, and an agent of capacity one would do nothing else.
#[must_use]
pub fn watches(snapshot: &Snapshot) -> Watches {
    let mut load = Load::default();
    for (watch, session) in &snapshot.watching {
        load.add(&watch.queue, *session);
    }
    let mut decided = Watches::default();
    for watch in &snapshot.watches {
        let (able, lacks): (Vec<_>, Vec<_>) = snapshot
            .sessions
            .iter()
            .map(|session| (session, obstacle(session, watch)))
            .partition(|(_, lack)| lack.is_none());
        let able: Vec<_> = able.into_iter().map(|(session, _)| session).collect();
        let free = able.iter().copied().filter(|session| is_free(session, watch));
        match free.min_by_key(|session| load.rank(watch, session)) {
            Some(session) => {
                decided.grants.push(Grant { held: watch.held, session: session.session });
                load.add(&watch.queue, session.session);
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
    decided.moves = moves(snapshot, &load);
    decided
}

/// Receivers of agents that are two or more of a queue's, where another could be one of them; at most one of a queue at a time.
fn moves<'a>(snapshot: &'a Snapshot, load: &Load<'a>) -> Vec<(SessionId, Held)> {
    let mut moved: BTreeSet<&Name> = BTreeSet::new();
    let mut moves = Vec::new();
    for (watch, holder) in &snapshot.watching {
        let queue = &watch.queue;
        let most = load.of(queue, *holder);
        let better = |session: &SessionView| {
            is_free(session, watch)
                && obstacle(session, watch).is_none()
                && watch.failed_by.as_ref() != Some(&session.agent)
                && load.of(queue, session.session) + 1 < most
        };
        // While one of the queue waits for somebody, that comes first.
        let waits = snapshot.watches.iter().any(|ready| ready.queue == *queue);
        if most > 1 && !waits && !moved.contains(queue) && snapshot.sessions.iter().any(better) {
            moved.insert(queue);
            moves.push((*holder, watch.held));
        }
    }
    moves
}

/// Whether an agent that can takes it now.
fn is_free(session: &SessionView, watch: &WatchView) -> bool {
    !session.draining && watch.refused_by.as_ref() != Some(&session.agent)
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
    use s3sync_proto::model::{AgentEndpoint, QueueSpec};

    use proptest::prelude::*;

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
            spec: QueueSpec {
                url: "https://q/1/q".into(),
                endpoint: "usw2".parse().unwrap(),
                receivers: 1,
            },
            refused_by: None,
            failed_by: None,
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
            watching: vec![(watch(1), SessionId(1)), (watch(2), SessionId(1))],
            ..Snapshot::default()
        };
        let given: Vec<_> =
            watches(&snapshot).grants.iter().map(|one| (one.held.id, one.session.0)).collect();
        assert_eq!(given, [(10, 2), (11, 2), (12, 1)]);
    }

    /// A receiver of the queue `q`.
    fn of_q(id: u64) -> WatchView {
        WatchView { queue: "q".parse().unwrap(), ..watch(id) }
    }

    fn agents(count: u64) -> Vec<SessionView> {
        (1..=count).map(|id| session(id, "usw2", &[FEATURE_EVENTS])).collect()
    }

    /// Grants, by numbers of receivers and sessions.
    fn given(snapshot: &Snapshot) -> Vec<(u64, u64)> {
        watches(snapshot).grants.iter().map(|one| (one.held.id, one.session.0)).collect()
    }

    #[test]
    fn receivers_of_a_queue_are_spread_over_agents_before_one_is_two_of_them() {
        let mut snapshot = Snapshot {
            sessions: agents(2),
            watches: vec![of_q(10), of_q(11), of_q(12)],
            // The second agent has more queues, and none of these.
            watching: vec![(watch(1), SessionId(2)), (watch(2), SessionId(2))],
            ..Snapshot::default()
        };
        assert_eq!(given(&snapshot), [(10, 1), (11, 2), (12, 1)]);
        // One that failed lately is the last to be asked, and is asked when there is no other.
        snapshot.watches =
            vec![WatchView { failed_by: Some("agent-1".parse().unwrap()), ..of_q(10) }];
        assert_eq!(given(&snapshot), [(10, 2)]);
        snapshot.sessions = agents(1);
        assert_eq!(given(&snapshot), [(10, 1)]);
    }

    #[test]
    fn a_receiver_moves_to_an_agent_that_is_none() {
        let held = |id| Held { id, epoch: 3 };
        let (one, two) = (SessionId(1), SessionId(2));
        let mut snapshot = Snapshot {
            sessions: agents(2),
            watching: vec![(of_q(10), one), (of_q(11), one), (of_q(12), one)],
            ..Snapshot::default()
        };
        assert_eq!(watches(&snapshot).moves, [(one, held(10))], "one at a time");
        snapshot.watching = vec![(of_q(10), two), (of_q(11), one), (of_q(12), one)];
        assert_eq!(watches(&snapshot).moves, [], "it would be the same the other way around");
        snapshot.watching = vec![(of_q(11), one), (of_q(12), one)];
        snapshot.watches = vec![of_q(10)];
        assert_eq!(watches(&snapshot).moves, [], "the one that waits goes there");
        snapshot.watches.clear();
        for lack in ["draining", "endpoint", "refused", "failed"] {
            let mut snapshot = snapshot.clone();
            let agent = Some("agent-2".parse().unwrap());
            match lack {
                "draining" => snapshot.sessions[1].draining = true,
                "endpoint" => snapshot.sessions[1] = session(2, "cnn1", &[FEATURE_EVENTS]),
                "refused" => {
                    snapshot.watching.iter_mut().for_each(|one| one.0.refused_by.clone_from(&agent))
                }
                _ => {
                    snapshot.watching.iter_mut().for_each(|one| one.0.failed_by.clone_from(&agent))
                }
            }
            assert_eq!(watches(&snapshot).moves, [], "{lack}");
        }
        assert_eq!(watches(&snapshot).moves, [(one, held(11))]);
    }

    proptest! {
        /// Whatever there is: what is decided, done, and decided again comes to rest, with the receivers of each queue spread.
        #[test]
        fn spreading_comes_to_rest(agents in 1_u64..5, queues in proptest::collection::vec(1_u64..6, 1..4),
                                   start in proptest::collection::vec(0_u64..5, 20)) {
            let mut snapshot = Snapshot { sessions: self::agents(agents), ..Snapshot::default() };
            let mut start = start.into_iter();
            for (queue, receivers) in (1..).zip(&queues) {
                for number in 0..*receivers {
                    let queue: Name = format!("q{queue}").parse().unwrap();
                    let id = snapshot.watches.len() as u64 + snapshot.watching.len() as u64 + number;
                    let one = WatchView { queue, ..watch(1_000 + id * 10) };
                    match start.next() {
                        Some(session) if (1..=agents).contains(&session) => {
                            snapshot.watching.push((one, SessionId(session)));
                        }
                        _ => snapshot.watches.push(one),
                    }
                }
            }
            for _ in 0..100 {
                let Watches { grants, moves, reasons } = watches(&snapshot);
                prop_assert_eq!(&reasons, &[]);
                if grants.is_empty() && moves.is_empty() {
                    break;
                }
                for grant in grants {
                    let at = snapshot.watches.iter().position(|one| one.held == grant.held).unwrap();
                    let one = snapshot.watches.remove(at);
                    snapshot.watching.push((one, grant.session));
                }
                for (_, held) in moves {
                    let at = snapshot.watching.iter().position(|one| one.0.held == held).unwrap();
                    let (one, _) = snapshot.watching.remove(at);
                    snapshot.watches.push(one);
                }
            }
            prop_assert_eq!(&watches(&snapshot), &Watches::default(), "it is at rest");
            let mut load = Load::default();
            for (one, session) in &snapshot.watching {
                load.add(&one.queue, *session);
            }
            for queue in snapshot.watching.iter().map(|(one, _)| &one.queue) {
                let each: Vec<_> = (1..=agents).map(|id| load.of(queue, SessionId(id))).collect();
                prop_assert!(each.iter().max().unwrap() - each.iter().min().unwrap() <= 1, "{:?}", each);
            }
        }
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
