//! Changes of the source are at the destinations without a scan.

use s3sync_lab::{Object, QueueConfig};
use s3sync_proto::model::{RunState, Trigger};
use s3sync_tests::rounds::unequal;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, World};

use super::{RUN_BOUND, media, world};

const QUEUE: &str = "media-events";

/// Waits until both destinations are as the source.
async fn in_step(world: &World, what: &str) {
    until(what, RUN_BOUND, || {
        let all = unequal(world);
        std::future::ready(if all.is_empty() { Ok(()) } else { Err(all) })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_and_an_overwrite_follow_by_themselves() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    world.apply_job_with_events(QUEUE, "").await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let west = world.side("usw2");
    west.change(SOURCE, "srcfolder/a b+c", Some(Object::new("first")));
    in_step(&world, "what is written is copied").await;
    west.change(SOURCE, "srcfolder/a b+c", Some(Object::new("second, and longer")));
    west.change(SOURCE, "elsewhere", Some(Object::new("not of the job")));
    in_step(&world, "what is overwritten is copied again").await;
    west.change(SOURCE, "srcfolder/a b+c", None);
    until("every message is deleted", RUN_BOUND, || {
        let left = queues.messages(QUEUE).len();
        std::future::ready(if left == 0 { Ok(()) } else { Err(left) })
    })
    .await;
    // Nothing is deleted unasked.
    assert!(world.side("cnn1").object(CHINA_DESTINATION, "destfolder/a b+c").is_some());
    assert_eq!(west.counts().of("ListObjectsV2"), 0, "nothing was scanned");
    let run = world.client().unwrap().get_run(&media(), None).await.unwrap();
    assert_eq!((run.trigger, run.state), (Trigger::Events, RunState::Running), "{run:?}");
}
