//! Columns and domain values, and what several modules ask of the database.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use s3sync_proto::model::{Key, Name, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pause::PAUSED;
use super::{figures, keys};
use crate::store::Error;

/// States of a range, as they are stored.
pub(super) const READY: i64 = 0;
pub(super) const LEASED: i64 = 1;
pub(super) const DONE: i64 = 2;
pub(super) const GIVEN_UP: i64 = 3;

/// An unsigned number as SQLite keeps it. Ids, epochs and counts stay far below 2^63.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number that was unsigned.
pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A stored number that was a small unsigned one.
pub(super) fn uint32(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// A column that holds a key.
pub(super) fn key(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Key>> {
    Ok(row.get::<_, Option<Vec<u8>>>(column)?.map(Key::from))
}

/// A key as a column holds it.
pub(super) fn blob(key: Option<&Key>) -> Option<&[u8]> {
    key.map(Key::as_bytes)
}

/// A column that holds a time.
pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

/// A column that holds a name.
pub(super) fn name(text: &str) -> Result<Name, Error> {
    text.parse().map_err(|error: s3sync_proto::model::NotAName| Error::Unavailable(Box::new(error)))
}

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    Ok(serde_json::to_string(value)?)
}

/// A value from JSON text.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    Ok(serde_json::from_str(text)?)
}

/// A unit enum as the word it is stored as.
pub(super) fn word<T: Serialize>(value: T) -> Result<String, Error> {
    let value = serde_json::to_value(value)?;
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::Invalid(format!("{value} is not a word")))
}

/// A unit enum from the word it is stored as.
pub(super) fn from_word<T: DeserializeOwned>(word: &str) -> Result<T, Error> {
    Ok(serde_json::from_value(serde_json::Value::String(word.to_owned()))?)
}

/// The next revision of runs.
pub(super) fn next_revision(db: &Connection) -> Result<i64, Error> {
    Ok(db.query_row("UPDATE meta SET revision = revision + 1 RETURNING revision", [], |row| {
        row.get(0)
    })?)
}

/// Marks a run as changed.
pub(super) fn touch_run(db: &Connection, run: i64) -> Result<(), Error> {
    let revision = next_revision(db)?;
    db.execute("UPDATE runs SET revision = ?2 WHERE id = ?1", params![run, revision])?;
    Ok(())
}

/// A range and what of its run matters for its transitions.
pub(super) struct RangeRow {
    pub(super) id: i64,
    pub(super) run: i64,
    pub(super) destination: i64,
    pub(super) after: Option<Key>,
    pub(super) until: Option<Key>,
    pub(super) cursor: Option<Key>,
    pub(super) state: i64,
    pub(super) epoch: i64,
    pub(super) cancelling: bool,
    pub(super) paused: bool,
    /// It was leased only to abort its uploads.
    pub(super) reap: bool,
    /// Where it has its keys from, when it is a key work.
    pub(super) pool: Option<i64>,
    /// The same, when its keys come from events.
    pub(super) events: Option<i64>,
    /// Whether it scans, counts or deletes.
    pub(super) mode: i64,
}

/// One range, if it is there.
pub(super) fn range(db: &Connection, id: u64) -> Result<Option<RangeRow>, Error> {
    let sql =
        "SELECT ranges.id, run, destination, after, until, cursor, ranges.state, epoch, reap, pool, mode,
                      runs.state AS run_state, runs.trigger AS run_trigger
               FROM ranges JOIN runs ON runs.id = run WHERE ranges.id = ?1";
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_row([int(id)], |row| {
        let run_state: String = row.get("run_state")?;
        Ok(RangeRow {
            id: row.get("id")?,
            run: row.get("run")?,
            destination: row.get("destination")?,
            after: key(row, "after")?,
            until: key(row, "until")?,
            cursor: key(row, "cursor")?,
            state: row.get("state")?,
            epoch: row.get("epoch")?,
            cancelling: run_state == CANCELLING,
            paused: run_state == PAUSED,
            reap: row.get("reap")?,
            pool: row.get("pool")?,
            events: match row.get::<_, String>("run_trigger")?.as_str() {
                EVENTS => row.get("pool")?,
                _ => None,
            },
            mode: row.get("mode")?,
        })
    });
    Ok(found.optional()?)
}

/// The word of `Trigger::Events`; a test holds the two together.
pub(super) const EVENTS: &str = "events";

/// The word of `RunState::Cancelling`; a test holds the two together.
pub(super) const CANCELLING: &str = "cancelling";

impl RangeRow {
    /// Whether a message of this epoch still counts: the range is held with it, or was let go by expiry and nobody has
    /// taken it since.
    pub(super) fn is_current(&self, epoch: u64) -> bool {
        self.epoch == int(epoch) && (self.state == LEASED || self.state == READY)
    }
}

/// How many ranges a destination of a run was cut into, open and done.
pub(super) fn ranges_of(db: &Connection, run: i64, destination: i64) -> Result<u32, Error> {
    let sql = "SELECT COUNT(*) FROM ranges WHERE run = ?1 AND destination = ?2";
    let count = db.prepare_cached(sql)?.query_row([run, destination], |row| row.get(0))?;
    Ok(uint32(count))
}

/// How a range is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    /// Its session ended: a late report with the same epoch still counts.
    KeepEpoch,
    /// As before, and its holder died.
    Lost,
    /// Its holder said so: a repetition of what it said must not count again.
    NewEpoch,
}

/// Puts a range back, or closes it when its run is being cancelled and no upload of it is open.
pub(super) fn let_go(db: &Connection, range: i64, how: LetGo) -> Result<(), Error> {
    let (epoch, lost) = match how {
        LetGo::KeepEpoch => (0, 0),
        LetGo::Lost => (0, 1),
        LetGo::NewEpoch => (1, 0),
    };
    db.prepare_cached(
        "UPDATE ranges SET session = NULL, leased_at = NULL, epoch = epoch + ?2, lost = lost + ?3,
             state = CASE WHEN (SELECT state FROM runs WHERE runs.id = run) = 'cancelling'
                           AND NOT EXISTS (SELECT 1 FROM upload_intents WHERE range = ranges.id)
                     THEN 2 ELSE 0 END
         WHERE id = ?1",
    )?
    .execute(params![range, epoch, lost])?;
    if how == LetGo::Lost {
        figures::lost(db, range)?;
        keys::suspect(db, range)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use s3sync_proto::model::{RunState, Trigger};

    use super::*;

    #[test]
    fn states_are_words() {
        assert_eq!(word(RunState::Cancelling).unwrap(), CANCELLING);
        assert_eq!(word(Trigger::Events).unwrap(), EVENTS);
        assert_eq!(
            from_word::<RunState>("finished_with_failures").unwrap(),
            RunState::FinishedWithFailures
        );
        assert_eq!([READY, LEASED, DONE, GIVEN_UP], [0, 1, 2, 3], "the SQL has these numbers");
    }
}
