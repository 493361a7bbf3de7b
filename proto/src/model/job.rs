//! Jobs: what to keep in step.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Following, Name, RunName, RunState, Timestamp};

/// Most destinations of a job. Each has its own ranges; a job with more is better written as several.
pub const MAX_DESTINATIONS: usize = 16;

/// A job as the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: Name,
    /// Distinguishes it from an earlier job of the same name.
    pub uid: String,
    /// Its settings.
    pub spec: JobSpec,
    /// Changes with every change of the job.
    pub etag: String,
    /// Counts the changes of the settings, from 1.
    pub generation: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When its settings last changed.
    pub updated: Timestamp,
    /// Its newest run.
    pub latest_run: Option<RunName>,
    /// Its next nominal times, as far as they are told; empty when it starts only when asked.
    pub next_starts: Vec<Timestamp>,
    /// What is allowed but probably not meant. Computed, not stored.
    pub warnings: Vec<Warning>,
    /// How its events stand, as far as that is told.
    pub following: Option<Following>,
    /// Its newest run beside the one of its events, as far as that is told.
    pub last: Option<LastRun>,
}

/// How the newest run of a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// Its name.
    pub name: RunName,
    /// Where it stands.
    pub state: RunState,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

impl Job {
    /// A job as it is asked for: with nothing that only a server knows.
    #[must_use]
    pub fn asked(name: Name, spec: JobSpec) -> Self {
        Self {
            name,
            uid: String::new(),
            spec,
            etag: String::new(),
            generation: 0,
            created: Timestamp::default(),
            updated: Timestamp::default(),
            latest_run: None,
            next_starts: Vec::new(),
            warnings: Vec::new(),
            following: None,
            last: None,
        }
    }
}

/// Something that is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Path of the field.
    pub field: String,
    /// What is odd and what to do.
    pub description: String,
}

/// Settings of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Where objects come from.
    pub source: Location,
    /// Where they go.
    pub destinations: Vec<Destination>,
    /// Which objects.
    #[serde(default)]
    pub filter: Filter,
    /// How the sides are compared.
    #[serde(default)]
    pub compare: CompareMode,
    /// What happens to destination objects that the source does not have.
    #[serde(default)]
    pub deletes: DeletePolicy,
    /// When it runs by itself.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// The queue its events come from.
    #[serde(default)]
    pub events: Option<Name>,
    /// Bounds on what it may use.
    #[serde(default)]
    pub limits: Limits,
    /// A paused job starts no run by itself.
    #[serde(default)]
    pub paused: bool,
}

/// A place in S3.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The endpoint.
    pub endpoint: Name,
    /// The bucket.
    pub bucket: String,
    /// What every key begins with.
    pub prefix: String,
}

/// One place to keep in step with the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Where.
    pub location: Location,
    /// Storage class of what is written; `None` means that of the source object.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Labels an agent must have to work on it.
    #[serde(default)]
    pub agent_labels: BTreeMap<String, String>,
    /// Encryption at rest; `None` means the bucket's default.
    #[serde(default)]
    pub encryption: Option<Encryption>,
}

/// Encryption at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// The KMS key's id or ARN; `None` for the account's default key.
    #[serde(default)]
    pub kms_key_id: Option<String>,
}

/// Which objects a job is about. Patterns match the key without the source prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// When not empty, a key must match one of these globs.
    pub include: Vec<String>,
    /// A key that matches one of these globs is left out.
    pub exclude: Vec<String>,
    /// Smallest size in bytes.
    pub min_size: u64,
    /// Largest size in bytes.
    pub max_size: Option<u64>,
    /// Only objects changed at or after this time.
    pub modified_after: Option<Timestamp>,
    /// Only objects changed before this time.
    pub modified_before: Option<Timestamp>,
}

/// How source and destination are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompareMode {
    /// Size, then ETag where both can be compared, else the source's ETag as stamped at the last copy.
    #[default]
    Default,
    /// Size alone.
    Size,
    /// ETags alone.
    Etag,
    /// Checksums both sides have stored.
    Checksum,
    /// As default, and metadata and tags as well.
    Full,
}

/// What happens to destination objects that the source does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletePolicy {
    /// What happens.
    pub mode: DeleteMode,
    /// Above this percentage of the destination's keys a run waits for approval.
    pub max_percent: Option<f64>,
    /// Above this number of keys a run waits for approval.
    pub max_count: Option<u64>,
    /// Above this number of deletes by events within an hour, further ones wait for approval.
    #[serde(default)]
    pub max_per_hour: Option<u64>,
    /// Also delete where the bucket cannot do it conditionally.
    pub unconditional: bool,
}

/// Keep or delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeleteMode {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted, behind the guards.
    Mirror,
}

/// When a job runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What starts are due; `None` means only `at_start`.
    pub timing: Option<Timing>,
    /// Whether a full run is due at creation and at the server's start.
    pub at_start: bool,
    /// Each start is put off by a random time up to this.
    #[serde(default)]
    pub jitter: Duration,
    /// What happens when a start is due while a run is going on.
    #[serde(default)]
    pub overlap: OverlapPolicy,
}

/// What starts are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// Time from one start to the next.
    Every(Duration),
    /// A five-field cron expression in a time zone.
    Cron {
        /// The expression.
        expression: String,
        /// IANA time zone.
        timezone: String,
    },
}

/// What happens when a start is due while a run is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlapPolicy {
    /// The start is left out.
    #[default]
    Skip,
    /// One start waits for the run to end.
    QueueOne,
}

/// Bounds on what a job may use, over all agents together. `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes a second written to destinations.
    pub bandwidth: Option<u64>,
    /// S3 requests a second.
    pub requests_per_second: Option<u64>,
}
