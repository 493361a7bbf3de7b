//! Messages of a session, for the wire.

use super::run::work_error_to;
use super::{
    agent, ask, counters_to, deletes, duration_to, endpoint, events, facts_to, failure_to, int32,
    int64, job, time_to, usage,
};
use crate::model::{
    Ack, Assignment, FromAgent, Held, Hello, Key, Lease, Outcome, Share, Shares, SplitProposal,
    State, Suspicion, ToAgent, Upload, UploadIntent, UploadPlan, Verdict, Welcome, Work,
    WorkReport,
};
use crate::pb::agent::v1 as pb;

/// A message of an agent.
#[must_use]
pub fn from_agent_to(message: FromAgent) -> pb::OpenSessionRequest {
    use pb::open_session_request::Message;
    let message = match message {
        FromAgent::Hello(hello) => Message::Hello(hello_to(hello)),
        FromAgent::State(State { sequence, capacity, held, draining, last_lease }) => {
            Message::State(pb::State {
                sequence,
                capacity: int32(capacity),
                held: held.into_iter().map(held_to).collect(),
                draining,
                last_lease,
            })
        }
        FromAgent::Report(report) => Message::Report(report_to(report)),
        FromAgent::Refusal { held, error } => Message::Refusal(pb::Refusal {
            assignment_id: held.id,
            epoch: held.epoch,
            error: Some(work_error_to(error)),
        }),
        FromAgent::SplitProposal(SplitProposal { sequence, held, at, until }) => {
            Message::SplitProposal(pb::SplitProposal {
                sequence,
                assignment_id: held.id,
                epoch: held.epoch,
                at: at.into_bytes(),
                until: until.map(Key::into_bytes),
            })
        }
        FromAgent::SplitDecline { held, reason } => Message::SplitDecline(pb::SplitDecline {
            assignment_id: held.id,
            epoch: held.epoch,
            reason,
        }),
        FromAgent::UploadIntent(UploadIntent { sequence, held, key, upload_id, plan }) => {
            Message::UploadIntent(pb::UploadIntent {
                sequence,
                assignment_id: held.id,
                epoch: held.epoch,
                key: key.into_bytes(),
                upload_id: upload_id.unwrap_or_default(),
                plan: plan.map(upload_plan),
            })
        }
        FromAgent::Suspicion(Suspicion { sequence, held, key }) => {
            let (assignment_id, epoch, key) = (held.id, held.epoch, key.into_bytes());
            Message::Suspicion(pb::Suspicion { sequence, assignment_id, epoch, key })
        }
        FromAgent::Facts { sequence, facts } => {
            Message::Facts(pb::FactsReport { sequence, facts: Some(facts_to(facts)) })
        }
        FromAgent::Goodbye => Message::Goodbye(pb::Goodbye {}),
        FromAgent::Answer { id, answer } => Message::Answer(ask::answer_to(id, answer)),
        FromAgent::SharesApplied(version) => Message::SharesApplied(pb::SharesApplied { version }),
        FromAgent::Events(batch) => Message::Events(events::batch_to(batch)),
    };
    pb::OpenSessionRequest { message: Some(message) }
}

fn hello_to(hello: Hello) -> pb::Hello {
    let Hello {
        protocol,
        features,
        agent,
        instance_id,
        version,
        labels,
        endpoints,
        held,
        capacity,
        now,
    } = hello;
    pb::Hello {
        min_protocol: int32(protocol.0),
        max_protocol: int32(protocol.1),
        features,
        agent: agent.into(),
        instance_id,
        version,
        labels: labels.into_iter().collect(),
        endpoints: agent::endpoints_to(endpoints),
        held: held.into_iter().map(held_to).collect(),
        capacity: int32(capacity),
        now: time_to(now),
    }
}

fn held_to(held: Held) -> pb::Held {
    pb::Held { assignment_id: held.id, epoch: held.epoch }
}

fn report_to(report: WorkReport) -> pb::WorkReport {
    use pb::work_report::Outcome as Wire;
    let WorkReport { sequence, held, outcome, previous_cursor, cursor, counters, failures, extras } =
        report;
    let keys = |keys: Vec<Key>| keys.into_iter().map(Key::into_bytes).collect();
    let (outcome, error) = match outcome {
        Outcome::Checkpoint => (Wire::Checkpoint, None),
        Outcome::Completed => (Wire::Completed, None),
        Outcome::Yielded => (Wire::Yielded, None),
        Outcome::Errored(error) => (Wire::Errored, Some(work_error_to(error))),
    };
    let (gone, gone_objects) = deletes::without_objects(extras.gone);
    pb::WorkReport {
        sequence,
        assignment_id: held.id,
        epoch: held.epoch,
        outcome: outcome.into(),
        previous_cursor: previous_cursor.map(Key::into_bytes),
        cursor: cursor.map(Key::into_bytes),
        counters: Some(counters_to(counters)),
        failures: failures.into_iter().map(failure_to).collect(),
        error,
        deleting: keys(extras.deleting),
        extra_samples: keys(extras.samples),
        gone,
        gone_objects,
        usage: (!extras.usage.is_empty()).then(|| usage::usage_to(extras.usage)),
    }
}

/// A message of the server.
#[must_use]
pub fn to_agent_to(message: ToAgent) -> pb::OpenSessionResponse {
    use pb::open_session_response::Message;
    let message = match message {
        ToAgent::Welcome(Welcome { protocol, features, session, incarnation, lease }) => {
            Message::Welcome(pb::Welcome {
                protocol: int32(protocol),
                features,
                session,
                incarnation,
                lease: Some(lease_to(lease)),
            })
        }
        ToAgent::Lease(lease) => Message::Lease(lease_to(lease)),
        ToAgent::Assignment(assignment) => Message::Assignment(assignment_to(*assignment)),
        ToAgent::Revocation { held, reason } => Message::Revocation(pb::Revocation {
            assignment_id: held.id,
            epoch: held.epoch,
            reason,
        }),
        ToAgent::Ack(Ack { sequence, verdict }) => {
            let verdict = match verdict {
                Verdict::Applied => pb::ack::Verdict::Applied,
                Verdict::Stale => pb::ack::Verdict::Stale,
            };
            Message::Ack(pb::Ack { sequence, verdict: verdict.into() })
        }
        ToAgent::SplitRequest(held) => {
            Message::SplitRequest(pb::SplitRequest { assignment_id: held.id, epoch: held.epoch })
        }
        ToAgent::Redirect(within) => {
            Message::Redirect(pb::Redirect { within: duration_to(within) })
        }
        ToAgent::Question(question) => Message::Question(ask::question_to(question)),
        ToAgent::Withdrawal(id) => Message::Question(ask::withdrawal_to(id)),
        ToAgent::Watch(watch) => Message::Watch(events::watch_to(*watch)),
        ToAgent::Shares(shares) => Message::Shares(shares_to(shares)),
    };
    pb::OpenSessionResponse { message: Some(message) }
}

fn shares_to(shares: Shares) -> pb::Shares {
    let Shares { version, shares } = shares;
    let share = |Share { run, bandwidth, requests }: Share| pb::Share {
        run: run.to_string(),
        bandwidth_thousandths: bandwidth.map(int64),
        requests_thousandths: requests.map(int64),
    };
    pb::Shares { version, shares: shares.into_iter().map(share).collect() }
}

fn lease_to(lease: Lease) -> pb::Lease {
    let Lease { sequence, write_window, heartbeat_interval, confirmed } = lease;
    pb::Lease {
        sequence,
        write_window: duration_to(write_window),
        heartbeat_interval: duration_to(heartbeat_interval),
        confirmed: confirmed.into_iter().map(held_to).collect(),
    }
}

pub(super) fn assignment_to(assignment: Assignment) -> pb::Assignment {
    let Assignment {
        held,
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
    } = assignment;
    let upload = |Upload { key, upload_id, intent, plan }| pb::Upload {
        key: Key::into_bytes(key),
        upload_id: upload_id.unwrap_or_default(),
        intent_time: time_to(intent),
        plan: plan.map(upload_plan),
    };
    let work = match work {
        Work::Reap => pb::assignment::Work::Reap(pb::ReapWork {}),
        Work::Keys(keys) => pb::assignment::Work::Keys(pb::KeysWork {
            keys: keys.into_iter().map(Key::into_bytes).collect(),
        }),
        Work::DeleteKeys { keys, unconditional } => {
            pb::assignment::Work::DeleteKeys(deletes::keys_to_delete_to(keys, unconditional))
        }
        Work::Delete(work) => pb::assignment::Work::Delete(deletes::work_to(work)),
        Work::Range { range, cursor } => pb::assignment::Work::Range(pb::RangeWork {
            after: range.after.map(Key::into_bytes),
            until: range.until.map(Key::into_bytes),
            cursor: cursor.map(Key::into_bytes),
        }),
    };
    pb::Assignment {
        assignment_id: held.id,
        epoch: held.epoch,
        run: run.to_string(),
        source: Some(job::location_to(source)),
        destination: Some(job::destination_to(destination)),
        source_endpoint: Some(endpoint::spec_to(source_endpoint)),
        destination_endpoint: Some(endpoint::spec_to(destination_endpoint)),
        source_facts: Some(facts_to(source_facts)),
        destination_facts: Some(facts_to(destination_facts)),
        compare: job::compare_to(compare),
        filter: Some(job::filter_to(filter)),
        uploads: uploads.into_iter().map(upload).collect(),
        traceparent,
        trace_links,
        careful,
        work: Some(work),
    }
}

fn upload_plan(plan: UploadPlan) -> pb::UploadPlan {
    let UploadPlan { source_etag, size, part_size, opened_with } = plan;
    pb::UploadPlan { source_etag, size, part_size, opened_with }
}
