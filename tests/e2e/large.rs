//! One large object: whoever dies while it is copied, its upload is gone on with, and at most the parts in flight are
//! sent again.

use s3sync_lab::{Fault, Faults, Object, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::objects;
use s3sync_tests::rounds::{assert_equal, assert_no_upload};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

use super::{RUN_BOUND, ended, start_run, world};

const PARTS: u64 = 20;
const PART: usize = 5 << 20;
const SIZE: usize = 20 * PART - 1;
/// Parts of one object that an agent has in flight.
const IN_FLIGHT: u64 = 8;

/// A world with one large object at the source, and slow parts at the destination, so that there is a middle.
async fn with_a_large_object() -> (World, super::Folder) {
    let (world, folder) = world(Times::short()).await;
    let body = objects::bytes(&mut fastrand::Rng::with_seed(7), SIZE);
    // Its parts are reproduced.
    let object = Object::new(body).in_parts(PART);
    world.side("usw2").seed_object(SOURCE, "srcfolder/giant", object);
    let slow = vec![Rule::of("UploadPart", Fault::DelayAnswer(300), When::Always)];
    world.side("cnn1").set_faults(Faults::new(1, slow));
    world.apply_job().await.unwrap();
    (world, folder)
}

async fn parts_arrived(world: &World, at_least: u64) {
    until("parts arrive", RUN_BOUND, || async {
        let parts = world.side("cnn1").counts().of("UploadPart");
        if parts >= at_least { Ok(()) } else { Err(parts) }
    })
    .await;
}

/// Waits for the end, and asserts how often parts were sent and uploads begun.
async fn ends_right(world: &World, run: &s3sync_proto::model::Run, deaths: u64) {
    let run = ended(world, run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    assert_equal(world);
    assert_no_upload(world);
    let counts = world.side("cnn1").counts();
    let sent = counts.of("UploadPart");
    assert!(sent <= PARTS + deaths * IN_FLIGHT, "{sent} parts were sent\n{}", world.logs());
    assert_eq!(counts.of("CreateMultipartUpload"), 1, "{}", world.logs());
    assert_eq!(counts.of("AbortMultipartUpload"), 0, "{}", world.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_server_die_and_another_agent_goes_on_with_the_upload() {
    let (mut world, _folder) = with_a_large_object().await;
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    parts_arrived(&world, 6).await;
    world.kill_server().await.unwrap();
    world.kill_agent("cn-1").await.unwrap();
    world.start_server().await.unwrap();
    world.start_china("cn-2").unwrap();
    // Again in the middle, and only the agent.
    parts_arrived(&world, 6 + IN_FLIGHT + 2).await;
    world.kill_agent("cn-2").await.unwrap();
    world.start_china("cn-3").unwrap();
    ends_right(&world, &run, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_stopped_in_order_leaves_its_upload_to_the_next() {
    let (mut world, _folder) = with_a_large_object().await;
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    parts_arrived(&world, 3).await;
    let parts = vec![Rule::of("UploadPart", Fault::Delay(60_000), When::Always)];
    world.side("cnn1").set_faults(Faults::new(1, parts));
    // Longer than it is patient with what is in flight.
    world.stop_agent("cn-1").await.unwrap();
    world.side("cnn1").set_faults(Faults::default());
    world.start_china("cn-2").unwrap();
    ends_right(&world, &run, 1).await;
}

/// One more than one request may copy (API reference, CopyObject).
const GIANT: u64 = (5 << 30) + 1;
/// Parts of it inside S3.
const COPIES: u64 = 11;

/// A job to the destination on the source's side alone, which sinks what it gets.
async fn with_a_giant(size: u64) -> (World, super::Folder) {
    let (world, folder) = world(Times::short()).await;
    let west = world.side("usw2");
    west.seed_object(SOURCE, "srcfolder/giant", Object::giant(size, 5));
    west.sink(WEST_DESTINATION, "destfolder/");
    let file = world.job_file();
    let lines = file.lines().filter(|line| !line.contains(CHINA_DESTINATION));
    let file = lines.map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(world.folder().join("job.yaml"), file).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    (world, folder)
}

fn assert_sunk(world: &World) {
    let west = world.side("usw2");
    let source = west.object(SOURCE, "srcfolder/giant").unwrap();
    let copy = west.object(WEST_DESTINATION, "destfolder/giant").unwrap();
    assert_eq!((copy.size(), copy.checksum()), (source.size(), source.checksum()));
    assert_no_upload(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn above_5_gib_s3_copies_in_parts_and_another_agent_goes_on() {
    let (mut world, _folder) = with_a_giant(GIANT).await;
    let west = world.side("usw2");
    let slow = vec![Rule::of("UploadPartCopy", Fault::DelayAnswer(1_500), When::Always)];
    west.set_faults(Faults::new(1, slow));
    world.start_west("us-1").unwrap();
    let run = start_run(&world).await;
    let copies = || west.counts().of("UploadPartCopy");
    until("parts are copied", RUN_BOUND, || async {
        if copies() > IN_FLIGHT { Ok(()) } else { Err(copies()) }
    })
    .await;
    world.kill_agent("us-1").await.unwrap();
    world.start_west("us-2").unwrap();
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    assert_sunk(&world);
    assert!(copies() <= COPIES + IN_FLIGHT, "{} copies", copies());
    let counts = west.counts();
    assert_eq!((counts.of("CreateMultipartUpload"), counts.of("GetObject")), (1, 0));
    let totals = run.totals();
    assert_eq!((totals.copied_server_side, totals.copied_bytes), (1, GIANT));
    let again = start_run(&world).await;
    let again = ended(&world, &again).await.totals();
    assert_eq!((again.in_step, again.write_requests), (1, 0), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_5_gib_s3_copies_in_one_request() {
    let (mut world, _folder) = with_a_giant(GIANT - 1).await;
    world.start_west("us-1").unwrap();
    let run = start_run(&world).await;
    assert_eq!(ended(&world, &run).await.state, RunState::Succeeded, "{}", world.logs());
    assert_sunk(&world);
    let counts = world.side("usw2").counts();
    assert_eq!((counts.of("CreateMultipartUpload"), counts.of("GetObject")), (0, 0));
}
