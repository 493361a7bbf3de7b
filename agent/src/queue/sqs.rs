//! Queues through the AWS SDK. Only this file names it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, IdentityCache, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use s3sync_proto::model::{EndpointSpec, QueueAttributes, Timestamp};

use super::{Class, Error, MAX_BATCH, MAX_WAIT, NotDone, Queue, QueueState, Received};
use crate::config::Credential;
use crate::metrics::{Metrics, Requests};
use crate::s3::aws::{CONNECT_TIMEOUT, ConnectError, Counted, chain, http_client, provider};

/// How long to wait for an answer beyond the long poll.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The name under which requests are counted that nobody reads.
const QUEUE: &str = "queue";

/// A queue behind SQS.
pub struct Sqs {
    client: Client,
    url: String,
}

impl Sqs {
    /// The queue of this URL, read with the credential and the region of an endpoint. Connects to nothing yet.
    ///
    /// # Errors
    /// When the certificates to trust cannot be used.
    pub fn new(
        url: &str,
        endpoint: &EndpointSpec,
        credential: &Credential,
        ca: Option<&[u8]>,
    ) -> Result<Self, ConnectError> {
        let requests = Metrics::none().requests(&QUEUE.parse().expect("it is a name"));
        Self::counted(url, endpoint, credential, ca, requests)
    }

    /// As [`Self::new`], and counts its requests.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn counted(
        url: &str,
        endpoint: &EndpointSpec,
        credential: &Credential,
        ca: Option<&[u8]>,
        requests: Arc<Requests>,
    ) -> Result<Self, ConnectError> {
        let region = Region::new(endpoint.region.clone());
        // The URL says where SQS is; the endpoint's own URL is that of S3.
        let server = server_of(url);
        let http = http_client(server.starts_with("https:"), ca)?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(MAX_WAIT + ANSWER_WITHIN)
            .build();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .credentials_provider(provider(credential, region))
            .identity_cache(IdentityCache::lazy().build())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .interceptor(Counted::new(requests))
            .endpoint_url(server)
            .build();
        Ok(Self { client: Client::from_conf(config), url: url.to_owned() })
    }

    async fn all_attributes(&self) -> Result<HashMap<QueueAttributeName, String>, Error> {
        let get = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::All);
        let answer = get.send().await.map_err(|error| self.failed("GetQueueAttributes", &error))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    fn failed<E>(&self, operation: &'static str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (class, code) = match error {
            SdkError::ServiceError(_) => {
                let code = error.code().unwrap_or_default();
                (class_of(code, status.unwrap_or_default()), code.to_owned())
            }
            SdkError::ConstructionFailure(_) => (Class::Permanent, "not_a_request".to_owned()),
            SdkError::TimeoutError(_) => (Class::Transient, "timeout".to_owned()),
            // No connection, one that broke, no credential now, an answer that is none.
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
                (Class::Transient, "connection".to_owned())
            }
        };
        let said = error.message().filter(|message| !message.is_empty());
        let message = said.map_or_else(|| chain(error), str::to_owned);
        Error { class, operation, url: self.url.clone(), code, message }
    }
}

/// Scheme, host and port of a queue's URL.
fn server_of(url: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    url[..end].to_owned()
}

/// The class of an answer by its code (SQS API reference, "Common errors" and those of each action), else by its status.
fn class_of(code: &str, status: u16) -> Class {
    match code.rsplit(['.', '#']).next().unwrap_or_default() {
        "RequestThrottled"
        | "ThrottlingException"
        | "Throttling"
        | "OverLimit"
        | "KmsThrottled" => Class::Throttled,
        "QueueDoesNotExist" | "NonExistentQueue" => Class::NoSuchQueue,
        "AccessDenied"
        | "AccessDeniedException"
        | "KmsAccessDenied"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "OptInRequired" => Class::Denied,
        _ => match status {
            401 | 403 => Class::Denied,
            429 => Class::Throttled,
            500.. => Class::Transient,
            _ => Class::Permanent,
        },
    }
}

#[async_trait]
impl Queue for Sqs {
    async fn receive(&self, wait: Duration, hidden: Duration) -> Result<Vec<Received>, Error> {
        let receive = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(seconds_or_count(MAX_BATCH as u64))
            .wait_time_seconds(seconds_or_count(wait.min(MAX_WAIT).as_secs()))
            .visibility_timeout(seconds_or_count(hidden.as_secs()))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(
                MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
            );
        let answer = receive.send().await;
        let ReceiveMessageOutput { messages, .. } =
            answer.map_err(|error| self.failed("ReceiveMessage", &error))?;
        Ok(messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    async fn delete(&self, receipts: &[String]) -> Result<Vec<NotDone>, Error> {
        let mut delete = self.client.delete_message_batch().queue_url(&self.url);
        for (index, receipt) in receipts.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .build();
            delete = delete.entries(entry.expect("id and receipt are set"));
        }
        let answer =
            delete.send().await.map_err(|error| self.failed("DeleteMessageBatch", &error))?;
        Ok(not_done(receipts, answer.failed()))
    }

    async fn hide(&self, receipts: &[String], hidden: Duration) -> Result<Vec<NotDone>, Error> {
        let mut change = self.client.change_message_visibility_batch().queue_url(&self.url);
        for (index, receipt) in receipts.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(seconds_or_count(hidden.as_secs()))
                .build();
            change = change.entries(entry.expect("id and receipt are set"));
        }
        let answer = change
            .send()
            .await
            .map_err(|error| self.failed("ChangeMessageVisibilityBatch", &error))?;
        Ok(not_done(receipts, answer.failed()))
    }

    async fn state(&self) -> Result<QueueState, Error> {
        let attributes = self.all_attributes().await?;
        let text = |name| attributes.get(&name).map(String::as_str);
        let number = |name| text(name).and_then(|value| value.parse::<u64>().ok());
        Ok(QueueState {
            waiting: number(QueueAttributeName::ApproximateNumberOfMessages).unwrap_or_default(),
            in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
                .unwrap_or_default(),
            retention: number(QueueAttributeName::MessageRetentionPeriod).map(Duration::from_secs),
            max_receives: text(QueueAttributeName::RedrivePolicy).and_then(max_receives),
        })
    }

    async fn attributes(&self) -> Result<QueueAttributes, Error> {
        let attributes = self.all_attributes().await?;
        let text = |name| attributes.get(&name).cloned().unwrap_or_default();
        let seconds = |name| text(name).parse().ok().map(Duration::from_secs);
        let redrive = text(QueueAttributeName::RedrivePolicy);
        Ok(QueueAttributes {
            arn: text(QueueAttributeName::QueueArn),
            policy: text(QueueAttributeName::Policy),
            retention: seconds(QueueAttributeName::MessageRetentionPeriod),
            visibility: seconds(QueueAttributeName::VisibilityTimeout),
            max_receives: max_receives(&redrive),
            kms_key: text(QueueAttributeName::KmsMasterKeyId),
        })
    }
}

/// A number of a request; all of them are small.
fn seconds_or_count(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A message that can be read and deleted. One without a receipt can be neither, and comes again.
fn received(message: Message) -> Option<Received> {
    let attribute = |name| message.attributes.as_ref().and_then(|all| all.get(&name));
    let receives = attribute(MessageSystemAttributeName::ApproximateReceiveCount)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let time = |name| {
        let millis = attribute(name)?.parse::<i64>().ok().filter(|millis| *millis > 0)?;
        Some(Timestamp::from_micros(millis.saturating_mul(1_000)))
    };
    let sent = time(MessageSystemAttributeName::SentTimestamp);
    let first = time(MessageSystemAttributeName::ApproximateFirstReceiveTimestamp);
    let waited = sent.zip(first).map(|(sent, first)| first.since(sent));
    Some(Received {
        receipt: message.receipt_handle?,
        body: message.body.unwrap_or_default(),
        receives,
        sent,
        waited,
    })
}

/// The entries of a batch that failed, by their receipts.
fn not_done(receipts: &[String], failed: &[BatchResultErrorEntry]) -> Vec<NotDone> {
    let receipt = |id: &str| id.parse::<usize>().ok().and_then(|index| receipts.get(index));
    failed
        .iter()
        .filter_map(|entry| {
            let receipt = receipt(entry.id())?.clone();
            Some(NotDone { receipt, code: entry.code().to_owned() })
        })
        .collect()
}

/// Of a redrive policy, JSON that writes the number as a number or as a text.
fn max_receives(policy: &str) -> Option<u32> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let number = &policy["maxReceiveCount"];
    let number = number.as_u64().or_else(|| number.as_str()?.parse().ok())?;
    u32::try_from(number).ok()
}

/// Says nothing of what is inside.
impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
