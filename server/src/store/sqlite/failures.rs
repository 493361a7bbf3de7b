//! Failures as they are listed.

use rusqlite::{Connection, params};
use s3sync_proto::model::{Failure, Key, RunName};

use super::row::{from_word, time, uint32};
use super::runs::{destinations, row_of};
use crate::store::Error;

pub(super) fn list(
    db: &Connection,
    run: &RunName,
    after: Option<(u32, Key)>,
    limit: u32,
) -> Result<(Vec<Failure>, u64), Error> {
    let id = row_of(db, run)?;
    let total =
        destinations(db, id)?.iter().map(|destination| destination.counters.not_in_step()).sum();
    let (destination, key) = match &after {
        Some((destination, key)) => (i64::from(*destination), Some(key.as_bytes())),
        None => (-1, None),
    };
    let mut statement = db.prepare_cached(
        "SELECT destination, key, class, code, message, s3_request_id, attempts, first, last FROM failures
         WHERE run = ?1 AND (destination > ?2 OR (destination = ?2 AND key > ?3))
         ORDER BY destination, key LIMIT ?4",
    )?;
    let rows = statement.query_map(params![id, destination, key, limit], |row| {
        let class: String = row.get("class")?;
        let failure = |class| {
            Ok::<_, rusqlite::Error>(Failure {
                key: Key::from(row.get::<_, Vec<u8>>("key")?),
                destination: uint32(row.get("destination")?),
                class,
                code: row.get("code")?,
                message: row.get("message")?,
                s3_request_id: row.get("s3_request_id")?,
                attempts: uint32(row.get("attempts")?),
                first: time(row, "first")?,
                last: time(row, "last")?,
            })
        };
        Ok(match from_word(&class) {
            Ok(class) => Ok(failure(class)?),
            Err(error) => Err(error),
        })
    })?;
    let mut failures = Vec::new();
    for row in rows {
        failures.push(row??);
    }
    Ok((failures, total))
}
