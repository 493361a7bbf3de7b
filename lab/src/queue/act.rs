//! The operations of queues, from JSON to JSON
//! (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::messages::{Message, Receive, Refused};
use super::{Error, Queue, Queues};
use crate::checksum::md5;
use crate::clock::now;
use crate::fault::Fault;
use crate::text::hex;

/// Largest message, and largest batch, in bytes (SQS Developer Guide, "Message quotas").
const MAX_BYTES: usize = 1 << 20;
/// Most entries of a batch, and most messages of one receive.
const MAX_BATCH: usize = 10;
/// Longest wait for messages, in seconds.
const MAX_WAIT: u64 = 20;
/// Longest invisibility, in seconds.
const MAX_VISIBILITY: u64 = 43_200;
/// Longest delay of a message, in seconds.
const MAX_DELAY: u64 = 900;
/// How long messages are kept, in seconds, as attributes tell it. Nothing lives that long here.
const RETENTION: u64 = 345_600;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Send {
    #[serde(default)]
    id: String,
    message_body: String,
    #[serde(default)]
    delay_seconds: u64,
    #[serde(default)]
    message_attributes: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Receipt {
    #[serde(default)]
    id: String,
    receipt_handle: String,
    #[serde(default)]
    visibility_timeout: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    entries: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ask {
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<u64>,
    #[serde(default)]
    wait_time_seconds: u64,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
}

/// Name of the queue that an input is about; empty when it names none.
pub(super) fn queue_of(input: &Value) -> &str {
    let url = input["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next());
    url.or_else(|| input["QueueName"].as_str()).unwrap_or_default()
}

impl Queues {
    pub(super) async fn perform(
        &self,
        operation: &str,
        input: Value,
        faults: &[Fault],
    ) -> Result<Value, Error> {
        let name = queue_of(&input);
        let queue = self.queues.get(name).ok_or_else(no_queue)?;
        match operation {
            "GetQueueUrl" => Ok(json!({"QueueUrl": self.queue_url(name)})),
            "GetQueueAttributes" => Ok(self.attributes(queue, &input)),
            "PurgeQueue" => {
                *queue.messages() = super::Messages::default();
                Ok(json!({}))
            }
            "SendMessage" => queue.send_one(parsed(input)?),
            "ReceiveMessage" => self.receive(queue, parsed(input)?, faults).await,
            "DeleteMessage" => queue.delete(&parsed(input)?),
            "ChangeMessageVisibility" => queue.change(&parsed(input)?),
            "SendMessageBatch" => {
                let batch = checked(parsed(input)?)?;
                let size = |entry: &Value| entry["MessageBody"].as_str().map_or(0, str::len);
                if batch.iter().map(size).sum::<usize>() > MAX_BYTES {
                    return Err(aws(
                        "BatchRequestTooLong",
                        "Batch requests cannot be longer than 1048576 bytes.",
                    ));
                }
                each(batch, faults, |entry| queue.send_one(parsed(entry)?))
            }
            "DeleteMessageBatch" => {
                each(checked(parsed(input)?)?, faults, |entry| queue.delete(&parsed(entry)?))
            }
            "ChangeMessageVisibilityBatch" => {
                each(checked(parsed(input)?)?, faults, |entry| queue.change(&parsed(entry)?))
            }
            _ => Err(aws("UnsupportedOperation", "The lab does not know this operation.")),
        }
    }

    /// Receives, or waits until there is something to receive.
    async fn receive(&self, queue: &Queue, ask: Ask, faults: &[Fault]) -> Result<Value, Error> {
        let limit = ask.max_number_of_messages.unwrap_or(1);
        let visibility = ask.visibility_timeout.unwrap_or(queue.config.visibility_timeout_s);
        if !(1..=MAX_BATCH).contains(&limit) {
            return Err(invalid("MaxNumberOfMessages must be between 1 and 10."));
        }
        if ask.wait_time_seconds > MAX_WAIT || visibility > MAX_VISIBILITY {
            return Err(invalid("WaitTimeSeconds or VisibilityTimeout is out of range."));
        }
        let visibility = if faults.contains(&Fault::Duplicate) { 0 } else { visibility };
        let deadline = Instant::now() + Duration::from_secs(ask.wait_time_seconds);
        loop {
            // Before the look: what arrives between it and the wait must wake us.
            let arrived = queue.arrived.notified();
            let (received, next) = self.take(queue, limit, Duration::from_secs(visibility));
            if !received.is_empty() {
                let shown: Vec<_> = received.iter().map(|one| ask.shown(one)).collect();
                return Ok(json!({"Messages": shown}));
            }
            if Instant::now() >= deadline {
                return Ok(json!({}));
            }
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(next.map_or(deadline, |next| next.min(deadline))) => {}
            }
        }
    }

    /// Takes what is visible now, and moves what was received too often; also when the next one is visible.
    fn take(
        &self,
        queue: &Queue,
        limit: usize,
        invisible: Duration,
    ) -> (Vec<(String, Message)>, Option<Instant>) {
        let dead_letters =
            queue.config.dead_letters.as_ref().and_then(|name| self.queues.get(name));
        let ask = Receive {
            limit,
            invisible,
            max_receives: dead_letters.is_some().then_some(queue.config.max_receives),
            now: Instant::now(),
            wall: now() / 1_000,
        };
        let (received, given_up, next) = {
            let mut messages = queue.messages();
            let (received, given_up) = messages.receive(ask);
            (received, given_up, messages.next_visible())
        };
        if let Some(dead_letters) = dead_letters.filter(|_| !given_up.is_empty()) {
            let mut dead = dead_letters.messages();
            given_up.into_iter().for_each(|message| dead.take_over(message, ask.now));
            dead_letters.arrived.notify_waiters();
        }
        (received, next)
    }

    fn attributes(&self, queue: &Queue, input: &Value) -> Value {
        let (visible, hidden) = queue.messages().counts(Instant::now());
        let mut all = json!({
            "ApproximateNumberOfMessages": visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
            "VisibilityTimeout": queue.config.visibility_timeout_s.to_string(),
            "MaximumMessageSize": MAX_BYTES.to_string(),
            "MessageRetentionPeriod": RETENTION.to_string(),
            "ReceiveMessageWaitTimeSeconds": "0",
            "DelaySeconds": "0",
            "QueueArn": self.queue_arn(&queue.config.name),
        });
        if let Some(dead_letters) = &queue.config.dead_letters {
            let policy = json!({
                "deadLetterTargetArn": self.queue_arn(dead_letters),
                "maxReceiveCount": queue.config.max_receives,
            });
            all["RedrivePolicy"] = json!(policy.to_string());
        }
        let policy = queue.policy().clone();
        if !policy.is_empty() {
            all["Policy"] = json!(policy);
        }
        let names: Vec<String> = list(&input["AttributeNames"]);
        let wanted = |name: &str| names.iter().any(|asked| asked == "All" || asked == name);
        if let Some(all) = all.as_object_mut() {
            all.retain(|name, _| wanted(name));
        }
        json!({"Attributes": all})
    }
}

impl Queue {
    fn send_one(&self, message: Send) -> Result<Value, Error> {
        if message.message_body.is_empty() || message.message_body.len() > MAX_BYTES {
            return Err(invalid("A message has 1 to 1048576 bytes."));
        }
        if message.delay_seconds > MAX_DELAY || !message.message_attributes.is_empty() {
            return Err(aws(
                "UnsupportedOperation",
                "The lab knows no message attributes, and delays up to 900 s.",
            ));
        }
        let id = self.send(&message.message_body, Duration::from_secs(message.delay_seconds));
        let digest = hex(&md5(message.message_body.as_bytes()));
        Ok(json!({"Id": message.id, "MessageId": id, "MD5OfMessageBody": digest}))
    }

    fn delete(&self, receipt: &Receipt) -> Result<Value, Error> {
        self.messages().delete(&receipt.receipt_handle).map_err(refused)?;
        Ok(json!({"Id": receipt.id}))
    }

    fn change(&self, receipt: &Receipt) -> Result<Value, Error> {
        if receipt.visibility_timeout > MAX_VISIBILITY {
            return Err(invalid("VisibilityTimeout must be between 0 and 43200."));
        }
        let invisible = Duration::from_secs(receipt.visibility_timeout);
        let changed = self.messages().change(&receipt.receipt_handle, invisible, Instant::now());
        changed.map_err(refused)?;
        // It may be visible now to those who wait.
        self.arrived.notify_waiters();
        Ok(json!({"Id": receipt.id}))
    }
}

impl Ask {
    /// A message as it is received.
    fn shown(&self, (receipt, message): &(String, Message)) -> Value {
        let names = [&self.attribute_names, &self.message_system_attribute_names];
        let wanted = |name: &str| {
            names.iter().copied().flatten().any(|asked| asked == "All" || asked == name)
        };
        let all = [
            ("ApproximateReceiveCount", i64::from(message.receives)),
            ("SentTimestamp", message.sent),
            ("ApproximateFirstReceiveTimestamp", message.first_received.unwrap_or_default()),
        ];
        let attributes: Map<String, Value> = all
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (name.to_owned(), json!(value.to_string())))
            .collect();
        json!({
            "MessageId": message.id,
            "ReceiptHandle": receipt,
            "MD5OfBody": hex(&md5(message.body.as_bytes())),
            "Body": message.body,
            "Attributes": attributes,
        })
    }
}

/// The entries of a batch, if SQS would look at them.
fn checked(batch: Batch) -> Result<Vec<Value>, Error> {
    let ids: BTreeSet<&str> =
        batch.entries.iter().filter_map(|entry| entry["Id"].as_str()).collect();
    match batch.entries.len() {
        0 => Err(aws("EmptyBatchRequest", "There should be at least one entry in the request.")),
        count if count > MAX_BATCH => Err(aws(
            "TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10.",
        )),
        count if count != ids.len() => Err(aws(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        )),
        _ => Ok(batch.entries),
    }
}

/// Does each entry of a batch; those that fail are told and do not stop the others.
fn each(
    entries: Vec<Value>,
    faults: &[Fault],
    act: impl Fn(Value) -> Result<Value, Error>,
) -> Result<Value, Error> {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (index, entry) in entries.into_iter().enumerate() {
        let id = entry["Id"].clone();
        let struck = index == 0 && faults.contains(&Fault::FailEntry);
        match if struck { Err(Error::internal()) } else { act(entry) } {
            Ok(value) => successful.push(value),
            Err(error) => failed.push(json!({
                "Id": id,
                "SenderFault": !error.status.is_server_error(),
                "Code": error.code,
                "Message": error.message,
            })),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn parsed<T: DeserializeOwned>(input: Value) -> Result<T, Error> {
    serde_json::from_value(input).map_err(|error| invalid(&error.to_string()))
}

fn list(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn no_queue() -> Error {
    let code = "AWS.SimpleQueueService.NonExistentQueue";
    Error::new("QueueDoesNotExist", code, "The specified queue does not exist.")
}

fn invalid(message: &str) -> Error {
    Error::new("InvalidParameterValue", "InvalidParameterValue", message)
}

/// Errors whose older code is their name in SQS's name space.
fn aws(kind: &'static str, message: &str) -> Error {
    let code = match kind {
        "UnsupportedOperation" => "AWS.SimpleQueueService.UnsupportedOperation",
        "BatchRequestTooLong" => "AWS.SimpleQueueService.BatchRequestTooLong",
        "EmptyBatchRequest" => "AWS.SimpleQueueService.EmptyBatchRequest",
        "TooManyEntriesInBatchRequest" => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct" => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "MessageNotInflight" => "AWS.SimpleQueueService.MessageNotInflight",
        other => other,
    };
    Error::new(kind, code, message)
}

fn refused(refused: Refused) -> Error {
    match refused {
        Refused::Malformed => {
            let kind = "ReceiptHandleIsInvalid";
            Error::new(kind, kind, "The specified receipt handle isn't valid.")
        }
        Refused::NotInFlight => aws("MessageNotInflight", "The specified message isn't in flight."),
        Refused::TooLong => invalid("Total VisibilityTimeout for the message is beyond the limit."),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::{QueueConfig, QueuesConfig};
    use super::*;

    /// Receives with a wait of 20 seconds while something else happens; tells what came after how many seconds.
    async fn poll(queues: &Queues, meanwhile: impl Future<Output = ()>) -> (usize, u64) {
        let begin = Instant::now();
        let input = json!({"QueueName": "q", "WaitTimeSeconds": 20, "VisibilityTimeout": 3});
        let (received, ()) = tokio::join!(queues.perform("ReceiveMessage", input, &[]), meanwhile);
        let count = received.unwrap()["Messages"].as_array().map_or(0, Vec::len);
        (count, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_poll_ends_when_a_message_is_sent_or_visible_again_or_never() {
        let config = QueuesConfig::new("sqs", "us-east-1").queue(QueueConfig::new("q"));
        let queues = Queues::new(config, SocketAddr::from(([127, 0, 0, 1], 1)));
        let sent = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            queues.send("q", "a");
        };
        assert_eq!(poll(&queues, sent).await, (1, 5));
        assert_eq!(poll(&queues, async {}).await, (1, 3));
        let purged =
            async { drop(queues.perform("PurgeQueue", json!({"QueueName": "q"}), &[]).await) };
        assert_eq!(poll(&queues, purged).await, (0, 20));
    }
}
