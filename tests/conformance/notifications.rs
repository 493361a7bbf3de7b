//! Cases about what a bucket tells a queue. Nothing is said of the order in which messages come: S3 says nothing either.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, Delete, Event, FilterRule,
    FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter, ObjectIdentifier,
    QueueConfiguration, S3KeyFilter, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use s3sync_lab::{EndpointConfig, Lab, Notification, QueueConfig, QueuesConfig};
use s3sync_tests::objects::ODD_KEYS;
use s3sync_tests::servers::{Server, s3_client, sqs_client};
use serde_json::Value;
use tokio::time::Instant;

use super::{Outcome, cases, code, ensure, judge, text};

const REGION: &str = "us-east-1";
const KEY: (&str, &str) = ("AKIALAB", "lab-secret");
/// All that is told comes within this.
const BOUND: Duration = Duration::from_secs(60);
/// Keys below it are told of.
const PREFIX: &str = "told/";

/// What the lab does otherwise, and why that is right for a stand-in.
const LAB_DIFFERS: &[(&str, &str)] =
    &[("a_marker_is_told", "keeps no versions; ministack's are followed in the end-to-end tests")];

/// A bucket that tells a queue of its own.
pub(crate) struct Place {
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    bucket: String,
    queue_url: String,
}

cases![
    Place;
    writes_copies_and_parts_are_told,
    a_removal_is_told,
    each_key_of_a_batch_is_told,
    what_is_elsewhere_or_refused_is_not_told,
    every_odd_key_is_told,
    the_order_of_a_key_is_told,
    a_marker_is_told,
];

impl Place {
    async fn put(&self, key: &str, body: &str) -> Result<String, String> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key);
        let answer = put.body(body.to_owned().into_bytes().into()).send().await.map_err(text)?;
        Ok(answer.e_tag.unwrap_or_default().trim_matches('"').to_owned())
    }

    async fn delete(&self, key: &str) -> Result<(), String> {
        let delete = self.s3.delete_object().bucket(&self.bucket).key(key);
        delete.send().await.map(drop).map_err(text)
    }

    /// Receives and deletes until so many records have come; test events are none.
    async fn told(&self, count: usize) -> Result<Vec<Value>, String> {
        let (mut records, until) = (Vec::new(), Instant::now() + BOUND);
        while records.len() < count {
            ensure!(Instant::now() < until, "{} of {count} came: {records:?}", records.len());
            let receive = self.sqs.receive_message().queue_url(&self.queue_url);
            let received = receive.max_number_of_messages(10).wait_time_seconds(1).send().await;
            for message in received.map_err(text)?.messages.unwrap_or_default() {
                let body: Value = serde_json::from_str(message.body().unwrap_or_default()).unwrap();
                records.extend(body["Records"].as_array().cloned().unwrap_or_default());
                let delete = self.sqs.delete_message().queue_url(&self.queue_url);
                let receipt = message.receipt_handle().unwrap_or_default();
                delete.receipt_handle(receipt).send().await.map_err(text)?;
            }
        }
        Ok(records)
    }

    /// What is told, as event and key.
    async fn names(&self, count: usize) -> Result<BTreeSet<(String, String)>, String> {
        let told = self.told(count).await?;
        Ok(told.iter().map(|one| (string(&one["eventName"]), key(one))).collect())
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The key of a record, which is written as in a form.
fn key(record: &Value) -> String {
    let (text, mut bytes) = (string(&record["s3"]["object"]["key"]), Vec::new());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn pairs(all: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    all.iter().map(|&(event, key)| (event.to_owned(), key.to_owned())).collect()
}

async fn writes_copies_and_parts_are_told(place: &Place) -> Outcome {
    let etag = place.put("told/a b", "hello").await?;
    let told = place.told(1).await?.remove(0);
    let (record, object) = (&told["s3"], &told["s3"]["object"]);
    ensure!(told["eventName"] == "ObjectCreated:Put", "{told}");
    ensure!(record["bucket"]["name"] == *place.bucket, "{told}");
    ensure!(object["size"] == 5 && string(&object["eTag"]) == etag, "{told}");
    let copy = place.s3.copy_object().bucket(&place.bucket).key("told/copy");
    copy.copy_source(format!("{}/told/a%20b", place.bucket)).send().await.map_err(text)?;
    let (bucket, key) = (&place.bucket, "told/parts");
    let create = place.s3.create_multipart_upload().bucket(bucket).key(key).send();
    let id = create.await.map_err(text)?.upload_id.unwrap_or_default();
    let part = place.s3.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(1);
    let etag = part.body(b"part".to_vec().into()).send().await.map_err(text)?.e_tag;
    let part = CompletedPart::builder().part_number(1).set_e_tag(etag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = place.s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    complete.multipart_upload(parts).send().await.map_err(text)?;
    let seen = place.names(2).await?;
    let wanted = pairs(&[
        ("ObjectCreated:CompleteMultipartUpload", "told/parts"),
        ("ObjectCreated:Copy", "told/copy"),
    ]);
    ensure!(seen == wanted, "{seen:?}");
    Ok(())
}

async fn a_removal_is_told(place: &Place) -> Outcome {
    place.put("told/k", "x").await?;
    place.delete("told/k").await?;
    let seen = place.names(2).await?;
    let wanted = pairs(&[("ObjectCreated:Put", "told/k"), ("ObjectRemoved:Delete", "told/k")]);
    ensure!(seen == wanted, "{seen:?}");
    Ok(())
}

async fn each_key_of_a_batch_is_told(place: &Place) -> Outcome {
    for key in ["told/a", "told/b"] {
        place.put(key, "x").await?;
    }
    place.told(2).await?;
    let key = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let keys = Delete::builder().objects(key("told/a")).objects(key("told/b")).build().unwrap();
    let delete = place.s3.delete_objects().bucket(&place.bucket).delete(keys);
    delete.send().await.map_err(text)?;
    let seen = place.names(2).await?;
    let wanted = pairs(&[("ObjectRemoved:Delete", "told/a"), ("ObjectRemoved:Delete", "told/b")]);
    ensure!(seen == wanted, "{seen:?}");
    Ok(())
}

async fn what_is_elsewhere_or_refused_is_not_told(place: &Place) -> Outcome {
    place.put("elsewhere", "x").await?;
    place.put("told/k", "x").await?;
    let again = place.s3.put_object().bucket(&place.bucket).key("told/k").if_none_match("*");
    let refused = code(again.send().await);
    ensure!(refused == "PreconditionFailed", "{refused}");
    place.put("told/last", "x").await?;
    let seen = place.names(2).await?;
    let wanted = pairs(&[("ObjectCreated:Put", "told/k"), ("ObjectCreated:Put", "told/last")]);
    ensure!(seen == wanted, "{seen:?}");
    Ok(())
}

async fn every_odd_key_is_told(place: &Place) -> Outcome {
    let keys: BTreeSet<String> = ODD_KEYS.iter().map(|key| format!("{PREFIX}{key}")).collect();
    for key in &keys {
        place.put(key, "x").await?;
    }
    let told = place.told(keys.len()).await?;
    let seen: BTreeSet<String> = told.iter().map(key).collect();
    ensure!(seen == keys, "{:?}", seen.symmetric_difference(&keys).collect::<Vec<_>>());
    Ok(())
}

async fn the_order_of_a_key_is_told(place: &Place) -> Outcome {
    let mut written = Vec::new();
    for number in 0..10 {
        written.push(place.put("told/k", &number.to_string()).await?);
    }
    let object = |record: Value| {
        let object = &record["s3"]["object"];
        (string(&object["sequencer"]), string(&object["eTag"]))
    };
    let mut told: Vec<_> = place.told(10).await?.into_iter().map(object).collect();
    told.sort();
    let order: Vec<_> = told.iter().map(|(_, etag)| etag.clone()).collect();
    ensure!(order == written && !told[0].0.is_empty(), "{told:?} for {written:?}");
    Ok(())
}

async fn a_marker_is_told(place: &Place) -> Outcome {
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let put = place.s3.put_bucket_versioning().bucket(&place.bucket);
    put.versioning_configuration(versions.build()).send().await.map_err(text)?;
    place.put("told/k", "x").await?;
    place.delete("told/k").await?;
    let seen = place.names(2).await?;
    let marker = ("ObjectRemoved:DeleteMarkerCreated", "told/k");
    ensure!(seen == pairs(&[("ObjectCreated:Put", "told/k"), marker]), "{seen:?}");
    Ok(())
}

/// A bucket and a queue of a case on ministack, set up as docs/events.md says.
async fn on_ministack(server: &Server, name: &str) -> Place {
    let (key, secret) = &server.key;
    let s3 = s3_client(&server.url, &server.region, key, secret);
    let sqs = sqs_client(&server.url, &server.region, key, secret);
    let bucket = format!("tells-{}", name.replace('_', "-"));
    s3.create_bucket().bucket(&bucket).send().await.unwrap();
    let queue_url = sqs.create_queue().queue_name(&bucket).send().await.unwrap().queue_url.unwrap();
    let asked = sqs.get_queue_attributes().queue_url(&queue_url);
    let told = asked.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap();
    let arn = told.attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": format!("arn:aws:s3:::{bucket}")}},
    }]});
    let set = sqs.set_queue_attributes().queue_url(&queue_url);
    let set = set.attributes(QueueAttributeName::Policy, policy.to_string());
    set.send().await.unwrap();
    let rule = FilterRule::builder().name(FilterRuleName::Prefix).value(PREFIX).build();
    let filter = S3KeyFilter::builder().filter_rules(rule).build();
    let told = QueueConfiguration::builder()
        .queue_arn(arn)
        .events(Event::from("s3:ObjectCreated:*"))
        .events(Event::from("s3:ObjectRemoved:*"))
        .filter(NotificationConfigurationFilter::builder().key(filter).build())
        .build()
        .unwrap();
    let told = NotificationConfiguration::builder().queue_configurations(told).build();
    let put = s3.put_bucket_notification_configuration().bucket(&bucket);
    put.notification_configuration(told).send().await.unwrap();
    Place { s3, sqs, bucket, queue_url }
}

/// Runs all cases about notifications on ministack, which does what they say. What it does otherwise is said where it matters: a
/// queue of its could lose a message while another is deleted (`s3sync_tests::servers`), and it asks IAM for actions of batches
/// (`tests/e2e/ministack_setup.rs`).
pub(crate) async fn run_on_ministack(server: &Server) {
    let mut outcomes = Vec::new();
    for (name, case) in CASES {
        outcomes.push((*name, case(&on_ministack(server, name).await).await));
    }
    judge(server.name, outcomes, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_labs_notifications_are_like_s3s() {
    let names: Vec<String> = CASES.iter().map(|(name, _)| name.replace('_', "-")).collect();
    let endpoint = EndpointConfig::new("s3", REGION).key(KEY.0, KEY.1);
    let endpoint = names.iter().fold(endpoint, |config, name| config.bucket(name));
    let mut lab = Lab::start(vec![endpoint]).await.unwrap();
    let queues = QueuesConfig::new("sqs", REGION).key(KEY.0, KEY.1);
    let queues = names.iter().fold(queues, |config, name| config.queue(QueueConfig::new(name)));
    let queues = lab.start_queues(queues).await.unwrap();
    let endpoint = lab.endpoint("s3");
    let mut outcomes = Vec::new();
    for ((case_name, case), name) in CASES.iter().zip(names) {
        let (bucket, prefix, queue) = (name.clone(), PREFIX.to_owned(), name.clone());
        endpoint.notify(Notification { bucket, prefix, queues: queues.clone(), queue });
        let place = Place {
            s3: s3_client(&endpoint.url(), REGION, KEY.0, KEY.1),
            sqs: sqs_client(&queues.url(), REGION, KEY.0, KEY.1),
            queue_url: queues.queue_url(&name),
            bucket: name,
        };
        outcomes.push((*case_name, case(&place).await));
    }
    judge("the lab", outcomes, LAB_DIFFERS);
}
