//! Changes of the source are at the destinations without a scan.

use std::time::Duration;

use s3sync_lab::{Endpoint, Object, QueueConfig, Queues};
use s3sync_proto::model::{Following, RunState, Trigger};
use s3sync_tests::objects::ODD_KEYS;
use s3sync_tests::rounds::{assert_no_upload, misbehave, start, unequal};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, World};

use super::{RUN_BOUND, media, world};

pub(super) const QUEUE: &str = "media-events";

/// Waits until both destinations are as the source.
pub(super) async fn in_step(world: &World, what: &str) {
    until(what, RUN_BOUND, || {
        let all = unequal(world);
        std::future::ready(if all.is_empty() { Ok(()) } else { Err(all) })
    })
    .await;
}

/// Waits until nothing but rubbish is in the queue.
pub(super) async fn read(queues: &Queues) {
    until("every message is deleted", RUN_BOUND, || {
        let left = queues.messages(QUEUE).into_iter().map(|message| message.body);
        let left: Vec<_> = left.filter(|body| body.contains("Records")).collect();
        std::future::ready(if left.is_empty() { Ok(()) } else { Err(left.len()) })
    })
    .await;
}

async fn following(world: &World) -> Following {
    let job = world.client().unwrap().get_job(&media()).await.unwrap();
    job.following.expect("it follows a queue")
}

/// Waits until no key waits to be looked at.
async fn idle(world: &World) {
    until("no key waits", RUN_BOUND, || async {
        let keys: u64 = following(world).await.destinations.iter().map(|one| one.keys).sum();
        if keys == 0 { Ok(()) } else { Err(keys) }
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
    read(&queues).await;
    // Nothing is deleted unasked.
    assert!(world.side("cnn1").object(CHINA_DESTINATION, "destfolder/a b+c").is_some());
    assert_eq!(west.counts().of("ListObjectsV2"), 0, "nothing was scanned");
    let run = world.client().unwrap().get_run(&media(), None).await.unwrap();
    assert_eq!((run.trigger, run.state), (Trigger::Events, RunState::Running), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_costs_as_many_requests_as_it_should() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    world.apply_job_with_events(QUEUE, "").await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    // With the first copy the buckets are learned.
    west.change(SOURCE, "srcfolder/first", Some(Object::new("first")));
    in_step(&world, "the first is copied").await;
    idle(&world).await;
    read(&queues).await;
    for side in [&west, &china] {
        side.reset_counts();
    }
    queues.reset_counts();
    west.change(SOURCE, "srcfolder/k", Some(Object::new("new")));
    in_step(&world, "it is copied").await;
    idle(&world).await;
    read(&queues).await;
    let counts = china.counts();
    assert_eq!(counts.total(), 2, "one HEAD and one PUT: {counts:?}");
    assert_eq!((counts.of("HeadObject"), counts.of("PutObject")), (1, 1), "{counts:?}");
    let counts = west.counts();
    // Of both destinations; the one on the same side is copied inside S3.
    assert_eq!((counts.of("GetObject"), counts.of("HeadObject")), (2, 1), "{counts:?}");
    assert_eq!((counts.of("CopyObject"), counts.total()), (1, 4), "{counts:?}");
    assert_eq!(queues.counts().of("DeleteMessageBatch"), 1, "{:?}", queues.counts());
    // An event that tells nothing new.
    for side in [&west, &china] {
        side.reset_counts();
    }
    let before = following(&world).await.events;
    let body = format!(
        "{{\"Records\":[{{\"eventName\":\"ObjectCreated:Put\",\"s3\":{{\"bucket\":{{\"name\":\"{SOURCE}\"}},\
         \"object\":{{\"key\":\"srcfolder/k\"}}}}}}]}}"
    );
    queues.send(QUEUE, &body);
    read(&queues).await;
    until("the event was told of", RUN_BOUND, || async {
        let now = following(&world).await.events;
        if now > before { Ok(()) } else { Err(now) }
    })
    .await;
    idle(&world).await;
    let (china, west) = (china.counts(), west.counts());
    assert_eq!((china.of("HeadObject"), china.total()), (1, 1), "{china:?}");
    assert_eq!((west.of("HeadObject"), west.of("GetObject"), west.total()), (1, 2, 3), "{west:?}");
}

/// A body that differs from all others.
fn version(number: usize) -> Object {
    Object::new(format!("version {number} {}", "x".repeat(number * 37 % 5_000)))
}

/// Changes of the source, and of what is told of them.
pub(super) struct Storm {
    pub(super) random: fastrand::Rng,
    /// Plain ones and odd ones.
    keys: Vec<String>,
    /// One of so many changes is a removal.
    removal: u32,
    /// Messages that were sent, to be sent again.
    old: Vec<String>,
}

impl Storm {
    pub(super) fn new(seed: u64, plain: usize, removal: u32) -> Self {
        let mut keys: Vec<String> = (0..plain).map(|n| format!("srcfolder/{n:03}")).collect();
        keys.extend(ODD_KEYS.iter().map(|key| format!("srcfolder/{key}")));
        Self { random: fastrand::Rng::with_seed(seed), keys, removal, old: Vec::new() }
    }

    /// Changes one key. Messages come late, doubled, out of order; and three of ten are no events at all.
    pub(super) fn change(&mut self, west: &Endpoint, queues: &Queues, step: usize) {
        let Self { random, keys, removal, old } = self;
        let key = &keys[random.usize(..keys.len())];
        let object = (random.u32(..*removal) > 0).then(|| version(step));
        west.change(SOURCE, key, object);
        old.extend(queues.messages(QUEUE).into_iter().map(|message| message.body).take(2));
        match random.u32(..10) {
            0..2 if !old.is_empty() => queues.send(QUEUE, &old[random.usize(..old.len())].clone()),
            2..5 => queues.send(QUEUE, "rubbish"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_lost_whoever_dies_whatever_comes_in_which_order() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    // A second job follows a part of the first one's source, by the same queue.
    let second = format!(
        "---\nkind: Job\nname: second\nsource: {{ endpoint: usw2, bucket: {SOURCE}, prefix: srcfolder/00 }}\n\
         destinations: [ {{ endpoint: cnn1, bucket: {CHINA_DESTINATION}, prefix: second/ }} ]\n\
         events: {{ queue: {QUEUE} }}\n"
    );
    world.apply_job_with_events(QUEUE, &second).await.unwrap();
    let agents = ["us-1", "cn-1", "cn-2"];
    start(&mut world, &agents);
    misbehave(&world, 6);
    let west = world.side("usw2");
    let mut storm = Storm::new(6, 30, 4);
    for step in 0..400 {
        storm.change(&west, &queues, step);
        match step {
            80 | 300 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            200 => drop(world.client().unwrap().run_job(&media(), None).await.unwrap()),
            120 | 160 | 240 | 280 | 340 => {
                let agent = agents[storm.random.usize(..agents.len())];
                world.kill_agent(agent).await.unwrap();
                start(&mut world, &[agent]);
            }
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    // Everything is there in the end; what was deleted and stays at a destination would be extra.
    for (number, key) in storm.keys.iter().enumerate() {
        west.change(SOURCE, key, Some(version(10_000 + number)));
    }
    in_step(&world, "all is in step after all").await;
    read(&queues).await;
    idle(&world).await;
    assert_no_upload(&world);
    until("the second job is in step", RUN_BOUND, || {
        let china = world.side("cnn1");
        let behind: Vec<_> = west
            .objects(SOURCE)
            .into_iter()
            .filter_map(|(key, object)| {
                let rest = key.strip_prefix(b"srcfolder/00")?;
                let copy = china.object(CHINA_DESTINATION, [b"second/", rest].concat());
                copy.is_none_or(|copy| copy.body != object.body).then_some(key)
            })
            .collect();
        std::future::ready(if behind.is_empty() { Ok(()) } else { Err(behind) })
    })
    .await;
    let queue = world.client().unwrap().get_queue(&QUEUE.parse().unwrap()).await.unwrap();
    let status = queue.status.expect("it is read");
    assert!(!status.agents.is_empty() && status.unreadable > 0, "{status:?}");
    assert_eq!(status.last_unreadable[0].excerpt, "rubbish");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_queue_says_what_is_missing_and_changes_nothing() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    world.apply_job_with_events(QUEUE, "").await.unwrap();
    let check = ["queue", "check", QUEUE];
    let nobody = world.ctl(&check).await.unwrap();
    let text = String::from_utf8_lossy(&nobody.stdout).into_owned();
    assert_eq!(nobody.status.code(), Some(5), "{text}");
    assert!(text.contains("FAILED: no agent is connected"), "{text}");
    world.start_west("us-1").unwrap();
    // Somebody receives, and the policy is missing.
    let folder = world.folder().join("setup").display().to_string();
    let text = until("it is received from", RUN_BOUND, || async {
        let told = world.ctl(&["queue", "check", QUEUE, "--folder", &folder]).await.unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let received = text.contains("ok: us-1 receives from it");
        if received && told.status.code() == Some(5) { Ok(text) } else { Err(text) }
    })
    .await;
    for line in [
        "FAILED: the queue's policy does not let s3.amazonaws.com for srcbucket send",
        "ok: the queue hears of changes below srcfolder/",
        "ok: the agent's credential may",
        "--- queue-policy.json",
        "aws sqs set-queue-attributes --queue-url",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let counts = queues.counts();
    assert!(
        counts.of("GetQueueAttributes") > 0 && counts.of("DeleteMessageBatch") > 0,
        "{counts:?}"
    );
    let west = world.side("usw2");
    assert!(west.counts().of("GetBucketNotificationConfiguration") > 0);
    assert!(west.writes().is_empty(), "only looked");
    // With the policy that it wrote down nothing is missing.
    let attributes = std::fs::read_to_string(world.folder().join("setup/queue-attributes.json"));
    let attributes: serde_json::Value = serde_json::from_str(&attributes.unwrap()).unwrap();
    queues.set_policy(QUEUE, attributes["Policy"].as_str().unwrap());
    let text = world.ctl_ok(&["queue", "check", QUEUE, "-o", "json"]).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!text.contains("CHECK_STATE_FAILED"), "{text}");
    assert_eq!(told["places"][1]["about"], "bucket srcbucket");
    assert_eq!(told["places"][1]["agent"], "agents/us-1");
    // The agent's own rules are asked first; nobody else can look.
    world.stop_agent("us-1").await.unwrap();
    let (key, secret) = s3sync_tests::world::WEST;
    let narrow = format!(
        "server = \"{}\"\nname = \"narrow\"\n[endpoints.usw2]\naccess_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n\
         allow = [{{ bucket = \"other\", verbs = [\"list\", \"read\"] }}]\n",
        world.url()
    );
    world.start_agent_with("narrow", &narrow).unwrap();
    until("the narrow one looks", RUN_BOUND, || async {
        let told = world.ctl(&check).await.unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let refused = text.contains("narrow does not allow list in usw2:srcbucket/srcfolder/");
        if refused && told.status.code() == Some(5) { Ok(()) } else { Err(text) }
    })
    .await;
    let unknown = world.ctl(&["queue", "check", "other"]).await.unwrap();
    assert_eq!(unknown.status.code(), Some(3));
}
