//! Pure. What follows from a range that failed, and how a run ends.

use std::time::Duration;

use s3sync_proto::model::{FailureClass, RunState, Timestamp, WorkError};

/// How often a range that fails in a way that may pass is leased again before the run gives it up.
const MAX_RANGE_ATTEMPTS: u32 = 5;

/// First pause before a failed range is leased again; doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// What to do with a range after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterError {
    /// Lease it again, not before this time.
    Retry {
        /// Not before.
        not_before: Timestamp,
    },
    /// Give it up; the run fails.
    Fail,
}

/// How the ranges of a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Ranges not closed yet.
    pub open_ranges: u32,
    /// Ranges that were given up for an error.
    pub failed_ranges: u32,
    /// Ranges that were given up since agents died when they listed them; each is listed as a failure.
    pub dead_ranges: u32,
    /// Keys that failed or are archived: they are not in step, so a run that has some did not succeed.
    pub failed_keys: u64,
    /// Of these, those that are listed.
    pub listed_failures: u64,
    /// The run is being cancelled.
    pub cancelling: bool,
}

/// What to do with a range that failed for the `attempts`-th time.
#[must_use]
pub fn after_error(attempts: u32, error: &WorkError, now: Timestamp) -> AfterError {
    let may_pass = match error.class {
        FailureClass::Throttled | FailureClass::Transient | FailureClass::Changed => true,
        FailureClass::Permanent | FailureClass::Archived | FailureClass::Poison => false,
    };
    if may_pass && attempts < MAX_RANGE_ATTEMPTS {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1));
        AfterError::Retry { not_before: now.plus(pause) }
    } else {
        AfterError::Fail
    }
}

/// The state a run ends in; `None` while ranges are open.
#[must_use]
pub fn final_state(run: RunSummary) -> Option<RunState> {
    if run.open_ranges > 0 {
        None
    } else if run.cancelling {
        Some(RunState::Cancelled)
    } else if run.failed_ranges > 0 {
        Some(RunState::Failed)
    } else if run.dead_ranges > 0 || run.failed_keys > run.listed_failures {
        Some(RunState::Incomplete)
    } else if run.failed_keys > 0 {
        Some(RunState::FinishedWithFailures)
    } else {
        Some(RunState::Succeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: FailureClass) -> WorkError {
        WorkError { class, code: "X".into(), message: "x".into() }
    }

    #[test]
    fn a_passing_error_is_tried_again_up_to_the_limit_with_growing_pauses() {
        let now = Timestamp::from_micros(0);
        let pauses: Vec<_> = (1..=MAX_RANGE_ATTEMPTS)
            .map(|attempts| match after_error(attempts, &error(FailureClass::Transient), now) {
                AfterError::Retry { not_before } => Some(not_before.since(now).as_secs()),
                AfterError::Fail => None,
            })
            .collect();
        assert_eq!(pauses, [Some(2), Some(4), Some(8), Some(16), None]);
        assert_eq!(after_error(1, &error(FailureClass::Permanent), now), AfterError::Fail);
    }

    #[test]
    fn a_run_ends_by_the_worst_that_happened() {
        let summary = RunSummary::default();
        let ends = [
            (RunSummary { open_ranges: 1, failed_ranges: 1, ..summary }, None),
            (summary, Some(RunState::Succeeded)),
            (
                RunSummary { failed_keys: 2, listed_failures: 2, ..summary },
                Some(RunState::FinishedWithFailures),
            ),
            (
                RunSummary { failed_keys: 2, listed_failures: 1, ..summary },
                Some(RunState::Incomplete),
            ),
            (
                RunSummary { dead_ranges: 1, failed_keys: 1, listed_failures: 1, ..summary },
                Some(RunState::Incomplete),
            ),
            (RunSummary { failed_ranges: 1, dead_ranges: 1, ..summary }, Some(RunState::Failed)),
            (RunSummary { failed_ranges: 1, failed_keys: 2, ..summary }, Some(RunState::Failed)),
            (
                RunSummary { cancelling: true, failed_ranges: 1, ..summary },
                Some(RunState::Cancelled),
            ),
        ];
        for (summary, end) in ends {
            assert_eq!(final_state(summary), end, "{summary:?}");
        }
    }
}
