//! Limits of a job hold over all agents together, and outlive one that dies.

use s3sync_proto::model::{Run, RunState};
use s3sync_tests::rounds::assert_equal;
use s3sync_tests::wait::until;
use s3sync_tests::world::{SOURCE, Times, World};

use super::{RUN_BOUND, ended, start_run, world};

/// What the lab has answered so far.
fn requests(world: &World) -> u64 {
    ["usw2", "cnn1"].map(|side| world.side(side).counts().total()).into_iter().sum()
}

fn seconds(run: &Run) -> f64 {
    run.ended.unwrap().since(run.started.unwrap()).as_secs_f64()
}

async fn limited(limits: &str) -> (World, super::Folder) {
    let (mut world, folder) = world(Times::short()).await;
    let limits = format!("limits: {{ {limits} }}\n");
    std::fs::write(world.folder().join("job.yaml"), format!("{}{limits}", world.job_file()))
        .unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    world.start_china("cn-1").unwrap();
    world.start_china("cn-2").unwrap();
    until("both agents are there", RUN_BOUND, || async {
        let agents = world.client().unwrap().list_agents(10, "").await.unwrap().items;
        if agents.len() == 2 { Ok(()) } else { Err(agents) }
    })
    .await;
    (world, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_two_agents_keep_to_one_limit_and_go_on_when_one_dies() {
    let (mut world, _folder) = limited("requests_per_second: 100").await;
    for n in 0..300 {
        world.side("usw2").seed(SOURCE, format!("srcfolder/{n:03}"), "x");
    }
    let get = world.ctl_ok(&["job", "get", "media"]).await.unwrap();
    assert!(get.contains("limits      100 requests a second"), "{get}");
    let before = requests(&world);
    let run = start_run(&world).await;
    until("some of it is done", RUN_BOUND, || {
        let done = requests(&world) - before;
        std::future::ready(if done > 300 { Ok(()) } else { Err(done) })
    })
    .await;
    world.kill_agent("cn-1").await.unwrap();
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    assert_equal(&world);
    let (made, took) = (requests(&world) - before, seconds(&run));
    println!("{made} requests in {took:.1} s");
    // What was saved up in the first tenth of a second is the only excess.
    let most = 100.0 * took * 1.1 + 20.0;
    assert!(made as f64 <= most, "{made} requests in {took:.1} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_takes_no_limit_along() {
    let (mut world, _folder) = limited("requests_per_second: 60").await;
    for n in 0..250 {
        world.side("usw2").seed(SOURCE, format!("srcfolder/{n:03}"), "x");
    }
    let before = requests(&world);
    let run = start_run(&world).await;
    for least in [150, 350] {
        until("some of it is done", RUN_BOUND, || {
            let done = requests(&world) - before;
            std::future::ready(if done > least { Ok(()) } else { Err(done) })
        })
        .await;
        world.kill_server().await.unwrap();
        world.start_server().await.unwrap();
    }
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    assert_equal(&world);
    let (made, took) = (requests(&world) - before, seconds(&run));
    println!("{made} requests in {took:.1} s");
    // Each time shares are dealt anew, as much as was saved up in a tenth of a second is in excess.
    let most = 60.0 * took * 1.1 + 3.0 * 12.0;
    assert!(made as f64 <= most, "{made} requests in {took:.1} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_keep_to_the_limit() {
    let (world, _folder) = limited("bandwidth: 1MiB/s").await;
    let size = 64 * 1024;
    for n in 0..100 {
        world.side("usw2").seed(SOURCE, format!("srcfolder/{n:03}"), vec![n; size]);
    }
    let run = start_run(&world).await;
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    let took = seconds(&run);
    let bytes = run.destinations[1].counters.copied_bytes as f64;
    println!("{bytes} bytes in {took:.1} s");
    // What is copied inside S3 does not count. One object each agent may begin at once.
    let most = 1024.0 * 1024.0 * took * 1.1 + 4.0 * size as f64;
    assert!(bytes <= most, "{bytes} bytes in {took:.1} s");
}
