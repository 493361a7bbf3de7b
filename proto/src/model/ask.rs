//! Questions to agents, and their answers: how a key stands, how buckets are.

use std::time::Duration;

use super::{
    Activity, Assignment, BucketFacts, EndpointSpec, EtagKind, Failure, Key, Location, Name,
    PlanAsk, PlanPart, RunName, RunState, Setup, SetupAsk, Timestamp, WorkError,
};

/// Name of the feature of a session: the agent answers [`Question`]s.
pub const FEATURE_ASK: &str = "ask";

/// Something to look at, without writing anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Which; unique in a session.
    pub id: u64,
    /// The answer is not waited for any longer than this.
    pub patience: Duration,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// How a key stands: the work on it as it would be assigned now. Nothing of it is done.
    Explain(Box<Assignment>),
    /// How an endpoint's buckets are.
    Probe(Probe),
    /// What a run would do with a slice. Nothing of it is done.
    Plan(Box<PlanAsk>),
    /// How a queue and buckets are set up for events.
    Setup(Box<SetupAsk>),
    /// What the agent does for a run.
    Activity(RunName),
}

/// Where to look anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The endpoint.
    pub endpoint: Name,
    /// Its settings.
    pub spec: EndpointSpec,
    /// Bucket and prefix of each place.
    pub places: Vec<(String, String)>,
}

/// Answers a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is not answered, and why.
    Refused(WorkError),
    /// Answers [`Ask::Explain`].
    Explained(Box<KeyExplanation>),
    /// Answers [`Ask::Probe`].
    Probed {
        /// What was found at each place.
        places: Vec<PlaceProbe>,
        /// What was learned of buckets.
        facts: Vec<BucketFacts>,
    },
    /// Answers [`Ask::Plan`].
    Planned(Box<PlanPart>),
    /// Answers [`Ask::Setup`].
    SetUp(Box<Setup>),
    /// Answers [`Ask::Activity`].
    Active(Box<Activity>),
}

/// How one key stands at all destinations of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The job.
    pub job: Name,
    /// The key without prefix.
    pub key: Key,
    /// One for each destination.
    pub destinations: Vec<DestinationExplanation>,
    /// Failures of the newest runs, newest first.
    pub failures: Vec<(RunName, Failure)>,
    /// The newest run, where it stands and when it ended.
    pub latest_run: Option<(RunName, RunState, Option<Timestamp>)>,
}

/// How a key stands at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationExplanation {
    /// Index in the job.
    pub index: u32,
    /// Where.
    pub location: Location,
    /// What was found and by whom, or why nobody looked.
    pub found: Result<(Name, KeyExplanation), String>,
    /// What an event left to be done.
    pub dirty: Option<DirtyKey>,
}

/// A key that an event told of, and with which it is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyKey {
    /// The run that works it off.
    pub run: RunName,
    /// When the oldest of its events was sent, of those since it was last in place.
    pub since: Timestamp,
    /// When the newest was.
    pub latest: Timestamp,
    /// S3's sequencer of the newest.
    pub sequencer: String,
    /// Reasons to look at it that came since it waits.
    pub reasons: u64,
    /// Looks that failed, after which it was put off.
    pub looks: u32,
    /// What it waits for.
    pub state: DirtyState,
    /// When it is looked at again, of a key that was put off.
    pub next_look: Option<Timestamp>,
    /// What it waits for and what follows, for a person.
    pub reason: String,
}

/// What a dirty key waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyState {
    /// For an agent.
    Waiting,
    /// An agent works on it.
    WorkedOn,
    /// A look failed, or whoever worked on it ended and may have left a write under way; it is put off.
    PutOff,
    /// Its delete waits for the rate guard, or for an approval.
    AwaitingApproval,
    /// Its run is paused.
    Paused,
}

/// What an agent found at a key on both sides, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExplanation {
    /// At the source.
    pub source: ObjectState,
    /// At the destination.
    pub destination: ObjectState,
    /// Whether the filter lets the key through.
    pub passes_filter: bool,
    /// By which pattern or bound.
    pub filter_reason: String,
    /// How the two compare.
    pub verdict: KeyVerdict,
    /// Why, in one sentence.
    pub reason: String,
    /// What a run would do next.
    pub next: NextStep,
    /// The same in one sentence.
    pub next_reason: String,
    /// How it would be copied, when it would.
    pub way: Option<CopyWay>,
}

/// An object as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectState {
    /// The bucket.
    pub bucket: String,
    /// Full key.
    pub key: Key,
    /// Whether it is there.
    pub presence: Presence,
    /// Why it could not be looked at, or not in full.
    pub problem: Option<WorkError>,
    /// Size in bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// What ETags of the bucket are.
    pub etag_kind: Option<EtagKind>,
    /// When it was last changed.
    pub modified: Option<Timestamp>,
    /// Storage class; empty means STANDARD.
    pub storage_class: String,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
    /// Encryption at rest; empty when S3 says nothing.
    pub encryption: String,
    /// Version; empty without versions.
    pub version_id: String,
    /// What it is stamped as a copy of; empty without a stamp.
    pub stamp: String,
    /// Checksums that S3 has stored.
    pub checksums: Vec<ShownChecksum>,
    /// Number of its tags.
    pub tags: Option<u32>,
    /// Content-Type.
    pub content_type: String,
}

/// A checksum that S3 has stored with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownChecksum {
    /// S3's name of the algorithm.
    pub algorithm: String,
    /// Base64.
    pub value: String,
    /// Whether it is of all bytes.
    pub whole: bool,
}

/// Whether an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// A listing shows that it is not.
    Absent,
    /// It could not be told.
    Unknown,
}

/// How a key compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyVerdict {
    /// In step.
    InStep,
    /// The destination has not what the source has.
    Differs,
    /// Only the destination has it.
    Extra,
    /// Neither side has it.
    Absent,
    /// The filter leaves it out.
    Filtered,
    /// It could not be told.
    Unknown,
}

/// What a run would do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing.
    Nothing,
    /// Copy it.
    Copy,
    /// List it as archived.
    Archived,
    /// List it as a failure.
    Fail,
    /// Delete it at the destination, behind the guards.
    Delete,
}

/// How an object would be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyWay {
    /// Inside S3, by one request.
    ServerSide,
    /// Inside S3, in parts.
    ServerSideParts,
    /// One GET and one PUT.
    Single,
    /// Through the agent, in parts.
    Parts,
    /// The bytes are in step; what it carries is written anew.
    Repair,
}

/// What agents found at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointProbe {
    /// The endpoint.
    pub endpoint: Name,
    /// One for each agent that has a credential for it.
    pub agents: Vec<AgentProbe>,
}

/// What one agent found at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProbe {
    /// Who.
    pub agent: Name,
    /// What it found at each place, or why it did not answer.
    pub found: Result<Vec<PlaceProbe>, String>,
}

/// What was found at one place of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceProbe {
    /// The bucket.
    pub bucket: String,
    /// What keys begin with.
    pub prefix: String,
    /// One for each thing that was looked at.
    pub checks: Vec<ProbeCheck>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeCheck {
    /// What.
    pub name: String,
    /// How it went.
    pub state: CheckState,
    /// What was seen.
    pub detail: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Works, but should be known.
    Warning,
    /// Does not work.
    Failed,
    /// Could not be told.
    Unknown,
}

impl KeyExplanation {
    /// Whether only the destination has the key and the filter's patterns let it through: the delete policy decides.
    #[must_use]
    pub fn is_up_to_the_delete_policy(&self) -> bool {
        self.verdict == KeyVerdict::Extra && self.passes_filter
    }
}
