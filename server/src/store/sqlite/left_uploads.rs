//! Uploads of ranges that were given up. Nobody comes to these ranges any more, so the next run over all keys of the job
//! gets what is open, to go on with or to abort as if it were its own.

use rusqlite::{Connection, params};
use s3sync_proto::model::Name;

use super::row::GIVEN_UP;
use crate::store::Error;

/// A run ends: what its given-up ranges leave open is kept. Uploads whose id is not known are not: these are found by their key
/// and time, and until the next run others may begin some there, which are not ours to abort.
pub(super) fn keep(db: &Connection, run: i64, job: &str) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO left_uploads (job, place, key, upload_id, at, plan)
         SELECT ?2, place, key, upload_id, at, plan FROM upload_intents
         JOIN ranges ON ranges.id = range
         JOIN run_destinations ON run_destinations.run = ranges.run AND run_destinations.destination = ranges.destination
         WHERE ranges.run = ?1 AND ranges.state = ?3 AND upload_id <> ''",
    )?
    .execute(params![run, job, GIVEN_UP])?;
    Ok(())
}

/// A run over all keys begins: its ranges get what earlier ones left open at the same places.
pub(super) fn hand_over(db: &Connection, run: i64, job: &Name) -> Result<(), Error> {
    db.prepare_cached(
        "INSERT INTO upload_intents (range, key, upload_id, at, plan)
         SELECT ranges.id, key, upload_id, at, plan FROM left_uploads
         JOIN run_destinations ON run_destinations.run = ?1 AND run_destinations.place = left_uploads.place
         JOIN ranges ON ranges.run = ?1 AND ranges.destination = run_destinations.destination
              AND (after IS NULL OR key > after) AND (until IS NULL OR key <= until)
         WHERE job = ?2",
    )?
    .execute(params![run, job.as_str()])?;
    db.prepare_cached(
        "DELETE FROM left_uploads WHERE job = ?2 AND place IN (SELECT place FROM run_destinations WHERE run = ?1)",
    )?
    .execute(params![run, job.as_str()])?;
    Ok(())
}
