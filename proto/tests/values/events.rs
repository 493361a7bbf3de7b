//! Values of watch work and of what it tells.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use s3sync_proto::model::{
    EventBatch, EventKind, News, ObjectEvent, QueueSpec, QueueState, UnreadableMessage, Watch,
};

use super::{COUNTS, SMALL, duration, endpoint_spec, held, key, name, text, time};

pub(super) fn watch() -> impl Strategy<Value = Watch> {
    (held(), name(), text(), name(), endpoint_spec()).prop_map(
        |(held, queue, url, endpoint, settings)| Watch {
            held,
            queue,
            spec: QueueSpec { url, endpoint },
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
    let news = (vec(event(), 0..4), COUNTS, COUNTS, vec(unreadable(), 0..3), of(state())).prop_map(
        |(events, messages, ignored, unreadable, state)| News {
            events,
            messages,
            ignored,
            unreadable,
            state,
        },
    );
    (any::<u64>(), held(), news).prop_map(|(sequence, held, news)| EventBatch {
        sequence,
        held,
        news,
    })
}
