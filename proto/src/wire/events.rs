//! Watch work and what it tells.

use super::problems::path;
use super::run::key;
use super::{Problems, duration_to, endpoint, int32, int64, time_to};
use crate::model::{
    EventBatch, EventKind, Held, Invalid, Key, MAX_EVENT_BYTES_PER_BATCH, MAX_EVENTS_PER_BATCH,
    MAX_UNREADABLE_PER_BATCH, News, ObjectEvent, QueueSpec, QueueState, UnreadableMessage, Watch,
};
use crate::pb::{agent::v1 as agent_pb, v1 as pb};

pub(super) fn watch(watch: agent_pb::Watch) -> Result<Watch, Invalid> {
    let agent_pb::Watch { assignment_id, epoch, queue, url, endpoint, settings } = watch;
    let mut problems = Problems::default();
    let queue = problems.name("queue", &queue);
    let spec = problems.name("endpoint", &endpoint).map(|endpoint| {
        // An agent does the work of one of them.
        QueueSpec { url, endpoint, receivers: 1 }
    });
    let settings = endpoint::spec(settings.unwrap_or_default(), "settings", &mut problems);
    problems.finish(queue.zip(spec).map(|(queue, spec)| Watch {
        held: Held { id: assignment_id, epoch },
        queue,
        spec,
        endpoint: settings,
    }))
}

pub(super) fn watch_to(watch: Watch) -> agent_pb::Watch {
    let Watch { held, queue, spec: QueueSpec { url, endpoint, receivers: _ }, endpoint: settings } =
        watch;
    agent_pb::Watch {
        assignment_id: held.id,
        epoch: held.epoch,
        queue: queue.into(),
        url,
        endpoint: endpoint.into(),
        settings: Some(endpoint::spec_to(settings)),
    }
}

pub(super) fn batch(batch: agent_pb::EventBatch) -> Result<EventBatch, Invalid> {
    let agent_pb::EventBatch {
        sequence,
        assignment_id,
        epoch,
        events,
        messages,
        ignored,
        unreadable,
        state,
        traceparent,
        longest_wait,
    } = batch;
    let mut problems = Problems::default();
    let bounds = [
        ("events", events.len(), MAX_EVENTS_PER_BATCH),
        ("unreadable", unreadable.len(), MAX_UNREADABLE_PER_BATCH),
        ("events", events.iter().map(|one| one.key.len()).sum(), MAX_EVENT_BYTES_PER_BATCH),
    ];
    for (field, found, most) in bounds {
        if found > most {
            problems.add(field, format!("is too large: {found}; at most {most}"));
        }
    }
    let events: Option<Vec<_>> = events
        .into_iter()
        .enumerate()
        .map(|(index, one)| event(&format!("events[{index}]"), one, &mut problems))
        .collect();
    let unreadable = unreadable
        .into_iter()
        .enumerate()
        .map(|(index, one)| unreadable_in(&format!("unreadable[{index}]"), one, &mut problems))
        .collect();
    let messages = problems.count("messages", messages);
    let ignored = problems.count("ignored", ignored);
    let state = state.map(|state| state_in("state", state, &mut problems));
    let longest_wait = problems.duration("longest_wait", longest_wait);
    problems.finish(events.map(|events| EventBatch {
        sequence,
        held: Held { id: assignment_id, epoch },
        news: News { events, messages, ignored, unreadable, state, traceparent, longest_wait },
    }))
}

fn event(at: &str, event: agent_pb::ObjectEvent, problems: &mut Problems) -> Option<ObjectEvent> {
    use agent_pb::object_event::Kind as Wire;
    let agent_pb::ObjectEvent { bucket, key, kind, sequencer, send_time } = event;
    if bucket.is_empty() {
        problems.add(path(at, "bucket"), "is missing");
    }
    let key = self::key(&path(at, "key"), key, problems);
    let kind = problems.choice(&path(at, "kind"), kind, |kind| match kind {
        Wire::Unspecified => None,
        Wire::Written => Some(EventKind::Written),
        Wire::Removed => Some(EventKind::Removed),
        Wire::Restored => Some(EventKind::Restored),
        Wire::Tagged => Some(EventKind::Tagged),
        Wire::Lost => Some(EventKind::Lost),
    });
    let sent = problems.time(&path(at, "send_time"), send_time);
    Some(ObjectEvent { bucket, key: key?, kind: kind?, sequencer, sent })
}

pub(super) fn batch_to(batch: EventBatch) -> agent_pb::EventBatch {
    let EventBatch { sequence, held, news } = batch;
    let News { events, messages, ignored, unreadable, state, traceparent, longest_wait } = news;
    agent_pb::EventBatch {
        sequence,
        assignment_id: held.id,
        epoch: held.epoch,
        events: events.into_iter().map(event_to).collect(),
        messages: int64(messages),
        ignored: int64(ignored),
        unreadable: unreadable.into_iter().map(unreadable_to).collect(),
        state: state.map(state_to),
        traceparent,
        longest_wait: longest_wait.and_then(duration_to),
    }
}

fn event_to(event: ObjectEvent) -> agent_pb::ObjectEvent {
    use agent_pb::object_event::Kind as Wire;
    let ObjectEvent { bucket, key, kind, sequencer, sent } = event;
    let kind = match kind {
        EventKind::Written => Wire::Written,
        EventKind::Removed => Wire::Removed,
        EventKind::Restored => Wire::Restored,
        EventKind::Tagged => Wire::Tagged,
        EventKind::Lost => Wire::Lost,
    };
    agent_pb::ObjectEvent {
        bucket,
        key: Key::into_bytes(key),
        kind: kind.into(),
        sequencer,
        send_time: sent.and_then(time_to),
    }
}

pub(super) fn unreadable_in(
    at: &str,
    message: pb::UnreadableMessage,
    problems: &mut Problems,
) -> UnreadableMessage {
    let pb::UnreadableMessage { reason, excerpt, receives, removed, receive_time } = message;
    let receives = problems.small_count(&path(at, "receives"), receives);
    let received = problems.time(&path(at, "receive_time"), receive_time).unwrap_or_default();
    UnreadableMessage { reason, excerpt, receives, removed, received }
}

pub(super) fn unreadable_to(message: UnreadableMessage) -> pb::UnreadableMessage {
    let UnreadableMessage { reason, excerpt, receives, removed, received } = message;
    let receives = int32(receives);
    pb::UnreadableMessage { reason, excerpt, receives, removed, receive_time: time_to(received) }
}

pub(super) fn state_in(at: &str, state: pb::QueueState, problems: &mut Problems) -> QueueState {
    let pb::QueueState { waiting, in_flight, retention, max_receives, oldest_send_time } = state;
    let max_receives = problems.small_count(&path(at, "max_receives"), max_receives);
    QueueState {
        waiting: problems.count(&path(at, "waiting"), waiting),
        in_flight: problems.count(&path(at, "in_flight"), in_flight),
        retention: problems.duration(&path(at, "retention"), retention),
        max_receives: Some(max_receives).filter(|most| *most > 0),
        oldest_sent: problems.time(&path(at, "oldest_send_time"), oldest_send_time),
    }
}

pub(super) fn state_to(state: QueueState) -> pb::QueueState {
    let QueueState { waiting, in_flight, retention, max_receives, oldest_sent } = state;
    pb::QueueState {
        waiting: int64(waiting),
        in_flight: int64(in_flight),
        retention: retention.and_then(duration_to),
        max_receives: int32(max_receives.unwrap_or_default()),
        oldest_send_time: oldest_sent.and_then(time_to),
    }
}
