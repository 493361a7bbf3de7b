//! The report of a run says what was really asked of S3, in which ways objects went, and what happened.

use std::collections::BTreeMap;

use s3sync_lab::{Fault, Faults, Object, Rule, When};
use s3sync_proto::model::{Happening, Operation, RunReport, RunState, Usage, WaitReason};
use s3sync_tests::objects;
use s3sync_tests::world::{SOURCE, Times, World};

use super::{ended, media, start_run, world};

/// Requests by S3's name, as the report has them.
fn reported(report: &RunReport) -> BTreeMap<String, u64> {
    let mut all = Usage::default();
    for usage in &report.usages {
        all += usage.clone();
    }
    let mut sums = BTreeMap::new();
    for one in all.requests.iter().filter(|one| one.made > 0) {
        *sums.entry(one.operation.name().to_owned()).or_default() += one.made;
    }
    sums
}

/// The same, as the two sides were asked since that was last forgotten.
fn asked(world: &World) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for side in ["usw2", "cnn1"] {
        for ((operation, _, _), number) in world.side(side).counts().0 {
            *sums.entry(operation).or_default() += number;
        }
    }
    sums
}

async fn report(world: &World) -> RunReport {
    world.client().unwrap().get_run_report(&media(), None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_counts_what_was_asked_and_how_objects_went() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    objects::seed(&west, SOURCE, "srcfolder/", 60, 5);
    west.seed_object(SOURCE, "srcfolder/cold", Object::new("cold").in_class("DEEP_ARCHIVE"));
    world.apply_job().await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();

    let run = start_run(&world).await;
    let run = ended(&world, &run).await;
    let first = report(&world).await;
    assert_eq!(first.run, run);
    assert_eq!(reported(&first), asked(&world), "{}", world.logs());
    let totals = run.totals();
    let kinds = |names: &[Operation]| -> u64 {
        names.iter().filter_map(|name| reported(&first).get(name.name()).copied()).sum()
    };
    let listings = [Operation::List, Operation::ListUploads, Operation::ListParts];
    assert_eq!(kinds(&listings), totals.list_requests);
    assert_eq!(kinds(&[Operation::Head, Operation::Get, Operation::GetTags]), totals.read_requests);
    assert_eq!(
        reported(&first).values().sum::<u64>(),
        totals.list_requests + totals.read_requests + totals.write_requests
    );
    // Inside one endpoint S3 copies by itself; across the border bytes go through an agent, large ones in parts.
    let inside = run.destinations[0].counters;
    assert_eq!((inside.copied_server_side, inside.copied_parts), (inside.copied, 0));
    assert_eq!(inside.copied_server_side_bytes, inside.copied_bytes);
    let across = run.destinations[1].counters;
    assert_eq!(across.copied_server_side, 0);
    assert!(across.copied_parts > 0 && across.copied_parts < across.copied, "{across:?}");
    assert!(across.copied_parts_bytes < across.copied_bytes, "{across:?}");
    let states: Vec<_> = first.timeline.iter().map(|entry| entry.what.clone()).collect();
    let state = Happening::State;
    let expected = [RunState::Pending, RunState::Running, RunState::FinishedWithFailures];
    assert_eq!(states, expected.map(state));
    assert!(first.timeline.is_sorted_by_key(|entry| entry.time));
    assert_eq!(first.failures.iter().map(|group| group.size).sum::<u64>(), 2, "archived, twice");

    let shown = world.ctl_ok(&["run", "report", "media"]).await.unwrap();
    for part in ["CopyObject", "inside S3, by one request", "finished with failures", "archived:"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let json = world.ctl_ok(&["run", "report", "media", "-o", "json"]).await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["run"]["state"], "RUN_STATE_FINISHED_WITH_FAILURES", "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_of_endpoints_that_ask_to_slow_down_and_of_agents_that_die() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 40, 6);
    world.apply_job().await.unwrap();
    world.start_west("us-1").unwrap();
    let held = vec![Rule::of("PutObject", Fault::Delay(60_000), When::Always)];
    world.side("cnn1").set_faults(Faults::new(1, held));
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    s3sync_tests::wait::until("objects are on their way to China", super::RUN_BOUND, || {
        let puts = asked(&world).get("PutObject").copied().unwrap_or_default();
        std::future::ready(if puts > 0 { Ok(()) } else { Err(puts) })
    })
    .await;
    world.kill_agent("cn-1").await.unwrap();
    let slow = (1..=5).map(|nth| Rule::of("PutObject", Fault::SlowDown, When::Nth(nth)));
    world.side("cnn1").set_faults(Faults::new(1, slow.collect()));
    world.start_china("cn-2").unwrap();
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
    let report = report(&world).await;
    assert!(report.losses > 0, "{report:?}");
    let lost = |what: &Happening| *what == Happening::Lost("cn-1".parse().unwrap());
    assert_eq!(report.timeline.iter().filter(|entry| lost(&entry.what)).count(), 1, "{report:?}");
    let slowed: u64 = report.usages[1].requests.iter().map(|one| one.slowed).sum();
    assert_eq!(slowed, 5, "{report:?}");
    assert!(!report.usages[1].waited(WaitReason::SlowDown).is_zero(), "{report:?}");
}
