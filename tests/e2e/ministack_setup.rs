//! What `queue check` prints is enough: a newcomer's queue, bucket and credential at ministack, which lets nobody do what no policy
//! says, are set up by nothing but the printed documents and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Mutex;

use aws_sdk_s3::types::{
    Event, FilterRule, NotificationConfiguration, NotificationConfigurationFilter,
    QueueConfiguration, S3KeyFilter,
};
use aws_sdk_sqs::types::QueueAttributeName;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, CHINA_DESTINATION, SOURCE, World};
use serde_json::Value;

use super::RUN_BOUND;
use super::ministack::{QUEUE, Stage, stage};

/// The agent's user.
const USER: &str = "agent";

/// Asks ministack's IAM, as its root.
fn iam(stage: &Stage, action: &str, fields: &[(&str, &str)]) -> String {
    let mut form = format!("Version=2010-05-08&Action={action}");
    for (name, value) in fields {
        form.push_str(&format!("&{name}="));
        for byte in value.bytes() {
            form.push_str(&format!("%{byte:02X}"));
        }
    }
    let host = stage.server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    // It does not check signatures of its root key.
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={}/20260101/{}/iam/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{form}",
        form.len(),
        stage.server.key.0,
        stage.server.region,
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
    answer
}

/// The text of an element of an answer.
fn element(answer: &str, name: &str) -> String {
    let rest = answer.split(&format!("<{name}>")).nth(1).unwrap();
    rest.split('<').next().unwrap().to_owned()
}

/// A command of the AWS CLI as it was printed: what it calls and its options.
struct Command {
    call: String,
    options: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Command {
    fn parse(line: &str, folder: PathBuf) -> Self {
        assert!(!line.contains('\''), "nothing here needs quotes: {line}");
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "aws", "{line}");
        let pairs = words[3..].chunks(2).map(|pair| {
            let name = pair[0].strip_prefix("--").unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), pair[1].to_owned())
        });
        Self { call: words[1..3].join(" "), options: pairs.collect(), folder }
    }

    fn text(&self, option: &str) -> &str {
        self.options.get(option).unwrap_or_else(|| panic!("{} has no --{option}", self.call))
    }

    /// What an option says itself, or the document that it names.
    fn document(&self, option: &str) -> String {
        let text = self.text(option);
        let Some(name) = text.strip_prefix("file://") else { return text.to_owned() };
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// Attributes of a queue: a document, or as `A=B`.
    fn attributes(&self) -> Vec<(QueueAttributeName, String)> {
        let text = self.document("attributes");
        if let Some((name, value)) = text.split_once('=').filter(|_| !text.starts_with('{')) {
            return vec![(name.into(), value.to_owned())];
        }
        let all: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        all.into_iter().map(|(name, value)| (name.as_str().into(), value)).collect()
    }

    /// Does what it says, by the API.
    async fn run(&self, stage: &Stage) {
        if !self.call.starts_with("iam ") {
            assert_eq!(self.text("endpoint-url"), stage.server.url);
            assert_eq!(self.text("region"), stage.server.region);
        }
        match self.call.as_str() {
            "sqs set-queue-attributes" => {
                let set = stage.sqs.set_queue_attributes().queue_url(self.text("queue-url"));
                let set = set.set_attributes(Some(self.attributes().into_iter().collect()));
                set.send().await.unwrap();
            }
            "sqs create-queue" => {
                let create = stage.sqs.create_queue().queue_name(self.text("queue-name"));
                let create = create.set_attributes(Some(self.attributes().into_iter().collect()));
                create.send().await.unwrap();
            }
            // Only looks, and a person would read it.
            "sqs get-queue-attributes" => {}
            "s3api put-bucket-notification-configuration" => {
                let told = self.document("notification-configuration");
                let put = stage.s3.put_bucket_notification_configuration();
                let put = put.bucket(self.text("bucket"));
                let told = configuration(&serde_json::from_str(&told).unwrap());
                put.notification_configuration(told).send().await.unwrap();
            }
            "iam put-user-policy" => {
                assert_eq!(self.text("user-name"), "USER_OF_THE_AGENT");
                let policy = self.document("policy-document");
                put_policy(stage, self.text("policy-name"), &policy);
            }
            call => panic!("{call} is not known here"),
        }
    }
}

/// Actions that ministack asks IAM for, and AWS has none of: who may do a thing may do it in a batch.
const ONLY_OF_MINISTACK: [(&str, &str); 2] = [
    ("\"sqs:DeleteMessage\"", "\"sqs:DeleteMessageBatch\""),
    ("\"sqs:ChangeMessageVisibility\"", "\"sqs:ChangeMessageVisibilityBatch\""),
];

fn put_policy(stage: &Stage, name: &str, policy: &str) {
    let mut policy = policy.to_owned();
    for (action, batch) in ONLY_OF_MINISTACK {
        policy = policy.replace(action, &format!("{action}, {batch}"));
    }
    let fields = [("UserName", USER), ("PolicyName", name), ("PolicyDocument", &policy)];
    iam(stage, "PutUserPolicy", &fields);
}

/// A bucket's notifications as the CLI's JSON has them.
fn configuration(told: &Value) -> NotificationConfiguration {
    let mut all = NotificationConfiguration::builder();
    for one in told["QueueConfigurations"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let rules = one["Filter"]["Key"]["FilterRules"].as_array().unwrap().iter().map(|rule| {
            let name = text(&rule["Name"]).as_str().into();
            FilterRule::builder().name(name).value(text(&rule["Value"])).build()
        });
        let filter = S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
        let events = one["Events"].as_array().unwrap().iter();
        let events = events.map(|event| Event::from(event.as_str().unwrap())).collect();
        let built = QueueConfiguration::builder()
            .id(text(&one["Id"]))
            .queue_arn(text(&one["QueueArn"]))
            .set_events(Some(events))
            .filter(NotificationConfigurationFilter::builder().key(filter).build());
        all = all.queue_configurations(built.build().unwrap());
    }
    all.build()
}

/// A check, with its exit code; the documents are in the folder.
async fn check(world: &World, folder: &str) -> (Option<i32>, Value) {
    let told =
        world.ctl(&["queue", "check", QUEUE, "-o", "json", "--folder", folder]).await.unwrap();
    (told.status.code(), serde_json::from_slice(&told.stdout).unwrap())
}

/// The state and detail of each thing that was looked at.
fn found(told: &Value) -> BTreeMap<String, (String, String)> {
    let places = told["places"].as_array().unwrap().iter();
    let checks = places.flat_map(|place| place["checks"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    checks.map(|one| (text(&one["name"]), (text(&one["state"]), text(&one["detail"])))).collect()
}

fn commands(told: &Value) -> Vec<String> {
    let steps = told["steps"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let commands = steps.flat_map(|step| step["commands"].as_array().unwrap());
    commands.map(|command| command.as_str().unwrap().to_owned()).collect()
}

/// Does what is printed until there is nothing left to do; returns what was done. What a receiver was refused is said until it
/// has tried again.
async fn follow(world: &World, stage: &Stage) -> BTreeSet<String> {
    let folder = world.folder().join("setup");
    let done = Mutex::new(BTreeSet::new());
    until("nothing is left to do", RUN_BOUND, || async {
        let told = check(world, "setup").await.1;
        let commands = commands(&told);
        for line in &commands {
            Command::parse(line, folder.clone()).run(stage).await;
        }
        done.lock().unwrap().extend(commands.clone());
        if commands.is_empty() { Ok(()) } else { Err((commands, found(&told))) }
    })
    .await;
    done.into_inner().unwrap()
}

/// Waits until a check finds everything in order.
async fn in_order(world: &World) {
    until("everything is in order", RUN_BOUND, || async {
        let (code, told) = check(world, "setup").await;
        let found = found(&told);
        let well = found.values().all(|(state, _)| state == "CHECK_STATE_OK");
        if well && code == Some(0) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Waits until a write at the source is in China.
async fn follows(world: &World, stage: &Stage, body: &str) {
    let put = stage.s3.put_object().bucket(SOURCE).key("srcfolder/a b+c");
    put.body(body.to_owned().into_bytes().into()).send().await.unwrap();
    until("a write follows", RUN_BOUND, || {
        let there = world.side("cnn1").object(CHINA_DESTINATION, "destfolder/a b+c");
        let there = there.map(|object| object.body.clone());
        let same = there.as_deref() == Some(body.as_bytes());
        std::future::ready(if same { Ok(()) } else { Err(there) })
    })
    .await;
}

/// A user that may do nothing, and an agent with its key. Nobody is let send, and the bucket tells nobody.
async fn newcomer(world: &mut World, stage: &Stage) {
    iam(stage, "CreateUser", &[("UserName", USER)]);
    let made = iam(stage, "CreateAccessKey", &[("UserName", USER)]);
    let (key, secret) = (element(&made, "AccessKeyId"), element(&made, "SecretAccessKey"));
    let text = format!(
        "{}kind: Endpoint\nname: cnn1\nregion: cn-north-1\nurl: {}\npath_style: true\n---\n\
         kind: Job\nname: media\nsource: {{ endpoint: usw2, bucket: {SOURCE}, prefix: srcfolder/ }}\n\
         destinations: [ {{ endpoint: cnn1, bucket: {CHINA_DESTINATION}, prefix: destfolder/ }} ]\n\
         events: {{ queue: {QUEUE} }}\n",
        stage.declared(),
        world.side("cnn1").url()
    );
    std::fs::write(world.folder().join("job.yaml"), text).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    let keys = [("usw2", (&*key, &*secret)), ("cnn1", CHINA)];
    world.start_agent("cn-1", "cn-north-1", &keys, "").unwrap();
}

/// Somebody else's notification takes the place of ours.
async fn replace_notifications(stage: &Stage) -> String {
    let other = stage.sqs.create_queue().queue_name("other").send().await.unwrap();
    let arn = stage.queue_arn.replace(QUEUE, "other");
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
    }]});
    let set = stage.sqs.set_queue_attributes().queue_url(other.queue_url().unwrap());
    let set = set.attributes(QueueAttributeName::Policy, policy.to_string());
    set.send().await.unwrap();
    let theirs = serde_json::json!({"QueueConfigurations": [{
        "Id": "theirs", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "elsewhere/"}]}},
    }]});
    let put = stage.s3.put_bucket_notification_configuration().bucket(SOURCE);
    put.notification_configuration(configuration(&theirs)).send().await.unwrap();
    arn
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_prints_sets_up_ministack() {
    let (mut world, stage, _folder) = stage().await;
    newcomer(&mut world, &stage).await;
    let (code, first) = until("the agent was refused", RUN_BOUND, || async {
        let (code, told) = check(&world, "setup").await;
        let found = found(&told);
        let refused = found["receiving"].1.contains("AccessDenied");
        if refused { Ok((code, found)) } else { Err(found) }
    })
    .await;
    assert_eq!(code, Some(5), "{first:?}");
    for name in ["reachable", "deleting", "hiding", "receiving", "configuration"] {
        let (state, detail) = &first[name];
        assert_eq!(state, "CHECK_STATE_FAILED", "{name}: {detail}");
        assert!(detail.contains("AccessDenied"), "{name}: {detail}");
    }
    let done = follow(&world, &stage).await;
    for call in ["iam put-user", "sqs set-queue", "s3api put-bucket", "sqs create-queue"] {
        assert!(done.iter().any(|line| line.contains(call)), "{call}: {done:#?}");
    }
    in_order(&world).await;
    follows(&world, &stage, "first").await;
    // A permission goes: it is found, and given back as printed.
    let only = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*",
        "Action": ["sqs:ReceiveMessage", "sqs:GetQueueAttributes", "s3:GetBucketNotification", "s3:GetObject"]}]}"#;
    put_policy(&stage, &format!("s3sync-{QUEUE}"), only);
    let (code, told) = check(&world, "setup").await;
    let lacking: Vec<_> = found(&told)
        .into_iter()
        .filter(|(_, (state, _))| state == "CHECK_STATE_FAILED")
        .map(|(name, (_, detail))| (name, detail.split(':').next().unwrap().to_owned()))
        .collect();
    let denied = |name: &str| (name.to_owned(), "AccessDenied".to_owned());
    assert_eq!((code, lacking), (Some(5), vec![denied("deleting"), denied("hiding")]));
    assert_eq!(commands(&told).len(), 1, "{told}");
    follow(&world, &stage).await;
    in_order(&world).await;
    // What is printed has both: what somebody else put there, and ours.
    let theirs = replace_notifications(&stage).await;
    assert_eq!(check(&world, "setup").await.0, Some(5));
    assert_eq!(follow(&world, &stage).await.len(), 1);
    let asked = stage.s3.get_bucket_notification_configuration().bucket(SOURCE);
    let told = asked.send().await.unwrap();
    let arns: Vec<_> =
        told.queue_configurations().iter().map(QueueConfiguration::queue_arn).collect();
    assert!(arns.contains(&&*theirs) && arns.contains(&&*stage.queue_arn), "{arns:?}");
    in_order(&world).await;
    follows(&world, &stage, "second").await;
}
