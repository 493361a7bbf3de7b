//! Deletes by events with real processes: a removal in the source is one at the destinations, a flood waits for a person, and
//! whoever dies when, in the end both sides are the same.

use std::time::Duration;

use s3sync_lab::{Object, QueueConfig, Queues};
use s3sync_proto::model::{Following, Name, Run, RunState, Trigger};
use s3sync_tests::objects::differences;
use s3sync_tests::rounds::{assert_no_upload, misbehave, unequal};
use s3sync_tests::wait::until;
use s3sync_tests::world::{
    CHINA, CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, WEST_READ, World,
};

use super::events::{QUEUE, Storm, in_step, read};
use super::{RUN_BOUND, ended, media, start_run, world};

const READ: &str = "\"list\", \"read\"";
const ALL: &str = "\"list\", \"read\", \"write\", \"delete\"";

/// Starts an agent with keys of both sides, which may delete below the destinations' prefixes and nowhere else.
fn start_agent(world: &mut World, name: &str) {
    let text = agent_of(name, &world.url());
    world.start_agent_with(name, &text).unwrap();
}

/// Configuration of such an agent.
pub(super) fn agent_of(name: &str, server: &str) -> String {
    format!(
        "server = \"{server}\"\nname = \"{name}\"\nlabels = {{ region = \"cn-north-1\" }}\n
[endpoints.usw2]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\nallow = [
  {{ bucket = \"{SOURCE}\", prefix = \"srcfolder/\", verbs = [{READ}] }},
  {{ bucket = \"{WEST_DESTINATION}\", prefix = \"destfolder/\", verbs = [{ALL}] }},
]\n
[endpoints.cnn1]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\nallow = [
  {{ bucket = \"{CHINA_DESTINATION}\", prefix = \"destfolder/\", verbs = [{ALL}] }},
  {{ bucket = \"{CHINA_DESTINATION}\", prefix = \"second/\", verbs = [{ALL}] }},
]\n",
        WEST_READ.0, WEST_READ.1, CHINA.0, CHINA.1
    )
}

/// A mirror in step of so many objects, which follows the queue.
async fn mirror(objects: usize, deletes: &str) -> (World, super::Folder, std::sync::Arc<Queues>) {
    let (mut world, folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    for number in 0..objects {
        world.side("usw2").seed(SOURCE, format!("srcfolder/{number:03}"), format!("{number}"));
    }
    let deletes = format!("deletes: {{ policy: mirror, {deletes} }}\n");
    world.apply_job_with_events(QUEUE, &deletes).await.unwrap();
    start_agent(&mut world, "one");
    let run = start_run(&world).await;
    assert_eq!(ended(&world, &run).await.state, RunState::Succeeded);
    (world, folder, queues)
}

async fn following(world: &World, job: &Name) -> Following {
    let job = world.client().unwrap().get_job(job).await.unwrap();
    job.following.expect("it follows a queue")
}

/// The run of events that takes new ones.
async fn events_run(world: &World, job: &Name) -> Run {
    let run = following(world, job).await.run.expect("something happened");
    let run = world.client().unwrap().get_run(job, Some(run.number)).await.unwrap();
    assert_eq!(run.trigger, Trigger::Events);
    run
}

async fn idle(world: &World) {
    until("no key waits", RUN_BOUND, || async {
        let following = following(world, &media()).await;
        let keys: u64 = following.destinations.iter().map(|one| one.keys + one.awaiting).sum();
        if keys == 0 { Ok(()) } else { Err(keys) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_follows_and_costs_as_many_requests_as_it_should() {
    let (world, _folder, _queues) = mirror(100, "max_percent: 10").await;
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    // With the first delete the buckets are learned.
    west.change(SOURCE, "srcfolder/000", None);
    in_step(&world, "the first is deleted").await;
    idle(&world).await;
    for side in [&west, &china] {
        side.reset_counts();
    }
    west.change(SOURCE, "srcfolder/001", None);
    in_step(&world, "it is deleted").await;
    idle(&world).await;
    let counts = china.counts();
    let deletes = counts.of("DeleteObject") + counts.of("DeleteObjects");
    // A look, a look right before the delete, and the delete.
    assert_eq!((counts.of("HeadObject"), deletes, counts.total()), (2, 1, 3), "{counts:?}");
    let counts = west.counts();
    let deletes = counts.of("DeleteObject") + counts.of("DeleteObjects");
    // Of both destinations: a look, the proof before the delete and the one after it.
    assert_eq!((counts.of("GetObject"), counts.of("HeadObject"), deletes), (6, 2, 1), "{counts:?}");
    assert_eq!(counts.total(), 9, "{counts:?}");
    assert_eq!(events_run(&world, &media()).await.totals().deleted, 4);
    // What is there again at once stays, and what is there again later is copied.
    west.change(SOURCE, "srcfolder/002", None);
    west.change(SOURCE, "srcfolder/002", Some(Object::new("again")));
    in_step(&world, "it is as the source").await;
    // Nothing is told of what is not the job's.
    china.seed(CHINA_DESTINATION, "elsewhere", "stays");
    west.change(SOURCE, "elsewhere", None);
    idle(&world).await;
    assert!(china.object(CHINA_DESTINATION, "elsewhere").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_waits_for_a_person_while_copies_go_on() {
    let (mut world, _folder, _queues) = mirror(60, "max_per_hour: 4, max_percent: 100").await;
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    for number in 0..60 {
        west.change(SOURCE, format!("srcfolder/{number:03}"), None);
    }
    until("the others wait", RUN_BOUND, || async {
        let destinations = following(&world, &media()).await.destinations;
        let waiting: Vec<u64> = destinations.iter().map(|one| one.awaiting).collect();
        let busy: u64 = destinations.iter().map(|one| one.keys).sum();
        if waiting == [56, 56] && busy == 0 { Ok(()) } else { Err((waiting, busy)) }
    })
    .await;
    // Killed and started again, nobody deletes more.
    world.kill_server().await.unwrap();
    world.kill_agent("one").await.unwrap();
    world.start_server().await.unwrap();
    start_agent(&mut world, "two");
    west.change(SOURCE, "srcfolder/new", Some(Object::new("copied meanwhile")));
    until("what is written is copied", RUN_BOUND, || {
        let copied = china.object(CHINA_DESTINATION, "destfolder/new").is_some();
        std::future::ready(if copied { Ok(()) } else { Err(()) })
    })
    .await;
    assert_eq!(china.objects(CHINA_DESTINATION).len(), 57);
    let run = events_run(&world, &media()).await;
    let name = format!("media/{}", run.name.number);
    let shown = world.ctl_ok(&["run", "get", &name]).await.unwrap();
    let line = "56 of 60 keys in cnn1:destbucket-cnn1/destfolder/: more than max_per_hour allows, 4 of 60 keys";
    assert!(shown.contains(line), "{shown}");
    let job = world.ctl_ok(&["job", "get", "media"]).await.unwrap();
    assert!(
        job.contains(&format!("56 deletes wait for an approval: s3syncctl run approve {name}")),
        "{job}"
    );
    let other = world.ctl(&["run", "approve", &name, "--etag", "0", "--yes"]).await.unwrap();
    assert_eq!(other.status.code(), Some(4));
    world.ctl_ok(&["run", "approve", &name, "--yes"]).await.unwrap();
    in_step(&world, "what was approved is deleted").await;
    idle(&world).await;
    let nothing = world.ctl(&["run", "approve", &name, "--yes"]).await.unwrap();
    assert_eq!(nothing.status.code(), Some(5));
}

/// A person who approves whatever is asked.
async fn approve(world: &World, job: &Name) {
    let Some(run) = following(world, job).await.run else { return };
    let mut client = world.client().unwrap();
    let run = client.get_run(job, Some(run.number)).await.unwrap();
    if let Some(review) = run.deletes {
        // It may have changed since: then it is looked at again the next time.
        drop(client.approve_run(job, Some(run.name.number), &review.etag).await);
    }
}

/// A second job mirrors a part of the first one's source, by the same queue.
async fn begin_second(world: &World) -> Name {
    let second: Name = "second".parse().unwrap();
    let text = format!(
        "kind: Job\nname: second\nsource: {{ endpoint: usw2, bucket: {SOURCE}, prefix: srcfolder/00 }}\n\
         destinations: [ {{ endpoint: cnn1, bucket: {CHINA_DESTINATION}, prefix: second/ }} ]\n\
         deletes: {{ policy: mirror, max_percent: 100 }}\nevents: {{ queue: {QUEUE} }}\n"
    );
    std::fs::write(world.folder().join("second.yaml"), text).unwrap();
    world.ctl_ok(&["apply", "-f", "second.yaml"]).await.unwrap();
    world.ctl_ok(&["job", "run", "second", "--wait", "--quiet"]).await.unwrap();
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_the_same_in_the_end_deletes_included_whoever_dies_when() {
    let (mut world, _folder, queues) = mirror(60, "max_per_hour: 100000, max_percent: 100").await;
    let second = begin_second(&world).await;
    for name in ["two", "three"] {
        start_agent(&mut world, name);
    }
    misbehave(&world, 9);
    let west = world.side("usw2");
    let mut storm = Storm::new(9, 60, 2);
    for step in 0..400 {
        storm.change(&west, &queues, step);
        match step {
            80 | 300 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            200 => drop(world.client().unwrap().run_job(&media(), None).await.unwrap()),
            100 | 140 | 180 | 240 | 280 | 340 | 380 => {
                let agent = ["one", "two", "three"][storm.random.usize(..3)];
                world.kill_agent(agent).await.unwrap();
                start_agent(&mut world, agent);
            }
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    let of_second = || {
        let china = world.side("cnn1");
        differences((&west, SOURCE, "srcfolder/00"), (&china, CHINA_DESTINATION, "second/"))
    };
    until("both jobs are in step, deletes included", RUN_BOUND, || async {
        for job in [media(), second.clone()] {
            approve(&world, &job).await;
        }
        let mut left = unequal(&world);
        left.extend(of_second());
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    read(&queues).await;
    until("nothing waits", RUN_BOUND, || async {
        approve(&world, &media()).await;
        let following = following(&world, &media()).await;
        let keys: u64 = following.destinations.iter().map(|one| one.keys + one.awaiting).sum();
        if keys == 0 { Ok(()) } else { Err(keys) }
    })
    .await;
    assert!(unequal(&world).is_empty(), "and they stay so: {:?}", unequal(&world));
    assert_no_upload(&world);
}
