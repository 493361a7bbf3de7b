//! What a dispatch decision is made of, and leasing by it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use s3sync_proto::model::{
    Assignment, BucketFacts, EndpointSpec, Held, JobSpec, KeyRange, Location, Name, RunName,
    RunState, Timestamp, Upload, Work,
};

use super::pause::PAUSED;
use super::report::close;
use super::row::{
    CANCELLING, EVENTS, int, key, name, parse, range, ranges_of, time, touch_run, uint, uint32,
    word,
};
use super::suspects::{CAREFUL, LOST_TOGETHER};
use super::{deletes, keys, receivers, runs, sessions};
use crate::plan::needs;
use crate::store::{
    Error, Grant, LeasedView, RangeView, SessionId, SessionView, Snapshot, WorkKind,
};

/// The settings of runs, each read once.
#[derive(Default)]
struct Specs(BTreeMap<i64, (JobSpec, BTreeMap<Name, EndpointSpec>)>);

impl Specs {
    fn of(
        &mut self,
        db: &Connection,
        run: i64,
    ) -> Result<&(JobSpec, BTreeMap<Name, EndpointSpec>), Error> {
        Ok(match self.0.entry(run) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(runs::spec(db, run)?),
        })
    }
}

pub(super) fn snapshot(db: &Connection, limit: u32, now: Timestamp) -> Result<Snapshot, Error> {
    let mut specs = Specs::default();
    Ok(Snapshot {
        sessions: sessions_of(db)?,
        ready: ready(db, limit, now, &mut specs)?,
        late: late(db, now)?,
        leased: leased(db, now, &mut specs)?,
        watches: receivers::ready(db, now)?,
        watching: receivers::watching(db, now)?,
    })
}

pub(super) fn sessions_of(db: &Connection) -> Result<Vec<SessionView>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT sessions.id AS session, agents.name, labels, endpoints, features, capacity, draining,
                (SELECT COUNT(*) FROM ranges WHERE session = sessions.id AND state = 1) AS held
         FROM sessions JOIN agents ON agents.name = sessions.agent ORDER BY sessions.id",
    )?;
    let rows = statement.query_map([], |row| {
        let texts: (String, String, String, String) =
            (row.get("name")?, row.get("labels")?, row.get("endpoints")?, row.get("features")?);
        let numbers: (i64, i64, i64) =
            (row.get("session")?, row.get("capacity")?, row.get("held")?);
        Ok((texts, numbers, row.get::<_, bool>("draining")?))
    })?;
    let mut sessions = Vec::new();
    for row in rows {
        let ((agent, labels, endpoints, features), (session, capacity, held), draining) = row?;
        sessions.push(SessionView {
            session: SessionId(uint(session)),
            agent: name(&agent)?,
            labels: parse(&labels)?,
            endpoints: parse(&endpoints)?,
            features: parse(&features)?,
            capacity: uint32(capacity),
            held: uint32(held),
            draining,
        });
    }
    Ok(sessions)
}

/// Columns of a range, as a view needs them.
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
struct ViewRow {
    id: i64,
    epoch: i64,
    run: i64,
    destination: i64,
    job: String,
    number: i64,
    cancelling: bool,
    paused: bool,
    /// What is left is to be counted before anything more is deleted.
    recount: bool,
    kind: WorkKind,
    careful: bool,
    refused_by: Option<String>,
    refused_until: Timestamp,
}

fn view_row(row: &Row<'_>) -> rusqlite::Result<ViewRow> {
    let (mode, stage): (i64, Option<String>) = (row.get("mode")?, row.get("stage")?);
    let recount = mode == deletes::DELETE && stage.as_deref() == Some(deletes::COUNTING);
    Ok(ViewRow {
        id: row.get("id")?,
        epoch: row.get("epoch")?,
        run: row.get("run")?,
        destination: row.get("destination")?,
        job: row.get("job")?,
        number: row.get("number")?,
        cancelling: row.get::<_, String>("run_state")? == CANCELLING,
        paused: row.get::<_, String>("run_state")? == PAUSED,
        recount,
        kind: match (row.get::<_, Option<i64>>("pool")?, mode) {
            (Some(_), deletes::DELETE) => WorkKind::DeleteKeys,
            (Some(_), _) => WorkKind::Keys,
            (None, deletes::DELETE) if !recount => WorkKind::Delete,
            (None, deletes::DELETE | deletes::COUNT) => WorkKind::Count,
            (None, _) => WorkKind::Range,
        },
        careful: row.get("careful")?,
        refused_by: row.get("refused_by")?,
        refused_until: time(row, "refused_until")?,
    })
}

fn view(
    db: &Connection,
    row: &ViewRow,
    now: Timestamp,
    specs: &mut Specs,
) -> Result<RangeView, Error> {
    let (spec, _) = specs.of(db, row.run)?;
    let index = usize::try_from(row.destination).unwrap_or(usize::MAX);
    let destination = spec
        .destinations
        .get(index)
        .cloned()
        .ok_or_else(|| Error::Unavailable("a range names no destination of its run".into()))?;
    let refused_by =
        row.refused_by.as_deref().filter(|_| row.refused_until > now).map(name).transpose()?;
    Ok(RangeView {
        held: Held { id: uint(row.id), epoch: uint(row.epoch) },
        kind: row.kind,
        needs: needs(spec),
        run: RunName { job: name(&row.job)?, number: uint(row.number) },
        source: spec.source.clone(),
        destination,
        reap: row.cancelling,
        careful: row.careful,
        refused_by,
        limits: spec.limits,
    })
}

/// Runs that wait for what holders that are gone had begun, and until when.
fn late(db: &Connection, now: Timestamp) -> Result<Vec<(RunName, Timestamp)>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT job, number, MIN(late_until) AS until FROM ranges JOIN runs ON runs.id = run
         WHERE ranges.state = 0 AND late_until > ?1 AND runs.state IN ('pending', 'running', 'cancelling')
         GROUP BY runs.id ORDER BY runs.id",
    )?;
    let rows = statement.query_map([now.as_micros()], |row| {
        Ok((row.get::<_, String>("job")?, row.get::<_, i64>("number")?, time(row, "until")?))
    })?;
    rows.map(|row| {
        let (job, number, until) = row?;
        Ok((RunName { job: name(&job)?, number: uint(number) }, until))
    })
    .collect()
}

/// Ready ranges, a few of each run and destination before more of any.
fn ready(
    db: &Connection,
    limit: u32,
    now: Timestamp,
    specs: &mut Specs,
) -> Result<Vec<RangeView>, Error> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT ranges.id, epoch, run, destination, pool, job, number, runs.state AS run_state, refused_by, refused_until, mode,
                (SELECT stage FROM run_deletes WHERE run_deletes.run = ranges.run) AS stage,
                {CAREFUL},
                ROW_NUMBER() OVER (PARTITION BY run, destination ORDER BY ranges.id) AS turn
         FROM ranges JOIN runs ON runs.id = run
         WHERE ranges.state = 0 AND not_before <= ?1 AND late_until <= ?1 AND runs.state IN ('pending', 'running', 'cancelling')
         ORDER BY turn, ranges.id LIMIT ?2",
    ))?;
    let rows: Vec<ViewRow> = statement
        .query_map(params![now.as_micros(), limit], view_row)?
        .collect::<Result<_, _>>()?;
    rows.iter().map(|row| view(db, row, now, specs)).collect()
}

fn leased(db: &Connection, now: Timestamp, specs: &mut Specs) -> Result<Vec<LeasedView>, Error> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT ranges.id, epoch, run, destination, pool, job, number, runs.state AS run_state, refused_by, refused_until, mode,
                (SELECT stage FROM run_deletes WHERE run_deletes.run = ranges.run) AS stage, {CAREFUL}, session, leased_at
         FROM ranges JOIN runs ON runs.id = run WHERE ranges.state = 1 AND session IS NOT NULL ORDER BY ranges.id",
    ))?;
    let rows: Vec<(ViewRow, i64, i64)> = statement
        .query_map([], |row| {
            let leased_at: Option<i64> = row.get("leased_at")?;
            Ok((view_row(row)?, row.get("session")?, leased_at.unwrap_or_default()))
        })?
        .collect::<Result<_, _>>()?;
    let mut leased = Vec::with_capacity(rows.len());
    let mut siblings: BTreeMap<(i64, i64), u32> = BTreeMap::new();
    for (row, session, since) in rows {
        let siblings = match siblings.entry((row.run, row.destination)) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => *entry.insert(ranges_of(db, row.run, row.destination)?),
        };
        leased.push(LeasedView {
            revoke: row.cancelling || row.paused || row.recount,
            range: view(db, &row, now, specs)?,
            session: SessionId(uint(session)),
            since: Timestamp::from_micros(since),
            siblings,
        });
    }
    Ok(leased)
}

pub(super) fn lease(
    db: &Connection,
    grants: &[Grant],
    now: Timestamp,
) -> Result<Vec<(SessionId, Assignment)>, Error> {
    let mut specs = Specs::default();
    let mut assignments = Vec::new();
    for grant in grants {
        let Some(answered) = sessions::answered(db, grant.session)? else { continue };
        let leased = db
            .prepare_cached(
                "UPDATE ranges SET state = 1, epoch = epoch + 1, session = ?3, leased_at = ?4, lease_sequence = ?5,
                     reap = (SELECT state = 'cancelling' FROM runs WHERE runs.id = run)
                 WHERE id = ?1 AND epoch = ?2 AND state = 0 AND late_until <= ?4
                     AND (SELECT state FROM runs WHERE runs.id = run) IN ('pending', 'running', 'cancelling')",
            )?
            .execute(params![
                int(grant.held.id),
                int(grant.held.epoch),
                int(grant.session.0),
                now.as_micros(),
                answered
            ])?;
        if leased == 0 {
            continue;
        }
        let held = Held { id: grant.held.id, epoch: grant.held.epoch + 1 };
        match assignment(db, held, now, &mut specs)? {
            Some(assignment) => assignments.push((grant.session, assignment)),
            None => idle(db, held, now)?,
        }
    }
    Ok(assignments)
}

/// A key work for which nothing is left to look at is done.
fn idle(db: &Connection, held: Held, now: Timestamp) -> Result<(), Error> {
    let Some(row) = range(db, held.id)? else { return Ok(()) };
    close(db, &row, None)?;
    touch_run(db, row.run)?;
    runs::settle(db, row.run, now)
}

/// The assignment of a range that was just leased. `None`: it is a key work, and there are no keys.
fn assignment(
    db: &Connection,
    held: Held,
    now: Timestamp,
    specs: &mut Specs,
) -> Result<Option<Assignment>, Error> {
    let sql = "SELECT run, destination, after, until, cursor, pool, job, number, runs.state AS run_state, traceparent, trigger, lost
               FROM ranges JOIN runs ON runs.id = run WHERE ranges.id = ?1";
    let (run, destination, range, cursor, (pool, events), job, number, state, (traceparent, lost)) =
        db.prepare_cached(sql)?.query_row([int(held.id)], |row| {
            let range = KeyRange { after: key(row, "after")?, until: key(row, "until")? };
            let (run, destination): (i64, i64) = (row.get("run")?, row.get("destination")?);
            let texts: (String, i64, String, String) = (
                row.get("job")?,
                row.get("number")?,
                row.get("run_state")?,
                row.get("traceparent")?,
            );
            let (cursor, pool): (_, Option<i64>) = (key(row, "cursor")?, row.get("pool")?);
            let pool = (pool, row.get::<_, String>("trigger")? == EVENTS);
            let last = (texts.3, row.get::<_, i64>("lost")?);
            Ok((run, destination, range, cursor, pool, texts.0, texts.1, texts.2, last))
        })?;
    let work = match pool {
        _ if state == CANCELLING => Work::Reap,
        None => {
            let (spec, _) = specs.of(db, run)?;
            match deletes::work(db, int(held.id), spec, range.clone(), cursor.clone())? {
                Some(work) => Work::Delete(work),
                None => Work::Range { range, cursor },
            }
        }
        Some(pool) => match keys::take(db, int(held.id), pool, events, now)? {
            (keys, _) if keys.is_empty() => return Ok(None),
            (keys, deletes::DELETE) => {
                let (spec, _) = specs.of(db, run)?;
                Work::DeleteKeys { keys, unconditional: spec.deletes.unconditional }
            }
            (keys, _) => Work::Keys(keys.into_iter().map(|one| one.key).collect()),
        },
    };
    let (traceparent, trace_links) = traces(db, held, events, traceparent)?;
    db.execute(
        "UPDATE runs SET state = ?2, started = COALESCE(started, ?3), reason = '' WHERE id = ?1 AND state = ?4",
        params![run, word(RunState::Running)?, now.as_micros(), word(RunState::Pending)?],
    )?;
    touch_run(db, run)?;
    let (spec, endpoints) = specs.of(db, run)?;
    let missing = || Error::Unavailable("a run names an endpoint it did not keep".into());
    let destination = spec
        .destinations
        .get(usize::try_from(destination).unwrap_or(usize::MAX))
        .cloned()
        .ok_or_else(|| Error::Unavailable("a range names no destination of its run".into()))?;
    let source = spec.source.clone();
    Ok(Some(Assignment {
        held,
        run: RunName { job: name(&job)?, number: uint(number) },
        source_endpoint: endpoints.get(&source.endpoint).cloned().ok_or_else(missing)?,
        destination_endpoint: endpoints
            .get(&destination.location.endpoint)
            .cloned()
            .ok_or_else(missing)?,
        source_facts: facts(db, &source)?,
        destination_facts: facts(db, &destination.location)?,
        source,
        destination,
        compare: spec.compare,
        filter: spec.filter.clone(),
        uploads: uploads(db, held)?,
        traceparent,
        trace_links,
        careful: lost >= LOST_TOGETHER && matches!(work, Work::Range { .. } | Work::Delete(_)),
        work,
    }))
}

/// The trace a work goes on with, and those it is linked to. What was told by events goes on as theirs; a run of events lasts
/// a day, and is no trace.
fn traces(
    db: &Connection,
    held: Held,
    events: bool,
    of_run: String,
) -> Result<(String, Vec<String>), Error> {
    let mut traces = if events { keys::traces(db, int(held.id))? } else { Vec::new() };
    let links = traces.split_off(traces.len().min(1));
    Ok((traces.pop().unwrap_or(of_run), links))
}

fn facts(db: &Connection, location: &Location) -> Result<BucketFacts, Error> {
    let sql = "SELECT facts FROM bucket_facts WHERE endpoint = ?1 AND bucket = ?2";
    let found: Option<String> = db
        .prepare_cached(sql)?
        .query_row(params![location.endpoint.as_str(), location.bucket], |row| row.get(0))
        .optional()?;
    match found {
        Some(text) => parse(&text),
        None => Ok(BucketFacts::unknown(location.endpoint.clone(), location.bucket.clone())),
    }
}

fn uploads(db: &Connection, held: Held) -> Result<Vec<Upload>, Error> {
    let sql = "SELECT key, upload_id, at, plan FROM upload_intents WHERE range = ?1 ORDER BY key, upload_id";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([int(held.id)], |row| {
        let key = key(row, "key")?.unwrap_or_default();
        let (id, plan): (String, Option<String>) = (row.get("upload_id")?, row.get("plan")?);
        Ok((key, id, time(row, "at")?, plan))
    })?;
    let mut uploads = Vec::new();
    for row in rows {
        let (key, id, intent, plan) = row?;
        let plan = plan.as_deref().map(parse).transpose()?;
        uploads.push(Upload { key, upload_id: (!id.is_empty()).then_some(id), intent, plan });
    }
    Ok(uploads)
}
