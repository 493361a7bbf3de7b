//! Keys and work that could not be brought in step, and why.

use serde::{Deserialize, Serialize};

use super::{Key, Timestamp};

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureClass {
    /// The endpoint kept asking to slow down.
    Throttled,
    /// Failed in a way that may pass, more often than is tried.
    Transient,
    /// The object kept changing while it was copied.
    Changed,
    /// Refused; trying again without a change elsewhere is of no use.
    Permanent,
    /// Archived; it must be restored before it can be read.
    Archived,
    /// Agents kept dying on it.
    Poison,
}

/// One key that could not be brought in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The key without the source prefix.
    pub key: Key,
    /// Index of the destination in the job.
    pub destination: u32,
    /// What kind of failure.
    pub class: FailureClass,
    /// S3's error code; empty when there was none.
    pub code: String,
    /// What happened, for a person.
    pub message: String,
    /// S3's request id; empty when there was none.
    pub s3_request_id: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it first failed.
    pub first: Timestamp,
    /// When it last failed.
    pub last: Timestamp,
}

/// Failures of one class with one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// How many keys.
    pub size: u64,
    /// One of them; its class and code are those of all.
    pub sample: Failure,
}

/// Why a piece of work cannot be done at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkError {
    /// What kind.
    pub class: FailureClass,
    /// Short name, such as `NoSuchBucket`, `unordered_listing` or `not_allowed`.
    pub code: String,
    /// What happened, for a person.
    pub message: String,
}
