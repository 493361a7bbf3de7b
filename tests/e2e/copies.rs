//! What a person sees of copies: archived objects, and drift of what objects carry.

use s3sync_lab::Object;
use s3sync_proto::model::RunState;
use s3sync_tests::objects;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION};

use super::{ended, start_run, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_archived_objects_did_not_succeed_and_lists_them_until_they_are_restored() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    objects::seed(&west, SOURCE, "srcfolder/", 20, 11);
    west.seed_object(SOURCE, "srcfolder/cold", Object::new("cold").in_class("DEEP_ARCHIVE"));
    let tiered = Object::new("tiered").in_archive_tier("DEEP_ARCHIVE_ACCESS");
    west.seed_object(SOURCE, "srcfolder/tiered", tiered);
    world.apply_job().await.unwrap();
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    let run = world.ctl(&["job", "run", "media", "--wait"]).await.unwrap();
    let shown = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(run.status.code(), Some(9), "{shown}\n{}", world.logs());
    assert!(shown.contains("finished with failures") && shown.contains("4 archived"), "{shown}");
    let failures = world.ctl_ok(&["run", "failures", "media"]).await.unwrap();
    assert!(failures.contains("archived"), "{failures}");
    let json = world.ctl_ok(&["run", "failures", "media", "-o", "json"]).await.unwrap();
    assert_eq!(json.matches("FAILURE_CLASS_ARCHIVED").count(), 4, "{json}");

    // A person orders a restore; the next run copies what can be read now.
    for key in ["srcfolder/cold", "srcfolder/tiered"] {
        let object = Object::clone(&west.object(SOURCE, key).unwrap()).restored();
        west.seed_object(SOURCE, key, object);
    }
    let run = start_run(&world).await;
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        assert_eq!(world.side(side).object(bucket, "destfolder/cold").unwrap().body, "cold");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_compares_everything_repairs_what_objects_carry() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    objects::seed(&west, SOURCE, "srcfolder/", 30, 12);
    let file = world
        .job_file()
        .replace("kind: Job\nname: media\n", "kind: Job\nname: media\ncompare: full\n");
    std::fs::write(world.folder().join("job.yaml"), file).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    let first = start_run(&world).await;
    let first = ended(&world, &first).await;
    assert_eq!(first.state, RunState::Succeeded, "{first:?}\n{}", world.logs());
    let differences = |side: &str, bucket: &str| {
        let to = world.side(side);
        objects::differences((&west, SOURCE, "srcfolder/"), (&to, bucket, "destfolder/"))
    };
    let all = |differences: &dyn Fn(&str, &str) -> Vec<String>| {
        [differences("usw2", WEST_DESTINATION), differences("cnn1", CHINA_DESTINATION)].concat()
    };
    assert_eq!(all(&differences), Vec::<String>::new());

    // Neither bytes nor ETags change; in parts, small, and with tags alone.
    for key in ["srcfolder/large/parts", "srcfolder/00/000017.bin"] {
        let object = Object::clone(&west.object(SOURCE, key).unwrap());
        west.seed_object(SOURCE, key, object.with_header("x-amz-meta-owner", "somebody else"));
    }
    let tagged = Object::clone(&west.object(SOURCE, "srcfolder/a b").unwrap());
    west.seed_object(SOURCE, "srcfolder/a b", tagged.with_tag("new", "tag"));
    assert_eq!(all(&differences).len(), 6);
    let second = start_run(&world).await;
    let second = ended(&world, &second).await;
    let totals = second.totals();
    assert_eq!((totals.copied, totals.repaired), (6, 6), "{totals:?}\n{}", world.logs());
    assert_eq!(all(&differences), Vec::<String>::new());
    let shown = world.ctl_ok(&["run", "get", "media"]).await.unwrap();
    assert!(shown.contains("6 of the copied had the right bytes"), "{shown}");
    let third = start_run(&world).await;
    let totals = ended(&world, &third).await.totals();
    assert_eq!((totals.in_step, totals.write_requests), (totals.listed, 0), "{totals:?}");
}
