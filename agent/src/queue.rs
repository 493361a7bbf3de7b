//! The seam to queues, in our own types. Only `queue/sqs.rs` names the SDK.

pub mod sqs;

use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::model::{FailureClass, QueueAttributes, Timestamp, WorkError};

/// Most messages of one request, to receive or to delete (SQS API, ReceiveMessage and DeleteMessageBatch).
pub const MAX_BATCH: usize = 10;
/// Longest long poll (SQS API, ReceiveMessage).
pub const MAX_WAIT: Duration = Duration::from_secs(20);

/// One queue with one credential. Each call is one request; retries are the callers' business.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Waits for messages: up to `wait` (at most [`MAX_WAIT`]) for at least one, and takes up to [`MAX_BATCH`]. For
    /// `hidden` nobody else gets them.
    async fn receive(&self, wait: Duration, hidden: Duration) -> Result<Vec<Received>, Error>;

    /// Deletes messages by their receipts, at most [`MAX_BATCH`]. Returns those that were not deleted: they come again.
    async fn delete(&self, receipts: &[String]) -> Result<Vec<NotDone>, Error>;

    /// Hides messages for so long from now on, at most [`MAX_BATCH`]; for no time at all gives them back. Returns those
    /// for which it was refused.
    async fn hide(&self, receipts: &[String], hidden: Duration) -> Result<Vec<NotDone>, Error>;

    /// How the queue stands and how it is set up.
    async fn state(&self) -> Result<QueueState, Error>;

    /// How the queue is set up, in full.
    async fn attributes(&self) -> Result<QueueAttributes, Error>;
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it is deleted and hidden by; new each time it is received.
    pub receipt: String,
    /// What it says.
    pub body: String,
    /// How often it was received, this time included.
    pub receives: u32,
    /// When it was sent; `None` when the queue does not say.
    pub sent: Option<Timestamp>,
    /// How long it had waited when it was received first, by the queue's clock; `None` when the queue does not say.
    pub waited: Option<Duration>,
}

/// A message of a batch with which it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDone {
    /// Its receipt.
    pub receipt: String,
    /// SQS's code.
    pub code: String,
}

/// How a queue stands and how it is set up. Numbers are SQS's approximations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait to be received.
    pub waiting: u64,
    /// Messages that were received and neither deleted nor given back.
    pub in_flight: u64,
    /// How long a message is kept; `None` when the queue does not say.
    pub retention: Option<Duration>,
    /// Receives after which a message goes to the dead letters; `None`: it never does.
    pub max_receives: Option<u32>,
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {url} failed: {code}: {message}")]
pub struct Error {
    /// What a caller does about it.
    pub class: Class,
    /// Which request.
    pub operation: &'static str,
    /// The queue.
    pub url: String,
    /// SQS's error code, or a short name of ours such as `timeout`.
    pub code: String,
    /// What happened, for a person.
    pub message: String,
}

/// What a caller does about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// SQS asks to slow down.
    Throttled,
    /// May pass.
    Transient,
    /// Refused for want of permission, or a credential that does not work.
    Denied,
    /// There is no such queue.
    NoSuchQueue,
    /// Refused; trying again is of no use.
    Permanent,
}

impl From<&Error> for WorkError {
    fn from(error: &Error) -> Self {
        let class = match error.class {
            Class::Throttled => FailureClass::Throttled,
            Class::Transient => FailureClass::Transient,
            Class::Denied | Class::NoSuchQueue | Class::Permanent => FailureClass::Permanent,
        };
        let message = format!("{}: {}", error.operation, error.message);
        Self { class, code: error.code.clone(), message }
    }
}
