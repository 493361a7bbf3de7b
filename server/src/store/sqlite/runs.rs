//! Runs: started, shown, cancelled, ended.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use s3sync_proto::model::{
    Counters, DestinationProgress, EndpointSpec, JobSpec, Location, Name, Run, RunName, RunState,
    Timestamp, Trigger,
};

use s3sync_proto::status::reason;

use super::row::{
    CANCELLING, DONE, EVENTS, GIVEN_UP, READY, from_word, int, json, name, next_revision, parse,
    time, touch_run, uint, uint32, word,
};
use super::{catalogue, deletes, events, figures, gaps, keys, left_uploads, reaps, slices};
use crate::plan::{RunSummary, final_state};
use crate::store::{Error, ListedRun, RunPosition, StartRun};

pub(super) fn start(db: &Connection, start: StartRun, now: Timestamp) -> Result<Run, Error> {
    if let Some(request) = &start.request
        && let Some(resource) = catalogue::remembered(db, request, now)?
    {
        let run: RunName =
            resource.parse().map_err(|_| Error::Invalid(format!("{resource} is not a run")))?;
        return get(db, &run.job, Some(run.number));
    }
    let job = &start.job;
    let spec: Option<String> = db
        .query_row("SELECT spec FROM jobs WHERE name = ?1", [job.as_str()], |row| row.get(0))
        .optional()?;
    let spec = spec.ok_or_else(|| Error::NotFound(format!("jobs/{job}")))?;
    if let Some(number) = active(db, job)? {
        return Err(Error::RunActive(RunName { job: job.clone(), number }));
    }
    let parsed: JobSpec = parse(&spec)?;
    let scope = match start.retries {
        None => Scope::Everything,
        Some(number) => scope_of_retry(db, job, number, &parsed)?,
    };
    let (run, number) = insert(db, job, start.trigger, &parsed, now)?;
    db.execute(
        "UPDATE runs SET traceparent = ?2, nominal = ?3 WHERE id = ?1",
        params![run, start.traceparent, start.nominal.map(Timestamp::as_micros)],
    )?;
    if matches!(scope, Scope::Everything) {
        slices::insert(db, run, job, &parsed)?;
        left_uploads::hand_over(db, run, job)?;
        gaps::scan_began(db, job, run)?;
    }
    if let Scope::Failures { earlier, destinations } = &scope
        && keys::retry(db, run, *earlier, destinations)? == 0
    {
        return Err(nothing_to_retry(job));
    }
    let name = RunName { job: job.clone(), number };
    if let Some(request) = &start.request {
        catalogue::remember(db, request, &name.to_string(), now)?;
    }
    get(db, job, Some(name.number))
}

/// The rows of a run without any work: its row and number, by the job's settings of now.
pub(super) fn insert(
    db: &Connection,
    job: &Name,
    trigger: Trigger,
    spec: &JobSpec,
    now: Timestamp,
) -> Result<(i64, u64), Error> {
    let (number, generation): (i64, i64) = db.query_row(
        "UPDATE jobs SET last_run = last_run + 1 WHERE name = ?1 RETURNING last_run, generation",
        [job.as_str()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    db.execute(
        "INSERT INTO runs (job, number, state, trigger, generation, traceparent, created, revision)
         VALUES (?1, ?2, ?3, ?4, ?5, '', ?6, ?7)",
        params![
            job.as_str(),
            number,
            word(RunState::Pending)?,
            word(trigger)?,
            generation,
            now.as_micros(),
            next_revision(db)?
        ],
    )?;
    let run = db.last_insert_rowid();
    db.execute(
        "INSERT INTO run_specs (run, spec, endpoints) VALUES (?1, ?2, ?3)",
        params![run, json(spec)?, json(&endpoints_of(db, spec)?)?],
    )?;
    for (index, destination) in spec.destinations.iter().enumerate() {
        let place = place(&destination.location);
        figures::begin(db, job, &place)?;
        db.execute(
            "INSERT INTO run_destinations (run, destination, counters, place) VALUES (?1, ?2, ?3, ?4)",
            params![run, int(index as u64), json(&Counters::default())?, place],
        )?;
    }
    Ok((run, uint(number)))
}

/// What a run looks at.
enum Scope {
    Everything,
    /// The keys that failed in an earlier run; each of its destinations with that of the new one.
    Failures {
        earlier: i64,
        destinations: Vec<Option<usize>>,
    },
}

/// What a retry of a run looks at: its failures, or everything where the run does not know all of them.
fn scope_of_retry(
    db: &Connection,
    job: &Name,
    number: u64,
    spec: &JobSpec,
) -> Result<Scope, Error> {
    let name = RunName { job: job.clone(), number };
    let earlier = row_of(db, &name)?;
    let run = get(db, job, Some(number))?;
    if !run.state.is_terminal() {
        return Err(events::not_retried(run));
    }
    if matches!(run.state, RunState::Incomplete | RunState::Failed) {
        return Ok(Scope::Everything);
    }
    let (before, _) = self::spec(db, earlier)?;
    if before.source != spec.source {
        let text = format!("the source of {job} has changed since {name}; run the job instead");
        return Err(Error::NotNow { reason: reason::JOB_CHANGED, text });
    }
    let now = |location: &Location| {
        spec.destinations.iter().position(|destination| destination.location == *location)
    };
    let destinations = before.destinations.iter().map(|one| now(&one.location)).collect();
    Ok(Scope::Failures { earlier, destinations })
}

fn nothing_to_retry(job: &Name) -> Error {
    let text = format!("no key failed in that run at a destination that {job} still has");
    Error::NotNow { reason: reason::NOTHING_TO_RETRY, text }
}

/// The run of a job that is going on; the one of its events goes on beside any.
pub(super) fn active(db: &Connection, job: &Name) -> Result<Option<u64>, Error> {
    let sql = "SELECT number FROM runs WHERE job = ?1 AND ended IS NULL AND trigger <> 'events'";
    Ok(db.query_row(sql, [job.as_str()], |row| row.get(0)).optional()?.map(uint))
}

/// The settings of the endpoints a job names, as they are now; the run keeps them.
fn endpoints_of(db: &Connection, job: &JobSpec) -> Result<BTreeMap<Name, EndpointSpec>, Error> {
    let mut endpoints = BTreeMap::new();
    let places =
        job.destinations.iter().map(|destination| &destination.location).chain([&job.source]);
    for place in places {
        let spec: Option<String> = db
            .query_row(
                "SELECT spec FROM endpoints WHERE name = ?1",
                [place.endpoint.as_str()],
                |row| row.get(0),
            )
            .optional()?;
        let spec = spec.ok_or_else(|| Error::NotFound(format!("endpoints/{}", place.endpoint)))?;
        endpoints.insert(place.endpoint.clone(), parse(&spec)?);
    }
    Ok(endpoints)
}

pub(super) fn place(location: &Location) -> String {
    format!("{}:{}/{}", location.endpoint, location.bucket, location.prefix)
}

const RUN: &str = "SELECT id, job, number, state, reason, trigger, generation, traceparent, created, started, ended,
                          revision, nominal FROM runs";

pub(super) fn get(db: &Connection, job: &Name, number: Option<u64>) -> Result<Run, Error> {
    let (filter, wanted) = match number {
        Some(number) => ("WHERE job = ?1 AND number = ?2", int(number)),
        // The run of events never ends by itself: who asks for the newest means another one, if there is one.
        None => {
            ("WHERE job = ?1 AND number >= ?2 ORDER BY trigger = 'events', number DESC LIMIT 1", 1)
        }
    };
    let mut found = query(db, &format!("{RUN} {filter}"), &[&job.as_str(), &wanted])?;
    match found.pop() {
        Some(listed) => Ok(listed.run),
        None => {
            let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            Err(Error::NotFound(format!("jobs/{job}/runs/{number}")))
        }
    }
}

pub(super) fn list(
    db: &Connection,
    job: Option<&Name>,
    before: Option<RunPosition>,
    limit: u32,
) -> Result<Vec<ListedRun>, Error> {
    let before = before.map_or(i64::MAX, int);
    // Two texts, so that each has its index.
    match job {
        Some(job) => {
            let sql = format!("{RUN} WHERE job = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
            query(db, &sql, &[&job.as_str(), &before, &limit])
        }
        None => {
            let sql = format!("{RUN} WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
            query(db, &sql, &[&before, &limit])
        }
    }
}

pub(super) fn changed_since(
    db: &Connection,
    revision: u64,
    job: Option<&Name>,
    limit: u32,
) -> Result<Vec<ListedRun>, Error> {
    let sql = format!(
        "{RUN} WHERE revision > ?1 AND (?2 IS NULL OR job = ?2) ORDER BY revision LIMIT ?3"
    );
    query(db, &sql, &[&int(revision), &job.map(Name::as_str), &limit])
}

/// Columns of a run's own row.
struct RunRow {
    id: i64,
    job: String,
    number: i64,
    state: String,
    reason: String,
    trigger: String,
    generation: i64,
    traceparent: String,
    created: Timestamp,
    started: Option<i64>,
    ended: Option<i64>,
    revision: i64,
    nominal: Option<i64>,
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: row.get("id")?,
        job: row.get("job")?,
        number: row.get("number")?,
        state: row.get("state")?,
        reason: row.get("reason")?,
        trigger: row.get("trigger")?,
        generation: row.get("generation")?,
        traceparent: row.get("traceparent")?,
        created: time(row, "created")?,
        started: row.get("started")?,
        ended: row.get("ended")?,
        revision: row.get("revision")?,
        nominal: row.get("nominal")?,
    })
}

fn query(db: &Connection, sql: &str, arguments: &[&dyn ToSql]) -> Result<Vec<ListedRun>, Error> {
    let mut statement = db.prepare_cached(sql)?;
    let rows: Vec<RunRow> = statement.query_map(arguments, run_row)?.collect::<Result<_, _>>()?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        let run = Run {
            name: RunName { job: name(&row.job)?, number: uint(row.number) },
            state: from_word(&row.state)?,
            reason: row.reason,
            trigger: from_word(&row.trigger)?,
            job_generation: uint(row.generation),
            destinations: destinations(db, row.id)?,
            created: row.created,
            started: row.started.map(Timestamp::from_micros),
            ended: row.ended.map(Timestamp::from_micros),
            traceparent: row.traceparent,
            nominal: row.nominal.map(Timestamp::from_micros),
            deletes: deletes::review(db, row.id)?,
        };
        runs.push(ListedRun { position: uint(row.id), revision: uint(row.revision), run });
    }
    Ok(runs)
}

/// The settings a run started with.
pub(super) fn spec(
    db: &Connection,
    run: i64,
) -> Result<(JobSpec, BTreeMap<Name, EndpointSpec>), Error> {
    let sql = "SELECT spec, endpoints FROM run_specs WHERE run = ?1";
    let (spec, endpoints): (String, String) =
        db.prepare_cached(sql)?.query_row([run], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((parse(&spec)?, parse(&endpoints)?))
}

pub(super) fn destinations(db: &Connection, run: i64) -> Result<Vec<DestinationProgress>, Error> {
    let (spec, _) = self::spec(db, run)?;
    let mut progress = Vec::with_capacity(spec.destinations.len());
    for (index, destination) in spec.destinations.into_iter().enumerate() {
        let index = int(index as u64);
        let (counters, done): (String, i64) = db
            .prepare_cached("SELECT counters, done_ranges FROM run_destinations WHERE run = ?1 AND destination = ?2")?
            .query_row(params![run, index], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (open, leased): (i64, i64) = db
            .prepare_cached(
                "SELECT COALESCE(SUM(state < 2), 0), COALESCE(SUM(state = 1), 0) FROM ranges
                 WHERE run = ?1 AND destination = ?2",
            )?
            .query_row(params![run, index], |row| Ok((row.get(0)?, row.get(1)?)))?;
        progress.push(DestinationProgress {
            location: destination.location,
            counters: parse(&counters)?,
            open_ranges: uint32(open),
            leased_ranges: uint32(leased),
            done_ranges: uint32(done),
        });
    }
    Ok(progress)
}

/// The row of a run.
pub(super) fn row_of(db: &Connection, run: &RunName) -> Result<i64, Error> {
    let sql = "SELECT id FROM runs WHERE job = ?1 AND number = ?2";
    db.prepare_cached(sql)?
        .query_row(params![run.job.as_str(), int(run.number)], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Error::NotFound(run.to_string()))
}

pub(super) fn cancel(db: &Connection, run: &RunName, now: Timestamp) -> Result<Run, Error> {
    let id = row_of(db, run)?;
    let changed = db.execute(
        "UPDATE runs SET state = ?2, reason = '' WHERE id = ?1 AND ended IS NULL AND state <> ?2",
        params![id, word(RunState::Cancelling)?],
    )?;
    if changed > 0 {
        events::cancelled(db, &run.job, id, now)?;
        reaps::begin(db, id)?;
        // What nobody holds is closed; where an upload may be open, somebody has to abort it first.
        db.execute(
            "UPDATE ranges SET state = ?2, epoch = epoch + 1 WHERE run = ?1 AND state = ?3
             AND NOT EXISTS (SELECT 1 FROM upload_intents WHERE range = ranges.id)",
            params![id, DONE, READY],
        )?;
        touch_run(db, id)?;
        settle(db, id, now)?;
    }
    get(db, &run.job, Some(run.number))
}

/// Ends a run when its last range is closed.
pub(super) fn settle(db: &Connection, run: i64, now: Timestamp) -> Result<(), Error> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM ranges WHERE run = ?1 AND state < 2), failed_ranges, listed_failures, state, job, trigger
         FROM runs WHERE id = ?1 AND ended IS NULL";
    let found: Option<(bool, i64, i64, String, String, String)> = db
        .prepare_cached(sql)?
        .query_row([run], |row| {
            let numbers = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((numbers.0, numbers.1, numbers.2, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .optional()?;
    let Some((open, failed_ranges, listed, state, job, trigger)) = found else { return Ok(()) };
    if open || (trigger == EVENTS && state != CANCELLING && events::goes_on(db, run)?) {
        return Ok(());
    }
    let cancelling = from_word::<RunState>(&state)? == RunState::Cancelling;
    let given_up = given_up(db, run)?;
    if !cancelling && given_up == 0 && deletes::goes_on(db, run)? {
        return Ok(());
    }
    let failed_keys =
        destinations(db, run)?.iter().map(|destination| destination.counters.not_in_step()).sum();
    let summary = RunSummary {
        open_ranges: 0,
        failed_ranges: uint32(failed_ranges),
        dead_ranges: given_up.saturating_sub(uint32(failed_ranges)),
        failed_keys,
        listed_failures: uint(listed),
        cancelling,
    };
    let Some(end) = final_state(summary) else { return Ok(()) };
    if matches!(end, RunState::Succeeded | RunState::FinishedWithFailures | RunState::Incomplete) {
        slices::keep(db, run, &name(&job)?)?;
    }
    let keep_reason = end == RunState::Failed;
    db.execute(
        "UPDATE runs SET state = ?2, ended = ?3, reason = CASE WHEN ?4 THEN reason ELSE '' END WHERE id = ?1",
        params![run, word(end)?, now.as_micros(), keep_reason],
    )?;
    // To make up for missing events, a scan must have looked at everything.
    let looked = if summary.dead_ranges > 0 { RunState::Failed } else { end };
    gaps::scan_ended(db, run, looked, now)?;
    figures::ended(db, run, end, looked)?;
    left_uploads::keep(db, run, &job)?;
    db.execute("DELETE FROM ranges WHERE run = ?1", [run])?;
    db.execute("DELETE FROM pools WHERE run = ?1", [run])?;
    touch_run(db, run)
}

/// Ranges that were given up: for an error, or since agents died of them.
fn given_up(db: &Connection, run: i64) -> Result<u32, Error> {
    let sql = "SELECT COUNT(*) FROM ranges WHERE run = ?1 AND state = ?2";
    Ok(uint32(db.prepare_cached(sql)?.query_row([run, GIVEN_UP], |row| row.get(0))?))
}

/// Agents die of a range, and no key is to blame: the run goes on with the others and will be incomplete.
pub(super) fn close_dead(db: &Connection, range: i64) -> Result<(), Error> {
    db.execute(
        "UPDATE ranges SET state = ?2, epoch = epoch + 1, session = NULL WHERE id = ?1",
        params![range, GIVEN_UP],
    )?;
    Ok(())
}

/// A range was given up: the run goes on with the others and will fail.
pub(super) fn give_up(db: &Connection, run: i64, range: i64, reason: &str) -> Result<(), Error> {
    close_dead(db, range)?;
    db.execute(
        "UPDATE runs SET failed_ranges = failed_ranges + 1, reason = CASE WHEN failed_ranges = 0 THEN ?2 ELSE reason END
         WHERE id = ?1",
        params![run, reason],
    )?;
    Ok(())
}

pub(super) fn explain(db: &Connection, reasons: &[(RunName, String)]) -> Result<(), Error> {
    for (run, reason) in reasons {
        let changed: Option<i64> = db
            .prepare_cached(
                "UPDATE runs SET reason = ?3 WHERE job = ?1 AND number = ?2 AND state IN ('pending', 'running', 'cancelling')
                 AND reason <> ?3 AND failed_ranges = 0 RETURNING id",
            )?
            .query_row(params![run.job.as_str(), int(run.number), reason], |row| row.get(0))
            .optional()?;
        if let Some(id) = changed {
            touch_run(db, id)?;
        }
    }
    Ok(())
}
