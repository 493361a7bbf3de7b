//! Events as an independent server makes and keeps them: ministack's buckets notify ministack's queue, two receive from it, and
//! server and agents are killed while somebody writes.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, Event, FilterRule,
    FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration,
    S3KeyFilter, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use s3sync_lab::EndpointConfig;
use s3sync_proto::model::{Name, QueueStatus, RunState};
use s3sync_tests::objects::ODD_KEYS;
use s3sync_tests::rounds::ended;
use s3sync_tests::servers::{self, Server};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

use super::{Folder, RUN_BOUND, world_over};

pub(super) const QUEUE: &str = "media-events";
/// A bucket with versions, whose removals leave markers.
const VERSIONED: &str = "archive";
/// Keys of each source that is mirrored. The guard lets half of them be deleted within an hour.
const MIRRORED: usize = 30;
/// Removals in each source that is mirrored.
const REMOVALS: usize = 12;

const ALL: &str = "\"list\", \"read\", \"write\", \"delete\"";

/// A bucket's contents, as they should be.
type Contents = BTreeMap<String, Bytes>;

/// ministack with buckets and a queue.
pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) queue_url: String,
    pub(super) queue_arn: String,
}

impl Stage {
    pub(super) async fn start() -> Self {
        let server = servers::ministack().await;
        let (key, secret) = (&server.key.0, &server.key.1);
        let s3 = servers::s3_client(&server.url, &server.region, key, secret);
        let sqs = servers::sqs_client(&server.url, &server.region, key, secret);
        for bucket in [SOURCE, WEST_DESTINATION, VERSIONED] {
            s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let made = sqs.create_queue().queue_name(QUEUE).send().await.unwrap();
        let queue_url = made.queue_url.unwrap();
        let asked = sqs.get_queue_attributes().queue_url(&queue_url);
        let told = asked.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap();
        let queue_arn = told.attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
        Self { server, s3, sqs, queue_url, queue_arn }
    }

    /// Sets up what docs/events.md says.
    async fn notify(&self) {
        let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": [
                format!("arn:aws:s3:::{SOURCE}"), format!("arn:aws:s3:::{VERSIONED}"),
            ]}},
        }]});
        let set = self.sqs.set_queue_attributes().queue_url(&self.queue_url);
        let set = set.attributes(QueueAttributeName::Policy, policy.to_string());
        set.send().await.unwrap();
        let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
        let put = self.s3.put_bucket_versioning().bucket(VERSIONED);
        put.versioning_configuration(versions.build()).send().await.unwrap();
        for (bucket, prefix) in [(SOURCE, "srcfolder/"), (VERSIONED, "")] {
            let rule = FilterRule::builder().name(FilterRuleName::Prefix).value(prefix).build();
            let filter = S3KeyFilter::builder().filter_rules(rule).build();
            let filter = NotificationConfigurationFilter::builder().key(filter).build();
            let told = QueueConfiguration::builder()
                .queue_arn(&self.queue_arn)
                .events(Event::from("s3:ObjectCreated:*"))
                .events(Event::from("s3:ObjectRemoved:*"))
                .filter(filter)
                .build()
                .unwrap();
            let told = NotificationConfiguration::builder().queue_configurations(told).build();
            let put = self.s3.put_bucket_notification_configuration().bucket(bucket);
            put.notification_configuration(told).send().await.unwrap();
        }
    }

    async fn put(&self, bucket: &str, key: &str, body: Bytes) {
        let put = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(body));
        put.send().await.unwrap();
    }

    async fn remove(&self, bucket: &str, key: &str) {
        self.s3.delete_object().bucket(bucket).key(key).send().await.unwrap();
    }

    async fn put_in_parts(&self, bucket: &str, key: &str, bodies: &[Bytes]) {
        let create = self.s3.create_multipart_upload().bucket(bucket).key(key).send();
        let id = create.await.unwrap().upload_id.unwrap();
        let mut all = CompletedMultipartUpload::builder();
        for (number, body) in (1..).zip(bodies) {
            let put = self.s3.upload_part().bucket(bucket).key(key).upload_id(&id);
            let put = put.part_number(number).body(ByteStream::from(body.clone()));
            let etag = put.send().await.unwrap().e_tag.unwrap();
            all = all.parts(CompletedPart::builder().part_number(number).e_tag(etag).build());
        }
        let complete = self.s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
        complete.multipart_upload(all.build()).send().await.unwrap();
    }

    /// Messages in the queue, those that are hidden with them.
    async fn messages(&self) -> u64 {
        let (waiting, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let asked = self.sqs.get_queue_attributes().queue_url(&self.queue_url);
        let told = asked.attribute_names(waiting.clone()).attribute_names(hidden.clone()).send();
        let told = told.await.unwrap().attributes.unwrap();
        [waiting, hidden].iter().map(|name| told[name].parse::<u64>().unwrap()).sum()
    }

    /// Waits until every message is deleted.
    async fn read(&self) {
        until("every message is deleted", RUN_BOUND, || async {
            let left = self.messages().await;
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
    }

    /// ETags below a prefix by the rest of their keys.
    async fn etags(&self, bucket: &str, prefix: &str) -> BTreeMap<String, String> {
        let list = self.s3.list_objects_v2().bucket(bucket).prefix(prefix);
        let page = list.encoding_type("url".into()).send().await.unwrap();
        assert_eq!(page.is_truncated(), Some(false));
        let objects = page.contents.unwrap_or_default().into_iter();
        let told = objects.map(|object| {
            let key = decoded(&object.key.unwrap());
            let etag = object.e_tag.unwrap().trim_matches('"').to_owned();
            (key.strip_prefix(prefix).unwrap().to_owned(), etag)
        });
        told.collect()
    }

    /// An endpoint's declaration.
    pub(super) fn declared(&self) -> String {
        let Server { url, region, .. } = &self.server;
        format!(
            "kind: Endpoint\nname: usw2\nregion: {region}\nurl: {url}\npath_style: true\n---\n\
             kind: Queue\nname: {QUEUE}\nurl: {}\nendpoint: usw2\nreceivers: 2\n---\n",
            self.queue_url
        )
    }

    /// Starts an agent; one of China has keys of both sides.
    pub(super) fn start_agent(&self, world: &mut World, name: &str) {
        let (key, secret) = &self.server.key;
        let mut text = format!(
            "server = \"{}\"\nname = \"{name}\"\n\n[endpoints.usw2]\naccess_key_id = \"{key}\"\n\
             secret_access_key = \"{secret}\"\nallow = [{{ verbs = [{ALL}] }}]\n",
            world.url()
        );
        if name.starts_with("cn") {
            let (key, secret) = CHINA;
            text.push_str(&format!(
                "\n[endpoints.cnn1]\naccess_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n\
                 allow = [{{ bucket = \"{CHINA_DESTINATION}\", verbs = [{ALL}] }}]\n"
            ));
        }
        world.start_agent_with(name, &text).unwrap();
    }
}

/// A key of a listing that was asked for as in a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).copied().collect();
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Somebody who writes at the sources, and knows what is there.
struct Writer {
    random: fastrand::Rng,
    version: usize,
    /// By bucket and key.
    there: BTreeMap<(&'static str, String), Bytes>,
    removed: BTreeMap<&'static str, usize>,
}

/// Which of the three parts of the sources a key belongs to.
#[derive(Clone, Copy)]
enum Part {
    /// Of the job that keeps what was deleted.
    Kept,
    /// Of two jobs, one of which mirrors.
    Mirrored,
    /// In the bucket with versions, mirrored.
    Versioned,
}

impl Part {
    const fn bucket(self) -> &'static str {
        match self {
            Self::Kept | Self::Mirrored => SOURCE,
            Self::Versioned => VERSIONED,
        }
    }

    fn keys(self) -> Vec<String> {
        let numbered =
            |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n:02}")).collect::<Vec<_>>();
        match self {
            Self::Kept => {
                let odd = ODD_KEYS.iter().map(|key| format!("srcfolder/{key}"));
                odd.chain(numbered("srcfolder/k/", 10)).collect()
            }
            Self::Mirrored => numbered("srcfolder/m/", MIRRORED),
            Self::Versioned => numbered("v ü/", MIRRORED),
        }
    }
}

impl Writer {
    fn body(&mut self) -> Bytes {
        self.version += 1;
        format!("version {} {}", self.version, "x".repeat(self.version * 37 % 3_000)).into()
    }

    async fn put(&mut self, stage: &Stage, bucket: &'static str, key: String) {
        let body = self.body();
        stage.put(bucket, &key, body.clone()).await;
        self.there.insert((bucket, key), body);
    }

    /// An object that is written in parts, and a copy of it: events of their own.
    async fn put_otherwise(&mut self, stage: &Stage) {
        let body = self.body();
        let (parts, copy) = ("srcfolder/in parts", "srcfolder/copy+");
        stage.put_in_parts(SOURCE, parts, &[body.clone(), body.clone()]).await;
        self.there.insert((SOURCE, parts.to_owned()), [&*body, &*body].concat().into());
        let other = "srcfolder/k/00";
        let copied = stage.s3.copy_object().bucket(SOURCE).key(copy);
        copied.copy_source(format!("{SOURCE}/{other}")).send().await.unwrap();
        let body = self.there[&(SOURCE, other.to_owned())].clone();
        self.there.insert((SOURCE, copy.to_owned()), body);
    }

    async fn remove(&mut self, stage: &Stage, bucket: &'static str, key: String) {
        stage.remove(bucket, &key).await;
        self.there.remove(&(bucket, key));
    }

    /// Writes all keys of a part.
    async fn fill(&mut self, stage: &Stage, part: Part) {
        for key in part.keys() {
            self.put(stage, part.bucket(), key).await;
        }
    }

    /// Writes, overwrites, deletes or creates again one key.
    async fn change(&mut self, stage: &Stage) {
        let part = match self.random.u32(..3) {
            0 => Part::Kept,
            1 => Part::Mirrored,
            _ => Part::Versioned,
        };
        let (bucket, keys) = (part.bucket(), part.keys());
        let key = keys[self.random.usize(..keys.len())].clone();
        let there = self.there.contains_key(&(bucket, key.clone()));
        let removed = self.removed.entry(bucket).or_default();
        let may = matches!(part, Part::Kept) || *removed < REMOVALS;
        if there && may && self.random.u32(..3) == 0 {
            *removed += usize::from(!matches!(part, Part::Kept));
            self.remove(stage, bucket, key).await;
        } else {
            self.put(stage, bucket, key).await;
        }
    }

    /// What is below a prefix, by the rest of the key.
    fn below(&self, bucket: &str, prefix: &str) -> Contents {
        let all = self.there.iter().filter(|((of, _), _)| *of == bucket);
        let below = all.filter_map(|((_, key), body)| {
            key.strip_prefix(prefix).map(|rest| (rest.to_owned(), body.clone()))
        });
        below.collect()
    }
}

fn md5(body: &Bytes) -> String {
    use md5::Digest as _;
    md5::Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What differs between what should be at each destination and what is.
async fn unequal(stage: &Stage, world: &World, writer: &Writer) -> Vec<String> {
    let media = writer.below(SOURCE, "srcfolder/");
    let places = [
        (media.clone(), "usw2", "destfolder/", false),
        (media, "cnn1", "destfolder/", false),
        (writer.below(SOURCE, "srcfolder/m/"), "cnn1", "mirror/", true),
        (writer.below(VERSIONED, ""), "usw2", "archive/", true),
        (writer.below(VERSIONED, ""), "cnn1", "archive/", true),
    ];
    let of_source = stage.etags(SOURCE, "srcfolder/").await.into_values();
    let in_parts: Vec<String> = of_source.filter(|etag| etag.contains('-')).collect();
    let mut found = Vec::new();
    for (wanted, side, prefix, mirrors) in places {
        let there = match side {
            "usw2" => stage.etags(WEST_DESTINATION, prefix).await,
            _ => china(world, prefix),
        };
        for (key, body) in &wanted {
            // One that was written in parts is copied in parts: then its ETag is none of its bytes alone.
            let same = |etag: &String| *etag == md5(body) || in_parts.contains(etag);
            if !there.get(key).is_some_and(same) {
                found.push(format!("{side} {prefix}{key} is {:?}", there.get(key)));
            }
        }
        let extra = there.keys().filter(|key| mirrors && !wanted.contains_key(*key));
        found.extend(extra.map(|key| format!("{side} {prefix}{key} is extra")));
    }
    found
}

/// Asserts that what ministack has of a job is what should be there, byte for byte.
async fn assert_bytes(stage: &Stage, wanted: &Contents, prefix: &str) {
    for (key, body) in wanted {
        let get = stage.s3.get_object().bucket(WEST_DESTINATION).key(format!("{prefix}{key}"));
        let found = get.send().await.unwrap().body.collect().await.unwrap().into_bytes();
        assert!(found == *body, "{prefix}{key} has other bytes");
    }
}

/// MD5s of what is in China.
fn china(world: &World, prefix: &str) -> BTreeMap<String, String> {
    let objects = world.side("cnn1").objects(CHINA_DESTINATION).into_iter();
    let below = objects.filter_map(|(key, object)| {
        let key = String::from_utf8(key.to_vec()).unwrap();
        Some((key.strip_prefix(prefix)?.to_owned(), md5(&object.body)))
    });
    below.collect()
}

async fn in_step(stage: &Stage, world: &World, writer: &Writer, what: &str) {
    until(what, RUN_BOUND, || async {
        let found = unequal(stage, world, writer).await;
        if found.is_empty() { Ok(()) } else { Err((found.len(), found)) }
    })
    .await;
}

/// Waits until no key waits, be it to be looked at or to be deleted.
async fn idle(world: &World, jobs: &[&str]) {
    until("no key waits", RUN_BOUND, || async {
        let mut keys = 0;
        for job in jobs {
            let job = world.client().unwrap().get_job(&job.parse().unwrap()).await.unwrap();
            let following = job.following.expect("it follows a queue");
            keys += following.destinations.iter().map(|one| one.keys + one.awaiting).sum::<u64>();
        }
        if keys == 0 { Ok(()) } else { Err(keys) }
    })
    .await;
}

pub(super) async fn status(world: &World) -> QueueStatus {
    let queue = world.client().unwrap().get_queue(&QUEUE.parse().unwrap()).await.unwrap();
    queue.status.expect("jobs name it")
}

/// Waits until somebody receives; says who.
async fn receiver(world: &World) -> String {
    let found: Name = until("somebody receives", RUN_BOUND, || async {
        let status = status(world).await;
        status.agents.first().cloned().ok_or(status)
    })
    .await;
    found.to_string()
}

/// A world with China's side in the lab, and the other at ministack.
pub(super) async fn stage() -> (World, Stage, Folder) {
    let china = EndpointConfig::new("cnn1", "cn-north-1").key(CHINA.0, CHINA.1);
    let (mut world, folder) =
        world_over(Times::short(), vec![china.bucket(CHINA_DESTINATION)]).await;
    let stage = Stage::start().await;
    world.keep_secret(&stage.server.key.1);
    (world, stage, folder)
}

/// Three jobs on one queue: one keeps what its source deletes, one mirrors a part of the same source, and one mirrors a bucket
/// with versions.
async fn declare(world: &World, stage: &Stage) {
    let china = world.side("cnn1").url();
    let mirror = "deletes: { policy: mirror, max_percent: 100 }";
    let text = format!(
        "{}kind: Endpoint\nname: cnn1\nregion: cn-north-1\nurl: {china}\npath_style: true\n---\n\
         kind: Job\nname: media\nsource: {{ endpoint: usw2, bucket: {SOURCE}, prefix: srcfolder/ }}\ndestinations:\n\
         \x20 - {{ endpoint: usw2, bucket: {WEST_DESTINATION}, prefix: destfolder/ }}\n\
         \x20 - {{ endpoint: cnn1, bucket: {CHINA_DESTINATION}, prefix: destfolder/ }}\n\
         events: {{ queue: {QUEUE} }}\n---\n\
         kind: Job\nname: mirror\nsource: {{ endpoint: usw2, bucket: {SOURCE}, prefix: srcfolder/m/ }}\ndestinations:\n\
         \x20 - {{ endpoint: cnn1, bucket: {CHINA_DESTINATION}, prefix: mirror/ }}\n\
         {mirror}\nevents: {{ queue: {QUEUE} }}\n---\n\
         kind: Job\nname: archive\nsource: {{ endpoint: usw2, bucket: {VERSIONED} }}\ndestinations:\n\
         \x20 - {{ endpoint: usw2, bucket: {WEST_DESTINATION}, prefix: archive/ }}\n\
         \x20 - {{ endpoint: cnn1, bucket: {CHINA_DESTINATION}, prefix: archive/ }}\n\
         {mirror}\nevents: {{ queue: {QUEUE} }}\n",
        stage.declared()
    );
    std::fs::write(world.folder().join("job.yaml"), text).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
}

const JOBS: [&str; 3] = ["media", "mirror", "archive"];

#[tokio::test(flavor = "multi_thread")]
async fn what_ministack_tells_is_never_lost_whoever_dies() {
    let (mut world, stage, _folder) = stage().await;
    stage.notify().await;
    declare(&world, &stage).await;
    let agents = ["us-1", "cn-1", "cn-2"];
    for name in agents {
        stage.start_agent(&mut world, name);
    }
    let random = fastrand::Rng::with_seed(11);
    let mut writer =
        Writer { random, version: 0, there: BTreeMap::new(), removed: BTreeMap::new() };
    for part in [Part::Kept, Part::Mirrored, Part::Versioned] {
        writer.fill(&stage, part).await;
    }
    writer.put_otherwise(&stage).await;
    // How many keys there are is known from a scan; without one no delete passes the guard.
    for job in ["mirror", "archive"] {
        let run = world.client().unwrap().run_job(&job.parse().unwrap(), None).await.unwrap();
        assert_eq!(ended(&world, &run, RUN_BOUND).await.state, RunState::Succeeded);
    }
    in_step(&stage, &world, &writer, "what was written is there").await;
    for step in 0..150 {
        writer.change(&stage).await;
        match step {
            30 | 90 => {
                let agent = receiver(&world).await;
                world.kill_agent(&agent).await.unwrap();
                stage.start_agent(&mut world, &agent);
            }
            60 => {
                world.kill_server().await.unwrap();
                writer.change(&stage).await;
                world.start_server().await.unwrap();
            }
            75 => drop(world.client().unwrap().run_job(&super::media(), None).await.unwrap()),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    // What is deleted and kept at a destination would be extra.
    writer.fill(&stage, Part::Kept).await;
    assert!(writer.removed.values().all(|&removed| removed > 3), "{:?}", writer.removed);
    in_step(&stage, &world, &writer, "all is in step after all").await;
    stage.read().await;
    idle(&world, &JOBS).await;
    assert_eq!(unequal(&stage, &world, &writer).await, [""; 0]);
    assert_bytes(&stage, &writer.below(SOURCE, "srcfolder/"), "destfolder/").await;
    assert_bytes(&stage, &writer.below(VERSIONED, ""), "archive/").await;
    assert_eq!(world.side("cnn1").open_uploads(CHINA_DESTINATION), []);
    let uploads = stage.s3.list_multipart_uploads().bucket(WEST_DESTINATION).send().await.unwrap();
    assert_eq!(uploads.uploads(), []);
    let status = status(&world).await;
    // Beside the two test events every message was understood, and concerned a job.
    assert_eq!((status.unreadable, status.unmatched, status.ignored), (0, 0, 0), "{status:?}");
    assert_eq!(status.messages, status.events + 2, "{status:?}");
    assert!(status.events >= 300, "{status:?}");
}
