//! What the report of a run says beyond its counters: requests and waits, what happened to it, how often it was cut.

use rusqlite::{Connection, params};
use s3sync_proto::model::{Happening, Name, RunReport, RunStage, TimelineEntry, Timestamp, Usage};

use super::row::{from_word, json, name, parse, uint};
use super::{deletes, failures, runs};
use crate::store::Error;

/// Adds what a report of an agent says of its requests and waits.
pub(super) fn spend(db: &Connection, run: i64, destination: i64, more: Usage) -> Result<(), Error> {
    if more.is_empty() {
        return Ok(());
    }
    let sql = "SELECT usage FROM run_destinations WHERE run = ?1 AND destination = ?2";
    let text: String = db.prepare_cached(sql)?.query_row([run, destination], |row| row.get(0))?;
    let mut usage: Usage = parse(&text)?;
    usage += more;
    db.prepare_cached(
        "UPDATE run_destinations SET usage = ?3 WHERE run = ?1 AND destination = ?2",
    )?
    .execute(params![run, destination, json(&usage)?])?;
    Ok(())
}

/// A range of the run was cut.
pub(super) fn cut(db: &Connection, run: i64) -> Result<(), Error> {
    db.prepare_cached("UPDATE runs SET splits = splits + 1 WHERE id = ?1")?.execute([run])?;
    Ok(())
}

/// What a run did, as far as it has come.
pub(super) fn report(db: &Connection, job: &Name, number: Option<u64>) -> Result<RunReport, Error> {
    let run = runs::get(db, job, number)?;
    let id = runs::row_of(db, &run.name)?;
    let (spec, _) = runs::spec(db, id)?;
    let sql = "SELECT usage FROM run_destinations WHERE run = ?1 ORDER BY destination";
    let mut statement = db.prepare_cached(sql)?;
    let texts: Vec<String> =
        statement.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let usages = texts.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    let (splits, losses): (i64, i64) = db
        .prepare_cached("SELECT splits, losses FROM runs WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(RunReport {
        source: spec.source,
        usages,
        timeline: timeline(db, id)?,
        splits: uint(splits),
        losses: uint(losses),
        failures: failures::groups(db, &run.name)?.0,
        run,
    })
}

fn timeline(db: &Connection, run: i64) -> Result<Vec<TimelineEntry>, Error> {
    let sql = "SELECT at, state, stage, agent, reason FROM run_timeline WHERE run = ?1 ORDER BY id";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([run], |row| {
        let words: [Option<String>; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
        Ok((Timestamp::from_micros(row.get(0)?), words, row.get::<_, String>(4)?))
    })?;
    let mut entries = Vec::new();
    for row in rows {
        let (time, [state, stage, agent], reason) = row?;
        let what = match (state, stage, agent) {
            (Some(state), ..) => Happening::State(from_word(&state)?),
            (None, Some(stage), _) => Happening::Stage(deletes::stage_of(&stage)),
            (None, None, Some(agent)) => Happening::Lost(name(&agent)?),
            (None, None, None) => Happening::Stage(RunStage::Scan),
        };
        entries.push(TimelineEntry { time, what, reason });
    }
    Ok(entries)
}
