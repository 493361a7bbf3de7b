//! Jobs that start by themselves. What is due is decided by `plan::schedule`; here a decision and its run are one
//! transaction, so that each nominal time counts once, whoever restarts when.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{JobSpec, Name, OverlapPolicy, RunName, Schedule, Timestamp, Trigger};

use super::row::{int, json, name, parse, time};
use super::runs;
use crate::plan::schedule::{due_at_start, jitter, next_after, passed};
use crate::store::{Error, StartRun};

/// Rows that may start a run now. A paused job's wait for it to go on; one whose starts queue waits for the run that is
/// going on.
const DUE: &str = "FROM schedules JOIN jobs ON jobs.name = schedules.job
     WHERE (schedules.due <= ?1 OR start = 1) AND json_extract(jobs.spec, '$.paused') IS NOT 1
       AND NOT (start = 0 AND json_extract(schedules.spec, '$.overlap') = 'queue_one'
                AND EXISTS (SELECT 1 FROM runs WHERE runs.job = schedules.job AND ended IS NULL AND trigger <> 'events'))";

/// Arms, re-arms or disarms a job after a change of its settings. A schedule that did not change keeps its times.
pub(super) fn arm(
    db: &Connection,
    job: &Name,
    spec: &JobSpec,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(schedule) = &spec.schedule else {
        db.execute("DELETE FROM schedules WHERE job = ?1", [job.as_str()])?;
        return Ok(());
    };
    let text = json(schedule)?;
    let known: Option<String> = db
        .query_row("SELECT spec FROM schedules WHERE job = ?1", [job.as_str()], |row| row.get(0))
        .optional()?;
    if known.as_ref() == Some(&text) {
        return Ok(());
    }
    // A job that gets a schedule starts as one that is created; one whose schedule changes only has other times.
    let start = schedule.at_start && known.is_none();
    let next = schedule.timing.as_ref().and_then(|timing| next_after(timing, now, now));
    db.execute(
        "INSERT INTO schedules (job, spec, anchor, next, due, start) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (job) DO UPDATE SET spec = ?2, anchor = ?3, next = ?4, due = ?5",
        params![
            job.as_str(),
            text,
            now.as_micros(),
            next.map(Timestamp::as_micros),
            next.map(|next| due(schedule, job, next).as_micros()),
            start
        ],
    )?;
    Ok(())
}

fn due(schedule: &Schedule, job: &Name, nominal: Timestamp) -> Timestamp {
    nominal.plus(jitter(schedule, job.as_str(), nominal))
}

/// The server starts: jobs whose last full run is not fresh are due.
pub(super) fn begin(db: &Connection, now: Timestamp) -> Result<(), Error> {
    let mut statement = db.prepare(
        "SELECT schedules.job, schedules.spec,
                (SELECT MAX(ended) FROM runs WHERE runs.job = schedules.job AND trigger NOT IN ('retry', 'plan', 'events')
                 AND state IN ('succeeded', 'finished_with_failures', 'incomplete')) AS finished
         FROM schedules",
    )?;
    let rows: Vec<(String, String, Option<i64>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (job, spec, finished) in rows {
        let finished = finished.map(Timestamp::from_micros);
        if due_at_start(&parse(&spec)?, finished, now) {
            db.execute("UPDATE schedules SET start = 1 WHERE job = ?1", [job])?;
        }
    }
    Ok(())
}

/// Whether [`start`] would find anything.
pub(super) fn any_due(db: &Connection, now: Timestamp) -> Result<bool, Error> {
    let sql = format!("SELECT EXISTS (SELECT 1 {DUE})");
    Ok(db.prepare_cached(&sql)?.query_row([now.as_micros()], |row| row.get(0))?)
}

/// A job that is due.
struct Row {
    job: Name,
    schedule: Schedule,
    anchor: Timestamp,
    next: Option<Timestamp>,
    start: bool,
}

/// Starts the runs that are due, of at most `limit` jobs.
pub(super) fn start(db: &Connection, limit: u32, now: Timestamp) -> Result<Vec<RunName>, Error> {
    let sql = format!(
        "SELECT schedules.job, schedules.spec, anchor, next, start {DUE} ORDER BY schedules.job LIMIT ?2"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows: Vec<_> = statement
        .query_map(params![now.as_micros(), limit], |row| {
            let texts: (String, String) = (row.get("job")?, row.get("spec")?);
            let next: Option<i64> = row.get("next")?;
            Ok((texts, time(row, "anchor")?, next.map(Timestamp::from_micros), row.get("start")?))
        })?
        .collect::<Result<_, _>>()?;
    let mut started = Vec::new();
    for ((job, spec), anchor, next, start) in rows {
        let row = Row { job: name(&job)?, schedule: parse(&spec)?, anchor, next, start };
        started.extend(start_one(db, &row, now)?);
    }
    Ok(started)
}

fn start_one(db: &Connection, row: &Row, now: Timestamp) -> Result<Option<RunName>, Error> {
    let busy = runs::active(db, &row.job)?.is_some();
    if row.start {
        // A run that is going on is what a start is for.
        db.execute("UPDATE schedules SET start = 0 WHERE job = ?1", [row.job.as_str()])?;
        return if busy { Ok(None) } else { run(db, row, Trigger::Start, None, now) };
    }
    let (Some(next), Some(timing)) = (row.next, &row.schedule.timing) else { return Ok(None) };
    let passed = passed(timing, row.anchor, next, now);
    let starts = !busy || row.schedule.overlap == OverlapPolicy::QueueOne;
    let skipped = passed.count - u64::from(starts);
    let due = passed.next.map(|next| due(&row.schedule, &row.job, next).as_micros());
    db.execute(
        "UPDATE schedules SET next = ?2, due = ?3, skipped = skipped + ?4 WHERE job = ?1",
        params![row.job.as_str(), passed.next.map(Timestamp::as_micros), due, int(skipped)],
    )?;
    if starts { run(db, row, Trigger::Schedule, Some(passed.latest), now) } else { Ok(None) }
}

fn run(
    db: &Connection,
    row: &Row,
    trigger: Trigger,
    nominal: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<RunName>, Error> {
    let start = StartRun {
        job: row.job.clone(),
        trigger,
        traceparent: String::new(),
        request: None,
        retries: None,
        nominal,
    };
    runs::start(db, start, now).map(|run| Some(run.name))
}

/// Gives a run its trace, unless it has one.
pub(super) fn trace(db: &Connection, run: &RunName, traceparent: &str) -> Result<(), Error> {
    db.execute(
        "UPDATE runs SET traceparent = ?3 WHERE job = ?1 AND number = ?2 AND traceparent = ''",
        params![run.job.as_str(), int(run.number), traceparent],
    )?;
    Ok(())
}
