//! Any question, answer and explanation.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use s3sync_proto::model::{
    AgentProbe, Answer, Ask, CheckState, CopyWay, DestinationExplanation, DestinationPlan,
    Difference, DirtyKey, DirtyState, EndpointProbe, Explanation, JobPlan, KeyExplanation,
    KeyVerdict, NextStep, ObjectState, PlaceProbe, PlanAsk, PlanPart, PlanTally, PlannedKeys,
    Presence, Probe, ProbeCheck, Question, RunState, Share, Shares, ShownChecksum, ToAgent,
};

use super::{
    assignment, duration, endpoint_spec, etags, facts, failure, key, name, run_name, text, time,
    work_error,
};

// Boxed where they are large: a strategy holds all it is made of on the stack.

fn object() -> BoxedStrategy<ObjectState> {
    let presence = select(vec![Presence::Present, Presence::Absent, Presence::Unknown]);
    let checksum = (text(), text(), any::<bool>())
        .prop_map(|(algorithm, value, whole)| ShownChecksum { algorithm, value, whole });
    let head = (text(), key(), presence, of(work_error()), 0..=i64::MAX as u64, text());
    let texts = proptest::array::uniform5(text());
    let tail = (vec(checksum, 0..3), of(0..=i32::MAX as u32));
    (head, etags(), of(time()), any::<bool>(), texts, tail)
        .prop_map(|(head, etag_kind, modified, archived, texts, (checksums, tags))| {
            let (bucket, key, presence, problem, size, etag) = head;
            let [storage_class, encryption, version_id, stamp, content_type] = texts;
            ObjectState {
                bucket,
                key,
                presence,
                problem,
                size,
                etag,
                etag_kind,
                modified,
                storage_class,
                archived,
                encryption,
                version_id,
                stamp,
                checksums,
                tags,
                content_type,
            }
        })
        .boxed()
}

fn explained() -> BoxedStrategy<KeyExplanation> {
    let verdict = select(vec![
        KeyVerdict::InStep,
        KeyVerdict::Differs,
        KeyVerdict::Extra,
        KeyVerdict::Absent,
        KeyVerdict::Filtered,
        KeyVerdict::Unknown,
    ]);
    let next = select(vec![
        NextStep::Nothing,
        NextStep::Copy,
        NextStep::Archived,
        NextStep::Fail,
        NextStep::Delete,
    ]);
    let way = select(vec![
        None,
        Some(CopyWay::ServerSide),
        Some(CopyWay::ServerSideParts),
        Some(CopyWay::Single),
        Some(CopyWay::Parts),
        Some(CopyWay::Repair),
    ]);
    let texts = proptest::array::uniform3(text());
    (object(), object(), any::<bool>(), verdict, next, way, texts)
        .prop_map(|(source, destination, passes_filter, verdict, next, way, texts)| {
            let [filter_reason, reason, next_reason] = texts;
            KeyExplanation {
                source,
                destination,
                passes_filter,
                filter_reason,
                verdict,
                reason,
                next,
                next_reason,
                way,
            }
        })
        .boxed()
}

fn dirty_key() -> impl Strategy<Value = DirtyKey> {
    let state = select(vec![
        DirtyState::Waiting,
        DirtyState::WorkedOn,
        DirtyState::PutOff,
        DirtyState::AwaitingApproval,
        DirtyState::Paused,
    ]);
    let times = (time(), time(), of(time()));
    let counts = (0..1_u64 << 40, 0..9_u32);
    (run_name(), times, text(), counts, state, text()).prop_map(
        |(run, (since, latest, next_look), sequencer, (reasons, looks), state, reason)| DirtyKey {
            run,
            since,
            latest,
            sequencer,
            reasons,
            looks,
            state,
            next_look,
            reason,
        },
    )
}

pub(crate) fn explanation() -> impl Strategy<Value = Explanation> {
    let found = prop_oneof![(name(), explained()).prop_map(Ok), "\\PC{1,12}".prop_map(Err),];
    let destination = (0..16_u32, super::location(), found, of(dirty_key())).prop_map(
        |(index, location, found, dirty)| DestinationExplanation { index, location, found, dirty },
    );
    let state = select(vec![RunState::Succeeded, RunState::Running, RunState::Failed]);
    let run = of((run_name(), state, of(time())));
    let failures = vec((run_name(), failure()), 0..3);
    (name(), key(), vec(destination, 0..3), failures, run).prop_map(
        |(job, key, destinations, failures, latest_run)| Explanation {
            job,
            key,
            destinations,
            failures,
            latest_run,
        },
    )
}

pub(super) fn checks() -> impl Strategy<Value = Vec<ProbeCheck>> {
    let state =
        select(vec![CheckState::Ok, CheckState::Warning, CheckState::Failed, CheckState::Unknown]);
    let check = (text(), state, text()).prop_map(|(name, state, detail)| ProbeCheck {
        name,
        state,
        detail,
    });
    vec(check, 0..3)
}

fn places() -> impl Strategy<Value = Vec<PlaceProbe>> {
    let place = (text(), text(), checks()).prop_map(|(bucket, prefix, checks)| PlaceProbe {
        bucket,
        prefix,
        checks,
    });
    vec(place, 0..3)
}

pub(crate) fn endpoint_probe() -> impl Strategy<Value = EndpointProbe> {
    let found = prop_oneof![places().prop_map(Ok), "\\PC{1,12}".prop_map(Err)];
    let agent = (name(), found).prop_map(|(agent, found)| AgentProbe { agent, found });
    (name(), vec(agent, 0..3)).prop_map(|(endpoint, agents)| EndpointProbe { endpoint, agents })
}

fn count() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn keys() -> impl Strategy<Value = PlannedKeys> {
    // Small, so that they can be added up.
    (0..1_000_u64, 0..1_000_u64, vec(key(), 0..3)).prop_map(|(objects, bytes, samples)| {
        let mut keys = PlannedKeys::default();
        samples.iter().for_each(|key| keys.add(key, bytes));
        PlannedKeys { objects, bytes, ..keys }
    })
}

fn way() -> impl Strategy<Value = CopyWay> {
    select(vec![
        CopyWay::ServerSide,
        CopyWay::ServerSideParts,
        CopyWay::Single,
        CopyWay::Parts,
        CopyWay::Repair,
    ])
}

fn tally() -> BoxedStrategy<PlanTally> {
    let counts = proptest::array::uniform9(count());
    let copies = proptest::collection::btree_map(way(), keys(), 0..3);
    (counts, copies, proptest::array::uniform3(keys()))
        .prop_map(|(counts, copies, [archived, failing, extra])| PlanTally {
            listed: counts[0],
            in_step: counts[1],
            vanished: counts[2],
            filtered: counts[3],
            copies,
            archived,
            failing,
            extra,
            source_keys: counts[4],
            destination_keys: counts[5],
            read_requests: counts[6],
            write_requests: counts[7],
            destination_in_scope: counts[8],
        })
        .boxed()
}

pub(crate) fn difference() -> BoxedStrategy<Difference> {
    let step = prop_oneof![
        way().prop_map(|way| (NextStep::Copy, Some(way))),
        select(vec![NextStep::Archived, NextStep::Fail, NextStep::Delete])
            .prop_map(|next| (next, None)),
    ];
    (0..16_u32, key(), step, text(), count())
        .prop_map(|(destination, key, (next, way), reason, size)| Difference {
            destination,
            key,
            next,
            reason,
            size,
            way,
        })
        .boxed()
}

pub(crate) fn job_plan() -> BoxedStrategy<JobPlan> {
    let destination = (0..16_u32, super::location(), of("\\PC{1,12}"), tally(), count(), text())
        .prop_map(|(index, location, problem, tally, list_requests, extra_fate)| DestinationPlan {
            index,
            location,
            problem,
            tally,
            list_requests,
            extra_fate,
        });
    (name(), any::<bool>(), vec(destination, 0..3), vec(text(), 0..2))
        .prop_map(|(job, complete, destinations, not_carried)| JobPlan {
            job,
            complete,
            destinations,
            not_carried,
        })
        .boxed()
}

pub(crate) fn question() -> BoxedStrategy<Question> {
    let probe = (name(), endpoint_spec(), vec((text(), text()), 0..3))
        .prop_map(|(endpoint, spec, places)| Ask::Probe(Probe { endpoint, spec, places }));
    let plan = (assignment(), 0..=i64::MAX as u64, duration(), any::<[bool; 2]>()).prop_map(
        |(work, max_keys, time, [cut, differences])| {
            Ask::Plan(Box::new(PlanAsk { work, max_keys, time, cut, differences }))
        },
    );
    let ask = prop_oneof![
        assignment().prop_map(|work| Ask::Explain(Box::new(work))).boxed(),
        probe.boxed(),
        plan.boxed(),
        super::setup::ask(),
        run_name().prop_map(Ask::Activity).boxed(),
    ];
    (any::<u64>(), duration(), ask)
        .prop_map(|(id, patience, ask)| Question { id, patience, ask })
        .boxed()
}

pub(crate) fn answer() -> BoxedStrategy<Answer> {
    prop_oneof![
        work_error().prop_map(Answer::Refused),
        explained().prop_map(|explained| Answer::Explained(Box::new(explained))),
        (places(), vec(facts(), 0..3)).prop_map(|(places, facts)| Answer::Probed { places, facts }),
        (of(key()), any::<bool>(), of(key()), tally(), vec(difference(), 0..3)).prop_map(
            |(cursor, completed, cut, tally, differences)| {
                Answer::Planned(Box::new(PlanPart { cursor, completed, cut, tally, differences }))
            }
        ),
        super::setup::answer(),
        super::view::activity().prop_map(|activity| Answer::Active(Box::new(activity))),
    ]
    .boxed()
}

pub(crate) fn shares() -> BoxedStrategy<ToAgent> {
    (any::<u64>(), vec((run_name(), of(count()), of(count())), 0..3))
        .prop_map(|(version, shares)| {
            let share = |(run, bandwidth, requests)| Share { run, bandwidth, requests };
            ToAgent::Shares(Shares { version, shares: shares.into_iter().map(share).collect() })
        })
        .boxed()
}
