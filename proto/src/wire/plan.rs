//! Plans, and the questions they are made of.

use std::collections::BTreeMap;

use super::explain::{way, way_to};
use super::problems::path;
use super::run::key;
use super::{Problems, duration_to, int32, int64, names, session, session_out};
use crate::model::{
    DestinationPlan, Difference, Invalid, JobPlan, Key, Location, NextStep, PlanAsk, PlanPart,
    PlanTally, PlannedKeys,
};
use crate::pb::{agent::v1 as agent_pb, v1 as pb};

/// A plan as a server sent it, and the differences that came with it.
///
/// # Errors
/// Every problem of the fields.
pub fn planned_from(planned: pb::PlanJobResponse) -> Result<(JobPlan, Vec<Difference>), Invalid> {
    let pb::PlanJobResponse { plan, differences } = planned;
    let mut problems = Problems::default();
    let pb::JobPlan { name, complete, destinations, not_carried } = plan.unwrap_or_default();
    let job = problems.part("plan", names::job_name(&name));
    let mut all = Vec::with_capacity(destinations.len());
    for (index, one) in destinations.into_iter().enumerate() {
        let at = format!("plan.destinations[{index}]");
        all.extend(destination(&at, one, &mut problems));
    }
    let differences = self::differences(differences, &mut problems);
    problems.finish(job.map(|job| {
        let plan = JobPlan { job, complete, destinations: all, not_carried };
        (plan, differences)
    }))
}

/// A plan for the wire, with differences found since the message before.
#[must_use]
pub fn planned_to(plan: JobPlan, differences: Vec<Difference>) -> pb::PlanJobResponse {
    pb::PlanJobResponse {
        plan: Some(plan_to(plan)),
        differences: differences.into_iter().map(difference_to).collect(),
    }
}

/// A plan alone, for the wire.
#[must_use]
pub fn plan_to(plan: JobPlan) -> pb::JobPlan {
    let JobPlan { job, complete, destinations, not_carried } = plan;
    pb::JobPlan {
        name: names::format_job(&job),
        complete,
        destinations: destinations.into_iter().map(destination_to).collect(),
        not_carried,
    }
}

fn destination(
    at: &str,
    plan: pb::DestinationPlan,
    problems: &mut Problems,
) -> Option<DestinationPlan> {
    let pb::DestinationPlan {
        destination,
        endpoint,
        bucket,
        prefix,
        problem,
        tally,
        list_requests,
        extra_fate,
    } = plan;
    let index = problems.small_count(&path(at, "destination"), destination);
    let endpoint = problems.name(&path(at, "endpoint"), &endpoint);
    let tally = self::tally(&path(at, "tally"), tally.unwrap_or_default(), problems);
    let list_requests = problems.count(&path(at, "list_requests"), list_requests);
    let location = Location { endpoint: endpoint?, bucket, prefix };
    let problem = Some(problem).filter(|problem| !problem.is_empty());
    Some(DestinationPlan { index, location, problem, tally, list_requests, extra_fate })
}

fn destination_to(plan: DestinationPlan) -> pb::DestinationPlan {
    let DestinationPlan { index, location, problem, tally, list_requests, extra_fate } = plan;
    let Location { endpoint, bucket, prefix } = location;
    pb::DestinationPlan {
        destination: int32(index),
        endpoint: endpoint.into(),
        bucket,
        prefix,
        problem: problem.unwrap_or_default(),
        tally: Some(tally_to(tally)),
        list_requests: int64(list_requests),
        extra_fate,
    }
}

fn tally(at: &str, tally: pb::PlanTally, problems: &mut Problems) -> PlanTally {
    let pb::PlanTally {
        listed,
        in_step,
        vanished,
        filtered,
        copies,
        archived,
        failing,
        extra,
        source_keys,
        destination_keys,
        destination_in_scope,
        read_requests,
        write_requests,
    } = tally;
    let mut by_way: BTreeMap<_, PlannedKeys> = BTreeMap::new();
    for (index, pb::PlannedCopies { way: number, keys: some }) in copies.into_iter().enumerate() {
        let at = path(at, &format!("copies[{index}]"));
        let found = keys(&path(&at, "keys"), some, problems);
        match problems.choice(&path(&at, "way"), number, way) {
            Some(Some(way)) => *by_way.entry(way).or_default() += found,
            Some(None) => problems.add(path(&at, "way"), "is missing"),
            None => {}
        }
    }
    let archived = keys(&path(at, "archived"), archived, problems);
    let failing = keys(&path(at, "failing"), failing, problems);
    let extra = keys(&path(at, "extra"), extra, problems);
    let mut count = |field: &str, number| problems.count(&path(at, field), number);
    PlanTally {
        listed: count("listed", listed),
        in_step: count("in_step", in_step),
        vanished: count("vanished", vanished),
        filtered: count("filtered", filtered),
        copies: by_way,
        archived,
        failing,
        extra,
        source_keys: count("source_keys", source_keys),
        destination_keys: count("destination_keys", destination_keys),
        destination_in_scope: count("destination_in_scope", destination_in_scope),
        read_requests: count("read_requests", read_requests),
        write_requests: count("write_requests", write_requests),
    }
}

fn tally_to(tally: PlanTally) -> pb::PlanTally {
    let PlanTally {
        listed,
        in_step,
        vanished,
        filtered,
        copies,
        archived,
        failing,
        extra,
        source_keys,
        destination_keys,
        destination_in_scope,
        read_requests,
        write_requests,
    } = tally;
    let copies = copies.into_iter().map(|(way, keys)| pb::PlannedCopies {
        way: way_to(Some(way)).into(),
        keys: Some(keys_to(keys)),
    });
    pb::PlanTally {
        listed: int64(listed),
        in_step: int64(in_step),
        vanished: int64(vanished),
        filtered: int64(filtered),
        copies: copies.collect(),
        archived: Some(keys_to(archived)),
        failing: Some(keys_to(failing)),
        extra: Some(keys_to(extra)),
        source_keys: int64(source_keys),
        destination_keys: int64(destination_keys),
        destination_in_scope: int64(destination_in_scope),
        read_requests: int64(read_requests),
        write_requests: int64(write_requests),
    }
}

fn keys(at: &str, keys: Option<pb::PlannedKeys>, problems: &mut Problems) -> PlannedKeys {
    let pb::PlannedKeys { objects, bytes, samples } = keys.unwrap_or_default();
    let mut sampled: Vec<Key> = Vec::with_capacity(samples.len());
    for (index, sample) in samples.into_iter().enumerate() {
        sampled.extend(key(&path(at, &format!("samples[{index}]")), sample, problems));
    }
    PlannedKeys {
        objects: problems.count(&path(at, "objects"), objects),
        bytes: problems.count(&path(at, "bytes"), bytes),
        samples: sampled,
    }
}

fn keys_to(keys: PlannedKeys) -> pb::PlannedKeys {
    let PlannedKeys { objects, bytes, samples } = keys;
    let samples = samples.into_iter().map(Key::into_bytes).collect();
    pb::PlannedKeys { objects: int64(objects), bytes: int64(bytes), samples }
}

fn differences(differences: Vec<pb::Difference>, problems: &mut Problems) -> Vec<Difference> {
    let mut all = Vec::with_capacity(differences.len());
    for (index, one) in differences.into_iter().enumerate() {
        all.extend(difference(&format!("differences[{index}]"), one, problems));
    }
    all
}

fn difference(at: &str, difference: pb::Difference, problems: &mut Problems) -> Option<Difference> {
    let pb::Difference { destination, key: bytes, next, reason, size, way: number } = difference;
    let destination = problems.small_count(&path(at, "destination"), destination);
    let key = key(&path(at, "key"), bytes, problems);
    let next = problems.choice(&path(at, "next"), next, super::explain::next);
    let size = problems.count(&path(at, "size"), size);
    let way = problems.choice(&path(at, "way"), number, way)?;
    let next = next?;
    if (next == NextStep::Copy) != way.is_some() {
        problems.add(path(at, "way"), "is of what is copied, and of nothing else");
        return None;
    }
    Some(Difference { destination, key: key?, next, reason, size, way })
}

/// A difference for the wire.
#[must_use]
pub fn difference_to(difference: Difference) -> pb::Difference {
    let Difference { destination, key, next, reason, size, way } = difference;
    pb::Difference {
        destination: int32(destination),
        key: key.into_bytes(),
        next: super::explain::next_to(next).into(),
        reason,
        size: int64(size),
        way: way_to(way).into(),
    }
}

pub(super) fn question(
    question: agent_pb::PlanQuestion,
    problems: &mut Problems,
) -> Option<PlanAsk> {
    let agent_pb::PlanQuestion { work, max_keys, time, cut, differences } = question;
    let work = problems.part("work", session::assignment(work.unwrap_or_default()));
    let max_keys = problems.count("max_keys", max_keys);
    let time = problems.duration("time", time).unwrap_or_default();
    Some(PlanAsk { work: work?, max_keys, time, cut, differences })
}

pub(super) fn question_to(ask: PlanAsk) -> agent_pb::PlanQuestion {
    let PlanAsk { work, max_keys, time, cut, differences } = ask;
    agent_pb::PlanQuestion {
        work: Some(session_out::assignment_to(work)),
        max_keys: int64(max_keys),
        time: duration_to(time),
        cut,
        differences,
    }
}

pub(super) fn answer(answer: agent_pb::PlanAnswer, problems: &mut Problems) -> PlanPart {
    let agent_pb::PlanAnswer { cursor, completed, cut, tally, differences } = answer;
    let cursor = cursor.and_then(|bytes| key("cursor", bytes, problems));
    let cut = cut.and_then(|bytes| key("cut", bytes, problems));
    let tally = self::tally("tally", tally.unwrap_or_default(), problems);
    let differences = self::differences(differences, problems);
    PlanPart { cursor, completed, cut, tally, differences }
}

pub(super) fn answer_to(part: PlanPart) -> agent_pb::PlanAnswer {
    let PlanPart { cursor, completed, cut, tally, differences } = part;
    agent_pb::PlanAnswer {
        cursor: cursor.map(Key::into_bytes),
        completed,
        cut: cut.map(Key::into_bytes),
        tally: Some(tally_to(tally)),
        differences: differences.into_iter().map(difference_to).collect(),
    }
}
