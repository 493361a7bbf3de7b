//! Messages of a session, from the wire.

use super::ask::{self, Asked};
use super::problems::path;
use super::run::{counters_in, key, work_error};
use super::{Problems, agent, deletes, endpoint, events, facts_from, failure_from, job, usage};
use crate::model::{
    Ack, Assignment, BucketFacts, FromAgent, Held, Hello, Invalid, KeyRange, Lease,
    MAX_OPENED_WITH, MAX_PARTS, MAX_TRACE_LINKS, Outcome, Share, Shares, SplitProposal, State,
    Suspicion, ToAgent, Upload, UploadIntent, UploadPlan, Verdict, Welcome, Work, WorkReport,
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
    /// A question this version does not know, or that makes no sense: it must be refused, never ignored.
    #[error("question {id} is not understood: {problem}")]
    Question {
        /// Which.
        id: u64,
        /// Why.
        problem: Invalid,
    },
    /// An answer that makes no sense. Somebody waits for it.
    #[error("the answer to question {id} is not understood: {problem}")]
    Answer {
        /// To which.
        id: u64,
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
        Message::Suspicion(message) => FromAgent::Suspicion(suspicion(message)?),
        Message::Facts(pb::FactsReport { sequence, facts }) => {
            let mut problems = Problems::default();
            let facts = self::facts("facts", facts, &mut problems);
            FromAgent::Facts { sequence, facts: problems.finish(facts)? }
        }
        Message::Goodbye(pb::Goodbye {}) => FromAgent::Goodbye,
        Message::Answer(pb::Answer { id, answer }) => match ask::answer(answer) {
            Ok(answer) => FromAgent::Answer { id, answer },
            Err(problem) => return Err(UnknownMessage::Answer { id, problem }),
        },
        Message::SharesApplied(pb::SharesApplied { version }) => FromAgent::SharesApplied(version),
        Message::Events(message) => FromAgent::Events(events::batch(message)?),
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
    let known = u32::try_from(min_protocol).ok().zip(u32::try_from(max_protocol).ok());
    let protocol = known.filter(|(min, max)| *min > 0 && min <= max);
    if protocol.is_none() {
        problems.add(
            "max_protocol",
            format!("{min_protocol} to {max_protocol} is not a range of versions"),
        );
    }
    let endpoints = agent::endpoints_from(endpoints, &mut problems);
    let capacity = problems.small_count("capacity", capacity);
    let now = problems.time("now", now).unwrap_or_default();
    problems.finish(agent.zip(protocol).map(|(agent, protocol)| Hello {
        protocol,
        features,
        agent,
        instance_id,
        version,
        labels: labels.into_iter().collect(),
        endpoints,
        held: held.into_iter().map(held_from).collect(),
        capacity,
        now,
    }))
}

fn state(message: pb::State) -> Result<State, Invalid> {
    let pb::State { sequence, capacity, held, draining, last_lease } = message;
    let mut problems = Problems::default();
    let capacity = problems.small_count("capacity", capacity);
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
        deleting,
        extra_samples,
        gone,
        usage,
        gone_objects,
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
        // Only here an error means something; beside another outcome it is left alone.
        Some(Wire::Errored) => work_error(error, &mut problems).map(Outcome::Errored),
    };
    let previous_cursor =
        previous_cursor.and_then(|bytes| key("previous_cursor", bytes, &mut problems));
    let cursor = cursor.and_then(|bytes| key("cursor", bytes, &mut problems));
    let counters = counters_in("counters", counters.unwrap_or_default(), &mut problems);
    let mut known = Vec::with_capacity(failures.len());
    for (index, failure) in failures.into_iter().enumerate() {
        known.extend(problems.part(&format!("failures[{index}]"), failure_from(failure)));
    }
    let mut extras = deletes::extras([deleting, extra_samples, gone], gone_objects, &mut problems);
    extras.usage = usage::usage("usage", usage.unwrap_or_default(), &mut problems);
    problems.finish(outcome.map(|outcome| WorkReport {
        sequence,
        held: Held { id: assignment_id, epoch },
        outcome,
        previous_cursor,
        cursor,
        counters,
        failures: known,
        extras,
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
    let pb::UploadIntent { sequence, assignment_id, epoch, key, upload_id, plan } = message;
    let mut problems = Problems::default();
    let key = self::key("key", key, &mut problems);
    let upload_id = Some(upload_id).filter(|id| !id.is_empty());
    let plan = upload_plan("plan", plan, upload_id.as_deref(), &mut problems);
    problems.finish(key.map(|key| UploadIntent {
        sequence,
        held: Held { id: assignment_id, epoch },
        key,
        upload_id,
        plan,
    }))
}

fn suspicion(message: pb::Suspicion) -> Result<Suspicion, Invalid> {
    let pb::Suspicion { sequence, assignment_id, epoch, key } = message;
    let mut problems = Problems::default();
    let key = self::key("key", key, &mut problems);
    let held = Held { id: assignment_id, epoch };
    problems.finish(key.map(|key| Suspicion { sequence, held, key }))
}

/// A message of the server.
///
/// # Errors
/// When it is not understood; of an assignment so that it can be refused.
pub fn to_agent(response: pb::OpenSessionResponse) -> Result<ToAgent, UnknownMessage> {
    use pb::open_session_response::Message;
    let message = response.message.ok_or(UnknownMessage::Kind)?;
    Ok(match message {
        Message::Welcome(message) => ToAgent::Welcome(welcome(message)?),
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
            let mut problems = Problems::default();
            let within = problems.duration("within", within).unwrap_or_default();
            ToAgent::Redirect(problems.finish(Some(within))?)
        }
        Message::Question(message) => {
            let id = message.id;
            match ask::question(message) {
                Ok(Asked::Question(question)) => ToAgent::Question(question),
                Ok(Asked::Withdrawn(id)) => ToAgent::Withdrawal(id),
                Err(problem) => return Err(UnknownMessage::Question { id, problem }),
            }
        }
        Message::Watch(message) => {
            let held = Held { id: message.assignment_id, epoch: message.epoch };
            match events::watch(message) {
                Ok(watch) => ToAgent::Watch(Box::new(watch)),
                Err(problem) => return Err(UnknownMessage::Assignment { held, problem }),
            }
        }
        Message::Shares(message) => ToAgent::Shares(shares(message)?),
    })
}

fn shares(message: pb::Shares) -> Result<Shares, Invalid> {
    let pb::Shares { version, shares } = message;
    let mut problems = Problems::default();
    let mut all = Vec::with_capacity(shares.len());
    for (index, share) in shares.into_iter().enumerate() {
        let pb::Share { run, bandwidth_thousandths, requests_thousandths } = share;
        let at = format!("shares[{index}]");
        let run = problems.run(&path(&at, "run"), &run);
        let mut rate = |field: &str, rate: Option<i64>| {
            rate.map(|rate| problems.count(&path(&at, field), rate))
        };
        let bandwidth = rate("bandwidth_thousandths", bandwidth_thousandths);
        let requests = rate("requests_thousandths", requests_thousandths);
        all.extend(run.map(|run| Share { run, bandwidth, requests }));
    }
    problems.finish(Some(Shares { version, shares: all }))
}

fn welcome(message: pb::Welcome) -> Result<Welcome, Invalid> {
    let pb::Welcome { protocol, features, session, incarnation, lease } = message;
    let mut problems = Problems::default();
    let protocol = problems.small_count("protocol", protocol);
    let lease = problems.part("lease", self::lease(lease.unwrap_or_default()));
    problems.finish(lease.map(|lease| Welcome { protocol, features, session, incarnation, lease }))
}

fn lease(message: pb::Lease) -> Result<Lease, Invalid> {
    let pb::Lease { sequence, write_window, heartbeat_interval, confirmed } = message;
    let mut problems = Problems::default();
    let mut duration = |field: &str, duration: Option<prost_types::Duration>| {
        let duration = problems.duration(field, Some(duration.unwrap_or_default()));
        if duration.is_some_and(|duration| duration.is_zero()) {
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

pub(super) fn assignment(message: pb::Assignment) -> Result<Assignment, Invalid> {
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
        trace_links,
        careful,
        work,
    } = message;
    let mut problems = Problems::default();
    let run = problems.run("run", &run);
    let source = job::location("source", source, &mut problems);
    let destination =
        job::destination("destination", destination.unwrap_or_default(), &mut problems);
    let source_endpoint =
        endpoint::spec(source_endpoint.unwrap_or_default(), "source_endpoint", &mut problems);
    let other = destination_endpoint.unwrap_or_default();
    let destination_endpoint = endpoint::spec(other, "destination_endpoint", &mut problems);
    let source_facts = facts("source_facts", source_facts, &mut problems);
    let destination_facts = facts("destination_facts", destination_facts, &mut problems);
    let compare = job::compare(compare, &mut problems);
    let filter = filter.map(|filter| job::filter(filter, &mut problems)).unwrap_or_default();
    let uploads: Vec<_> = uploads
        .into_iter()
        .enumerate()
        .map(|(index, one)| upload(&format!("uploads[{index}]"), one, &mut problems))
        .collect();
    let work = self::work(work, &mut problems);
    if trace_links.len() > MAX_TRACE_LINKS {
        problems.add("trace_links", format!("are more than {MAX_TRACE_LINKS}"));
    }
    let slice = |work: &Work| matches!(work, Work::Range { .. } | Work::Delete(_));
    if careful && work.as_ref().is_some_and(|work| !slice(work)) {
        problems.add("careful", "is set, and the work is no range");
    }
    let assignment = || {
        Some(Assignment {
            held: Held { id: assignment_id, epoch },
            run: run?,
            source: source?,
            destination: destination?,
            source_endpoint,
            destination_endpoint,
            source_facts: source_facts?,
            destination_facts: destination_facts?,
            compare: compare?,
            filter,
            uploads: uploads.into_iter().collect::<Option<_>>()?,
            traceparent,
            trace_links,
            careful,
            work: work?,
        })
    };
    problems.finish(assignment())
}

fn facts(
    at: &str,
    facts: Option<crate::pb::v1::BucketFacts>,
    problems: &mut Problems,
) -> Option<BucketFacts> {
    let Some(facts) = facts else {
        problems.add(at, "is missing");
        return None;
    };
    problems.part(at, facts_from(facts))
}

fn upload(at: &str, upload: pb::Upload, problems: &mut Problems) -> Option<Upload> {
    let pb::Upload { key, upload_id, intent_time, plan } = upload;
    let key = self::key(&path(at, "key"), key, problems);
    let intent = problems.time(&path(at, "intent_time"), intent_time).unwrap_or_default();
    let upload_id = Some(upload_id).filter(|id| !id.is_empty());
    // Without either it would be uploads of any age that are aborted, those of strangers among them.
    if upload_id.is_none() && intent_time.is_none() {
        problems.add(at, "has neither upload_id nor intent_time");
    }
    let plan = upload_plan(&path(at, "plan"), plan, upload_id.as_deref(), problems);
    Some(Upload { key: key?, upload_id, intent, plan })
}

fn upload_plan(
    at: &str,
    plan: Option<pb::UploadPlan>,
    upload_id: Option<&str>,
    problems: &mut Problems,
) -> Option<UploadPlan> {
    let pb::UploadPlan { source_etag, size, part_size, opened_with } = plan?;
    if upload_id.is_none() {
        problems.add(at, "is of an upload without an id; only one that was begun has a plan");
    }
    if source_etag.is_empty() {
        problems.add(path(at, "source_etag"), "is missing");
    }
    if part_size == 0 || size == 0 || size.div_ceil(part_size) > MAX_PARTS {
        let text = format!("{part_size} makes of {size} bytes not between 1 and {MAX_PARTS} parts");
        problems.add(path(at, "part_size"), text);
    }
    if opened_with.len() > MAX_OPENED_WITH {
        problems.add(path(at, "opened_with"), format!("is longer than {MAX_OPENED_WITH} bytes"));
    }
    Some(UploadPlan { source_etag, size, part_size, opened_with })
}

fn work(work: Option<pb::assignment::Work>, problems: &mut Problems) -> Option<Work> {
    match work {
        None => {
            problems.add("work", "is of a kind this version does not know");
            None
        }
        Some(pb::assignment::Work::Reap(pb::ReapWork {})) => Some(Work::Reap),
        Some(pb::assignment::Work::Keys(pb::KeysWork { keys })) => {
            deletes::keys_work("keys.keys", keys, problems).map(Work::Keys)
        }
        Some(pb::assignment::Work::DeleteKeys(work)) => deletes::keys_to_delete(work, problems),
        Some(pb::assignment::Work::Delete(work)) => deletes::work(work, problems),
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
