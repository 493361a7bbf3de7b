//! Reports: cursor, counters and failures in one transaction, by compare-and-set.

use rusqlite::{Connection, params};
use s3sync_proto::model::{
    Counters, Failure, Key, Outcome, Timestamp, Verdict, WorkError, WorkReport,
};

use super::row::{
    DONE, LetGo, RangeRow, blob, int, json, let_go, parse, range, touch_run, uint32, word,
};
use super::{
    deletes, event_deletes, events, figures, keys, pause, reaps, receivers, reckon, runs, suspects,
};
use crate::plan::{AfterError, after_error, fails_on_keys, fails_on_work};
use crate::store::{Error, MAX_FAILURES_PER_RUN};

pub(super) fn apply(
    db: &Connection,
    mut report: WorkReport,
    now: Timestamp,
) -> Result<Verdict, Error> {
    if receivers::is_watch(report.held) {
        return receivers::report(db, &report, now);
    }
    let Some(row) = range(db, report.held.id)?.filter(|row| row.is_current(report.held.epoch))
    else {
        return Ok(Verdict::Stale);
    };
    if row.reap {
        return reaped(db, &row, report, now);
    }
    if report.previous_cursor != row.cursor {
        // A checkpoint whose acknowledgement was lost comes again: it was applied, and is not counted twice.
        let repeated = report.outcome == Outcome::Checkpoint && report.cursor == row.cursor;
        return Ok(if repeated { Verdict::Applied } else { Verdict::Stale });
    }
    check(&row, &report)?;
    deletes::note(db, &row, &mut report)?;
    if let Some(why) = fails_on_keys(&report.counters, &report.failures, row.paused) {
        give_back(db, &row, &why)?;
        return Ok(Verdict::Stale);
    }
    if row.pool.is_some() {
        keys::carry_over(db, row.id, &mut report.failures)?;
    }
    if row.events.is_some() {
        keys::put_off(db, &row, &mut report, now)?;
        if report.cursor.is_some() || report.outcome == Outcome::Completed {
            keys::mend(db, &row, report.cursor.as_ref())?;
        }
    }
    count(db, row.run, row.destination, report.counters)?;
    reckon::spend(db, row.run, row.destination, std::mem::take(&mut report.extras.usage))?;
    fail_keys(db, row.run, row.destination, &report.failures)?;
    if let Some(cursor) = &report.cursor {
        // Every key up to the cursor is settled, so no upload of it is open.
        db.prepare_cached("DELETE FROM upload_intents WHERE range = ?1 AND key <= ?2")?
            .execute(params![row.id, cursor.as_bytes()])?;
    }
    if let Some(pool) = row.pool
        && (report.cursor.is_some() || report.outcome == Outcome::Completed)
    {
        if row.events.is_some() {
            event_deletes::hold(db, &row, &report, now)?;
        }
        keys::settle(db, row.id, pool, report.cursor.as_ref(), now)?;
    }
    if !deletes::name_keys(db, &row, &report)? {
        set_cursor(db, &row, report.cursor.as_ref())?;
        deletes::stop(db, &row)?;
        touch_run(db, row.run)?;
        return Ok(Verdict::Stale);
    }
    match report.outcome {
        Outcome::Checkpoint => set_cursor(db, &row, report.cursor.as_ref())?,
        Outcome::Completed => complete(db, &row, report.cursor.as_ref(), now)?,
        Outcome::Yielded => {
            set_cursor(db, &row, report.cursor.as_ref())?;
            suspects::cleared(db, row.id)?;
            let_go(db, row.id, LetGo::NewEpoch)?;
        }
        Outcome::Errored(error) => {
            set_cursor(db, &row, report.cursor.as_ref())?;
            fail(db, &row, &error, now)?;
        }
    }
    if let Some(pool) = row.events {
        event_deletes::decide(db, row.run, row.destination, pool, now)?;
        // Keys that became dirty again while they were worked on.
        events::give_work(db, pool, now)?;
    }
    touch_run(db, row.run)?;
    runs::settle(db, row.run, now)?;
    Ok(Verdict::Applied)
}

/// A report of a holder that was only to abort uploads: it knows no cursor, and moves none.
fn reaped(
    db: &Connection,
    row: &RangeRow,
    report: WorkReport,
    now: Timestamp,
) -> Result<Verdict, Error> {
    let keys = Counters { listed: report.counters.listed, ..Counters::default() };
    if keys != Counters::default() || !report.failures.is_empty() {
        return Err(Error::Invalid(format!("range {}: there were no keys to look at", row.id)));
    }
    count(db, row.run, row.destination, report.counters)?;
    reckon::spend(db, row.run, row.destination, report.extras.usage)?;
    match report.outcome {
        Outcome::Checkpoint => {}
        Outcome::Completed => close(db, row, row.cursor.as_ref())?,
        Outcome::Yielded => {
            reaps::yielded(db, row.id)?;
            let_go(db, row.id, LetGo::NewEpoch)?;
        }
        Outcome::Errored(error) => fail(db, row, &error, now)?,
    }
    touch_run(db, row.run)?;
    runs::settle(db, row.run, now)?;
    Ok(Verdict::Applied)
}

/// Whether a report makes sense for its range.
fn check(row: &RangeRow, report: &WorkReport) -> Result<(), Error> {
    let refuse = |text: &str| Err(Error::Invalid(format!("range {}: {text}", row.id)));
    if !report.counters.add_up() {
        return refuse("the counters do not add up");
    }
    if report.counters.not_in_step() != report.failures.len() as u64 {
        return refuse("not every failed or archived key is among the failures");
    }
    if let Some(cursor) = &report.cursor {
        let goes_back = row.cursor.as_ref().is_some_and(|before| cursor < before);
        let before_range = row.after.as_ref().is_some_and(|after| cursor <= after);
        let behind_range = row.until.as_ref().is_some_and(|until| cursor > until);
        if goes_back || before_range || behind_range {
            return refuse("the cursor is outside of what is left");
        }
    } else if report.outcome == Outcome::Completed {
        // To the end of the key space. A cut below was proposed by this holder, so it knew of it.
        if row.until.is_some() {
            return refuse("more was covered than the range has");
        }
    } else if row.cursor.is_some() {
        return refuse("the cursor went back to the beginning");
    }
    let moved = match &report.cursor {
        Some(cursor) => Some(cursor) != row.cursor.as_ref(),
        None => report.outcome == Outcome::Completed,
    };
    let Counters { listed, deleted, not_deleted, .. } = report.counters;
    if !moved && listed + deleted + not_deleted > 0 {
        // The same report would come again as a new one, and count its keys twice.
        return refuse("keys were counted but the cursor did not move");
    }
    let beyond = |key: &Key| row.until.as_ref().is_some_and(|until| key > until);
    if report.extras.deleting.iter().any(beyond) {
        return refuse("a key to delete is outside of it");
    }
    let settled = |key: &Key| {
        let above = row.cursor.as_ref().or(row.after.as_ref()).is_none_or(|before| key > before);
        let completed = matches!(report.outcome, Outcome::Completed);
        let below = report.cursor.as_ref().map_or(completed, |cursor| key <= cursor);
        above && below
    };
    if !report.failures.iter().all(|failure| settled(&failure.key)) {
        return refuse("a failed key is not between the cursors");
    }
    if !report.extras.gone.iter().all(|gone| settled(&gone.key)) {
        return refuse("a key that is gone is not between the cursors");
    }
    Ok(())
}

pub(super) fn count(
    db: &Connection,
    run: i64,
    destination: i64,
    more: Counters,
) -> Result<(), Error> {
    if more == Counters::default() {
        return Ok(());
    }
    let text: String = db
        .prepare_cached(
            "SELECT counters FROM run_destinations WHERE run = ?1 AND destination = ?2",
        )?
        .query_row([run, destination], |row| row.get(0))?;
    let mut counters: Counters = parse(&text)?;
    counters += more;
    db.prepare_cached(
        "UPDATE run_destinations SET counters = ?3 WHERE run = ?1 AND destination = ?2",
    )?
    .execute(params![run, destination, json(&counters)?])?;
    figures::count(db, run, destination, more)
}

/// Keys that were counted as not brought in step are looked at anew: they are not counted any more.
pub(super) fn forget(
    db: &Connection,
    run: i64,
    destination: i64,
    failed: u64,
    archived: u64,
) -> Result<(), Error> {
    let sql = "SELECT counters FROM run_destinations WHERE run = ?1 AND destination = ?2";
    let text: String = db.prepare_cached(sql)?.query_row([run, destination], |row| row.get(0))?;
    let mut counters: Counters = parse(&text)?;
    counters.listed = counters.listed.saturating_sub(failed + archived);
    counters.failed = counters.failed.saturating_sub(failed);
    counters.archived = counters.archived.saturating_sub(archived);
    db.prepare_cached(
        "UPDATE run_destinations SET counters = ?3 WHERE run = ?1 AND destination = ?2",
    )?
    .execute(params![run, destination, json(&counters)?])?;
    Ok(())
}

/// Lists failed keys, up to the limit; beyond it they are only counted.
pub(super) fn fail_keys(
    db: &Connection,
    run: i64,
    destination: i64,
    failures: &[Failure],
) -> Result<(), Error> {
    if failures.is_empty() {
        return Ok(());
    }
    let listed: i64 =
        db.query_row("SELECT listed_failures FROM runs WHERE id = ?1", [run], |row| row.get(0))?;
    let room = usize::try_from(int(MAX_FAILURES_PER_RUN) - listed).unwrap_or_default();
    let mut insert = db.prepare_cached(
        "INSERT INTO failures (run, destination, key, class, code, message, s3_request_id, attempts, first, last)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (run, destination, key) DO UPDATE
         SET class = ?4, code = ?5, message = ?6, s3_request_id = ?7, attempts = ?8, last = ?10",
    )?;
    let mut more = 0;
    for failure in failures.iter().take(room) {
        insert.execute(params![
            run,
            destination,
            failure.key.as_bytes(),
            word(failure.class)?,
            failure.code,
            failure.message,
            failure.s3_request_id,
            failure.attempts,
            failure.first.as_micros(),
            failure.last.as_micros()
        ])?;
        more += 1;
    }
    db.execute(
        "UPDATE runs SET listed_failures = listed_failures + ?2 WHERE id = ?1",
        params![run, more],
    )?;
    Ok(())
}

fn set_cursor(db: &Connection, row: &RangeRow, cursor: Option<&Key>) -> Result<(), Error> {
    if cursor == row.cursor.as_ref() {
        return Ok(());
    }
    db.prepare_cached("UPDATE ranges SET cursor = ?2, attempts = 0 WHERE id = ?1")?
        .execute(params![row.id, blob(cursor)])?;
    suspects::moved(db, row.id, cursor)
}

/// A completion closes the range only if it covered the bound the range has now; else it is a cursor.
fn complete(
    db: &Connection,
    row: &RangeRow,
    covered: Option<&Key>,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(pool) = row.pool
        && covered.is_none()
        && keys::goes_on(db, row, pool, now)?
    {
        return Ok(());
    }
    if covered == row.until.as_ref() {
        db.prepare_cached(
            "UPDATE run_destinations SET done_ranges = done_ranges + 1 WHERE run = ?1 AND destination = ?2",
        )?
        .execute(params![row.run, row.destination])?;
        close(db, row, covered)
    } else {
        set_cursor(db, row, covered)?;
        let_go(db, row.id, LetGo::NewEpoch)
    }
}

/// Closes a range; no upload of it is open any more.
pub(super) fn close(db: &Connection, row: &RangeRow, cursor: Option<&Key>) -> Result<(), Error> {
    if row.events.is_some() {
        // Works of events come and go all day; as rows they would pile up until the run ends.
        db.prepare_cached("DELETE FROM ranges WHERE id = ?1")?.execute([row.id])?;
        return Ok(());
    }
    db.prepare_cached("DELETE FROM upload_intents WHERE range = ?1")?.execute([row.id])?;
    db.prepare_cached("UPDATE ranges SET state = ?2, epoch = epoch + 1, session = NULL, cursor = ?3 WHERE id = ?1")?
        .execute(params![row.id, DONE, blob(cursor)])?;
    Ok(())
}

fn fail(db: &Connection, row: &RangeRow, error: &WorkError, now: Timestamp) -> Result<(), Error> {
    // A range that moved on has its attempts anew, or a long one would use them up over days.
    let attempts: i64 = db.query_row(
        "UPDATE ranges SET attempts = attempts + 1 WHERE id = ?1 RETURNING attempts",
        [row.id],
        |row| row.get(0),
    )?;
    match after_error(u32::try_from(attempts).unwrap_or(u32::MAX), error, now) {
        AfterError::Retry { not_before } => {
            db.execute(
                "UPDATE ranges SET not_before = ?2 WHERE id = ?1",
                params![row.id, not_before.as_micros()],
            )?;
            let_go(db, row.id, LetGo::NewEpoch)
        }
        // The run ends with this work; nobody could resume it.
        AfterError::Fail if row.reap => reaps::give_up(db, row.id, error, uint32(attempts), now),
        AfterError::Fail if let Some(why) = fails_on_work(error) => give_back(db, row, &why),
        AfterError::Fail => {
            let why = format!("{}{}: {}", place_of(db, row)?, error.code, error.message);
            runs::give_up(db, row.run, row.id, &why)
        }
    }
}

/// The place a range writes to, before a text about it.
fn place_of(db: &Connection, row: &RangeRow) -> Result<String, Error> {
    let (spec, _) = runs::spec(db, row.run)?;
    let index = usize::try_from(row.destination).unwrap_or_default();
    Ok(spec.destinations.get(index).map_or_else(String::new, |destination| {
        let location = &destination.location;
        format!("{}:{}/{}: ", location.endpoint, location.bucket, location.prefix)
    }))
}

/// A credential does not work: the range stays as it is, and its run waits for a person.
fn give_back(db: &Connection, row: &RangeRow, why: &str) -> Result<(), Error> {
    let_go(db, row.id, LetGo::NewEpoch)?;
    let advice = "mend the credential or its permissions, then resume the run";
    let why = format!("{}{why}; {advice}", place_of(db, row)?);
    pause::stop(db, row.run, &why)?;
    Ok(())
}
