//! Watch work, and what it tells: events of objects, received from a queue.

use std::time::Duration;

use super::{EndpointSpec, Held, Key, Location, Name, QueueSpec, RunName, Timestamp};

/// Feature of agents that receive from queues, and that take a few key works beyond their capacity.
pub const FEATURE_EVENTS: &str = "events";
/// Key works that an agent with the feature takes beyond its capacity: a scan that fills all agents for hours must not
/// keep events waiting.
pub const SPARE_KEY_WORKS: u32 = 4;
/// Most events of one batch.
pub const MAX_EVENTS_PER_BATCH: usize = 1_000;
/// Most bytes of all keys of one batch; it must fit in a message of a session.
pub const MAX_EVENT_BYTES_PER_BATCH: usize = 256 * 1024;
/// Most unreadable messages of one batch.
pub const MAX_UNREADABLE_PER_BATCH: usize = 100;

/// Receive from a queue until it is let go of, leased to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Which, and with which epoch. No assignment has the same number.
    pub held: Held,
    /// The queue.
    pub queue: Name,
    /// Its settings.
    pub spec: QueueSpec,
    /// The settings of the endpoint whose region and credential read it.
    pub endpoint: EndpointSpec,
}

/// What messages of a queue say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// Number of the message.
    pub sequence: u64,
    /// The watch work.
    pub held: Held,
    /// What is told.
    pub news: News,
}

/// What is told of a queue at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Objects that may have changed. At most [`MAX_EVENTS_PER_BATCH`], and [`MAX_EVENT_BYTES_PER_BATCH`] of keys in all.
    pub events: Vec<ObjectEvent>,
    /// Messages of which this is the last that is told.
    pub messages: u64,
    /// Events in them of kinds that change nothing, or that are not known.
    pub ignored: u64,
    /// Messages that could not be read. At most [`MAX_UNREADABLE_PER_BATCH`].
    pub unreadable: Vec<UnreadableMessage>,
    /// How the queue stands; `None`: not looked at.
    pub state: Option<QueueState>,
    /// W3C trace context of what was received; may be empty.
    pub traceparent: String,
    /// How long ago the oldest message was sent of those that are told of here or are to be told of later: as long as it had
    /// been in the queue when it was first received, by the queue's own clock where it tells, and since then.
    pub longest_wait: Option<Duration>,
}

/// An object that may have changed. Only a hint of where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// Its bucket.
    pub bucket: String,
    /// Its whole key.
    pub key: Key,
    /// What is said to have happened.
    pub kind: EventKind,
    /// S3's order of events of one key, as it was written; for diagnosis only.
    pub sequencer: String,
    /// When the message was sent.
    pub sent: Option<Timestamp>,
}

/// What is said to have happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was written.
    Written,
    /// It was deleted, by a request or by a lifecycle rule.
    Removed,
    /// It was archived and can be read again.
    Restored,
    /// Its tags changed; its bytes did not.
    Tagged,
    /// S3 lost it (reduced redundancy).
    Lost,
}

/// A message that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// Why.
    pub reason: String,
    /// How it begins.
    pub excerpt: String,
    /// How often it was received.
    pub receives: u32,
    /// It is deleted, since the queue would hand it out for ever.
    pub removed: bool,
    /// When it was received.
    pub received: Timestamp,
}

/// How a job's events stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// The run in which they are worked off now.
    pub run: Option<RunName>,
    /// Each destination's share, in the order of that run.
    pub destinations: Vec<Dirty>,
    /// How many told of keys of the job since it began to follow.
    pub events: u64,
    /// Objects of the source that S3 says it lost.
    pub lost: u64,
    /// The last of them, without the source prefix.
    pub last_lost: Option<Key>,
    /// Events are missing.
    pub gap: Option<Gap>,
    /// Why keys wait, where no agent can work on some; empty otherwise.
    pub reason: String,
    /// Of what changed before, all was received from the queue; `None`: not known.
    pub told_until: Option<Timestamp>,
}

/// Keys of a destination that wait to be looked at, or are being looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    /// Where.
    pub location: Location,
    /// How many.
    pub keys: u64,
    /// Of these, those that failed before and are put off.
    pub put_off: u64,
    /// When the oldest of their changes was told.
    pub oldest: Option<Timestamp>,
    /// Keys beside these whose deletes wait for an approval.
    pub awaiting: u64,
    /// About how many keys events tell of in a minute now.
    pub told_per_minute: u64,
    /// About how many are settled in a minute now.
    pub settled_per_minute: u64,
}

/// Events are missing, until a scan has looked at everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Since when.
    pub since: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// The run that looks at everything, once it has begun.
    pub scan: Option<RunName>,
}

/// How it stands with receiving from a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// The agents that receive from it, one for each receiver.
    pub agents: Vec<Name>,
    /// Why fewer receive from it than should, for a person; may be empty.
    pub reason: String,
    /// When one of them told of it last.
    pub told: Option<Timestamp>,
    /// How the queue stood then.
    pub state: QueueState,
    /// Messages that were received.
    pub messages: u64,
    /// About how many are received in a minute now.
    pub messages_per_minute: u64,
    /// Events that concern a job.
    pub events: u64,
    /// Events of kinds that change nothing, or that are not known.
    pub ignored: u64,
    /// Events that concern no job.
    pub unmatched: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
    /// The last of these, newest first.
    pub last_unreadable: Vec<UnreadableMessage>,
}

/// How a queue stands. Numbers are SQS's approximations.
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
    /// When the oldest of the messages received last was sent.
    pub oldest_sent: Option<Timestamp>,
}

impl QueueState {
    /// Whether the queue was looked at. Without that its numbers are zero, which says nothing.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.retention.is_some() || self.waiting > 0 || self.in_flight > 0
    }
}
