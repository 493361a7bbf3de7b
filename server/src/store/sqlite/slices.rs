//! The slices that a run over all keys begins with, cut where those of the last one were.

use rusqlite::{Connection, params};
use s3sync_proto::model::{JobSpec, Key, Location, Name};

use super::row::{blob, int};
use super::runs;
use crate::plan::kept_cuts;
use crate::store::Error;

/// The ranges of a new run.
pub(super) fn insert(db: &Connection, run: i64, job: &Name, spec: &JobSpec) -> Result<(), Error> {
    for (index, destination) in spec.destinations.iter().enumerate() {
        let cuts = boundaries(db, job, &destination.location)?;
        insert_ranges(db, run, int(index as u64), &cuts)?;
    }
    Ok(())
}

fn boundaries(db: &Connection, job: &Name, destination: &Location) -> Result<Vec<Key>, Error> {
    let sql = "SELECT key FROM boundaries WHERE job = ?1 AND destination = ?2 ORDER BY key";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params![job.as_str(), runs::place(destination)], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    Ok(rows.map(|row| row.map(Key::from)).collect::<Result<_, _>>()?)
}

/// One range, or as many as the keys cut it into.
fn insert_ranges(db: &Connection, run: i64, destination: i64, cuts: &[Key]) -> Result<(), Error> {
    let mut statement = db.prepare_cached(
        "INSERT INTO ranges (run, destination, after, until) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let ends = cuts.iter().map(Some).chain([None]);
    let mut after = None;
    for until in ends {
        statement.execute(params![run, destination, blob(after), blob(until)])?;
        after = until;
    }
    Ok(())
}

/// Keeps where the ranges of each destination were cut, for the next run. A run over named keys has nothing to say.
pub(super) fn keep(db: &Connection, run: i64, job: &Name) -> Result<(), Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM ranges WHERE run = ?1 AND pool IS NULL)";
    if !db.query_row(sql, [run], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let (spec, _) = runs::spec(db, run)?;
    let progress = runs::destinations(db, run)?;
    for (index, destination) in spec.destinations.iter().enumerate() {
        let sql = "SELECT until FROM ranges WHERE run = ?1 AND destination = ?2 AND until IS NOT NULL ORDER BY until";
        let mut statement = db.prepare_cached(sql)?;
        let cuts: Vec<Vec<u8>> = statement
            .query_map(params![run, int(index as u64)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let place = runs::place(&destination.location);
        db.execute(
            "DELETE FROM boundaries WHERE job = ?1 AND destination = ?2",
            params![job.as_str(), place],
        )?;
        let mut insert = db.prepare_cached(
            "INSERT OR IGNORE INTO boundaries (job, destination, key) VALUES (?1, ?2, ?3)",
        )?;
        for cut in kept_cuts(cuts, progress[index].counters.listed) {
            insert.execute(params![job.as_str(), place, cut])?;
        }
    }
    Ok(())
}
