//! Whoever looks at how much, in whatever order, and dies in between: each key is counted once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use s3sync_proto::model::{
    CompareMode, CopyWay, DeletePolicy, Destination, Filter, Limits, Location, PlanTally,
};

use super::*;

fn spec(destinations: usize) -> JobSpec {
    let place = |bucket: String| Location {
        endpoint: "usw2".parse().unwrap(),
        bucket,
        prefix: String::new(),
    };
    let destination = |n| Destination {
        location: place(format!("to-{n}")),
        storage_class: None,
        agent_labels: BTreeMap::new(),
        encryption: None,
    };
    JobSpec {
        source: place("from".to_owned()),
        destinations: (0..destinations).map(destination).collect(),
        filter: Filter::default(),
        compare: CompareMode::Default,
        deletes: DeletePolicy::default(),
        schedule: None,
        events: None,
        limits: Limits::default(),
        paused: false,
    }
}

fn key(n: u32) -> Key {
    Key::from(format!("{n:04}").as_str())
}

/// The keys of a slice that are left, of all from 0 to `keys`.
fn left(slice: &Slice, keys: u32) -> Vec<u32> {
    let after = slice.cursor.as_ref().max(slice.range.after.as_ref());
    let inside = |n: &u32| {
        after.is_none_or(|after| key(*n) > *after)
            && slice.range.until.as_ref().is_none_or(|until| key(*n) <= *until)
    };
    (0..keys).filter(inside).collect()
}

fn difference(n: u32) -> Difference {
    let (key, next, way) = (key(n), NextStep::Copy, Some(CopyWay::Single));
    Difference { destination: 0, key, next, reason: String::new(), size: 1, way }
}

/// What an agent says that looked at the first `some` of these keys.
fn looked_at(left: &[u32], some: usize, cut: Option<usize>) -> PlanPart {
    let seen = &left[..some.min(left.len())];
    let mut tally = PlanTally::default();
    for n in seen {
        tally.listed += 1;
        tally.source_keys += 1;
        tally.copies.entry(CopyWay::Single).or_default().add(&key(*n), 1);
    }
    let completed = seen.len() == left.len();
    let rest = &left[seen.len()..];
    let cut = cut.filter(|_| rest.len() > 1).map(|cut| key(rest[cut % (rest.len() - 1)]));
    PlanPart {
        cursor: seen.last().map(|n| key(*n)),
        completed,
        cut,
        tally,
        differences: seen.iter().map(|n| difference(*n)).collect(),
    }
}

proptest! {
    #[test]
    fn each_key_is_counted_once_however_it_is_shared_out(
        keys in 0..200_u32,
        steps in prop::collection::vec((0..6_u8, 1..60_usize, prop::option::of(0..100_usize)), 1..400),
    ) {
        let mut survey = Survey::new(&"job".parse().unwrap(), &spec(2));
        let (mut held, mut found) = (Vec::new(), Vec::new());
        let mut steps = steps.into_iter().chain(std::iter::repeat((1, 50, None)));
        while !survey.is_done() {
            let (kind, some, cut) = steps.next().unwrap();
            match kind {
                0 => held.extend(survey.take(|_| true)),
                // It dies, which says nothing of the slice.
                2 if !held.is_empty() => {
                    let at = some % held.len();
                    survey.put_back(held.swap_remove(at));
                }
                _ => {
                    held.extend(survey.take(|_| true));
                    let at = some % held.len();
                    let slice = held.swap_remove(at);
                    let left = left(&slice, keys);
                    let part = looked_at(&left, some, cut);
                    found.extend(survey.looked(slice, part));
                }
            }
        }
        let plan = survey.plan();
        prop_assert!(plan.complete && !plan.has_problems());
        for (index, destination) in plan.destinations.iter().enumerate() {
            prop_assert_eq!(destination.tally.listed, u64::from(keys));
            prop_assert!(destination.tally.adds_up());
            let mut of: Vec<_> = found
                .iter()
                .filter(|one| one.destination as usize == index)
                .map(|one| one.key.clone())
                .collect();
            of.sort();
            prop_assert_eq!(of, (0..keys).map(key).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_slice_that_leads_nowhere_is_given_up_and_the_rest_is_not() {
    let mut survey = Survey::new(&"job".parse().unwrap(), &spec(2));
    for _ in 0..MAX_TRIES {
        let slice = survey.take(|slice| slice.destination == 0).unwrap();
        assert_eq!(survey.looked(slice, PlanPart::default()), []);
    }
    assert!(survey.take(|slice| slice.destination == 0).is_none());
    let slice = survey.take(|_| true).unwrap();
    survey.looked(slice, PlanPart { completed: true, ..PlanPart::default() });
    let plan = survey.plan();
    assert!(plan.complete);
    let problems: Vec<_> = plan.destinations.iter().map(|one| one.problem.is_some()).collect();
    assert_eq!(problems, [true, false]);
    assert_eq!(plan.destinations[1].list_requests, 2, "an empty place is listed, too");
}

#[test]
fn an_answer_outside_its_slice_counts_for_nothing() {
    let mut survey = Survey::new(&"job".parse().unwrap(), &spec(1));
    let slice = survey.take(|_| true).unwrap();
    survey.looked(slice, looked_at(&left_all(), 5, None));
    let slice = survey.take(|_| true).unwrap();
    assert_eq!(survey.looked(slice, looked_at(&left_all(), 3, None)), [], "behind the cursor");
    assert_eq!(survey.plan().destinations[0].tally.listed, 5);
    let slice = survey.take(|_| true).unwrap();
    let cut = Some(key(1));
    let part = PlanPart { cursor: Some(key(8)), cut, ..PlanPart::default() };
    survey.looked(slice, part);
    assert_eq!(survey.waiting(), 1, "a cut behind the cursor is none");
}

fn left_all() -> Vec<u32> {
    (0..10).collect()
}

#[test]
fn what_becomes_of_extra_keys_is_what_the_guard_would_say() {
    let mut spec = spec(2);
    let job = "media".parse().unwrap();
    let fates = |spec: &JobSpec, extras: [u64; 2], problem: Option<&str>| {
        let mut survey = Survey::new(&job, spec);
        for (plan, extra) in survey.plan.destinations.iter_mut().zip(extras) {
            plan.tally.extra.objects = extra;
            (plan.tally.source_keys, plan.tally.destination_in_scope) = (1_000, 1_000);
            // What no pattern lets through is none of the guard's business.
            plan.tally.destination_keys = 50_000;
            plan.problem = problem.map(str::to_owned);
        }
        survey.plan().destinations.into_iter().map(|plan| plan.extra_fate).collect::<Vec<_>>()
    };
    assert!(fates(&spec, [1, 0], None).iter().all(|fate| fate.starts_with("they stay")));
    spec.deletes.mode = DeleteMode::Mirror;
    assert_eq!(fates(&spec, [0, 0], None), ["", ""]);
    assert!(fates(&spec, [100, 1], None).iter().all(|fate| fate.contains("lets them pass")));
    let fates_above = fates(&spec, [101, 1], None);
    assert!(
        fates_above[0].contains("10.1 %, more than max_percent allows, 10 %"),
        "{fates_above:?}"
    );
    assert!(fates_above[1].contains("another destination"), "{fates_above:?}");
    assert!(fates(&spec, [1, 1], Some("no agent"))[0].starts_with("they stay"));
}
