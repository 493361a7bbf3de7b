//! What the agent counts, and how it is read. Every name is listed in docs/metrics.md, which a test holds against this file.
//!
//! A request costs a look-up of labels that were made before, and no allocation; what limiters and the session know anyway
//! is looked up when somebody reads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use s3sync_proto::model::Name;
use s3sync_telemetry::Program;
use s3sync_telemetry::metrics::{SECONDS, none};

use crate::s3::Class;
use crate::session::Standing;
use crate::worker::Engine;

/// The program, as its traces and metrics name it.
pub const PROGRAM: Program = Program { name: "s3sync-agent", version: env!("CARGO_PKG_VERSION") };

/// Requests that the agent makes, under the names of the APIs. Others, which a later SDK may bring, are `other`.
const OPERATIONS: &[&str] = &[
    "GetObject",
    "PutObject",
    "ListObjectsV2",
    "HeadObject",
    "CopyObject",
    "UploadPart",
    "UploadPartCopy",
    "CreateMultipartUpload",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObjectTagging",
    "ListMultipartUploads",
    "ListParts",
    "GetBucketNotificationConfiguration",
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
    "other",
];

/// Classes of answers; `none` came not in time, or not at all.
const STATUSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

/// Labels of one operation: with each class of answers, and without.
struct Labels {
    by_status: [[KeyValue; 3]; STATUSES.len()],
    plain: [KeyValue; 2],
}

/// The instruments of all requests.
#[derive(Clone)]
pub struct Metrics {
    instruments: Instruments,
    endpoints: Arc<Mutex<HashMap<Name, Arc<Requests>>>>,
}

/// The requests to one endpoint.
pub struct Requests {
    instruments: Instruments,
    labels: Vec<Labels>,
    directions: [[KeyValue; 2]; 2],
    in_flight: AtomicI64,
}

#[derive(Clone)]
struct Instruments {
    requests: Counter<u64>,
    duration: Histogram<f64>,
    bytes: Counter<u64>,
}

/// Where the bytes of a body go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the endpoint.
    Received,
    /// To the endpoint.
    Sent,
}

// === impl Metrics ===

impl Metrics {
    /// Makes the instruments.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let endpoints: Arc<Mutex<HashMap<Name, Arc<Requests>>>> = Arc::default();
        let seen = Arc::clone(&endpoints);
        meter
            .i64_observable_up_down_counter("s3sync.s3.requests.in_flight")
            .with_description("Requests that were sent and not answered")
            .with_callback(move |observer| {
                for requests in seen.lock().unwrap_or_else(PoisonError::into_inner).values() {
                    let [_, endpoint] = &requests.directions[0];
                    let count = requests.in_flight.load(Ordering::Relaxed);
                    observer.observe(count, std::slice::from_ref(endpoint));
                }
            })
            .build();
        let instruments = Instruments {
            requests: meter
                .u64_counter("s3sync.s3.requests")
                .with_description("Requests to S3 and SQS, by the class of the answer")
                .build(),
            duration: meter
                .f64_histogram("s3sync.s3.request.duration")
                .with_unit("s")
                .with_description("Time from sending a request to the head of its answer")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            bytes: meter
                .u64_counter("s3sync.s3.body")
                .with_unit("By")
                .with_description(
                    "Bytes of objects in requests and answers, as their lengths were announced",
                )
                .build(),
        };
        Self { instruments, endpoints }
    }

    /// Counts nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(&none())
    }

    /// Those of an endpoint.
    #[must_use]
    pub fn requests(&self, endpoint: &Name) -> Arc<Requests> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = endpoints.entry(endpoint.clone());
        Arc::clone(
            requests.or_insert_with(|| Arc::new(Requests::new(self.instruments.clone(), endpoint))),
        )
    }
}

// === impl Requests ===

impl Requests {
    /// Labels in the order of their names, as the library keeps them.
    fn new(instruments: Instruments, endpoint: &Name) -> Self {
        let endpoint = KeyValue::new("endpoint", endpoint.to_string());
        let labels = OPERATIONS.iter().map(|operation| {
            let operation = KeyValue::new("operation", *operation);
            let plain = [endpoint.clone(), operation.clone()];
            let with =
                |status| [endpoint.clone(), operation.clone(), KeyValue::new("status", status)];
            Labels { by_status: STATUSES.map(with), plain }
        });
        let directions = ["received", "sent"]
            .map(|direction| [KeyValue::new("direction", direction), endpoint.clone()]);
        Self { instruments, labels: labels.collect(), directions, in_flight: AtomicI64::new(0) }
    }

    /// A request of this name is about to be sent.
    pub(crate) fn sent(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ended: with an answer of this status, or without one.
    pub(crate) fn ended(&self, operation: usize, status: Option<u16>, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let class = match status {
            Some(200..300) => 0,
            Some(300..400) => 1,
            Some(400..500) => 2,
            Some(500..600) => 3,
            Some(_) | None => 4,
        };
        let labels = &self.labels[operation];
        self.instruments.requests.add(1, &labels.by_status[class]);
        self.instruments.duration.record(took.as_secs_f64(), &labels.plain);
    }

    /// A body of so many bytes is on its way.
    pub(crate) fn body(&self, direction: Direction, bytes: u64) {
        let labels = match direction {
            Direction::Received => &self.directions[0],
            Direction::Sent => &self.directions[1],
        };
        self.instruments.bytes.add(bytes, labels);
    }
}

/// The place of an operation among those that are told apart.
pub(crate) fn operation(name: &str) -> usize {
    let last = OPERATIONS.len() - 1;
    OPERATIONS.iter().position(|known| *known == name).unwrap_or(last)
}

/// Whether bodies of this operation are objects.
pub(crate) fn carries_object(operation: usize) -> Option<Direction> {
    match OPERATIONS[operation] {
        "GetObject" => Some(Direction::Received),
        "PutObject" | "UploadPart" => Some(Direction::Sent),
        _ => None,
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// Makes what the limiters know readable.
pub(crate) fn observe_engine(meter: &Meter, engine: &Arc<Engine>) {
    let each = Arc::clone(engine);
    meter
        .u64_observable_counter("s3sync.s3.failures")
        .with_description("Requests of workers that failed, by what it means")
        .with_callback(move |observer| {
            for (endpoint, limiter) in each.limiters() {
                for class in Class::ALL {
                    let class_name = KeyValue::new("class", class.name());
                    let endpoint = KeyValue::new("endpoint", endpoint.to_string());
                    observer.observe(limiter.failures(class), &[class_name, endpoint]);
                }
            }
        })
        .build();
    let each = Arc::clone(engine);
    meter
        .u64_observable_counter("s3sync.s3.retries")
        .with_description(
            "Waits after which a request or a copy is tried again, by the endpoint that failed",
        )
        .with_callback(move |observer| {
            for (endpoint, limiter) in each.limiters() {
                let endpoint = KeyValue::new("endpoint", endpoint.to_string());
                observer.observe(limiter.retries(), &[endpoint]);
            }
        })
        .build();
    let each = Arc::clone(engine);
    meter
        .i64_observable_up_down_counter("s3sync.s3.requests.allowed")
        .with_description(
            "Requests in flight that are allowed now; fewer when the endpoint asks to slow down",
        )
        .with_callback(move |observer| {
            for (endpoint, limiter) in each.limiters() {
                let endpoint = KeyValue::new("endpoint", endpoint.to_string());
                observer.observe(i64::try_from(limiter.allowed()).unwrap_or(i64::MAX), &[endpoint]);
            }
        })
        .build();
    let each = Arc::clone(engine);
    meter
        .u64_observable_gauge("s3sync.body.memory")
        .with_unit("By")
        .with_description("Room for bodies of objects in memory, and how much of it is taken")
        .with_callback(move |observer| {
            for (state, bytes) in [("room", each.bytes.max()), ("taken", each.bytes.taken())] {
                observer.observe(bytes, &[KeyValue::new("state", state)]);
            }
        })
        .build();
}

/// Makes how the session stands readable.
pub(crate) fn observe_session(meter: &Meter, standing: &Arc<Standing>) {
    let each = Arc::clone(standing);
    meter
        .u64_observable_gauge("s3sync.session.up")
        .with_description("1 while there is a session with the server")
        .with_callback(move |observer| observer.observe(u64::from(each.is_up()), &[]))
        .build();
    let each = Arc::clone(standing);
    meter
        .u64_observable_counter("s3sync.session.opened")
        .with_description("Sessions that were opened since the start")
        .with_callback(move |observer| observer.observe(each.opened(), &[]))
        .build();
    let each = Arc::clone(standing);
    meter
        .u64_observable_gauge("s3sync.session.may_write")
        .with_description("1 while commits at destinations may begin")
        .with_callback(move |observer| observer.observe(u64::from(each.may_write()), &[]))
        .build();
    let each = Arc::clone(standing);
    meter
        .u64_observable_gauge("s3sync.assignments")
        .with_description("Assignments that are held, and how many more would be taken")
        .with_callback(move |observer| {
            let (held, capacity) = each.assignments();
            for (state, count) in [("credits", capacity.saturating_sub(held)), ("held", held)] {
                observer.observe(u64::from(count), &[KeyValue::new("state", state)]);
            }
        })
        .build();
    let each = Arc::clone(standing);
    meter
        .u64_observable_gauge("s3sync.unacknowledged")
        .with_description("Messages that the server has not acknowledged yet")
        .with_callback(move |observer| observer.observe(each.unacknowledged(), &[]))
        .build();
}

#[cfg(test)]
mod tests;
