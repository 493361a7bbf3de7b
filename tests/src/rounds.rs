//! Rounds of killing: everything is killed at random moments of a run while the lab misbehaves, and the end must be
//! right. The same code runs with small counts in CI and with big ones as a soak.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use s3sync_lab::{Fault, Faults, Rule, When, Write};
use s3sync_proto::model::{Name, Run, RunState};

use crate::objects::{self, differences};
use crate::wait::until;
use crate::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

/// What a round is made of.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Objects beside the odd and the large ones.
    pub objects: usize,
    /// Kills, spread over the run.
    pub kills: usize,
    /// Seed of objects, faults and kills.
    pub seed: u64,
    /// The run ends within this.
    pub bound: Duration,
}

/// 1 % slow down, 0.2 % resets, 0.1 % cut bodies, 0.1 % wrong bytes.
pub fn misbehave(world: &World, seed: u64) {
    for (index, side) in ["usw2", "cnn1"].into_iter().enumerate() {
        let rules = vec![
            Rule::every(Fault::SlowDown, When::Rate(0.01)),
            Rule::every(Fault::ResetBefore, When::Rate(0.001)),
            Rule::every(Fault::ResetAfter, When::Rate(0.001)),
            Rule::every(Fault::CutBody, When::Rate(0.001)),
            Rule::of("GetObject", Fault::WrongByteDown, When::Rate(0.001)),
            Rule::of("PutObject", Fault::WrongByteUp, When::Rate(0.001)),
            Rule::of("UploadPart", Fault::WrongByteUp, When::Rate(0.001)),
        ];
        world.side(side).set_faults(Faults::new(seed + index as u64, rules));
    }
}

/// Plays a round and checks its end: destinations equal to the source, counters that add up, no upload open, no key
/// written by two requests at once.
///
/// # Panics
/// When anything of that is not so.
#[expect(clippy::unwrap_used, reason = "a harness of tests")]
pub async fn play(round: Round, folder: &Path, program: &Path) {
    let mut world = World::new(folder, program, Times::short()).await.unwrap();
    world.start_server().await.unwrap();
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", round.objects, round.seed);
    let total = world.side("usw2").objects(SOURCE).len() as u64;
    world.apply_job().await.unwrap();
    misbehave(&world, round.seed);
    let agents = ["us-1", "cn-1", "cn-2"];
    start(&mut world, &agents);
    let job: Name = "media".parse().unwrap();
    let run = world.client().unwrap().run_job(&job, None).await.unwrap();
    kill_at_random(&mut world, round, &run, &agents).await;
    let run = ended(&world, &run, round.bound).await;
    let failures = world.ctl_ok(&["run", "failures", "media", "-o", "wide"]).await.unwrap();
    assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{failures}\n{}", world.logs());
    assert_equal(&world);
    assert_no_upload(&world);
    for destination in &run.destinations {
        assert_eq!(destination.counters.listed, total, "{destination:?}");
        assert!(destination.counters.add_up(), "{destination:?}");
    }
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        assert_eq!(overlaps(&world.side(side).writes(), bucket), [""; 0], "{bucket}");
    }
}

#[expect(clippy::unwrap_used, reason = "a harness of tests")]
async fn kill_at_random(world: &mut World, round: Round, run: &Run, agents: &[&str]) {
    let mut random = fastrand::Rng::with_seed(round.seed);
    for kill in 0..round.kills {
        // Kills are spread over the run by what it has done, not by a clock.
        let due = round.objects * 2 * kill / round.kills + random.usize(1..100);
        until("the run goes on", round.bound, || async {
            let now = copied(world);
            if now >= due || state(world, run).await.is_ok_and(|run| run.state.is_terminal()) {
                Ok(())
            } else {
                Err(now)
            }
        })
        .await;
        match random.usize(..=agents.len()) {
            0 => {
                world.kill_server().await.unwrap();
                world.start_server().await.unwrap();
            }
            index => {
                let name = agents[index - 1];
                world.kill_agent(name).await.unwrap();
                start(world, &[name]);
            }
        }
    }
}

/// Starts agents: those whose names begin with `us` have keys of their own side only.
///
/// # Panics
/// When one does not start.
pub fn start(world: &mut World, names: &[&str]) {
    for name in names {
        let started =
            if name.starts_with("us") { world.start_west(name) } else { world.start_china(name) };
        started.expect("an agent starts");
    }
}

/// Objects written to both destinations so far, whatever the server knows of it.
#[must_use]
pub fn copied(world: &World) -> usize {
    world.side("usw2").objects(WEST_DESTINATION).len()
        + world.side("cnn1").objects(CHINA_DESTINATION).len()
}

async fn state(world: &World, run: &Run) -> anyhow::Result<Run> {
    Ok(world.client()?.get_run(&run.name.job, Some(run.name.number)).await?)
}

/// Waits for a run's end, through restarts of the server.
///
/// # Panics
/// When it does not end within the bound.
pub async fn ended(world: &World, run: &Run, bound: Duration) -> Run {
    until("the run has ended", bound, || async {
        match state(world, run).await {
            Ok(run) if run.state.is_terminal() => Ok(run),
            Ok(run) => Err(format!("{run:?}")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// Asserts that both destinations equal the source, byte for byte.
///
/// # Panics
/// When they do not.
pub fn assert_equal(world: &World) {
    let found = unequal(world);
    assert!(found.is_empty(), "{} differences: {:?}", found.len(), &found[..found.len().min(10)]);
}

/// What differs between the source and its destinations.
#[must_use]
pub fn unequal(world: &World) -> Vec<String> {
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    let source = (&*west, SOURCE, "srcfolder/");
    let destinations =
        [(&*west, WEST_DESTINATION, "destfolder/"), (&*china, CHINA_DESTINATION, "destfolder/")];
    let of = |destination: (_, &str, _)| {
        let found = differences(source, destination).into_iter();
        found.map(|text| format!("{}: {text}", destination.1)).collect::<Vec<_>>()
    };
    destinations.into_iter().flat_map(of).collect()
}

/// Asserts that no multipart upload is open.
///
/// # Panics
/// When one is.
pub fn assert_no_upload(world: &World) {
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        assert_eq!(world.side(side).open_uploads(bucket), [], "{bucket}");
    }
}

/// Keys that two requests wrote at the same time.
fn overlaps(writes: &[Write], bucket: &str) -> Vec<String> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut effective: Vec<&Write> =
        writes.iter().filter(|write| write.effect && write.bucket == bucket).collect();
    effective.sort_by_key(|write| write.begin);
    let mut found = Vec::new();
    for write in effective {
        let end = last.entry(&write.key).or_default();
        if *end > write.begin {
            found.push(write.key.clone());
        }
        *end = write.end.max(*end);
    }
    found
}
