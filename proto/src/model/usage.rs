//! What agents ask of S3 for a run, what they wait for meanwhile, and what they are doing right now.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FailureGroup, Location, Name, Run, RunStage, RunState, Timestamp};

/// Name of the feature of a session: the agent tells what it does for a run.
pub const FEATURE_ACTIVITY: &str = "activity";

/// Requests the product makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// ListObjectsV2.
    List,
    /// HeadObject.
    Head,
    /// GetObject.
    Get,
    /// GetObjectTagging.
    GetTags,
    /// PutObject.
    Put,
    /// CopyObject.
    Copy,
    /// CreateMultipartUpload.
    CreateUpload,
    /// UploadPart.
    UploadPart,
    /// UploadPartCopy.
    CopyPart,
    /// CompleteMultipartUpload.
    CompleteUpload,
    /// AbortMultipartUpload.
    AbortUpload,
    /// DeleteObject.
    Delete,
    /// DeleteObjects.
    DeleteMany,
    /// ListMultipartUploads.
    ListUploads,
    /// ListParts.
    ListParts,
    /// GetBucketNotificationConfiguration.
    GetNotifications,
}

/// A side of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestSide {
    /// The source.
    Source,
    /// A destination.
    Destination,
}

/// What work waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// An endpoint asked to slow down.
    SlowDown,
    /// A request failed and is tried again after a pause.
    Retry,
    /// The job's bound on requests a second.
    RequestLimit,
    /// The job's bound on bytes a second.
    BandwidthLimit,
    /// As many requests are in flight to an endpoint as may be.
    RequestSlots,
    /// As many bytes are in memory as may be.
    Memory,
    /// The server has not confirmed for a while that the work is still the agent's.
    Lease,
    /// There is nothing to do but to wait for the next page of a listing.
    Listing,
}

/// Requests of work, and what was waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Each side and operation once.
    pub requests: Vec<RequestUsage>,
    /// Each reason once.
    pub waits: Vec<WaitUsage>,
}

/// Requests of one operation to one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestUsage {
    /// To which side.
    pub side: RequestSide,
    /// What was asked for.
    pub operation: Operation,
    /// How many were made.
    pub made: u64,
    /// Of these, those that were answered by a wish to slow down.
    pub slowed: u64,
    /// Of these, those that failed in another way.
    pub failed: u64,
    /// How long they took together.
    pub time: Duration,
}

/// How long was waited for something: the sum over all that waited at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitUsage {
    /// For what.
    pub reason: WaitReason,
    /// How long.
    pub time: Duration,
}

/// What an agent has done for a run since it began with it. All of it only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Since when.
    pub time: Duration,
    /// Source keys that listings told of.
    pub listed: u64,
    /// Objects copied, whether or not that is reported yet.
    pub copied: u64,
    /// Bytes that went through the agent, those of unfinished objects included.
    pub moved_bytes: u64,
    /// Its requests, and what it waited for.
    pub usage: Usage,
    /// What it has in flight to each of its endpoints now, for all runs together.
    pub loads: Vec<EndpointLoad>,
}

/// What an agent has in flight to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLoad {
    /// The endpoint.
    pub endpoint: Name,
    /// Requests in flight.
    pub in_flight: u32,
    /// How many may be now.
    pub allowed: u32,
    /// How many may be at most.
    pub most: u32,
}

/// What a run did, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// The run.
    pub run: Run,
    /// Where the job's objects come from.
    pub source: Location,
    /// The requests and waits of each destination's work, in the order of the job.
    pub usages: Vec<Usage>,
    /// What happened to the run, in the order of time.
    pub timeline: Vec<TimelineEntry>,
    /// How often a range was cut so that another agent could take the rest.
    pub splits: u64,
    /// How often the holder of a range died or was cut off.
    pub losses: u64,
    /// Listed failures by class and code, most first.
    pub failures: Vec<FailureGroup>,
}

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When.
    pub time: Timestamp,
    /// What.
    pub what: Happening,
    /// Why, for a person; may be empty.
    pub reason: String,
}

/// What can happen to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It came to stand so.
    State(RunState),
    /// It began to do this.
    Stage(RunStage),
    /// An agent died or was cut off.
    Lost(Name),
}

// === impl Operation ===

impl Operation {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::List,
        Self::Head,
        Self::Get,
        Self::GetTags,
        Self::Put,
        Self::Copy,
        Self::CreateUpload,
        Self::UploadPart,
        Self::CopyPart,
        Self::CompleteUpload,
        Self::AbortUpload,
        Self::Delete,
        Self::DeleteMany,
        Self::ListUploads,
        Self::ListParts,
        Self::GetNotifications,
    ];

    /// S3's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "ListObjectsV2",
            Self::Head => "HeadObject",
            Self::Get => "GetObject",
            Self::GetTags => "GetObjectTagging",
            Self::Put => "PutObject",
            Self::Copy => "CopyObject",
            Self::CreateUpload => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::CopyPart => "UploadPartCopy",
            Self::CompleteUpload => "CompleteMultipartUpload",
            Self::AbortUpload => "AbortMultipartUpload",
            Self::Delete => "DeleteObject",
            Self::DeleteMany => "DeleteObjects",
            Self::ListUploads => "ListMultipartUploads",
            Self::ListParts => "ListParts",
            Self::GetNotifications => "GetBucketNotificationConfiguration",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl RequestSide ===

impl RequestSide {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Source, Self::Destination];
}

// === impl WaitReason ===

impl WaitReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SlowDown,
        Self::Retry,
        Self::RequestLimit,
        Self::BandwidthLimit,
        Self::RequestSlots,
        Self::Memory,
        Self::Lease,
        Self::Listing,
    ];
}

// === impl Usage ===

impl Usage {
    /// Whether nothing was asked and nothing waited for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.waits.is_empty()
    }

    /// How long was waited for something.
    #[must_use]
    pub fn waited(&self, reason: WaitReason) -> Duration {
        self.waits.iter().filter(|wait| wait.reason == reason).map(|wait| wait.time).sum()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let Self { requests, waits } = other;
        for more in requests {
            let RequestUsage { side, operation, made, slowed, failed, time } = more;
            let same = |one: &&mut RequestUsage| one.side == side && one.operation == operation;
            if let Some(one) = self.requests.iter_mut().find(same) {
                one.made = one.made.saturating_add(made);
                one.slowed = one.slowed.saturating_add(slowed);
                one.failed = one.failed.saturating_add(failed);
                one.time = one.time.saturating_add(time);
            } else {
                self.requests.push(more);
            }
        }
        for more in waits {
            if let Some(one) = self.waits.iter_mut().find(|one| one.reason == more.reason) {
                one.time = one.time.saturating_add(more.time);
            } else {
                self.waits.push(more);
            }
        }
        self.requests.sort_by_key(|one| (one.side, one.operation));
        self.waits.sort_by_key(|one| one.reason);
    }
}
