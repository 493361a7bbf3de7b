//! The whole system with real processes: server and agents are killed, the lab misbehaves, and it still ends right.

mod basics;
mod ctl;
mod kill;
mod secrets;

use std::path::Path;
use std::time::Duration;

use s3sync_proto::model::{Name, Run};
use s3sync_tests::objects::differences;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};
use tempfile::TempDir;

/// A run of a few thousand objects ends within this, also on a machine that is busy with other tests.
const RUN_BOUND: Duration = Duration::from_secs(240);

/// A world in a fresh folder, which is removed with it. The folder's name has a blank, as people's have.
async fn world(times: Times) -> (World, TempDir) {
    let folder = tempfile::Builder::new().prefix("s3sync test ").tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let mut world = World::new(folder.path(), program, times).await.unwrap();
    world.start_server().await.unwrap();
    (world, folder)
}

fn media() -> Name {
    "media".parse().unwrap()
}

/// Starts a run of the job.
async fn start_run(world: &World) -> Run {
    world.client().unwrap().run_job(&media(), None).await.unwrap()
}

/// Waits for a run's end, through restarts of the server.
async fn ended(world: &World, run: &Run) -> Run {
    until("the run has ended", RUN_BOUND, || async {
        match world.client().unwrap().get_run(&run.name.job, Some(run.name.number)).await {
            Ok(run) if run.state.is_terminal() => Ok(run),
            Ok(run) => Err(format!("{run:?}")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// Asserts that both destinations equal the source, byte for byte.
fn assert_equal(world: &World) {
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    let source = (&*west, SOURCE, "srcfolder/");
    for destination in
        [(&*west, WEST_DESTINATION, "destfolder/"), (&*china, CHINA_DESTINATION, "destfolder/")]
    {
        let found = differences(source, destination);
        assert!(
            found.is_empty(),
            "{}: {} differences: {:?}",
            destination.1,
            found.len(),
            &found[..found.len().min(10)]
        );
    }
}

/// Asserts that no multipart upload is open.
fn assert_no_upload(world: &World) {
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        assert_eq!(world.side(side).open_uploads(bucket), [], "{bucket}");
    }
}
