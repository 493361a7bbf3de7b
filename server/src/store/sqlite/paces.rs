//! How often something happens to the keys of a pool: see [`Pace`].

use rusqlite::{Connection, Row, params};
use s3sync_proto::model::Timestamp;

use super::row::time;
use crate::plan::pace::Pace;
use crate::store::Error;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Events told of a key.
    Told,
    /// A key was looked at, or deleted.
    Settled,
}

impl What {
    const fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Told => ("told", "told_at"),
            Self::Settled => ("settled", "settled_at"),
        }
    }

    /// How it stands, of a row of `pools`.
    pub(super) fn of(self, row: &Row<'_>) -> rusqlite::Result<Pace> {
        pace(row, self.columns())
    }
}

/// How it stands, by two columns of a row.
pub(super) fn pace(row: &Row<'_>, (amount, at): (&str, &str)) -> rusqlite::Result<Pace> {
    Ok(Pace { amount: row.get(amount)?, at: time(row, at)? })
}

/// It happened so often more.
pub(super) fn add(
    db: &Connection,
    pool: i64,
    what: What,
    more: u64,
    now: Timestamp,
) -> Result<(), Error> {
    if more == 0 {
        return Ok(());
    }
    let (amount, at) = what.columns();
    let pace: Pace = db
        .prepare_cached(&format!("SELECT {amount}, {at} FROM pools WHERE id = ?1"))?
        .query_row([pool], |row| what.of(row))?;
    let pace = pace.plus(more, now);
    db.prepare_cached(&format!("UPDATE pools SET {amount} = ?2, {at} = ?3 WHERE id = ?1"))?
        .execute(params![pool, pace.amount, pace.at.as_micros()])?;
    Ok(())
}

/// A pool goes on for another one.
pub(super) fn inherit(db: &Connection, from: i64, to: i64) -> Result<(), Error> {
    db.execute(
        "UPDATE pools SET (told, told_at, settled, settled_at) =
             (SELECT told, told_at, settled, settled_at FROM pools WHERE id = ?1) WHERE id = ?2",
        [from, to],
    )?;
    Ok(())
}
