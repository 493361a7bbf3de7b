//! Messages of a session, from the wire.

use std::time::Duration;

use super::run::{key, time, work_error};
use super::{
    Problems, agent, counters_from, duration_from, endpoint, facts_from, failure_from, job, names,
};
use crate::model::{
    Ack, Assignment, FromAgent, Held, Hello, Invalid, KeyRange, Lease, Outcome, RunName,
    SplitProposal, State, ToAgent, Upload, UploadIntent, Verdict, Welcome, Work, WorkReport,
};
use crate::pb::agent::v1 as pb;

/// A message that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownMessage {
    /// Work this version does not know, or that makes no sense: it must be refused, never ignored.
    #[error("assignment {} is not understood: {problem}", held.id)]
    Assignment {
        /// Which.
        held: Held,
        /// Why.
        problem: Invalid,
    },
    /// A kind of message this version does not know: it may be ignored.
    #[error("a message of an unknown kind")]
    Kind,
    /// A known kind with values that make no sense.
    #[error("a message makes no sense: {0}")]
    Invalid(#[from] Invalid),
}

/// A message of an agent.
///
/// # Errors
/// When it is not understood.
pub fn from_agent(request: pb::OpenSessionRequest) -> Result<FromAgent, UnknownMessage> {
    use pb::open_session_request::Message;
    let message = request.message.ok_or(UnknownMessage::Kind)?;
    Ok(match message {
        Message::Hello(message) => FromAgent::Hello(hello(message)?),
        Message::State(message) => FromAgent::State(state(message)?),
        Message::Report(message) => FromAgent::Report(report(message)?),
        Message::Refusal(pb::Refusal { assignment_id, epoch, error }) => {
            let mut problems = Problems::default();
            let error = work_error(error, &mut problems);
            FromAgent::Refusal {
                held: Held { id: assignment_id, epoch },
                error: problems.finish(error)?,
            }
        }
        Message::SplitProposal(message) => FromAgent::SplitProposal(split_proposal(message)?),
        Message::SplitDecline(pb::SplitDecline { assignment_id, epoch, reason }) => {
            FromAgent::SplitDecline { held: Held { id: assignment_id, epoch }, reason }
        }
        Message::UploadIntent(message) => FromAgent::UploadIntent(upload_intent(message)?),
        Message::Facts(pb::FactsReport { sequence, facts }) => {
            let facts = facts.ok_or_else(|| Invalid::one("facts", "is missing"))?;
            FromAgent::Facts { sequence, facts: facts_from(facts)? }
        }
        Message::Goodbye(pb::Goodbye {}) => FromAgent::Goodbye,
    })
}

fn hello(message: pb::Hello) -> Result<Hello, Invalid> {
    let pb::Hello {
        min_protocol,
        max_protocol,
        features,
        agent,
        instance_id,
        version,
        labels,
        endpoints,
        held,
        capacity,
        now,
    } = message;
    let mut problems = Problems::default();
    let agent = problems.name("agent", &agent);
    if instance_id.is_empty() {
        problems.add("instance_id", "is missing");
    }
    let protocol = (
        u32::try_from(min_protocol).unwrap_or_default(),
        u32::try_from(max_protocol).unwrap_or_default(),
    );
    if protocol.0 == 0 || protocol.1 < protocol.0 {
        problems.add(
            "max_protocol",
            format!("{min_protocol} to {max_protocol} is not a range of versions"),
        );
    }
    let endpoints = agent::endpoints_from(endpoints, &mut problems);
    let capacity = capacity_from(capacity, &mut problems);
    problems.finish(agent.map(|agent| Hello {
        protocol,
        features,
        agent,
        instance_id,
        version,
        labels: labels.into_iter().collect(),
        endpoints,
        held: held.into_iter().map(held_from).collect(),
        capacity,
        now: time(now),
    }))
}

fn capacity_from(capacity: i32, problems: &mut Problems) -> u32 {
    u32::try_from(capacity).unwrap_or_else(|_| {
        problems.add("capacity", format!("{capacity} is negative"));
        0
    })
}

fn state(message: pb::State) -> Result<State, Invalid> {
    let pb::State { sequence, capacity, held, draining, last_lease } = message;
    let mut problems = Problems::default();
    let capacity = capacity_from(capacity, &mut problems);
    let held = held.into_iter().map(held_from).collect();
    problems.finish(Some(State { sequence, capacity, held, draining, last_lease }))
}

fn held_from(held: pb::Held) -> Held {
    let pb::Held { assignment_id, epoch } = held;
    Held { id: assignment_id, epoch }
}

fn report(message: pb::WorkReport) -> Result<WorkReport, Invalid> {
    use pb::work_report::Outcome as Wire;
    let pb::WorkReport {
        sequence,
        assignment_id,
        epoch,
        outcome,
        previous_cursor,
        cursor,
        counters,
        failures,
        error,
    } = message;
    let mut problems = Problems::default();
    let outcome = problems.choice("outcome", outcome, |outcome| match outcome {
        Wire::Unspecified => None,
        known @ (Wire::Checkpoint | Wire::Completed | Wire::Yielded | Wire::Errored) => Some(known),
    });
    let outcome = match outcome {
        None | Some(Wire::Unspecified) => None,
        Some(Wire::Checkpoint) => Some(Outcome::Checkpoint),
        Some(Wire::Completed) => Some(Outcome::Completed),
        Some(Wire::Yielded) => Some(Outcome::Yielded),
        Some(Wire::Errored) => work_error(error, &mut problems).map(Outcome::Errored),
    };
    let previous_cursor =
        previous_cursor.and_then(|bytes| key("previous_cursor", bytes, &mut problems));
    let cursor = cursor.and_then(|bytes| key("cursor", bytes, &mut problems));
    let counters = counters_from(counters.unwrap_or_default())?;
    let failures = failures.into_iter().map(failure_from).collect::<Result<_, _>>()?;
    problems.finish(outcome.map(|outcome| WorkReport {
        sequence,
        held: Held { id: assignment_id, epoch },
        outcome,
        previous_cursor,
        cursor,
        counters,
        failures,
    }))
}

fn split_proposal(message: pb::SplitProposal) -> Result<SplitProposal, Invalid> {
    let pb::SplitProposal { sequence, assignment_id, epoch, at, until } = message;
    let mut problems = Problems::default();
    let at = key("at", at, &mut problems);
    let until = until.and_then(|until| key("until", until, &mut problems));
    problems.finish(at.map(|at| SplitProposal {
        sequence,
        held: Held { id: assignment_id, epoch },
        at,
        until,
    }))
}

fn upload_intent(message: pb::UploadIntent) -> Result<UploadIntent, Invalid> {
    let pb::UploadIntent { sequence, assignment_id, epoch, key, upload_id } = message;
    let mut problems = Problems::default();
    let key = self::key("key", key, &mut problems);
    let upload_id = Some(upload_id).filter(|id| !id.is_empty());
    problems.finish(key.map(|key| UploadIntent {
        sequence,
        held: Held { id: assignment_id, epoch },
        key,
        upload_id,
    }))
}

/// A message of the server.
///
/// # Errors
/// When it is not understood; of an assignment so that it can be refused.
pub fn to_agent(response: pb::OpenSessionResponse) -> Result<ToAgent, UnknownMessage> {
    use pb::open_session_response::Message;
    let message = response.message.ok_or(UnknownMessage::Kind)?;
    Ok(match message {
        Message::Welcome(pb::Welcome { protocol, features, session, incarnation, lease }) => {
            let lease = lease.ok_or_else(|| Invalid::one("lease", "is missing"))?;
            ToAgent::Welcome(Welcome {
                protocol: u32::try_from(protocol).unwrap_or_default(),
                features,
                session,
                incarnation,
                lease: self::lease(lease)?,
            })
        }
        Message::Lease(message) => ToAgent::Lease(lease(message)?),
        Message::Assignment(message) => {
            let held = Held { id: message.assignment_id, epoch: message.epoch };
            match assignment(message) {
                Ok(assignment) => ToAgent::Assignment(Box::new(assignment)),
                Err(problem) => return Err(UnknownMessage::Assignment { held, problem }),
            }
        }
        Message::Revocation(pb::Revocation { assignment_id, epoch, reason }) => {
            ToAgent::Revocation { held: Held { id: assignment_id, epoch }, reason }
        }
        Message::Ack(message) => ToAgent::Ack(ack(message)?),
        Message::SplitRequest(pb::SplitRequest { assignment_id, epoch }) => {
            ToAgent::SplitRequest(Held { id: assignment_id, epoch })
        }
        Message::Redirect(pb::Redirect { within }) => {
            ToAgent::Redirect(within.as_ref().and_then(duration_from).unwrap_or(Duration::ZERO))
        }
    })
}

fn lease(message: pb::Lease) -> Result<Lease, Invalid> {
    let pb::Lease { sequence, write_window, heartbeat_interval, confirmed } = message;
    let mut problems = Problems::default();
    let mut duration = |field: &str, duration: Option<prost_types::Duration>| {
        let duration =
            duration.as_ref().and_then(duration_from).filter(|duration| !duration.is_zero());
        if duration.is_none() {
            problems.add(field, "is missing");
        }
        duration
    };
    let write_window = duration("write_window", write_window);
    let heartbeat_interval = duration("heartbeat_interval", heartbeat_interval);
    let lease = || {
        Some(Lease {
            sequence,
            write_window: write_window?,
            heartbeat_interval: heartbeat_interval?,
            confirmed: confirmed.into_iter().map(held_from).collect(),
        })
    };
    let lease = lease();
    problems.finish(lease)
}

fn ack(message: pb::Ack) -> Result<Ack, Invalid> {
    use pb::ack::Verdict as Wire;
    let pb::Ack { sequence, verdict } = message;
    let mut problems = Problems::default();
    let verdict = problems.choice("verdict", verdict, |verdict| match verdict {
        Wire::Unspecified => None,
        Wire::Applied => Some(Verdict::Applied),
        Wire::Stale => Some(Verdict::Stale),
    });
    problems.finish(verdict.map(|verdict| Ack { sequence, verdict }))
}

fn assignment(message: pb::Assignment) -> Result<Assignment, Invalid> {
    let pb::Assignment {
        assignment_id,
        epoch,
        run,
        source,
        destination,
        source_endpoint,
        destination_endpoint,
        source_facts,
        destination_facts,
        compare,
        filter,
        uploads,
        traceparent,
        work,
    } = message;
    let mut problems = Problems::default();
    let (job, number) = names::parse_run(&run)?;
    let number = number.ok_or_else(|| Invalid::one("run", "has no number"))?;
    let facts = |facts: Option<_>, field: &str| {
        facts_from(facts.ok_or_else(|| Invalid::one(field, "is missing"))?)
    };
    let source_facts = facts(source_facts, "source_facts")?;
    let destination_facts = facts(destination_facts, "destination_facts")?;
    let source = job::location("source", source, &mut problems);
    let destination =
        job::destination("destination", destination.unwrap_or_default(), &mut problems);
    let source_endpoint =
        endpoint::spec(source_endpoint.unwrap_or_default(), "source_endpoint", &mut problems);
    let destination_endpoint = endpoint::spec(
        destination_endpoint.unwrap_or_default(),
        "destination_endpoint",
        &mut problems,
    );
    let compare = job::compare(compare, &mut problems);
    let filter = filter.map(|filter| job::filter(filter, &mut problems)).unwrap_or_default();
    let uploads: Vec<_> = uploads.into_iter().map(|one| upload(one, &mut problems)).collect();
    let work = self::work(work, &mut problems);
    let assignment = || {
        Some(Assignment {
            held: Held { id: assignment_id, epoch },
            run: RunName { job, number },
            source: source?,
            destination: destination?,
            source_endpoint,
            destination_endpoint,
            source_facts,
            destination_facts,
            compare: compare?,
            filter,
            uploads: uploads.into_iter().collect::<Option<_>>()?,
            traceparent,
            work: work?,
        })
    };
    let assignment = assignment();
    problems.finish(assignment)
}

fn upload(upload: pb::Upload, problems: &mut Problems) -> Option<Upload> {
    let pb::Upload { key, upload_id, intent_time } = upload;
    let key = self::key("uploads.key", key, problems)?;
    Some(Upload {
        key,
        upload_id: Some(upload_id).filter(|id| !id.is_empty()),
        intent: time(intent_time),
    })
}

fn work(work: Option<pb::assignment::Work>, problems: &mut Problems) -> Option<Work> {
    match work {
        None => {
            problems.add("work", "is of a kind this version does not know");
            None
        }
        Some(pb::assignment::Work::Reap(pb::ReapWork {})) => Some(Work::Reap),
        Some(pb::assignment::Work::Range(pb::RangeWork { after, until, cursor })) => {
            let mut optional =
                |field: &str, bytes: Option<_>| bytes.and_then(|bytes| key(field, bytes, problems));
            let range = KeyRange {
                after: optional("range.after", after),
                until: optional("range.until", until),
            };
            let cursor = optional("range.cursor", cursor);
            Some(Work::Range { range, cursor })
        }
    }
}
