//! How a run stands right now.

use super::problems::path;
use super::run::{key, run_from, run_to};
use super::{Problems, int32, int64, names, time_to, usage};
use crate::model::{
    HeldRange, Invalid, Key, KeyRange, Limits, Location, RangeState, RangeStrip, RunAgent,
    RunStage, RunView,
};
use crate::pb::v1 as pb;

/// How a run stands, as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn run_view_from(view: pb::RunView) -> Result<RunView, Invalid> {
    let pb::RunView {
        run,
        view_time,
        stage,
        source_endpoint,
        source_bucket,
        source_prefix,
        bandwidth_limit,
        request_limit,
        strips,
        held,
        agents,
        more_agents,
        connected_agents,
        free_places,
        expected_by,
    } = view;
    let mut problems = Problems::default();
    let run = problems.part("run", run_from(run.unwrap_or_default()));
    let time = problems.time("view_time", view_time).unwrap_or_default();
    let stage = problems.choice("stage", stage, run_stage);
    let endpoint = problems.name("source_endpoint", &source_endpoint);
    let limits = Limits {
        bandwidth: problems.optional_count("bandwidth_limit", bandwidth_limit),
        requests_per_second: problems.optional_count("request_limit", request_limit),
    };
    let strips = each("strips", strips, &mut problems, strip);
    let held = each("held", held, &mut problems, held_range);
    let agents = each("agents", agents, &mut problems, agent);
    let more_agents = problems.small_count("more_agents", more_agents);
    let connected_agents = problems.small_count("connected_agents", connected_agents);
    let free_places = problems.small_count("free_places", free_places);
    let expected_by = match expected_by.as_str() {
        "" => None,
        name => problems.run("expected_by", name),
    };
    let view = || {
        Some(RunView {
            run: run?,
            time,
            stage: stage?,
            source: Location { endpoint: endpoint?, bucket: source_bucket, prefix: source_prefix },
            limits,
            strips,
            held,
            agents,
            more_agents,
            connected_agents,
            free_places,
            expected_by,
        })
    };
    let view = view();
    problems.finish(view)
}

/// How a run stands, for the wire.
#[must_use]
pub fn run_view_to(view: RunView) -> pb::RunView {
    let RunView {
        run,
        time,
        stage,
        source,
        limits,
        strips,
        held,
        agents,
        more_agents,
        connected_agents,
        free_places,
        expected_by,
    } = view;
    pb::RunView {
        run: Some(run_to(run)),
        view_time: time_to(time),
        stage: run_stage_to(stage).into(),
        source_endpoint: source.endpoint.to_string(),
        source_bucket: source.bucket,
        source_prefix: source.prefix,
        bandwidth_limit: int64(limits.bandwidth.unwrap_or_default()),
        request_limit: int64(limits.requests_per_second.unwrap_or_default()),
        strips: strips.into_iter().map(strip_to).collect(),
        held: held.into_iter().map(held_range_to).collect(),
        agents: agents.into_iter().map(agent_to).collect(),
        more_agents: int32(more_agents),
        connected_agents: int32(connected_agents),
        free_places: int32(free_places),
        expected_by: expected_by.map(|run| run.to_string()).unwrap_or_default(),
    }
}

/// Each of several, those left out that make no sense.
pub(super) fn each<W, M>(
    field: &str,
    items: Vec<W>,
    problems: &mut Problems,
    read: impl Fn(&str, W, &mut Problems) -> Option<M>,
) -> Vec<M> {
    let items = items.into_iter().enumerate();
    items.filter_map(|(index, one)| read(&format!("{field}[{index}]"), one, problems)).collect()
}

pub(super) fn run_stage(stage: pb::RunStage) -> Option<RunStage> {
    Some(match stage {
        pb::RunStage::Unspecified => return None,
        pb::RunStage::Scan => RunStage::Scan,
        pb::RunStage::Approval => RunStage::Approval,
        pb::RunStage::Delete => RunStage::Delete,
        pb::RunStage::Recount => RunStage::Recount,
        pb::RunStage::Keys => RunStage::Keys,
    })
}

pub(super) fn run_stage_to(stage: RunStage) -> pb::RunStage {
    match stage {
        RunStage::Scan => pb::RunStage::Scan,
        RunStage::Approval => pb::RunStage::Approval,
        RunStage::Delete => pb::RunStage::Delete,
        RunStage::Recount => pb::RunStage::Recount,
        RunStage::Keys => pb::RunStage::Keys,
    }
}

fn strip(at: &str, strip: pb::RangeStrip, problems: &mut Problems) -> Option<RangeStrip> {
    let pb::RangeStrip { states, expected_keys } = strip;
    let expected_keys = expected_keys.map(|keys| problems.count(&path(at, "expected_keys"), keys));
    let states = each(&path(at, "states"), states, problems, |at, state, problems| {
        problems.choice(at, state, |state| {
            Some(match state {
                pb::RangeState::Unspecified => return None,
                pb::RangeState::Waiting => RangeState::Waiting,
                pb::RangeState::PutOff => RangeState::PutOff,
                pb::RangeState::Held => RangeState::Held,
                pb::RangeState::Done => RangeState::Done,
                pb::RangeState::GivenUp => RangeState::GivenUp,
            })
        })
    });
    Some(RangeStrip { states, expected_keys })
}

fn strip_to(strip: RangeStrip) -> pb::RangeStrip {
    let RangeStrip { states, expected_keys } = strip;
    let state = |state| match state {
        RangeState::Waiting => pb::RangeState::Waiting.into(),
        RangeState::PutOff => pb::RangeState::PutOff.into(),
        RangeState::Held => pb::RangeState::Held.into(),
        RangeState::Done => pb::RangeState::Done.into(),
        RangeState::GivenUp => pb::RangeState::GivenUp.into(),
    };
    pb::RangeStrip {
        states: states.into_iter().map(state).collect(),
        expected_keys: expected_keys.map(int64),
    }
}

fn held_range(at: &str, held: pb::HeldRange, problems: &mut Problems) -> Option<HeldRange> {
    let pb::HeldRange { destination, position, agent, lease_time, after, until, cursor, lost } =
        held;
    let destination = problems.small_count(&path(at, "destination"), destination);
    let position = problems.small_count(&path(at, "position"), position);
    let lost = problems.small_count(&path(at, "lost"), lost);
    let agent = problems.part(&path(at, "agent"), names::agent_name(&agent));
    let since = problems.time(&path(at, "lease_time"), lease_time).unwrap_or_default();
    let mut optional = |field: &str, bytes: Option<_>| {
        bytes.and_then(|bytes| key(&path(at, field), bytes, problems))
    };
    let range = KeyRange { after: optional("after", after), until: optional("until", until) };
    let cursor = optional("cursor", cursor);
    Some(HeldRange { destination, position, agent: agent?, since, range, cursor, lost })
}

fn held_range_to(held: HeldRange) -> pb::HeldRange {
    let HeldRange { destination, position, agent, since, range, cursor, lost } = held;
    pb::HeldRange {
        destination: int32(destination),
        position: int32(position),
        agent: names::format_agent(&agent),
        lease_time: time_to(since),
        after: range.after.map(Key::into_bytes),
        until: range.until.map(Key::into_bytes),
        cursor: cursor.map(Key::into_bytes),
        lost: int32(lost),
    }
}

fn agent(at: &str, agent: pb::RunAgent, problems: &mut Problems) -> Option<RunAgent> {
    let pb::RunAgent { agent, held, capacity, draining, activity, silence } = agent;
    let name = problems.part(&path(at, "agent"), names::agent_name(&agent));
    let held = problems.small_count(&path(at, "held"), held);
    let capacity = problems.small_count(&path(at, "capacity"), capacity);
    let activity = match activity {
        Some(activity) => Ok(usage::activity(&path(at, "activity"), activity, problems)),
        None => Err(silence),
    };
    Some(RunAgent { agent: name?, held, capacity, draining, activity })
}

fn agent_to(agent: RunAgent) -> pb::RunAgent {
    let RunAgent { agent, held, capacity, draining, activity } = agent;
    let (activity, silence) = match activity {
        Ok(activity) => (Some(usage::activity_to(activity)), String::new()),
        Err(silence) => (None, silence),
    };
    pb::RunAgent {
        agent: names::format_agent(&agent),
        held: int32(held),
        capacity: int32(capacity),
        draining,
        activity,
        silence,
    }
}
