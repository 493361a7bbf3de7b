//! How events and queues stand.

use super::problems::path;
use super::run::{key, run_state, run_state_to};
use super::{Problems, events, int64, names, time_to};
use crate::model::{Dirty, Following, Gap, Invalid, Key, LastRun, Location, QueueStatus, RunName};
use crate::pb::v1 as pb;

/// How the newest run of a job stands.
pub(super) fn last_run(at: &str, last: pb::LastRun, problems: &mut Problems) -> Option<LastRun> {
    let pb::LastRun { name, state, create_time, end_time } = last;
    let name = problems.run(&path(at, "name"), &name);
    let state = problems.choice(&path(at, "state"), state, run_state);
    let created = problems.time(&path(at, "create_time"), create_time).unwrap_or_default();
    let ended = problems.time(&path(at, "end_time"), end_time);
    Some(LastRun { name: name?, state: state?, created, ended })
}

/// The same for the wire.
pub(super) fn last_run_to(last: LastRun) -> pb::LastRun {
    let LastRun { name, state, created, ended } = last;
    pb::LastRun {
        name: name.to_string(),
        state: run_state_to(state).into(),
        create_time: time_to(created),
        end_time: ended.and_then(time_to),
    }
}

pub(super) fn following(following: pb::Following) -> Result<Following, Invalid> {
    let pb::Following {
        run,
        destinations,
        events,
        lost_objects,
        last_lost_key,
        gap,
        reason,
        told_until,
    } = following;
    let mut problems = Problems::default();
    let run = optional_run("run", &run, &mut problems);
    let destinations = destinations
        .into_iter()
        .enumerate()
        .filter_map(|(index, one)| dirty(&format!("destinations[{index}]"), one, &mut problems))
        .collect();
    let events = problems.count("events", events);
    let lost = problems.count("lost_objects", lost_objects);
    let last_lost = match lost {
        0 => None,
        _ => key("last_lost_key", last_lost_key, &mut problems),
    };
    let gap = gap.map(|gap| {
        let pb::EventGap { since, reason, run } = gap;
        let since = problems.time("gap.since", since).unwrap_or_default();
        Gap { since, reason, scan: optional_run("gap.run", &run, &mut problems) }
    });
    let told_until = problems.time("told_until", told_until);
    problems.finish(Some(Following {
        run,
        destinations,
        events,
        lost,
        last_lost,
        gap,
        reason,
        told_until,
    }))
}

fn optional_run(field: &str, text: &str, problems: &mut Problems) -> Option<RunName> {
    (!text.is_empty()).then(|| problems.run(field, text)).flatten()
}

fn dirty(at: &str, dirty: pb::DirtyKeys, problems: &mut Problems) -> Option<Dirty> {
    let pb::DirtyKeys {
        endpoint,
        bucket,
        prefix,
        keys,
        put_off,
        oldest_time,
        awaiting_approval,
        told_per_minute,
        settled_per_minute,
    } = dirty;
    let told_per_minute = problems.count(&path(at, "told_per_minute"), told_per_minute);
    let settled_per_minute = problems.count(&path(at, "settled_per_minute"), settled_per_minute);
    let awaiting = problems.count(&path(at, "awaiting_approval"), awaiting_approval);
    let endpoint = problems.name(&path(at, "endpoint"), &endpoint);
    let keys = problems.count(&path(at, "keys"), keys);
    let put_off = problems.count(&path(at, "put_off"), put_off);
    let oldest = problems.time(&path(at, "oldest_time"), oldest_time);
    let location = Location { endpoint: endpoint?, bucket, prefix };
    Some(Dirty { location, keys, put_off, oldest, awaiting, told_per_minute, settled_per_minute })
}

pub(super) fn following_to(following: Following) -> pb::Following {
    let Following { run, destinations, events, lost, last_lost, gap, reason, told_until } =
        following;
    let text = |run: Option<RunName>| run.map(|run| run.to_string()).unwrap_or_default();
    pb::Following {
        run: text(run),
        destinations: destinations.into_iter().map(dirty_to).collect(),
        events: int64(events),
        lost_objects: int64(lost),
        last_lost_key: last_lost.map(Key::into_bytes).unwrap_or_default(),
        gap: gap.map(|Gap { since, reason, scan }| pb::EventGap {
            since: time_to(since),
            reason,
            run: text(scan),
        }),
        reason,
        told_until: told_until.and_then(time_to),
    }
}

fn dirty_to(dirty: Dirty) -> pb::DirtyKeys {
    let Dirty { location, keys, put_off, oldest, awaiting, told_per_minute, settled_per_minute } =
        dirty;
    let Location { endpoint, bucket, prefix } = location;
    pb::DirtyKeys {
        endpoint: endpoint.into(),
        bucket,
        prefix,
        keys: int64(keys),
        put_off: int64(put_off),
        oldest_time: oldest.and_then(time_to),
        awaiting_approval: int64(awaiting),
        told_per_minute: int64(told_per_minute),
        settled_per_minute: int64(settled_per_minute),
    }
}

pub(super) fn queue_status(status: pb::QueueStatus) -> Result<QueueStatus, Invalid> {
    let pb::QueueStatus {
        agents,
        reason,
        tell_time,
        state,
        messages,
        events,
        ignored,
        unmatched,
        unreadable,
        last_unreadable,
        messages_per_minute,
    } = status;
    let mut problems = Problems::default();
    let agents = agents.iter().enumerate().filter_map(|(index, agent)| {
        problems.part(&format!("agents[{index}]"), names::agent_name(agent))
    });
    let agents = agents.collect();
    let status = QueueStatus {
        agents,
        reason,
        told: problems.time("tell_time", tell_time),
        state: events::state_in("state", state.unwrap_or_default(), &mut problems),
        messages: problems.count("messages", messages),
        messages_per_minute: problems.count("messages_per_minute", messages_per_minute),
        events: problems.count("events", events),
        ignored: problems.count("ignored", ignored),
        unmatched: problems.count("unmatched", unmatched),
        unreadable: problems.count("unreadable", unreadable),
        last_unreadable: last_unreadable
            .into_iter()
            .enumerate()
            .map(|(index, one)| {
                events::unreadable_in(&format!("last_unreadable[{index}]"), one, &mut problems)
            })
            .collect(),
    };
    problems.finish(Some(status))
}

pub(super) fn queue_status_to(status: QueueStatus) -> pb::QueueStatus {
    let QueueStatus {
        agents,
        reason,
        told,
        state,
        messages,
        events,
        ignored,
        unmatched,
        unreadable,
        last_unreadable,
        messages_per_minute,
    } = status;
    pb::QueueStatus {
        agents: agents.iter().map(names::format_agent).collect(),
        reason,
        tell_time: told.and_then(time_to),
        state: Some(events::state_to(state)),
        messages: int64(messages),
        messages_per_minute: int64(messages_per_minute),
        events: int64(events),
        ignored: int64(ignored),
        unmatched: int64(unmatched),
        unreadable: int64(unreadable),
        last_unreadable: last_unreadable.into_iter().map(events::unreadable_to).collect(),
    }
}
