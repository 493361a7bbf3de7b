//! What server and agents say to each other on a session.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    AgentEndpoint, Answer, BucketFacts, CompareMode, Counters, Destination, EndpointSpec,
    EventBatch, Failure, Filter, Key, KeyRange, Location, Name, Question, RunName, Timestamp,
    Usage, Watch, WorkError,
};

/// From the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum FromAgent {
    /// First message, and only then.
    Hello(Hello),
    /// Every heartbeat, and at once when the capacity changes.
    State(State),
    /// Progress or end of an assignment. Answered by an [`Ack`].
    Report(WorkReport),
    /// An assignment is given back unstarted.
    Refusal {
        /// Which.
        held: Held,
        /// Why.
        error: WorkError,
    },
    /// A cut of a range. Answered by an [`Ack`].
    SplitProposal(SplitProposal),
    /// A range is not cut.
    SplitDecline {
        /// Which.
        held: Held,
        /// Why, for a log.
        reason: String,
    },
    /// A multipart upload is about to begin, or has. Answered by an [`Ack`].
    UploadIntent(UploadIntent),
    /// The one key that is worked on. Answered by an [`Ack`].
    Suspicion(Suspicion),
    /// Something was learned of a bucket. Answered by an [`Ack`].
    Facts {
        /// Number of the message.
        sequence: u64,
        /// What.
        facts: BucketFacts,
    },
    /// The agent leaves and holds nothing any more.
    Goodbye,
    /// These shares are applied.
    SharesApplied(u64),
    /// Answers a [`Question`].
    Answer {
        /// Which.
        id: u64,
        /// What.
        answer: Answer,
    },
    /// What messages of a queue say. Answered by an [`Ack`].
    Events(EventBatch),
}

/// From the server.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAgent {
    /// Answers [`Hello`].
    Welcome(Welcome),
    /// Answers [`State`].
    Lease(Lease),
    /// New work.
    Assignment(Box<Assignment>),
    /// Work to let go of.
    Revocation {
        /// Which.
        held: Held,
        /// Why, for a log.
        reason: String,
    },
    /// A durable message was handled.
    Ack(Ack),
    /// Asks the holder of a range to cut it.
    SplitRequest(Held),
    /// The server stops; dial again within this time.
    Redirect(Duration),
    /// Something to look at.
    Question(Question),
    /// Nobody waits for the answer to this question any more.
    Withdrawal(u64),
    /// A queue to receive from.
    Watch(Box<Watch>),
    /// What the session may use of the limits of jobs.
    Shares(Shares),
}

/// Who the agent is and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest and highest protocol version it speaks.
    pub protocol: (u32, u32),
    /// What it can do beyond the version.
    pub features: Vec<String>,
    /// Its name.
    pub agent: Name,
    /// New at each start of the process.
    pub instance_id: String,
    /// Version of its program.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The endpoints it has credentials for.
    pub endpoints: Vec<AgentEndpoint>,
    /// What it still holds from an earlier session of this process.
    pub held: Vec<Held>,
    /// How many assignments it will hold at most.
    pub capacity: u32,
    /// Its clock; nothing is decided by it.
    pub now: Timestamp,
}

/// The session is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Version both speak.
    pub protocol: u32,
    /// Features both know.
    pub features: Vec<String>,
    /// Name of the session.
    pub session: String,
    /// The database the server works on.
    pub incarnation: String,
    /// The first lease; answers Hello.
    pub lease: Lease,
}

/// An assignment that is held, by id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Which.
    pub id: u64,
    /// Grows each time it is leased.
    pub epoch: u64,
}

/// Everything the server must know of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Grows by one with each, from 1; Hello counts as 0.
    pub sequence: u64,
    /// How many assignments the agent will hold at most.
    pub capacity: u32,
    /// All it holds.
    pub held: Vec<Held>,
    /// It takes nothing new.
    pub draining: bool,
    /// `sequence` of the newest lease it has seen.
    pub last_lease: u64,
}

/// The session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The state this answers.
    pub sequence: u64,
    /// No destination commit may begin later than this after the state was sent.
    pub write_window: Duration,
    /// When the next state is due.
    pub heartbeat_interval: Duration,
    /// Everything that is leased to the session.
    pub confirmed: Vec<Held>,
}

/// A piece of work, leased to the session.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Which, and with which epoch.
    pub held: Held,
    /// The run it is of.
    pub run: RunName,
    /// Where objects come from.
    pub source: Location,
    /// Where they go.
    pub destination: Destination,
    /// The endpoint of the source.
    pub source_endpoint: EndpointSpec,
    /// The endpoint of the destination.
    pub destination_endpoint: EndpointSpec,
    /// What is known of the source bucket.
    pub source_facts: BucketFacts,
    /// What is known of the destination bucket.
    pub destination_facts: BucketFacts,
    /// How to compare.
    pub compare: CompareMode,
    /// Which objects.
    pub filter: Filter,
    /// Uploads an earlier holder may have left open on keys of this work.
    pub uploads: Vec<Upload>,
    /// W3C trace context of the run, or of the events that the work is for; may be empty.
    pub traceparent: String,
    /// W3C trace contexts of what else led to the work; at most [`MAX_TRACE_LINKS`].
    pub trace_links: Vec<String>,
    /// Keys are worked on one at a time, each named by a [`Suspicion`] before.
    pub careful: bool,
    /// What to do.
    pub work: Work,
}

/// Most [`Assignment::trace_links`].
pub const MAX_TRACE_LINKS: usize = 32;
/// Most keys of one key work: few enough that a slow one keeps little waiting.
pub const MAX_KEYS_PER_WORK: usize = 1_000;
/// Most bytes of all keys of one key work; an assignment must fit in a message of a session.
pub const MAX_KEY_BYTES_PER_WORK: usize = 64 * 1024;
/// Feature of agents that can look at named keys.
pub const FEATURE_KEYS: &str = "keys";

/// Feature of agents that count extra keys as a guard needs it, and delete them.
pub const FEATURE_DELETES: &str = "deletes";
/// Most keys that are about to be deleted in one piece of work at a time: fewer than a batch of S3 may have, since each
/// may end as a failure, and a report holds no more of those.
pub const MAX_DELETING: usize = 500;

/// Name of the feature of agents that tell which named keys are gone at the source, and delete named keys.
pub const FEATURE_EVENT_DELETES: &str = "event-deletes";

/// Name of the feature of agents that compare stored checksums and what objects carry.
pub const FEATURE_COMPARE: &str = "compare";

/// Name of the feature of agents that can work on one key at a time and name it before.
pub const FEATURE_CAREFUL: &str = "careful";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Bring a slice of the key space in step.
    Range {
        /// The slice.
        range: KeyRange,
        /// Everything up to and including this key is done.
        cursor: Option<Key>,
    },
    /// Only abort the uploads of the assignment.
    Reap,
    /// Look at these keys again, strictly ascending. At most [`MAX_KEYS_PER_WORK`], and [`MAX_KEY_BYTES_PER_WORK`] in
    /// all.
    Keys(Vec<Key>),
    /// Delete these keys, which the source did not have; bounds as of [`Self::Keys`]. Given out only when it is on disk
    /// that they may be.
    DeleteKeys {
        /// Strictly ascending, each with the object that may be deleted.
        keys: Vec<ExtraKey>,
        /// Also where the bucket cannot do it conditionally.
        unconditional: bool,
    },
    /// Delete what the source does not have.
    Delete(DeleteWork),
}

/// Delete the keys of a slice that the destination has and the source does not, or only count them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteWork {
    /// The slice.
    pub range: KeyRange,
    /// Everything up to and including this key is done.
    pub cursor: Option<Key>,
    /// Nothing is deleted, only counted.
    pub count_only: bool,
    /// Also delete where the bucket cannot do it conditionally.
    pub unconditional: bool,
    /// Keys that an earlier holder was about to delete, strictly ascending; at most [`MAX_DELETING`].
    pub deleting: Vec<Key>,
}

/// A multipart upload that an agent began, or was about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Key without prefix.
    pub key: Key,
    /// S3's id; `None` when it was not recorded, then uploads of the key begun since `intent` are meant.
    pub upload_id: Option<String>,
    /// When the intent was recorded.
    pub intent: Timestamp,
    /// What it is to become; `None`: it can only be aborted.
    pub plan: Option<UploadPlan>,
}

/// Most parts of an upload (S3 User Guide, "Amazon S3 multipart upload limits").
pub const MAX_PARTS: u64 = 10_000;
/// Longest [`UploadPlan::opened_with`] in bytes.
pub const MAX_OPENED_WITH: usize = 128;

/// What an upload is to become. Who takes the work over goes on with it only if its own copy would be the same.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UploadPlan {
    /// ETag of the source, without quotes.
    pub source_etag: String,
    /// Size of the source in bytes.
    pub size: u64,
    /// Bytes of each part but the last.
    pub part_size: u64,
    /// Stands for everything else that the upload was opened with. Only agents know how to read it.
    pub opened_with: String,
}

/// How an assignment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkReport {
    /// Grows by one with each durable message of a session, from 1.
    pub sequence: u64,
    /// Which, and with which epoch.
    pub held: Held,
    /// How it stands.
    pub outcome: Outcome,
    /// The cursor of the report before; applied only if that is still the recorded one.
    pub previous_cursor: Option<Key>,
    /// Everything up to and including this key is in step or among the failures. With [`Outcome::Completed`],
    /// `None` means: covered to the end of the key space.
    pub cursor: Option<Key>,
    /// What was done since the report before.
    pub counters: Counters,
    /// Keys that could not be brought in step.
    pub failures: Vec<Failure>,
    /// Of extra keys: which are about to be deleted, and some to be shown.
    pub extras: Extras,
}

/// What else a report says: of destination keys that the source does not have, and of what it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// All keys above the cursor that may have been deleted, or will be once the report is acknowledged; strictly
    /// ascending, at most [`MAX_DELETING`].
    pub deleting: Vec<Key>,
    /// Some of the keys that were counted.
    pub samples: Vec<Key>,
    /// Of named keys, all between the cursors that only the destination has; strictly ascending, at most
    /// [`MAX_KEYS_PER_WORK`].
    pub gone: Vec<ExtraKey>,
    /// Requests made and waits since the report before.
    pub usage: Usage,
}

/// A key that only the destination has, and which object that is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtraKey {
    /// The key, without prefix.
    pub key: Key,
    /// A text that no two objects of a key share, at most [`MAX_OBJECT_BYTES`]; empty where it is not known, or any is
    /// meant.
    pub object: String,
}

/// Most bytes of [`ExtraKey::object`].
pub const MAX_OBJECT_BYTES: usize = 256;

/// How an assignment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Checkpoint,
    /// The agent's slice is done.
    Completed,
    /// The agent lets go of it.
    Yielded,
    /// It cannot be worked on.
    Errored(WorkError),
}

/// A cut: the holder stops at `at` whatever comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitProposal {
    /// Number of the message.
    pub sequence: u64,
    /// Which.
    pub held: Held,
    /// The new end of the holder's slice.
    pub at: Key,
    /// The end it had; the cut is made only if the row still ends there.
    pub until: Option<Key>,
}

/// A multipart upload is about to begin, or has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadIntent {
    /// Number of the message.
    pub sequence: u64,
    /// Which assignment.
    pub held: Held,
    /// Key without prefix.
    pub key: Key,
    /// S3's id once it is known.
    pub upload_id: Option<String>,
    /// What the upload is to become.
    pub plan: Option<UploadPlan>,
}

/// The one key of careful work that is about to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Number of the message.
    pub sequence: u64,
    /// Which assignment.
    pub held: Held,
    /// Key without prefix.
    pub key: Key,
}

/// A durable message was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub sequence: u64,
    /// How.
    pub verdict: Verdict,
}

/// What became of a durable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is on disk.
    Applied,
    /// It came too late and changed nothing.
    Stale,
}

/// Name of the feature of a session: the agent keeps to [`Shares`].
pub const FEATURE_LIMITS: &str = "limits";

/// What a session may use of the limits of jobs; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Grows with each change.
    pub version: u64,
    /// One for each run with limits that it holds work of.
    pub shares: Vec<Share>,
}

/// What a session may use for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The run.
    pub run: RunName,
    /// Thousandths of bytes a second.
    pub bandwidth: Option<u64>,
    /// Thousandths of requests a second.
    pub requests: Option<u64>,
}
