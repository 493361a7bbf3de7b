//! The kill tests, those with writers, those of giant objects and the rate of events, with big counts, started by hand:
//! `cargo test --release -p s3sync-tests --test soak -- --nocapture`. Figures go into docs/measurements.md.

mod events;
mod giants;

use std::path::Path;
use std::time::Duration;

use s3sync_tests::rounds::{Round, play};
use s3sync_tests::writers::{self, Writing};

/// Rounds, unless `S3SYNC_SOAK_ROUNDS` says otherwise.
const ROUNDS: u64 = 20;
/// Objects of a round, unless `S3SYNC_SOAK_OBJECTS` says otherwise.
const OBJECTS: usize = 20_000;
/// Kills of a round.
const KILLS: usize = 20;
/// A round ends within this.
const BOUND: Duration = Duration::from_secs(1_800);

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_for_long() {
    let rounds = from_environment("S3SYNC_SOAK_ROUNDS").unwrap_or(ROUNDS);
    let objects = from_environment("S3SYNC_SOAK_OBJECTS")
        .map_or(OBJECTS, |count| usize::try_from(count).unwrap());
    for seed in 1..=rounds {
        let begin = tokio::time::Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let round = Round { objects, kills: KILLS, seed: seed * 1_000, bound: BOUND };
        play(round, folder.path(), Path::new(env!("CARGO_BIN_EXE_s3sync-demo"))).await;
        println!(
            "round {seed} of {rounds}: {objects} objects, {KILLS} kills, right after {:?}",
            begin.elapsed()
        );
    }
}

/// Runs of a round with writers.
const WRITTEN_RUNS: usize = 20;
/// Keys that are written, and how many of these are large.
const WRITTEN_KEYS: (usize, usize) = (2_000, 10);

/// `S3SYNC_SOAK_ROUNDS` rounds, each with writers on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn written_at_random_for_long() {
    let rounds = from_environment("S3SYNC_SOAK_ROUNDS").unwrap_or(ROUNDS);
    for seed in 1..=rounds {
        let begin = tokio::time::Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let (usual, large) = WRITTEN_KEYS;
        let keys = from_environment("S3SYNC_SOAK_OBJECTS")
            .map_or(usual, |count| usize::try_from(count).unwrap());
        let writing = Writing { keys, large, runs: WRITTEN_RUNS, seed, bound: BOUND };
        let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
        let writes = writers::play(writing, folder.path(), program).await;
        println!("round {seed} of {rounds}: {writes} writes, right after {:?}", begin.elapsed());
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var_os(name)
        .map(|text| text.to_str().and_then(|text| text.parse().ok()).expect("a number"))
}
