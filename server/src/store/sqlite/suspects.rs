//! Keys of ranges that kill agents. A range that was lost a few times without moving on is worked on carefully: one key
//! at a time, by an agent that does nothing else, and each key is named before. So a further death tells the key, and
//! one that tells it again makes the key a failure.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{Counters, Failure, FailureClass, Key, Suspicion, Timestamp, Verdict};

use super::report::{count, fail_keys};
use super::row::{blob, range, uint32};
use crate::store::Error;

/// Holders that died while the cursor stood still before work is done carefully.
pub(super) const LOST_TOGETHER: i64 = 3;

/// Holders that died with the same key alone before it is given up. One may have died for another reason.
const LOST_ALONE: i64 = 2;

/// Whether a range, or a key work, is to be done carefully and alone: a column `careful`.
pub(super) const CAREFUL: &str = "CASE WHEN ranges.pool IS NULL THEN ranges.lost >= 3 AND ranges.mode = 0 ELSE
    EXISTS (SELECT 1 FROM pending_keys WHERE pending_keys.pool = ranges.pool AND work IS NULL AND pending_keys.lost >= 3)
    OR EXISTS (SELECT 1 FROM pending_keys WHERE work = ranges.id AND pending_keys.lost >= 3) END AS careful";

/// Notes the one key that is worked on.
pub(super) fn named(db: &Connection, suspicion: &Suspicion) -> Result<Verdict, Error> {
    let Suspicion { sequence: _, held, key } = suspicion;
    let Some(row) = range(db, held.id)?.filter(|row| row.is_current(held.epoch)) else {
        return Ok(Verdict::Stale);
    };
    if row.pool.is_some() || row.reap {
        return Err(Error::Invalid(format!("range {}: it has no keys to name", row.id)));
    }
    let settled = row.cursor.as_ref().or(row.after.as_ref()).is_some_and(|before| key <= before);
    let cut_off = row.until.as_ref().is_some_and(|until| key > until);
    if settled || cut_off {
        // It comes again, after the report that settled the key.
        return Ok(Verdict::Applied);
    }
    db.prepare_cached(
        "UPDATE ranges SET suspect_lost = CASE WHEN suspect IS ?2 THEN suspect_lost ELSE 0 END, suspect = ?2
         WHERE id = ?1",
    )?
    .execute(params![row.id, key.as_bytes()])?;
    Ok(Verdict::Applied)
}

/// The cursor of a range moved, so who died before died of something else, unless one key is already suspected.
pub(super) fn moved(db: &Connection, range: i64, cursor: Option<&Key>) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE ranges SET lost = CASE WHEN lost < ?3 THEN 0 ELSE lost END,
             suspect_lost = CASE WHEN suspect <= ?2 THEN 0 ELSE suspect_lost END,
             suspect = CASE WHEN suspect <= ?2 THEN NULL ELSE suspect END
         WHERE id = ?1 AND pool IS NULL AND (lost > 0 OR suspect IS NOT NULL)",
    )?
    .execute(params![range, blob(cursor), LOST_TOGETHER])?;
    Ok(())
}

/// A holder gave a range back in order: nothing is suspected any more.
pub(super) fn cleared(db: &Connection, range: i64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE ranges SET lost = 0, suspect = NULL, suspect_lost = 0 WHERE id = ?1 AND lost > 0 AND pool IS NULL",
    )?
    .execute([range])?;
    Ok(())
}

/// A holder of a range died. When that was often enough with one key alone, the key becomes a failure and the range goes
/// on behind it.
pub(super) fn died(db: &Connection, id: i64, now: Timestamp) -> Result<(), Error> {
    let counted: Option<(Vec<u8>, i64, i64)> = db
        .prepare_cached(
            "UPDATE ranges SET suspect_lost = suspect_lost + 1
             WHERE id = ?1 AND state = 0 AND suspect <= COALESCE(until, suspect) AND pool IS NULL RETURNING suspect, suspect_lost, lost",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((suspect, alone, lost)) = counted else { return Ok(()) };
    if alone < LOST_ALONE {
        return Ok(());
    }
    let (run, destination): (i64, i64) = db
        .prepare_cached("SELECT run, destination FROM ranges WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let failure = Failure {
        key: Key::from(suspect.clone()),
        destination: 0,
        class: FailureClass::Poison,
        code: "agents_died".to_owned(),
        message: format!(
            "{alone} agents died while they worked on this key alone, of {lost} that died before it"
        ),
        s3_request_id: String::new(),
        attempts: uint32(alone),
        first: now,
        last: now,
    };
    count(db, run, destination, Counters { listed: 1, failed: 1, ..Counters::default() })?;
    fail_keys(db, run, destination, &[failure])?;
    // All before it was reported before it was named. An upload at it stays recorded for the next holder to abort.
    db.prepare_cached(
        "UPDATE ranges SET cursor = ?2, suspect = NULL, suspect_lost = 0, lost = 0, attempts = 0, epoch = epoch + 1
         WHERE id = ?1",
    )?
    .execute(params![id, suspect])?;
    tracing::warn!(range = id, "a key that kills agents was given up");
    Ok(())
}

const _: () = assert!(LOST_TOGETHER == 3, "the SQL above has this number");
