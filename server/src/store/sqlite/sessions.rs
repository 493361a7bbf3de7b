//! Agents and their sessions.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{Agent, AgentState, Held, State, Timestamp};

use super::row::{
    LEASED, LetGo, READY, int, json, let_go, name, parse, time, touch_run, uint, uint32,
};
use super::{reaps, receivers, runs, suspects};
use crate::store::{Error, OpenSession, Opened, SessionId};

pub(super) fn agents(db: &Connection) -> Result<Vec<Agent>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT agents.*, sessions.id AS session,
                (SELECT COUNT(*) FROM ranges WHERE session = sessions.id AND state = 1) AS held
         FROM agents LEFT JOIN sessions ON sessions.agent = agents.name ORDER BY agents.name",
    )?;
    let rows = statement.query_map([], |row| {
        let texts: (String, String, String, String) =
            (row.get("name")?, row.get("labels")?, row.get("endpoints")?, row.get("features")?);
        let connected: Option<i64> = row.get("session")?;
        let state = match (connected.is_some(), row.get::<_, bool>("draining")?) {
            (false, _) => AgentState::Offline,
            (true, true) => AgentState::Draining,
            (true, false) => AgentState::Online,
        };
        let numbers: (i64, i64) = (row.get("held")?, row.get("capacity")?);
        Ok((
            texts,
            state,
            numbers,
            row.get::<_, String>("version")?,
            time(row, "last_seen")?,
            time(row, "connected")?,
        ))
    })?;
    let mut agents = Vec::new();
    for row in rows {
        let (
            (text, labels, endpoints, features),
            state,
            (held, capacity),
            version,
            last_seen,
            connected,
        ) = row?;
        agents.push(Agent {
            name: name(&text)?,
            state,
            labels: parse(&labels)?,
            endpoints: parse(&endpoints)?,
            version,
            held: uint32(held),
            capacity: uint32(capacity),
            last_seen,
            connected,
            features: parse(&features)?,
        });
    }
    Ok(agents)
}

pub(super) fn open(db: &Connection, open: &OpenSession, now: Timestamp) -> Result<Opened, Error> {
    let hello = &open.hello;
    db.execute(
        "INSERT INTO agents (name, labels, endpoints, features, version, capacity, draining, last_seen, connected)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?7)
         ON CONFLICT (name) DO UPDATE SET labels = ?2, endpoints = ?3, features = ?4, version = ?5, capacity = ?6,
             draining = 0, last_seen = ?7, connected = ?7",
        params![
            hello.agent.as_str(),
            json(&hello.labels)?,
            json(&hello.endpoints)?,
            json(&open.features)?,
            hello.version,
            hello.capacity,
            now.as_micros()
        ],
    )?;
    let before: Option<(i64, String, Timestamp)> = db
        .query_row(
            "DELETE FROM sessions WHERE agent = ?1 RETURNING id, instance, until",
            [hello.agent.as_str()],
            |row| Ok((row.get("id")?, row.get("instance")?, time(row, "until")?)),
        )
        .optional()?;
    db.execute(
        "INSERT INTO sessions (agent, instance, until) VALUES (?1, ?2, ?3)",
        params![hello.agent.as_str(), hello.instance_id, open.until.as_micros()],
    )?;
    let session = db.last_insert_rowid();
    // What the agent holds and nobody has taken since is its own again, also after an expiry.
    let earlier = before.as_ref().map(|(id, ..)| id);
    for held in &hello.held {
        if receivers::is_watch(*held) {
            receivers::resume(db, *held, session, earlier)?;
            continue;
        }
        let run: Option<i64> = db
            .prepare_cached(
                "UPDATE ranges SET session = ?3, state = 1, lease_sequence = 0, leased_at = COALESCE(leased_at, ?5),
                     late_until = 0
                 WHERE id = ?1 AND epoch = ?2 AND (state = 0 OR (state = 1 AND session IS ?4)) RETURNING run",
            )?
            .query_row(
                params![int(held.id), int(held.epoch), session, earlier, now.as_micros()],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(run) = run {
            touch_run(db, run)?;
        }
    }
    if let Some((before, instance, until)) = &before {
        if *instance == hello.instance_id {
            // It says that it holds none of the rest, so nothing of it is under way.
            release(db, *before, LetGo::KeepEpoch, now)?;
        } else {
            // Another process of that name: the earlier one died with its work, or is cut off and does not know.
            may_come_late(db, *before, *until)?;
            release(db, *before, LetGo::Lost, now)?;
        }
    }
    Ok(Opened {
        session: SessionId(uint(session)),
        superseded: before.map(|(id, ..)| SessionId(uint(id))),
        confirmed: held_by(db, session)?,
    })
}

/// What is leased to a session.
fn held_by(db: &Connection, session: i64) -> Result<Vec<Held>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT id, epoch FROM ranges WHERE session = ?1 AND state = 1 ORDER BY id",
    )?;
    let rows = statement.query_map([session], |row| {
        Ok(Held { id: uint(row.get("id")?), epoch: uint(row.get("epoch")?) })
    })?;
    let mut held: Vec<Held> = rows.collect::<Result<_, _>>()?;
    held.extend(receivers::held_by(db, session)?);
    Ok(held)
}

/// A session ends with work in its hands before it expires. What its process has begun to commit may still arrive, and if it
/// lives and does not know of its end, it may begin more: so nobody else gets this work before the session would have expired.
fn may_come_late(db: &Connection, session: i64, until: Timestamp) -> Result<(), Error> {
    db.prepare_cached("UPDATE ranges SET late_until = ?2 WHERE session = ?1 AND state = 1")?
        .execute([session, until.as_micros()])?;
    Ok(())
}

/// Lets go of everything a session holds.
fn release(db: &Connection, session: i64, how: LetGo, now: Timestamp) -> Result<(), Error> {
    let mut statement =
        db.prepare_cached("SELECT id, run FROM ranges WHERE session = ?1 AND state = ?2")?;
    let held: Vec<(i64, i64)> = statement
        .query_map(params![session, LEASED], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (range, run) in held {
        let_go(db, range, how)?;
        if how == LetGo::Lost {
            suspects::died(db, range, now)?;
            reaps::died(db, range, now)?;
        }
        touch_run(db, run)?;
        runs::settle(db, run, now)?;
    }
    receivers::release(db, session)
}

pub(super) fn renew(
    db: &Connection,
    session: SessionId,
    state: &State,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<Held>, Error> {
    let id = int(session.0);
    let agent: Option<String> = db
        .prepare_cached(
            "UPDATE sessions SET until = ?2, answered = ?3 WHERE id = ?1 RETURNING agent",
        )?
        .query_row(params![id, until.as_micros(), int(state.sequence)], |row| row.get(0))
        .optional()?;
    let agent = agent.ok_or(Error::SessionGone)?;
    db.prepare_cached(
        "UPDATE agents SET capacity = ?2, draining = ?3, last_seen = ?4 WHERE name = ?1",
    )?
    .execute(params![agent, state.capacity, state.draining, now.as_micros()])?;
    // The stream keeps its order: what was leased before a lease that the agent has seen, and the agent does not
    // hold, was lost on the way. One lease of grace, since an assignment is sent a moment after it is recorded.
    let mut statement = db.prepare_cached(
        "SELECT id, epoch, run FROM ranges WHERE session = ?1 AND state = 1 AND lease_sequence + 1 < ?2",
    )?;
    let settled: Vec<(Held, i64)> = statement
        .query_map(params![id, int(state.last_lease)], |row| {
            let held = Held { id: uint(row.get("id")?), epoch: uint(row.get("epoch")?) };
            Ok((held, row.get("run")?))
        })?
        .collect::<Result<_, _>>()?;
    for (held, run) in settled.into_iter().filter(|(held, _)| !state.held.contains(held)) {
        let_go(db, int(held.id), LetGo::KeepEpoch)?;
        touch_run(db, run)?;
        runs::settle(db, run, now)?;
    }
    receivers::unheld(db, id, state.last_lease, &state.held)?;
    held_by(db, id)
}

pub(super) fn close(db: &Connection, session: SessionId, now: Timestamp) -> Result<(), Error> {
    let id = int(session.0);
    let until: Option<Timestamp> = db
        .query_row("DELETE FROM sessions WHERE id = ?1 RETURNING until", [id], |row| {
            time(row, "until")
        })
        .optional()?;
    if let Some(until) = until {
        // Who leaves in order holds nothing, unless it could not wait for what was under way.
        may_come_late(db, id, until)?;
    }
    release(db, id, LetGo::KeepEpoch, now)
}

/// Sessions that were due before `now`.
pub(super) fn due(db: &Connection, now: Timestamp) -> Result<Vec<i64>, Error> {
    let mut statement = db.prepare_cached("SELECT id FROM sessions WHERE until < ?1")?;
    let rows = statement.query_map([now.as_micros()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn expire(db: &Connection, now: Timestamp) -> Result<Vec<SessionId>, Error> {
    let due = due(db, now)?;
    for id in &due {
        release(db, *id, LetGo::Lost, now)?;
        db.execute("DELETE FROM sessions WHERE id = ?1", [id])?;
    }
    Ok(due.into_iter().map(|id| SessionId(uint(id))).collect())
}

pub(super) fn extend(db: &Connection, until: Timestamp) -> Result<(), Error> {
    db.execute("UPDATE sessions SET until = MAX(until, ?1)", [until.as_micros()])?;
    Ok(())
}

/// Whether a session is open, and which state of it was answered last.
pub(super) fn answered(db: &Connection, session: SessionId) -> Result<Option<i64>, Error> {
    let sql = "SELECT answered FROM sessions WHERE id = ?1";
    Ok(db.prepare_cached(sql)?.query_row([int(session.0)], |row| row.get(0)).optional()?)
}

const _: () = assert!(READY == 0 && LEASED == 1, "the SQL above has these numbers");
