//! What is known of the queues that jobs name: a row of `watches` for each. Who receives from them is in `receivers`.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    EventBatch, Name, QueueState, QueueStatus, Timestamp, UnreadableMessage,
};

use super::paces::pace;
use super::receivers;
use super::row::{int, json, parse, uint};
use crate::store::Error;

/// Messages that could not be read, of a queue, that are kept to be shown.
const KEPT_UNREADABLE: i64 = 10;

/// How often messages are received.
const RECEIVED: (&str, &str) = ("received", "received_at");

/// Makes the rows be those of the queues that jobs name.
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
    receivers::arm(db)
}

/// When something was told of a queue last, and how long it keeps messages.
pub(super) fn known(
    db: &Connection,
    queue: &Name,
) -> Result<(Option<Timestamp>, Option<std::time::Duration>), Error> {
    let sql = "SELECT told, queue_state FROM watches WHERE queue = ?1";
    let (told, state): (Option<i64>, String) = db
        .prepare_cached(sql)?
        .query_row([queue.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let state: Kept = parse(&state)?;
    Ok((told.map(Timestamp::from_micros), state.retention))
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
pub(super) fn status(
    db: &Connection,
    queue: &Name,
    now: Timestamp,
) -> Result<Option<QueueStatus>, Error> {
    let sql = "SELECT * FROM watches WHERE queue = ?1";
    let found = db
        .prepare_cached(sql)?
        .query_row([queue.as_str()], |row| {
            let state: String = row.get("queue_state")?;
            let told: Option<i64> = row.get("told")?;
            let count = |column: &str| row.get(column).map(uint);
            let status = QueueStatus {
                told: told.map(Timestamp::from_micros),
                messages: count("messages")?,
                messages_per_minute: pace(row, RECEIVED)?.per_minute(now),
                events: count("events")?,
                ignored: count("ignored")?,
                unmatched: count("unmatched")?,
                unreadable: count("unreadable")?,
                ..QueueStatus::default()
            };
            Ok((state, status))
        })
        .optional()?;
    let Some((state, mut status)) = found else { return Ok(None) };
    let Kept { waiting, in_flight, retention, max_receives } = parse(&state)?;
    let (agents, oldest_sent) = receivers::who(db, queue)?;
    status.agents = agents;
    status.reason = receivers::reason(db, queue)?;
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

/// Records what a receiver of a queue told.
pub(super) fn told(
    db: &Connection,
    queue: &Name,
    batch: &EventBatch,
    tally: &Tally,
    now: Timestamp,
) -> Result<(), Error> {
    let EventBatch { held, news, sequence: _ } = batch;
    // One that may not look at the queue's settings does not hide what others see.
    let alone = "(SELECT COUNT(*) FROM receivers WHERE receivers.queue = ?1) = 1";
    let sees = news.state.as_ref().is_some_and(|state| state.retention.is_some());
    let state = news.state.as_ref().map(|state| json(&Kept::from(state))).transpose()?;
    let received = db
        .prepare_cached("SELECT received, received_at FROM watches WHERE queue = ?1")?
        .query_row([queue.as_str()], |row| pace(row, RECEIVED))?;
    let received = received.plus(news.messages, now);
    db.prepare_cached(&format!(
        "UPDATE watches SET messages = messages + ?2, events = events + ?3, ignored = ignored + ?4,
             unmatched = unmatched + ?5, unreadable = unreadable + ?6,
             queue_state = CASE WHEN ?7 IS NOT NULL AND (?9 OR {alone}) THEN ?7 ELSE queue_state END, told = ?8,
             received = ?10, received_at = ?11
         WHERE queue = ?1"
    ))?
    .execute(params![
        queue.as_str(),
        int(news.messages),
        int(tally.events),
        int(news.ignored),
        int(tally.unmatched),
        int(first_seen(&news.unreadable)),
        state,
        now.as_micros(),
        sees,
        received.amount,
        received.at.as_micros()
    ])?;
    receivers::told(db, *held, news, now)
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
}

impl From<&QueueState> for Kept {
    fn from(state: &QueueState) -> Self {
        let QueueState { waiting, in_flight, retention, max_receives, oldest_sent: _ } = *state;
        Self { waiting, in_flight, retention, max_receives }
    }
}
