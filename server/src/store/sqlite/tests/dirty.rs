//! The bound on keys that wait to be looked at for events.

use s3sync_proto::model::{
    AgentEndpoint, Destination, EventBatch, EventKind, Hello, JobSpec, Key, Location, News,
    ObjectEvent, QueueSpec,
};

use super::*;

/// A store whose job `media` follows a queue; watch work of a session.
async fn following() -> (Sqlite, Held) {
    let store = Sqlite::in_memory().await.unwrap();
    put(&store, "usw2", "us-west-2").await.unwrap();
    let place = |bucket: &str| Location {
        endpoint: name("usw2"),
        bucket: bucket.into(),
        prefix: String::new(),
    };
    let destination = |bucket: &str| Destination {
        location: place(bucket),
        storage_class: None,
        agent_labels: Default::default(),
        encryption: None,
    };
    let spec = JobSpec {
        source: place("source"),
        destinations: vec![destination("one"), destination("two")],
        filter: Default::default(),
        compare: Default::default(),
        deletes: Default::default(),
        schedule: None,
        events: Some(name("q")),
        limits: Default::default(),
        paused: false,
    };
    let queue = QueueSpec { url: "https://sqs/1/q".into(), endpoint: name("usw2"), receivers: 1 };
    for change in [
        CatalogueChange::PutQueue { name: name("q"), spec: queue },
        CatalogueChange::PutJob { name: name("media"), spec: Box::new(spec) },
    ] {
        let seen = store.catalogue().await.unwrap().revision;
        store.change_catalogue(seen, change, None, NOW).await.unwrap();
    }
    let offer = AgentEndpoint {
        endpoint: name("usw2"),
        credential_kind: "static".into(),
        allow: Vec::new(),
        credential_fingerprint: String::new(),
    };
    let hello = Hello {
        protocol: (1, 1),
        features: Vec::new(),
        agent: name("a"),
        instance_id: "1".into(),
        version: "1".into(),
        labels: Default::default(),
        endpoints: vec![offer],
        held: Vec::new(),
        capacity: 1,
        now: NOW,
    };
    let until = NOW.plus(Duration::from_secs(60));
    let open = OpenSession { hello, features: Vec::new(), until };
    let session = store.open_session(open, NOW).await.unwrap().session;
    let held = store.snapshot(0, NOW).await.unwrap().watches[0].held;
    let leased = store.lease_watches(vec![Grant { held, session }], NOW).await.unwrap();
    (store, leased[0].1.held)
}

async fn tell(store: &Sqlite, held: Held, key: &str) {
    let event = ObjectEvent {
        bucket: "source".into(),
        key: Key::from(key),
        kind: EventKind::Written,
        sequencer: String::new(),
        sent: None,
    };
    let news = News { events: vec![event], messages: 1, ..News::default() };
    let verdict = store.take_events(EventBatch { sequence: 1, held, news }, NOW).await.unwrap();
    assert_eq!(verdict, Verdict::Applied);
}

#[tokio::test]
async fn too_many_dirty_keys_become_a_scan() {
    let (store, held) = following().await;
    tell(&store, held, "first").await;
    let most = i64::try_from(crate::store::MAX_DIRTY_KEYS_PER_DESTINATION).unwrap();
    store
        .write(move |db| {
            // The destination `one` is full, and somebody has one of its keys.
            db.execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
                 INSERT INTO pending_keys (pool, key, first, latest)
                 SELECT (SELECT MIN(id) FROM pools), CAST('k' || i AS BLOB), 1, 1 FROM n",
                [most],
            )?;
            db.execute(
                "UPDATE pools SET open = ?1 WHERE id = (SELECT MIN(id) FROM pools)",
                [most],
            )?;
            db.execute("UPDATE pending_keys SET work = 7 WHERE key = CAST('k5' AS BLOB)", [])?;
            Ok(())
        })
        .await
        .unwrap();
    tell(&store, held, "first").await;
    let told = store.following(&name("media"), NOW).await.unwrap().unwrap();
    assert_eq!((told.destinations[0].keys, told.gap), (most.unsigned_abs(), None), "not one more");
    tell(&store, held, "one more").await;
    let told = store.following(&name("media"), NOW).await.unwrap().unwrap();
    let keys: Vec<_> = told.destinations.iter().map(|one| one.keys).collect();
    assert_eq!(keys, [1, 2], "what is held stays, and another destination's keys");
    assert!(told.gap.unwrap().reason.starts_with("more than 250000 keys"));
    tell(&store, held, "left to the scan").await;
    assert_eq!(store.tend_events(NOW).await.unwrap().len(), 1);
    tell(&store, held, "new").await;
    let told = store.following(&name("media"), NOW).await.unwrap().unwrap();
    let keys: Vec<_> = told.destinations.iter().map(|one| one.keys).collect();
    assert_eq!(keys, [2, 3], "it may have passed it");
}
