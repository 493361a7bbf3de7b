//! Keys of ranges that kill agents. A range that was lost a few times without moving on is worked on carefully: one key
//! at a time, by an agent that does nothing else, and each key is named before. So a further death tells the key, and
//! one that tells it again makes the key a failure. Where agents die before they name a key, the range itself is given up.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    Counters, Failure, FailureClass, Key, MAX_KEY_BYTES, Suspicion, Timestamp, Verdict,
};

use super::deletes::SCAN;
use super::report::{count, fail_keys};
use super::row::{blob, key, range, uint32};
use super::runs;
use crate::store::Error;

/// Holders that died while the cursor stood still before work is done carefully.
pub(super) const LOST_TOGETHER: i64 = 3;

/// Holders that died with the same key alone before it is given up. One may have died for another reason.
const LOST_ALONE: i64 = 2;

/// Holders of careful work that died at the same cursor before they had named a key, before the range is given up. More
/// than of a key, since no other work is left to look at what was in the range.
const LOST_LISTING: i64 = 3;

/// Whether a range, or a key work, is to be done carefully and alone: a column `careful`. Aborting is the work's own, whatever
/// keys it had.
pub(super) const CAREFUL: &str = "CASE WHEN ranges.pool IS NULL OR runs.state = 'cancelling' THEN ranges.lost >= 3 ELSE
    EXISTS (SELECT 1 FROM pending_keys WHERE pending_keys.pool = ranges.pool AND work IS NULL AND pending_keys.lost >= 3)
    OR EXISTS (SELECT 1 FROM pending_keys WHERE work = ranges.id AND pending_keys.lost >= 3) END AS careful";

/// Notes the one key that is worked on.
pub(super) fn named(db: &Connection, suspicion: &Suspicion) -> Result<Verdict, Error> {
    let Suspicion { sequence: _, held, key } = suspicion;
    let Some(row) = range(db, held.id)?.filter(|row| row.is_current(held.epoch)) else {
        return Ok(Verdict::Stale);
    };
    if row.pool.is_some() || row.reap {
        return Err(Error::Invalid(format!("range {}: it has no keys to name", row.id)));
    }
    let settled = row.cursor.as_ref().or(row.after.as_ref()).is_some_and(|before| key <= before);
    let cut_off = row.until.as_ref().is_some_and(|until| key > until);
    if settled || cut_off {
        // It comes again, after the report that settled the key.
        return Ok(Verdict::Applied);
    }
    db.prepare_cached(
        "UPDATE ranges SET suspect_lost = CASE WHEN suspect IS ?2 THEN suspect_lost ELSE 0 END, suspect = ?2, suspect_epoch = epoch
         WHERE id = ?1",
    )?
    .execute(params![row.id, key.as_bytes()])?;
    Ok(Verdict::Applied)
}

/// The cursor of a range moved, so who died before died of something else, unless one key is already suspected.
pub(super) fn moved(db: &Connection, range: i64, cursor: Option<&Key>) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE ranges SET lost = CASE WHEN lost < ?3 THEN 0 ELSE lost END,
             suspect_lost = CASE WHEN suspect <= ?2 THEN 0 ELSE suspect_lost END,
             suspect = CASE WHEN suspect <= ?2 THEN NULL ELSE suspect END, unnamed_lost = 0
         WHERE id = ?1 AND pool IS NULL AND (lost > 0 OR suspect IS NOT NULL)",
    )?
    .execute(params![range, blob(cursor), LOST_TOGETHER])?;
    Ok(())
}

/// A holder gave a range back in order: nothing is suspected any more.
pub(super) fn cleared(db: &Connection, range: i64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE ranges SET lost = 0, suspect = NULL, suspect_lost = 0, unnamed_lost = 0
         WHERE id = ?1 AND lost > 0 AND pool IS NULL",
    )?
    .execute([range])?;
    Ok(())
}

/// What is known of a range when its holder has died.
struct Death {
    run: i64,
    destination: i64,
    after: Option<Key>,
    until: Option<Key>,
    cursor: Option<Key>,
    mode: i64,
    /// The key that this holder named.
    suspect: Option<Key>,
    /// Holders that died in all, with this key alone, and with none named.
    lost: i64,
    alone: i64,
    unnamed: i64,
}

/// A holder of a range died. When that was often enough with one key alone, the key becomes a failure and the range goes
/// on behind it. When it was often enough before a key was named, the range is given up: its listing kills.
pub(super) fn died(db: &Connection, id: i64, now: Timestamp) -> Result<(), Error> {
    let Some(death) = death(db, id)? else { return Ok(()) };
    match &death.suspect {
        Some(suspect) => {
            db.prepare_cached("UPDATE ranges SET suspect_lost = ?2 WHERE id = ?1")?
                .execute([id, death.alone + 1])?;
            if death.alone + 1 >= LOST_ALONE {
                give_up_key(db, id, suspect, &death, now)?;
            }
        }
        // Counted is only who did nothing else, so that nothing else can have killed it.
        None if death.lost > LOST_TOGETHER => {
            db.prepare_cached("UPDATE ranges SET unnamed_lost = ?2 WHERE id = ?1")?
                .execute([id, death.unnamed + 1])?;
            if death.unnamed + 1 >= LOST_LISTING {
                give_up_range(db, id, &death, now)?;
            }
        }
        None => {}
    }
    Ok(())
}

fn death(db: &Connection, id: i64) -> Result<Option<Death>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT run, destination, after, until, cursor, mode, lost, suspect_lost, unnamed_lost,
             CASE WHEN suspect_epoch = epoch AND suspect <= COALESCE(until, suspect) THEN suspect END AS suspect
         FROM ranges WHERE id = ?1 AND state = 0 AND pool IS NULL
             AND (SELECT state FROM runs WHERE runs.id = run) <> 'cancelling'",
    )?;
    let found = statement.query_row([id], |row| {
        Ok(Death {
            run: row.get("run")?,
            destination: row.get("destination")?,
            after: key(row, "after")?,
            until: key(row, "until")?,
            cursor: key(row, "cursor")?,
            mode: row.get("mode")?,
            suspect: key(row, "suspect")?,
            lost: row.get("lost")?,
            alone: row.get("suspect_lost")?,
            unnamed: row.get("unnamed_lost")?,
        })
    });
    Ok(found.optional()?)
}

fn give_up_key(
    db: &Connection,
    id: i64,
    suspect: &Key,
    death: &Death,
    now: Timestamp,
) -> Result<(), Error> {
    let alone = death.alone + 1;
    let message = format!(
        "{alone} agents died while they worked on this key alone, of {} that died before it",
        death.lost
    );
    list(db, death, suspect, ("agents_died", message), (alone, now))?;
    // All before it was reported before it was named. An upload at it stays recorded for the next holder to abort.
    db.prepare_cached(
        "UPDATE ranges SET cursor = ?2, suspect = NULL, suspect_lost = 0, lost = 0, unnamed_lost = 0, attempts = 0,
             epoch = epoch + 1
         WHERE id = ?1",
    )?
    .execute(params![id, suspect.as_bytes()])?;
    tracing::warn!(range = id, "a key that kills agents was given up");
    Ok(())
}

/// No key can be blamed, so what is left of the range becomes one failure.
fn give_up_range(db: &Connection, id: i64, death: &Death, now: Timestamp) -> Result<(), Error> {
    let first = death.cursor.as_ref().or(death.after.as_ref());
    let from =
        first.map_or_else(|| "from the first key".to_owned(), |key| format!("after {key:?}"));
    let to = match &death.until {
        Some(until) => format!("up to {until:?}"),
        None => "up to the last one".to_owned(),
    };
    let message = format!(
        "{} agents died while they listed the keys {from} {to}; these were not looked at",
        death.lost
    );
    let place = first.map_or_else(Key::default, following);
    list(db, death, &place, ("agents_died_listing", message), (death.lost, now))?;
    runs::close_dead(db, id)?;
    tracing::warn!(range = id, "a range was given up, since agents die when they list it");
    Ok(())
}

/// A key right behind another one, to list a failure at.
fn following(key: &Key) -> Key {
    let mut bytes = key.as_bytes().to_vec();
    if bytes.len() < MAX_KEY_BYTES {
        bytes.push(0);
        return Key::from(bytes);
    }
    while bytes.last() == Some(&u8::MAX) {
        bytes.pop();
    }
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    Key::from(bytes)
}

fn list(
    db: &Connection,
    death: &Death,
    key: &Key,
    (code, message): (&str, String),
    (attempts, now): (i64, Timestamp),
) -> Result<(), Error> {
    let counters = match death.mode {
        SCAN => Counters { listed: 1, failed: 1, ..Counters::default() },
        _ => Counters { not_deleted: 1, ..Counters::default() },
    };
    count(db, death.run, death.destination, counters)?;
    let failure = Failure {
        key: key.clone(),
        destination: 0,
        class: FailureClass::Poison,
        code: code.to_owned(),
        message,
        s3_request_id: String::new(),
        attempts: uint32(attempts),
        first: now,
        last: now,
    };
    fail_keys(db, death.run, death.destination, &[failure])
}

const _: () = assert!(LOST_TOGETHER == 3, "the SQL above has this number");
