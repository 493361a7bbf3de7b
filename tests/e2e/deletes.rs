//! Mirrored deletes with real processes: counted, guarded, approved, done, whoever is killed when.

use std::collections::BTreeSet;

use bytes::Bytes;
use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::model::{Run, RunState};
use s3sync_tests::objects;
use s3sync_tests::wait::until;
use s3sync_tests::world::{
    CHINA, CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, WEST_READ, World,
};

use super::{RUN_BOUND, ended, media, start_run, world};

/// Starts an agent with keys of both sides, which may delete below the destinations' prefix and nowhere else.
pub(super) fn start_mirror(world: &mut World, name: &str) {
    let text = format!(
        "server = \"{}\"\nname = \"{name}\"\nlabels = {{ region = \"cn-north-1\" }}\n
[endpoints.usw2]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\nallow = [
  {{ bucket = \"{SOURCE}\", prefix = \"srcfolder/\", verbs = [\"list\", \"read\"] }},
  {{ bucket = \"{WEST_DESTINATION}\", prefix = \"destfolder/\", verbs = [\"list\", \"read\", \"write\", \"delete\"] }},
]\n
[endpoints.cnn1]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\nallow = [
  {{ bucket = \"{CHINA_DESTINATION}\", prefix = \"destfolder/\", verbs = [\"list\", \"read\", \"write\", \"delete\"] }},
]\n",
        world.url(), WEST_READ.0, WEST_READ.1, CHINA.0, CHINA.1
    );
    world.start_agent_with(name, &text).unwrap();
}

/// The job of the example, which mirrors.
async fn apply(world: &World, deletes: &str) {
    let text = format!("{}deletes: {{ policy: mirror, {deletes} }}\n", world.job_file());
    std::fs::write(world.folder().join("job.yaml"), text).unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
}

const PLACES: [(&str, &str); 2] = [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)];

/// Keys below a prefix, without it.
pub(super) fn keys(world: &World, side: &str, bucket: &str, prefix: &str) -> BTreeSet<Bytes> {
    let all = world.side(side).objects(bucket);
    all.keys()
        .filter_map(|key| key.strip_prefix(prefix.as_bytes()))
        .map(Bytes::copy_from_slice)
        .collect()
}

fn assert_mirrored(world: &World) {
    let source = keys(world, "usw2", SOURCE, "srcfolder/");
    for (side, bucket) in PLACES {
        assert_eq!(keys(world, side, bucket, "destfolder/").len(), source.len(), "{bucket}");
        assert!(keys(world, side, bucket, "destfolder/") == source, "{bucket}: other keys");
        assert_eq!(keys(world, side, bucket, "other/").len(), 1, "{bucket}: beside the prefix");
    }
}

async fn in_state(world: &World, state: RunState) -> Run {
    until("the run stands where it should", RUN_BOUND, || async {
        match world.client().unwrap().get_run(&media(), None).await {
            Ok(run) if run.state == state => Ok(run),
            Ok(run) => Err(format!("{:?} {}", run.state, run.reason)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// A world in step, of which then so many objects are deleted at the source.
pub(super) async fn shrunk(objects: usize, gone: usize, deletes: &str) -> (World, super::Folder) {
    let (mut world, folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", objects, 5);
    for (side, bucket) in PLACES {
        world.side(side).seed(bucket, "other/stays", "beside the prefix");
    }
    apply(&world, deletes).await;
    start_mirror(&mut world, "one");
    let run = start_run(&world).await;
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    let source = keys(&world, "usw2", SOURCE, "srcfolder/");
    for key in source.iter().step_by(source.len() / gone.max(1)).take(gone) {
        let key = [b"srcfolder/", &key[..]].concat();
        world.side("usw2").remove(SOURCE, &key);
    }
    (world, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn within_its_guard_a_mirror_deletes_and_beyond_it_asks() {
    let (world, _folder) = shrunk(400, 20, "max_count: 20, max_percent: 5").await;
    let run = start_run(&world).await;
    let run = ended(&world, &run).await;
    let totals = run.totals();
    assert_eq!((run.state, totals.extra, totals.deleted), (RunState::Succeeded, 40, 40), "{run:?}");
    assert_mirrored(&world);
    // One more than the guard lets pass.
    for key in keys(&world, "usw2", SOURCE, "srcfolder/").iter().take(21) {
        let key = [b"srcfolder/", &key[..]].concat();
        world.side("usw2").remove(SOURCE, &key);
    }
    start_run(&world).await;
    let run = in_state(&world, RunState::AwaitingApproval).await;
    assert!(run.reason.contains("21 keys are more than max_count allows, 20"), "{}", run.reason);
    assert_eq!(run.totals().deleted, 0);
    let waited = world.ctl(&["run", "wait", "media"]).await.unwrap();
    assert_eq!(waited.status.code(), Some(5));
    let told = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(told.contains("s3syncctl run approve media/3"), "{told}");
    let shown = world.ctl_ok(&["run", "get", "media"]).await.unwrap();
    assert!(shown.contains("21 of 417 keys in cnn1:destbucket-cnn1/destfolder/"), "{shown}");
    let unasked = world.ctl(&["run", "approve", "media"]).await.unwrap();
    assert_eq!(unasked.status.code(), Some(2), "no terminal to ask on");
    let other = world.ctl(&["run", "approve", "media", "--etag", "0", "--yes"]).await.unwrap();
    assert_eq!(other.status.code(), Some(4));
    assert_eq!(in_state(&world, RunState::AwaitingApproval).await.totals().deleted, 0);
    let etag = run.deletes.clone().unwrap().etag;
    world.ctl_ok(&["run", "approve", "media", "--etag", &etag, "--yes"]).await.unwrap();
    let run = ended(&world, &run).await;
    assert_eq!((run.state, run.totals().deleted), (RunState::Succeeded, 42), "{run:?}");
    assert_mirrored(&world);
    let late = world.ctl(&["run", "approve", "media", "--yes"]).await.unwrap();
    assert_eq!(late.status.code(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_source_waits_for_a_person_whatever_the_limits() {
    let (world, _folder) = shrunk(60, 0, "max_count: 1000000, max_percent: 100").await;
    let all = keys(&world, "usw2", SOURCE, "srcfolder/");
    for key in &all {
        world.side("usw2").remove(SOURCE, [b"srcfolder/", &key[..]].concat());
    }
    start_run(&world).await;
    let run = in_state(&world, RunState::AwaitingApproval).await;
    assert!(run.reason.contains("the source is empty"), "{}", run.reason);
    for (side, bucket) in PLACES {
        assert!(keys(&world, side, bucket, "destfolder/") == all, "{bucket}");
    }
    let cancelled = world.ctl(&["run", "cancel", "media"]).await.unwrap();
    assert!(cancelled.status.success());
    assert_eq!(ended(&world, &run).await.state, RunState::Cancelled);
    start_run(&world).await;
    let run = in_state(&world, RunState::AwaitingApproval).await;
    world.ctl_ok(&["run", "approve", "media", "--yes"]).await.unwrap();
    assert_eq!(ended(&world, &run).await.totals().deleted, 2 * all.len() as u64);
    assert_mirrored(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_server_are_killed_among_the_deletes() {
    let (mut world, _folder) = shrunk(2_000, 900, "max_percent: 90").await;
    // Slow enough to be killed in between, and every so often an answer is lost.
    for side in ["usw2", "cnn1"] {
        let rules = vec![
            Rule::of("GetObject", Fault::Delay(30), When::Always),
            Rule::of("DeleteObjects", Fault::ResetAfter, When::Nth(2)),
            Rule::of("DeleteObjects", Fault::Delay(400), When::Always),
            Rule::of("DeleteObject", Fault::ResetAfter, When::Rate(0.05)),
        ];
        world.side(side).set_faults(Faults::new(3, rules));
    }
    start_mirror(&mut world, "two");
    let run = start_run(&world).await;
    for round in 0..3 {
        let before = 1_800 - extra(&world);
        until("deletes go on", RUN_BOUND, || {
            let done = 1_800 - extra(&world);
            std::future::ready(if done > before || done == 1_800 { Ok(()) } else { Err(done) })
        })
        .await;
        match round {
            0 => {
                world.kill_agent("one").await.unwrap();
                start_mirror(&mut world, "one");
            }
            1 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            _ => {
                world.kill_agent("two").await.unwrap();
                start_mirror(&mut world, "two");
            }
        }
    }
    let run = ended(&world, &run).await;
    let totals = run.totals();
    assert_eq!(
        (run.state, totals.deleted, totals.not_deleted),
        (RunState::Succeeded, 1_800, 0),
        "{run:?}"
    );
    assert_mirrored(&world);
}

/// Kills, refusals and a source that is written while a mirror deletes, by a seed.
async fn harass(world: &mut World, rng: &mut fastrand::Rng, gone: &[Bytes]) {
    for turn in 0..6 {
        let copied = extra(world);
        until("deletes go on, or are over", RUN_BOUND, || async {
            let run = world.client().unwrap().get_run(&media(), None).await;
            let over = run.as_ref().is_ok_and(|run| run.state.is_terminal());
            if over || extra(world) < copied { Ok(()) } else { Err(format!("{run:?}")) }
        })
        .await;
        // The source gets keys back, with the bytes that the destinations have or with others.
        for _ in 0..5 {
            let key = &gone[rng.usize(..gone.len())];
            let same =
                world.side("cnn1").object(CHINA_DESTINATION, [b"destfolder/", &key[..]].concat());
            let body = same
                .filter(|_| rng.bool())
                .map_or_else(|| Bytes::from("other"), |one| one.body.clone());
            world.side("usw2").seed(SOURCE, [b"srcfolder/", &key[..]].concat(), body);
        }
        match (turn + rng.usize(..3)) % 3 {
            0 => {
                world.kill_agent("one").await.unwrap();
                start_mirror(world, "one");
            }
            1 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            _ => {
                world.kill_agent("two").await.unwrap();
                start_mirror(world, "two");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_refused_and_written_meanwhile_nothing_that_the_source_has_is_missing() {
    for seed in [1, 2] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut world, _folder) = shrunk(600, 300, "max_percent: 90").await;
        let kept = keys(&world, "usw2", SOURCE, "srcfolder/");
        let there = keys(&world, "cnn1", CHINA_DESTINATION, "destfolder/");
        let gone: Vec<Bytes> = there.difference(&kept).cloned().collect();
        let rate = |operation, fault, rate| Rule::of(operation, fault, When::Rate(rate));
        for side in ["usw2", "cnn1"] {
            let rules = vec![
                Rule::of("GetObject", Fault::Delay(20), When::Always),
                Rule::of("DeleteObjects", Fault::Delay(300), When::Always),
                rate("DeleteObjects", Fault::FailEntry, 0.3),
                rate("DeleteObjects", Fault::ResetAfter, 0.2),
                rate("ListObjectsV2", Fault::InternalError, 0.05),
                rate("ListObjectsV2", Fault::EmptyBody, 0.05),
                // Nothing of this proves that a key is not there.
                rate("GetObject", Fault::EmptyNotFound, 0.05),
                rate("GetObject", Fault::NoSuchBucket, 0.02),
                rate("GetObject", Fault::AccessDenied, 0.02),
            ];
            world.side(side).set_faults(Faults::new(seed, rules));
        }
        start_mirror(&mut world, "two");
        let run = start_run(&world).await;
        harass(&mut world, &mut rng, &gone).await;
        let run = ended(&world, &run).await;
        let ran = format!("{seed}: {run:?}\n{}", world.logs());
        for (side, bucket) in PLACES {
            let there = keys(&world, side, bucket, "destfolder/");
            assert_eq!(kept.difference(&there).count(), 0, "{bucket} {ran}");
            assert_eq!(
                keys(&world, side, bucket, "other/").len(),
                1,
                "{bucket}: beside the prefix"
            );
        }
        assert!(run.totals().deleted <= run.totals().extra, "{ran}");
        // What came back behind the pass, and what was refused, is brought in step by a run that nobody disturbs.
        for side in ["usw2", "cnn1"] {
            world.side(side).set_faults(Faults::default());
        }
        let quiet = start_run(&world).await;
        assert_eq!(ended(&world, &quiet).await.state, RunState::Succeeded, "{}", world.logs());
        assert_mirrored(&world);
    }
}

/// Keys at the destinations that the source does not have.
fn extra(world: &World) -> usize {
    let source = keys(world, "usw2", SOURCE, "srcfolder/");
    let there =
        |(side, bucket)| keys(world, side, bucket, "destfolder/").difference(&source).count();
    PLACES.into_iter().map(there).sum()
}
