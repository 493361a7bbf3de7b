//! One giant object, made and checked on the fly, with agent and server killed in the middle: it is gone on with, and at
//! most the parts in flight are sent again.

use std::path::Path;
use std::time::Duration;

use s3sync_lab::{Endpoint, Fault, Faults, Object, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::rounds::{assert_no_upload, ended};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

use super::{BOUND, from_environment};

/// Size, unless `S3SYNC_SOAK_GIB` says otherwise.
const GIB: u64 = 200;
/// Parts of one object that an agent has in flight.
const IN_FLIGHT: u64 = 8;
/// A copy of the usual size ends within this.
const LONG: Duration = BOUND.saturating_mul(8);

/// Bytes of a part of an object of this size whose source tells no parts: not above 1,000 parts, between 8 and 64 MiB.
fn part_size(size: u64) -> u64 {
    size.div_ceil(1_000).clamp(8 << 20, 64 << 20).next_multiple_of(1 << 20)
}

/// Plays it to one of the two destinations.
async fn play(side: &str, bucket: &str, operation: &str, part_size: u64) {
    let size = (from_environment("S3SYNC_SOAK_GIB").unwrap_or(GIB) << 30) + 1;
    let parts = size.div_ceil(part_size);
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let mut world = World::new(folder.path(), program, Times::short()).await.unwrap();
    world.start_server().await.unwrap();
    let (west, to) = (world.side("usw2"), world.side(side));
    west.seed_object(SOURCE, "srcfolder/giant", Object::giant(size, 5));
    to.sink(bucket, "destfolder/");
    let other = if side == "usw2" { CHINA_DESTINATION } else { WEST_DESTINATION };
    let file = world.job_file();
    let lines = file.lines().filter(|line| !line.contains(other));
    let file = lines.map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(world.folder().join("job.yaml"), file).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    if operation == "UploadPartCopy" {
        let slow = vec![Rule::of(operation, Fault::DelayAnswer(200), When::Always)];
        to.set_faults(Faults::new(1, slow));
    }
    let start = |world: &mut World, name: &str| match side {
        "usw2" => world.start_west(name).unwrap(),
        _ => world.start_china(name).unwrap(),
    };
    let begin = tokio::time::Instant::now();
    start(&mut world, "a-1");
    let run = world.client().unwrap().run_job(&"media".parse().unwrap(), None).await.unwrap();
    arrived(&to, operation, parts / 3).await;
    world.kill_server().await.unwrap();
    let peak = peak_mib(&world, "a-1");
    world.kill_agent("a-1").await.unwrap();
    world.start_server().await.unwrap();
    start(&mut world, "a-2");
    arrived(&to, operation, parts * 2 / 3).await;
    world.kill_agent("a-2").await.unwrap();
    start(&mut world, "a-3");
    let run = ended(&world, &run, LONG).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    let source = west.object(SOURCE, "srcfolder/giant").unwrap();
    let copy = to.object(bucket, "destfolder/giant").unwrap();
    assert_eq!((copy.size(), copy.checksum()), (source.size(), source.checksum()));
    assert_no_upload(&world);
    let sent = to.counts().of(operation);
    let took = begin.elapsed();
    println!(
        "{size} bytes, {parts} parts, {sent} {operation}, peak {peak} MiB, right after {took:?}"
    );
    assert!(sent <= parts + 2 * IN_FLIGHT, "{sent} of {parts} parts were sent");
    assert_eq!(to.counts().of("CreateMultipartUpload"), 1);
}

async fn arrived(to: &Endpoint, operation: &str, at_least: u64) {
    until("parts arrive", LONG, || async {
        let parts = to.counts().of(operation);
        if parts >= at_least { Ok(()) } else { Err(parts) }
    })
    .await;
}

/// The most memory an agent has held.
fn peak_mib(world: &World, agent: &str) -> u64 {
    let id = world.agent(agent).and_then(s3sync_tests::process::Process::id).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_is_sent_once_although_agent_and_server_are_killed() {
    let size = (from_environment("S3SYNC_SOAK_GIB").unwrap_or(GIB) << 30) + 1;
    play("cnn1", CHINA_DESTINATION, "UploadPart", part_size(size)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_is_copied_inside_s3_once_although_agent_and_server_are_killed() {
    play("usw2", WEST_DESTINATION, "UploadPartCopy", 512 << 20).await;
}
