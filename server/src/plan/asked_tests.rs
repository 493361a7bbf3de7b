//! Who is asked, and for which key.

use s3sync_proto::model::{AgentEndpoint, AllowRule, Destination};

use super::*;
use crate::store::SessionId;

fn location(endpoint: &str, bucket: &str, prefix: &str) -> Location {
    let endpoint = endpoint.parse().unwrap();
    Location { endpoint, bucket: bucket.to_owned(), prefix: prefix.to_owned() }
}

fn session(id: u64, agent: &str, held: u32) -> SessionView {
    let offer = |endpoint: &str| AgentEndpoint {
        endpoint: endpoint.parse().unwrap(),
        credential_kind: "static".into(),
        allow: vec![AllowRule { bucket: None, prefix: String::new(), verbs: vec![Verb::List] }],
        credential_fingerprint: String::new(),
    };
    SessionView {
        session: SessionId(id),
        agent: agent.parse().unwrap(),
        labels: [("region".to_owned(), "cn".to_owned())].into(),
        endpoints: vec![offer("a"), offer("b")],
        features: vec!["ask".to_owned()],
        capacity: 1,
        held,
        draining: false,
    }
}

#[test]
fn the_least_loaded_of_those_who_can_is_asked_first() {
    let (from, to) = (location("a", "src", "p/"), location("b", "dst", "q/"));
    let labels = [("region".to_owned(), "cn".to_owned())].into();
    let need = |verbs| Need {
        features: vec!["ask"],
        labels: &labels,
        places: vec![(&from, &[Verb::List][..]), (&to, verbs)],
    };
    let mut old = session(1, "old", 0);
    old.features.clear();
    let mut elsewhere = session(2, "elsewhere", 0);
    elsewhere.labels.clear();
    let mut one_sided = session(3, "one-sided", 0);
    one_sided.endpoints.pop();
    let mut leaving = session(4, "leaving", 0);
    leaving.draining = true;
    let sessions =
        [old, elsewhere, one_sided, leaving, session(5, "full", 3), session(6, "idle", 0)];
    let able_now: Vec<_> = able(&sessions, &need(&[Verb::List]))
        .unwrap()
        .into_iter()
        .map(|session| session.agent.to_string())
        .collect();
    // One that holds all it can may still look.
    assert_eq!(able_now, ["idle", "full"]);
    assert_eq!(
        able(&sessions, &need(&[Verb::Read])).unwrap_err(),
        "no agent can look: elsewhere has not the label region=cn; full does not allow read in b:dst/q/; \
         idle does not allow read in b:dst/q/; leaving does not allow read in b:dst/q/; \
         old does not know the feature ask; update it; one-sided lacks a credential for b"
    );
    assert_eq!(able(&[], &need(&[])).unwrap_err(), "no agent is connected");
    let leaving = able(&sessions[3..4], &need(&[Verb::List])).unwrap_err();
    assert_eq!(leaving, "no agent can look: leaving is about to leave");
}

fn spec(source: Location, destinations: &[Location]) -> JobSpec {
    let destinations: Vec<_> = destinations
        .iter()
        .map(|location| Destination {
            location: location.clone(),
            storage_class: None,
            agent_labels: BTreeMap::new(),
            encryption: None,
        })
        .collect();
    serde_json::from_value(serde_json::json!({"source": source, "destinations": destinations}))
        .unwrap()
}

#[test]
fn a_key_is_meant_without_prefix_or_in_full_on_any_side() {
    let spec = spec(
        location("a", "src", "in/"),
        &[location("b", "dst", "out/"), location("b", "dst", "out/deep/")],
    );
    let meant = |key: &str, bucket: &str| {
        relative_key(&spec, &Key::from(key), bucket).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(meant("in/k", ""), Ok("in/k".into()), "without a bucket nothing is taken off");
    assert_eq!(meant("in/k", "src"), Ok("k".into()));
    assert_eq!(meant("in/", "src"), Ok("".into()), "the prefix itself is a key");
    assert_eq!(meant("out/k", "dst"), Ok("k".into()));
    let several = meant("out/deep/k", "dst").unwrap_err();
    assert!(several.contains("several of the job's places"), "{several}");
    for (key, bucket) in [("k", "src"), ("in/k", "other"), ("out", "dst")] {
        let none = meant(key, bucket).unwrap_err();
        assert!(none.contains("s3://src/in/, s3://dst/out/"), "{none}");
    }
    let longest = "k".repeat(MAX_KEY_BYTES);
    assert_eq!(meant(&longest, ""), Ok(longest.as_str().into()));
    let long = meant(&format!("{longest}k"), "").unwrap_err();
    assert!(long.contains("1025 bytes"), "{long}");
}

#[test]
fn the_empty_key_is_one_only_below_a_prefix() {
    let below = spec(location("a", "src", "in/"), &[location("b", "dst", "")]);
    assert_eq!(relative_key(&below, &Key::default(), ""), Ok(Key::default()));
    let whole = spec(location("a", "src", ""), &[location("b", "dst", "out/")]);
    let refused = relative_key(&whole, &Key::default(), "").unwrap_err().to_string();
    assert!(refused.contains("S3 has no such object"), "{refused}");
}
