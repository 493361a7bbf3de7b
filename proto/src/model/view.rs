//! How a run stands right now, for somebody who watches it.

use super::{Activity, Key, KeyRange, Limits, Location, Name, Run, RunName, Timestamp};

/// Most held ranges that are told of one by one.
pub const MAX_HELD_SHOWN: usize = 100;

/// How a run stands right now. Nothing in it is a rate: those are differences of two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// When this was looked at, by the server's clock.
    pub time: Timestamp,
    /// What the run does now.
    pub stage: RunStage,
    /// Where the job's objects come from.
    pub source: Location,
    /// The bounds that the run keeps to, over all agents together.
    pub limits: Limits,
    /// The ranges of each destination, in the order of the job.
    pub strips: Vec<RangeStrip>,
    /// Ranges that agents hold, by destination and key; at most [`MAX_HELD_SHOWN`].
    pub held: Vec<HeldRange>,
    /// Agents that hold work of the run, by name.
    pub agents: Vec<RunAgent>,
    /// Further agents that hold work of it.
    pub more_agents: u32,
    /// Agents that are connected, whatever they do.
    pub connected_agents: u32,
    /// How much more work connected agents would take, of any run.
    pub free_places: u32,
    /// The run that the expected keys of the strips are from.
    pub expected_by: Option<RunName>,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStage {
    /// Lists both sides, compares and copies.
    Scan,
    /// Waits for a person who approves its deletes.
    Approval,
    /// Deletes what the source does not have.
    Delete,
    /// Counts anew what it would delete.
    Recount,
    /// Looks at named keys.
    Keys,
}

/// The ranges of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeStrip {
    /// How each stands, in the order of their keys.
    pub states: Vec<RangeState>,
    /// About how many source keys there are to look at, where that is known.
    pub expected_keys: Option<u64>,
}

/// How a range stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RangeState {
    /// Waits for an agent.
    Waiting,
    /// Failed, and waits to be tried again; or its holder ended, and what that had begun to write may still arrive.
    PutOff,
    /// An agent holds it.
    Held,
    /// Done.
    Done,
    /// Could not be worked on; its run will fail.
    GivenUp,
}

/// A range that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRange {
    /// Index of the destination in the job.
    pub destination: u32,
    /// Where it stands in the strip of its destination.
    pub position: u32,
    /// Who holds it.
    pub agent: Name,
    /// Since when.
    pub since: Timestamp,
    /// Its bounds.
    pub range: KeyRange,
    /// Everything up to and including this key is reported.
    pub cursor: Option<Key>,
    /// Holders that died.
    pub lost: u32,
}

/// An agent that holds work of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAgent {
    /// Its name.
    pub agent: Name,
    /// Ranges of the run that it holds.
    pub held: u32,
    /// How many it would hold at most, of all runs.
    pub capacity: u32,
    /// It takes nothing new.
    pub draining: bool,
    /// What it does, or why it did not tell.
    pub activity: Result<Activity, String>,
}
