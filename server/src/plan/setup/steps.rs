//! Pure. What to add, as the documents and the commands that AWS takes. Each document holds what is there already.

use s3sync_proto::model::{
    EndpointSpec, Notification, NotificationTarget, Notifications, SetupStep,
};
use serde_json::{Map, Value, json};

use super::Ground;
use super::arn::QueueArn;
use super::bucket::Way;
use super::policy::statements;

/// A sender that the queue's policy does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newcomer<'a> {
    pub(super) bucket: &'a str,
    pub(super) way: &'a Way,
}

/// Lets senders send: the whole policy, with what is there.
pub(super) fn policy(ground: &Ground<'_>, newcomers: &[Newcomer<'_>]) -> SetupStep {
    let known = ground.policy.as_ref();
    let mut policy =
        known.filter(|policy| policy.is_object()).cloned().unwrap_or_else(|| json!({}));
    if policy.get("Version").is_none() {
        policy["Version"] = json!("2012-10-17");
    }
    let mut all: Vec<Value> = statements(&policy).to_vec();
    for newcomer in newcomers {
        let new = statement(ground.arn, newcomer);
        all.retain(|old| old["Sid"] != new["Sid"]);
        all.push(new);
    }
    policy["Statement"] = Value::Array(all);
    let title = match known {
        Some(_) => "Let events be sent to the queue: its policy, with what is there",
        None => {
            "Let events be sent to the queue. Its policy could not be read: read it, and add these statements to those it has, \
             since the second command replaces it"
        }
    };
    let attributes = json!({"Policy": policy.to_string()});
    let command = format!(
        "sqs set-queue-attributes --queue-url {} --attributes file://queue-attributes.json",
        word(&ground.spec.url)
    );
    let get = format!(
        "sqs get-queue-attributes --queue-url {} --attribute-names Policy",
        word(&ground.spec.url)
    );
    let commands = known.is_none().then_some(get).into_iter().chain([command]);
    SetupStep {
        title: title.to_owned(),
        files: vec![file("queue-policy.json", &policy), file("queue-attributes.json", &attributes)],
        commands: commands.map(|command| queue_command(ground, &command)).collect(),
    }
}

fn statement(arn: &QueueArn, newcomer: &Newcomer<'_>) -> Value {
    let Newcomer { bucket, way } = newcomer;
    let name: String =
        bucket.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let (service, source) = match way {
        Way::Queue => ("s3.amazonaws.com", arn.bucket(bucket)),
        Way::Topic(topic) => ("sns.amazonaws.com", topic.clone()),
        Way::EventBridge => ("events.amazonaws.com", arn.rule(&rule(arn, bucket))),
    };
    let mut condition = json!({"ArnEquals": {"aws:SourceArn": source}});
    // The ARN of a bucket names no account, and a name may come to belong to somebody else.
    if **way == Way::Queue {
        condition["StringEquals"] = json!({"aws:SourceAccount": arn.account});
    }
    json!({
        "Sid": format!("s3sync-{name}"),
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": arn.to_string(),
        "Condition": condition,
    })
}

/// Lets a service use the key a queue is encrypted with.
pub(super) fn key(ground: &Ground<'_>, key: &str, services: &[&str]) -> SetupStep {
    let statement = json!({
        "Sid": "s3sync-events",
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"],
        "Resource": "*",
    });
    let arn = ground.arn;
    let get = format!(
        "aws kms get-key-policy --region {} --key-id {} --policy-name default --output text",
        word(&arn.region),
        word(key)
    );
    let title = format!(
        "Let events be encrypted: add this statement to the policy of the key {key}, unless it is there"
    );
    SetupStep { title, files: vec![file("key-statement.json", &statement)], commands: vec![get] }
}

/// Encrypts the queue with a key that S3 can use.
pub(super) fn managed_encryption(ground: &Ground<'_>) -> SetupStep {
    let command = format!(
        "sqs set-queue-attributes --queue-url {} --attributes SqsManagedSseEnabled=true",
        word(&ground.spec.url)
    );
    SetupStep {
        title: "Encrypt the queue with SQS's own key, which S3 needs no permission for (or with a key of yours that lets it)"
            .to_owned(),
        files: Vec::new(),
        commands: vec![queue_command(ground, &command)],
    }
}

/// What a bucket is to tell, as a whole.
pub(super) fn notifications(
    bucket: &str,
    spec: &EndpointSpec,
    wanted: &Notifications,
) -> SetupStep {
    let name = format!("notification-{bucket}.json");
    let command = format!(
        "s3api put-bucket-notification-configuration --bucket {} --notification-configuration file://{}",
        word(bucket),
        word(&name)
    );
    SetupStep {
        title: format!(
            "Let the bucket {bucket} tell of changes: its configuration, with what is there"
        ),
        files: vec![file(&name, &configuration(wanted))],
        commands: vec![command_at(&spec.region, spec.url.as_deref(), &command)],
    }
}

fn configuration(wanted: &Notifications) -> Value {
    let of = |target: NotificationTarget, arn: &str| -> Value {
        let mine = wanted.all.iter().filter(|one| one.target == target);
        mine.map(|one| notification(one, arn)).collect()
    };
    let mut all = Map::new();
    for (list, target, arn) in [
        ("QueueConfigurations", NotificationTarget::Queue, "QueueArn"),
        ("TopicConfigurations", NotificationTarget::Topic, "TopicArn"),
        ("LambdaFunctionConfigurations", NotificationTarget::Function, "LambdaFunctionArn"),
    ] {
        let found = of(target, arn);
        if found.as_array().is_some_and(|found| !found.is_empty()) {
            all.insert(list.to_owned(), found);
        }
    }
    if wanted.event_bridge {
        all.insert("EventBridgeConfiguration".to_owned(), json!({}));
    }
    Value::Object(all)
}

fn notification(one: &Notification, arn: &str) -> Value {
    let mut value = json!({"Id": one.id, arn: one.arn, "Events": one.events});
    let rules: Vec<Value> = [("prefix", &one.prefix), ("suffix", &one.suffix)]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| json!({"Name": name, "Value": text}))
        .collect();
    if !rules.is_empty() {
        value["Filter"] = json!({"Key": {"FilterRules": rules}});
    }
    value
}

/// Subscribes the queue to a topic.
pub(super) fn subscription(ground: &Ground<'_>, topic: &str) -> SetupStep {
    // arn:aws:sns:REGION:…
    let region = topic.split(':').nth(3).unwrap_or(&ground.arn.region);
    SetupStep {
        title: format!("Subscribe the queue to the topic {topic}, unless it is"),
        files: Vec::new(),
        commands: vec![format!(
            "aws sns subscribe --region {} --topic-arn {} --protocol sqs --notification-endpoint {}",
            word(region),
            word(topic),
            word(&ground.arn.to_string())
        )],
    }
}

/// Sends what a bucket tells EventBridge on to the queue.
pub(super) fn event_rule(ground: &Ground<'_>, bucket: &str) -> SetupStep {
    let arn = ground.arn;
    let name = rule(arn, bucket);
    let pattern = json!({
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted", "Object Restore Completed"],
        "detail": {"bucket": {"name": [bucket]}},
    });
    let saved = format!("rule-{bucket}.json");
    let region = word(&arn.region);
    SetupStep {
        title: format!("Send what {bucket} tells EventBridge to the queue, unless a rule does"),
        files: vec![file(&saved, &pattern)],
        commands: vec![
            format!(
                "aws events put-rule --region {region} --name {} --event-pattern file://{}",
                word(&name),
                word(&saved)
            ),
            format!(
                "aws events put-targets --region {region} --rule {} --targets Id=s3sync,Arn={}",
                word(&name),
                word(&arn.to_string())
            ),
        ],
    }
}

fn rule(arn: &QueueArn, bucket: &str) -> String {
    // Names of rules have at most 64 characters (EventBridge API reference, PutRule).
    let mut name = format!("s3sync-{}-{bucket}", arn.name);
    name.truncate(name.floor_char_boundary(64));
    name
}

/// What the agent's credential needs.
pub(super) fn agent(ground: &Ground<'_>, buckets: &[(String, String)], kms_key: &str) -> SetupStep {
    let arn = ground.arn;
    let mut all = vec![json!({
        "Sid": "Queue",
        "Effect": "Allow",
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"],
        "Resource": arn.to_string(),
    })];
    if !kms_key.is_empty() {
        let key = match kms_key {
            key if key.starts_with("arn:") => key.to_owned(),
            _ => "*".to_owned(),
        };
        all.push(
            json!({"Sid": "Key", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": key}),
        );
    }
    let names: Vec<String> = {
        let mut names: Vec<_> = buckets.iter().map(|(bucket, _)| arn.bucket(bucket)).collect();
        names.dedup();
        names
    };
    if !names.is_empty() {
        all.push(json!({
            "Sid": "Buckets",
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:GetBucketNotification"],
            "Resource": names,
        }));
        let objects: Vec<_> = buckets
            .iter()
            .map(|(bucket, prefix)| format!("{}/{prefix}*", arn.bucket(bucket)))
            .collect();
        all.push(json!({
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectTagging"],
            "Resource": objects,
        }));
    }
    let policy = json!({"Version": "2012-10-17", "Statement": all});
    SetupStep {
        title: "Let the agent's credential read the queue and the sources: a policy of its user, or of its role with \
                `aws iam put-role-policy --role-name`"
            .to_owned(),
        files: vec![file("agent-policy.json", &policy)],
        commands: vec![format!(
            "aws iam put-user-policy --user-name USER_OF_THE_AGENT --policy-name s3sync-{} --policy-document \
             file://agent-policy.json",
            word(&arn.name)
        )],
    }
}

/// Gives the queue dead letters.
pub(super) fn dead_letters(ground: &Ground<'_>) -> SetupStep {
    let dead = ground.arn.sibling(&format!("{}-dead-letters", ground.arn.name));
    let redrive = json!({"deadLetterTargetArn": dead.to_string(), "maxReceiveCount": "10"});
    let attributes = json!({"RedrivePolicy": redrive.to_string()});
    let create = format!(
        "sqs create-queue --queue-name {} --attributes MessageRetentionPeriod=1209600",
        word(&dead.name)
    );
    let set = format!(
        "sqs set-queue-attributes --queue-url {} --attributes file://redrive.json",
        word(&ground.spec.url)
    );
    SetupStep {
        title: "Advisable: keep messages that cannot be read, as dead letters".to_owned(),
        files: vec![file("redrive.json", &attributes)],
        commands: vec![queue_command(ground, &create), queue_command(ground, &set)],
    }
}

fn file(name: &str, content: &Value) -> (String, String) {
    (name.to_owned(), format!("{content:#}"))
}

/// A command at the queue's own server.
fn queue_command(ground: &Ground<'_>, command: &str) -> String {
    let url = &ground.spec.url;
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    let server = ground.endpoint.url.is_some().then_some(&url[..end]);
    command_at(&ground.arn.region, server, command)
}

fn command_at(region: &str, server: Option<&str>, command: &str) -> String {
    let at = server.map(|server| format!(" --endpoint-url {}", word(server))).unwrap_or_default();
    format!("aws {command} --region {}{at}", word(region))
}

/// A word of a command line, quoted where a shell would take it apart.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,=@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_word_as_it_is() {
        assert_eq!(word("arn:aws:sqs:us-west-2:1:q"), "arn:aws:sqs:us-west-2:1:q");
        assert_eq!(word("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(word(""), "''");
    }
}
