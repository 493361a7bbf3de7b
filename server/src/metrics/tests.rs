//! The page of metrics against what the server exports.

use std::collections::BTreeMap;

use s3sync_proto::model::QueueState;
use s3sync_telemetry::metrics::page::{documented, samples, shapes};

use super::*;
use crate::clock;
use crate::store::sqlite::Sqlite;
use crate::store::{JobFigures, QueueFigures};

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// Figures of which everything has a value.
fn all() -> Figures {
    let destination = |place: &str, counters| DestinationFigures {
        job: "media".parse().unwrap(),
        place: place.to_owned(),
        counters,
        lost: 2,
        in_step: s3sync_proto::model::Timestamp::from_micros(1_000_000),
        ranges: BTreeMap::from([(RangeState::Ready, 3)]),
        dirty: Some(4),
    };
    let counters = Counters {
        listed: 15,
        in_step: 5,
        copied: 4,
        failed: 3,
        vanished: 2,
        archived: 1,
        copied_bytes: 1_000,
        copied_server_side: 1,
        list_requests: 6,
        read_requests: 7,
        write_requests: 8,
        deleted: 9,
        not_deleted: 10,
        ..Counters::default()
    };
    Figures {
        destinations: vec![destination("usw2:b/to/", counters)],
        jobs: vec![JobFigures {
            job: "media".parse().unwrap(),
            active: BTreeMap::from([("running".to_owned(), 1)]),
            ended: BTreeMap::from([("succeeded".to_owned(), 2)]),
        }],
        queues: vec![QueueFigures {
            queue: "events".parse().unwrap(),
            received: true,
            state: QueueState { waiting: 5, in_flight: 6, ..QueueState::default() },
            messages: 7,
            events: [("taken", 1), ("ignored", 2), ("unmatched", 3), ("unreadable", 4)],
        }],
        sessions: 1,
        capacity: 4,
        credits: 3,
        database_bytes: 4_096,
        log_bytes: 0,
    }
}

fn text(figures: Option<Figures>) -> String {
    let metrics = Metrics::start(PROGRAM, None);
    let latest = Latest::default();
    observe(metrics.meter(), &latest);
    CommitMetrics::new(metrics.meter()).committed(Duration::from_millis(3), 2);
    *latest.lock().unwrap() = figures.map(|figures| (figures, 61_000_000));
    String::from_utf8(metrics.text()).unwrap()
}

#[test]
fn the_page_lists_what_the_server_exports_and_nothing_else() {
    let exported = shapes(&text(Some(all())));
    assert_eq!(exported, documented(PAGE, &["Every program", "The server"]));
}

#[test]
fn each_listed_key_is_in_one_result_and_a_lag_is_an_age() {
    let text = text(Some(all()));
    let samples = samples(&text);
    let of = |name: &str| samples.iter().filter(move |one| one.name == name).collect::<Vec<_>>();
    let objects = of("s3sync_objects_total");
    assert_eq!(objects.iter().map(|one| one.value).sum::<f64>(), 15.0, "{text}");
    assert!(objects.iter().all(|one| one.labels["job_name"] == "media"));
    let copies: f64 = of("s3sync_copies_total").iter().map(|one| one.value).sum();
    assert_eq!(copies, 4.0);
    assert_eq!(of("s3sync_lag_seconds")[0].value, 60.0);
    assert_eq!(of("s3sync_runs_ended_total").len(), ENDS.len());
}

#[test]
fn without_figures_nothing_old_is_told() {
    let text = text(None);
    assert!(!text.contains("s3sync_lag") && !text.contains("s3sync_objects"), "{text}");
    assert!(text.contains("s3sync_store_commit_duration_seconds_count 1"), "{text}");
}

#[tokio::test]
async fn pages_look_at_the_store_when_they_are_read() {
    let metrics = Arc::new(Metrics::start(PROGRAM, None));
    let folder = tempfile::tempdir().unwrap();
    let counted = CommitMetrics::new(metrics.meter());
    let store = Arc::new(Sqlite::open_counted(folder.path(), counted).await.unwrap());
    let pages = ServerPages::new(metrics, Arc::clone(&store) as Arc<dyn Store>, clock::system());
    pages.ready().await.unwrap();
    let text = String::from_utf8(pages.metrics().await).unwrap();
    assert!(text.contains("s3sync_sessions 0"), "{text}");
    assert!(text.contains("s3sync_store_commit_changes_count 1"), "{text}");
    let size = samples(&text)
        .into_iter()
        .find(|one| one.name == "s3sync_store_size_bytes" && one.labels["file"] == "database");
    let files = std::fs::metadata(folder.path().join("s3sync.db-wal")).unwrap().len();
    assert!(size.unwrap().value > 100_000.0 && files > 0, "{text}");
    store.close().await;
    assert_eq!(pages.ready().await.unwrap_err(), "the database cannot be written");
}
