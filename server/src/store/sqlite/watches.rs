//! Watch work: who receives from which queue. Rows of their own, leased by the same rules as ranges; numbers above
//! [`FIRST`] are theirs.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    EndpointSpec, Held, Name, News, Outcome, QueueSpec, QueueState, QueueStatus, Timestamp,
    UnreadableMessage, Verdict, Watch, WorkError, WorkReport,
};

use super::row::{LEASED, READY, int, json, name, parse, time, uint, uint32};
use super::sessions;
use crate::plan::events::silence as silence_of;
use crate::plan::{REFUSAL_PAUSE, watch_pause};
use crate::store::{Error, Grant, SessionId, WatchView};

/// Numbers of watch work are above this, those of ranges below (the migration has it, too).
const FIRST: u64 = 1 << 52;

/// Messages that could not be read, of a queue, that are kept to be shown.
const KEPT_UNREADABLE: i64 = 10;

/// Whether a number is of watch work.
pub(super) const fn is_watch(held: Held) -> bool {
    held.id > FIRST
}

/// Makes the rows be those of the queues that jobs name. A queue whose settings changed, or whose endpoint's did, is taken
/// from its holder.
pub(super) fn arm(db: &Connection) -> Result<(), Error> {
    db.execute(
        "DELETE FROM watches WHERE queue NOT IN (SELECT queue FROM job_events)
             OR queue NOT IN (SELECT name FROM queues)",
        [],
    )?;
    db.execute(
        "DELETE FROM unreadable_messages WHERE queue NOT IN (SELECT queue FROM watches)",
        [],
    )?;
    db.execute(
        "INSERT INTO watches (queue) SELECT DISTINCT queue FROM job_events WHERE true
         ON CONFLICT (queue) DO NOTHING",
        [],
    )?;
    Ok(())
}

/// The settings by which a queue is reached have changed: it is leased anew.
pub(super) fn moved(db: &Connection, queue: &Name) -> Result<(), Error> {
    db.execute(
        "UPDATE watches SET state = ?2, epoch = epoch + 1, session = NULL, attempts = 0, not_before = 0, reason = ''
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

/// Queues that nobody receives from and that are due.
pub(super) fn ready(db: &Connection, now: Timestamp) -> Result<Vec<WatchView>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT watches.id, epoch, queue, queues.spec AS spec, refused_by, refused_until
         FROM watches JOIN queues ON queues.name = queue
         WHERE state = 0 AND not_before <= ?1 ORDER BY watches.id",
    )?;
    let rows: Vec<_> = statement
        .query_map([now.as_micros()], |row| {
            let held = Held { id: uint(row.get("id")?), epoch: uint(row.get("epoch")?) };
            let texts: (String, String) = (row.get("queue")?, row.get("spec")?);
            let refused: Option<String> = row.get("refused_by")?;
            Ok((held, texts, refused, time(row, "refused_until")?))
        })?
        .collect::<Result<_, _>>()?;
    let mut views = Vec::with_capacity(rows.len());
    for (held, (queue, spec), refused_by, until) in rows {
        let refused_by = refused_by.as_deref().filter(|_| until > now).map(name).transpose()?;
        views.push(WatchView { held, queue: name(&queue)?, spec: parse(&spec)?, refused_by });
    }
    Ok(views)
}

/// How many queues sessions receive from.
pub(super) fn watching(db: &Connection) -> Result<BTreeMap<SessionId, u32>, Error> {
    let sql = "SELECT session, COUNT(*) FROM watches WHERE state = 1 GROUP BY session";
    let mut statement = db.prepare_cached(sql)?;
    let rows =
        statement.query_map([], |row| Ok((SessionId(uint(row.get(0)?)), uint32(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
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
                "UPDATE watches SET state = 1, epoch = epoch + 1, session = ?3, lease_sequence = ?4, reason = ''
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

/// Sets why nobody receives; empty where somebody could.
pub(super) fn explain(db: &Connection, reasons: &[(Name, String)]) -> Result<(), Error> {
    for (queue, reason) in reasons {
        db.prepare_cached(
            "UPDATE watches SET reason = ?2 WHERE queue = ?1 AND reason <> ?2 AND state = 0",
        )?
        .execute(params![queue.as_str(), reason])?;
    }
    Ok(())
}

/// The queue of watch work whose holder's word still counts: it is held with this epoch, or was let go by expiry and
/// nobody has taken it since.
pub(super) fn queue_of(db: &Connection, held: Held) -> Result<Option<Name>, Error> {
    let sql = "SELECT queue FROM watches WHERE id = ?1 AND epoch = ?2";
    let queue: Option<String> = db
        .prepare_cached(sql)?
        .query_row([int(held.id), int(held.epoch)], |row| row.get(0))
        .optional()?;
    queue.as_deref().map(name).transpose()
}

/// Why events are missing, if nothing was told of the queue for longer than it keeps messages.
pub(super) fn silence(
    db: &Connection,
    queue: &Name,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let sql = "SELECT told, queue_state FROM watches WHERE queue = ?1";
    let (told, state): (Option<i64>, String) = db
        .prepare_cached(sql)?
        .query_row([queue.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let state: Kept = parse(&state)?;
    Ok(silence_of(told.map(Timestamp::from_micros), state.retention, now))
}

/// Keeps the last few messages that could not be read.
pub(super) fn keep_unreadable(
    db: &Connection,
    queue: &Name,
    messages: &[UnreadableMessage],
    now: Timestamp,
) -> Result<(), Error> {
    if messages.is_empty() {
        return Ok(());
    }
    for message in messages {
        let UnreadableMessage { reason, excerpt, receives, removed, received: _ } = message.clone();
        let text = json(&KeptMessage { reason, excerpt, receives, removed, received: now })?;
        db.execute(
            "INSERT INTO unreadable_messages (queue, message) VALUES (?1, ?2)",
            [queue.as_str(), &text],
        )?;
    }
    db.execute(
        "DELETE FROM unreadable_messages WHERE queue = ?1 AND id NOT IN
             (SELECT id FROM unreadable_messages WHERE queue = ?1 ORDER BY id DESC LIMIT ?2)",
        params![queue.as_str(), KEPT_UNREADABLE],
    )?;
    Ok(())
}

/// How it stands with receiving from a queue.
pub(super) fn status(db: &Connection, queue: &Name) -> Result<Option<QueueStatus>, Error> {
    let sql =
        "SELECT agent, reason, told, queue_state, messages, events, ignored, unmatched, unreadable
         FROM watches LEFT JOIN sessions ON sessions.id = session WHERE queue = ?1";
    let found = db
        .prepare_cached(sql)?
        .query_row([queue.as_str()], |row| {
            let texts: (Option<String>, String) = (row.get("agent")?, row.get("queue_state")?);
            let told: Option<i64> = row.get("told")?;
            let count = |column: &str| row.get(column).map(uint);
            let status = QueueStatus {
                agent: None,
                reason: row.get("reason")?,
                told: told.map(Timestamp::from_micros),
                state: QueueState::default(),
                messages: count("messages")?,
                events: count("events")?,
                ignored: count("ignored")?,
                unmatched: count("unmatched")?,
                unreadable: count("unreadable")?,
                last_unreadable: Vec::new(),
            };
            Ok((texts, status))
        })
        .optional()?;
    let Some(((agent, state), mut status)) = found else { return Ok(None) };
    status.agent = agent.as_deref().map(name).transpose()?;
    let Kept { waiting, in_flight, retention, max_receives, oldest_sent } = parse(&state)?;
    status.state = QueueState { waiting, in_flight, retention, max_receives, oldest_sent };
    let sql = "SELECT message FROM unreadable_messages WHERE queue = ?1 ORDER BY id DESC";
    let mut statement = db.prepare_cached(sql)?;
    for text in statement.query_map([queue.as_str()], |row| row.get::<_, String>(0))? {
        let KeptMessage { reason, excerpt, receives, removed, received } = parse(&text?)?;
        let message = UnreadableMessage { reason, excerpt, receives, removed, received };
        status.last_unreadable.push(message);
    }
    Ok(Some(status))
}

/// A message that could not be read, as it is stored.
#[derive(serde::Serialize, serde::Deserialize)]
struct KeptMessage {
    reason: String,
    excerpt: String,
    receives: u32,
    removed: bool,
    received: Timestamp,
}

/// What was counted of a batch of news.
pub(super) struct Tally {
    /// Events that concern a job.
    pub(super) events: u64,
    /// Events that concern none.
    pub(super) unmatched: u64,
}

/// Records what was told of a queue.
pub(super) fn told(
    db: &Connection,
    queue: &Name,
    news: &News,
    tally: &Tally,
    now: Timestamp,
) -> Result<(), Error> {
    let state = news.state.as_ref().map(|state| json(&Kept::from(state))).transpose()?;
    db.prepare_cached(
        "UPDATE watches SET messages = messages + ?2, events = events + ?3, ignored = ignored + ?4,
             unmatched = unmatched + ?5, unreadable = unreadable + ?6, queue_state = COALESCE(?7, queue_state),
             told = ?8, attempts = 0, reason = ''
         WHERE queue = ?1",
    )?
    .execute(params![
        queue.as_str(),
        int(news.messages),
        int(tally.events),
        int(news.ignored),
        int(tally.unmatched),
        int(first_seen(&news.unreadable)),
        state,
        now.as_micros()
    ])?;
    Ok(())
}

/// How many messages that could not be read were not told of before. Others are told of once more when they go.
fn first_seen(messages: &[UnreadableMessage]) -> u64 {
    messages.iter().filter(|message| !message.removed || message.receives <= 1).count() as u64
}

/// A queue's state as it is stored.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Kept {
    waiting: u64,
    in_flight: u64,
    retention: Option<std::time::Duration>,
    max_receives: Option<u32>,
    oldest_sent: Option<Timestamp>,
}

impl From<&QueueState> for Kept {
    fn from(state: &QueueState) -> Self {
        let QueueState { waiting, in_flight, retention, max_receives, oldest_sent } = state.clone();
        Self { waiting, in_flight, retention, max_receives, oldest_sent }
    }
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
            let attempts: i64 = db.query_row(
                "UPDATE watches SET attempts = attempts + 1 WHERE queue = ?1 RETURNING attempts",
                [queue.as_str()],
                |row| row.get(0),
            )?;
            let why = format!("{}: {}", error.code, error.message);
            tracing::warn!(%queue, code = error.code, reason = error.message, "a queue is not read");
            let_go(db, report.held.id, 1)?;
            db.execute(
                "UPDATE watches SET reason = ?2, not_before = ?3 WHERE queue = ?1",
                params![queue.as_str(), why, now.plus(watch_pause(uint32(attempts))).as_micros()],
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
        "UPDATE watches SET refused_by = ?2, refused_until = ?3, reason = ?4 WHERE id = ?1",
        params![int(held.id), agent.as_str(), until, why],
    )?;
    let_go(db, held.id, 1)?;
    Ok(Verdict::Applied)
}

/// Nobody holds it any more. A late word counts while the epoch is the same (`more` 0).
fn let_go(db: &Connection, id: u64, more: i64) -> Result<(), Error> {
    db.prepare_cached(
        "UPDATE watches SET state = 0, session = NULL, epoch = epoch + ?2 WHERE id = ?1",
    )?
    .execute(params![int(id), more])?;
    Ok(())
}

/// What a session receives from.
pub(super) fn held_by(db: &Connection, session: i64) -> Result<Vec<Held>, Error> {
    let sql = "SELECT id, epoch FROM watches WHERE session = ?1 AND state = 1 ORDER BY id";
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
        "UPDATE watches SET session = ?3, state = 1, lease_sequence = 0
         WHERE id = ?1 AND epoch = ?2 AND (state = 0 OR (state = 1 AND session IS ?4))",
    )?
    .execute(params![int(held.id), int(held.epoch), session, earlier])?;
    Ok(())
}

/// Lets go of all that a session receives from.
pub(super) fn release(db: &Connection, session: i64) -> Result<(), Error> {
    db.prepare_cached("UPDATE watches SET state = 0, session = NULL WHERE session = ?1")?
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
    let sql = "SELECT id, epoch FROM watches WHERE session = ?1 AND state = 1 AND lease_sequence + 1 < ?2";
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
