//! What events left to be done about one key, for a person who asks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, params};
use s3sync_proto::model::{Key, Location, Name, RunName, Timestamp};

use super::event_deletes::WAITS;
use super::row::{time, uint, uint32};
use super::runs;
use crate::store::{DirtyRow, Error};

/// A key in the pools of a job's runs of events that go on, the newest run first. At most as many rows as there are pools.
const ROWS: &str =
    "SELECT runs.id AS run, runs.number, runs.state = 'paused' AS paused, runs.reason AS why, pools.destination,
            dirty.generation, dirty.generation > COALESCE(dirty.taken, dirty.generation) AS again, dirty.looks,
            dirty.first, MAX(dirty.first, dirty.latest) AS latest, dirty.not_before, dirty.sequencer, dirty.gone,
            sessions.agent, CASE WHEN ranges.state = 0 THEN late_until ELSE 0 END AS late_until, event_guards.reason AS guard
     FROM runs JOIN pools ON pools.run = runs.id JOIN pending_keys AS dirty ON dirty.pool = pools.id
     LEFT JOIN ranges ON ranges.id = dirty.work AND ranges.state < 2
     LEFT JOIN sessions ON sessions.id = ranges.session
     LEFT JOIN event_guards ON event_guards.pool = pools.id
     WHERE runs.job = ?1 AND runs.ended IS NULL AND runs.trigger = 'events' AND dirty.key = ?2
     ORDER BY runs.number DESC, pools.destination";

pub(super) fn of(
    db: &Connection,
    job: &Name,
    key: &Key,
) -> Result<Vec<(Location, DirtyRow)>, Error> {
    let mut statement = db.prepare_cached(ROWS)?;
    let rows: Vec<(i64, i64, DirtyRow)> = statement
        .query_map(params![job.as_str(), key.as_bytes()], |row| {
            let number: i64 = row.get("number")?;
            let (why, guard): (String, Option<String>) = (row.get("why")?, row.get("guard")?);
            let found = DirtyRow {
                run: RunName { job: job.clone(), number: uint(number) },
                since: time(row, "first")?,
                latest: time(row, "latest")?,
                sequencer: row.get("sequencer")?,
                reasons: uint(row.get("generation")?),
                looks: uint32(row.get("looks")?),
                // A key that waits for a person is due never.
                not_before: Timestamp::from_micros(row.get("not_before")?),
                is_gone: row.get::<_, i64>("gone")? != 0,
                awaits: row.get::<_, i64>("gone")? == WAITS,
                guard: guard.unwrap_or_default(),
                holder: row.get("agent")?,
                again: row.get("again")?,
                late_until: time(row, "late_until")?,
                paused: row.get::<_, bool>("paused")?.then_some(why),
            };
            Ok((row.get("run")?, row.get("destination")?, found))
        })?
        .collect::<Result<_, _>>()?;
    let mut found: BTreeMap<i64, Vec<Location>> = BTreeMap::new();
    let mut dirty: Vec<(Location, DirtyRow)> = Vec::with_capacity(rows.len());
    for (run, destination, row) in rows {
        if let Entry::Vacant(unknown) = found.entry(run) {
            let (spec, _) = runs::spec(db, run)?;
            unknown.insert(spec.destinations.into_iter().map(|one| one.location).collect());
        }
        let place = usize::try_from(destination).ok().and_then(|index| found[&run].get(index));
        let Some(place) = place.filter(|place| dirty.iter().all(|(known, _)| known != *place))
        else {
            continue;
        };
        dirty.push((place.clone(), row));
    }
    Ok(dirty)
}
