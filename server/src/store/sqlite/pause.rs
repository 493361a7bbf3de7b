//! Runs that stand still for a while: paused by a person, or because going on would only burn requests.

use rusqlite::{Connection, params};
use s3sync_proto::model::{Run, RunName, RunState, Timestamp};
use s3sync_proto::status::reason;

use super::row::{touch_run, word};
use super::runs::{get, row_of};
use crate::store::Error;

/// The word of `RunState::Paused`; a test holds the two together.
pub(super) const PAUSED: &str = "paused";

/// Nothing new is leased of it; what is held is to be let go. No effect on a run that is paused.
pub(super) fn pause(db: &Connection, name: &RunName, why: &str) -> Result<Run, Error> {
    let id = row_of(db, name)?;
    if !stop(db, id, why)? {
        let run = get(db, &name.job, Some(name.number))?;
        if run.state != RunState::Paused {
            return Err(cannot(&run, "paused"));
        }
    }
    get(db, &name.job, Some(name.number))
}

/// Pauses a run that is going on; whether it was.
pub(super) fn stop(db: &Connection, run: i64, why: &str) -> Result<bool, Error> {
    let changed = db
        .prepare_cached(
            "UPDATE runs SET state = ?2, reason = ?3 WHERE id = ?1 AND state IN ('pending', 'running')",
        )?
        .execute(params![run, PAUSED, why])?;
    if changed > 0 {
        touch_run(db, run)?;
    }
    Ok(changed > 0)
}

/// A paused run goes on where it stood; what was put off for errors is due at once. No effect on one that goes on.
pub(super) fn resume(db: &Connection, name: &RunName, now: Timestamp) -> Result<Run, Error> {
    let id = row_of(db, name)?;
    let changed = db.execute(
        "UPDATE runs SET state = CASE WHEN started IS NULL THEN ?2 ELSE ?3 END, reason = ''
         WHERE id = ?1 AND state = ?4",
        params![id, word(RunState::Pending)?, word(RunState::Running)?, PAUSED],
    )?;
    if changed > 0 {
        db.execute(
            "UPDATE ranges SET attempts = 0, not_before = MIN(not_before, ?2), refused_until = 0
             WHERE run = ?1 AND state = 0",
            params![id, now.as_micros()],
        )?;
        touch_run(db, id)?;
    }
    let run = get(db, &name.job, Some(name.number))?;
    match run.state {
        RunState::Pending | RunState::Running => Ok(run),
        RunState::Paused
        | RunState::AwaitingApproval
        | RunState::Cancelling
        | RunState::Succeeded
        | RunState::FinishedWithFailures
        | RunState::Incomplete
        | RunState::Failed
        | RunState::Cancelled => Err(cannot(&run, "resumed")),
    }
}

fn cannot(run: &Run, what: &str) -> Error {
    let state = word(run.state).unwrap_or_default().replace('_', " ");
    let text = format!("{} is {state}, so it cannot be {what}", run.name);
    Error::NotNow { reason: reason::RUN_STATE, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_a_word() {
        assert_eq!(word(RunState::Paused).unwrap(), PAUSED);
    }
}
