//! What is kept, and for how long.

use std::time::Duration;

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Runs that ended within this time.
    pub runs_for: Duration,
    /// Most runs of a job that ended.
    pub runs_per_job: u32,
    /// Most failures of all runs that ended; those of the oldest runs go first, with their runs.
    pub failures: u64,
    /// Most entries of the audit log.
    pub audit_entries: u64,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
}
