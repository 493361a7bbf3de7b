//! Values of watch work and of what it tells.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use s3sync_proto::model::{
    Dirty, EventBatch, EventKind, Following, Gap, MAX_RECEIVERS_PER_QUEUE, News, ObjectEvent,
    Queue, QueueSpec, QueueState, QueueStatus, UnreadableMessage, Watch,
};

use super::job::location;
use super::{COUNTS, SMALL, duration, endpoint_spec, held, key, name, run_name, text, time};

pub(super) fn watch() -> impl Strategy<Value = Watch> {
    (held(), name(), text(), name(), endpoint_spec()).prop_map(
        |(held, queue, url, endpoint, settings)| Watch {
            held,
            queue,
            spec: QueueSpec { url, endpoint, receivers: 1 },
            endpoint: settings,
        },
    )
}

fn kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        Just(EventKind::Written),
        Just(EventKind::Removed),
        Just(EventKind::Restored),
        Just(EventKind::Tagged),
        Just(EventKind::Lost),
    ]
}

fn event() -> impl Strategy<Value = ObjectEvent> {
    ("\\PC{1,12}", key(), kind(), text(), of(time())).prop_map(
        |(bucket, key, kind, sequencer, sent)| ObjectEvent { bucket, key, kind, sequencer, sent },
    )
}

fn unreadable() -> impl Strategy<Value = UnreadableMessage> {
    (text(), text(), SMALL, any::<bool>(), time()).prop_map(
        |(reason, excerpt, receives, removed, received)| UnreadableMessage {
            reason,
            excerpt,
            receives,
            removed,
            received,
        },
    )
}

fn state() -> impl Strategy<Value = QueueState> {
    (COUNTS, COUNTS, of(duration()), of(1..=i32::MAX as u32), of(time())).prop_map(
        |(waiting, in_flight, retention, max_receives, oldest_sent)| QueueState {
            waiting,
            in_flight,
            retention,
            max_receives,
            oldest_sent,
        },
    )
}

pub(super) fn batch() -> impl Strategy<Value = EventBatch> {
    let said = (vec(event(), 0..4), vec(unreadable(), 0..3), of(state()), text());
    let longest_wait = of((0..1_000_000_u64).prop_map(Duration::from_millis));
    let news = (said, COUNTS, COUNTS, longest_wait).prop_map(
        |((events, unreadable, state, traceparent), messages, ignored, longest_wait)| News {
            longest_wait,
            events,
            messages,
            ignored,
            unreadable,
            state,
            traceparent,
        },
    );
    (any::<u64>(), held(), news).prop_map(|(sequence, held, news)| EventBatch {
        sequence,
        held,
        news,
    })
}

fn dirty() -> impl Strategy<Value = Dirty> {
    (location(), COUNTS, COUNTS, of(time()), COUNTS, (COUNTS, COUNTS)).prop_map(
        |(location, keys, put_off, oldest, awaiting, rates)| Dirty {
            told_per_minute: rates.0,
            settled_per_minute: rates.1,
            awaiting,
            location,
            keys,
            put_off,
            oldest,
        },
    )
}

pub(super) fn following() -> impl Strategy<Value = Following> {
    let gap = (time(), text(), of(run_name())).prop_map(|(since, reason, scan)| Gap {
        since,
        reason,
        scan,
    });
    let lost = of((1..=i64::MAX as u64, key()));
    (of(run_name()), vec(dirty(), 0..3), COUNTS, lost, of(gap), text(), of(time())).prop_map(
        |(run, destinations, events, lost, gap, reason, told_until)| {
            let (lost, last_lost) = lost.map_or((0, None), |(count, key)| (count, Some(key)));
            Following { run, destinations, events, lost, last_lost, gap, reason, told_until }
        },
    )
}

fn queue_status() -> impl Strategy<Value = QueueStatus> {
    let counts = proptest::array::uniform6(COUNTS);
    (vec(name(), 0..3), text(), of(time()), state(), counts, vec(unreadable(), 0..3)).prop_map(
        |(agents, reason, told, state, counts, last_unreadable)| {
            let [messages, messages_per_minute, events, ignored, unmatched, unreadable] = counts;
            QueueStatus {
                agents,
                reason,
                told,
                state,
                messages,
                messages_per_minute,
                events,
                ignored,
                unmatched,
                unreadable,
                last_unreadable,
            }
        },
    )
}

pub(crate) fn queue() -> impl Strategy<Value = Queue> {
    let url = "https://[a-z.]{1,20}[a-z]/[0-9]{12}/[a-z]{1,9}";
    (name(), url, name(), 1..=MAX_RECEIVERS_PER_QUEUE, text(), time(), time(), of(queue_status()))
        .prop_map(|(name, url, endpoint, receivers, etag, created, updated, status)| Queue {
            name,
            spec: QueueSpec { url, endpoint, receivers },
            etag,
            created,
            updated,
            status,
        })
}
