//! A server of queues that speaks what SQS speaks: JSON over HTTP, signed requests, long polls, dead letters.

mod act;
mod messages;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::auth::{self, Keys, Signed};
use crate::clock::now;
use crate::error::S3Error;
use crate::fault::{Fault, Faults, Gate};
use crate::record::Counts;
use crate::request::query_of;
use crate::s3::delay_of;
use crate::server::{Body, plain};
use crate::text::hex;
use messages::Messages;

/// Account in URLs and ARNs.
const ACCOUNT: &str = "000000000000";

/// What a server of queues is to be.
#[derive(Clone, Debug)]
pub struct QueuesConfig {
    /// Its name.
    pub name: String,
    /// Region that requests must be signed for.
    pub region: String,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Secrets by access key.
    pub keys: BTreeMap<String, String>,
    /// Its queues.
    pub queues: Vec<QueueConfig>,
}

/// What a queue is to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// Its name.
    pub name: String,
    /// Seconds that a received message is invisible for, unless a request says otherwise.
    #[serde(default = "QueueConfig::thirty_seconds")]
    pub visibility_timeout_s: u64,
    /// Queue of the same server that takes messages received too often; none when left out.
    #[serde(default)]
    pub dead_letters: Option<String>,
    /// How often a message is received before it is a dead letter.
    #[serde(default = "QueueConfig::ten_times")]
    pub max_receives: u32,
}

/// A running server of queues.
#[derive(Debug)]
pub struct Queues {
    name: String,
    region: String,
    address: SocketAddr,
    keys: BTreeMap<String, String>,
    queues: BTreeMap<String, Queue>,
    state: Mutex<State>,
    gate: Gate,
}

/// A message as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct QueuedMessage {
    /// Its body.
    pub body: String,
    /// How often it was received.
    pub receives: u32,
    /// Whether it can be received now.
    pub visible: bool,
}

#[derive(Debug)]
struct Queue {
    config: QueueConfig,
    /// As its attributes tell it; the lab's own buckets send whatever it says.
    policy: Mutex<String>,
    messages: Mutex<Messages>,
    /// Wakes those who wait for messages.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    faults: Faults,
}

/// An error as SQS answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Error {
    status: StatusCode,
    /// Name of its shape.
    kind: &'static str,
    /// Its code in the older protocol, which clients still see.
    code: &'static str,
    message: String,
}

// === impl QueuesConfig ===

impl QueuesConfig {
    /// A server without queues on any port of this machine.
    #[must_use]
    pub fn new(name: &str, region: &str) -> Self {
        Self {
            name: name.to_owned(),
            region: region.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: BTreeMap::new(),
            queues: Vec::new(),
        }
    }

    /// With an access key and its secret.
    #[must_use]
    pub fn key(mut self, access_key: &str, secret: &str) -> Self {
        self.keys.insert(access_key.to_owned(), secret.to_owned());
        self
    }

    /// With a queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queues.push(queue);
        self
    }
}

// === impl QueueConfig ===

impl QueueConfig {
    /// A queue with SQS's defaults.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            visibility_timeout_s: Self::thirty_seconds(),
            dead_letters: None,
            max_receives: Self::ten_times(),
        }
    }

    fn thirty_seconds() -> u64 {
        30
    }

    fn ten_times() -> u32 {
        10
    }
}

// === impl Queues ===

impl Queues {
    pub(crate) fn new(config: QueuesConfig, address: SocketAddr) -> Arc<Self> {
        let QueuesConfig { name, region, listen: _, keys, queues } = config;
        let queue = |config: QueueConfig| {
            let name = config.name.clone();
            (
                name,
                Queue {
                    config,
                    policy: Mutex::default(),
                    messages: Mutex::default(),
                    arrived: Notify::new(),
                },
            )
        };
        let queues = queues.into_iter().map(queue).collect();
        let (state, gate) = (Mutex::default(), Gate::default());
        Arc::new(Self { name, region, address, keys, queues, state, gate })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// URL of a queue, as requests name it.
    #[must_use]
    pub fn queue_url(&self, queue: &str) -> String {
        format!("{}/{ACCOUNT}/{queue}", self.url())
    }

    /// ARN of a queue.
    #[must_use]
    pub fn queue_arn(&self, queue: &str) -> String {
        format!("arn:{}:sqs:{}:{ACCOUNT}:{queue}", partition(&self.region), self.region)
    }

    /// Whether there is a queue.
    #[must_use]
    pub fn has_queue(&self, queue: &str) -> bool {
        self.queues.contains_key(queue)
    }

    /// Gives a queue a policy, which its attributes tell. The lab's own buckets send whatever it says.
    ///
    /// # Panics
    /// When there is no such queue.
    pub fn set_policy(&self, queue: &str, policy: &str) {
        *self.queues[queue].policy() = policy.to_owned();
    }

    /// Sends a message without a request.
    ///
    /// # Panics
    /// When there is no such queue.
    pub fn send(&self, queue: &str, body: &str) {
        self.queues[queue].send(body, Duration::ZERO);
    }

    /// The messages of a queue, oldest first.
    ///
    /// # Panics
    /// When there is no such queue.
    #[must_use]
    pub fn messages(&self, queue: &str) -> Vec<QueuedMessage> {
        let now = Instant::now();
        let shown = |message: &messages::Message| QueuedMessage {
            body: message.body.clone(),
            receives: message.receives,
            visible: message.is_visible(now),
        };
        self.queues[queue].messages().iter().map(shown).collect()
    }

    /// As if the time had passed for which messages that were received are invisible.
    ///
    /// # Panics
    /// When there is no such queue.
    pub fn show(&self, queue: &str) {
        let queue = &self.queues[queue];
        queue.messages().show(Instant::now());
        queue.arrived.notify_waiters();
    }

    /// Switches faults on or off. Rules name SQS's operations, and queues as buckets. Requests that are held go on.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        self.gate.open();
    }

    /// How many requests are held by a fault.
    #[must_use]
    pub fn held(&self) -> usize {
        self.gate.held()
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// What was asked so far, by operation, access key and queue.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Forgets what was asked.
    pub fn reset_counts(&self) {
        self.state().counts = Counts::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one request. An error breaks the connection.
    pub(crate) async fn serve(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (parts, incoming) = request.into_parts();
        let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix("AmazonSQS."));
        let operation = operation.unwrap_or("Unknown").to_owned();
        let body = incoming.collect().await.map_err(io::Error::other)?.to_bytes();
        let input = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let queue = act::queue_of(&input).to_owned();
        let (faults, mut ticket) = {
            let mut state = self.state();
            state.counts.add(&operation, auth::claimed_key(&parts.headers), queue.clone());
            (state.faults.strike(&operation, &queue, b""), self.gate.ticket())
        };
        let millis = delay_of(&faults);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        self.gate.pass(Fault::Hold, &faults, &mut ticket).await;
        let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        if faults.contains(&Fault::ResetBefore) {
            return broken();
        }
        let result = match self.allowed(&parts, &body, &faults) {
            Ok(()) => self.perform(&operation, input, &faults).await,
            Err(error) => Err(error),
        };
        self.gate.pass(Fault::HoldAnswer, &faults, &mut ticket).await;
        if faults.contains(&Fault::ResetAfter) {
            return broken();
        }
        Ok(result.map_or_else(
            |error| error.response(),
            |value| plain(StatusCode::OK, value.to_string()),
        ))
    }

    /// Verifies a request, unless a fault refuses it.
    fn allowed(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
        faults: &[Fault],
    ) -> Result<(), Error> {
        let signed = Signed {
            method: &parts.method,
            path: parts.uri.path(),
            query: &query_of(&parts.uri),
            headers: &parts.headers,
            payload: &hex(&Sha256::digest(body)),
        };
        let keys = Keys { secrets: &self.keys, region: &self.region, service: "sqs" };
        auth::verify(signed, keys).map_err(Error::of_signature)?;
        let refusals = [
            (Fault::SlowDown, Error::throttled()),
            (Fault::InternalError, Error::internal()),
            (Fault::AccessDenied, Error::denied()),
        ];
        for (fault, error) in refusals {
            if faults.contains(&fault) {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Partition of a region, as ARNs have it.
fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") { "aws-cn" } else { "aws" }
}

// === impl Queue ===

impl Queue {
    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn policy(&self) -> MutexGuard<'_, String> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; tells its id.
    fn send(&self, body: &str, delay: Duration) -> String {
        let id = self.messages().send(body, now() / 1_000, Instant::now() + delay);
        self.arrived.notify_waiters();
        id
    }
}

// === impl Error ===

impl Error {
    fn new(kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind, code, message: message.into() }
    }

    fn throttled() -> Self {
        Self::new("RequestThrottled", "RequestThrottled", "Rate exceeded")
    }

    fn internal() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self {
            status,
            ..Self::new("InternalFailure", "InternalError", "We encountered an internal error.")
        }
    }

    fn denied() -> Self {
        let status = StatusCode::FORBIDDEN;
        Self {
            status,
            ..Self::new(
                "AccessDeniedException",
                "AccessDenied",
                "Access to the resource is denied.",
            )
        }
    }

    fn of_signature(error: S3Error) -> Self {
        let kind = match error.code {
            "InvalidAccessKeyId" => "InvalidClientTokenId",
            other => other,
        };
        Self { status: StatusCode::FORBIDDEN, ..Self::new(kind, kind, error.message) }
    }

    fn response(self) -> Response<Body> {
        let Self { status, kind, code, message } = self;
        let body = json!({"__type": format!("com.amazonaws.sqs#{kind}"), "message": message});
        let mut response = plain(status, body.to_string());
        let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
        if let Ok(value) = HeaderValue::from_str(&format!("{code};{fault}")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
        response
    }
}
