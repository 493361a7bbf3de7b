//! Endpoints, queues, jobs and request ids.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    BucketFacts, Endpoint, EndpointSpec, Job, JobSpec, Name, Queue, QueueSpec, RunName, Timestamp,
};

use super::row::{int, json, name, parse, time, uint};
use super::{events, figures, receivers, runs, schedules, watches};
use crate::store::{Applied, Catalogue, CatalogueChange, Error, REQUEST_ID_TTL, RequestKey};

pub(super) fn all(db: &Connection) -> Result<Catalogue, Error> {
    let revision: i64 = db.query_row("SELECT catalogue FROM meta", [], |row| row.get(0))?;
    let mut facts: BTreeMap<Name, Vec<BucketFacts>> = BTreeMap::new();
    let mut statement =
        db.prepare_cached("SELECT facts FROM bucket_facts ORDER BY endpoint, bucket")?;
    for text in statement.query_map([], |row| row.get::<_, String>(0))? {
        let one: BucketFacts = parse(&text?)?;
        facts.entry(one.endpoint.clone()).or_default().push(one);
    }
    Ok(Catalogue {
        revision: uint(revision),
        endpoints: endpoints(db, facts)?,
        queues: queues(db)?,
        jobs: jobs(db)?,
    })
}

fn endpoints(
    db: &Connection,
    mut facts: BTreeMap<Name, Vec<BucketFacts>>,
) -> Result<BTreeMap<Name, Endpoint>, Error> {
    let mut statement =
        db.prepare_cached("SELECT name, spec, etag, created, updated FROM endpoints")?;
    let rows = statement.query_map([], |row| {
        let texts: (String, String, String) =
            (row.get("name")?, row.get("spec")?, row.get("etag")?);
        Ok((texts, time(row, "created")?, time(row, "updated")?))
    })?;
    let mut endpoints = BTreeMap::new();
    for row in rows {
        let ((text, spec, etag), created, updated) = row?;
        let name = name(&text)?;
        let buckets = facts.remove(&name).unwrap_or_default();
        let spec: EndpointSpec = parse(&spec)?;
        endpoints.insert(name.clone(), Endpoint { name, spec, buckets, etag, created, updated });
    }
    Ok(endpoints)
}

fn queues(db: &Connection) -> Result<BTreeMap<Name, Queue>, Error> {
    let mut statement =
        db.prepare_cached("SELECT name, spec, etag, created, updated FROM queues")?;
    let rows = statement.query_map([], |row| {
        let texts: (String, String, String) =
            (row.get("name")?, row.get("spec")?, row.get("etag")?);
        Ok((texts, time(row, "created")?, time(row, "updated")?))
    })?;
    let mut queues = BTreeMap::new();
    for row in rows {
        let ((text, spec, etag), created, updated) = row?;
        let name = name(&text)?;
        let spec: QueueSpec = parse(&spec)?;
        queues.insert(name.clone(), Queue { name, spec, etag, created, updated, status: None });
    }
    Ok(queues)
}

fn jobs(db: &Connection) -> Result<BTreeMap<Name, Job>, Error> {
    let sql =
        // The run of events never ends by itself: it is the last one only where there is no other.
        "SELECT name, uid, jobs.spec AS spec, etag, generation, created, updated, next,
                COALESCE((SELECT number FROM runs WHERE runs.job = jobs.name AND trigger <> 'events'
                          ORDER BY number DESC LIMIT 1), last_run) AS last_run
               FROM jobs LEFT JOIN schedules ON job = name";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let texts: (String, String, String, String) =
            (row.get("name")?, row.get("uid")?, row.get("spec")?, row.get("etag")?);
        let numbers: (i64, i64) = (row.get("generation")?, row.get("last_run")?);
        let next: Option<i64> = row.get("next")?;
        Ok((texts, numbers, time(row, "created")?, time(row, "updated")?, next))
    })?;
    let mut jobs = BTreeMap::new();
    for row in rows {
        let ((text, uid, spec, etag), (generation, last), created, updated, next) = row?;
        let name = name(&text)?;
        let latest_run = (last > 0).then(|| RunName { job: name.clone(), number: uint(last) });
        let spec: JobSpec = parse(&spec)?;
        let job = Job {
            name: name.clone(),
            uid,
            spec,
            etag,
            generation: uint(generation),
            created,
            updated,
            latest_run,
            next_starts: next.map(Timestamp::from_micros).into_iter().collect(),
            following: None,
            last: None,
            warnings: Vec::new(),
        };
        jobs.insert(name, job);
    }
    Ok(jobs)
}

pub(super) fn change(
    db: &Connection,
    seen: u64,
    change: CatalogueChange,
    request: Option<RequestKey>,
    now: Timestamp,
) -> Result<Applied, Error> {
    if let Some(request) = &request
        && remembered(db, request, now)?.is_some()
    {
        return Ok(Applied::Repeated);
    }
    let moved =
        db.execute("UPDATE meta SET catalogue = catalogue + 1 WHERE catalogue = ?1", [int(seen)])?;
    if moved == 0 {
        return Err(Error::Moved);
    }
    match change {
        CatalogueChange::PutEndpoint { name, spec } => {
            db.execute(
                "INSERT INTO endpoints (name, spec, etag, created, updated) VALUES (?1, ?2, ?3, ?4, ?4)
                 ON CONFLICT (name) DO UPDATE SET spec = ?2, etag = ?3, updated = ?4",
                params![name.as_str(), json(&spec)?, new_etag(), now.as_micros()],
            )?;
            receivers::endpoint_moved(db, &name)?;
        }
        CatalogueChange::DeleteEndpoint { name } => {
            if db.execute("DELETE FROM endpoints WHERE name = ?1", [name.as_str()])? == 0 {
                return Err(Error::NotFound(format!("endpoints/{name}")));
            }
            db.execute("DELETE FROM bucket_facts WHERE endpoint = ?1", [name.as_str()])?;
        }
        CatalogueChange::PutQueue { name, spec } => {
            let sql = "SELECT spec FROM queues WHERE name = ?1";
            let before: Option<String> =
                db.query_row(sql, [name.as_str()], |row| row.get(0)).optional()?;
            db.execute(
                "INSERT INTO queues (name, spec, etag, created, updated) VALUES (?1, ?2, ?3, ?4, ?4)
                 ON CONFLICT (name) DO UPDATE SET spec = ?2, etag = ?3, updated = ?4",
                params![name.as_str(), json(&spec)?, new_etag(), now.as_micros()],
            )?;
            let before: Option<QueueSpec> = before.as_deref().map(parse).transpose()?;
            let reached = |spec: &QueueSpec| (spec.url.clone(), spec.endpoint.clone());
            // Another number of receivers interrupts none that stays.
            if before.is_some_and(|before| reached(&before) != reached(&spec)) {
                receivers::moved(db, &name)?;
            }
            watches::arm(db)?;
        }
        CatalogueChange::DeleteQueue { name } => {
            if db.execute("DELETE FROM queues WHERE name = ?1", [name.as_str()])? == 0 {
                return Err(Error::NotFound(format!("queues/{name}")));
            }
        }
        CatalogueChange::PutJob { name, spec } => {
            figures::restart(db, &name, &spec, now)?;
            db.execute(
                "INSERT INTO jobs (name, uid, spec, etag, generation, created, updated)
                 VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5)
                 ON CONFLICT (name) DO UPDATE
                 SET spec = ?3, etag = ?4, updated = ?5, generation = generation + 1",
                params![name.as_str(), new_etag(), json(&spec)?, new_etag(), now.as_micros()],
            )?;
            schedules::arm(db, &name, &spec, now)?;
            events::arm(db, &name, &spec, now)?;
        }
        CatalogueChange::DeleteJob { name } => delete_job(db, &name)?,
    }
    if let Some(request) = request {
        remember(db, &request, &request.resource, now)?;
    }
    Ok(Applied::Fresh)
}

fn delete_job(db: &Connection, job: &Name) -> Result<(), Error> {
    let active = match runs::active(db, job)? {
        Some(number) => Some(number),
        None => events::held(db, job)?,
    };
    if let Some(number) = active {
        return Err(Error::RunActive(RunName { job: job.clone(), number }));
    }
    if db.execute("DELETE FROM jobs WHERE name = ?1", [job.as_str()])? == 0 {
        return Err(Error::NotFound(format!("jobs/{job}")));
    }
    let runs = "SELECT id FROM runs WHERE job = ?1";
    db.execute(&format!("DELETE FROM failures WHERE run IN ({runs})"), [job.as_str()])?;
    db.execute("DELETE FROM runs WHERE job = ?1", [job.as_str()])?;
    db.execute("DELETE FROM boundaries WHERE job = ?1", [job.as_str()])?;
    // A run id remembered for this job would name a run that is gone.
    db.execute(
        "DELETE FROM request_ids WHERE resource LIKE ?1 || '/%'",
        [format!("jobs/{job}/runs")],
    )?;
    watches::arm(db)
}

/// An opaque text that no other state of the resource has.
fn new_etag() -> String {
    format!("{:016x}", fastrand::u64(..))
}

pub(super) fn remembered(
    db: &Connection,
    request: &RequestKey,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let sql = "SELECT fingerprint, resource FROM request_ids WHERE method = ?1 AND id = ?2 AND expires > ?3";
    let found: Option<(String, String)> = db
        .prepare_cached(sql)?
        .query_row(params![request.method, request.id, now.as_micros()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((fingerprint, resource)) if fingerprint == request.fingerprint => Ok(Some(resource)),
        Some(_) => Err(Error::RequestReused),
    }
}

/// Remembers what a request made, and forgets what is long past.
pub(super) fn remember(
    db: &Connection,
    request: &RequestKey,
    resource: &str,
    now: Timestamp,
) -> Result<(), Error> {
    db.execute("DELETE FROM request_ids WHERE expires <= ?1", [now.as_micros()])?;
    let expires = now.plus(REQUEST_ID_TTL).as_micros();
    db.execute(
        "INSERT INTO request_ids (method, id, fingerprint, resource, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![request.method, request.id, request.fingerprint, resource, expires],
    )?;
    Ok(())
}
