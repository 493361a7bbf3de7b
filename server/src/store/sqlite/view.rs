//! How a run stands right now: its ranges, who holds them, and what an earlier run lets expect.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use s3sync_proto::model::{
    FEATURE_ACTIVITY, HeldRange, JobSpec, KeyRange, MAX_HELD_SHOWN, Name, RangeState, RangeStrip,
    Run, RunAgent, RunName, RunStage, RunView, Timestamp, Trigger,
};

use super::row::{DONE, GIVEN_UP, LEASED, key, name, parse, time, uint, uint32};
use super::{deletes, runs};
use crate::store::{Error, MAX_AGENTS_SHOWN, SessionId};

pub(super) fn of(
    db: &Connection,
    job: &Name,
    number: Option<u64>,
    now: Timestamp,
) -> Result<(RunView, Vec<Option<SessionId>>), Error> {
    let run = runs::get(db, job, number)?;
    let id = runs::row_of(db, &run.name)?;
    let (spec, _) = runs::spec(db, id)?;
    let stage = stage(db, id, &run)?;
    let mut strips = vec![RangeStrip::default(); spec.destinations.len()];
    let held = ranges(db, id, now, &mut strips)?;
    let expected_by = expect(db, id, &run, &spec, &mut strips)?;
    let (agents, sessions, more_agents) = agents(db, id)?;
    let (connected_agents, free_places) = places(db)?;
    let view = RunView {
        run,
        time: now,
        stage,
        source: spec.source,
        limits: spec.limits,
        strips,
        held,
        agents,
        more_agents,
        connected_agents,
        free_places,
        expected_by,
    };
    Ok((view, sessions))
}

fn stage(db: &Connection, id: i64, run: &Run) -> Result<RunStage, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pools WHERE run = ?1)";
    if run.trigger == Trigger::Events || db.query_row(sql, [id], |row| row.get(0))? {
        return Ok(RunStage::Keys);
    }
    Ok(deletes::stage(db, id)?.unwrap_or(RunStage::Scan))
}

/// Fills in how each range stands, in the order of keys; those that are held are told in full.
fn ranges(
    db: &Connection,
    run: i64,
    now: Timestamp,
    strips: &mut [RangeStrip],
) -> Result<Vec<HeldRange>, Error> {
    let sql =
        "SELECT destination, ranges.state, MAX(not_before, late_until) AS not_before, after, ranges.until AS until, cursor, leased_at, lost, agent
               FROM ranges LEFT JOIN sessions ON sessions.id = session
               WHERE run = ?1 ORDER BY destination, after, ranges.id";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([run])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        let destination: u32 = row.get("destination")?;
        let index = usize::try_from(destination).unwrap_or(usize::MAX);
        let Some(strip) = strips.get_mut(index) else { continue };
        let holder: Option<String> = row.get("agent")?;
        let state = state(row, now)?;
        if let Some(agent) = holder.filter(|_| state == RangeState::Held)
            && held.len() < MAX_HELD_SHOWN
        {
            let position = u32::try_from(strip.states.len()).unwrap_or(u32::MAX);
            held.push(held_range(row, destination, position, name(&agent)?)?);
        }
        strip.states.push(state);
    }
    Ok(held)
}

fn state(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<RangeState> {
    Ok(match row.get("state")? {
        LEASED => RangeState::Held,
        DONE => RangeState::Done,
        GIVEN_UP => RangeState::GivenUp,
        _ if time(row, "not_before")? > now => RangeState::PutOff,
        _ => RangeState::Waiting,
    })
}

fn held_range(
    row: &Row<'_>,
    destination: u32,
    position: u32,
    agent: Name,
) -> rusqlite::Result<HeldRange> {
    let since: Option<i64> = row.get("leased_at")?;
    Ok(HeldRange {
        destination,
        position,
        agent,
        since: Timestamp::from_micros(since.unwrap_or_default()),
        range: KeyRange { after: key(row, "after")?, until: key(row, "until")? },
        cursor: key(row, "cursor")?,
        lost: uint32(row.get("lost")?),
    })
}

/// Fills in how many keys there are about, and returns the run that this is known from, if it is another one.
fn expect(
    db: &Connection,
    id: i64,
    run: &Run,
    spec: &JobSpec,
    strips: &mut [RangeStrip],
) -> Result<Option<RunName>, Error> {
    if run.trigger == Trigger::Retry {
        // What is still in the pool, and what was looked at.
        let sql =
            "SELECT pools.destination, COUNT(*) FROM pools JOIN pending_keys ON pool = pools.id
                   WHERE run = ?1 GROUP BY pools.destination";
        let mut statement = db.prepare_cached(sql)?;
        let left: BTreeMap<u32, i64> = statement
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (index, (strip, one)) in (0..).zip(strips.iter_mut().zip(&run.destinations)) {
            let left = left.get(&index).copied().unwrap_or_default();
            strip.expected_keys = Some(one.counters.listed + uint(left));
        }
        return Ok(None);
    }
    if run.trigger == Trigger::Events {
        return Ok(None);
    }
    let sql =
        "SELECT id, number FROM runs WHERE job = ?1 AND id < ?2 AND trigger NOT IN ('retry', 'events')
               AND state IN ('succeeded', 'finished_with_failures', 'incomplete') ORDER BY id DESC LIMIT 1";
    let earlier: Option<(i64, i64)> = db
        .prepare_cached(sql)?
        .query_row(params![run.name.job.as_str(), id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((earlier, number)) = earlier else { return Ok(None) };
    let (before, _) = runs::spec(db, earlier)?;
    if before.source != spec.source || before.filter != spec.filter {
        return Ok(None);
    }
    let mut found = None;
    for (strip, destination) in strips.iter_mut().zip(&spec.destinations) {
        let mut places = before.destinations.iter();
        let Some(place) = places.position(|one| one.location == destination.location) else {
            continue;
        };
        let listed = runs::destinations(db, earlier)?.get(place).map(|one| one.counters.listed);
        strip.expected_keys = listed;
        found = Some(RunName { job: run.name.job.clone(), number: uint(number) });
    }
    Ok(found)
}

/// Agents that hold work of the run, their sessions where these tell what they do, and how many more there are.
type Agents = (Vec<RunAgent>, Vec<Option<SessionId>>, u32);

fn agents(db: &Connection, run: i64) -> Result<Agents, Error> {
    let sql = "SELECT name, sessions.id AS session, capacity, draining, features, held FROM
                   (SELECT session, COUNT(*) AS held FROM ranges WHERE run = ?1 AND state = 1 GROUP BY session) AS work
               JOIN sessions ON sessions.id = work.session JOIN agents ON agents.name = sessions.agent
               ORDER BY agents.name";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([run])?;
    let (mut agents, mut sessions, mut more) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if agents.len() >= MAX_AGENTS_SHOWN {
            more += 1;
            continue;
        }
        agents.push(RunAgent {
            agent: name(&row.get::<_, String>("name")?)?,
            held: uint32(row.get("held")?),
            capacity: uint32(row.get("capacity")?),
            draining: row.get("draining")?,
            activity: Err(String::new()),
        });
        let features: Vec<String> = parse(&row.get::<_, String>("features")?)?;
        let tells = features.iter().any(|feature| feature == FEATURE_ACTIVITY);
        sessions.push(tells.then_some(SessionId(uint(row.get("session")?))));
    }
    Ok((agents, sessions, more))
}

/// Connected agents, and how much more work they would take.
fn places(db: &Connection) -> Result<(u32, u32), Error> {
    let sql = "SELECT COUNT(*), COALESCE(SUM(CASE WHEN draining THEN 0 ELSE MAX(0, capacity -
                   (SELECT COUNT(*) FROM ranges WHERE session = sessions.id AND state = 1)) END), 0)
               FROM sessions JOIN agents ON agents.name = sessions.agent";
    let (connected, free): (i64, i64) =
        db.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((uint32(connected), uint32(free)))
}
