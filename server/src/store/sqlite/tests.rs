//! Tests of this implementation: the suite that every store must pass, and what is its own.

mod dirty;
mod histories;
mod losses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;
use s3sync_proto::model::{EndpointSpec, Name, Timestamp};

use super::*;
use crate::store::conformance;

/// No test here waits for longer.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn it_does_what_every_store_must() {
    let make = async || Arc::new(Sqlite::in_memory().await.unwrap()) as Arc<dyn Store>;
    tokio::time::timeout(PATIENCE, conformance::all(make)).await.expect("nothing may hang");
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

async fn put(store: &Sqlite, endpoint: &str, region: &str) -> Result<Applied, Error> {
    let seen = store.catalogue().await?.revision;
    let spec = EndpointSpec { region: region.to_owned(), ..EndpointSpec::default() };
    let change = CatalogueChange::PutEndpoint { name: name(endpoint), spec };
    store.change_catalogue(seen, change, None, NOW).await
}

async fn endpoints(store: &Sqlite) -> Vec<String> {
    store.catalogue().await.unwrap().endpoints.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_was_answered_survives_and_the_incarnation_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).await.unwrap();
    put(&store, "one", "r").await.unwrap();
    let incarnation = store.incarnation().to_owned();
    store.close().await;
    assert!(matches!(put(&store, "two", "r").await, Err(Error::Unavailable(_))), "it is closed");
    drop(store);
    let store = Sqlite::open(folder.path()).await.unwrap();
    assert_eq!(endpoints(&store).await, ["one"]);
    assert_eq!(store.incarnation(), incarnation);
    assert_ne!(Sqlite::in_memory().await.unwrap().incarnation(), incarnation);
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_at_once() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Sqlite::open(folder.path()).await.unwrap();
    for number in 0..20 {
        put(&store, &format!("e{number}"), "r").await.unwrap();
    }
    // As a crash would leave them: nothing was closed.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let after = Sqlite::open(copy.path()).await.unwrap();
    assert_eq!(endpoints(&after).await.len(), 20);
    // FULL (2): each commit is synced, so that the copy stands for a loss of power as well.
    let mode =
        store.write(|db| Ok(db.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(mode.await.unwrap(), 2);
}

#[tokio::test]
async fn a_second_server_is_told_that_the_file_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let first = Sqlite::open(folder.path()).await.unwrap();
    let second = Sqlite::open(folder.path()).await.err().unwrap();
    assert!(matches!(second, OpenError::InUse(_)), "{second:?}");
    assert!(second.to_string().contains("in use by another server"), "{second}");
    first.close().await;
    Sqlite::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    Sqlite::open(folder.path()).await.unwrap().close().await;
    let path = folder.path().join("s3sync.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let refused = Sqlite::open(folder.path()).await.err().unwrap();
    assert!(matches!(refused, OpenError::TooNew { found: 99, .. }), "{refused:?}");
    let db = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn what_is_no_database_or_a_damaged_one_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s3sync.db"), vec![b'x'; 8_192]).unwrap();
    assert!(Sqlite::open(folder.path()).await.is_err());

    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).await.unwrap();
    for number in 0..50 {
        put(&store, &format!("e{number}"), &"r".repeat(2_000)).await.unwrap();
    }
    store.close().await;
    drop(store);
    overwrite(&folder.path().join("s3sync.db"));
    let refused = Sqlite::open(folder.path()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Damaged(_) | OpenError::Sqlite(_)), "{refused:?}");
}

/// Overwrites all but the first page, the write-ahead log included.
fn overwrite(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    let mut bytes = std::fs::read(path).unwrap();
    bytes[4_096..].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn changes_that_come_together_share_a_commit_and_a_lone_one_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(folder.path()).await.unwrap());
    let before = store.commits();
    put(&store, "alone", "r").await.unwrap();
    assert_eq!(store.commits(), before + 1);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..640 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let insert = "INSERT INTO request_ids VALUES ('m', ?1, 'f', 'r', 1)";
            store.write(move |db| Ok(db.execute(insert, params![number])?)).await.unwrap();
        });
    }
    callers.join_all().await;
    let commits = store.commits() - before - 1;
    assert!((10..=64).contains(&commits), "640 changes in {commits} transactions");
}

#[tokio::test]
async fn a_change_that_fails_or_panics_undoes_itself_alone() {
    let store = Arc::new(Sqlite::in_memory().await.unwrap());
    let insert = "INSERT INTO request_ids VALUES ('m', ?1, 'f', 'r', 1)";
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..30 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let change = move |db: &Connection| {
                db.execute(insert, params![number])?;
                match number % 3 {
                    0 => Ok(()),
                    1 => Err(Error::Invalid("no".to_owned())),
                    _ => panic!("of the test"),
                }
            };
            (number % 3 == 0) == store.write(change).await.is_ok()
        });
    }
    assert!(callers.join_all().await.into_iter().all(|as_expected| as_expected));
    let count = |db: &Connection| {
        Ok(db.query_row("SELECT COUNT(*) FROM request_ids", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(store.read(count).await.unwrap(), 10);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(folder.path()).await.unwrap());
    put(&store, "before", "r").await.unwrap();
    let limit = |pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        store.write(move |db| Ok(db.query_row(&sql, [], |_| Ok(()))?))
    };
    limit(1).await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        // Some need a new page, some would fit: those that share a transaction with one that does not must not be
        // answered well.
        let size = if number % 2 == 0 { 20_000 } else { 1 };
        callers.spawn(async move {
            let insert = "INSERT INTO request_ids VALUES ('m', ?1, ?2, 'r', 1)";
            let change =
                move |db: &Connection| Ok(db.execute(insert, params![number, "x".repeat(size)])?);
            (number, store.write(change).await.is_ok())
        });
    }
    let answers = callers.join_all().await;
    assert!(answers.iter().any(|(_, well)| !well), "nothing failed");
    let kept = |db: &Connection| {
        let mut statement = db.prepare("SELECT CAST(id AS INTEGER) FROM request_ids ORDER BY 1")?;
        let rows = statement.query_map([], |row| row.get::<_, i64>(0))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    };
    let mut well: Vec<_> =
        answers.into_iter().filter_map(|(number, well)| well.then_some(number)).collect();
    well.sort_unstable();
    assert_eq!(store.read(kept).await.unwrap(), well, "kept is what was answered well");
    let full = put(&store, "during", &"r".repeat(50_000)).await;
    assert!(matches!(full, Err(Error::Unavailable(_))), "{full:?}");
    assert_eq!(endpoints(&store).await, ["before"], "reading goes on");
    limit(1_000_000).await.unwrap();
    put(&store, "after", &"r".repeat(50_000)).await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(endpoints(&store).await, ["after", "before"]);
}

#[tokio::test]
async fn only_what_changes_something_wakes() {
    let store = Sqlite::in_memory().await.unwrap();
    put(&store, "one", "r").await.unwrap();
    let changes = store.changes();
    let seen = *changes.borrow();
    let nobody = "jobs/none/runs/1".parse().unwrap();
    store.explain_runs(vec![(nobody, "text".to_owned())]).await.unwrap();
    store.expire_sessions(NOW).await.unwrap();
    store.snapshot(9, NOW).await.unwrap();
    assert_eq!(*changes.borrow(), seen, "a loop that looks after each change would wake itself");
    put(&store, "two", "r").await.unwrap();
    assert_eq!(*changes.borrow(), seen + 1);
}

#[tokio::test]
async fn a_look_that_panics_takes_no_connection_along() {
    let store = Sqlite::in_memory().await.unwrap();
    for _ in 0..20 {
        let looked = store.read(|_| -> Result<(), Error> { panic!("of the test") }).await;
        assert!(matches!(looked, Err(Error::Unavailable(_))), "{looked:?}");
    }
    assert!(endpoints(&store).await.is_empty(), "reading goes on");
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_waits_for_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).await.unwrap();
    let before = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_millis(1), put(&store, "one", "r")).await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_millis(1));
}

#[tokio::test]
async fn hot_queries_use_an_index() {
    let store = Sqlite::in_memory().await.unwrap();
    let plans = store
        .read(|db| {
            let queries = [
                "SELECT EXISTS (SELECT 1 FROM ranges WHERE run = 1 AND state < 2)",
                "SELECT COUNT(*) FROM ranges WHERE run = 1 AND destination = 0",
                "SELECT id, epoch FROM ranges WHERE session = 1 AND state = 1",
                "SELECT id FROM ranges WHERE state = 0 AND not_before <= 5",
                "SELECT id FROM runs WHERE job = 'a' AND id < 9 ORDER BY id DESC LIMIT 3",
                "SELECT id FROM runs WHERE revision > 9 ORDER BY revision LIMIT 3",
                "SELECT key FROM upload_intents WHERE range = 1 AND key <= x'00'",
                "SELECT key FROM failures WHERE run = 1 AND (destination > 0 OR (destination = 0 AND key > x'00'))",
            ];
            let mut plans = Vec::new();
            for query in queries {
                let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                let steps = statement.query_map([], |row| row.get::<_, String>("detail"))?;
                plans.push((query, steps.collect::<Result<Vec<_>, _>>()?.join("; ")));
            }
            Ok(plans)
        })
        .await
        .unwrap();
    for (query, plan) in plans {
        let scans =
            plan.split("; ").any(|step| step.starts_with("SCAN") && step != "SCAN CONSTANT ROW");
        assert!(!scans && !plan.contains("TEMP B-TREE"), "{query}: {plan}");
    }
}

#[tokio::test]
async fn a_report_writes_little_however_large_the_job_is() {
    /// Keys between two reports of a range, and most bytes the database may write for each (DESIGN, numbers).
    const KEYS: u64 = 50_000;
    const BYTES_PER_KEY: u64 = 5;
    const REPORTS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).await.unwrap();
    let settings = format!("\"{}\"", "x".repeat(100_000));
    let prepare = move |db: &Connection| {
        db.execute_batch(
            "INSERT INTO runs (id, job, number, state, trigger, generation, traceparent, created, revision)
             VALUES (1, 'media', 1, 'running', 'manual', 1, '', 1, 1);
             INSERT INTO run_destinations (run, destination, counters) VALUES (1, 0, '{}');
             INSERT INTO ranges (id, run, destination, state, epoch) VALUES (1, 1, 0, 1, 1);",
        )?;
        Ok(db.execute("INSERT INTO run_specs VALUES (1, ?1, '{}')", [settings])?)
    };
    store.write(prepare).await.unwrap();
    let log = folder.path().join("s3sync.db-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    let at = |number: u64| Key::from(format!("{number:0>900}").as_str());
    for number in 0..REPORTS {
        let report = WorkReport {
            sequence: 1,
            held: Held { id: 1, epoch: 1 },
            outcome: s3sync_proto::model::Outcome::Checkpoint,
            previous_cursor: (number > 0).then(|| at(number - 1)),
            cursor: Some(at(number)),
            counters: s3sync_proto::model::Counters {
                listed: KEYS,
                in_step: KEYS,
                list_requests: KEYS / 500,
                ..Default::default()
            },
            failures: Vec::new(),
            extras: Default::default(),
        };
        assert_eq!(store.report(report, NOW).await.unwrap(), Verdict::Applied);
    }
    // Once into the log, once more when the log is merged.
    let written = (std::fs::metadata(&log).unwrap().len() - before) * 2;
    assert!(written > 0, "the log did not grow");
    assert!(written <= KEYS * BYTES_PER_KEY * REPORTS, "{written} bytes for {REPORTS} reports");
}
