//! Guarded deletes. A run of a job that mirrors scans first, and counts what it would delete in each of its ranges; when
//! the last one is closed, `plan::guard` decides, in the same transaction. Then the ranges with something to delete are
//! opened once more. What a holder is about to delete it names in a report, and each range lets no more keys be named
//! than were counted in it: more stops the deletes, and what is left is counted anew.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    DeleteMode, DeleteReview, DeleteShare, DeleteWork, JobSpec, Key, KeyRange, MAX_DELETE_SAMPLES,
    Outcome, Run, RunName, RunStage, RunState, Timestamp, Trigger, WorkReport,
};
use s3sync_proto::status::reason;
use sha2::{Digest as _, Sha256};

use super::row::{LetGo, RangeRow, blob, int, json, let_go, parse, touch_run, uint, word};
use super::{event_deletes, runs};
use crate::plan::{Before, Counted, Guard, guard};
use crate::store::Error;

/// Modes of a range, as they are stored.
pub(super) const SCAN: i64 = 0;
pub(super) const COUNT: i64 = 1;
pub(super) const DELETE: i64 = 2;

const ASKING: &str = "asking";
const DELETING: &str = "deleting";
pub(super) const COUNTING: &str = "counting";

/// What a run that has counted knows.
struct Row {
    stage: String,
    review: DeleteReview,
    recounts: u32,
    approved: bool,
}

fn row(db: &Connection, run: i64) -> Result<Option<Row>, Error> {
    let sql = "SELECT stage, review, recounts, approved FROM run_deletes WHERE run = ?1";
    let found: Option<(String, String, u32, bool)> = db
        .prepare_cached(sql)?
        .query_row([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((stage, review, recounts, approved)) = found else { return Ok(None) };
    Ok(Some(Row { stage, review: parse(&review)?, recounts, approved }))
}

/// Where a run stands with its deletes; `None`: it has not counted.
pub(super) fn stage(db: &Connection, run: i64) -> Result<Option<RunStage>, Error> {
    Ok(row(db, run)?.map(|row| stage_of(&row.stage)))
}

/// The stage of a word.
pub(super) fn stage_of(word: &str) -> RunStage {
    match word {
        ASKING => RunStage::Approval,
        COUNTING => RunStage::Recount,
        _ => RunStage::Delete,
    }
}

/// What a run found to delete, as it is shown.
pub(super) fn review(db: &Connection, run: i64) -> Result<Option<DeleteReview>, Error> {
    if event_deletes::is_of_events(db, run)? {
        return event_deletes::review(db, run);
    }
    let Some(mut review) = row(db, run)?.map(|row| row.review) else { return Ok(None) };
    for share in &mut review.destinations {
        share.samples = samples(db, run, int(share.destination.into()))?;
    }
    Ok(Some(review))
}

fn samples(db: &Connection, run: i64, destination: i64) -> Result<Vec<Key>, Error> {
    let sql = "SELECT key FROM delete_samples WHERE run = ?1 AND destination = ?2 ORDER BY key";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([run, destination], |row| row.get::<_, Vec<u8>>(0))?;
    Ok(rows.map(|row| row.map(Key::from)).collect::<Result<_, _>>()?)
}

/// Keeps what a report says of extra keys. Those of a scan stay among its counters; later passes count the same again.
pub(super) fn note(db: &Connection, row: &RangeRow, report: &mut WorkReport) -> Result<(), Error> {
    let extra = report.counters.extra;
    if row.mode != SCAN {
        report.counters.extra = 0;
        report.counters.destination_listed = 0;
    }
    if extra > 0 && row.mode != DELETE && row.pool.is_none() {
        db.prepare_cached("UPDATE ranges SET extra = extra + ?2 WHERE id = ?1")?
            .execute([row.id, int(extra)])?;
    }
    if report.extras.samples.is_empty() || row.mode == DELETE || !mirrors(db, row.run)? {
        return Ok(());
    }
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO delete_samples (run, destination, key) SELECT ?1, ?2, ?3
         WHERE (SELECT COUNT(*) FROM delete_samples WHERE run = ?1 AND destination = ?2) < ?4",
    )?;
    for key in &report.extras.samples {
        let most = int(MAX_DELETE_SAMPLES as u64);
        insert.execute(params![row.run, row.destination, key.as_bytes(), most])?;
    }
    Ok(())
}

fn mirrors(db: &Connection, run: i64) -> Result<bool, Error> {
    Ok(runs::spec(db, run)?.0.deletes.mode == DeleteMode::Mirror)
}

/// Keeps the keys that a holder is about to delete. Whether it may: a range lets no more be named than were counted in
/// it, each key once.
pub(super) fn name_keys(
    db: &Connection,
    row: &RangeRow,
    report: &WorkReport,
) -> Result<bool, Error> {
    if row.mode == SCAN {
        return Ok(true);
    }
    let sql = "SELECT deleting, budget, (SELECT stage FROM run_deletes WHERE run_deletes.run = ranges.run)
               FROM ranges WHERE id = ?1";
    let (known, budget, stage): (Option<Vec<u8>>, i64, Option<String>) = db
        .prepare_cached(sql)?
        .query_row([row.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let known = decoded(known.as_deref().unwrap_or_default());
    let mut named = report.extras.deleting.clone();
    if matches!(report.outcome, Outcome::Errored(_)) {
        // It may be said by a session whose worker died, and which knows of none.
        named.extend(known.iter().cloned());
        named.sort();
        named.dedup();
    }
    let above = |key: &Key| report.cursor.as_ref().is_none_or(|cursor| key > cursor);
    named.retain(above);
    let new = named.iter().filter(|key| known.binary_search(key).is_err()).count();
    let new = int(new as u64);
    let may =
        new == 0 || (row.mode == DELETE && new <= budget && stage.as_deref() == Some(DELETING));
    if !may {
        named.retain(|key| known.binary_search(key).is_ok());
    }
    db.prepare_cached("UPDATE ranges SET deleting = ?2, budget = budget - ?3 WHERE id = ?1")?
        .execute(params![row.id, encoded(&named), if may { new } else { 0 }])?;
    Ok(may)
}

/// More was to be deleted than was passed. The range is let go, nobody deletes any more, and what is left is counted anew.
pub(super) fn stop(db: &Connection, row: &RangeRow) -> Result<(), Error> {
    let changed = db.execute(
        "UPDATE run_deletes SET stage = ?2, recounts = recounts + 1 WHERE run = ?1 AND stage = ?3",
        params![row.run, COUNTING, DELETING],
    )?;
    if changed > 0 {
        tracing::warn!(
            run = row.run,
            "there is more to delete than was passed; it is counted anew"
        );
        db.execute("DELETE FROM delete_samples WHERE run = ?1", [row.run])?;
    }
    let_go(db, row.id, LetGo::NewEpoch)
}

/// The work of a range that was just leased, when it is not to be scanned. One that was to delete before what is left is
/// counted anew counts from where it stands.
pub(super) fn work(
    db: &Connection,
    id: i64,
    spec: &JobSpec,
    range: KeyRange,
    cursor: Option<Key>,
) -> Result<Option<DeleteWork>, Error> {
    let sql =
        "SELECT mode, deleting, (SELECT stage FROM run_deletes WHERE run_deletes.run = ranges.run)
               FROM ranges WHERE id = ?1";
    let (mode, deleting, stage): (i64, Option<Vec<u8>>, Option<String>) =
        db.prepare_cached(sql)?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if mode == SCAN {
        return Ok(None);
    }
    let deleting = decoded(deleting.as_deref().unwrap_or_default());
    let unconditional = spec.deletes.unconditional;
    if mode == DELETE && stage.as_deref() == Some(COUNTING) {
        let after = cursor.or(range.after);
        db.execute(
            "UPDATE ranges SET mode = ?2, after = ?3, cursor = NULL, extra = 0, budget = 0 WHERE id = ?1",
            params![id, COUNT, blob(after.as_ref())],
        )?;
        let range = KeyRange { after, until: range.until };
        return Ok(Some(DeleteWork {
            range,
            cursor: None,
            count_only: true,
            unconditional,
            deleting,
        }));
    }
    let count_only = mode == COUNT;
    Ok(Some(DeleteWork { range, cursor, count_only, unconditional, deleting }))
}

/// No range of the run is open any more. Whether it goes on with deletes, or waits to be allowed them.
pub(super) fn goes_on(db: &Connection, run: i64) -> Result<bool, Error> {
    let known = row(db, run)?;
    match known.as_ref().map(|known| known.stage.as_str()) {
        Some(ASKING) => return Ok(true),
        Some(DELETING) => return Ok(false),
        _ => {}
    }
    let (spec, _) = runs::spec(db, run)?;
    if spec.deletes.mode == DeleteMode::Keep || !scanned(db, run)? {
        return Ok(false);
    }
    let counted = counted(db, run, &spec)?;
    let before = known.as_ref().map_or_else(Before::default, |known| Before {
        approved: known.approved,
        recounts: known.recounts,
    });
    let (stage, reasons) = match guard(&spec.deletes, &counted, before) {
        Guard::Nothing => return Ok(false),
        Guard::Passed => (DELETING, vec![String::new(); counted.len()]),
        Guard::Asks(reasons) => (ASKING, reasons),
    };
    let mut review = DeleteReview { etag: String::new(), destinations: Vec::new() };
    for (index, (one, reason)) in counted.iter().zip(reasons).enumerate() {
        if one.extra > 0 {
            let destination = u32::try_from(index).unwrap_or(u32::MAX);
            let Counted { listed, extra, deleted, .. } = *one;
            let samples = samples(db, run, int(index as u64))?;
            let share = DeleteShare { destination, extra, listed, deleted, reason, samples };
            review.destinations.push(share);
        }
    }
    review.etag = etag(run, before, &review)?;
    db.execute(
        "INSERT INTO run_deletes (run, stage, review) VALUES (?1, ?2, ?3)
         ON CONFLICT (run) DO UPDATE SET stage = ?2, review = ?3",
        params![run, stage, json(&review)?],
    )?;
    if stage == ASKING {
        db.execute(
            "UPDATE runs SET state = ?2, reason = ?3 WHERE id = ?1",
            params![run, word(RunState::AwaitingApproval)?, question(&spec, &review)],
        )?;
    } else {
        open(db, run)?;
    }
    touch_run(db, run)?;
    Ok(true)
}

/// Whether the run looked at everything, and may write.
fn scanned(db: &Connection, run: i64) -> Result<bool, Error> {
    let sql =
        "SELECT trigger <> ?2 AND EXISTS (SELECT 1 FROM ranges WHERE run = ?1 AND pool IS NULL)
               FROM runs WHERE id = ?1";
    Ok(db.query_row(sql, params![run, word(Trigger::Plan)?], |row| row.get(0))?)
}

fn counted(db: &Connection, run: i64, spec: &JobSpec) -> Result<Vec<Counted>, Error> {
    let progress = runs::destinations(db, run)?;
    let mut all = Vec::with_capacity(spec.destinations.len());
    for (index, one) in progress.iter().enumerate() {
        let extra: i64 = db
            .prepare_cached(
                "SELECT COALESCE(SUM(extra), 0) FROM ranges
                 WHERE run = ?1 AND destination = ?2 AND pool IS NULL AND mode <> ?3",
            )?
            .query_row(params![run, int(index as u64), DELETE], |row| row.get(0))?;
        let counters = one.counters;
        all.push(Counted {
            source: counters.listed + counters.filtered,
            listed: counters.destination_listed,
            extra: uint(extra),
            deleted: counters.deleted,
        });
    }
    Ok(all)
}

/// Opens the ranges with something to delete.
fn open(db: &Connection, run: i64) -> Result<(), Error> {
    let closed = "run = ?1 AND pool IS NULL AND mode <> 2 AND extra > 0 AND state = 2";
    db.execute(
        &format!(
            "UPDATE run_destinations SET done_ranges = done_ranges - (SELECT COUNT(*) FROM ranges
             WHERE {closed} AND ranges.destination = run_destinations.destination) WHERE run = ?1"
        ),
        [run],
    )?;
    db.execute(
        &format!(
            "UPDATE ranges SET mode = 2, state = 0, epoch = epoch + 1, session = NULL, leased_at = NULL,
                 cursor = NULL, attempts = 0, lost = 0, unnamed_lost = 0, suspect = NULL, suspect_lost = 0,
                 not_before = 0, refused_until = 0, budget = extra
             WHERE {closed}"
        ),
        [run],
    )?;
    Ok(())
}

/// Of what is shown: counts, reasons and samples, and how often the run had counted.
fn etag(run: i64, before: Before, review: &DeleteReview) -> Result<String, Error> {
    let mut digest = Sha256::new();
    digest.update(json(&(run, before.recounts, review))?);
    for share in &review.destinations {
        for key in &share.samples {
            digest.update(int(key.as_bytes().len() as u64).to_be_bytes());
            digest.update(key.as_bytes());
        }
    }
    Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Why the run waits, for a person.
fn question(spec: &JobSpec, review: &DeleteReview) -> String {
    let asks = review.destinations.iter().filter(|share| !share.reason.is_empty());
    let each: Vec<String> = asks
        .map(|share| {
            let index = usize::try_from(share.destination).unwrap_or(usize::MAX);
            let place = spec.destinations.get(index).map_or_else(String::new, |destination| {
                let location = &destination.location;
                format!(" in {}:{}/{}", location.endpoint, location.bucket, location.prefix)
            });
            format!("{} keys to delete{place}: {}", share.extra, share.reason)
        })
        .collect();
    format!("deletes need an approval: {}", each.join("; "))
}

/// Approves what is shown under this etag. The same approval again changes nothing.
pub(super) fn approve(
    db: &Connection,
    name: &RunName,
    etag: &str,
    now: Timestamp,
) -> Result<Run, Error> {
    let id = runs::row_of(db, name)?;
    if event_deletes::is_of_events(db, id)? {
        return event_deletes::approve(db, name, id, etag, now);
    }
    let run = runs::get(db, &name.job, Some(name.number))?;
    let known = row(db, id)?;
    let shown = known.as_ref().is_some_and(|known| known.review.etag == etag);
    if run.state != RunState::AwaitingApproval {
        if shown && known.is_some_and(|known| known.approved && known.stage == DELETING) {
            return Ok(run);
        }
        let state = word(run.state)?.replace('_', " ");
        let text = format!("{name} is {state}; there is nothing to approve");
        return Err(Error::NotNow { reason: reason::RUN_STATE, text });
    }
    if !shown {
        return Err(Error::Outdated(format!(
            "what {name} would delete is not what was approved; look at it again"
        )));
    }
    db.execute(
        "UPDATE run_deletes SET stage = ?2, approved = 1 WHERE run = ?1",
        params![id, DELETING],
    )?;
    db.execute(
        "UPDATE runs SET state = ?2, reason = '' WHERE id = ?1",
        params![id, word(RunState::Running)?],
    )?;
    open(db, id)?;
    touch_run(db, id)?;
    runs::get(db, &name.job, Some(name.number))
}

/// Keys as a column holds them: each behind its length.
fn encoded(keys: &[Key]) -> Option<Vec<u8>> {
    if keys.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for key in keys {
        let length = u16::try_from(key.as_bytes().len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(key.as_bytes());
    }
    Some(bytes)
}

fn decoded(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let Some((key, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
            break;
        };
        keys.push(Key::from(key.to_vec()));
        bytes = rest;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_keys_are_read_as_they_were_written() {
        let keys: Vec<Key> = ["", "a", "a\u{1}b", &"x".repeat(1_024)].map(Key::from).into();
        assert_eq!(decoded(&encoded(&keys).unwrap()), keys);
        assert_eq!(encoded(&[]), None);
        assert_eq!(decoded(&[]), Vec::<Key>::new());
        assert_eq!([SCAN, COUNT, DELETE], [0, 1, 2], "the SQL has these numbers");
    }
}
