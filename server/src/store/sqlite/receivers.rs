//! Watch work: who receives from which queue. Rows of their own, as many for each queue as are to receive from it, leased by the same
//! rules as ranges; numbers above [`FIRST`] are theirs.

use rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use s3sync_proto::model::{
    EndpointSpec, Held, Name, News, Outcome, QueueSpec, Timestamp, Verdict, Watch, WorkError,
    WorkReport,
};

use super::row::{LEASED, READY, int, name, parse, time, uint, uint32};
use super::sessions;
use crate::plan::events::told_until;
use crate::plan::{FAILURE_PAUSE, REFUSAL_PAUSE, watch_pause};
use crate::store::{Error, Grant, SessionId, WatchView};

/// Numbers of watch work are above this, those of ranges below (the migration has it, too).
const FIRST: u64 = 1 << 52;

/// Whether a number is of watch work.
pub(super) const fn is_watch(held: Held) -> bool {
    held.id > FIRST
}

/// Makes queues have as many receivers as their settings say. One too many is taken from its holder.
pub(super) fn arm(db: &Connection) -> Result<(), Error> {
    db.execute("DELETE FROM receivers WHERE queue NOT IN (SELECT queue FROM watches)", [])?;
    let mut statement = db.prepare_cached(
        "SELECT queue, spec, (SELECT COUNT(*) FROM receivers WHERE receivers.queue = watches.queue)
         FROM watches JOIN queues ON queues.name = queue",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let queues: Vec<(String, String, i64)> = rows.collect::<Result<_, _>>()?;
    for (queue, spec, there) in queues {
        let spec: QueueSpec = parse(&spec)?;
        let wanted = i64::from(spec.receivers);
        for _ in there..wanted {
            db.execute("INSERT INTO receivers (queue) VALUES (?1)", [&queue])?;
        }
        // Those that nobody is go first.
        db.execute(
            "DELETE FROM receivers WHERE id IN
                 (SELECT id FROM receivers WHERE queue = ?1 ORDER BY state, id DESC LIMIT MAX(0, ?2))",
            params![queue, there - wanted],
        )?;
    }
    Ok(())
}

/// The settings by which a queue is reached have changed: it is leased anew.
pub(super) fn moved(db: &Connection, queue: &Name) -> Result<(), Error> {
    db.execute(
        "UPDATE receivers SET state = ?2, epoch = epoch + 1, session = NULL, attempts = 0, not_before = 0, reason = '',
             failed_until = 0
         WHERE queue = ?1",
        params![queue.as_str(), READY],
    )?;
    Ok(())
}

/// As [`moved`], of all queues that are reached through an endpoint.
pub(super) fn endpoint_moved(db: &Connection, endpoint: &Name) -> Result<(), Error> {
    let mut statement = db.prepare_cached(
        "SELECT queue FROM watches JOIN queues ON queues.name = queue
         WHERE json_extract(queues.spec, '$.endpoint') = ?1",
    )?;
    let queues: Vec<String> =
        statement.query_map([endpoint.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for queue in queues {
        moved(db, &name(&queue)?)?;
    }
    Ok(())
}

const VIEW: &str = "SELECT receivers.id, epoch, queue, queues.spec AS spec, refused_by, refused_until, failed_by, failed_until,
         session
     FROM receivers JOIN queues ON queues.name = queue";

/// Receivers that nobody is and that are due.
pub(super) fn ready(db: &Connection, now: Timestamp) -> Result<Vec<WatchView>, Error> {
    let sql = format!("{VIEW} WHERE state = 0 AND not_before <= ?1 ORDER BY receivers.id");
    let views = views(db, &sql, &[&now.as_micros()], now)?;
    Ok(views.into_iter().map(|(view, _)| view).collect())
}

/// Receivers, and the sessions that they are.
pub(super) fn watching(
    db: &Connection,
    now: Timestamp,
) -> Result<Vec<(WatchView, SessionId)>, Error> {
    let views = views(db, &format!("{VIEW} WHERE state = 1 ORDER BY receivers.id"), &[], now)?;
    Ok(views.into_iter().filter_map(|(view, session)| Some((view, session?))).collect())
}

fn views(
    db: &Connection,
    sql: &str,
    arguments: &[&dyn ToSql],
    now: Timestamp,
) -> Result<Vec<(WatchView, Option<SessionId>)>, Error> {
    let mut statement = db.prepare_cached(sql)?;
    let rows: Vec<_> = statement
        .query_map(arguments, |row| {
            let held = Held { id: uint(row.get("id")?), epoch: uint(row.get("epoch")?) };
            let texts: (String, String) = (row.get("queue")?, row.get("spec")?);
            let refused: Option<String> = row.get("refused_by")?;
            let failed: Option<String> = row.get("failed_by")?;
            let until = (time(row, "refused_until")?, time(row, "failed_until")?);
            let session: Option<i64> = row.get("session")?;
            Ok((held, texts, (refused, failed), until, session))
        })?
        .collect::<Result<_, _>>()?;
    let mut views = Vec::with_capacity(rows.len());
    for (held, (queue, spec), (refused, failed), until, session) in rows {
        let refused_by = refused.as_deref().filter(|_| until.0 > now).map(name).transpose()?;
        let failed_by = failed.as_deref().filter(|_| until.1 > now).map(name).transpose()?;
        let (queue, spec) = (name(&queue)?, parse(&spec)?);
        let view = WatchView { held, queue, spec, refused_by, failed_by };
        views.push((view, session.map(|session| SessionId(uint(session)))));
    }
    Ok(views)
}

pub(super) fn lease(
    db: &Connection,
    grants: &[Grant],
    now: Timestamp,
) -> Result<Vec<(SessionId, Watch)>, Error> {
    let mut watches = Vec::new();
    for grant in grants {
        let Some(answered) = sessions::answered(db, grant.session)? else { continue };
        let leased = db
            .prepare_cached(
                "UPDATE receivers SET state = 1, epoch = epoch + 1, session = ?3, lease_sequence = ?4, reason = '',
                     oldest_sent = NULL,
                     told = COALESCE((SELECT MIN(told) FROM receivers AS others
                                      WHERE others.queue = receivers.queue AND others.state = 1), told)
                 WHERE id = ?1 AND epoch = ?2 AND state = 0 AND not_before <= ?5
                 RETURNING queue",
            )?
            .query_row(
                params![
                    int(grant.held.id),
                    int(grant.held.epoch),
                    int(grant.session.0),
                    answered,
                    now.as_micros()
                ],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        let Some(queue) = leased else { continue };
        let held = Held { id: grant.held.id, epoch: grant.held.epoch + 1 };
        watches.push((grant.session, watch(db, held, &queue)?));
    }
    Ok(watches)
}

fn watch(db: &Connection, held: Held, queue: &str) -> Result<Watch, Error> {
    let spec: String =
        db.query_row("SELECT spec FROM queues WHERE name = ?1", [queue], |row| row.get(0))?;
    let spec: QueueSpec = parse(&spec)?;
    let endpoint: String = db.query_row(
        "SELECT spec FROM endpoints WHERE name = ?1",
        [spec.endpoint.as_str()],
        |row| row.get(0),
    )?;
    let endpoint: EndpointSpec = parse(&endpoint)?;
    Ok(Watch { held, queue: name(queue)?, spec, endpoint })
}

/// Sets why nobody is a receiver of a queue; empty where somebody could.
pub(super) fn explain(db: &Connection, reasons: &[(Name, String)]) -> Result<(), Error> {
    for (queue, reason) in reasons {
        db.prepare_cached(
            "UPDATE receivers SET reason = ?2 WHERE queue = ?1 AND reason <> ?2 AND state = 0",
        )?
        .execute(params![queue.as_str(), reason])?;
    }
    Ok(())
}

/// The queue of watch work whose holder's word still counts: it is held with this epoch, or was let go by expiry and
/// nobody has taken it since.
pub(super) fn queue_of(db: &Connection, held: Held) -> Result<Option<Name>, Error> {
    let sql = "SELECT queue FROM receivers WHERE id = ?1 AND epoch = ?2";
    let queue: Option<String> = db
        .prepare_cached(sql)?
        .query_row([int(held.id), int(held.epoch)], |row| row.get(0))
        .optional()?;
    queue.as_deref().map(name).transpose()
}

/// Who receives from a queue, and when the oldest of what they received last was sent.
pub(super) fn who(db: &Connection, queue: &Name) -> Result<(Vec<Name>, Option<Timestamp>), Error> {
    let sql = "SELECT agent, oldest_sent FROM receivers JOIN sessions ON sessions.id = session
               WHERE queue = ?1 AND state = 1 ORDER BY receivers.id";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([queue.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (mut agents, mut oldest) = (Vec::new(), None);
    for row in rows {
        let (agent, sent): (String, Option<i64>) = row?;
        agents.push(name(&agent)?);
        oldest = oldest.into_iter().chain(sent.map(Timestamp::from_micros)).min();
    }
    Ok((agents, oldest))
}

/// Why fewer receive from a queue than should.
pub(super) fn reason(db: &Connection, queue: &Name) -> Result<String, Error> {
    let sql = "SELECT reason FROM receivers WHERE queue = ?1 AND state = 0 AND reason <> '' ORDER BY id LIMIT 1";
    let found = db.prepare_cached(sql)?.query_row([queue.as_str()], |row| row.get(0));
    Ok(found.optional()?.unwrap_or_default())
}

/// Until when all that changed was told to a job that follows a queue; `None` when that is not known, or nobody receives. Another
/// receiver that is quick says nothing of what a slow one, or one that has just died, has in its hands.
pub(super) fn all_told(db: &Connection, job: &Name) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT MIN(told) FROM receivers WHERE queue = (SELECT queue FROM job_events WHERE job = ?1) AND state = 1";
    let told: Option<i64> = db.prepare_cached(sql)?.query_row([job.as_str()], |row| row.get(0))?;
    Ok(told.map(Timestamp::from_micros))
}

/// A receiver told something. What `told` has is until when that was all.
pub(super) fn told(db: &Connection, held: Held, news: &News, now: Timestamp) -> Result<(), Error> {
    let until = told_until(news, now).map(Timestamp::as_micros);
    let oldest = news.state.as_ref().map(|state| state.oldest_sent.map(Timestamp::as_micros));
    db.prepare_cached(
        "UPDATE receivers SET told = COALESCE(?2, told), attempts = 0, reason = '', oldest_sent = CASE WHEN ?3 THEN ?4 ELSE oldest_sent END
         WHERE id = ?1",
    )?
    .execute(params![int(held.id), until, oldest.is_some(), oldest.flatten()])?;
    Ok(())
}

/// The last word of a holder.
pub(super) fn report(
    db: &Connection,
    report: &WorkReport,
    now: Timestamp,
) -> Result<Verdict, Error> {
    let Some(queue) = queue_of(db, report.held)? else { return Ok(Verdict::Stale) };
    match &report.outcome {
        Outcome::Checkpoint => {}
        Outcome::Yielded | Outcome::Completed => let_go(db, report.held.id, 1)?,
        Outcome::Errored(error) => {
            let (attempts, agent): (i64, Option<String>) = db.query_row(
                "UPDATE receivers SET attempts = attempts + 1 WHERE id = ?1
                 RETURNING attempts, (SELECT agent FROM sessions WHERE sessions.id = session)",
                [int(report.held.id)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let why = format!("{}: {}", error.code, error.message);
            tracing::warn!(%queue, code = error.code, reason = error.message, "a queue is not read");
            let_go(db, report.held.id, 1)?;
            let pause = now.plus(watch_pause(uint32(attempts))).as_micros();
            db.execute(
                "UPDATE receivers SET reason = ?2, not_before = ?3, failed_by = ?4, failed_until = ?5 WHERE id = ?1",
                params![int(report.held.id), why, pause, agent, now.plus(FAILURE_PAUSE).as_micros()],
            )?;
        }
    }
    Ok(Verdict::Applied)
}

/// Watch work comes back unstarted.
pub(super) fn refuse(
    db: &Connection,
    held: Held,
    agent: &Name,
    error: &WorkError,
    now: Timestamp,
) -> Result<Verdict, Error> {
    if queue_of(db, held)?.is_none() {
        return Ok(Verdict::Stale);
    }
    let why = format!("{agent}: {}: {}", error.code, error.message);
    let until = now.plus(REFUSAL_PAUSE).as_micros();
    db.execute(
        "UPDATE receivers SET refused_by = ?2, refused_until = ?3, reason = ?4 WHERE id = ?1",
        params![int(held.id), agent.as_str(), until, why],
    )?;
    let_go(db, held.id, 1)?;
    Ok(Verdict::Applied)
}

/// Nobody holds it any more. A late word counts while the epoch is the same (`more` 0).
fn let_go(db: &Connection, id: u64, more: i64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE receivers SET state = 0, session = NULL, epoch = epoch + ?2 WHERE id = ?1",
    )?
    .execute(params![int(id), more])?;
    Ok(())
}

/// What a session receives from.
pub(super) fn held_by(db: &Connection, session: i64) -> Result<Vec<Held>, Error> {
    let sql = "SELECT id, epoch FROM receivers WHERE session = ?1 AND state = 1 ORDER BY id";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([session], |row| {
        Ok(Held { id: uint(row.get("id")?), epoch: uint(row.get("epoch")?) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// An agent that dialled again states that it receives from a queue; it is its own again if nobody has taken it since.
pub(super) fn resume(
    db: &Connection,
    held: Held,
    session: i64,
    earlier: Option<&i64>,
) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE receivers SET session = ?3, state = 1, lease_sequence = 0
         WHERE id = ?1 AND epoch = ?2 AND (state = 0 OR (state = 1 AND session IS ?4))",
    )?
    .execute(params![int(held.id), int(held.epoch), session, earlier])?;
    Ok(())
}

/// Lets go of all that a session receives from.
pub(super) fn release(db: &Connection, session: i64) -> Result<(), Error> {
    db.prepare_cached("UPDATE receivers SET state = 0, session = NULL WHERE session = ?1")?
        .execute([session])?;
    Ok(())
}

/// Lets go of what was lost on the way to an agent: see [`sessions::renew`].
pub(super) fn unheld(
    db: &Connection,
    session: i64,
    last_lease: u64,
    stated: &[Held],
) -> Result<(), Error> {
    let sql = "SELECT id, epoch FROM receivers WHERE session = ?1 AND state = 1 AND lease_sequence + 1 < ?2";
    let mut statement = db.prepare_cached(sql)?;
    let settled: Vec<Held> = statement
        .query_map([session, int(last_lease)], |row| {
            Ok(Held { id: uint(row.get("id")?), epoch: uint(row.get("epoch")?) })
        })?
        .collect::<Result<_, _>>()?;
    for held in settled.iter().filter(|held| !stated.contains(held)) {
        let_go(db, held.id, 0)?;
    }
    Ok(())
}

const _: () = assert!(READY == 0 && LEASED == 1, "the SQL above has these numbers");
