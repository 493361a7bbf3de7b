//! Requests of agents, what they wait for, what they do right now, and the report of a run that is made of it.

use super::problems::path;
use super::run::{failure_group_from, failure_group_to, run_from, run_state, run_state_to, run_to};
use super::view::{each, run_stage, run_stage_to};
use super::{Problems, duration_to, int32, int64, names, time_to};
use crate::model::{
    Activity, EndpointLoad, Happening, Invalid, Location, Operation, RequestSide, RequestUsage,
    RunReport, TimelineEntry, Usage, WaitReason, WaitUsage,
};
use crate::pb::v1 as pb;

/// Requests and waits. What this version does not know is left out: it counts something of a newer one.
pub(super) fn usage(at: &str, usage: pb::Usage, problems: &mut Problems) -> Usage {
    let pb::Usage { requests, waits } = usage;
    // Added one by one, so that each is there once, whatever was sent.
    let mut known = Usage::default();
    for (index, one) in requests.into_iter().enumerate() {
        let at = path(at, &format!("requests[{index}]"));
        let pb::RequestUsage { side, operation, made, slowed, failed, time } = one;
        let time = problems.duration(&path(&at, "time"), time).unwrap_or_default();
        let mut count = |field: &str, number| problems.count(&path(&at, field), number);
        let (made, slowed) = (count("made", made), count("slowed", slowed));
        let failed = count("failed", failed);
        let (Some(side), Some(operation)) = (self::side(side), self::operation(operation)) else {
            continue;
        };
        let request = RequestUsage { side, operation, made, slowed, failed, time };
        known += Usage { requests: vec![request], waits: Vec::new() };
    }
    for (index, pb::WaitUsage { reason, time }) in waits.into_iter().enumerate() {
        let at = path(at, &format!("waits[{index}].time"));
        let time = problems.duration(&at, time).unwrap_or_default();
        if let Some(reason) = self::reason(reason) {
            known += Usage { requests: Vec::new(), waits: vec![WaitUsage { reason, time }] };
        }
    }
    known
}

/// The same for the wire.
pub(super) fn usage_to(usage: Usage) -> pb::Usage {
    let Usage { requests, waits } = usage;
    let request = |one: RequestUsage| pb::RequestUsage {
        side: side_to(one.side).into(),
        operation: operation_to(one.operation).into(),
        made: int64(one.made),
        slowed: int64(one.slowed),
        failed: int64(one.failed),
        time: duration_to(one.time),
    };
    let wait = |one: WaitUsage| pb::WaitUsage {
        reason: reason_to(one.reason).into(),
        time: duration_to(one.time),
    };
    pb::Usage {
        requests: requests.into_iter().map(request).collect(),
        waits: waits.into_iter().map(wait).collect(),
    }
}

/// What an agent does.
pub(super) fn activity(at: &str, activity: pb::Activity, problems: &mut Problems) -> Activity {
    let pb::Activity { time, listed, copied, moved_bytes, usage, loads } = activity;
    let time = problems.duration(&path(at, "time"), time).unwrap_or_default();
    let mut count = |field: &str, number| problems.count(&path(at, field), number);
    let (listed, copied) = (count("listed", listed), count("copied", copied));
    let moved_bytes = count("moved_bytes", moved_bytes);
    let usage = self::usage(&path(at, "usage"), usage.unwrap_or_default(), problems);
    let loads = each(&path(at, "loads"), loads, problems, |at, load, problems| {
        let pb::EndpointLoad { endpoint, in_flight, allowed, most } = load;
        let endpoint = problems.name(&path(at, "endpoint"), &endpoint);
        let mut count = |field: &str, number| problems.small_count(&path(at, field), number);
        let (in_flight, allowed) = (count("in_flight", in_flight), count("allowed", allowed));
        let most = count("most", most);
        Some(EndpointLoad { endpoint: endpoint?, in_flight, allowed, most })
    });
    Activity { time, listed, copied, moved_bytes, usage, loads }
}

/// The same for the wire.
pub(super) fn activity_to(activity: Activity) -> pb::Activity {
    let Activity { time, listed, copied, moved_bytes, usage, loads } = activity;
    let load = |one: EndpointLoad| pb::EndpointLoad {
        endpoint: one.endpoint.to_string(),
        in_flight: int32(one.in_flight),
        allowed: int32(one.allowed),
        most: int32(one.most),
    };
    pb::Activity {
        time: duration_to(time),
        listed: int64(listed),
        copied: int64(copied),
        moved_bytes: int64(moved_bytes),
        usage: Some(usage_to(usage)),
        loads: loads.into_iter().map(load).collect(),
    }
}

/// The report of a run, as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn run_report_from(report: pb::RunReport) -> Result<RunReport, Invalid> {
    let pb::RunReport {
        run,
        source_endpoint,
        source_bucket,
        source_prefix,
        usages,
        timeline,
        splits,
        losses,
        failures,
    } = report;
    let mut problems = Problems::default();
    let run = problems.part("run", run_from(run.unwrap_or_default()));
    let endpoint = problems.name("source_endpoint", &source_endpoint);
    let usages =
        each("usages", usages, &mut problems, |at, one, problems| Some(usage(at, one, problems)));
    let timeline = each("timeline", timeline, &mut problems, entry);
    let splits = problems.count("splits", splits);
    let losses = problems.count("losses", losses);
    let failures = each("failures", failures, &mut problems, |at, one, problems| {
        problems.part(at, failure_group_from(one))
    });
    let report = || {
        let source = Location { endpoint: endpoint?, bucket: source_bucket, prefix: source_prefix };
        Some(RunReport { run: run?, source, usages, timeline, splits, losses, failures })
    };
    let report = report();
    problems.finish(report)
}

/// The report of a run, for the wire.
#[must_use]
pub fn run_report_to(report: RunReport) -> pb::RunReport {
    let RunReport { run, source, usages, timeline, splits, losses, failures } = report;
    pb::RunReport {
        run: Some(run_to(run)),
        source_endpoint: source.endpoint.to_string(),
        source_bucket: source.bucket,
        source_prefix: source.prefix,
        usages: usages.into_iter().map(usage_to).collect(),
        timeline: timeline.into_iter().map(entry_to).collect(),
        splits: int64(splits),
        losses: int64(losses),
        failures: failures.into_iter().map(failure_group_to).collect(),
    }
}

/// An entry; one of a kind that this version does not know is left out.
fn entry(at: &str, entry: pb::TimelineEntry, problems: &mut Problems) -> Option<TimelineEntry> {
    let pb::TimelineEntry { time, state, stage, lost_agent, reason } = entry;
    let time = problems.time(&path(at, "time"), time).unwrap_or_default();
    let state = pb::RunState::try_from(state).ok().and_then(run_state).map(Happening::State);
    let stage = pb::RunStage::try_from(stage).ok().and_then(run_stage).map(Happening::Stage);
    let lost = match lost_agent.as_str() {
        "" => None,
        agent => problems.part(&path(at, "lost_agent"), names::agent_name(agent)),
    };
    let what = state.or(stage).or(lost.map(Happening::Lost))?;
    Some(TimelineEntry { time, what, reason })
}

fn entry_to(entry: TimelineEntry) -> pb::TimelineEntry {
    let TimelineEntry { time, what, reason } = entry;
    let mut wire = pb::TimelineEntry { time: time_to(time), reason, ..Default::default() };
    match what {
        Happening::State(state) => wire.state = run_state_to(state).into(),
        Happening::Stage(stage) => wire.stage = run_stage_to(stage).into(),
        Happening::Lost(agent) => wire.lost_agent = names::format_agent(&agent),
    }
    wire
}

fn side(side: i32) -> Option<RequestSide> {
    match pb::RequestSide::try_from(side).ok()? {
        pb::RequestSide::Unspecified => None,
        pb::RequestSide::Source => Some(RequestSide::Source),
        pb::RequestSide::Destination => Some(RequestSide::Destination),
    }
}

fn side_to(side: RequestSide) -> pb::RequestSide {
    match side {
        RequestSide::Source => pb::RequestSide::Source,
        RequestSide::Destination => pb::RequestSide::Destination,
    }
}

fn operation(operation: i32) -> Option<Operation> {
    let known = pb::S3Operation::try_from(operation).ok()?;
    Operation::ALL.into_iter().find(|one| operation_to(*one) == known)
}

fn operation_to(operation: Operation) -> pb::S3Operation {
    match operation {
        Operation::List => pb::S3Operation::List,
        Operation::Head => pb::S3Operation::Head,
        Operation::Get => pb::S3Operation::Get,
        Operation::GetTags => pb::S3Operation::GetTags,
        Operation::Put => pb::S3Operation::Put,
        Operation::Copy => pb::S3Operation::Copy,
        Operation::CreateUpload => pb::S3Operation::CreateUpload,
        Operation::UploadPart => pb::S3Operation::UploadPart,
        Operation::CopyPart => pb::S3Operation::CopyPart,
        Operation::CompleteUpload => pb::S3Operation::CompleteUpload,
        Operation::AbortUpload => pb::S3Operation::AbortUpload,
        Operation::Delete => pb::S3Operation::Delete,
        Operation::DeleteMany => pb::S3Operation::DeleteMany,
        Operation::ListUploads => pb::S3Operation::ListUploads,
        Operation::ListParts => pb::S3Operation::ListParts,
        Operation::GetNotifications => pb::S3Operation::GetNotifications,
    }
}

fn reason(reason: i32) -> Option<WaitReason> {
    let known = pb::WaitReason::try_from(reason).ok()?;
    WaitReason::ALL.into_iter().find(|one| reason_to(*one) == known)
}

fn reason_to(reason: WaitReason) -> pb::WaitReason {
    match reason {
        WaitReason::SlowDown => pb::WaitReason::SlowDown,
        WaitReason::Retry => pb::WaitReason::Retry,
        WaitReason::RequestLimit => pb::WaitReason::RequestLimit,
        WaitReason::BandwidthLimit => pb::WaitReason::BandwidthLimit,
        WaitReason::RequestSlots => pb::WaitReason::RequestSlots,
        WaitReason::Memory => pb::WaitReason::Memory,
        WaitReason::Lease => pb::WaitReason::Lease,
        WaitReason::Listing => pb::WaitReason::Listing,
    }
}
