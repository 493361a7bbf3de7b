//! Which ends of a session count as a loss of its work. Only the rows tell; who dies three times of a range comes later.

use std::time::Duration;

use s3sync_proto::model::{
    FailureClass, Held, Hello, Outcome, State, Verdict, WorkError, WorkReport,
};

use super::*;
use crate::store::{Grant, OpenSession};

const TTL: Duration = Duration::from_secs(60);

async fn connect(store: &Sqlite, instance: &str, held: Vec<Held>) -> SessionId {
    let hello = Hello {
        protocol: (1, 1),
        features: Vec::new(),
        agent: name("a"),
        instance_id: instance.into(),
        version: String::new(),
        labels: Default::default(),
        endpoints: Vec::new(),
        held,
        capacity: 1,
        now: NOW,
    };
    let open = OpenSession { hello, features: Vec::new(), until: NOW.plus(TTL) };
    store.open_session(open, NOW).await.unwrap().session
}

/// A store whose only range is held by the process `1` of agent `a`.
async fn held() -> (Sqlite, SessionId, Held) {
    let store = Sqlite::in_memory().await.unwrap();
    let prepare = |db: &Connection| {
        let destination = r#"{"location": {"endpoint": "e", "bucket": "to", "prefix": ""}}"#;
        let spec = format!(
            r#"{{"source": {{"endpoint": "e", "bucket": "from", "prefix": ""}}, "destinations": [{destination}]}}"#
        );
        let parsed: s3sync_proto::model::JobSpec = row::parse(&spec)?;
        let endpoints = std::collections::BTreeMap::from([(name("e"), EndpointSpec::default())]);
        db.execute_batch(
            "INSERT INTO runs (id, job, number, state, trigger, generation, traceparent, created, revision)
             VALUES (1, 'media', 1, 'running', 'manual', 1, '', 1, 1);
             INSERT INTO run_destinations (run, destination, counters) VALUES (1, 0, '{}');
             INSERT INTO ranges (id, run, destination) VALUES (1, 1, 0);",
        )?;
        let kept = params![row::json(&parsed)?, row::json(&endpoints)?];
        Ok(db.execute("INSERT INTO run_specs VALUES (1, ?1, ?2)", kept)?)
    };
    store.write(prepare).await.unwrap();
    let session = connect(&store, "1", Vec::new()).await;
    let held = lease(&store, Held { id: 1, epoch: 0 }, session).await;
    (store, session, held)
}

async fn lease(store: &Sqlite, held: Held, session: SessionId) -> Held {
    lease_at(store, held, session, NOW).await
}

async fn lease_at(store: &Sqlite, held: Held, session: SessionId, now: Timestamp) -> Held {
    let leased = store.lease(vec![Grant { held, session }], now).await.unwrap();
    leased.first().expect("it is free").1.held
}

/// Whether the range is free, and how often it was lost.
async fn state(store: &Sqlite) -> (bool, i64) {
    let look = |db: &Connection| {
        let sql = "SELECT state = 0 AND session IS NULL, lost FROM ranges";
        Ok(db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    };
    store.read(look).await.unwrap()
}

#[tokio::test]
async fn a_process_that_died_lost_its_work() {
    let (store, _, held) = held().await;
    assert_eq!(store.expire_sessions(NOW.plus(TTL * 2)).await.unwrap().len(), 1);
    assert_eq!(state(&store).await, (true, 1));
    let session = connect(&store, "2", Vec::new()).await;
    lease(&store, held, session).await;
    connect(&store, "3", Vec::new()).await;
    assert_eq!(state(&store).await, (true, 2), "another process took its name");
}

#[tokio::test]
async fn a_process_that_goes_on_or_leaves_lost_nothing() {
    let (store, _, held) = held().await;
    connect(&store, "1", vec![held]).await;
    assert_eq!(state(&store).await, (false, 0), "it holds it still");
    let session = connect(&store, "1", Vec::new()).await;
    assert_eq!(state(&store).await, (true, 0), "the assignment never reached it");
    let held = lease(&store, held, session).await;
    let stating = State { sequence: 9, capacity: 1, held: vec![], draining: false, last_lease: 8 };
    store.renew_session(session, &stating, NOW.plus(TTL), NOW).await.unwrap();
    assert_eq!(state(&store).await, (true, 0), "it was lost on the way");
    let held = lease(&store, held, session).await;
    store.close_session(session, NOW).await.unwrap();
    assert_eq!(state(&store).await, (true, 0), "it left");
    let session = connect(&store, "1", Vec::new()).await;
    // Once nothing of it can arrive any more.
    let later = NOW.plus(TTL);
    let held = lease_at(&store, held, session, later).await;
    let error = WorkError { class: FailureClass::Transient, code: "X".into(), message: "x".into() };
    store.refuse(held, &name("a"), &error, NOW).await.unwrap();
    assert_eq!(state(&store).await, (true, 0), "it was refused");
    let held = lease_at(&store, Held { epoch: held.epoch + 1, ..held }, session, later).await;
    let yielded = WorkReport {
        sequence: 1,
        held,
        outcome: Outcome::Yielded,
        previous_cursor: None,
        cursor: None,
        counters: Default::default(),
        failures: Vec::new(),
        extras: Default::default(),
    };
    assert_eq!(store.report(yielded, NOW).await.unwrap(), Verdict::Applied);
    assert_eq!(state(&store).await, (true, 0), "it was given back");
}
