//! What is said of queues as they are found, and what to add.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use s3sync_proto::model::{
    CompareMode, DeleteMode, FailureClass, Location, Notification, NotificationTarget,
    Notifications,
};
use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:sqs:us-west-2:123456789012:media-events";
const URL: &str = "https://sqs.us-west-2.amazonaws.com/123456789012/media-events";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn in_region(region: &str) -> EndpointSpec {
    EndpointSpec { region: region.to_owned(), ..EndpointSpec::default() }
}

fn job(prefix: &str) -> JobSpec {
    let json = json!({
        "source": {"endpoint": "usw2", "bucket": "srcbucket", "prefix": prefix},
        "destinations": [],
        "events": "media-events",
    });
    serde_json::from_value(json).unwrap()
}

fn s3_may() -> String {
    json!({"Statement": {
        "Sid": "mine", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage", "Resource": ARN,
        "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::srcbucket"}},
    }})
    .to_string()
}

fn tells(prefix: &str, events: &[&str]) -> Notification {
    Notification {
        id: "mine".to_owned(),
        target: NotificationTarget::Queue,
        arn: ARN.to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        prefix: prefix.to_owned(),
        suffix: String::new(),
    }
}

const ALL: &[&str] = &[
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:LifecycleExpiration:*",
    "s3:ObjectRestore:Completed",
];

/// A queue, a bucket and a job that are as they should be.
fn good() -> Read {
    let attributes = QueueAttributes {
        arn: ARN.to_owned(),
        policy: s3_may(),
        retention: Some(Duration::from_secs(345_600)),
        visibility: Some(Duration::from_secs(30)),
        max_receives: Some(10),
        kms_key: String::new(),
    };
    let told = Notifications { all: vec![tells("srcfolder/", ALL)], event_bridge: false };
    let mut mirror = job("srcfolder/");
    mirror.deletes.mode = DeleteMode::Mirror;
    Read {
        queue: name("media-events"),
        spec: QueueSpec { url: URL.to_owned(), endpoint: name("usw2"), receivers: 1 },
        endpoint: in_region("us-west-2"),
        found: Ok((
            name("us-1"),
            QueueSetup { attributes: Ok(attributes), deleting: None, hiding: None },
        )),
        receiving: Some(QueueStatus {
            agents: vec![name("us-1")],
            told: Some(s3sync_proto::model::Timestamp::default()),
            ..QueueStatus::default()
        }),
        buckets: vec![BucketRead {
            bucket: "srcbucket".to_owned(),
            endpoint: name("usw2"),
            spec: in_region("us-west-2"),
            found: Ok((
                name("us-1"),
                BucketSetup { bucket: "srcbucket".to_owned(), told: Ok(told) },
            )),
            jobs: BTreeMap::from([(name("media"), mirror)]),
        }],
    }
}

impl Read {
    fn attributes(&mut self) -> &mut QueueAttributes {
        self.found.as_mut().unwrap().1.attributes.as_mut().unwrap()
    }

    fn told(&mut self) -> &mut Notifications {
        self.buckets[0].found.as_mut().unwrap().1.told.as_mut().unwrap()
    }

    fn job(&mut self) -> &mut JobSpec {
        self.buckets[0].jobs.get_mut(&name("media")).unwrap()
    }
}

/// What is not in order, a line each, and the titles of the steps.
fn findings(read: &Read) -> Vec<String> {
    let check = check_queue(read);
    let mut lines = Vec::new();
    for place in &check.places {
        for one in place.checks.iter().filter(|one| one.state != CheckState::Ok) {
            lines.push(format!("{:?} {} {}: {}", one.state, place.about, one.name, one.detail));
        }
    }
    lines.extend(check.steps.iter().map(|step| format!("add: {}", step.title)));
    lines
}

/// Everything, as a text.
fn all(read: &Read) -> String {
    let check = check_queue(read);
    let mut text = String::new();
    for place in &check.places {
        writeln!(text, "{}", place.about).unwrap();
        for one in &place.checks {
            writeln!(text, "  {:?} {}: {}", one.state, one.name, one.detail).unwrap();
        }
    }
    for step in &check.steps {
        writeln!(text, "\n# {}", step.title).unwrap();
        for (name, content) in &step.files {
            writeln!(text, "-- {name}\n{content}").unwrap();
        }
        for command in &step.commands {
            writeln!(text, "$ {command}").unwrap();
        }
    }
    text
}

fn says(read: &Read, expected: Expect) {
    expected.assert_eq(&all(read));
}

#[test]
fn what_is_in_order_needs_nothing() {
    assert_eq!(findings(&good()), Vec::<String>::new());
    let mut keeps = good();
    keeps.job().deletes.mode = DeleteMode::Keep;
    keeps.told().all = vec![tells(
        "",
        &[
            "s3:ObjectCreated:Put",
            "s3:ObjectCreated:Post",
            "s3:ObjectCreated:Copy",
            "s3:ObjectCreated:CompleteMultipartUpload",
            "s3:ObjectRestore:*",
        ],
    )];
    assert_eq!(findings(&keeps), Vec::<String>::new(), "removals matter to mirrors only");
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is the text that is told")]
fn a_new_queue_is_told_all_there_is_to_add() {
    let mut new = good();
    *new.attributes() = QueueAttributes { arn: ARN.to_owned(), ..QueueAttributes::default() };
    new.told().all.clear();
    says(
        &new,
        expect![[r#"
        queue media-events
          Ok reachable: it answers; its ARN is arn:aws:sqs:us-west-2:123456789012:media-events
          Ok kind: a standard queue
          Warning dead letters: there is no redrive policy: a message that cannot be read is deleted after five receives
          Ok encryption: no KMS key that S3 would have to be allowed to use
          Ok deleting: the agent's credential may
          Ok hiding: the agent's credential may
          Ok receiving: us-1 receives from it
        bucket srcbucket
          Ok configuration: it tells 0 queues, topics or functions
          Failed job media: nothing tells the queue of changes below srcfolder/
          Failed may send: the queue's policy does not let s3.amazonaws.com for srcbucket send: no event arrives

        # Let events be sent to the queue: its policy, with what is there
        -- queue-policy.json
        {
          "Version": "2012-10-17",
          "Statement": [
            {
              "Sid": "s3sync-srcbucket",
              "Effect": "Allow",
              "Principal": {
                "Service": "s3.amazonaws.com"
              },
              "Action": "sqs:SendMessage",
              "Resource": "arn:aws:sqs:us-west-2:123456789012:media-events",
              "Condition": {
                "ArnEquals": {
                  "aws:SourceArn": "arn:aws:s3:::srcbucket"
                },
                "StringEquals": {
                  "aws:SourceAccount": "123456789012"
                }
              }
            }
          ]
        }
        -- queue-attributes.json
        {
          "Policy": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"s3sync-srcbucket\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"s3.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"arn:aws:sqs:us-west-2:123456789012:media-events\",\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":\"arn:aws:s3:::srcbucket\"},\"StringEquals\":{\"aws:SourceAccount\":\"123456789012\"}}}]}"
        }
        $ aws sqs set-queue-attributes --queue-url https://sqs.us-west-2.amazonaws.com/123456789012/media-events --attributes file://queue-attributes.json --region us-west-2

        # Let the bucket srcbucket tell of changes: its configuration, with what is there
        -- notification-srcbucket.json
        {
          "QueueConfigurations": [
            {
              "Id": "s3sync-media-events",
              "QueueArn": "arn:aws:sqs:us-west-2:123456789012:media-events",
              "Events": [
                "s3:ObjectCreated:*",
                "s3:ObjectRemoved:*",
                "s3:LifecycleExpiration:*",
                "s3:ObjectRestore:Completed"
              ],
              "Filter": {
                "Key": {
                  "FilterRules": [
                    {
                      "Name": "prefix",
                      "Value": "srcfolder/"
                    }
                  ]
                }
              }
            }
          ]
        }
        $ aws s3api put-bucket-notification-configuration --bucket srcbucket --notification-configuration file://notification-srcbucket.json --region us-west-2

        # Advisable: keep messages that cannot be read, as dead letters
        -- redrive.json
        {
          "RedrivePolicy": "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-west-2:123456789012:media-events-dead-letters\",\"maxReceiveCount\":\"10\"}"
        }
        $ aws sqs create-queue --queue-name media-events-dead-letters --attributes MessageRetentionPeriod=1209600 --region us-west-2
        $ aws sqs set-queue-attributes --queue-url https://sqs.us-west-2.amazonaws.com/123456789012/media-events --attributes file://redrive.json --region us-west-2
    "#]],
    );
}

#[test]
fn in_china_names_are_those_of_china() {
    let mut china = good();
    china.endpoint = in_region("cn-north-1");
    china.buckets[0].spec = in_region("cn-north-1");
    china.spec.url = "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/media-events".to_owned();
    let denied = || WorkError {
        class: FailureClass::Permanent,
        code: "AccessDenied".to_owned(),
        message: "GetQueueAttributes: no".to_owned(),
    };
    china.found.as_mut().unwrap().1 =
        QueueSetup { attributes: Err(denied()), deleting: Some(denied()), hiding: None };
    china.receiving.as_mut().unwrap().agents.clear();
    china.receiving.as_mut().unwrap().reason = "AccessDenied: ReceiveMessage: no".to_owned();
    china.told().all.clear();
    says(
        &china,
        expect![[r#"
            queue media-events
              Failed reachable: AccessDenied: GetQueueAttributes: no
              Failed deleting: AccessDenied: GetQueueAttributes: no
              Ok hiding: the agent's credential may
              Failed receiving: AccessDenied: ReceiveMessage: no
            bucket srcbucket
              Ok configuration: it tells 0 queues, topics or functions
              Failed job media: nothing tells the queue of changes below srcfolder/
              Unknown may send: the queue's policy could not be read; it must let s3.amazonaws.com for srcbucket send

            # Let the agent's credential read the queue and the sources: a policy of its user, or of its role with `aws iam put-role-policy --role-name`
            -- agent-policy.json
            {
              "Version": "2012-10-17",
              "Statement": [
                {
                  "Sid": "Queue",
                  "Effect": "Allow",
                  "Action": [
                    "sqs:ReceiveMessage",
                    "sqs:DeleteMessage",
                    "sqs:ChangeMessageVisibility",
                    "sqs:GetQueueAttributes"
                  ],
                  "Resource": "arn:aws-cn:sqs:cn-north-1:123456789012:media-events"
                },
                {
                  "Sid": "Buckets",
                  "Effect": "Allow",
                  "Action": [
                    "s3:ListBucket",
                    "s3:GetBucketNotification"
                  ],
                  "Resource": [
                    "arn:aws-cn:s3:::srcbucket"
                  ]
                },
                {
                  "Sid": "Objects",
                  "Effect": "Allow",
                  "Action": [
                    "s3:GetObject",
                    "s3:GetObjectTagging"
                  ],
                  "Resource": [
                    "arn:aws-cn:s3:::srcbucket/srcfolder/*"
                  ]
                }
              ]
            }
            $ aws iam put-user-policy --user-name USER_OF_THE_AGENT --policy-name s3sync-media-events --policy-document file://agent-policy.json

            # Let events be sent to the queue. Its policy could not be read: read it, and add these statements to those it has, since the second command replaces it
            -- queue-policy.json
            {
              "Version": "2012-10-17",
              "Statement": [
                {
                  "Sid": "s3sync-srcbucket",
                  "Effect": "Allow",
                  "Principal": {
                    "Service": "s3.amazonaws.com"
                  },
                  "Action": "sqs:SendMessage",
                  "Resource": "arn:aws-cn:sqs:cn-north-1:123456789012:media-events",
                  "Condition": {
                    "ArnEquals": {
                      "aws:SourceArn": "arn:aws-cn:s3:::srcbucket"
                    },
                    "StringEquals": {
                      "aws:SourceAccount": "123456789012"
                    }
                  }
                }
              ]
            }
            -- queue-attributes.json
            {
              "Policy": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"s3sync-srcbucket\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"s3.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"arn:aws-cn:sqs:cn-north-1:123456789012:media-events\",\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":\"arn:aws-cn:s3:::srcbucket\"},\"StringEquals\":{\"aws:SourceAccount\":\"123456789012\"}}}]}"
            }
            $ aws sqs get-queue-attributes --queue-url https://sqs.cn-north-1.amazonaws.com.cn/123456789012/media-events --attribute-names Policy --region cn-north-1
            $ aws sqs set-queue-attributes --queue-url https://sqs.cn-north-1.amazonaws.com.cn/123456789012/media-events --attributes file://queue-attributes.json --region cn-north-1

            # Let the bucket srcbucket tell of changes: its configuration, with what is there
            -- notification-srcbucket.json
            {
              "QueueConfigurations": [
                {
                  "Id": "s3sync-media-events",
                  "QueueArn": "arn:aws-cn:sqs:cn-north-1:123456789012:media-events",
                  "Events": [
                    "s3:ObjectCreated:*",
                    "s3:ObjectRemoved:*",
                    "s3:LifecycleExpiration:*",
                    "s3:ObjectRestore:Completed"
                  ],
                  "Filter": {
                    "Key": {
                      "FilterRules": [
                        {
                          "Name": "prefix",
                          "Value": "srcfolder/"
                        }
                      ]
                    }
                  }
                }
              ]
            }
            $ aws s3api put-bucket-notification-configuration --bucket srcbucket --notification-configuration file://notification-srcbucket.json --region cn-north-1
        "#]],
    );
}

#[test]
fn what_is_there_is_kept_and_added_to() {
    let mut other = good();
    // Two jobs; one notification of ours that is too narrow, and others that stay.
    let mut wide = job("src");
    wide.compare = CompareMode::Full;
    other.buckets[0].jobs.insert(name("wide"), wide);
    other.told().all.push(Notification {
        id: "thumbs".to_owned(),
        target: NotificationTarget::Function,
        arn: "arn:aws:lambda:us-west-2:123456789012:function:thumbs".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        prefix: "upload/".to_owned(),
        suffix: ".jpg".to_owned(),
    });
    says(
        &other,
        expect![[r#"
        queue media-events
          Ok reachable: it answers; its ARN is arn:aws:sqs:us-west-2:123456789012:media-events
          Ok kind: a standard queue
          Ok retention: messages are kept for 4days
          Ok visibility: 30s; agents hide what they receive by themselves
          Ok dead letters: after 10 receives
          Ok encryption: no KMS key that S3 would have to be allowed to use
          Ok deleting: the agent's credential may
          Ok hiding: the agent's credential may
          Ok receiving: us-1 receives from it
        bucket srcbucket
          Ok configuration: it tells 2 queues, topics or functions
          Ok job media: the queue hears of changes below srcfolder/
          Failed job wide: the queue hears of keys srcfolder/* only, not of all below src
          Ok may send: the queue's policy lets s3.amazonaws.com for srcbucket send

        # Let the bucket srcbucket tell of changes: its configuration, with what is there
        -- notification-srcbucket.json
        {
          "QueueConfigurations": [
            {
              "Id": "mine",
              "QueueArn": "arn:aws:sqs:us-west-2:123456789012:media-events",
              "Events": [
                "s3:ObjectCreated:*",
                "s3:ObjectRemoved:*",
                "s3:LifecycleExpiration:*",
                "s3:ObjectRestore:Completed",
                "s3:ObjectTagging:*"
              ],
              "Filter": {
                "Key": {
                  "FilterRules": [
                    {
                      "Name": "prefix",
                      "Value": "src"
                    }
                  ]
                }
              }
            }
          ],
          "LambdaFunctionConfigurations": [
            {
              "Id": "thumbs",
              "LambdaFunctionArn": "arn:aws:lambda:us-west-2:123456789012:function:thumbs",
              "Events": [
                "s3:ObjectCreated:*"
              ],
              "Filter": {
                "Key": {
                  "FilterRules": [
                    {
                      "Name": "prefix",
                      "Value": "upload/"
                    },
                    {
                      "Name": "suffix",
                      "Value": ".jpg"
                    }
                  ]
                }
              }
            }
          ]
        }
        $ aws s3api put-bucket-notification-configuration --bucket srcbucket --notification-configuration file://notification-srcbucket.json --region us-west-2
    "#]],
    );
}

#[test]
fn each_thing_that_is_not_in_order_is_named() {
    type Break = fn(&mut Read);
    let cases: &[Break] = &[
        |read| read.told().all[0].suffix = ".jpg".to_owned(),
        |read| read.told().all[0].prefix = "srcfolder/a+b%2F".to_owned(),
        |read| read.told().all[0].events.truncate(2),
        |read| read.told().all[0].events.remove(0).clear(),
        |read| read.job().compare = CompareMode::Full,
        |read| read.job().source.prefix = "other/".to_owned(),
        |read| read.attributes().policy = "{}".to_owned(),
        |read| read.attributes().policy = s3_may().replace("Allow", "Deny"),
        |read| read.attributes().kms_key = "alias/aws/sqs".to_owned(),
        |read| read.attributes().kms_key = "alias/ours".to_owned(),
        |read| read.attributes().max_receives = None,
        |read| read.attributes().max_receives = Some(1),
        |read| read.attributes().retention = Some(Duration::from_secs(60)),
        |read| read.attributes().arn += ".fifo",
        |read| read.endpoint.region = "eu-west-1".to_owned(),
        |read| read.buckets[0].spec.region = "eu-west-1".to_owned(),
        |read| read.buckets.clear(),
        |read| read.receiving.as_mut().unwrap().told = None,
        |read| read.found = Err("no agent is connected".to_owned()),
        |read| read.buckets[0].found = Err("no agent is connected".to_owned()),
    ];
    let mut text = String::new();
    for (index, change) in cases.iter().enumerate() {
        let mut read = good();
        change(&mut read);
        writeln!(text, "{index}").unwrap();
        for line in findings(&read) {
            writeln!(text, "  {line}").unwrap();
        }
    }
    expect![[r#"
        0
          Failed bucket srcbucket job media: the queue hears of keys srcfolder/*.jpg only, not of all below srcfolder/
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        1
          Failed bucket srcbucket job media: the queue hears of keys srcfolder/a b/* only, not of all below srcfolder/
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        2
          Warning bucket srcbucket job media: the queue hears of writes below srcfolder/, but not of s3:LifecycleExpiration:*, s3:ObjectRestore:Completed: those are left to the job's scans
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        3
          Failed bucket srcbucket job media: the queue does not hear of s3:ObjectCreated:* below srcfolder/
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        4
          Warning bucket srcbucket job media: the queue hears of writes below srcfolder/, but not of s3:ObjectTagging:*: those are left to the job's scans
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        5
          Failed bucket srcbucket job media: nothing tells the queue of changes below other/
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        6
          Failed bucket srcbucket may send: the queue's policy does not let s3.amazonaws.com for srcbucket send: no event arrives
          add: Let events be sent to the queue: its policy, with what is there
        7
          Failed bucket srcbucket may send: the queue's policy forbids s3.amazonaws.com for srcbucket to send, by its statement mine
        8
          Failed queue media-events encryption: alias/aws/sqs is AWS's own, which S3 can never use: no event arrives
          add: Encrypt the queue with SQS's own key, which S3 needs no permission for (or with a key of yours that lets it)
        9
          Unknown queue media-events encryption: the policy of the key alias/ours cannot be seen from here; it must let who sends use it
          add: Let events be encrypted: add this statement to the policy of the key alias/ours, unless it is there
        10
          Warning queue media-events dead letters: there is no redrive policy: a message that cannot be read is deleted after five receives
          add: Advisable: keep messages that cannot be read, as dead letters
        11
          Warning queue media-events dead letters: after 1 receives, which a few agents that die are enough for; 10 is usual
        12
          Warning queue media-events retention: messages are kept for 1m: when nothing is received for longer, a scan has to make up for it
        13
          Failed queue media-events kind: a FIFO queue: S3 sends to standard queues only
          Failed bucket srcbucket job media: nothing tells the queue of changes below srcfolder/
          Failed bucket srcbucket may send: the queue's policy does not let events.amazonaws.com send: no event arrives
        14
          Failed queue media-events region: the queue is in us-west-2, and the endpoint it is read with in eu-west-1
        15
          Failed bucket srcbucket region: the bucket is in eu-west-1, the queue in us-west-2: S3 tells queues of its own region only; make a queue there
        16
          Unknown queue media-events receiving: no job names the queue, so nothing is received; add `events: { queue: media-events }` to a job
        17
          Unknown queue media-events receiving: us-1 receives from it, and nothing was told of it yet; ask again
        18
          Failed queue media-events reachable: no agent is connected
          Unknown bucket srcbucket may send: the queue's policy could not be read; it must let s3.amazonaws.com for srcbucket send
        19
          Failed bucket srcbucket configuration: no agent is connected
    "#]].assert_eq(&text);
}

#[test]
fn other_ways_are_seen_and_taken_where_the_first_is_blocked() {
    let topic = |read: &mut Read| {
        let one = &mut read.told().all[0];
        one.target = NotificationTarget::Topic;
        one.arn = "arn:aws:sns:us-west-2:123456789012:changes".to_owned();
    };
    let allow = |read: &mut Read, service: &str| {
        read.attributes().policy = json!({"Statement": [{
            "Sid": "x", "Effect": "Allow", "Principal": {"Service": service},
            "Action": "sqs:SendMessage", "Resource": ARN,
        }]})
        .to_string();
    };
    let mut text = String::new();
    let mut note = |what: &str, read: &Read| {
        writeln!(text, "{what}").unwrap();
        for line in findings(read) {
            writeln!(text, "  {line}").unwrap();
        }
    };
    let mut read = good();
    topic(&mut read);
    note("a topic that may not send", &read);
    allow(&mut read, "sns.amazonaws.com");
    note("a topic that may", &read);

    let mut read = good();
    read.told().all.clear();
    read.told().event_bridge = true;
    note("EventBridge that may not send", &read);
    allow(&mut read, "events.amazonaws.com");
    note("EventBridge that may", &read);

    let mut read = good();
    read.told().all[0].arn += "-other";
    note("another queue hears of the same", &read);
    let mut read = good();
    let mut narrow = tells("srcfolder/jpg/", &["s3:ObjectCreated:Put"]);
    narrow.arn += "-other";
    narrow.id = "theirs".to_owned();
    read.told().all = vec![tells("srcfolder/png/", ALL), narrow];
    note("ours is narrow beside another's", &read);
    expect![[r#"
        a topic that may not send
          Unknown bucket srcbucket job media: the topic arn:aws:sns:us-west-2:123456789012:changes hears of changes below srcfolder/; that the queue is subscribed to it cannot be seen from here
          Failed bucket srcbucket may send: the queue's policy does not let sns.amazonaws.com for arn:aws:sns:us-west-2:123456789012:changes send: no event arrives
          add: Let events be sent to the queue: its policy, with what is there
          add: Subscribe the queue to the topic arn:aws:sns:us-west-2:123456789012:changes, unless it is
        a topic that may
          Unknown bucket srcbucket job media: the topic arn:aws:sns:us-west-2:123456789012:changes hears of changes below srcfolder/; that the queue is subscribed to it cannot be seen from here
        EventBridge that may not send
          Failed bucket srcbucket job media: nothing tells the queue of changes below srcfolder/
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
        EventBridge that may
          Unknown bucket srcbucket job media: the bucket tells EventBridge of every change; that a rule sends them to the queue cannot be seen from here
        another queue hears of the same
          Failed bucket srcbucket job media: nothing tells the queue of changes below srcfolder/
          Failed bucket srcbucket may send: the queue's policy does not let events.amazonaws.com send: no event arrives
          add: Let events be sent to the queue: its policy, with what is there
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
          add: Send what srcbucket tells EventBridge to the queue, unless a rule does
        ours is narrow beside another's
          Failed bucket srcbucket job media: the queue hears of keys srcfolder/png/* only, not of all below srcfolder/
          Failed bucket srcbucket other events: s3:ObjectCreated:Put already goes to arn:aws:sqs:us-west-2:123456789012:media-events-other below "srcfolder/jpg/" (id theirs), and S3 refuses a second place for the same: let that one go to a topic of SNS to which both are subscribed
          add: Let the bucket srcbucket tell of changes: its configuration, with what is there
    "#]].assert_eq(&text);
}

#[test]
fn elsewhere_than_in_aws_keys_are_as_they_are() {
    let mut read = good();
    let elsewhere = |region: &str| EndpointSpec {
        url: Some("http://127.0.0.1:9000".to_owned()),
        ..in_region(region)
    };
    read.endpoint = elsewhere("us-east-1");
    read.spec.url = "http://127.0.0.1:9324/000000000000/media-events".to_owned();
    read.buckets[0].spec = elsewhere("us-east-1");
    read.job().source = Location { prefix: "a b+c/".to_owned(), ..read.job().source.clone() };
    read.told().all.clear();
    let check = check_queue(&read);
    let step = check.steps.last().unwrap();
    let config: Value = serde_json::from_str(&step.files[0].1).unwrap();
    let one = &config["QueueConfigurations"][0];
    assert_eq!(one["Events"], json!(["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]));
    assert_eq!(one["Filter"]["Key"]["FilterRules"][0]["Value"], "a b+c/");
    assert!(step.commands[0].ends_with("--region us-east-1 --endpoint-url http://127.0.0.1:9000"));
}

/// What is added is in order when it is added, and adding it again changes nothing.
#[test]
fn what_to_add_is_enough() {
    let prefixes = ["", "src", "srcfolder/", "srcfolder/a b/", "other/"];
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap_or_default() % below
    };
    for _ in 0..500 {
        let mut read = good();
        let prefix = prefixes[next(5)];
        read.job().source.prefix = prefix.to_owned();
        read.buckets[0].jobs.insert(name("second"), job(prefixes[next(5)]));
        read.told().all.clear();
        for number in 0..next(3) {
            let events = [&ALL[..1], ALL, &["s3:ObjectCreated:Put"]][next(3)];
            let mut one = tells(["", "src", "srcfolder/a+b/"][next(3)], events);
            one.id = number.to_string();
            read.told().all.push(one);
        }
        if next(2) == 0 {
            read.attributes().policy = String::new();
        }
        for step in check_queue(&read).steps {
            for (file, content) in step.files {
                let value: Value = serde_json::from_str(&content).unwrap();
                if file == "queue-attributes.json" {
                    read.attributes().policy = value["Policy"].as_str().unwrap().to_owned();
                } else if file.starts_with("notification") {
                    read.told().all = value["QueueConfigurations"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(given)
                        .collect();
                }
            }
        }
        let again = check_queue(&read);
        assert_eq!(findings(&read), Vec::<String>::new(), "{prefix}: {:#?}", again.places);
    }
}

fn given(value: &Value) -> Notification {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Notification {
        id: text(&value["Id"]),
        target: NotificationTarget::Queue,
        arn: text(&value["QueueArn"]),
        events: value["Events"].as_array().unwrap().iter().map(text).collect(),
        prefix: text(&value["Filter"]["Key"]["FilterRules"][0]["Value"]),
        suffix: String::new(),
    }
}
