//! Deletes by events. A look of a run of events that finds a key at the destination and not at the source settles nothing
//! of a job that mirrors: the key waits in its pool (`gone` is 1) until `plan::rate` lets it pass, or a person. What may be
//! deleted (2) is on disk before anybody is given it as work, so nobody deletes what was not named before. A pool that was
//! stopped once stays so until a person approves what is shown.
//!
//! What passes is one object under a key, and it is counted once: when the key is looked at again, because an event came twice
//! or its holder died, the delete of the same object is let pass again for as long as it counts. Another object is decided on
//! anew, and never deleted in its place.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    Counters, DeleteMode, DeleteReview, DeleteShare, ExtraKey, Key, Location, MAX_DELETE_SAMPLES,
    Run, RunName, Timestamp, WorkReport,
};
use s3sync_proto::status::reason;
use sha2::{Digest as _, Sha256};

use super::deletes::DELETE;
use super::row::{EVENTS, RangeRow, int, json, parse, touch_run, uint};
use super::runs;
use crate::plan::{Flow, Rate, rate};
use crate::store::Error;

/// States of a key of events, as they are stored. That of a key to look at, and of one to delete, is the mode of its work.
pub(super) const WAITS: i64 = 1;
pub(super) const MAY_GO: i64 = DELETE;
/// A key that waits is due never.
const NEVER: i64 = i64::MAX;
/// When a delete passed that a person approved: it does not count, so it never ceases to.
const PERSON: i64 = i64::MAX;

const MINUTE: i64 = 60_000_000;
const MINUTES: i64 = 60;

/// Whether a run is one of events.
pub(super) fn is_of_events(db: &Connection, run: i64) -> Result<bool, Error> {
    let sql = "SELECT trigger = ?2 FROM runs WHERE id = ?1";
    Ok(db.prepare_cached(sql)?.query_row(params![run, EVENTS], |row| row.get(0))?)
}

/// Keeps the keys that a look found to be gone, where the job mirrors. One that there is a newer reason to look at is left
/// to that.
pub(super) fn hold(
    db: &Connection,
    row: &RangeRow,
    report: &WorkReport,
    now: Timestamp,
) -> Result<(), Error> {
    if report.extras.gone.is_empty() || runs::spec(db, row.run)?.0.deletes.mode == DeleteMode::Keep
    {
        return Ok(());
    }
    // What passed before still does, if it is within the limits of now.
    let since = if is_within(db, row, now)? { counts_since(now) } else { PERSON };
    let mut pass_again = db.prepare_cached(
        "UPDATE pending_keys SET work = NULL, taken = NULL, looks = 0, gone = ?5, held = ?6, not_before = ?6
         WHERE work = ?1 AND key = ?2 AND generation = taken AND object <> '' AND object = ?3 AND passed >= ?4",
    )?;
    let mut hold = db.prepare_cached(
        "UPDATE pending_keys SET work = NULL, taken = NULL, lost = 0, attempts = 0, looks = 0, gone = ?4, held = ?5,
             not_before = ?6, object = ?3, passed = 0
         WHERE work = ?1 AND key = ?2 AND generation = taken",
    )?;
    for ExtraKey { key, object } in &report.extras.gone {
        let (key, now) = (key.as_bytes(), now.as_micros());
        if pass_again.execute(params![row.id, key, object, since, MAY_GO, now])? == 0 {
            hold.execute(params![row.id, key, object, WAITS, now, NEVER])?;
        }
    }
    Ok(())
}

/// Whether what passed at a range's destination is within the limits of its run.
fn is_within(db: &Connection, row: &RangeRow, now: Timestamp) -> Result<bool, Error> {
    let Some((job, place)) = place_of(db, row.run, row.destination)? else { return Ok(false) };
    let (spec, _) = runs::spec(db, row.run)?;
    let (keys, passed) = (keys_of(db, &job, &place)?, passed(db, &job, &place, now)?);
    Ok(rate(&spec.deletes, Flow { keys, passed, waiting: 0 }) == Rate::Passes)
}

/// Deletes that were let pass before do not count any more, and are not done any more: they are decided on anew.
pub(super) fn lapse(db: &Connection, pool: i64, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE pending_keys SET gone = 0 WHERE pool = ?1 AND gone = 2 AND passed < ?2 AND work IS NULL";
    db.prepare_cached(sql)?.execute([pool, counts_since(now)])?;
    Ok(())
}

/// Lets what waits in a pool pass as far as the guard allows.
pub(super) fn decide(
    db: &Connection,
    run: i64,
    destination: i64,
    pool: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let waiting = waiting(db, pool, NEVER)?;
    if waiting == 0 || stopped(db, pool)?.is_some() {
        return Ok(());
    }
    let (spec, _) = runs::spec(db, run)?;
    let Some((job, place)) = place_of(db, run, destination)? else { return Ok(()) };
    let place = &place;
    let flow =
        Flow { keys: keys_of(db, &job, place)?, passed: passed(db, &job, place, now)?, waiting };
    let most = match rate(&spec.deletes, flow) {
        Rate::Passes => waiting,
        Rate::Stops { most, reason } => {
            tracing::warn!(job, %reason, waiting, "deletes by events wait for an approval");
            stop(db, pool, &reason)?;
            most
        }
    };
    pass(db, pool, most, NEVER, (now, now.as_micros()))?;
    if most > 0 {
        db.prepare_cached(
            "INSERT INTO event_deletes (job, place, minute, keys) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (job, place, minute) DO UPDATE SET keys = keys + excluded.keys",
        )?
        .execute(params![job, json(place)?, now.as_micros() / MINUTE, int(most)])?;
    }
    Ok(())
}

fn stop(db: &Connection, pool: i64, reason: &str) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT INTO event_guards (pool, reason) VALUES (?1, ?2) ON CONFLICT (pool) DO UPDATE SET reason = ?2",
    )?
    .execute(params![pool, reason])?;
    Ok(())
}

/// Why deletes of a pool wait for a person.
fn stopped(db: &Connection, pool: i64) -> Result<Option<String>, Error> {
    let sql = "SELECT reason FROM event_guards WHERE pool = ?1 AND reason <> ''";
    Ok(db.prepare_cached(sql)?.query_row([pool], |row| row.get(0)).optional()?)
}

/// Keys that wait, of those found to be gone until then.
fn waiting(db: &Connection, pool: i64, until: i64) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM pending_keys WHERE pool = ?1 AND gone = 1 AND held <= ?2";
    Ok(uint(db.prepare_cached(sql)?.query_row([pool, until], |row| row.get(0))?))
}

/// Lets so many of those that wait longest be deleted; `passed` is when, or [`PERSON`].
fn pass(
    db: &Connection,
    pool: i64,
    most: u64,
    until: i64,
    (now, passed): (Timestamp, i64),
) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE pending_keys SET gone = ?3, not_before = ?5, passed = ?6 WHERE pool = ?1 AND key IN
             (SELECT key FROM pending_keys WHERE pool = ?1 AND gone = 1 AND held <= ?4 ORDER BY held, key LIMIT ?2)",
    )?
    .execute(params![pool, int(most), MAY_GO, until, now.as_micros(), passed])?;
    Ok(())
}

/// Deletes by events that passed at a place within the last hour.
fn passed(db: &Connection, job: &str, place: &Location, now: Timestamp) -> Result<u64, Error> {
    let place = json(place)?;
    let since = counts_since(now) / MINUTE;
    db.prepare_cached("DELETE FROM event_deletes WHERE job = ?1 AND place = ?2 AND minute < ?3")?
        .execute(params![job, place, since])?;
    let sql = "SELECT COALESCE(SUM(keys), 0) FROM event_deletes WHERE job = ?1 AND place = ?2";
    Ok(uint(db.prepare_cached(sql)?.query_row([job, &place], |row| row.get(0))?))
}

/// Since when deletes that passed count.
fn counts_since(now: Timestamp) -> i64 {
    (now.as_micros() / MINUTE - MINUTES) * MINUTE
}

/// Job and place of a destination of a run.
fn place_of(
    db: &Connection,
    run: i64,
    destination: i64,
) -> Result<Option<(String, Location)>, Error> {
    let (spec, _) = runs::spec(db, run)?;
    let index = usize::try_from(destination).unwrap_or_default();
    let Some(place) = spec.destinations.into_iter().nth(index) else { return Ok(None) };
    let sql = "SELECT job FROM runs WHERE id = ?1";
    let job: String = db.prepare_cached(sql)?.query_row([run], |row| row.get(0))?;
    Ok(Some((job, place.location)))
}

fn keys_at(db: &Connection, run: i64, destination: i64) -> Result<Option<u64>, Error> {
    match place_of(db, run, destination)? {
        Some((job, place)) => keys_of(db, &job, &place),
        None => Ok(None),
    }
}

/// Keys that a place had after the job's last scan that came to its end.
fn keys_of(db: &Connection, job: &str, place: &Location) -> Result<Option<u64>, Error> {
    let sql = "SELECT id FROM runs WHERE job = ?1 AND ended IS NOT NULL
                   AND trigger IN ('manual', 'schedule', 'start')
                   AND state IN ('succeeded', 'finished_with_failures', 'incomplete')
               ORDER BY number DESC LIMIT 1";
    let run: Option<i64> = db.prepare_cached(sql)?.query_row([job], |row| row.get(0)).optional()?;
    let Some(run) = run else { return Ok(None) };
    let (spec, _) = runs::spec(db, run)?;
    let Some(index) = spec.destinations.iter().position(|one| one.location == *place) else {
        return Ok(None);
    };
    let sql = "SELECT counters FROM run_destinations WHERE run = ?1 AND destination = ?2";
    let counters: String =
        db.prepare_cached(sql)?.query_row([run, int(index as u64)], |row| row.get(0))?;
    let counters: Counters = parse(&counters)?;
    let in_place = counters.in_step + counters.copied;
    Ok(Some(in_place.max(counters.destination_listed.saturating_sub(counters.deleted))))
}

/// Another pool takes over the keys of one: deletes of it wait if those did.
pub(super) fn inherit(db: &Connection, pool: i64, heir: i64) -> Result<(), Error> {
    match stopped(db, pool)? {
        Some(reason) => stop(db, heir, &reason),
        None => Ok(()),
    }
}

/// Pools of a run, with destination, whose deletes wait for a person, and why.
fn asking(db: &Connection, run: i64) -> Result<Vec<(i64, i64, String)>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT pools.id, destination, reason FROM pools JOIN event_guards ON pool = pools.id
         WHERE run = ?1 AND reason <> '' ORDER BY destination",
    )?;
    let rows = statement.query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The deletes of a run of events that wait for a person, as they are shown.
pub(super) fn review(db: &Connection, run: i64) -> Result<Option<DeleteReview>, Error> {
    let asking = asking(db, run)?;
    let mut until = 0;
    for (pool, ..) in &asking {
        let sql = "SELECT MAX(held) FROM pending_keys WHERE pool = ?1 AND gone = 1";
        let last: Option<i64> = db.prepare_cached(sql)?.query_row([pool], |row| row.get(0))?;
        until = until.max(last.unwrap_or_default());
    }
    reviewed(db, run, &asking, until)
}

/// Those that were found until then: more may come while a person looks, and are not meant.
fn reviewed(
    db: &Connection,
    run: i64,
    asking: &[(i64, i64, String)],
    until: i64,
) -> Result<Option<DeleteReview>, Error> {
    let mut destinations = Vec::new();
    for (pool, destination, reason) in asking {
        let extra = waiting(db, *pool, until)?;
        if extra == 0 {
            continue;
        }
        destinations.push(DeleteShare {
            destination: u32::try_from(*destination).unwrap_or_default(),
            extra,
            listed: keys_at(db, run, *destination)?.unwrap_or_default().max(extra),
            deleted: 0,
            reason: reason.clone(),
            samples: samples(db, *pool, until)?,
        });
    }
    if destinations.is_empty() {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    digest.update(json(&(run, until))?);
    for share in &destinations {
        digest.update(json(&(share.destination, share.extra, &share.reason))?);
        for key in &share.samples {
            digest.update(int(key.as_bytes().len() as u64).to_be_bytes());
            digest.update(key.as_bytes());
        }
    }
    let digest: String =
        digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(DeleteReview { etag: format!("{until:x}-{digest}"), destinations }))
}

fn samples(db: &Connection, pool: i64, until: i64) -> Result<Vec<Key>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT key FROM pending_keys WHERE pool = ?1 AND gone = 1 AND held <= ?2 ORDER BY held, key LIMIT ?3",
    )?;
    let most = int(MAX_DELETE_SAMPLES as u64);
    let rows = statement.query_map([pool, until, most], |row| row.get::<_, Vec<u8>>(0))?;
    let mut keys: Vec<Key> = rows.map(|row| row.map(Key::from)).collect::<Result<_, _>>()?;
    keys.sort_unstable();
    Ok(keys)
}

/// A person approves what is shown under this etag. What was found since then is decided on anew. The same approval again
/// changes nothing.
pub(super) fn approve(
    db: &Connection,
    name: &RunName,
    id: i64,
    etag: &str,
    now: Timestamp,
) -> Result<Run, Error> {
    let run = runs::get(db, &name.job, Some(name.number))?;
    let sql = "SELECT EXISTS (SELECT 1 FROM event_guards JOIN pools ON pools.id = pool WHERE run = ?1 AND approved = ?2)";
    if db.query_row(sql, params![id, etag], |row| row.get(0))? {
        return Ok(run);
    }
    let asking = asking(db, id)?;
    if run.deletes.is_none() {
        let text =
            format!("no deletes of {name} wait for an approval; there is nothing to approve");
        return Err(Error::NotNow { reason: reason::RUN_STATE, text });
    }
    let until = etag.split_once('-').and_then(|(until, _)| i64::from_str_radix(until, 16).ok());
    let shown = match until {
        Some(until) => reviewed(db, id, &asking, until)?.filter(|shown| shown.etag == etag),
        None => None,
    };
    let (Some(until), Some(_)) = (until, shown) else {
        return Err(Error::Outdated(format!(
            "what {name} would delete is not what was approved; look at it again"
        )));
    };
    for (pool, destination, _) in asking {
        pass(db, pool, u64::MAX, until, (now, PERSON))?;
        db.execute(
            "UPDATE event_guards SET reason = '', approved = ?2 WHERE pool = ?1",
            params![pool, etag],
        )?;
        decide(db, id, destination, pool, now)?;
        super::events::give_work(db, pool, now)?;
    }
    touch_run(db, id)?;
    runs::get(db, &name.job, Some(name.number))
}
