//! Several agents receive from one queue: one dies in the midst of it, nothing is lost, and another takes its place.

use std::collections::BTreeSet;
use std::time::Duration;

use s3sync_lab::{Object, QueueConfig, Queues};
use s3sync_tests::objects::bytes;
use s3sync_tests::wait::until;
use s3sync_tests::world::{SOURCE, Times, WEST, WEST_READ, World};

use super::events::{QUEUE, in_step, read};
use super::{RUN_BOUND, media, world};

/// Declares the queue anew, with so many receivers.
async fn declare(world: &World, queues: &Queues, receivers: u32) {
    let url = queues.queue_url(QUEUE);
    let text =
        format!("kind: Queue\nname: {QUEUE}\nurl: {url}\nendpoint: usw2\nreceivers: {receivers}\n");
    std::fs::write(world.folder().join("queue.yaml"), text).unwrap();
    world.ctl_ok(&["apply", "-f", "queue.yaml"]).await.unwrap();
}

/// Waits until those who receive are as they should be; says who they are.
async fn receivers(world: &World, what: &str, right: impl Fn(&[String]) -> bool) -> Vec<String> {
    until(what, RUN_BOUND, || async {
        let queue = world.client().unwrap().get_queue(&QUEUE.parse().unwrap()).await.unwrap();
        let status = queue.status.expect("a job names it");
        let agents: Vec<_> = status.agents.iter().map(ToString::to_string).collect();
        if right(&agents) { Ok(agents) } else { Err(status) }
    })
    .await
}

/// Two, of different agents.
fn two(agents: &[String]) -> bool {
    agents.len() == 2 && agents[0] != agents[1]
}

fn change(world: &World, random: &mut fastrand::Rng, key: usize) {
    let size = random.usize(1..2_000);
    let object = Object::new(bytes(random, size));
    world.side("usw2").change(SOURCE, format!("srcfolder/{key:03}"), Some(object));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_receive_and_what_one_dies_with_is_not_lost() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    world.apply_job_with_events(QUEUE, "").await.unwrap();
    world.start_west("us-1").unwrap();
    receivers(&world, "one receives", |agents| agents == ["us-1"]).await;
    world.start_china("cn-1").unwrap();
    declare(&world, &queues, 2).await;
    receivers(&world, "two receive", two).await;
    until("both are shown", RUN_BOUND, || async {
        let shown = world.ctl_ok(&["queue", "get", QUEUE]).await.unwrap();
        let both = ["us-1, cn-1", "cn-1, us-1"].map(|names| format!("read by agents {names}\n"));
        if both.iter().any(|both| shown.contains(both)) { Ok(()) } else { Err(shown) }
    })
    .await;
    // A backlog is worked off by both, which have different keys.
    let mut random = fastrand::Rng::with_seed(5);
    queues.reset_counts();
    (0..300).for_each(|key| change(&world, &mut random, key));
    until("both receive", RUN_BOUND, || {
        (0..10).for_each(|key| change(&world, &mut random, key));
        let each = [WEST, WEST_READ].map(|(key, _)| queues.counts().by(key));
        let all = each.iter().all(|requests| *requests >= 10);
        std::future::ready(if all { Ok(()) } else { Err(each) })
    })
    .await;
    in_step(&world, "the backlog is worked off").await;
    // One dies while more comes, and so does the server.
    world.start_china("cn-2").unwrap();
    for step in 0..240 {
        let key = random.usize(..60);
        change(&world, &mut random, key);
        match step {
            80 => world.kill_agent("cn-1").await.unwrap(),
            160 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            _ => tokio::time::sleep(Duration::from_millis(3)).await,
        }
    }
    receivers(&world, "another takes its place", |agents| {
        two(agents) && !agents.contains(&"cn-1".to_owned())
    })
    .await;
    // What the dead one had in its hands is shown again; SQS does so by itself after half a minute.
    queues.show(QUEUE);
    read(&queues).await;
    in_step(&world, "nothing is lost").await;
    let job = world.client().unwrap().get_job(&media()).await.unwrap();
    assert_eq!(job.following.expect("it follows").gap, None, "nothing was missing meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_as_many_as_asked_for_and_spread_over_who_is_there() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    world.apply_job_with_events(QUEUE, "").await.unwrap();
    declare(&world, &queues, 3).await;
    world.start_china("cn-1").unwrap();
    receivers(&world, "the only one is all of them", |agents| agents == ["cn-1"; 3]).await;
    let mut random = fastrand::Rng::with_seed(6);
    (0..40).for_each(|key| change(&world, &mut random, key));
    world.start_china("cn-2").unwrap();
    receivers(&world, "another is one of them", |agents| {
        agents.iter().collect::<BTreeSet<_>>().len() == 2 && agents.len() == 3
    })
    .await;
    world.start_west("us-1").unwrap();
    receivers(&world, "each is one of them", |agents| {
        agents.iter().collect::<BTreeSet<_>>().len() == 3
    })
    .await;
    (20..60).for_each(|key| change(&world, &mut random, key));
    // Those that move and those that are too many give back what they have: nobody waits for it.
    declare(&world, &queues, 1).await;
    let left = receivers(&world, "one is left", |agents| agents.len() == 1).await;
    in_step(&world, "all is in step").await;
    read(&queues).await;
    world.stop_agent(&left[0]).await.unwrap();
    receivers(&world, "another goes on", |agents| agents.len() == 1 && *agents != left).await;
    change(&world, &mut random, 0);
    in_step(&world, "it follows").await;
    declare_wrong(&world, &queues).await;
}

/// A number that is too large is refused where it is written.
async fn declare_wrong(world: &World, queues: &Queues) {
    let url = queues.queue_url(QUEUE);
    let text = format!("kind: Queue\nname: {QUEUE}\nurl: {url}\nendpoint: usw2\nreceivers: 17\n");
    std::fs::write(world.folder().join("wrong.yaml"), text).unwrap();
    let refused = world.ctl(&["apply", "-f", "wrong.yaml"]).await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("wrong.yaml:5: receivers: \"17\" is not a number from 1 to 16"),
        "{said}"
    );
}
