//! What kills whoever touches it: a key, a listing, a delete, an upload that is to be aborted. The run ends with that as a
//! failure, and with all else done.

use std::collections::BTreeSet;

use s3sync_lab::{Fault, Faults, Object, Rule, When};
use s3sync_proto::model::{FailureClass, Run, RunState};
use s3sync_tests::objects;
use s3sync_tests::rounds::{assert_no_upload, unequal};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, World};

use super::deletes::{keys, shrunk, start_mirror};
use super::{RUN_BOUND, media, start_run, world};

/// What the agent dies of.
const DEADLY: &str = "srcfolder/09/000400.bin";

/// Deaths after which a key must have been given up, however they fall: a few before the work is done carefully, two
/// with the key alone, and as many that struck other work of the same agent.
const MOST_DEATHS: usize = 12;

/// Waits until the rule on a side has hit once more, or the run has ended.
async fn touched(world: &World, run: &Run, side: &str, before: u64) -> Option<Run> {
    until("the agent dies, or the run ends", RUN_BOUND, || async {
        if world.side(side).faults().matched()[0] > before {
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

/// Kills an agent, and starts it again, whenever the rule on a side hits, until the run ends. How often that was.
async fn kill_whenever(
    world: &mut World,
    run: &Run,
    side: &str,
    (agent, start): (&str, impl Fn(&mut World, &str)),
) -> (Run, usize) {
    let (mut deaths, mut touches) = (0, 0);
    loop {
        if let Some(run) = touched(world, run, side, touches).await {
            return (run, deaths);
        }
        touches = world.side(side).faults().matched()[0];
        world.kill_agent(agent).await.unwrap();
        start(world, agent);
        deaths += 1;
        assert!(deaths <= MOST_DEATHS, "it is not given up\n{}", world.logs());
    }
}

fn start_china(world: &mut World, name: &str) {
    world.start_china(name).unwrap();
}

/// Key, class, code and destination of each failure.
async fn failed(world: &World, run: &Run) -> Vec<(String, FailureClass, String, u32)> {
    let mut client = world.client().unwrap();
    let (failures, _) =
        client.list_failures(&media(), Some(run.name.number), None, 10, "").await.unwrap();
    let each = failures.items.into_iter();
    each.map(|one| (one.key.to_string(), one.class, one.code, one.destination)).collect()
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
    // The copy inside S3 reads nothing; so it is the agent in China.
    let (run, deaths) = kill_whenever(&mut world, &run, "usw2", ("cn-1", start_china)).await;
    assert_eq!(run.state, RunState::FinishedWithFailures, "{run:?}\n{}", world.logs());
    let key = DEADLY.strip_prefix("srcfolder/").unwrap().to_owned();
    let wanted = (key, FailureClass::Poison, "agents_died".to_owned(), 1);
    assert_eq!(failed(&world, &run).await, [wanted], "{deaths} deaths\n{}", world.logs());
    let different: BTreeSet<_> = unequal(&world).into_iter().collect();
    assert_eq!(different.len(), 1, "{different:?}");
    assert_no_upload(&world);
    println!("given up after {deaths} deaths");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_kills_agents_is_given_up_and_the_run_is_incomplete() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 60, 9);
    world.apply_job().await.unwrap();
    let deadly = Rule::of("ListObjectsV2", Fault::Delay(600_000), When::Always)
        .at(CHINA_DESTINATION, "destfolder/");
    world.side("cnn1").set_faults(Faults::new(1, vec![deadly]));
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    let (run, deaths) = kill_whenever(&mut world, &run, "cnn1", ("cn-1", start_china)).await;
    assert_eq!(run.state, RunState::Incomplete, "{run:?}\n{}", world.logs());
    assert_eq!(deaths, 6, "three, and three more that did nothing else\n{}", world.logs());
    let wanted = (String::new(), FailureClass::Poison, "agents_died_listing".to_owned(), 1);
    assert_eq!(failed(&world, &run).await, [wanted]);
    let [west, china] = &run.destinations[..] else { panic!("{run:?}") };
    assert_eq!((west.counters.failed, china.counters.failed), (0, 1));
    // What an agent had copied and not told of when it was killed, the next one finds in step.
    assert_eq!(west.counters.copied + west.counters.in_step, west.counters.listed);
    // A retry looks at everything.
    world.side("cnn1").set_faults(Faults::default());
    let retried = world.ctl(&["run", "retry", "media", "--wait"]).await.unwrap();
    assert_eq!(retried.status.code(), Some(0), "{}", world.logs());
    assert_eq!(unequal(&world).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_kills_agents_becomes_a_failure_and_all_others_are_made() {
    let gone = 40;
    let (mut world, _folder) = shrunk(400, gone, "max_count: 1000, max_percent: 50").await;
    let source = keys(&world, "usw2", SOURCE, "srcfolder/");
    let extra = |world: &World| {
        let there = keys(world, "cnn1", CHINA_DESTINATION, "destfolder/");
        there.difference(&source).cloned().collect::<Vec<_>>()
    };
    let deadly = extra(&world)[gone / 2].clone();
    let at = format!("srcfolder/{}", String::from_utf8_lossy(&deadly));
    // Before a key is deleted it is read at the source; who does so dies.
    let rule = Rule::of("GetObject", Fault::Delay(600_000), When::Always).at(SOURCE, &at);
    world.side("usw2").set_faults(Faults::new(1, vec![rule]));
    let run = start_run(&world).await;
    let (run, deaths) = kill_whenever(&mut world, &run, "usw2", ("one", start_mirror)).await;
    let told = (run.state, run.totals().deleted, run.totals().not_deleted);
    let all = 2 * (gone as u64 - 1);
    assert_eq!(told, (RunState::FinishedWithFailures, all, 2), "{run:?}\n{}", world.logs());
    let key = String::from_utf8_lossy(&deadly).into_owned();
    let each = |n| (key.clone(), FailureClass::Poison, "agents_died".to_owned(), n);
    assert_eq!(failed(&world, &run).await, [each(0), each(1)], "{deaths} deaths");
    assert_eq!(extra(&world), [deadly], "it stays, and no other");
    println!("given up after {deaths} deaths");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_also_where_clearing_up_kills_and_the_next_run_gets_what_is_open() {
    let (mut world, _folder) = world(Times::short()).await;
    let body = objects::bytes(&mut fastrand::Rng::with_seed(7), 24 << 20);
    world.side("usw2").seed_object(SOURCE, "srcfolder/big", Object::new(body).in_parts(5 << 20));
    world.apply_job().await.unwrap();
    // Its upload does not come to an end, and who aborts it gets no answer and dies.
    let stuck = |what: &str| Rule::of(what, Fault::Delay(600_000), When::Always);
    let faults = vec![stuck("AbortMultipartUpload"), stuck("UploadPart")];
    world.side("cnn1").set_faults(Faults::new(1, faults));
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    until("the upload is begun and recorded", RUN_BOUND, || {
        let parts = world.side("cnn1").faults().matched()[1];
        std::future::ready(if parts > 0 { Ok(()) } else { Err("no part is sent") })
    })
    .await;
    world.kill_agent("cn-1").await.unwrap();
    world.client().unwrap().cancel_run(&media(), None).await.unwrap();
    start_china(&mut world, "cn-1");
    let (run, deaths) = kill_whenever(&mut world, &run, "cnn1", ("cn-1", start_china)).await;
    assert_eq!(run.state, RunState::Cancelled, "{run:?}\n{}", world.logs());
    assert_eq!(deaths, 5, "with the first: three, and three that did nothing else");
    let left = ("big".to_owned(), FailureClass::Poison, "agents_died_aborting".to_owned(), 1);
    assert_eq!(failed(&world, &run).await, [left], "{}", world.logs());
    let shown = world.ctl_ok(&["run", "failures", "media", "--keys"]).await.unwrap();
    assert!(shown.contains("the job's next run over all keys"), "{shown}");
    world.side("cnn1").set_faults(Faults::default());
    let next = world.ctl(&["job", "run", "media", "--wait"]).await.unwrap();
    assert_eq!(next.status.code(), Some(0), "{next:?}\n{}", world.logs());
    assert_eq!(unequal(&world).len(), 0);
    assert_no_upload(&world);
}
