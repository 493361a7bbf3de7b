//! What is counted over all runs, for metrics: written in the transactions that change it, so that it agrees with the
//! runs; read in one look.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{Counters, JobSpec, Name, RunState, Timestamp};

use super::row::{DONE, GIVEN_UP, LEASED, READY, json, name, parse, uint, word};
use super::{gaps, lease, runs, watches};
use crate::store::{DestinationFigures, Error, Figures, JobFigures, QueueFigures, RangeState};

/// The row of a destination of a job, from its first run on.
pub(super) fn begin(db: &Connection, job: &Name, place: &str) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO figures (job, destination, since) SELECT name, ?2, updated FROM jobs WHERE name = ?1",
    )?
    .execute(params![job.as_str(), place])?;
    Ok(())
}

/// A job is put. When it looks at something else from now on, what it brought in step before says nothing.
pub(super) fn restart(
    db: &Connection,
    job: &Name,
    spec: &JobSpec,
    now: Timestamp,
) -> Result<(), Error> {
    let before: Option<String> = db
        .prepare_cached("SELECT spec FROM jobs WHERE name = ?1")?
        .query_row([job.as_str()], |row| row.get(0))
        .optional()?;
    let Some(before) = before else { return Ok(()) };
    let before: JobSpec = parse(&before)?;
    if before.source != spec.source || before.filter != spec.filter {
        db.prepare_cached("UPDATE figures SET in_step = NULL, since = ?2 WHERE job = ?1")?
            .execute(params![job.as_str(), now.as_micros()])?;
    }
    Ok(())
}

/// Counts what was counted of a run.
pub(super) fn count(
    db: &Connection,
    run: i64,
    destination: i64,
    more: Counters,
) -> Result<(), Error> {
    let found: Option<(String, String, String)> = db
        .prepare_cached(
            "SELECT figures.job, figures.destination, figures.counters FROM run_destinations
             JOIN runs ON runs.id = run JOIN figures ON figures.job = runs.job AND figures.destination = place
             WHERE run = ?1 AND run_destinations.destination = ?2",
        )?
        .query_row([run, destination], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((job, place, text)) = found else { return Ok(()) };
    let mut counters: Counters = parse(&text)?;
    counters += more;
    db.prepare_cached("UPDATE figures SET counters = ?3 WHERE job = ?1 AND destination = ?2")?
        .execute(params![job, place, json(&counters)?])?;
    Ok(())
}

/// A holder of a range died.
pub(super) fn lost(db: &Connection, range: i64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE figures SET lost = lost + 1 WHERE (job, destination) =
             (SELECT runs.job, place FROM ranges JOIN runs ON runs.id = ranges.run
              JOIN run_destinations ON run_destinations.run = ranges.run
                  AND run_destinations.destination = ranges.destination
              WHERE ranges.id = ?1)",
    )?
    .execute([range])?;
    Ok(())
}

/// A run ended. One that looked at everything and left nothing out of step at a destination says since when that holds;
/// `looked` is how it ended as far as that is concerned.
pub(super) fn ended(
    db: &Connection,
    run: i64,
    end: RunState,
    looked: RunState,
) -> Result<(), Error> {
    let sql = "SELECT runs.job, COALESCE(started, runs.created) AS began,
                   EXISTS (SELECT 1 FROM ranges WHERE ranges.run = runs.id AND pool IS NULL) AS scanned
               FROM runs JOIN jobs ON jobs.name = runs.job WHERE runs.id = ?1";
    let found: Option<(String, i64, bool)> = db
        .prepare_cached(sql)?
        .query_row([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((job, began, scanned)) = found else { return Ok(()) };
    db.prepare_cached(
        "INSERT INTO run_outcomes (job, state, runs) VALUES (?1, ?2, 1)
         ON CONFLICT (job, state) DO UPDATE SET runs = runs + 1",
    )?
    .execute(params![job, word(end)?])?;
    let whole = matches!(looked, RunState::Succeeded | RunState::FinishedWithFailures);
    if !whole || !scanned {
        return Ok(());
    }
    let mut statement =
        db.prepare_cached("SELECT place, counters FROM run_destinations WHERE run = ?1")?;
    let counted: Vec<(String, String)> = statement
        .query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (place, counters) in counted {
        if parse::<Counters>(&counters)?.failed > 0 {
            continue;
        }
        db.prepare_cached(
            "UPDATE figures SET in_step = MAX(COALESCE(in_step, ?3), ?3)
             WHERE job = ?1 AND destination = ?2 AND since <= (SELECT created FROM runs WHERE id = ?4)",
        )?
        .execute(params![job, place, began, run])?;
    }
    Ok(())
}

pub(super) fn all(db: &Connection) -> Result<Figures, Error> {
    let mut figures = Figures::default();
    for session in lease::sessions_of(db)? {
        figures.sessions += 1;
        figures.capacity += u64::from(session.capacity);
        if !session.draining {
            figures.credits += u64::from(session.capacity.saturating_sub(session.held));
        }
    }
    let mut ranges = ranges(db)?;
    let (mut active, mut ended) = (active(db)?, ended_runs(db)?);
    let mut statement = db.prepare_cached("SELECT name, spec, updated FROM jobs ORDER BY name")?;
    let jobs: Vec<(String, String, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (job, spec, updated) in jobs {
        let spec: JobSpec = parse(&spec)?;
        let told = told(db, &name(&job)?, &spec)?;
        for destination in &spec.destinations {
            let place = runs::place(&destination.location);
            let known: Option<(String, i64, (Option<i64>, i64))> = db
                .prepare_cached(
                    "SELECT counters, lost, in_step, since FROM figures WHERE job = ?1 AND destination = ?2",
                )?
                .query_row(params![job, place], |row| {
                    Ok((row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?)))
                })
                .optional()?;
            let (counters, lost, scanned) =
                known.unwrap_or_else(|| ("{}".to_owned(), 0, (None, updated)));
            let followed = told.places.get(&place);
            figures.destinations.push(DestinationFigures {
                job: name(&job)?,
                counters: parse(&counters)?,
                lost: uint(lost),
                in_step: in_step(scanned, followed.and_then(|known| known.in_step)),
                ranges: ranges.remove(&(job.clone(), place.clone())).unwrap_or_default(),
                dirty: spec.events.as_ref().map(|_| followed.map_or(0, |known| known.keys)),
                place,
            });
        }
        figures.jobs.push(JobFigures {
            job: name(&job)?,
            active: active.remove(&job).unwrap_or_default(),
            ended: ended.remove(&job).unwrap_or_default(),
        });
    }
    figures.queues = queues(db)?;
    (figures.database_bytes, figures.log_bytes) = sizes(db)?;
    Ok(figures)
}

/// Since when a destination is in step: the start of a scan, or what events say where a scan has gone since all changes
/// come as events; else what it could not be before.
fn in_step((scanned, since): (Option<i64>, i64), followed: Option<(i64, Timestamp)>) -> Timestamp {
    let Some(scanned) = scanned else { return Timestamp::from_micros(since) };
    let scan = Timestamp::from_micros(scanned);
    match followed {
        Some((told_since, in_step)) if scanned >= told_since => scan.max(in_step),
        Some(_) | None => scan,
    }
}

/// What events say of the destinations of a job.
#[derive(Default)]
struct Told {
    places: BTreeMap<String, Place>,
}

struct Place {
    keys: u64,
    /// All changes come as events since the first; of those, all that was changed before the second is there. `None` where
    /// that is not known.
    in_step: Option<(i64, Timestamp)>,
}

fn told(db: &Connection, job: &Name, spec: &JobSpec) -> Result<Told, Error> {
    if spec.events.is_none() {
        return Ok(Told::default());
    }
    // Rates are not looked at, so it does not matter when it is.
    let Some(following) = gaps::following(db, job, Timestamp::default())? else {
        return Ok(Told::default());
    };
    let since: i64 = db
        .prepare_cached("SELECT since FROM job_events WHERE job = ?1")?
        .query_row([job.as_str()], |row| row.get(0))?;
    let received = following.told_until.filter(|_| following.gap.is_none());
    let mut told = Told::default();
    for (index, dirty) in (0_i64..).zip(following.destinations) {
        let failed: Option<i64> = db
            .prepare_cached(
                "SELECT MIN(first) FROM failures JOIN job_events ON job_events.run = failures.run
                 WHERE job = ?1 AND destination = ?2 AND class <> 'archived'",
            )?
            .query_row(params![job.as_str(), index], |row| row.get(0))?;
        let open = dirty.oldest.into_iter().chain(failed.map(Timestamp::from_micros)).min();
        let in_step = received.map(|received| (since, open.map_or(received, |o| o.min(received))));
        let place = runs::place(&dirty.location);
        told.places.insert(place, Place { keys: dirty.keys, in_step });
    }
    // Nothing was told since the run of events was replaced: there is nothing to work off.
    for destination in &spec.destinations {
        let place = runs::place(&destination.location);
        let in_step = received.map(|received| (since, received));
        told.places.entry(place).or_insert(Place { keys: 0, in_step });
    }
    Ok(told)
}

type ByDestination = BTreeMap<(String, String), BTreeMap<RangeState, u64>>;

fn ranges(db: &Connection) -> Result<ByDestination, Error> {
    let mut statement = db.prepare_cached(
        "SELECT runs.job, place, ranges.state, COUNT(*) FROM runs JOIN ranges ON ranges.run = runs.id
         JOIN run_destinations ON run_destinations.run = runs.id AND run_destinations.destination = ranges.destination
         WHERE runs.ended IS NULL GROUP BY runs.id, ranges.destination, ranges.state",
    )?;
    let rows = statement.query_map([], |row| {
        let (job, place): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((job, place, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    })?;
    let mut all = ByDestination::new();
    for row in rows {
        let (job, place, state, count) = row?;
        let state = match state {
            READY => RangeState::Ready,
            LEASED => RangeState::Leased,
            DONE => RangeState::Done,
            _ => RangeState::GivenUp,
        };
        *all.entry((job, place)).or_default().entry(state).or_default() += uint(count);
    }
    Ok(all)
}

const _: () = assert!(GIVEN_UP == 3, "the last of the states above");

type ByJob = BTreeMap<String, BTreeMap<String, u64>>;

fn active(db: &Connection) -> Result<ByJob, Error> {
    by_job(db, "SELECT job, state, COUNT(*) FROM runs WHERE ended IS NULL GROUP BY job, state")
}

fn ended_runs(db: &Connection) -> Result<ByJob, Error> {
    by_job(db, "SELECT job, state, runs FROM run_outcomes")
}

fn by_job(db: &Connection, sql: &str) -> Result<ByJob, Error> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
    })?;
    let mut all = ByJob::new();
    for row in rows {
        let (job, state, count) = row?;
        all.entry(job).or_default().insert(state, uint(count));
    }
    Ok(all)
}

fn queues(db: &Connection) -> Result<Vec<QueueFigures>, Error> {
    let mut statement = db.prepare_cached("SELECT queue FROM watches ORDER BY queue")?;
    let names: Vec<String> =
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut all = Vec::with_capacity(names.len());
    for queue in names {
        let queue = name(&queue)?;
        let Some(status) = watches::status(db, &queue, Timestamp::default())? else { continue };
        all.push(QueueFigures {
            queue,
            received: !status.agents.is_empty(),
            state: status.state,
            messages: status.messages,
            events: [
                ("taken", status.events),
                ("ignored", status.ignored),
                ("unmatched", status.unmatched),
                ("unreadable", status.unreadable),
            ],
        });
    }
    Ok(all)
}

/// Bytes of the database and of its log; the latter are in a file beside it.
fn sizes(db: &Connection) -> Result<(u64, u64), Error> {
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let page: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let log = db.path().map(|path| format!("{path}-wal"));
    let log = log.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len());
    Ok((uint(pages.saturating_mul(page)), log))
}
