//! Everything is killed at random moments while the lab misbehaves.

use std::path::Path;
use std::time::Duration;

use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::objects;
use s3sync_tests::rounds::{Round, assert_equal, assert_no_upload, copied, play};
use s3sync_tests::wait::until;
use s3sync_tests::world::{SOURCE, Times};

use super::{RUN_BOUND, ended, start_run, world};

async fn round(seed: u64) {
    let folder = tempfile::Builder::new().prefix("s3sync test ").tempdir().unwrap();
    let round = Round { objects: 3_000, kills: 6, seed, bound: RUN_BOUND };
    play(round, folder.path(), Path::new(env!("CARGO_BIN_EXE_s3sync-demo"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_it_ends_right_first_round() {
    round(11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_it_ends_right_second_round() {
    round(22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_it_ends_right_third_round() {
    round(33).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_default_times_work_goes_on_elsewhere_within_80_seconds() {
    let (mut world, _folder) = world(Times::default_ones()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 400, 5);
    world.apply_job().await.unwrap();
    // Slow reads keep the first agent busy until it is killed.
    let slow = vec![Rule::of("GetObject", Fault::Delay(400), When::Always)];
    world.side("usw2").set_faults(Faults::new(1, slow));
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    until("the first agent works", RUN_BOUND, || async {
        match copied(&world) {
            0 => Err("nothing is copied"),
            _ => Ok(()),
        }
    })
    .await;
    world.kill_agent("cn-1").await.unwrap();
    world.side("usw2").set_faults(Faults::default());
    world.start_china("cn-2").unwrap();
    let killed = tokio::time::Instant::now();
    let run = ended(&world, &run).await;
    // The bound is the promise itself, not a guess: expiry after 60 s, and a turn of the loop.
    assert!(killed.elapsed() < Duration::from_secs(80), "{:?}", killed.elapsed());
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_equal(&world);
    assert_no_upload(&world);
}
