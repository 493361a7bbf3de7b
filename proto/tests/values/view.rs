//! Any view of a run.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use s3sync_proto::model::{
    Activity, Counters, EndpointLoad, FailureGroup, Happening, HeldRange, KeyRange, Operation,
    RangeState, RangeStrip, RequestSide, RequestUsage, RunAgent, RunReport, RunStage, RunState,
    RunView, TimelineEntry, Usage, WaitReason, WaitUsage,
};

use super::job::limits;
use super::{COUNTS, SMALL, duration, failure, key, location, name, run, run_name, text, time};

pub(crate) fn counters() -> impl Strategy<Value = Counters> {
    // Small enough that the sum over the destinations does not overflow.
    proptest::array::uniform24(0..=i64::MAX as u64 / 64).prop_map(|c| Counters {
        listed: c[0],
        in_step: c[1],
        copied: c[2],
        failed: c[3],
        vanished: c[4],
        archived: c[5],
        filtered: c[6],
        extra: c[7],
        deleted: c[8],
        copied_bytes: c[9],
        copied_server_side: c[10],
        list_requests: c[11],
        read_requests: c[12],
        write_requests: c[13],
        server_side_refused: c[14],
        repaired: c[15],
        tags_unread: c[16],
        destination_listed: c[17],
        not_deleted: c[18],
        copied_parts: c[19],
        copied_parts_bytes: c[20],
        copied_server_side_parts: c[21],
        copied_server_side_parts_bytes: c[22],
        copied_server_side_bytes: c[23],
    })
}

/// Requests and waits, each kind once and in its order.
pub(super) fn usage() -> BoxedStrategy<Usage> {
    let side = select(RequestSide::ALL.to_vec());
    let operation = select(Operation::ALL.to_vec());
    let counts = [COUNTS, COUNTS, COUNTS];
    let request = ((side, operation), counts, duration()).prop_map(
        |((side, operation), [made, slowed, failed], time)| {
            let request = RequestUsage { side, operation, made, slowed, failed, time };
            Usage { requests: vec![request], waits: Vec::new() }
        },
    );
    let wait = (select(WaitReason::ALL.to_vec()), duration()).prop_map(|(reason, time)| Usage {
        requests: Vec::new(),
        waits: vec![WaitUsage { reason, time }],
    });
    let once = |parts: Vec<Usage>| {
        let mut all = Usage::default();
        for part in parts {
            let more = &part;
            let there =
                all.requests.iter().any(|one| {
                    more.requests.iter().any(|m| (m.side, m.operation) == (one.side, one.operation))
                }) || all.waits.iter().any(|one| more.waits.iter().any(|m| m.reason == one.reason));
            if !there {
                all += part;
            }
        }
        all
    };
    vec(prop_oneof![request, wait], 0..6).prop_map(once).boxed()
}

pub(super) fn activity() -> BoxedStrategy<Activity> {
    let load = (name(), proptest::array::uniform3(SMALL)).prop_map(
        |(endpoint, [in_flight, allowed, most])| EndpointLoad {
            endpoint,
            in_flight,
            allowed,
            most,
        },
    );
    (duration(), [COUNTS, COUNTS, COUNTS], usage(), vec(load, 0..3))
        .prop_map(|(time, [listed, copied, moved_bytes], usage, loads)| Activity {
            time,
            listed,
            copied,
            moved_bytes,
            usage,
            loads,
        })
        .boxed()
}

pub(crate) fn run_report() -> BoxedStrategy<RunReport> {
    let what = prop_oneof![
        select(vec![RunState::Running, RunState::Paused, RunState::Failed])
            .prop_map(Happening::State),
        select(vec![RunStage::Scan, RunStage::Approval, RunStage::Delete])
            .prop_map(Happening::Stage),
        name().prop_map(Happening::Lost),
    ];
    let entry = (time(), what, text()).prop_map(|(time, what, reason)| TimelineEntry {
        time,
        what,
        reason,
    });
    let group = (COUNTS, failure()).prop_map(|(size, sample)| FailureGroup { size, sample });
    let lists = (vec(usage(), 0..3), vec(entry, 0..4), vec(group, 0..3));
    (run(), location(), lists, COUNTS, COUNTS)
        .prop_map(|(run, source, (usages, timeline, failures), splits, losses)| RunReport {
            run,
            source,
            usages,
            timeline,
            splits,
            losses,
            failures,
        })
        .boxed()
}

fn strip() -> impl Strategy<Value = RangeStrip> {
    let state = select(vec![
        RangeState::Waiting,
        RangeState::PutOff,
        RangeState::Held,
        RangeState::Done,
        RangeState::GivenUp,
    ]);
    (vec(state, 0..9), of(COUNTS))
        .prop_map(|(states, expected_keys)| RangeStrip { states, expected_keys })
}

fn held() -> impl Strategy<Value = HeldRange> {
    let numbers = proptest::array::uniform3(SMALL);
    (numbers, name(), time(), of(key()), of(key()), of(key())).prop_map(
        |([destination, position, lost], agent, since, after, until, cursor)| HeldRange {
            destination,
            position,
            agent,
            since,
            range: KeyRange { after, until },
            cursor,
            lost,
        },
    )
}

fn agent() -> impl Strategy<Value = RunAgent> {
    let activity = prop_oneof![activity().prop_map(Ok), text().prop_map(Err)];
    (name(), SMALL, SMALL, any::<bool>(), activity).prop_map(
        |(agent, held, capacity, draining, activity)| RunAgent {
            agent,
            held,
            capacity,
            draining,
            activity,
        },
    )
}

pub(crate) fn run_view() -> BoxedStrategy<RunView> {
    let stage = select(vec![
        RunStage::Scan,
        RunStage::Approval,
        RunStage::Delete,
        RunStage::Recount,
        RunStage::Keys,
    ]);
    let parts = (vec(strip(), 0..3), vec(held(), 0..3), vec(agent(), 0..3));
    let numbers = proptest::array::uniform3(SMALL);
    (run(), time(), stage, location(), limits(), parts, numbers, of(run_name()))
        .prop_map(|(run, time, stage, source, limits, parts, numbers, expected_by)| {
            let (strips, held, agents) = parts;
            let [more_agents, connected_agents, free_places] = numbers;
            RunView {
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
            }
        })
        .boxed()
}
