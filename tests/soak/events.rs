//! How soon changes are in place at a steady rate, and how fast a backlog is worked off.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use s3sync_lab::{Object, QueueConfig, Queues};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, World};
use tokio::time::{Instant, interval, sleep};

use super::{BOUND, from_environment};

const QUEUE: &str = "media-events";
/// Changes a second, unless `S3SYNC_SOAK_RATE` says otherwise.
const RATE: u64 = 200;
/// Seconds, unless `S3SYNC_SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// Messages of a backlog, unless `S3SYNC_SOAK_OBJECTS` says otherwise.
const BACKLOG: u64 = 100_000;
/// How often it is looked whether something is in place.
const LOOK: Duration = Duration::from_millis(5);

/// A world whose job has the destination in China only.
async fn world(folder: &Path) -> (World, std::sync::Arc<Queues>) {
    let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let mut world = World::new(folder, program, Times::default_ones()).await.unwrap();
    world.start_server().await.unwrap();
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    world.apply_job_with_events(QUEUE, "").await.unwrap();
    let file = world.folder().join("job.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.contains("bucket: destbucket-usw2"));
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    world.start_china("cn-1").unwrap();
    world.side("usw2").change(SOURCE, "srcfolder/first", Some(Object::new("first")));
    in_place(&world, 1).await;
    (world, queues)
}

async fn in_place(world: &World, count: usize) {
    until("all is in place", BOUND, || {
        let there = world.side("cnn1").objects(CHINA_DESTINATION).len();
        std::future::ready(if there >= count { Ok(()) } else { Err(there) })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_rate_of_events() {
    let folder = tempfile::tempdir().unwrap();
    let (world, queues) = world(folder.path()).await;
    let rate = from_environment("S3SYNC_SOAK_RATE").unwrap_or(RATE);
    let total = rate * from_environment("S3SYNC_SOAK_SECONDS").unwrap_or(SECONDS);
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    for side in [&west, &china] {
        side.reset_counts();
    }
    queues.reset_counts();
    let mut pace = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let mut waiting: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut latencies = Vec::new();
    let mut next = 0;
    while next < total || !waiting.is_empty() {
        tokio::select! {
            _ = pace.tick(), if next < total => {
                west.change(SOURCE, format!("srcfolder/{next:08}"), Some(Object::new("x".repeat(4_096))));
                waiting.insert(next, Instant::now());
                next += 1;
            }
            () = sleep(LOOK) => waiting.retain(|number, since| {
                let there = china.object(CHINA_DESTINATION, format!("destfolder/{number:08}")).is_some();
                if there {
                    latencies.push(since.elapsed());
                }
                !there
            }),
        }
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "{total} events at {rate}/s: p50 {:?}, p90 {:?}, p99 {:?}, longest {:?}",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    println!("source {:?}", west.counts().by_operation());
    println!("destination {:?}", china.counts().by_operation());
    println!("queue {:?}", queues.counts().by_operation());
    assert!(at(50) <= Duration::from_secs(1) && at(99) <= Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_worked_off() {
    let folder = tempfile::tempdir().unwrap();
    let (mut world, queues) = world(folder.path()).await;
    world.stop_agent("cn-1").await.unwrap();
    let total = from_environment("S3SYNC_SOAK_OBJECTS").unwrap_or(BACKLOG);
    for number in 0..total {
        let key = format!("srcfolder/{number:08}");
        world.side("usw2").change(SOURCE, key, Some(Object::new("x".repeat(1_024))));
    }
    let data = world.folder().join("data");
    let size = || {
        let files = std::fs::read_dir(&data).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = size();
    for side in [world.side("usw2"), world.side("cnn1")] {
        side.reset_counts();
    }
    queues.reset_counts();
    world.start_china("cn-2").unwrap();
    let began = Instant::now();
    until("all is told of", BOUND, || {
        let left = queues.messages(QUEUE).len();
        std::future::ready(if left == 0 { Ok(()) } else { Err(left) })
    })
    .await;
    let told = began.elapsed();
    in_place(&world, usize::try_from(total).unwrap() + 1).await;
    println!(
        "{total} messages: told of within {told:?}, in place within {:?}; database from {before} to {} bytes",
        began.elapsed(),
        size()
    );
    println!("destination {:?}", world.side("cnn1").counts().by_operation());
    println!("queue {:?}", queues.counts().by_operation());
}
