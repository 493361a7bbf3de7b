//! What a run does when nothing goes wrong.

use s3sync_proto::model::{RunState, Trigger};
use s3sync_tests::objects;
use s3sync_tests::rounds::{assert_equal, assert_no_upload, unequal};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

use super::{RUN_BOUND, ended, start_run, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_copies_nothing_and_a_change_is_all_that_moves() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    objects::seed(&west, SOURCE, "srcfolder/", 500, 3);
    west.seed(SOURCE, "elsewhere/x", "not of the job");
    let total = west.objects(SOURCE).len() as u64 - 1;
    world.apply_job().await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let first = start_run(&world).await;
    let first = ended(&world, &first).await;
    assert_eq!(first.state, RunState::Succeeded, "{first:?}\n{}", world.logs());
    assert_equal(&world);
    assert_no_upload(&world);
    for destination in &first.destinations {
        assert_eq!(
            (destination.counters.listed, destination.counters.copied),
            (total, total),
            "{destination:?}"
        );
    }
    // Inside one side with one key, nothing passes through an agent.
    assert_eq!(first.destinations[0].counters.copied_server_side, total);
    assert_eq!(first.destinations[1].counters.copied_server_side, 0);

    let writes = world.side("cnn1").writes().len();
    let second = start_run(&world).await;
    let second = ended(&world, &second).await;
    assert_eq!(second.state, RunState::Succeeded);
    let totals = second.totals();
    assert_eq!(
        (totals.in_step, totals.copied, totals.write_requests),
        (2 * total, 0, 0),
        "{totals:?}"
    );
    assert_eq!(world.side("cnn1").writes().len(), writes);

    west.seed(SOURCE, "srcfolder/new", "new");
    west.seed(SOURCE, "srcfolder/00/000017.bin", "other bytes");
    west.remove(SOURCE, "srcfolder/a b");
    let third = start_run(&world).await;
    let third = ended(&world, &third).await;
    let totals = third.totals();
    assert_eq!(
        (totals.copied, totals.in_step, totals.extra),
        (4, 2 * (total - 2), 2),
        "{totals:?}"
    );
    // Nothing is deleted unasked.
    assert!(world.side("cnn1").object(CHINA_DESTINATION, "destfolder/a b").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_keeps_buckets_in_step_by_itself_through_a_restart() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 20, 3);
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    let schedule = "schedule: { every: 1s, at_start: true }\n";
    std::fs::write(world.folder().join("job.yaml"), format!("{}{schedule}", world.job_file()))
        .unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    let equal = async |world: &World, what: &str| {
        until(what, RUN_BOUND, || {
            let all = unequal(world);
            std::future::ready(if all.is_empty() { Ok(()) } else { Err(all) })
        })
        .await;
    };
    equal(&world, "what was there is copied").await;
    world.side("usw2").seed(SOURCE, "srcfolder/new", "after the first run");
    equal(&world, "what is new is copied").await;
    world.kill_server().await.unwrap();
    world.side("usw2").seed(SOURCE, "srcfolder/newer", "while the server was away");
    world.start_server().await.unwrap();
    equal(&world, "what came while the server was away is copied").await;
    world.ctl_ok(&["job", "pause", "media"]).await.unwrap();
    let runs = world.client().unwrap().list_runs(None, 500, "").await.unwrap().items;
    let mut nominal: Vec<_> = runs.iter().filter_map(|run| run.nominal).collect();
    assert!(runs.iter().any(|run| run.trigger == Trigger::Start), "it began by itself");
    nominal.sort();
    let count = nominal.len();
    nominal.dedup();
    assert_eq!(nominal.len(), count, "no time started two runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_lists_only_what_it_may_let_through() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    for n in 0..2_500 {
        west.seed(SOURCE, format!("srcfolder/logs/{n:05}"), "x");
    }
    for key in ["a.jpg", "b.png", "tmp/c.jpg", "x/y.jpg"] {
        west.seed(SOURCE, format!("srcfolder/media/{key}"), key);
    }
    let filter = "filter: { include: ['media/**/*.jpg'], exclude: ['**/tmp/**'] }\n";
    std::fs::write(world.folder().join("job.yaml"), format!("{}{filter}", world.job_file()))
        .unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    world.ctl_ok(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        let keys: Vec<_> = world.side(side).objects(bucket).into_keys().collect();
        assert_eq!(keys, ["destfolder/media/a.jpg", "destfolder/media/x/y.jpg"], "{bucket}");
    }
    // One page of the source for each destination, and one of the destination on its own side.
    assert_eq!(west.counts().of("ListObjectsV2"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_sees_only_its_own_keys() {
    use s3sync_tests::world::{CHINA, WEST, WEST_READ};
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 200, 4);
    world.apply_job().await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    assert_eq!(ended(&world, &run).await.state, RunState::Succeeded);
    let keys = |side: &str| {
        let counts = world.side(side).counts();
        counts.0.keys().map(|(_, key, _)| key.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(
        keys("usw2").is_subset(&[WEST.0, WEST_READ.0].map(str::to_owned).into()),
        "{:?}",
        keys("usw2")
    );
    assert_eq!(keys("cnn1"), [CHINA.0.to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_leaves_no_upload_open() {
    use s3sync_lab::{Fault, Faults, Rule, When};
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 50, 6);
    world.apply_job().await.unwrap();
    let slow = vec![Rule::of("UploadPart", Fault::Delay(3_000), When::Always)];
    world.side("cnn1").set_faults(Faults::new(1, slow));
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    until("an upload is open", RUN_BOUND, || async {
        if world.side("cnn1").open_uploads(CHINA_DESTINATION).is_empty() {
            Err("none")
        } else {
            Ok(())
        }
    })
    .await;
    world.client().unwrap().cancel_run(&run.name.job, Some(run.name.number)).await.unwrap();
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Cancelled);
    assert_no_upload(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_agent_hands_over_at_once() {
    use s3sync_lab::{Fault, Faults, Rule, When};
    let (mut world, _folder) = world(Times::default_ones()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 600, 7);
    world.apply_job().await.unwrap();
    let slow = vec![Rule::of("GetObject", Fault::Delay(100), When::Always)];
    world.side("usw2").set_faults(Faults::new(1, slow));
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    until("the first agent works", RUN_BOUND, || async {
        if world.side("cnn1").objects(CHINA_DESTINATION).is_empty() {
            Err("nothing")
        } else {
            Ok(())
        }
    })
    .await;
    world.start_china("cn-2").unwrap();
    let status = world.stop_agent("cn-1").await.unwrap();
    assert!(status.success(), "{status}\n{}", world.logs());
    world.side("usw2").set_faults(Faults::default());
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_equal(&world);
}
