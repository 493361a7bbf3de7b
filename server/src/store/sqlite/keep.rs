//! What is not kept any longer.

use rusqlite::{Connection, params};
use s3sync_proto::model::Timestamp;

use super::row::{int, uint};
use crate::store::{Error, Keep, Pruned};

/// Runs looked at in one transaction.
const RUNS_AT_ONCE: u32 = 50;
/// Failures deleted in one transaction, at which it stops: others wait for the writer meanwhile.
const FAILURES_AT_ONCE: u64 = 20_000;
/// Entries deleted in one transaction.
const ENTRIES_AT_ONCE: u64 = 1_000;

pub(super) fn prune(db: &Connection, keep: &Keep, now: Timestamp) -> Result<Pruned, Error> {
    Ok(Pruned { runs: runs(db, keep, now)?, audit_entries: audit(db, keep)? })
}

fn runs(db: &Connection, keep: &Keep, now: Timestamp) -> Result<u64, Error> {
    let mut statement = db.prepare_cached(
        "SELECT id, listed_failures FROM (
             SELECT id, ended, listed_failures,
                 ROW_NUMBER() OVER (PARTITION BY job ORDER BY id DESC) AS nth,
                 ROW_NUMBER() OVER (PARTITION BY job, trigger ORDER BY id DESC) AS nth_of_its_kind,
                 SUM(listed_failures) OVER (ORDER BY id DESC) AS failures
             FROM runs WHERE ended IS NOT NULL)
         WHERE nth_of_its_kind > 1 AND (ended < ?1 OR nth > ?2 OR failures > ?3)
         ORDER BY id LIMIT ?4",
    )?;
    let oldest = now.minus(keep.runs_for).as_micros();
    let arguments = params![oldest, keep.runs_per_job, int(keep.failures), RUNS_AT_ONCE];
    let found: Vec<(i64, i64)> = statement
        .query_map(arguments, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut runs, mut failures) = (0, 0);
    for (run, listed) in found {
        db.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([run])?;
        runs += 1;
        failures += uint(listed);
        if failures >= FAILURES_AT_ONCE {
            break;
        }
    }
    Ok(runs)
}

fn audit(db: &Connection, keep: &Keep) -> Result<u64, Error> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM audit WHERE number IN (
                 SELECT number FROM audit WHERE number <= (SELECT MAX(number) FROM audit) - ?1 ORDER BY number LIMIT ?2)",
        )?
        .execute([int(keep.audit_entries), int(ENTRIES_AT_ONCE)])?;
    Ok(deleted as u64)
}
