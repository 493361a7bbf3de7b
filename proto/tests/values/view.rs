//! Any view of a run.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use s3sync_proto::model::{
    HeldRange, KeyRange, RangeState, RangeStrip, RunAgent, RunStage, RunView,
};

use super::job::limits;
use super::{COUNTS, SMALL, key, location, name, run, run_name, time};

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
    (name(), SMALL, SMALL, any::<bool>()).prop_map(|(agent, held, capacity, draining)| RunAgent {
        agent,
        held,
        capacity,
        draining,
    })
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
