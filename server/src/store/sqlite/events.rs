//! Events of source buckets: keys to look at, marked in the pools of a job's run of events. What an event means to a job is
//! decided by `plan::events`.
//!
//! A job has at most one run of events that takes new ones (`job_events.run`). It is replaced when the job's settings
//! change, and daily; the one before keeps what its holders have taken, and ends when that is done.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    DeleteMode, EventBatch, JobSpec, Key, Location, Name, News, Run, RunName, RunState, Timestamp,
    Trigger, Verdict,
};
use s3sync_proto::status::reason;

use super::paces::{self, What};
use super::row::{blob, int, name, parse, touch_run, uint, word};
use super::watches::{self, Tally};
use super::{deletes, event_deletes, gaps, keys, receivers, runs};
use crate::plan::events::{
    EVENT_RUN_LASTS, Listener, Meaning, NEWS_WAIT_AT_MOST, expiring, silence,
};
use crate::store::{Error, MAX_KEY_WORKS_PER_DESTINATION};

/// A job that follows a queue.
struct Follower {
    job: Name,
    spec: JobSpec,
    generation: i64,
    run: Option<i64>,
    run_generation: i64,
}

/// What is known of a key that may have changed.
struct Mark<'a> {
    /// When the oldest of its events was sent.
    since: Timestamp,
    sequencer: &'a str,
    /// The trace of its newest event.
    traceparent: Option<&'a str>,
}

/// A job was put: it follows the queue it names now. Runs of events go on by the new settings.
pub(super) fn arm(
    db: &Connection,
    job: &Name,
    spec: &JobSpec,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(queue) = &spec.events else {
        db.execute("DELETE FROM job_events WHERE job = ?1", [job.as_str()])?;
        retire(db, job, None, now)?;
        return watches::arm(db);
    };
    db.execute(
        "INSERT INTO job_events (job, queue, since) VALUES (?1, ?2, ?3) ON CONFLICT (job) DO UPDATE
         SET since = CASE WHEN queue = ?2 THEN since ELSE ?3 END, queue = ?2",
        params![job.as_str(), queue.as_str(), now.as_micros()],
    )?;
    replace(db, job, now)?;
    watches::arm(db)
}

/// Ends a job's run of events; another goes on with its keys, if it has any.
fn replace(db: &Connection, job: &Name, now: Timestamp) -> Result<(), Error> {
    let waiting = "SELECT EXISTS (SELECT 1 FROM runs JOIN pools ON pools.run = runs.id
             JOIN pending_keys ON pending_keys.pool = pools.id
         WHERE runs.job = ?1 AND runs.ended IS NULL AND runs.trigger = 'events')";
    if db.prepare_cached(waiting)?.query_row([job.as_str()], |row| row.get(0))? {
        return renew(db, &follower(db, job)?, now).map(drop);
    }
    db.execute("UPDATE job_events SET run = NULL WHERE job = ?1", [job.as_str()])?;
    retire(db, job, None, now)
}

/// Runs of events of a job that have not ended.
fn open_runs(db: &Connection, job: &Name) -> Result<Vec<i64>, Error> {
    let sql =
        "SELECT id FROM runs WHERE job = ?1 AND ended IS NULL AND trigger = 'events' ORDER BY id";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([job.as_str()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A job's run of events of which somebody holds work, or which may have left an upload open.
pub(super) fn held(db: &Connection, job: &Name) -> Result<Option<u64>, Error> {
    let sql = "SELECT number FROM runs WHERE job = ?1 AND ended IS NULL AND trigger = 'events'
         AND EXISTS (SELECT 1 FROM ranges WHERE run = runs.id AND (state = 1
                     OR EXISTS (SELECT 1 FROM upload_intents WHERE range = ranges.id)))";
    Ok(db.query_row(sql, [job.as_str()], |row| row.get(0)).optional()?.map(uint))
}

const FOLLOWER: &str =
    "SELECT job, spec, jobs.generation AS generation, run, job_events.generation AS run_generation
     FROM job_events JOIN jobs ON jobs.name = job";

fn follower(db: &Connection, job: &Name) -> Result<Follower, Error> {
    let mut found = query(db, &format!("{FOLLOWER} WHERE job = ?1"), job)?;
    found.pop().ok_or_else(|| Error::NotFound(format!("jobs/{job}")))
}

fn followers(db: &Connection, queue: &Name) -> Result<Vec<Follower>, Error> {
    query(db, &format!("{FOLLOWER} WHERE queue = ?1 ORDER BY job"), queue)
}

fn query(db: &Connection, sql: &str, argument: &Name) -> Result<Vec<Follower>, Error> {
    let mut statement = db.prepare_cached(sql)?;
    let rows: Vec<_> = statement
        .query_map([argument.as_str()], |row| {
            let texts: (String, String) = (row.get("job")?, row.get("spec")?);
            let run: Option<i64> = row.get("run")?;
            let generations: (i64, i64) = (row.get("generation")?, row.get("run_generation")?);
            Ok((texts, run, generations))
        })?
        .collect::<Result<_, _>>()?;
    let mut followers = Vec::with_capacity(rows.len());
    for ((job, spec), run, (generation, run_generation)) in rows {
        let (job, spec) = (name(&job)?, parse(&spec)?);
        followers.push(Follower { job, spec, generation, run, run_generation });
    }
    Ok(followers)
}

/// Takes what is told of a queue.
pub(super) fn take(db: &Connection, batch: EventBatch, now: Timestamp) -> Result<Verdict, Error> {
    let Some(queue) = receivers::queue_of(db, batch.held)? else { return Ok(Verdict::Stale) };
    let news = &batch.news;
    let (told, kept) = watches::known(db, &queue)?;
    if let Some(why) = silence(told, kept, now) {
        for follower in followers(db, &queue)? {
            gaps::open(db, &follower.job, &why, now)?;
        }
    }
    let kept = news.state.as_ref().and_then(|state| state.retention).or(kept);
    if let Some(waited) = news.longest_wait
        && let Some(why) = expiring(Some(waited), kept)
    {
        for follower in followers(db, &queue)? {
            gaps::expired(db, &follower.job, now.minus(waited), &why, now)?;
        }
    }
    let mut heard = vec![false; news.events.len()];
    for follower in followers(db, &queue)? {
        // It was checked when the job was put.
        let Ok(listener) = Listener::new(&follower.spec) else { continue };
        listen(db, &follower, &listener, news, &mut heard, now)?;
    }
    let events = heard.iter().filter(|heard| **heard).count() as u64;
    let unmatched = heard.len() as u64 - events;
    watches::keep_unreadable(db, &queue, &news.unreadable, now)?;
    watches::told(db, &queue, &batch, &Tally { events, unmatched }, now)?;
    Ok(Verdict::Applied)
}

/// Marks what concerns one job.
fn listen(
    db: &Connection,
    follower: &Follower,
    listener: &Listener,
    news: &News,
    heard: &mut [bool],
    now: Timestamp,
) -> Result<(), Error> {
    let mut marks: BTreeMap<Key, Mark<'_>> = BTreeMap::new();
    let mut lost: Vec<Key> = Vec::new();
    let traceparent = Some(news.traceparent.as_str()).filter(|text| !text.is_empty());
    for (event, heard) in news.events.iter().zip(heard) {
        match listener.hears(event) {
            Meaning::None => continue,
            Meaning::Lost(key) => lost.push(key),
            Meaning::Look(key) => {
                // A clock of SQS that is ahead would make the lag negative.
                let since = event.sent.unwrap_or(now).min(now);
                let mark = Mark { since, sequencer: &event.sequencer, traceparent };
                let oldest = marks.get(&key).map_or(since, |known| known.since.min(since));
                marks.insert(key, Mark { since: oldest, ..mark });
            }
        }
        *heard = true;
    }
    if let Some(last) = lost.last() {
        tracing::warn!(job = %follower.job, count = lost.len(), key = %last, "S3 lost objects of the source");
        db.execute(
            "UPDATE job_events SET lost = lost + ?2, last_lost = ?3 WHERE job = ?1",
            params![follower.job.as_str(), int(lost.len() as u64), blob(Some(last))],
        )?;
    }
    if marks.is_empty() {
        return Ok(());
    }
    if gaps::waits(db, &follower.job)? {
        return Ok(());
    }
    let run = run_of(db, follower, now)?;
    db.execute(
        "UPDATE job_events SET events = events + ?2 WHERE job = ?1",
        params![follower.job.as_str(), int(marks.len() as u64)],
    )?;
    let told = marks.len() as u64;
    for pool in pools_of(db, run)? {
        mark(db, pool, &marks, now)?;
        paces::add(db, pool, What::Told, told, now)?;
        gaps::bound(db, pool, &follower.job, now)?;
        give_work(db, pool, now)?;
    }
    Ok(())
}

/// The run that takes a job's events now.
fn run_of(db: &Connection, follower: &Follower, now: Timestamp) -> Result<i64, Error> {
    if let Some(run) = follower.run
        && follower.run_generation == follower.generation
    {
        let sql =
            "SELECT created FROM runs WHERE id = ?1 AND ended IS NULL AND state <> 'cancelling'";
        let created: Option<i64> =
            db.prepare_cached(sql)?.query_row([run], |row| row.get(0)).optional()?;
        let young = |created| now.since(Timestamp::from_micros(created)) < EVENT_RUN_LASTS;
        if created.is_some_and(young) {
            return Ok(run);
        }
    }
    renew(db, follower, now)
}

fn pools_of(db: &Connection, run: i64) -> Result<Vec<i64>, Error> {
    let mut statement =
        db.prepare_cached("SELECT id FROM pools WHERE run = ?1 ORDER BY destination")?;
    let rows = statement.query_map([run], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn mark(
    db: &Connection,
    pool: i64,
    marks: &BTreeMap<Key, Mark<'_>>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut statement = db.prepare_cached(
        "INSERT INTO pending_keys (pool, key, first, latest, not_before, sequencer, traceparent)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)
         ON CONFLICT (pool, key) DO UPDATE
         SET generation = generation + 1, latest = MAX(latest, ?3), sequencer = ?5, traceparent = ?6,
             first = CASE WHEN work IS NULL THEN MIN(first, ?3) ELSE first END,
             gone = CASE WHEN work IS NULL THEN 0 ELSE gone END,
             not_before = CASE WHEN work IS NOT NULL THEN not_before WHEN gone <> 0 THEN ?4 ELSE MIN(not_before, ?7) END
         RETURNING generation",
    )?;
    let look_by = now.plus(NEWS_WAIT_AT_MOST).as_micros();
    let (mut more, now) = (0, now.as_micros());
    for (key, mark) in marks {
        let Mark { since, sequencer, traceparent } = mark;
        let since = since.as_micros();
        let arguments = params![pool, key.as_bytes(), since, now, sequencer, traceparent, look_by];
        let generation: i64 = statement.query_row(arguments, |row| row.get(0))?;
        more += i64::from(generation == 1);
    }
    db.prepare_cached("UPDATE pools SET open = open + ?2 WHERE id = ?1")?.execute([pool, more])?;
    Ok(())
}

/// Makes works for keys that wait, to look at and to delete, unless one of the kind is ready or there are as many as may
/// be.
pub(super) fn give_work(db: &Connection, pool: i64, now: Timestamp) -> Result<(), Error> {
    for mode in [deletes::SCAN, deletes::DELETE] {
        let (ready, open): (i64, i64) = db
            .prepare_cached(
                // Works that nobody may have yet keep no others from being made.
                "SELECT COALESCE(SUM(state = 0 AND mode = ?2), 0), COUNT(*) FROM ranges
                 WHERE pool = ?1 AND state < 2 AND (state = 1 OR late_until <= ?3)",
            )?
            .query_row([pool, mode, now.as_micros()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let most = int(MAX_KEY_WORKS_PER_DESTINATION as u64);
        if ready > 0 || open >= most || !keys::any_due(db, pool, mode, now)? {
            continue;
        }
        let run: i64 = db
            .prepare_cached(
                "INSERT INTO ranges (run, destination, pool, mode)
                 SELECT run, destination, id, ?2 FROM pools WHERE id = ?1 RETURNING run",
            )?
            .query_row([pool, mode], |row| row.get(0))?;
        touch_run(db, run)?;
    }
    Ok(())
}

/// Begins a new run of events with the job's settings of now. Keys nobody has taken come along; earlier runs end when
/// what their holders have is done.
fn renew(db: &Connection, follower: &Follower, now: Timestamp) -> Result<i64, Error> {
    let job = &follower.job;
    let state = if follower.spec.paused { RunState::Paused } else { RunState::Pending };
    let (run, _) = runs::insert(db, job, Trigger::Events, &follower.spec, now)?;
    if state == RunState::Paused {
        db.execute(
            "UPDATE runs SET state = ?2, reason = 'the job is paused' WHERE id = ?1",
            params![run, word(state)?],
        )?;
    }
    for index in 0..follower.spec.destinations.len() {
        db.execute(
            "INSERT INTO pools (run, destination) VALUES (?1, ?2)",
            [run, int(index as u64)],
        )?;
    }
    db.execute(
        "UPDATE job_events SET run = ?2, generation = ?3 WHERE job = ?1",
        params![job.as_str(), run, follower.generation],
    )?;
    retire(db, job, Some((run, &follower.spec)), now)?;
    for pool in pools_of(db, run)? {
        give_work(db, pool, now)?;
    }
    Ok(run)
}

/// Ends a job's runs of events but `heir`, as far as nobody holds work of them. Their free keys go to the heir where it has
/// the same source and destination.
fn retire(
    db: &Connection,
    job: &Name,
    heir: Option<(i64, &JobSpec)>,
    now: Timestamp,
) -> Result<(), Error> {
    let paused = heir.is_some_and(|(_, spec)| spec.paused);
    for run in open_runs(db, job)? {
        if heir.is_some_and(|(heir, _)| heir == run) {
            continue;
        }
        // Works that nobody holds give their keys back, unless an upload of theirs may be open.
        let idle = "SELECT id FROM ranges WHERE run = ?1 AND state = 0 AND late_until <= ?2
                    AND NOT EXISTS (SELECT 1 FROM upload_intents WHERE range = ranges.id)";
        db.execute(
            &format!("UPDATE pending_keys SET work = NULL, taken = NULL WHERE work IN ({idle})"),
            [run, now.as_micros()],
        )?;
        db.execute(&format!("DELETE FROM ranges WHERE id IN ({idle})"), [run, now.as_micros()])?;
        let (spec, _) = runs::spec(db, run)?;
        for (index, destination) in spec.destinations.iter().enumerate() {
            let sql = "SELECT id FROM pools WHERE run = ?1 AND destination = ?2";
            let pool: i64 = db.query_row(sql, [run, int(index as u64)], |row| row.get(0))?;
            let to = match heir {
                Some((heir, now)) if now.source == spec.source => {
                    heir_pool(db, heir, now, &destination.location)?
                }
                Some(_) | None => None,
            };
            let mirrors = heir.is_some_and(|(_, now)| now.deletes.mode == DeleteMode::Mirror);
            hand_over(db, pool, to, mirrors, now)?;
        }
        // A job that goes on lets its earlier works go on, too; one that is paused has their holders let go.
        let (from, to) = if paused { ("running", "paused") } else { ("paused", "running") };
        db.execute(
            "UPDATE runs SET state = ?3, reason = '' WHERE id = ?1 AND state = ?2",
            params![run, from, to],
        )?;
        touch_run(db, run)?;
        runs::settle(db, run, now)?;
    }
    Ok(())
}

/// The pool of an heir for the same place, if it has one.
fn heir_pool(
    db: &Connection,
    heir: i64,
    spec: &JobSpec,
    place: &Location,
) -> Result<Option<i64>, Error> {
    let Some(index) = spec.destinations.iter().position(|one| one.location == *place) else {
        return Ok(None);
    };
    let sql = "SELECT id FROM pools WHERE run = ?1 AND destination = ?2";
    Ok(Some(db.query_row(sql, [heir, int(index as u64)], |row| row.get(0))?))
}

/// Moves a pool's free keys to another, or drops them. Of a job that mirrors, those that wait for a person go on waiting; all
/// others are looked at, also those that might be deleted.
fn hand_over(
    db: &Connection,
    pool: i64,
    to: Option<i64>,
    mirrors: bool,
    now: Timestamp,
) -> Result<(), Error> {
    db.execute(
        "UPDATE pending_keys SET gone = 0, not_before = ?2
         WHERE pool = ?1 AND work IS NULL AND (gone = 2 OR (gone = 1 AND NOT ?3))",
        params![pool, now.as_micros(), mirrors],
    )?;
    if let Some(to) = to {
        event_deletes::inherit(db, pool, to)?;
        paces::inherit(db, pool, to)?;
        db.execute(
            "INSERT INTO pending_keys (pool, key, generation, lost, attempts, first, latest, not_before, sequencer,
                                       traceparent, gone, held, object, passed)
             SELECT ?2, key, 1, lost, attempts, first, latest, not_before, sequencer, traceparent, gone, held, object, passed
             FROM pending_keys
             WHERE pool = ?1 AND work IS NULL
             ON CONFLICT (pool, key) DO UPDATE SET generation = generation + 1, first = MIN(first, excluded.first)",
            [pool, to],
        )?;
    }
    db.execute("DELETE FROM pending_keys WHERE pool = ?1 AND work IS NULL", [pool])?;
    for pool in [Some(pool), to].into_iter().flatten() {
        db.execute(
            "UPDATE pools SET open = (SELECT COUNT(*) FROM pending_keys WHERE pool = ?1) WHERE id = ?1",
            [pool],
        )?;
    }
    Ok(())
}

/// Whether a run of events goes on although nobody has work of it: it takes new events, or keys wait for their time.
pub(super) fn goes_on(db: &Connection, run: i64) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM job_events WHERE run = ?1)
        OR EXISTS (SELECT 1 FROM pools JOIN pending_keys ON pending_keys.pool = pools.id WHERE pools.run = ?1)";
    Ok(db.prepare_cached(sql)?.query_row([run], |row| row.get(0))?)
}

/// Why a run that goes on is not retried.
pub(super) fn not_retried(run: Run) -> Error {
    let Run { name, trigger, .. } = run;
    if trigger != Trigger::Events {
        return Error::RunActive(name);
    }
    let text = format!(
        "{name} works off events and goes on: it tries again by itself what may pass, and looks at a key anew when an event \
         tells of it; to look at all keys now, run the job"
    );
    Error::NotNow { reason: reason::RUN_STATE, text }
}

/// A run is being cancelled. If it is the one that takes a job's events, another will, and what this one drops is missing.
pub(super) fn cancelled(
    db: &Connection,
    job: &Name,
    run: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE job_events SET run = NULL WHERE job = ?1 AND run = ?2";
    if db.execute(sql, params![job.as_str(), run])? > 0 {
        gaps::open(db, job, "the run of its events was cancelled", now)?;
    }
    Ok(())
}

/// Pools of runs of events that go on, whose free keys are due and wait for a work.
const WAITING: &str = "SELECT pools.id FROM runs JOIN pools ON pools.run = runs.id
     WHERE runs.ended IS NULL AND runs.trigger = 'events'
       AND EXISTS (SELECT 1 FROM pending_keys AS keys WHERE keys.pool = pools.id AND work IS NULL AND not_before <= ?1
           AND NOT EXISTS (SELECT 1 FROM ranges
                           WHERE ranges.pool = pools.id AND ranges.state = 0 AND ranges.mode = keys.gone
                             AND ranges.late_until <= ?1))";

/// Jobs whose run of events is old.
const OLD: &str = "SELECT job_events.job FROM job_events JOIN runs ON runs.id = job_events.run
     WHERE runs.ended IS NULL AND runs.state IN ('pending', 'running') AND runs.created <= ?1";

/// Whether [`tend`] would find anything.
pub(super) fn any_due(db: &Connection, now: Timestamp) -> Result<bool, Error> {
    let any = |sql: &str, time: i64| -> Result<bool, Error> {
        let sql = format!("SELECT EXISTS ({sql})");
        Ok(db.prepare_cached(&sql)?.query_row([time], |row| row.get(0))?)
    };
    Ok(any(OLD, before(now))? || any(WAITING, now.as_micros())? || gaps::any_due(db, now)?)
}

/// Runs that were created until then are old.
fn before(now: Timestamp) -> i64 {
    let day = i64::try_from(EVENT_RUN_LASTS.as_micros()).unwrap_or(i64::MAX);
    now.as_micros().saturating_sub(day)
}

/// Gives work to keys that were put off, replaces old runs, and begins scans where events are missing.
pub(super) fn tend(db: &Connection, now: Timestamp) -> Result<Vec<RunName>, Error> {
    let old: Vec<String> = db
        .prepare_cached(OLD)?
        .query_map([before(now)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for job in old {
        replace(db, &name(&job)?, now)?;
    }
    let waiting: Vec<i64> = db
        .prepare_cached(WAITING)?
        .query_map([now.as_micros()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for pool in waiting {
        give_work(db, pool, now)?;
    }
    gaps::start(db, now)
}
