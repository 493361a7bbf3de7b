//! The audit log.

use rusqlite::{Connection, Row, params};
use s3sync_proto::model::{AuditCall, AuditEntry, AuditOutcome, Timestamp};

use super::row::{int, time, uint};
use crate::store::Error;

const UNKNOWN: i64 = 0;
const DONE: i64 = 1;
const REFUSED: i64 = 2;

pub(super) fn begin(db: &Connection, call: &AuditCall, now: Timestamp) -> Result<u64, Error> {
    let AuditCall { caller, peer, method, resource, request } = call;
    db.prepare_cached(
        "INSERT INTO audit (at, caller, peer, method, resource, request) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![now.as_micros(), caller, peer, method, resource, request])?;
    Ok(uint(db.last_insert_rowid()))
}

pub(super) fn end(
    db: &Connection,
    number: u64,
    outcome: &AuditOutcome,
    now: Timestamp,
) -> Result<(), Error> {
    let (outcome, reason) = match outcome {
        AuditOutcome::Unknown => return Ok(()),
        AuditOutcome::Done => (DONE, ""),
        AuditOutcome::Refused(reason) => (REFUSED, reason.as_str()),
    };
    db.prepare_cached(
        "UPDATE audit SET outcome = ?2, reason = ?3, ended = ?4 WHERE number = ?1 AND outcome = ?5",
    )?
    .execute(params![int(number), outcome, reason, now.as_micros(), UNKNOWN])?;
    Ok(())
}

/// `0` follows `/`, so what lies between the two is below the resource.
pub(super) fn list(
    db: &Connection,
    resource: Option<&str>,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT number, at, caller, peer, method, resource, request, outcome, reason, ended FROM audit
         WHERE number < ?1 AND (?2 IS NULL OR resource = ?2 OR resource > ?2 || '/' AND resource < ?2 || '0')
         ORDER BY number DESC LIMIT ?3",
    )?;
    let before = before.map_or(i64::MAX, int);
    let rows = statement.query_map(params![before, resource, limit], entry)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let outcome: i64 = row.get("outcome")?;
    let ended: Option<i64> = row.get("ended")?;
    Ok(AuditEntry {
        number: uint(row.get("number")?),
        created: time(row, "at")?,
        call: AuditCall {
            caller: row.get("caller")?,
            peer: row.get("peer")?,
            method: row.get("method")?,
            resource: row.get("resource")?,
            request: row.get("request")?,
        },
        outcome: match outcome {
            DONE => AuditOutcome::Done,
            REFUSED => AuditOutcome::Refused(row.get("reason")?),
            _ => AuditOutcome::Unknown,
        },
        ended: ended.map(Timestamp::from_micros),
    })
}
