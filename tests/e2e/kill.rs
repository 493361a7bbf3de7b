//! Everything is killed at random moments while the lab misbehaves.

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_lab::{Fault, Faults, Rule, When, Write};
use s3sync_proto::model::RunState;
use s3sync_tests::objects;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

use super::{RUN_BOUND, assert_equal, assert_no_upload, ended, media, start_run, world};

/// Objects of a round.
const OBJECTS: usize = 3_000;
/// Kills of a round.
const KILLS: usize = 6;

/// 1 % slow down, 0.2 % resets, 0.1 % cut bodies, 0.1 % wrong bytes.
fn misbehave(world: &World, seed: u64) {
    for (index, side) in ["usw2", "cnn1"].into_iter().enumerate() {
        let rules = vec![
            Rule::every(Fault::SlowDown, When::Rate(0.01)),
            Rule::every(Fault::ResetBefore, When::Rate(0.001)),
            Rule::every(Fault::ResetAfter, When::Rate(0.001)),
            Rule::every(Fault::CutBody, When::Rate(0.001)),
            Rule::of("GetObject", Fault::WrongByteDown, When::Rate(0.001)),
            Rule::of("PutObject", Fault::WrongByteUp, When::Rate(0.001)),
            Rule::of("UploadPart", Fault::WrongByteUp, When::Rate(0.001)),
        ];
        world.side(side).set_faults(Faults::new(seed + index as u64, rules));
    }
}

async fn round(seed: u64) {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", OBJECTS, seed);
    let total = world.side("usw2").objects(SOURCE).len() as u64;
    world.apply_job().await.unwrap();
    misbehave(&world, seed);
    let agents = ["us-1", "cn-1", "cn-2"];
    start(&mut world, &agents);
    let run = start_run(&world).await;
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..KILLS {
        // Kills are spread over the run by what it has done, not by a clock.
        let before = copied(&world).await;
        until("the run goes on", RUN_BOUND, || async {
            let now = copied(&world).await;
            if now > before || finished(&world).await { Ok(()) } else { Err(now) }
        })
        .await;
        match random.usize(..=agents.len()) {
            0 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            index => {
                let name = agents[index - 1];
                world.kill_agent(name).await.unwrap();
                start(&mut world, &[name]);
            }
        }
    }
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    assert_equal(&world);
    assert_no_upload(&world);
    for destination in &run.destinations {
        assert_eq!(destination.counters.listed, total, "{destination:?}");
        assert!(destination.counters.add_up(), "{destination:?}");
    }
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        assert_eq!(overlaps(&world.side(side).writes(), bucket), [""; 0], "{bucket}");
    }
}

fn start(world: &mut World, names: &[&str]) {
    for name in names {
        if name.starts_with("us") { world.start_west(name) } else { world.start_china(name) }
            .unwrap();
    }
}

/// Objects written to both destinations so far, whatever the server knows of it.
async fn copied(world: &World) -> usize {
    world.side("usw2").objects(WEST_DESTINATION).len()
        + world.side("cnn1").objects(CHINA_DESTINATION).len()
}

async fn finished(world: &World) -> bool {
    let run = world.client().unwrap().get_run(&media(), None).await;
    run.is_ok_and(|run| run.state.is_terminal())
}

/// Keys that two requests wrote at the same time.
fn overlaps(writes: &[Write], bucket: &str) -> Vec<String> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut effective: Vec<&Write> =
        writes.iter().filter(|write| write.effect && write.bucket == bucket).collect();
    effective.sort_by_key(|write| write.begin);
    let mut found = Vec::new();
    for write in effective {
        let end = last.entry(&write.key).or_default();
        if *end > write.begin {
            found.push(write.key.clone());
        }
        *end = write.end.max(*end);
    }
    found
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
        match copied(&world).await {
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
