//! Who gives way to whom: by cases, and by following what is decided until nothing changes any more.

use proptest::prelude::*;
use s3sync_proto::model::{AgentEndpoint, Destination, Location};

use super::*;
use crate::plan::place;

fn range(id: u64, run: u64) -> RangeView {
    let location = |bucket: &str| Location {
        endpoint: "usw2".parse().unwrap(),
        bucket: bucket.into(),
        prefix: String::new(),
    };
    RangeView {
        held: Held { id, epoch: 0 },
        kind: WorkKind::Range,
        needs: Vec::new(),
        run: RunName { job: "media".parse().unwrap(), number: run },
        source: location("from"),
        destination: Destination {
            location: location("to"),
            storage_class: None,
            agent_labels: BTreeMap::new(),
            encryption: None,
        },
        reap: false,
        careful: false,
        refused_by: None,
        limits: Default::default(),
    }
}

fn session(id: u64, capacity: u32) -> SessionView {
    SessionView {
        session: SessionId(id),
        agent: format!("agent-{id}").parse().unwrap(),
        labels: BTreeMap::new(),
        endpoints: vec![AgentEndpoint {
            endpoint: "usw2".parse().unwrap(),
            credential_kind: "static".into(),
            allow: Vec::new(),
            credential_fingerprint: String::new(),
        }],
        features: Vec::new(),
        capacity,
        held: 0,
        draining: false,
    }
}

fn lease(snapshot: &mut Snapshot, range: RangeView, session: u64, since: Timestamp) {
    let one = snapshot.sessions.iter_mut().find(|one| one.session.0 == session).unwrap();
    one.held += 1;
    let session = SessionId(session);
    snapshot.leased.push(LeasedView { range, session, since, revoke: false, siblings: 1 });
}

const NOBODY: [u64; 0] = [];

/// One agent, full of ranges of run 1.
fn full(capacity: u32, since: Timestamp) -> Snapshot {
    let mut snapshot = Snapshot { sessions: vec![session(1, capacity)], ..Snapshot::default() };
    for id in 0..capacity {
        lease(&mut snapshot, range(u64::from(id), 1), 1, since);
    }
    snapshot
}

fn told(snapshot: &Snapshot, told: &BTreeSet<Held>, now: Timestamp) -> Vec<u64> {
    let none = BTreeSet::new();
    yields(snapshot, &[], &none, told, now).into_iter().map(|(_, held)| held.id).collect()
}

#[test]
fn who_holds_everything_gives_way_at_once_and_only_once() {
    let now = Timestamp::default();
    let mut snapshot = full(4, now);
    assert_eq!(told(&snapshot, &BTreeSet::new(), now), NOBODY, "nobody waits");
    snapshot.ready = vec![range(10, 1), range(11, 2), range(12, 2), range(13, 2)];
    assert_eq!(told(&snapshot, &BTreeSet::new(), now), [3, 2], "each then holds two");
    let leaving = BTreeSet::from([Held { id: 3, epoch: 0 }, Held { id: 2, epoch: 0 }]);
    assert_eq!(told(&snapshot, &leaving, now), NOBODY, "they are letting go already");
}

#[test]
fn where_there_are_more_runs_than_places_they_take_turns() {
    let began = Timestamp::default();
    let mut snapshot = full(1, began);
    snapshot.ready = vec![range(11, 2)];
    let none = BTreeSet::new();
    let just_before = began.plus(TURN - Duration::from_secs(1));
    assert_eq!(told(&snapshot, &none, just_before), NOBODY);
    assert_eq!(told(&snapshot, &none, began.plus(TURN)), [0]);
    // It has let go, and does not get the place back before the other.
    let released = Snapshot {
        sessions: vec![session(1, 1)],
        ready: vec![range(0, 1), range(11, 2)],
        ..Snapshot::default()
    };
    let lately = BTreeSet::from([RunName { job: "media".parse().unwrap(), number: 1 }]);
    let grants = place(&released, &lately).grants;
    assert_eq!(grants.iter().map(|grant| grant.held.id).collect::<Vec<_>>(), [11]);
}

#[test]
fn nobody_gives_way_for_work_that_its_agent_could_not_do() {
    let now = Timestamp::default();
    let mut snapshot = full(4, now);
    let mut elsewhere = range(11, 2);
    elsewhere.source.endpoint = "cnn1".parse().unwrap();
    let mut refused = range(12, 3);
    refused.refused_by = Some("agent-1".parse().unwrap());
    snapshot.ready = vec![elsewhere, refused];
    assert_eq!(told(&snapshot, &BTreeSet::new(), now.plus(TURN)), NOBODY);
    snapshot.ready = vec![range(13, 4)];
    snapshot.sessions[0].draining = true;
    assert_eq!(told(&snapshot, &BTreeSet::new(), now.plus(TURN)), NOBODY);
}

fn held_by(snapshot: &Snapshot) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for leased in &snapshot.leased {
        *counts.entry(leased.range.run.number).or_default() += 1;
    }
    counts
}

proptest! {
    /// Grants and yields are followed, without any time passing: it comes to rest, everything free is used, and then no
    /// run that waits holds less by two than another.
    #[test]
    fn it_comes_to_rest_where_nobody_who_waits_is_worse_off_by_two(
        capacities in prop::collection::vec(1..9_u32, 1..5),
        runs in prop::collection::vec(1..30_u64, 1..12),
        first in 0..12_usize,
    ) {
        let now = Timestamp::default();
        let none = BTreeSet::new();
        let sessions = (1..).zip(&capacities).map(|(id, capacity)| session(id, *capacity)).collect();
        let mut snapshot = Snapshot { sessions, ..Snapshot::default() };
        let mut id = 0;
        let mut waiting = Vec::new();
        for (run, ranges) in (1..).zip(&runs) {
            for _ in 0..*ranges {
                id += 1;
                waiting.push(range(id, run));
            }
        }
        // One run was there before all others and has taken what it could.
        let first = (first % runs.len()) as u64 + 1;
        snapshot.ready = waiting.iter().filter(|one| one.run.number == first).cloned().collect();
        for _ in 0..100 {
            let grants = place(&snapshot, &none).grants;
            let yielded = yields(&snapshot, &grants, &none, &BTreeSet::new(), now);
            prop_assert!(yielded.len() <= MAX_YIELDS);
            let began = snapshot.ready.len() == waiting.len();
            for grant in &grants {
                let at = snapshot.ready.iter().position(|one| one.held == grant.held).unwrap();
                let range = snapshot.ready.remove(at);
                lease(&mut snapshot, range, grant.session.0, now);
            }
            for (session, held) in &yielded {
                let at = snapshot.leased.iter().position(|one| one.range.held == *held).unwrap();
                snapshot.ready.push(snapshot.leased.swap_remove(at).range);
                snapshot.sessions.iter_mut().find(|one| one.session == *session).unwrap().held -= 1;
            }
            let all_there = snapshot.ready.len() + snapshot.leased.len() == waiting.len();
            if !all_there {
                let other = waiting.iter().filter(|one| one.run.number != first).cloned();
                snapshot.ready.extend(other);
            } else if grants.is_empty() && yielded.is_empty() && !began {
                break;
            }
        }
        let counts = held_by(&snapshot);
        let places: u32 = capacities.iter().sum();
        let taken = snapshot.leased.len();
        prop_assert_eq!(taken, waiting.len().min(places as usize), "nothing is left unused");
        let most = counts.values().max().copied().unwrap_or_default();
        for range in &snapshot.ready {
            let mine = counts.get(&range.run.number).copied().unwrap_or_default();
            prop_assert!(mine + 2 > most, "{mine} and waits, while another holds {most}: {counts:?}");
        }
    }
}
