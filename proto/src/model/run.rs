//! Runs: executions of a job.

use serde::{Deserialize, Serialize};

use super::{Counters, Key, Location, RunName, Timestamp};

/// One execution of a job for one trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name.
    pub name: RunName,
    /// Where it stands.
    pub state: RunState,
    /// Why it stands there, for a person; may be empty.
    pub reason: String,
    /// What started it.
    pub trigger: Trigger,
    /// Generation of the job it works by.
    pub job_generation: u64,
    /// Each destination's share, in the order of the job.
    pub destinations: Vec<DestinationProgress>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the first agent took work of it.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// W3C trace context it carries into every assignment; may be empty.
    pub traceparent: String,
    /// The nominal time of the schedule that started it.
    pub nominal: Option<Timestamp>,
    /// What it would delete, or may delete, once all has been counted.
    pub deletes: Option<DeleteReview>,
}

/// What a run found to delete, once its scan has counted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReview {
    /// Changes with what is shown here; an approval names it.
    pub etag: String,
    /// Each destination with something to delete.
    pub destinations: Vec<DeleteShare>,
}

/// Most sample keys of a [`DeleteShare`].
pub const MAX_DELETE_SAMPLES: usize = 20;

/// What is to be deleted at one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteShare {
    /// Index of the destination in the job.
    pub destination: u32,
    /// Keys to delete.
    pub extra: u64,
    /// Destination keys that were listed, of those the filter's patterns let through.
    pub listed: u64,
    /// Keys deleted already by this run, before it counted anew.
    pub deleted: u64,
    /// Why that needs an approval, for a person; empty when it does not.
    pub reason: String,
    /// Some of the keys, without the prefix; at most [`MAX_DELETE_SAMPLES`]. Kept apart from the rest.
    #[serde(skip)]
    pub samples: Vec<Key>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No agent has taken work of it yet.
    Pending,
    /// Agents work on it.
    Running,
    /// Stopped, can be resumed.
    Paused,
    /// Waits for a person to approve its deletes.
    AwaitingApproval,
    /// Agents let go of their work.
    Cancelling,
    /// Ended: everything is in step.
    Succeeded,
    /// Ended: in step but for the listed failures.
    FinishedWithFailures,
    /// Ended: more keys failed than are listed.
    Incomplete,
    /// Ended: a part of the key space could not be worked on.
    Failed,
    /// Ended: cancelled.
    Cancelled,
}

/// What started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A person or a program asked for it.
    Manual,
    /// The job's schedule.
    Schedule,
    /// The job was created or the server started.
    Start,
    /// Events of the source.
    Events,
    /// Failures of another run are tried again.
    Retry,
    /// Looks only.
    Plan,
}

/// How far a run is at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationProgress {
    /// Where.
    pub location: Location,
    /// What was done.
    pub counters: Counters,
    /// Ranges that are not done yet.
    pub open_ranges: u32,
    /// Of these, ranges an agent holds.
    pub leased_ranges: u32,
    /// Ranges that are done.
    pub done_ranges: u32,
}

impl Run {
    /// Sum over the destinations.
    #[must_use]
    pub fn totals(&self) -> Counters {
        let mut totals = Counters::default();
        for destination in &self.destinations {
            totals += destination.counters;
        }
        totals
    }
}

impl RunState {
    /// Whether it stands still until a person does something.
    #[must_use]
    pub const fn waits_for_a_person(self) -> bool {
        matches!(self, Self::Paused | Self::AwaitingApproval)
    }

    /// Whether it has ended for good.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded
            | Self::FinishedWithFailures
            | Self::Incomplete
            | Self::Failed
            | Self::Cancelled => true,
            Self::Pending
            | Self::Running
            | Self::Paused
            | Self::AwaitingApproval
            | Self::Cancelling => false,
        }
    }
}
