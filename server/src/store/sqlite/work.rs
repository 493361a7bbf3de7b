//! What else happens to work: refusals, splits, upload intents, facts.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3sync_proto::model::{
    BucketFacts, Held, Name, SplitProposal, Timestamp, UploadIntent, Verdict, WorkError,
};

use super::row::{LEASED, LetGo, blob, json, let_go, parse, range, ranges_of, touch_run};
use super::{receivers, reckon, runs};
use crate::plan::REFUSAL_PAUSE;
use crate::store::{Error, MAX_RANGES_PER_DESTINATION};

pub(super) fn refuse(
    db: &Connection,
    held: Held,
    agent: &Name,
    error: &WorkError,
    now: Timestamp,
) -> Result<Verdict, Error> {
    if receivers::is_watch(held) {
        return receivers::refuse(db, held, agent, error, now);
    }
    let Some(row) =
        range(db, held.id)?.filter(|row| row.is_current(held.epoch) && row.state == LEASED)
    else {
        return Ok(Verdict::Stale);
    };
    tracing::warn!(range = held.id, %agent, code = error.code, reason = error.message, "an assignment was refused");
    db.execute(
        "UPDATE ranges SET refused_by = ?2, refused_until = ?3 WHERE id = ?1",
        params![row.id, agent.as_str(), now.plus(REFUSAL_PAUSE).as_micros()],
    )?;
    let_go(db, row.id, LetGo::NewEpoch)?;
    touch_run(db, row.run)?;
    runs::settle(db, row.run, now)?;
    Ok(Verdict::Applied)
}

pub(super) fn split(
    db: &Connection,
    proposal: &SplitProposal,
    now: Timestamp,
) -> Result<Verdict, Error> {
    let Some(row) = range(db, proposal.held.id)?.filter(|row| row.is_current(proposal.held.epoch))
    else {
        return Ok(Verdict::Stale);
    };
    if row.until.as_ref() == Some(&proposal.at) {
        // The acknowledgement was lost, and the proposal comes again.
        return Ok(Verdict::Applied);
    }
    if row.until != proposal.until {
        return Ok(Verdict::Stale);
    }
    let too_low =
        row.cursor.as_ref().or(row.after.as_ref()).is_some_and(|before| proposal.at <= *before);
    let too_high = row.until.as_ref().is_some_and(|until| proposal.at >= *until);
    if too_low || too_high {
        return Err(Error::Invalid(format!(
            "range {}: the cut is outside of what is left",
            row.id
        )));
    }
    if ranges_of(db, row.run, row.destination)? >= MAX_RANGES_PER_DESTINATION {
        // The holder stops at the cut all the same; its completion is then a cursor, and the rest is leased again.
        return Ok(Verdict::Stale);
    }
    let at = proposal.at.as_bytes();
    db.execute("UPDATE ranges SET until = ?2 WHERE id = ?1", params![row.id, at])?;
    db.execute(
        "INSERT INTO ranges (run, destination, after, until) VALUES (?1, ?2, ?3, ?4)",
        params![row.run, row.destination, at, blob(row.until.as_ref())],
    )?;
    let rest = db.last_insert_rowid();
    reckon::cut(db, row.run)?;
    db.execute(
        "UPDATE upload_intents SET range = ?3 WHERE range = ?1 AND key > ?2",
        params![row.id, at, rest],
    )?;
    // A run that is being cancelled gets no new work.
    if row.cancelling {
        let_go(db, rest, LetGo::NewEpoch)?;
    }
    touch_run(db, row.run)?;
    runs::settle(db, row.run, now)?;
    Ok(Verdict::Applied)
}

pub(super) fn upload_intent(
    db: &Connection,
    intent: &UploadIntent,
    now: Timestamp,
) -> Result<Verdict, Error> {
    let Some(row) = range(db, intent.held.id)?.filter(|row| row.is_current(intent.held.epoch))
    else {
        return Ok(Verdict::Stale);
    };
    let key = intent.key.as_bytes();
    let settled = row.cursor.as_ref().is_some_and(|cursor| intent.key <= *cursor);
    let cut_off = row.until.as_ref().is_some_and(|until| intent.key > *until);
    if settled || cut_off {
        // It comes again, after the report that settled the key, or after the cut that took the first one along.
        return Ok(Verdict::Applied);
    }
    let id = intent.upload_id.as_deref().unwrap_or_default();
    let plan = intent.plan.as_ref().map(json).transpose()?;
    db.prepare_cached(
        "INSERT OR IGNORE INTO upload_intents (range, key, upload_id, at, plan) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![row.id, key, id, now.as_micros(), plan])?;
    if !id.is_empty() {
        // The one whose id was not known is this one.
        db.prepare_cached(
            "DELETE FROM upload_intents WHERE range = ?1 AND key = ?2 AND upload_id = ''",
        )?
        .execute(params![row.id, key])?;
    }
    Ok(Verdict::Applied)
}

pub(super) fn relearn(
    db: &Connection,
    endpoint: &Name,
    buckets: &[String],
    facts: &[BucketFacts],
) -> Result<(), Error> {
    for bucket in buckets {
        let sql = "DELETE FROM bucket_facts WHERE endpoint = ?1 AND bucket = ?2";
        db.prepare_cached(sql)?.execute(params![endpoint.as_str(), bucket])?;
    }
    for facts in facts {
        learn(db, facts)?;
    }
    Ok(())
}

pub(super) fn learn(db: &Connection, facts: &BucketFacts) -> Result<(), Error> {
    let exists: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM endpoints WHERE name = ?1)",
        [facts.endpoint.as_str()],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(());
    }
    let known: Option<String> = db
        .query_row(
            "SELECT facts FROM bucket_facts WHERE endpoint = ?1 AND bucket = ?2",
            params![facts.endpoint.as_str(), facts.bucket],
            |row| row.get(0),
        )
        .optional()?;
    let mut merged = match known {
        Some(text) => parse(&text)?,
        None => BucketFacts::unknown(facts.endpoint.clone(), facts.bucket.clone()),
    };
    merged.merge(facts);
    db.execute(
        "INSERT INTO bucket_facts (endpoint, bucket, facts) VALUES (?1, ?2, ?3)
         ON CONFLICT (endpoint, bucket) DO UPDATE SET facts = ?3",
        params![facts.endpoint.as_str(), facts.bucket, json(&merged)?],
    )?;
    Ok(())
}
