//! Runs, counters, failures.

use super::problems::path;
use super::{Problems, deletes, int32, int64, job, time_to};
use crate::model::{
    Counters, DestinationProgress, Failure, FailureClass, FailureGroup, Invalid, Key,
    MAX_KEY_BYTES, Run, RunState, Trigger, WorkError,
};
use crate::pb::{agent::v1 as agent_pb, v1 as pb};

/// A run as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn run_from(run: pb::Run) -> Result<Run, Invalid> {
    let pb::Run {
        name,
        state,
        state_reason,
        trigger,
        job_generation,
        destinations,
        totals: _,
        create_time,
        start_time,
        end_time,
        traceparent,
        nominal_time,
        deletes,
    } = run;
    let mut problems = Problems::default();
    let name = problems.run("name", &name);
    let state = problems.choice("state", state, run_state);
    let trigger = problems.choice("trigger", trigger, self::trigger);
    let destinations: Vec<_> = destinations
        .into_iter()
        .enumerate()
        .map(|(index, one)| progress(&format!("destinations[{index}]"), one, &mut problems))
        .collect();
    let job_generation = problems.count("job_generation", job_generation);
    let created = problems.time("create_time", create_time).unwrap_or_default();
    let started = problems.time("start_time", start_time);
    let ended = problems.time("end_time", end_time);
    let nominal = problems.time("nominal_time", nominal_time);
    let deletes = deletes.map(|review| deletes::review(review, &mut problems));
    let run = || {
        Some(Run {
            name: name?,
            state: state?,
            reason: state_reason,
            trigger: trigger?,
            job_generation,
            destinations: destinations.into_iter().collect::<Option<_>>()?,
            created,
            started,
            ended,
            traceparent,
            nominal,
            deletes,
        })
    };
    let run = run();
    problems.finish(run)
}

/// A run for the wire.
#[must_use]
pub fn run_to(run: Run) -> pb::Run {
    let totals = run.totals();
    let Run {
        name,
        state,
        reason,
        trigger,
        job_generation,
        destinations,
        created,
        started,
        ended,
        traceparent,
        nominal,
        deletes,
    } = run;
    pb::Run {
        name: name.to_string(),
        state: run_state_to(state).into(),
        state_reason: reason,
        trigger: trigger_to(trigger).into(),
        job_generation: int64(job_generation),
        destinations: destinations.into_iter().map(progress_to).collect(),
        totals: Some(counters_to(totals)),
        create_time: time_to(created),
        start_time: started.and_then(time_to),
        end_time: ended.and_then(time_to),
        traceparent,
        nominal_time: nominal.and_then(time_to),
        deletes: deletes.map(deletes::review_to),
    }
}

pub(super) fn run_state(state: pb::RunState) -> Option<RunState> {
    Some(match state {
        pb::RunState::Unspecified => return None,
        pb::RunState::Pending => RunState::Pending,
        pb::RunState::Running => RunState::Running,
        pb::RunState::Paused => RunState::Paused,
        pb::RunState::AwaitingApproval => RunState::AwaitingApproval,
        pb::RunState::Cancelling => RunState::Cancelling,
        pb::RunState::Succeeded => RunState::Succeeded,
        pb::RunState::FinishedWithFailures => RunState::FinishedWithFailures,
        pb::RunState::Incomplete => RunState::Incomplete,
        pb::RunState::Failed => RunState::Failed,
        pb::RunState::Cancelled => RunState::Cancelled,
    })
}

pub(super) fn run_state_to(state: RunState) -> pb::RunState {
    match state {
        RunState::Pending => pb::RunState::Pending,
        RunState::Running => pb::RunState::Running,
        RunState::Paused => pb::RunState::Paused,
        RunState::AwaitingApproval => pb::RunState::AwaitingApproval,
        RunState::Cancelling => pb::RunState::Cancelling,
        RunState::Succeeded => pb::RunState::Succeeded,
        RunState::FinishedWithFailures => pb::RunState::FinishedWithFailures,
        RunState::Incomplete => pb::RunState::Incomplete,
        RunState::Failed => pb::RunState::Failed,
        RunState::Cancelled => pb::RunState::Cancelled,
    }
}

fn trigger(trigger: pb::Trigger) -> Option<Trigger> {
    Some(match trigger {
        pb::Trigger::Unspecified => return None,
        pb::Trigger::Manual => Trigger::Manual,
        pb::Trigger::Schedule => Trigger::Schedule,
        pb::Trigger::Start => Trigger::Start,
        pb::Trigger::Events => Trigger::Events,
        pb::Trigger::Retry => Trigger::Retry,
        pb::Trigger::Plan => Trigger::Plan,
    })
}

fn trigger_to(trigger: Trigger) -> pb::Trigger {
    match trigger {
        Trigger::Manual => pb::Trigger::Manual,
        Trigger::Schedule => pb::Trigger::Schedule,
        Trigger::Start => pb::Trigger::Start,
        Trigger::Events => pb::Trigger::Events,
        Trigger::Retry => pb::Trigger::Retry,
        Trigger::Plan => pb::Trigger::Plan,
    }
}

fn progress(
    at: &str,
    progress: pb::DestinationProgress,
    problems: &mut Problems,
) -> Option<DestinationProgress> {
    let pb::DestinationProgress {
        endpoint,
        bucket,
        prefix,
        counters,
        open_ranges,
        leased_ranges,
        done_ranges,
    } = progress;
    let location = job::location(at, Some(pb::Location { endpoint, bucket, prefix }), problems);
    let counters = counters_in(&path(at, "counters"), counters.unwrap_or_default(), problems);
    let mut count = |field: &str, number: i32| problems.small_count(&path(at, field), number);
    let open_ranges = count("open_ranges", open_ranges);
    let leased_ranges = count("leased_ranges", leased_ranges);
    let done_ranges = count("done_ranges", done_ranges);
    Some(DestinationProgress {
        location: location?,
        counters,
        open_ranges,
        leased_ranges,
        done_ranges,
    })
}

fn progress_to(progress: DestinationProgress) -> pb::DestinationProgress {
    let DestinationProgress { location, counters, open_ranges, leased_ranges, done_ranges } =
        progress;
    let pb::Location { endpoint, bucket, prefix } = job::location_to(location);
    pb::DestinationProgress {
        endpoint,
        bucket,
        prefix,
        counters: Some(counters_to(counters)),
        open_ranges: int32(open_ranges),
        leased_ranges: int32(leased_ranges),
        done_ranges: int32(done_ranges),
    }
}

/// Counters from the wire.
///
/// # Errors
/// Every one that is negative.
pub fn counters_from(counters: pb::Counters) -> Result<Counters, Invalid> {
    let mut problems = Problems::default();
    let counters = counters_in("", counters, &mut problems);
    problems.finish(Some(counters))
}

pub(super) fn counters_in(at: &str, counters: pb::Counters, problems: &mut Problems) -> Counters {
    let pb::Counters {
        listed,
        in_step,
        copied,
        failed,
        vanished,
        archived,
        filtered,
        extra,
        deleted,
        copied_bytes,
        copied_server_side,
        list_requests,
        read_requests,
        write_requests,
        server_side_refused,
        repaired,
        tags_unread,
        destination_listed,
        not_deleted,
        copied_parts,
        copied_parts_bytes,
        copied_server_side_parts,
        copied_server_side_parts_bytes,
        copied_server_side_bytes,
    } = counters;
    let mut count = |field: &str, number: i64| problems.count(&path(at, field), number);
    Counters {
        listed: count("listed", listed),
        in_step: count("in_step", in_step),
        copied: count("copied", copied),
        failed: count("failed", failed),
        vanished: count("vanished", vanished),
        archived: count("archived", archived),
        filtered: count("filtered", filtered),
        extra: count("extra", extra),
        deleted: count("deleted", deleted),
        copied_bytes: count("copied_bytes", copied_bytes),
        copied_server_side: count("copied_server_side", copied_server_side),
        list_requests: count("list_requests", list_requests),
        read_requests: count("read_requests", read_requests),
        write_requests: count("write_requests", write_requests),
        server_side_refused: count("server_side_refused", server_side_refused),
        repaired: count("repaired", repaired),
        tags_unread: count("tags_unread", tags_unread),
        destination_listed: count("destination_listed", destination_listed),
        not_deleted: count("not_deleted", not_deleted),
        copied_parts: count("copied_parts", copied_parts),
        copied_parts_bytes: count("copied_parts_bytes", copied_parts_bytes),
        copied_server_side_parts: count("copied_server_side_parts", copied_server_side_parts),
        copied_server_side_parts_bytes: count(
            "copied_server_side_parts_bytes",
            copied_server_side_parts_bytes,
        ),
        copied_server_side_bytes: count("copied_server_side_bytes", copied_server_side_bytes),
    }
}

/// Counters for the wire.
#[must_use]
pub fn counters_to(counters: Counters) -> pb::Counters {
    let Counters {
        listed,
        in_step,
        copied,
        failed,
        vanished,
        archived,
        filtered,
        extra,
        deleted,
        copied_bytes,
        copied_server_side,
        list_requests,
        read_requests,
        write_requests,
        server_side_refused,
        repaired,
        tags_unread,
        destination_listed,
        not_deleted,
        copied_parts,
        copied_parts_bytes,
        copied_server_side_parts,
        copied_server_side_parts_bytes,
        copied_server_side_bytes,
    } = counters;
    pb::Counters {
        listed: int64(listed),
        in_step: int64(in_step),
        copied: int64(copied),
        failed: int64(failed),
        vanished: int64(vanished),
        archived: int64(archived),
        filtered: int64(filtered),
        extra: int64(extra),
        deleted: int64(deleted),
        copied_bytes: int64(copied_bytes),
        copied_server_side: int64(copied_server_side),
        list_requests: int64(list_requests),
        read_requests: int64(read_requests),
        write_requests: int64(write_requests),
        server_side_refused: int64(server_side_refused),
        repaired: int64(repaired),
        tags_unread: int64(tags_unread),
        destination_listed: int64(destination_listed),
        not_deleted: int64(not_deleted),
        copied_parts: int64(copied_parts),
        copied_parts_bytes: int64(copied_parts_bytes),
        copied_server_side_parts: int64(copied_server_side_parts),
        copied_server_side_parts_bytes: int64(copied_server_side_parts_bytes),
        copied_server_side_bytes: int64(copied_server_side_bytes),
    }
}

/// A failure from the wire.
///
/// # Errors
/// Every problem of the fields.
pub fn failure_from(failure: pb::Failure) -> Result<Failure, Invalid> {
    let pb::Failure {
        key,
        destination,
        class,
        code,
        message,
        s3_request_id,
        attempts,
        first_time,
        last_time,
    } = failure;
    let mut problems = Problems::default();
    let key = self::key("key", key, &mut problems);
    let class = problems.choice("class", class, self::class);
    let destination = problems.small_count("destination", destination);
    let attempts = problems.small_count("attempts", attempts);
    let first = problems.time("first_time", first_time).unwrap_or_default();
    let last = problems.time("last_time", last_time).unwrap_or(first);
    let failure = || {
        Some(Failure {
            key: key?,
            destination,
            class: class?,
            code,
            message,
            s3_request_id,
            attempts,
            first,
            last,
        })
    };
    let failure = failure();
    problems.finish(failure)
}

/// A failure for the wire.
#[must_use]
pub fn failure_to(failure: Failure) -> pb::Failure {
    let Failure { key, destination, class, code, message, s3_request_id, attempts, first, last } =
        failure;
    pb::Failure {
        key: key.into_bytes(),
        destination: int32(destination),
        class: class_to(class).into(),
        code,
        message,
        s3_request_id,
        attempts: int32(attempts),
        first_time: time_to(first),
        last_time: time_to(last),
    }
}

/// A group of failures as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn failure_group_from(group: pb::FailureGroup) -> Result<FailureGroup, Invalid> {
    let pb::FailureGroup { size, sample } = group;
    let mut problems = Problems::default();
    let size = problems.count("size", size);
    let sample = problems.part("sample", failure_from(sample.unwrap_or_default()));
    problems.finish(sample.map(|sample| FailureGroup { size, sample }))
}

/// A group of failures for the wire.
#[must_use]
pub fn failure_group_to(group: FailureGroup) -> pb::FailureGroup {
    let FailureGroup { size, sample } = group;
    pb::FailureGroup { size: int64(size), sample: Some(failure_to(sample)) }
}

/// The class a request asks for; `None` when it asks for all.
///
/// # Errors
/// When it is not known.
pub fn failure_class(number: i32) -> Result<Option<FailureClass>, Invalid> {
    if number == i32::from(pb::FailureClass::Unspecified) {
        return Ok(None);
    }
    let mut problems = Problems::default();
    let class = problems.choice("class", number, self::class);
    problems.finish(class.map(Some))
}

/// A class for a request; `None` asks for all.
#[must_use]
pub fn failure_class_to(class: Option<FailureClass>) -> i32 {
    class.map_or(pb::FailureClass::Unspecified, class_to).into()
}

pub(super) fn key(field: &str, bytes: prost::bytes::Bytes, problems: &mut Problems) -> Option<Key> {
    if bytes.len() > MAX_KEY_BYTES {
        problems
            .add(field, format!("has {} bytes; a key has at most {MAX_KEY_BYTES}", bytes.len()));
        return None;
    }
    Some(Key::new(bytes))
}

pub(super) fn class(class: pb::FailureClass) -> Option<FailureClass> {
    Some(match class {
        pb::FailureClass::Unspecified => return None,
        pb::FailureClass::Throttled => FailureClass::Throttled,
        pb::FailureClass::Transient => FailureClass::Transient,
        pb::FailureClass::Changed => FailureClass::Changed,
        pb::FailureClass::Permanent => FailureClass::Permanent,
        pb::FailureClass::Archived => FailureClass::Archived,
        pb::FailureClass::Poison => FailureClass::Poison,
    })
}

pub(super) fn class_to(class: FailureClass) -> pb::FailureClass {
    match class {
        FailureClass::Throttled => pb::FailureClass::Throttled,
        FailureClass::Transient => pb::FailureClass::Transient,
        FailureClass::Changed => pb::FailureClass::Changed,
        FailureClass::Permanent => pb::FailureClass::Permanent,
        FailureClass::Archived => pb::FailureClass::Archived,
        FailureClass::Poison => pb::FailureClass::Poison,
    }
}

pub(super) fn work_error(
    error: Option<agent_pb::WorkError>,
    problems: &mut Problems,
) -> Option<WorkError> {
    let Some(agent_pb::WorkError { class, code, message }) = error else {
        problems.add("error", "is missing");
        return None;
    };
    let class = problems.choice("error.class", class, self::class);
    Some(WorkError { class: class?, code, message })
}

pub(super) fn work_error_to(error: WorkError) -> agent_pb::WorkError {
    let WorkError { class, code, message } = error;
    agent_pb::WorkError { class: class_to(class).into(), code, message }
}
