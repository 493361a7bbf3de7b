//! Placement, by cases and by properties.

use std::collections::BTreeMap;

use proptest::prelude::*;
use s3sync_proto::model::{
    AgentEndpoint, AllowRule, Destination, FEATURE_KEYS, Held, Location, Timestamp,
};

use super::*;
use crate::store::{LeasedView, SessionId, WorkKind};

fn location(endpoint: &str, bucket: &str) -> Location {
    Location { endpoint: endpoint.parse().unwrap(), bucket: bucket.into(), prefix: "p/".into() }
}

fn range(id: u64, run: u64, endpoint: &str) -> RangeView {
    RangeView {
        held: Held { id, epoch: 0 },
        kind: WorkKind::Range,
        needs: Vec::new(),
        run: RunName { job: "media".parse().unwrap(), number: run },
        source: location("usw2", "source"),
        destination: Destination {
            location: location(endpoint, "destination"),
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

fn session(id: u64, agent: &str, endpoints: &[&str], capacity: u32) -> SessionView {
    let offer = |endpoint: &&str| AgentEndpoint {
        endpoint: endpoint.parse().unwrap(),
        credential_kind: "static".into(),
        allow: Vec::new(),
        credential_fingerprint: String::new(),
    };
    SessionView {
        session: SessionId(id),
        agent: agent.parse().unwrap(),
        labels: BTreeMap::new(),
        endpoints: endpoints.iter().map(offer).collect(),
        features: vec![FEATURE_KEYS.to_owned()],
        capacity,
        held: 0,
        draining: false,
    }
}

fn reason(snapshot: &Snapshot) -> String {
    place(snapshot, &BTreeSet::new()).reasons.into_iter().map(|(_, reason)| reason).collect()
}

#[test]
fn a_run_that_waits_for_what_may_come_late_says_so_unless_it_goes_on() {
    let of = |number| RunName { job: "media".parse().unwrap(), number };
    let until = Timestamp::from_micros(1_799_999_999_000_001);
    let mut snapshot = Snapshot { late: vec![(of(1), until)], ..Snapshot::default() };
    let told = "what an agent that ended had begun to write may still arrive; its work goes on at 2027-01-15T08:00:00Z";
    assert_eq!(reason(&snapshot), told);
    // Something of it that is stuck is worth more to know.
    snapshot.ready = vec![range(1, 1, "cnn1")];
    assert_eq!(reason(&snapshot), "no agent is connected");
    snapshot.sessions = vec![session(1, "agent-1", &["usw2", "cnn1"], 4)];
    assert_eq!(reason(&snapshot), "", "it goes on");
    snapshot.ready = vec![range(2, 2, "cnn1")];
    let reasons = place(&snapshot, &BTreeSet::new()).reasons;
    assert_eq!(reasons, [(of(2), String::new()), (of(1), told.to_owned())], "another run goes on");
}

#[test]
fn what_nobody_can_do_is_explained_by_what_each_lacks() {
    let mut labelled = range(1, 1, "cnn1");
    labelled.destination.agent_labels.insert("region".into(), "cn-north-1".into());
    let nobody = Snapshot { ready: vec![labelled.clone()], ..Snapshot::default() };
    assert_eq!(reason(&nobody), "no agent is connected");

    let mut narrow = session(3, "agent-3", &["usw2", "cnn1"], 4);
    narrow.labels.insert("region".into(), "cn-north-1".into());
    let rule = AllowRule {
        bucket: Some("destination".into()),
        prefix: "q/".into(),
        verbs: vec![Verb::List],
    };
    narrow.endpoints[1].allow = vec![rule];
    let mut without = session(2, "agent-2", &["usw2"], 4);
    without.labels.insert("region".into(), "cn-north-1".into());
    let sessions = vec![session(1, "agent-1", &["usw2", "cnn1"], 4), without, narrow];
    let snapshot = Snapshot { sessions, ready: vec![labelled], ..Snapshot::default() };
    assert_eq!(
        reason(&snapshot),
        "no agent can do this work: agent-1 has not the label region=cn-north-1; agent-2 lacks a credential for cnn1; \
         agent-3 does not allow list in cnn1:destination/p/"
    );
}

#[test]
fn careful_work_goes_to_an_agent_that_holds_nothing_and_keeps_it_so() {
    let dangerous = RangeView { careful: true, ..range(9, 1, "cnn1") };
    let able = |id, agent| {
        let session = session(id, agent, &["usw2", "cnn1"], 4);
        SessionView { features: vec![FEATURE_CAREFUL.to_owned()], ..session }
    };
    let busy = SessionView { held: 1, ..able(1, "a") };
    let busier = SessionView { held: 2, ..able(2, "b") };
    let grants = |sessions: &[&SessionView], leased: Vec<LeasedView>| -> Vec<(u64, u64)> {
        let sessions = sessions.iter().map(|one| (*one).clone()).collect();
        let ready = vec![range(1, 1, "cnn1"), range(2, 1, "cnn1"), dangerous.clone()];
        let snapshot = Snapshot { sessions, ready, leased, ..Snapshot::default() };
        let placement = place(&snapshot, &BTreeSet::new());
        placement.grants.iter().map(|grant| (grant.held.id, grant.session.0)).collect()
    };
    // Nobody is free: the least busy is kept from getting more.
    assert_eq!(grants(&[&busy, &busier], Vec::new()), [(1, 2), (2, 2)]);
    // Who is free gets it, and nothing beside.
    assert_eq!(grants(&[&able(3, "c"), &busy], Vec::new()), [(9, 3), (1, 1), (2, 1)]);
    assert_eq!(grants(&[&able(3, "c")], Vec::new()), [(9, 3)]);
    // Who has such work gets nothing, and is not asked to let others cut for it.
    let leased = LeasedView {
        range: dangerous.clone(),
        session: SessionId(4),
        since: s3sync_proto::model::Timestamp::from_micros(0),
        revoke: false,
        siblings: 1,
    };
    let careful = SessionView { held: 1, ..able(4, "d") };
    assert_eq!(grants(&[&careful], vec![leased]), []);
    // Not to one that does not know it.
    let old = session(5, "e", &["usw2", "cnn1"], 4);
    let snapshot =
        Snapshot { sessions: vec![old], ready: vec![dangerous.clone()], ..Snapshot::default() };
    assert!(reason(&snapshot).contains("does not know the feature careful; update it"));
}

#[test]
fn busy_agents_are_no_reason() {
    let mut busy = session(1, "agent-1", &["usw2", "cnn1"], 1);
    busy.held = 1;
    let snapshot =
        Snapshot { sessions: vec![busy], ready: vec![range(1, 1, "cnn1")], ..Snapshot::default() };
    let placement = place(&snapshot, &BTreeSet::new());
    assert_eq!(placement.grants, []);
    assert_eq!(placement.reasons.len(), 1);
    assert_eq!(placement.reasons[0].1, "");
}

#[test]
fn a_huge_run_does_not_starve_a_small_one() {
    let mut ready: Vec<_> = (1..=100).map(|id| range(id, 1, "cnn1")).collect();
    ready.push(range(200, 2, "cnn1"));
    let snapshot = Snapshot {
        sessions: vec![session(1, "a", &["usw2", "cnn1"], 2)],
        ready,
        ..Snapshot::default()
    };
    let ids: Vec<_> =
        place(&snapshot, &BTreeSet::new()).grants.iter().map(|grant| grant.held.id).collect();
    assert_eq!(ids, [1, 200]);
}

#[test]
fn the_least_loaded_agent_gets_the_next_range_and_who_refused_does_not() {
    let mut first = session(1, "a", &["usw2", "cnn1"], 9);
    first.held = 1;
    let second = session(2, "b", &["usw2", "cnn1"], 9);
    let mut refused = range(3, 1, "cnn1");
    refused.refused_by = Some("b".parse().unwrap());
    let ready = vec![range(1, 1, "cnn1"), range(2, 1, "cnn1"), refused];
    let snapshot = Snapshot { sessions: vec![first, second], ready, ..Snapshot::default() };
    let who: Vec<_> = place(&snapshot, &BTreeSet::new())
        .grants
        .iter()
        .map(|grant| (grant.held.id, grant.session.0))
        .collect();
    assert_eq!(who, [(1, 2), (2, 1), (3, 1)]);
}

proptest! {
    #[test]
    fn no_range_is_given_twice_and_no_agent_more_than_it_takes(
        capacities in prop::collection::vec((0_u32..5, 0_u32..3, any::<bool>()), 0..5),
        runs in prop::collection::vec((1_u64..4, any::<bool>()), 0..40),
    ) {
        let sessions: Vec<_> = capacities.iter().enumerate().map(|(index, (capacity, held, both))| {
            let endpoints: &[&str] = if *both { &["usw2", "cnn1"] } else { &["usw2"] };
            let mut one = session(index as u64 + 1, &format!("a{index}"), endpoints, *capacity);
            one.held = (*held).min(*capacity);
            one
        }).collect();
        let ready: Vec<_> = runs.iter().enumerate().map(|(index, (run, china))| {
            range(index as u64 + 1, *run, if *china { "cnn1" } else { "usw2" })
        }).collect();
        let snapshot = Snapshot { sessions, ready, ..Snapshot::default() };
        let placement = place(&snapshot, &BTreeSet::new());
        let mut given: Vec<_> = placement.grants.iter().map(|grant| grant.held.id).collect();
        given.sort_unstable();
        let before = given.len();
        given.dedup();
        prop_assert_eq!(given.len(), before);
        for session in &snapshot.sessions {
            let granted = placement.grants.iter().filter(|grant| grant.session == session.session).count();
            prop_assert!(session.held as usize + granted <= session.capacity as usize);
        }
        // The order of the input does not matter.
        let mut shuffled = snapshot;
        shuffled.ready.reverse();
        shuffled.sessions.reverse();
        let mut grants = placement.grants;
        let mut again = place(&shuffled, &BTreeSet::new()).grants;
        grants.sort_by_key(|grant| grant.held);
        again.sort_by_key(|grant| grant.held);
        prop_assert_eq!(grants, again);
    }
}

#[test]
fn work_goes_only_to_agents_that_know_what_it_needs() {
    let mut needing = range(1, 1, "cnn1");
    needing.needs = vec!["something-new"];
    let mut snapshot = Snapshot {
        ready: vec![needing],
        sessions: vec![session(1, "a", &["usw2", "cnn1"], 4)],
        ..Snapshot::default()
    };
    assert!(place(&snapshot, &BTreeSet::new()).grants.is_empty());
    assert!(reason(&snapshot).contains("a does not know the feature something-new; update it"));
    snapshot.sessions[0].features.push("something-new".to_owned());
    assert_eq!(place(&snapshot, &BTreeSet::new()).grants.len(), 1);
}
