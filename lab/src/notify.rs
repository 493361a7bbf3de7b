//! Tells queues of changes of objects, as S3's event notifications do
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::now;
use crate::endpoint::Endpoint;
use crate::error::S3Result;
use crate::queue::Queues;
use crate::record::Change;
use crate::reply::Reply;
use crate::request::Call;
use crate::text::{element, form_encode};

/// Which changes go to which queue.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Where the queue is.
    pub queues: Arc<Queues>,
    /// Name of the queue.
    pub queue: String,
}

/// Sends a message for each change to every queue that wants it. Without an order, as S3 does.
pub(crate) fn tell(endpoint: &Endpoint, bucket: &str, access_key: &str, changes: &[Change]) {
    let wanted: Vec<Notification> = {
        let state = endpoint.state();
        state.notifications.iter().filter(|wanted| wanted.bucket == bucket).cloned().collect()
    };
    for wanted in wanted {
        for change in changes.iter().filter(|c| c.key.starts_with(wanted.prefix.as_bytes())) {
            let record = record(endpoint.region(), bucket, access_key, change);
            wanted.queues.send(&wanted.queue, &json!({"Records": [record]}).to_string());
        }
    }
}

/// What a bucket tells, as S3 answers it.
pub(crate) fn configuration(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let mut state = endpoint.state();
    state.bucket(&call.bucket)?;
    let mut inner = String::new();
    let wanted = state.notifications.iter().filter(|wanted| wanted.bucket == call.bucket);
    for (index, wanted) in wanted.enumerate() {
        let arn = wanted.queues.queue_arn(&wanted.queue);
        let mut one = element("Id", &format!("lab-{index}")) + &element("Queue", &arn);
        for event in ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"] {
            one += &element("Event", event);
        }
        if !wanted.prefix.is_empty() {
            let rule = element("Name", "Prefix") + &element("Value", &wanted.prefix);
            one += &format!("<Filter><S3Key><FilterRule>{rule}</FilterRule></S3Key></Filter>");
        }
        inner += &format!("<QueueConfiguration>{one}</QueueConfiguration>");
    }
    Ok(Reply::xml("NotificationConfiguration", &inner))
}

fn record(region: &str, bucket: &str, access_key: &str, change: &Change) -> Value {
    let Change { key, event, etag, size, sequence } = change;
    let time = jiff::Timestamp::from_microsecond(now()).unwrap_or_default();
    let sequencer = format!("00{sequence:016X}");
    let mut object = json!({"key": form_encode(key), "sequencer": sequencer});
    if !etag.is_empty() {
        object["eTag"] = json!(etag);
    }
    if event.starts_with("ObjectCreated") {
        object["size"] = json!(size);
    }
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "eventName": event,
        "userIdentity": {"principalId": format!("AWS:{access_key}")},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "LAB", "x-amz-id-2": "LAB"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "lab",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "LAB"},
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": object,
        },
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_record_has_the_shape_of_s3() {
        let key = Bytes::from("folder/red flower+ü.jpg");
        let event = "ObjectCreated:Put";
        let change = Change { key, event, etag: "e".into(), size: 5, sequence: 0x55 };
        let made = record("us-west-2", "media", "AKIA", &change);
        assert_eq!(made["eventName"], event);
        assert_eq!(made["awsRegion"], "us-west-2");
        assert_eq!(made["s3"]["bucket"]["name"], "media");
        let object = json!({
            "key": "folder/red+flower%2B%C3%BC.jpg",
            "sequencer": "000000000000000055",
            "eTag": "e",
            "size": 5,
        });
        assert_eq!(made["s3"]["object"], object);
        let gone = Change { event: "ObjectRemoved:Delete", etag: String::new(), size: 0, ..change };
        let made = record("us-west-2", "media", "AKIA", &gone);
        assert_eq!(made["s3"]["object"].get("size"), None);
        assert_eq!(made["s3"]["object"].get("eTag"), None);
    }
}
