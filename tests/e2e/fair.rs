//! A small run beside a huge one that has taken all there is.

use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::rounds::assert_equal;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, WEST_READ};

use super::{RUN_BOUND, ended, media, start_run, world};

const SMALL: &str = "
---
kind: Job
name: small
source: { endpoint: usw2, bucket: srcbucket, prefix: small/ }
destinations:
  - { endpoint: cnn1, bucket: destbucket-cnn1, prefix: small/ }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_small_run_begins_although_a_huge_one_holds_every_place() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    for n in 0..2_000 {
        west.seed(SOURCE, format!("srcfolder/{n:05}"), "huge");
    }
    for n in 0..100 {
        west.seed(SOURCE, format!("small/{n:03}"), "small");
    }
    // The huge one has a range at each of its destinations, and would be minutes at each.
    let slow = |operation: &str, bucket: &str, prefix: &str| {
        Rule::of(operation, Fault::Delay(1_000), When::Always).at(bucket, prefix)
    };
    let rules = vec![
        slow("GetObject", SOURCE, "srcfolder/"),
        slow("CopyObject", WEST_DESTINATION, "destfolder/"),
    ];
    west.set_faults(Faults::new(1, rules));
    std::fs::write(world.folder().join("job.yaml"), format!("{}{SMALL}", world.job_file()))
        .unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    let more = "[limits]\nassignments = 2\nrequests_in_flight = 16\n";
    world.start_agent("cn-1", "cn-north-1", &[("usw2", WEST_READ), ("cnn1", CHINA)], more).unwrap();
    let huge = start_run(&world).await;
    until("the huge one copies", RUN_BOUND, || {
        let copied = world.side("cnn1").counts().of("PutObject");
        std::future::ready(if copied > 0 { Ok(()) } else { Err("nothing is copied") })
    })
    .await;
    world.ctl_ok(&["job", "run", "small", "--wait", "--quiet"]).await.unwrap();
    for n in 0..100 {
        assert!(world.side("cnn1").object(CHINA_DESTINATION, format!("small/{n:03}")).is_some());
    }
    let still = world.client().unwrap().get_run(&media(), None).await.unwrap();
    assert_eq!((&still.name, still.state), (&huge.name, RunState::Running), "{}", world.logs());
    let open: Vec<_> = still.destinations.iter().map(|one| one.open_ranges > 0).collect();
    assert_eq!(open, [true, true], "no place was free by itself: {still:?}");
    west.set_faults(Faults::default());
    let huge = ended(&world, &huge).await;
    assert_eq!(huge.state, RunState::Succeeded, "{huge:?}");
    let china = world.side("cnn1");
    for n in 0..100 {
        china.remove(CHINA_DESTINATION, format!("small/{n:03}"));
        west.remove(SOURCE, format!("small/{n:03}"));
    }
    assert_equal(&world);
}
