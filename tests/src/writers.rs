//! Rounds with writers: while runs go on and the lab misbehaves, somebody overwrites, deletes and recreates objects of the
//! source, and others write at the destinations. Nothing torn is ever there; after one more quiet run nothing is older than
//! its source. The same code runs with small counts in CI and with big ones as a soak.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use s3sync_lab::{Endpoint, Faults};
use s3sync_proto::model::RunState;

use crate::rounds::{assert_no_upload, ended, misbehave, start};
use crate::world::{CHINA_DESTINATION, SOURCE, Times, WEST_DESTINATION, World};

/// What a round is made of.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Keys that are written.
    pub keys: usize,
    /// Of these, keys of objects that go in parts.
    pub large: usize,
    /// Runs during which somebody writes.
    pub runs: usize,
    /// Seed of everything.
    pub seed: u64,
    /// A run ends within this.
    pub bound: Duration,
}

/// Above the size that goes in parts.
const LARGE: usize = 17 << 20;
/// Digits of the version that a body begins with.
const VERSION: usize = 16;
/// Pause between two writes.
const PACE: Duration = Duration::from_millis(2);

/// A body that tells its version, so that a mixture of two is known as one.
fn body(version: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size.max(VERSION)];
    fastrand::Rng::with_seed(version).fill(&mut bytes);
    bytes[..VERSION].copy_from_slice(format!("{version:0VERSION$x}").as_bytes());
    bytes.into()
}

/// Whether it is one of the bodies, whole.
fn is_whole(found: &Bytes) -> bool {
    let version = found.get(..VERSION).and_then(|digits| std::str::from_utf8(digits).ok());
    let version = version.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    version.is_some_and(|version| body(version, found.len()) == *found)
}

/// Somebody who writes.
struct Writer {
    random: fastrand::Rng,
    version: u64,
    writing: Writing,
    writes: u64,
}

impl Writer {
    fn key(&mut self) -> usize {
        self.random.usize(..self.writing.keys)
    }

    fn size(&mut self, key: usize) -> usize {
        match key {
            key if key < self.writing.large => LARGE + self.random.usize(..3),
            _ if self.random.bool() => self.random.usize(VERSION..4_096),
            _ => self.random.usize(100_000..400_000),
        }
    }

    fn body(&mut self, key: usize, there: Option<usize>) -> Bytes {
        self.version += 1;
        // As often as not with the size that is there.
        let size = there.filter(|_| self.random.bool()).unwrap_or_else(|| self.size(key));
        body(self.version, size)
    }

    fn write(&mut self, side: &Endpoint, bucket: &str, prefix: &str, key: usize) {
        let name = format!("{prefix}{key:04}");
        let there = side.object(bucket, &name).map(|object| object.body.len());
        if there.is_some() && self.random.u32(..4) == 0 {
            side.remove(bucket, &name);
        } else {
            side.seed(bucket, &name, self.body(key, there));
        }
        self.writes += 1;
    }

    /// Mostly at the source; now and then at a destination.
    fn somewhere(&mut self, world: &World) {
        let key = self.key();
        match self.random.u32(..10) {
            0 => self.write(&world.side("usw2"), WEST_DESTINATION, "destfolder/", key),
            1 => self.write(&world.side("cnn1"), CHINA_DESTINATION, "destfolder/", key),
            _ => self.write(&world.side("usw2"), SOURCE, "srcfolder/", key),
        }
    }
}

/// Plays a round; returns how often somebody wrote while runs went on.
///
/// # Panics
/// When something is torn, or not equal at the end.
#[expect(clippy::unwrap_used, reason = "a harness of tests")]
pub async fn play(writing: Writing, folder: &Path, program: &Path) -> u64 {
    let mut world = World::new(folder, program, Times::short()).await.unwrap();
    world.start_server().await.unwrap();
    world.apply_job().await.unwrap();
    let random = fastrand::Rng::with_seed(writing.seed);
    let mut writer = Writer { random, version: writing.seed << 32, writing, writes: 0 };
    for key in 0..writing.keys {
        let body = writer.body(key, None);
        world.side("usw2").seed(SOURCE, format!("srcfolder/{key:04}"), body);
    }
    misbehave(&world, writing.seed);
    start(&mut world, &["us-1", "cn-1", "cn-2"]);
    for _ in 0..writing.runs {
        let run = world.client().unwrap().run_job(&"media".parse().unwrap(), None).await.unwrap();
        let mut end = std::pin::pin!(ended(&world, &run, writing.bound));
        let run = loop {
            tokio::select! {
                run = &mut end => break run,
                () = tokio::time::sleep(PACE) => writer.somewhere(&world),
            }
        };
        // What kept changing is listed; everything else that is not right would be a failure of another kind.
        let ended = [RunState::Succeeded, RunState::FinishedWithFailures];
        assert!(ended.contains(&run.state), "{run:?}\n{}", world.logs());
        assert_whole(&world);
    }
    for side in ["usw2", "cnn1"] {
        world.side(side).set_faults(Faults::default());
    }
    for quiet in [1, 2] {
        let run = world.client().unwrap().run_job(&"media".parse().unwrap(), None).await.unwrap();
        let run = ended(&world, &run, writing.bound).await;
        assert_eq!(run.state, RunState::Succeeded, "{run:?}\n{}", world.logs());
        assert_whole(&world);
        assert_in_step(&world);
        if quiet == 2 {
            assert_eq!(run.totals().copied, 0, "{run:?}");
        }
    }
    assert_no_upload(&world);
    writer.writes
}

/// No object at a destination is a mixture.
fn assert_whole(world: &World) {
    for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
        for (key, object) in world.side(side).objects(bucket) {
            let key = String::from_utf8_lossy(&key);
            assert!(is_whole(&object.body), "{bucket}: {key} is torn");
        }
    }
}

/// Every object of the source is at both destinations as it is now; what only they have is left alone.
fn assert_in_step(world: &World) {
    for (key, object) in world.side("usw2").objects(SOURCE) {
        let key = String::from_utf8_lossy(&key).replacen("srcfolder/", "destfolder/", 1);
        for (side, bucket) in [("usw2", WEST_DESTINATION), ("cnn1", CHINA_DESTINATION)] {
            let copy = world.side(side).object(bucket, &key);
            let same = copy.is_some_and(|copy| copy.body == object.body);
            assert!(same, "{bucket}: {key} is not what the source has");
        }
    }
}
