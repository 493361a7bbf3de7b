//! Clearing up after a cancelled run: the aborts of what its works left open. Where that kills agents, or cannot be done, it
//! has an end as all work has: what is left open is listed, and the job's next run over all keys gets it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{Counters, Failure, FailureClass, Key, Timestamp, WorkError};

use super::report::{count, fail_keys};
use super::row::uint32;
use super::runs;
use super::suspects::LOST_TOGETHER;
use crate::store::Error;

/// Holders that died while they aborted and did nothing else, before that is given up.
const LOST_ABORTING: i64 = 3;

/// A run is being cancelled: who died of its work before says nothing of who will clear up.
pub(super) fn begin(db: &Connection, run: i64) -> Result<(), Error> {
    db.prepare_cached("UPDATE ranges SET unnamed_lost = 0 WHERE run = ?1 AND unnamed_lost > 0")?
        .execute([run])?;
    Ok(())
}

/// A holder that was only to abort uploads gave them back in order, so nothing is suspected any more.
pub(super) fn yielded(db: &Connection, range: i64) -> Result<(), Error> {
    db.prepare_cached("UPDATE ranges SET lost = 0, unnamed_lost = 0 WHERE id = ?1 AND lost > 0")?
        .execute([range])?;
    Ok(())
}

/// The holder of a range died. No effect unless it was only to abort uploads, and was that often enough alone.
pub(super) fn died(db: &Connection, range: i64, now: Timestamp) -> Result<(), Error> {
    // Counted is only who did nothing else, so that nothing else can have killed it.
    let counted: Option<(i64, i64)> = db
        .prepare_cached(
            "UPDATE ranges SET unnamed_lost = unnamed_lost + 1 WHERE id = ?1 AND state = 0 AND reap = 1 AND lost > ?2
             RETURNING unnamed_lost, lost",
        )?
        .query_row([range, LOST_TOGETHER], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((_, lost)) = counted.filter(|(alone, _)| *alone >= LOST_ABORTING) else {
        return Ok(());
    };
    let error = WorkError {
        class: FailureClass::Poison,
        code: "agents_died_aborting".to_owned(),
        message: format!("{lost} agents died that had this work"),
    };
    give_up(db, range, &error, uint32(lost), now)
}

/// Nobody is asked to abort any more: each key with something open is listed.
pub(super) fn give_up(
    db: &Connection,
    range: i64,
    error: &WorkError,
    attempts: u32,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "SELECT run, destination FROM ranges WHERE id = ?1";
    let (run, destination) =
        db.prepare_cached(sql)?.query_row([range], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut failures = Vec::new();
    for (key, known) in open(db, range)? {
        let message = format!("{}: {}", what_is_left(known), error.message);
        if add_to_failure(db, run, destination, &key, &message)? {
            continue;
        }
        failures.push(Failure {
            key,
            destination: 0,
            class: error.class,
            code: error.code.clone(),
            message,
            s3_request_id: String::new(),
            attempts,
            first: now,
            last: now,
        });
    }
    let keys = failures.len() as u64;
    count(db, run, destination, Counters { listed: keys, failed: keys, ..Counters::default() })?;
    fail_keys(db, run, destination, &failures)?;
    runs::close_dead(db, range)?;
    tracing::warn!(range, keys, code = error.code, "uploads of a cancelled run stay open");
    Ok(())
}

/// A key that is listed already, for what it failed of, is told of what is left open as well; whether it is.
fn add_to_failure(
    db: &Connection,
    run: i64,
    destination: i64,
    key: &Key,
    message: &str,
) -> Result<bool, Error> {
    let changed = db
        .prepare_cached(
            "UPDATE failures SET message = message || '; ' || ?4 WHERE run = ?1 AND destination = ?2 AND key = ?3",
        )?
        .execute(params![run, destination, key.as_bytes(), message])?;
    Ok(changed > 0)
}

/// Keys with something open, and whether its id is known of all of it.
fn open(db: &Connection, range: i64) -> Result<BTreeMap<Key, bool>, Error> {
    let mut statement =
        db.prepare_cached("SELECT key, upload_id <> '' FROM upload_intents WHERE range = ?1")?;
    let rows = statement.query_map(params![range], |row| {
        Ok((Key::from(row.get::<_, Vec<u8>>(0)?), row.get::<_, bool>(1)?))
    })?;
    let mut keys = BTreeMap::new();
    for row in rows {
        let (key, known) = row?;
        *keys.entry(key).or_insert(true) &= known;
    }
    Ok(keys)
}

fn what_is_left(known: bool) -> &'static str {
    if known {
        "an upload of it is left open; the job's next run over all keys goes on with it or aborts it"
    } else {
        "an upload of it may be open whose id is not known; a rule of the bucket for unfinished uploads removes it"
    }
}
