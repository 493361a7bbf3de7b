//! The whole system with real processes: server and agents are killed, the lab misbehaves, and it still ends right.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod basics;
mod between;
mod commands;
mod copies;
mod ctl;
mod deletes;
mod deploy;
mod doors;
mod event_deletes;
mod events;
mod explain;
mod fair;
mod import;
mod kill;
mod large;
mod limits;
mod metrics;
mod ministack;
mod ministack_setup;
mod plan;
mod poison;
mod receivers;
mod report;
mod secrets;
mod traces;
mod watch;
mod writers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use s3sync_lab::EndpointConfig;
use s3sync_proto::model::{Name, Run};
use s3sync_tests::world::{Times, World};
use tempfile::TempDir;

/// A run of a few thousand objects ends within this, also on a machine that is busy with other tests.
const RUN_BOUND: Duration = Duration::from_secs(240);

/// Where a world is. The world holds it too: it is searched when the world ends, whichever a test lets go of first.
type Folder = Arc<TempDir>;

/// A world in a fresh folder, which is removed with it. The folder's name has a blank, as people's have.
async fn world(times: Times) -> (World, Folder) {
    world_with(times, Vec::new()).await
}

/// As [`world`], with these variables in the environment of every program.
async fn world_with(times: Times, environment: Vec<(String, String)>) -> (World, Folder) {
    world_of(times, environment, s3sync_tests::world::sides()).await
}

/// As [`world`], over other sides.
async fn world_over(times: Times, sides: Vec<EndpointConfig>) -> (World, Folder) {
    world_of(times, Vec::new(), sides).await
}

async fn world_of(
    times: Times,
    environment: Vec<(String, String)>,
    sides: Vec<EndpointConfig>,
) -> (World, Folder) {
    let folder = Arc::new(tempfile::Builder::new().prefix("s3sync test ").tempdir().unwrap());
    let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let mut world = World::over(folder.path(), program, times, sides).await.unwrap();
    world.keep(Arc::clone(&folder));
    world.set_environment(environment);
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
    s3sync_tests::rounds::ended(world, run, RUN_BOUND).await
}
