//! Queues of S3 events.

use serde::{Deserialize, Serialize};

use super::{Name, QueueStatus, Timestamp};

/// Most receivers of a queue. Each asks SQS all the time; across 200 ms, where one receives fifty messages a second, these receive
/// eight hundred.
pub const MAX_RECEIVERS_PER_QUEUE: u32 = 16;

/// An SQS queue of S3 events, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: Name,
    /// Its settings.
    pub spec: QueueSpec,
    /// Changes with every change of the settings.
    pub etag: String,
    /// When it was created.
    pub created: Timestamp,
    /// When its settings last changed.
    pub updated: Timestamp,
    /// How it stands with receiving from it, as far as that is told.
    pub status: Option<QueueStatus>,
}

/// Settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    /// Its URL.
    pub url: String,
    /// The endpoint whose region and credential read it.
    pub endpoint: Name,
    /// How many receive from it at the same time; 1 to [`MAX_RECEIVERS_PER_QUEUE`].
    #[serde(default = "one")]
    pub receivers: u32,
}

/// What was stored before there could be several has one.
const fn one() -> u32 {
    1
}
