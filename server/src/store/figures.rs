//! What the store counts, for metrics.

use std::collections::BTreeMap;

use s3sync_proto::model::{Counters, Name, QueueState, Timestamp};

/// How all stands. As many rows as there are jobs, their destinations and queues.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Each destination of each job, as the jobs are now.
    pub destinations: Vec<DestinationFigures>,
    /// Each job.
    pub jobs: Vec<JobFigures>,
    /// Each queue that a job names.
    pub queues: Vec<QueueFigures>,
    /// Open sessions, whichever process they are connected to.
    pub sessions: u64,
    /// How many assignments their agents could hold together.
    pub capacity: u64,
    /// How many more they would take now.
    pub credits: u64,
    /// Bytes of the database's files.
    pub database_bytes: u64,
    /// Bytes of what is not merged into them yet.
    pub log_bytes: u64,
}

/// One destination of a job, over all its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationFigures {
    /// Whose.
    pub job: Name,
    /// Which: endpoint, bucket and prefix.
    pub place: String,
    /// What all runs counted, also those that are not kept any longer.
    pub counters: Counters,
    /// Assignments whose holder died.
    pub lost: u64,
    /// All that the source held at this time has been brought here, as far as is known.
    pub in_step: Timestamp,
    /// Ranges of runs that go on, by what became of them.
    pub ranges: BTreeMap<RangeState, u64>,
    /// Keys that events told of and that wait to be looked at; `None` when the job follows no events.
    pub dirty: Option<u64>,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFigures {
    /// Its name.
    pub job: Name,
    /// Its runs that have not ended, by the words of their states.
    pub active: BTreeMap<String, u64>,
    /// Its runs that have ended, likewise; also those that are not kept any longer.
    pub ended: BTreeMap<String, u64>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueFigures {
    /// Its name.
    pub queue: Name,
    /// Whether somebody receives from it.
    pub received: bool,
    /// How it stood when it was told of last.
    pub state: QueueState,
    /// Messages that were received.
    pub messages: u64,
    /// Events by what they were.
    pub events: [(&'static str, u64); 4],
}

/// What became of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RangeState {
    /// It waits for somebody to take it.
    Ready,
    /// Somebody works on it.
    Leased,
    /// It was brought in step.
    Done,
    /// It failed too often.
    GivenUp,
}

impl RangeState {
    /// All, in the order of their lives.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Leased, Self::Done, Self::GivenUp];

    /// As a label says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::GivenUp => "given_up",
        }
    }
}
