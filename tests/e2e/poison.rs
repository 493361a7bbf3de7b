//! A key that kills whoever touches it: the run ends with that key as a failure, and with all else copied.

use std::collections::BTreeSet;

use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::model::{FailureClass, Run, RunState};
use s3sync_tests::objects;
use s3sync_tests::rounds::{assert_no_upload, unequal};
use s3sync_tests::wait::until;
use s3sync_tests::world::{SOURCE, Times, World};

use super::{RUN_BOUND, media, start_run, world};

/// What the agent dies of.
const DEADLY: &str = "srcfolder/09/000400.bin";

/// Deaths after which a key must have been given up, however they fall: a few before the work is done carefully, two
/// with the key alone, and as many that struck other work of the same agent.
const MOST_DEATHS: usize = 12;

/// Waits until the agent reads the deadly key, or the run has ended.
async fn touched(world: &World, run: &Run, before: u64) -> Option<Run> {
    until("the agent dies, or the run ends", RUN_BOUND, || async {
        if world.side("usw2").faults().matched()[0] > before {
            return Ok(None);
        }
        let mut client = world.client().map_err(|error| error.to_string())?;
        match client.get_run(&run.name.job, Some(run.name.number)).await {
            Ok(run) if run.state.is_terminal() => Ok(Some(run)),
            Ok(run) => Err(format!("{run:?}")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_kills_agents_becomes_a_failure_and_all_else_is_copied() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 600, 9);
    assert!(world.side("usw2").object(SOURCE, DEADLY).is_some());
    world.apply_job().await.unwrap();
    // Who reads it gets no answer, and dies: the test sees the read and kills the process.
    let deadly = Rule::of("GetObject", Fault::Delay(600_000), When::Always).at(SOURCE, DEADLY);
    world.side("usw2").set_faults(Faults::new(1, vec![deadly]));
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    let (mut deaths, mut reads) = (0, 0);
    let run = loop {
        if let Some(run) = touched(&world, &run, reads).await {
            break run;
        }
        reads = world.side("usw2").faults().matched()[0];
        // The copy inside S3 reads nothing; so it is the agent in China.
        world.kill_agent("cn-1").await.unwrap();
        world.start_china("cn-1").unwrap();
        deaths += 1;
        assert!(deaths <= MOST_DEATHS, "it is not given up\n{}", world.logs());
    };
    assert_eq!(run.state, RunState::FinishedWithFailures, "{run:?}\n{}", world.logs());
    let mut client = world.client().unwrap();
    let (failures, _) =
        client.list_failures(&media(), Some(run.name.number), None, 10, "").await.unwrap();
    let failed: Vec<_> = failures
        .items
        .iter()
        .map(|one| (one.key.to_string(), one.class, one.destination))
        .collect();
    let key = DEADLY.strip_prefix("srcfolder/").unwrap().to_owned();
    assert_eq!(failed, [(key, FailureClass::Poison, 1)], "{deaths} deaths\n{}", world.logs());
    let different: BTreeSet<_> = unequal(&world).into_iter().collect();
    assert_eq!(different.len(), 1, "{different:?}");
    assert_no_upload(&world);
    println!("given up after {deaths} deaths");
}
