//! How keys stand.

use super::problems::path;
use super::run::{class, class_to, key, run_state, run_state_to};
use super::{Problems, endpoint, failure_from, failure_to, int32, int64, names, time_to};
use crate::model::{
    CopyWay, DestinationExplanation, DirtyKey, DirtyState, Explanation, Invalid, Key,
    KeyExplanation, KeyVerdict, Location, NextStep, ObjectState, Presence, ShownChecksum,
    WorkError,
};
use crate::pb::v1 as pb;

pub(super) fn explanation_from(explanation: pb::KeyExplanation) -> Result<KeyExplanation, Invalid> {
    let pb::KeyExplanation {
        source,
        destination,
        passes_filter,
        filter_reason,
        verdict,
        reason,
        next,
        next_reason,
        way,
    } = explanation;
    let mut problems = Problems::default();
    let source = object("source", source.unwrap_or_default(), &mut problems);
    let destination = object("destination", destination.unwrap_or_default(), &mut problems);
    let verdict = problems.choice("verdict", verdict, |verdict| {
        Some(match verdict {
            pb::KeyVerdict::Unspecified => return None,
            pb::KeyVerdict::InStep => KeyVerdict::InStep,
            pb::KeyVerdict::Differs => KeyVerdict::Differs,
            pb::KeyVerdict::Extra => KeyVerdict::Extra,
            pb::KeyVerdict::Absent => KeyVerdict::Absent,
            pb::KeyVerdict::Filtered => KeyVerdict::Filtered,
            pb::KeyVerdict::Unknown => KeyVerdict::Unknown,
        })
    });
    let next = problems.choice("next", next, self::next);
    let way = problems.choice("way", way, self::way);
    let explained = || {
        Some(KeyExplanation {
            source: source?,
            destination: destination?,
            passes_filter,
            filter_reason,
            verdict: verdict?,
            reason,
            next: next?,
            next_reason,
            way: way?,
        })
    };
    let explained = explained();
    problems.finish(explained)
}

pub(super) fn explanation_to(explanation: KeyExplanation) -> pb::KeyExplanation {
    let KeyExplanation {
        source,
        destination,
        passes_filter,
        filter_reason,
        verdict,
        reason,
        next,
        next_reason,
        way,
    } = explanation;
    let verdict = match verdict {
        KeyVerdict::InStep => pb::KeyVerdict::InStep,
        KeyVerdict::Differs => pb::KeyVerdict::Differs,
        KeyVerdict::Extra => pb::KeyVerdict::Extra,
        KeyVerdict::Absent => pb::KeyVerdict::Absent,
        KeyVerdict::Filtered => pb::KeyVerdict::Filtered,
        KeyVerdict::Unknown => pb::KeyVerdict::Unknown,
    };
    pb::KeyExplanation {
        source: Some(object_to(source)),
        destination: Some(object_to(destination)),
        passes_filter,
        filter_reason,
        verdict: verdict.into(),
        reason,
        next: next_to(next).into(),
        next_reason,
        way: way_to(way).into(),
    }
}

pub(super) fn next(next: pb::NextStep) -> Option<NextStep> {
    Some(match next {
        pb::NextStep::Unspecified => return None,
        pb::NextStep::Nothing => NextStep::Nothing,
        pb::NextStep::Copy => NextStep::Copy,
        pb::NextStep::Archived => NextStep::Archived,
        pb::NextStep::Fail => NextStep::Fail,
        pb::NextStep::Delete => NextStep::Delete,
    })
}

pub(super) fn next_to(next: NextStep) -> pb::NextStep {
    match next {
        NextStep::Nothing => pb::NextStep::Nothing,
        NextStep::Copy => pb::NextStep::Copy,
        NextStep::Archived => pb::NextStep::Archived,
        NextStep::Fail => pb::NextStep::Fail,
        NextStep::Delete => pb::NextStep::Delete,
    }
}

/// A way of copying; the inner `None` is none.
#[expect(clippy::unnecessary_wraps, reason = "the outer one is for values that are not known")]
pub(super) fn way(way: pb::CopyWay) -> Option<Option<CopyWay>> {
    Some(match way {
        pb::CopyWay::Unspecified => None,
        pb::CopyWay::ServerSide => Some(CopyWay::ServerSide),
        pb::CopyWay::ServerSideParts => Some(CopyWay::ServerSideParts),
        pb::CopyWay::Single => Some(CopyWay::Single),
        pb::CopyWay::Parts => Some(CopyWay::Parts),
        pb::CopyWay::Repair => Some(CopyWay::Repair),
    })
}

pub(super) fn way_to(way: Option<CopyWay>) -> pb::CopyWay {
    match way {
        None => pb::CopyWay::Unspecified,
        Some(CopyWay::ServerSide) => pb::CopyWay::ServerSide,
        Some(CopyWay::ServerSideParts) => pb::CopyWay::ServerSideParts,
        Some(CopyWay::Single) => pb::CopyWay::Single,
        Some(CopyWay::Parts) => pb::CopyWay::Parts,
        Some(CopyWay::Repair) => pb::CopyWay::Repair,
    }
}

fn object(at: &str, object: pb::ObjectState, problems: &mut Problems) -> Option<ObjectState> {
    let pb::ObjectState {
        bucket,
        key,
        presence,
        problem,
        size,
        etag,
        etag_kind,
        modify_time,
        storage_class,
        archived,
        encryption,
        version_id,
        stamp,
        checksums,
        tags,
        content_type,
    } = object;
    // Prefix and key together may be longer than a key may be; that is for people to see.
    let key = Key::new(key);
    let presence = problems.choice(&path(at, "presence"), presence, |presence| {
        Some(match presence {
            pb::Presence::Unspecified => return None,
            pb::Presence::Present => Presence::Present,
            pb::Presence::Absent => Presence::Absent,
            pb::Presence::Unknown => Presence::Unknown,
        })
    });
    let problem = match problem {
        None => None,
        Some(pb::Problem { class: number, code, message }) => {
            let class = problems.choice(&path(at, "problem.class"), number, class);
            class.map(|class| WorkError { class, code, message })
        }
    };
    let checksums = checksums
        .into_iter()
        .map(|pb::StoredChecksum { algorithm, value, whole }| ShownChecksum {
            algorithm,
            value,
            whole,
        })
        .collect();
    Some(ObjectState {
        bucket,
        key,
        presence: presence?,
        problem,
        size: problems.count(&path(at, "size"), size),
        etag,
        etag_kind: endpoint::kind(&path(at, "etag_kind"), etag_kind, problems),
        modified: problems.time(&path(at, "modify_time"), modify_time),
        storage_class,
        archived,
        encryption,
        version_id,
        stamp,
        checksums,
        tags: tags.map(|tags| problems.small_count(&path(at, "tags"), tags)),
        content_type,
    })
}

fn object_to(object: ObjectState) -> pb::ObjectState {
    let ObjectState {
        bucket,
        key,
        presence,
        problem,
        size,
        etag,
        etag_kind,
        modified,
        storage_class,
        archived,
        encryption,
        version_id,
        stamp,
        checksums,
        tags,
        content_type,
    } = object;
    let presence = match presence {
        Presence::Present => pb::Presence::Present,
        Presence::Absent => pb::Presence::Absent,
        Presence::Unknown => pb::Presence::Unknown,
    };
    pb::ObjectState {
        bucket,
        key: key.into_bytes(),
        presence: presence.into(),
        problem: problem.map(|WorkError { class, code, message }| pb::Problem {
            class: class_to(class).into(),
            code,
            message,
        }),
        size: int64(size),
        etag,
        etag_kind: endpoint::kind_to(etag_kind),
        modify_time: modified.and_then(time_to),
        storage_class,
        archived,
        encryption,
        version_id,
        stamp,
        checksums: checksums
            .into_iter()
            .map(|ShownChecksum { algorithm, value, whole }| pb::StoredChecksum {
                algorithm,
                value,
                whole,
            })
            .collect(),
        tags: tags.map(int32),
        content_type,
    }
}

/// How a key stands, as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn key_explained_from(answer: pb::ExplainKeyResponse) -> Result<Explanation, Invalid> {
    let pb::ExplainKeyResponse {
        name,
        key,
        destinations,
        failures,
        latest_run,
        latest_run_state,
        latest_run_end_time,
    } = answer;
    let mut problems = Problems::default();
    let job = problems.part("", names::job_name(&name));
    let key = self::key("key", key, &mut problems);
    let mut looked = Vec::with_capacity(destinations.len());
    for (index, one) in destinations.into_iter().enumerate() {
        let at = format!("destinations[{index}]");
        looked.extend(problems.part(&at, destination_from(one)));
    }
    let mut failed = Vec::with_capacity(failures.len());
    for (index, pb::KeyFailure { run, failure }) in failures.into_iter().enumerate() {
        let at = format!("failures[{index}]");
        let run = problems.run(&path(&at, "run"), &run);
        let failure = problems.part(&at, failure_from(failure.unwrap_or_default()));
        failed.extend(run.zip(failure));
    }
    let latest_run = if latest_run.is_empty() {
        None
    } else {
        let run = problems.run("latest_run", &latest_run);
        let state = problems.choice("latest_run_state", latest_run_state, run_state);
        let ended = problems.time("latest_run_end_time", latest_run_end_time);
        run.zip(state).map(|(run, state)| (run, state, ended))
    };
    let explanation = job.zip(key).map(|(job, key)| Explanation {
        job,
        key,
        destinations: looked,
        failures: failed,
        latest_run,
    });
    problems.finish(explanation)
}

fn destination_from(
    destination: pb::DestinationExplanation,
) -> Result<DestinationExplanation, Invalid> {
    let pb::DestinationExplanation {
        destination: index,
        endpoint,
        bucket,
        prefix,
        agent,
        unanswered,
        explanation,
        dirty,
    } = destination;
    let mut problems = Problems::default();
    let index = problems.small_count("destination", index);
    let endpoint = problems.name("endpoint", &endpoint);
    let found = match explanation {
        None => Some(Err(unanswered)),
        Some(explanation) => {
            let agent = problems.part("agent", names::agent_name(&agent));
            let found = problems.part("explanation", explanation_from(explanation));
            agent.zip(found).map(Ok)
        }
    };
    let dirty = match dirty {
        None => Some(None),
        Some(dirty) => problems.part("dirty", dirty_from(dirty)).map(Some),
    };
    let all = endpoint.zip(found).zip(dirty);
    let destination = all.map(|((endpoint, found), dirty)| DestinationExplanation {
        index,
        location: Location { endpoint, bucket, prefix },
        found,
        dirty,
    });
    problems.finish(destination)
}

/// How a key stands, for the wire.
#[must_use]
pub fn key_explained_to(explanation: Explanation) -> pb::ExplainKeyResponse {
    let Explanation { job, key, destinations, failures, latest_run } = explanation;
    let (latest_run, latest_run_state, ended) = match latest_run {
        None => (String::new(), pb::RunState::Unspecified, None),
        Some((run, state, ended)) => (run.to_string(), run_state_to(state), ended),
    };
    pb::ExplainKeyResponse {
        name: names::format_job(&job),
        key: key.into_bytes(),
        destinations: destinations.into_iter().map(destination_to).collect(),
        failures: failures
            .into_iter()
            .map(|(run, failure)| pb::KeyFailure {
                run: run.to_string(),
                failure: Some(failure_to(failure)),
            })
            .collect(),
        latest_run,
        latest_run_state: latest_run_state.into(),
        latest_run_end_time: ended.and_then(time_to),
    }
}

fn destination_to(destination: DestinationExplanation) -> pb::DestinationExplanation {
    let DestinationExplanation { index, location, found, dirty } = destination;
    let Location { endpoint, bucket, prefix } = location;
    let (agent, unanswered, explanation) = match found {
        Ok((agent, found)) => {
            (names::format_agent(&agent), String::new(), Some(explanation_to(found)))
        }
        Err(why) => (String::new(), why, None),
    };
    pb::DestinationExplanation {
        destination: int32(index),
        endpoint: endpoint.into(),
        bucket,
        prefix,
        agent,
        unanswered,
        explanation,
        dirty: dirty.map(dirty_to),
    }
}

fn dirty_from(dirty: pb::DirtyKey) -> Result<DirtyKey, Invalid> {
    let pb::DirtyKey {
        run,
        since_time,
        latest_time,
        sequencer,
        reasons,
        looks,
        state,
        next_look_time,
        reason,
    } = dirty;
    let mut problems = Problems::default();
    let run = problems.run("run", &run);
    let state = problems.choice("state", state, |state| {
        Some(match state {
            pb::DirtyState::Unspecified => return None,
            pb::DirtyState::Waiting => DirtyState::Waiting,
            pb::DirtyState::WorkedOn => DirtyState::WorkedOn,
            pb::DirtyState::PutOff => DirtyState::PutOff,
            pb::DirtyState::AwaitingApproval => DirtyState::AwaitingApproval,
            pb::DirtyState::Paused => DirtyState::Paused,
        })
    });
    let since = problems.time("since_time", since_time).unwrap_or_default();
    let latest = problems.time("latest_time", latest_time).unwrap_or_default();
    let next_look = problems.time("next_look_time", next_look_time);
    let reasons = problems.count("reasons", reasons);
    let looks = problems.small_count("looks", looks);
    let dirty = run.zip(state).map(|(run, state)| DirtyKey {
        run,
        since,
        latest,
        sequencer,
        reasons,
        looks,
        state,
        next_look,
        reason,
    });
    problems.finish(dirty)
}

fn dirty_to(dirty: DirtyKey) -> pb::DirtyKey {
    let DirtyKey { run, since, latest, sequencer, reasons, looks, state, next_look, reason } =
        dirty;
    let state = match state {
        DirtyState::Waiting => pb::DirtyState::Waiting,
        DirtyState::WorkedOn => pb::DirtyState::WorkedOn,
        DirtyState::PutOff => pb::DirtyState::PutOff,
        DirtyState::AwaitingApproval => pb::DirtyState::AwaitingApproval,
        DirtyState::Paused => pb::DirtyState::Paused,
    };
    pb::DirtyKey {
        run: run.to_string(),
        since_time: time_to(since),
        latest_time: time_to(latest),
        sequencer,
        reasons: int64(reasons),
        looks: int32(looks),
        state: state.into(),
        next_look_time: next_look.and_then(time_to),
        reason,
    }
}
