//! Splits, by cases.

use std::collections::BTreeMap;

use s3sync_proto::model::{AgentEndpoint, Destination, FEATURE_KEYS, Location, RunName, Timestamp};

use super::*;
use crate::store::WorkKind;
use crate::store::{RangeView, SessionView};

fn location(endpoint: &str) -> Location {
    Location { endpoint: endpoint.parse().unwrap(), bucket: "b".into(), prefix: String::new() }
}

fn range(id: u64) -> RangeView {
    RangeView {
        held: Held { id, epoch: 1 },
        kind: WorkKind::Range,
        needs: Vec::new(),
        run: RunName { job: "media".parse().unwrap(), number: 1 },
        source: location("e"),
        destination: Destination {
            location: location("e"),
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

fn leased(id: u64, session: u64, since: i64) -> LeasedView {
    let since = Timestamp::from_micros(since);
    LeasedView { range: range(id), session: SessionId(session), since, revoke: false, siblings: 2 }
}

fn session(id: u64, held: u32, capacity: u32) -> SessionView {
    let offer = AgentEndpoint {
        endpoint: "e".parse().unwrap(),
        credential_kind: "static".into(),
        allow: Vec::new(),
        credential_fingerprint: String::new(),
    };
    SessionView {
        session: SessionId(id),
        agent: format!("a{id}").parse().unwrap(),
        labels: BTreeMap::new(),
        endpoints: vec![offer],
        features: vec![FEATURE_KEYS.to_owned()],
        capacity,
        held,
        draining: false,
    }
}

#[test]
fn each_free_place_asks_one_holder_the_longest_held_first() {
    let snapshot = Snapshot {
        sessions: vec![session(1, 2, 3), session(2, 0, 1)],
        ready: Vec::new(),
        leased: vec![leased(10, 1, 200), leased(11, 1, 100)],
        ..Snapshot::default()
    };
    let asked: Vec<_> =
        splits(&snapshot, &BTreeSet::new()).iter().map(|(_, held)| held.id).collect();
    assert_eq!(asked, [11, 10]);
    let quiet = BTreeSet::from([Held { id: 11, epoch: 1 }]);
    let asked: Vec<_> = splits(&snapshot, &quiet).iter().map(|(_, held)| held.id).collect();
    assert_eq!(asked, [10]);
}

#[test]
fn nobody_is_asked_while_work_waits_or_a_run_is_cancelled_or_cut_to_the_limit() {
    let idle = || vec![session(2, 0, 4)];
    let waiting = Snapshot {
        sessions: idle(),
        ready: vec![range(1)],
        leased: vec![leased(10, 1, 1)],
        ..Snapshot::default()
    };
    assert_eq!(splits(&waiting, &BTreeSet::new()), []);
    let mut revoked = leased(10, 1, 1);
    revoked.revoke = true;
    let mut full = leased(11, 1, 1);
    full.siblings = MAX_RANGES_PER_DESTINATION;
    let snapshot = Snapshot {
        sessions: idle(),
        ready: Vec::new(),
        leased: vec![revoked, full],
        ..Snapshot::default()
    };
    assert_eq!(splits(&snapshot, &BTreeSet::new()), []);
    let mut last = leased(12, 1, 1);
    last.siblings = MAX_RANGES_PER_DESTINATION - 1;
    let snapshot =
        Snapshot { sessions: idle(), ready: Vec::new(), leased: vec![last], ..Snapshot::default() };
    assert_eq!(splits(&snapshot, &BTreeSet::new()).len(), 1);
}
