//! Failures as they are listed.

use rusqlite::{Connection, Row, params};
use s3sync_proto::model::{Failure, FailureClass, FailureGroup, Key, Name, RunName};

use super::row::{from_word, time, uint, uint32, word};
use super::runs::{destinations, row_of};
use crate::store::{Error, MAX_FAILURE_GROUPS};

pub(super) fn list(
    db: &Connection,
    run: &RunName,
    class: Option<FailureClass>,
    after: Option<(u32, Key)>,
    limit: u32,
) -> Result<(Vec<Failure>, u64), Error> {
    let id = row_of(db, run)?;
    let (destination, key) = match &after {
        Some((destination, key)) => (i64::from(*destination), Some(key.as_bytes())),
        None => (-1, None),
    };
    let class = class.map(word).transpose()?;
    let mut statement = db.prepare_cached(
        "SELECT destination, key, class, code, message, s3_request_id, attempts, first, last FROM failures
         WHERE run = ?1 AND (destination > ?2 OR (destination = ?2 AND key > ?3)) AND (?4 IS NULL OR class = ?4)
         ORDER BY destination, key LIMIT ?5",
    )?;
    let rows = statement.query_map(params![id, destination, key, class, limit], read)?;
    let mut failures = Vec::new();
    for row in rows {
        failures.push(row??);
    }
    Ok((failures, total(db, id)?))
}

pub(super) fn groups(db: &Connection, run: &RunName) -> Result<(Vec<FailureGroup>, u64), Error> {
    let id = row_of(db, run)?;
    // Beside MIN, SQLite takes the other columns from the row that has it.
    let mut statement = db.prepare_cached(
        "SELECT COUNT(*) AS size, destination, MIN(key) AS key, class, code, message, s3_request_id, attempts, first, last
         FROM failures WHERE run = ?1 GROUP BY class, code ORDER BY size DESC, class, code LIMIT ?2",
    )?;
    let rows = statement
        .query_map(params![id, MAX_FAILURE_GROUPS], |row| Ok((row.get("size")?, read(row)?)))?;
    let mut groups = Vec::new();
    for row in rows {
        let (size, sample): (i64, _) = row?;
        groups.push(FailureGroup { size: uint(size), sample: sample? });
    }
    Ok((groups, total(db, id)?))
}

/// What is recorded of one key in the newest runs of a job, newest first.
pub(super) fn of_key(
    db: &Connection,
    job: &Name,
    key: &Key,
    runs: u32,
) -> Result<Vec<(RunName, Failure)>, Error> {
    // By way of the destinations, so that each look-up is one by the whole primary key of `failures`.
    let mut statement = db.prepare_cached(
        "SELECT newest.number, failures.destination, key, class, code, message, s3_request_id, attempts, first, last
         FROM (SELECT id, number FROM runs WHERE job = ?1 ORDER BY id DESC LIMIT ?2) AS newest
         JOIN run_destinations ON run_destinations.run = newest.id
         JOIN failures ON failures.run = newest.id
             AND failures.destination = run_destinations.destination AND failures.key = ?3
         ORDER BY newest.id DESC, failures.destination",
    )?;
    let rows = statement.query_map(params![job.as_str(), runs, key.as_bytes()], |row| {
        Ok((row.get("number")?, read(row)?))
    })?;
    let mut failures = Vec::new();
    for row in rows {
        let (number, failure): (i64, _) = row?;
        failures.push((RunName { job: job.clone(), number: uint(number) }, failure?));
    }
    Ok(failures)
}

/// Keys that failed, those included that are not listed.
fn total(db: &Connection, run: i64) -> Result<u64, Error> {
    let destinations = destinations(db, run)?;
    Ok(destinations.iter().map(|destination| destination.counters.not_in_step()).sum())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<Failure, Error>> {
    let class: String = row.get("class")?;
    let class = match from_word(&class) {
        Ok(class) => class,
        Err(error) => return Ok(Err(error)),
    };
    Ok(Ok(Failure {
        key: Key::from(row.get::<_, Vec<u8>>("key")?),
        destination: uint32(row.get("destination")?),
        class,
        code: row.get("code")?,
        message: row.get("message")?,
        s3_request_id: row.get("s3_request_id")?,
        attempts: uint32(row.get("attempts")?),
        first: time(row, "first")?,
        last: time(row, "last")?,
    }))
}
