//! Writers on both sides while real processes copy.

use std::path::Path;

use s3sync_tests::writers::{Writing, play};

use super::RUN_BOUND;

#[tokio::test(flavor = "multi_thread")]
async fn with_writers_on_both_sides_nothing_is_torn_and_a_quiet_run_ends_equal() {
    let folder = tempfile::Builder::new().prefix("s3sync test ").tempdir().unwrap();
    let writing = Writing { keys: 150, large: 2, runs: 3, seed: 7, bound: RUN_BOUND };
    let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let writes = play(writing, folder.path(), program).await;
    assert!(writes > 50, "{writes} writes while runs went on");
}
