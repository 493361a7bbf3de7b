//! How queues and buckets are set up for events.

use std::time::Duration;

use super::{EndpointSpec, Name, ProbeCheck, WorkError};

/// Name of the feature of a session: the agent looks at how queues and buckets are set up.
pub const FEATURE_SETUP: &str = "setup";

/// Where to look, at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupAsk {
    /// The endpoint.
    pub endpoint: Name,
    /// Its settings.
    pub spec: EndpointSpec,
    /// URL of the queue, when it is asked about.
    pub queue_url: Option<String>,
    /// The buckets.
    pub buckets: Vec<String>,
}

/// What was found at one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// How the queue is, when it was asked about.
    pub queue: Option<QueueSetup>,
    /// How the buckets are.
    pub buckets: Vec<BucketSetup>,
}

/// How a queue is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSetup {
    /// What it says of itself, or why that could not be read.
    pub attributes: Result<QueueAttributes, WorkError>,
    /// Why messages cannot be deleted; `None`: they can.
    pub deleting: Option<WorkError>,
    /// Why messages cannot be hidden from others; `None`: they can.
    pub hiding: Option<WorkError>,
}

/// What a queue says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueAttributes {
    /// Its ARN.
    pub arn: String,
    /// Its policy, as AWS writes it; empty without one.
    pub policy: String,
    /// How long it keeps messages; `None` when it did not say.
    pub retention: Option<Duration>,
    /// How long a received message is hidden, unless the receiver says otherwise; `None` when it did not say.
    pub visibility: Option<Duration>,
    /// Receives after which a message goes to the dead letters; `None`: it never does.
    pub max_receives: Option<u32>,
    /// The KMS key it is encrypted with; empty without one.
    pub kms_key: String,
}

/// How a bucket tells of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSetup {
    /// The bucket.
    pub bucket: String,
    /// Whom it tells, or why that could not be read.
    pub told: Result<Notifications, WorkError>,
}

/// Whom a bucket tells of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Queues, topics and functions.
    pub all: Vec<Notification>,
    /// It tells EventBridge of everything.
    pub event_bridge: bool,
}

/// Whom a bucket tells of which changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// S3's id of it.
    pub id: String,
    /// What is told.
    pub target: NotificationTarget,
    /// Its ARN.
    pub arn: String,
    /// Kinds of events, such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// Only keys that begin with this, as S3 has it.
    pub prefix: String,
    /// Only keys that end with this, as S3 has it.
    pub suffix: String,
}

/// What a bucket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationTarget {
    /// A queue.
    Queue,
    /// A topic.
    Topic,
    /// A function.
    Function,
}

/// How a queue and the source buckets are set up, and what to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueCheck {
    /// The queue.
    pub queue: Name,
    /// The queue, then the buckets.
    pub places: Vec<SetupPlace>,
    /// What to add.
    pub steps: Vec<SetupStep>,
}

/// A queue or a bucket, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupPlace {
    /// What it is, for a person.
    pub about: String,
    /// Who looked.
    pub agent: Option<Name>,
    /// One for each thing that was looked at.
    pub checks: Vec<ProbeCheck>,
}

/// Something to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupStep {
    /// What it is for.
    pub title: String,
    /// Name and content of each document.
    pub files: Vec<(String, String)>,
    /// Commands of the AWS CLI.
    pub commands: Vec<String>,
}
