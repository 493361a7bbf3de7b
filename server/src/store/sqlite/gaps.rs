//! Events that are missing, and how a job's events stand.
//!
//! While a gap is open and its scan has not begun, keys are not marked: the scan will look at everything. From its
//! beginning on they are marked again, since it may have passed them.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    Dirty, Following, Gap, JobSpec, Key, Name, RunName, RunState, Timestamp, Trigger,
};

use super::paces::What;
use super::row::{int, key, name, parse, uint};
use super::{receivers, runs};
use crate::plan::events::scan_again;
use crate::store::{Error, MAX_DIRTY_KEYS_PER_DESTINATION, StartRun};

/// Events of a job are missing from now on, also when a scan is going on: it may have passed what they told of.
pub(super) fn open(db: &Connection, job: &Name, why: &str, now: Timestamp) -> Result<(), Error> {
    tracing::warn!(%job, why, "events are missing; a scan will look at everything");
    db.execute(
        "UPDATE job_events SET gap_reason = CASE WHEN gap IS NULL THEN ?3 ELSE gap_reason END,
             scan_after = CASE WHEN gap IS NULL THEN ?2 ELSE scan_after END, scan = NULL, gap = COALESCE(gap, ?2), since = ?2
         WHERE job = ?1",
        params![job.as_str(), now.as_micros(), why],
    )?;
    Ok(())
}

/// The queue drops messages unread that were sent about then. Events of a job are missing, unless it did not follow the queue
/// yet, or a scan that began since makes up for them.
pub(super) fn expired(
    db: &Connection,
    job: &Name,
    sent: Timestamp,
    why: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "SELECT MAX(since, COALESCE((SELECT MAX(COALESCE(started, created)) FROM runs
                   WHERE runs.job = job_events.job AND trigger IN ('manual', 'schedule', 'start')
                       AND (runs.id = scan OR state IN ('succeeded', 'finished_with_failures', 'incomplete'))), 0))
               FROM job_events WHERE job = ?1";
    let looked: i64 = db.prepare_cached(sql)?.query_row([job.as_str()], |row| row.get(0))?;
    if sent.as_micros() <= looked || waits(db, job)? {
        return Ok(());
    }
    open(db, job, why, now)
}

/// Whether a job waits for a scan to begin that will look at everything.
pub(super) fn waits(db: &Connection, job: &Name) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM job_events WHERE job = ?1 AND gap IS NOT NULL AND scan IS NULL)";
    Ok(db.prepare_cached(sql)?.query_row([job.as_str()], |row| row.get(0))?)
}

/// A pool has more keys than it may: those nobody has taken are dropped, and a scan looks at everything.
pub(super) fn bound(db: &Connection, pool: i64, job: &Name, now: Timestamp) -> Result<(), Error> {
    let sql = "SELECT open FROM pools WHERE id = ?1";
    let open: i64 = db.prepare_cached(sql)?.query_row([pool], |row| row.get(0))?;
    if uint(open) <= MAX_DIRTY_KEYS_PER_DESTINATION {
        return Ok(());
    }
    db.execute("DELETE FROM pending_keys WHERE pool = ?1 AND work IS NULL", [pool])?;
    db.execute(
        "UPDATE pools SET open = (SELECT COUNT(*) FROM pending_keys WHERE pool = ?1) WHERE id = ?1",
        [pool],
    )?;
    let why = format!("more than {MAX_DIRTY_KEYS_PER_DESTINATION} keys waited to be looked at");
    self::open(db, job, &why, now)
}

/// A run that looks at everything begins.
pub(super) fn scan_began(db: &Connection, job: &Name, run: i64) -> Result<(), Error> {
    db.execute(
        "UPDATE job_events SET scan = ?2 WHERE job = ?1 AND gap IS NOT NULL",
        params![job.as_str(), run],
    )?;
    Ok(())
}

/// A run ended. If it looked at everything because events were missing, none are any more, or another must.
pub(super) fn scan_ended(
    db: &Connection,
    run: i64,
    end: RunState,
    now: Timestamp,
) -> Result<(), Error> {
    match scan_again(end, now) {
        None => db.execute(
            "UPDATE job_events SET gap = NULL, gap_reason = '', scan = NULL WHERE scan = ?1",
            [run],
        )?,
        Some(after) => db.execute(
            "UPDATE job_events SET scan = NULL, scan_after = ?2 WHERE scan = ?1",
            params![run, after.as_micros()],
        )?,
    };
    Ok(())
}

/// Jobs whose scan may begin.
const DUE: &str = "SELECT job FROM job_events JOIN jobs ON jobs.name = job
     WHERE gap IS NOT NULL AND scan IS NULL AND scan_after <= ?1 AND json_extract(jobs.spec, '$.paused') IS NOT 1
       AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.job = job_events.job AND ended IS NULL AND trigger <> 'events')";

/// Whether [`start`] would find anything.
pub(super) fn any_due(db: &Connection, now: Timestamp) -> Result<bool, Error> {
    let sql = format!("SELECT EXISTS ({DUE})");
    Ok(db.prepare_cached(&sql)?.query_row([now.as_micros()], |row| row.get(0))?)
}

/// Begins scans.
pub(super) fn start(db: &Connection, now: Timestamp) -> Result<Vec<RunName>, Error> {
    let due: Vec<String> = db
        .prepare_cached(DUE)?
        .query_map([now.as_micros()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut started = Vec::with_capacity(due.len());
    for job in due {
        let start = StartRun {
            job: name(&job)?,
            trigger: Trigger::Schedule,
            traceparent: String::new(),
            request: None,
            retries: None,
            nominal: None,
        };
        started.push(runs::start(db, start, now)?.name);
    }
    Ok(started)
}

/// How a job's events stand.
pub(super) fn following(
    db: &Connection,
    job: &Name,
    now: Timestamp,
) -> Result<Option<Following>, Error> {
    let sql = "SELECT run, events, lost, last_lost, gap, gap_reason, scan,
                  coalesce((SELECT reason FROM runs WHERE id = run), '') AS reason
               FROM job_events WHERE job = ?1";
    let found = db
        .prepare_cached(sql)?
        .query_row([job.as_str()], |row| {
            let (run, scan): (Option<i64>, Option<i64>) = (row.get("run")?, row.get("scan")?);
            let counts: (i64, i64) = (row.get("events")?, row.get("lost")?);
            let lost: Option<Key> = key(row, "last_lost")?;
            let gap: (Option<i64>, String) = (row.get("gap")?, row.get("gap_reason")?);
            Ok((run, counts, lost, gap, scan, row.get("reason")?))
        })
        .optional()?;
    let Some((run, (events, lost), last_lost, (gap, gap_reason), scan, reason)) = found else {
        return Ok(None);
    };
    let gap = match gap {
        None => None,
        Some(since) => {
            let scan = name_of(db, job, scan)?;
            Some(Gap { since: Timestamp::from_micros(since), reason: gap_reason, scan })
        }
    };
    let destinations = match run {
        Some(run) => dirty(db, run, now)?,
        None => Vec::new(),
    };
    // What was in the way of keys that are settled since is in nobody's way.
    let waits = destinations.iter().any(|one| one.keys > 0);
    let reason = if waits { reason } else { String::new() };
    let run = name_of(db, job, run)?;
    let (events, lost) = (uint(events), uint(lost));
    let told_until = receivers::all_told(db, job)?;
    Ok(Some(Following { run, destinations, events, lost, last_lost, gap, reason, told_until }))
}

fn name_of(db: &Connection, job: &Name, run: Option<i64>) -> Result<Option<RunName>, Error> {
    let Some(run) = run else { return Ok(None) };
    let number: Option<i64> = db
        .prepare_cached("SELECT number FROM runs WHERE id = ?1")?
        .query_row([run], |row| row.get(0))
        .optional()?;
    Ok(number.map(|number| RunName { job: job.clone(), number: uint(number) }))
}

fn dirty(db: &Connection, run: i64, now: Timestamp) -> Result<Vec<Dirty>, Error> {
    let spec: Option<String> = db
        .prepare_cached("SELECT spec FROM run_specs WHERE run = ?1")?
        .query_row([run], |row| row.get(0))
        .optional()?;
    let Some(spec) = spec else { return Ok(Vec::new()) };
    let spec: JobSpec = parse(&spec)?;
    let mut all = Vec::with_capacity(spec.destinations.len());
    for (index, destination) in spec.destinations.into_iter().enumerate() {
        let one = db
            .prepare_cached(
                "SELECT pools.*, COALESCE(SUM(gone <> 1), 0) AS keys, COALESCE(SUM(looks > 0), 0) AS put_off,
                     MIN(CASE WHEN gone <> 1 THEN first END) AS oldest, COALESCE(SUM(gone = 1), 0) AS awaiting
                 FROM pools LEFT JOIN pending_keys ON pool = pools.id WHERE run = ?1 AND destination = ?2
                 GROUP BY pools.id",
            )?
            .query_row([run, int(index as u64)], |row| {
                let count = |column: &str| row.get(column).map(uint);
                let oldest: Option<i64> = row.get("oldest")?;
                Ok(Dirty {
                    location: destination.location,
                    keys: count("keys")?,
                    put_off: count("put_off")?,
                    oldest: oldest.map(Timestamp::from_micros),
                    awaiting: count("awaiting")?,
                    told_per_minute: What::Told.of(row)?.per_minute(now),
                    settled_per_minute: What::Settled.of(row)?.per_minute(now),
                })
            })?;
        all.push(one);
    }
    Ok(all)
}
