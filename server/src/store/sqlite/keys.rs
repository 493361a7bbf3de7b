//! Key work: named keys in pools, taken when a key work is leased, settled by its reports.
//!
//! Keys stay bound to the work that took them until it is leased again: a late report of a holder whose session
//! expired still counts, and no other work has its keys meanwhile.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use s3sync_proto::model::{
    Counters, ExtraKey, Failure, FailureClass, Key, MAX_KEY_BYTES_PER_WORK, MAX_KEYS_PER_WORK,
    MAX_TRACE_LINKS, Timestamp, WorkReport,
};

use super::deletes::DELETE;
use super::event_deletes;
use super::paces::{self, What};
use super::report::{count, fail_keys, forget};
use super::row::{LetGo, RangeRow, blob, int, let_go, time, uint32, word};
use crate::plan::events::{NEWS_WAIT_AT_MOST, look_again};
use crate::store::{Error, MAX_EVENT_KEYS_PER_WORK, MAX_KEY_WORKS_PER_DESTINATION};

/// Holders that died with a key before it is looked at alone. A key that kills its holder even then is given up.
const LOST_TOGETHER: i64 = 3;

/// Fills pools of a run with the failures of an earlier one and makes the works that look at them. `destinations` says
/// which destination of the run each of the earlier run's is; failures of others are left out. Returns how many keys
/// there are.
pub(super) fn retry(
    db: &Connection,
    run: i64,
    earlier: i64,
    destinations: &[Option<usize>],
) -> Result<u64, Error> {
    let mut total = 0;
    for (before, now) in destinations.iter().enumerate() {
        let Some(now) = now else { continue };
        let (before, now) = (int(before as u64), int(*now as u64));
        db.execute("INSERT INTO pools (run, destination) VALUES (?1, ?2)", [run, now])?;
        let pool = db.last_insert_rowid();
        let keys = db.execute(
            "INSERT INTO pending_keys (pool, key, attempts, first)
             SELECT ?1, key, attempts, first FROM failures WHERE run = ?2 AND destination = ?3",
            [pool, earlier, before],
        )?;
        let works = keys.div_ceil(MAX_KEYS_PER_WORK).min(MAX_KEY_WORKS_PER_DESTINATION);
        for _ in 0..works {
            db.execute(
                "INSERT INTO ranges (run, destination, pool) VALUES (?1, ?2, ?3)",
                [run, now, pool],
            )?;
        }
        total += keys as u64;
    }
    Ok(total)
}

/// Takes keys for a work that is being leased, after giving back those it had, and tells what is to be done with them:
/// those to look at and those to delete are not mixed. None when there is nothing to do.
pub(super) fn take(
    db: &Connection,
    work: i64,
    pool: i64,
    events: bool,
    now: Timestamp,
) -> Result<(Vec<ExtraKey>, i64), Error> {
    db.prepare_cached("UPDATE pending_keys SET work = NULL, taken = NULL WHERE work = ?1")?
        .execute([work])?;
    let mode: i64 = db
        .prepare_cached("UPDATE ranges SET cursor = NULL WHERE id = ?1 RETURNING mode")?
        .query_row([work], |row| row.get(0))?;
    give_up_poison(db, pool, now)?;
    if mode == DELETE {
        event_deletes::lapse(db, pool, now)?;
    }
    let suspect: Option<ExtraKey> = db
        .prepare_cached(
            "SELECT key, object FROM pending_keys WHERE pool = ?1 AND work IS NULL AND lost >= ?2 AND gone = ?3
             ORDER BY key LIMIT 1",
        )?
        .query_row([pool, LOST_TOGETHER, mode], extra_key)
        .optional()?;
    let keys = match suspect {
        // Alone: if it dies again, it was this key.
        Some(key) => vec![key],
        None => {
            let most = if events { MAX_EVENT_KEYS_PER_WORK } else { MAX_KEYS_PER_WORK };
            free(db, pool, mode, most, now)?
        }
    };
    for key in &keys {
        db.prepare_cached(
            "UPDATE pending_keys SET work = ?3, taken = generation WHERE pool = ?1 AND key = ?2",
        )?
        .execute(params![pool, key.key.as_bytes(), work])?;
        // What an earlier holder of the key may have left open goes along.
        db.prepare_cached(
            "UPDATE OR REPLACE upload_intents SET range = ?3
             WHERE key = ?2 AND range IN (SELECT id FROM ranges WHERE pool = ?1) AND range <> ?3",
        )?
        .execute(params![pool, key.key.as_bytes(), work])?;
    }
    Ok((keys, mode))
}

/// Traces of the events that a work's keys were marked by, the oldest first.
pub(super) fn traces(db: &Connection, work: i64) -> Result<Vec<String>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT traceparent FROM pending_keys WHERE work = ?1 AND traceparent IS NOT NULL
         GROUP BY traceparent ORDER BY MIN(latest), traceparent LIMIT ?2",
    )?;
    let most = int(MAX_TRACE_LINKS as u64 + 1);
    let rows = statement.query_map([work, most], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Free keys that are due for a kind of work, as many as one work may have, those that wait longest first; ascending.
fn free(
    db: &Connection,
    pool: i64,
    mode: i64,
    most: usize,
    now: Timestamp,
) -> Result<Vec<ExtraKey>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT key, object FROM pending_keys WHERE pool = ?1 AND work IS NULL AND lost < ?2 AND not_before <= ?3 AND gone = ?5
         ORDER BY not_before, key LIMIT ?4",
    )?;
    let most = int(most as u64);
    let arguments = [pool, LOST_TOGETHER, now.as_micros(), most, mode];
    let rows = statement.query_map(arguments, extra_key)?;
    let (mut keys, mut bytes) = (Vec::new(), 0);
    for key in rows {
        let key = key?;
        bytes += key.key.as_bytes().len();
        if bytes > MAX_KEY_BYTES_PER_WORK {
            break;
        }
        keys.push(key);
    }
    keys.sort_unstable();
    Ok(keys)
}

fn extra_key(row: &Row<'_>) -> Result<ExtraKey, rusqlite::Error> {
    let (key, object) = (row.get::<_, Vec<u8>>("key")?, row.get("object")?);
    Ok(ExtraKey { key: Key::from(key), object })
}

/// Whether a pool has free keys that are due for a kind of work.
pub(super) fn any_due(
    db: &Connection,
    pool: i64,
    mode: i64,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pending_keys
                   WHERE pool = ?1 AND work IS NULL AND not_before <= ?2 AND gone = ?3)";
    Ok(db.prepare_cached(sql)?.query_row([pool, now.as_micros(), mode], |row| row.get(0))?)
}

/// Keys that killed their holder when it looked at nothing else become failures.
fn give_up_poison(db: &Connection, pool: i64, now: Timestamp) -> Result<(), Error> {
    let mut statement = db.prepare_cached(
        "DELETE FROM pending_keys WHERE pool = ?1 AND work IS NULL AND lost > ?2
         RETURNING key, attempts, first, lost",
    )?;
    let rows = statement.query_map([pool, LOST_TOGETHER], |row| {
        let (attempts, lost): (i64, i64) = (row.get("attempts")?, row.get("lost")?);
        Ok(Failure {
            key: Key::from(row.get::<_, Vec<u8>>("key")?),
            destination: 0,
            class: FailureClass::Poison,
            code: "agents_died".to_owned(),
            message: format!("{lost} agents died while they worked on this key"),
            s3_request_id: String::new(),
            attempts: uint32(attempts + lost),
            first: time(row, "first")?,
            last: now,
        })
    })?;
    let failures: Vec<Failure> = rows.collect::<Result<_, _>>()?;
    if failures.is_empty() {
        return Ok(());
    }
    fewer(db, pool, failures.len())?;
    let sql = "SELECT run, destination FROM pools WHERE id = ?1";
    let (run, destination) =
        db.prepare_cached(sql)?.query_row([pool], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let failed = failures.len() as u64;
    count(db, run, destination, Counters { listed: failed, failed, ..Counters::default() })?;
    fail_keys(db, run, destination, &failures)
}

/// A holder died: the keys it had not settled are suspects.
pub(super) fn suspect(db: &Connection, work: i64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE pending_keys SET lost = lost + 1
         WHERE work = ?1 AND key > COALESCE((SELECT cursor FROM ranges WHERE id = ?1), x'')
            OR work = ?1 AND key = x'' AND (SELECT cursor FROM ranges WHERE id = ?1) IS NULL",
    )?
    .execute([work])?;
    Ok(())
}

/// Adds to failures what is known of their keys from before.
pub(super) fn carry_over(
    db: &Connection,
    work: i64,
    failures: &mut [Failure],
) -> Result<(), Error> {
    let sql = "SELECT attempts, first FROM pending_keys WHERE work = ?1 AND key = ?2";
    for failure in failures {
        let known: Option<(i64, Timestamp)> = db
            .prepare_cached(sql)?
            .query_row(params![work, failure.key.as_bytes()], |row| {
                Ok((row.get("attempts")?, time(row, "first")?))
            })
            .optional()?;
        if let Some((attempts, first)) = known {
            failure.attempts = failure.attempts.saturating_add(uint32(attempts));
            failure.first = failure.first.min(first);
        }
    }
    Ok(())
}

/// The keys of a work up to `cursor` are settled (`None`: all it has). One that there is a newer reason to look at is
/// free again.
pub(super) fn settle(
    db: &Connection,
    work: i64,
    pool: i64,
    cursor: Option<&Key>,
    now: Timestamp,
) -> Result<(), Error> {
    let upto = "work = ?1 AND (?2 IS NULL OR key <= ?2)";
    let arguments = params![work, blob(cursor)];
    let settled = db
        .prepare_cached(&format!("DELETE FROM pending_keys WHERE {upto} AND generation = taken"))?
        .execute(arguments)?;
    let again = db
        .prepare_cached(&format!(
        "UPDATE pending_keys SET work = NULL, taken = NULL, lost = 0, attempts = 0, looks = 0, gone = 0,
             first = MAX(first, latest) WHERE {upto}"
    ))?
    .execute(arguments)?;
    paces::add(db, pool, What::Settled, (settled + again) as u64, now)?;
    fewer(db, pool, settled)
}

/// Keys have left a pool.
fn fewer(db: &Connection, pool: i64, keys: usize) -> Result<(), Error> {
    db.prepare_cached("UPDATE pools SET open = MAX(0, open - ?2) WHERE id = ?1")?
        .execute([pool, int(keys as u64)])?;
    Ok(())
}

/// Of keys that failed in a run of events, those that may pass are put off instead; they leave the report.
pub(super) fn put_off(
    db: &Connection,
    row: &RangeRow,
    report: &mut WorkReport,
    now: Timestamp,
) -> Result<(), Error> {
    let mut kept = Vec::new();
    for failure in std::mem::take(&mut report.failures) {
        let key = failure.key.as_bytes();
        let looks: Option<i64> = db
            .prepare_cached("SELECT looks FROM pending_keys WHERE work = ?1 AND key = ?2")?
            .query_row(params![row.id, key], |row| row.get(0))
            .optional()?;
        let looks = uint32(looks.unwrap_or_default()).saturating_add(1);
        let Some(again) = look_again(looks, failure.class, &failure.code, now) else {
            kept.push(failure);
            continue;
        };
        db.prepare_cached(
            "UPDATE pending_keys SET work = NULL, taken = NULL, lost = 0, attempts = ?3, looks = ?4,
                 not_before = CASE WHEN generation > taken THEN ?6 ELSE ?5 END
             WHERE work = ?1 AND key = ?2",
        )?
        .execute(params![
            row.id,
            key,
            failure.attempts,
            looks,
            again.as_micros(),
            // An event told of it meanwhile.
            again.min(now.plus(NEWS_WAIT_AT_MOST)).as_micros()
        ])?;
        // It was not settled, so it is not counted.
        if row.mode == DELETE && report.counters.not_deleted > 0 {
            report.counters.not_deleted -= 1;
        } else {
            report.counters.listed -= 1;
            report.counters.failed -= 1;
        }
    }
    report.failures = kept;
    Ok(())
}

/// Keys of a work of events up to `cursor` are settled: what was recorded of them as failures is not so any more. Those
/// that fail again are recorded again.
pub(super) fn mend(db: &Connection, row: &RangeRow, cursor: Option<&Key>) -> Result<(), Error> {
    let sql = "SELECT listed_failures FROM runs WHERE id = ?1";
    let listed: i64 = db.prepare_cached(sql)?.query_row([row.run], |row| row.get(0))?;
    if listed == 0 {
        return Ok(());
    }
    let mut statement = db.prepare_cached(
        "DELETE FROM failures WHERE run = ?1 AND destination = ?2 AND key IN
             (SELECT key FROM pending_keys WHERE work = ?3 AND (?4 IS NULL OR key <= ?4)) RETURNING class",
    )?;
    let archived = word(FailureClass::Archived)?;
    let (mut all, mut of_archived) = (0, 0);
    let classes = statement
        .query_map(params![row.run, row.destination, row.id, blob(cursor)], |row| {
            row.get::<_, String>(0)
        })?;
    for class in classes {
        all += 1;
        of_archived += u64::from(class? == archived);
    }
    if all == 0 {
        return Ok(());
    }
    db.prepare_cached("UPDATE runs SET listed_failures = listed_failures - ?2 WHERE id = ?1")?
        .execute([row.run, int(all)])?;
    forget(db, row.run, row.destination, all - of_archived, of_archived)
}

/// A work looked at all it had. It goes on while its pool has more that is due; whether it does.
pub(super) fn goes_on(
    db: &Connection,
    row: &RangeRow,
    pool: i64,
    now: Timestamp,
) -> Result<bool, Error> {
    let more = any_due(db, pool, row.mode, now)?;
    if more {
        let_go(db, row.id, LetGo::NewEpoch)?;
    }
    Ok(more)
}
