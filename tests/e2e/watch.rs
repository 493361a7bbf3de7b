//! `run watch` at a real terminal: whoever leaves, however it ends, the run goes on and the terminal is as it was.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::objects;
use s3sync_tests::wait::until;
use s3sync_tests::world::{SOURCE, Times, World};

use super::{RUN_BOUND, ended, media, start_run, world};

/// The screen that is not left behind.
const TAKEN: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";
/// The cursor.
const HIDDEN: &str = "\u{1b}[?25l";
const SHOWN: &str = "\u{1b}[?25h";

/// `s3syncctl` with a terminal of its own.
struct Watcher {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    /// All that it has written so far.
    seen: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
    before: String,
}

/// How it ended: its status, what it wrote, and the terminal's settings before and after.
struct Ended {
    status: ExitStatus,
    seen: String,
    settings: [String; 2],
}

impl Watcher {
    fn start(world: &World) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let before = settings(&*pair.master);
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_s3sync-demo"));
        command.args(["ctl", &format!("--server={}", world.url()), "run", "watch", "media"]);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        // Else the end of the child would not be the end of what can be read.
        drop(pair.slave);
        let mut out = pair.master.try_clone_reader().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
        });
        Self { master: pair.master, child, seen, reader, before }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    async fn shows(&self, text: &str) {
        until("the screen shows it", RUN_BOUND, || {
            let seen = self.seen();
            std::future::ready(if seen.contains(text) {
                Ok(())
            } else {
                Err((text.to_owned(), seen))
            })
        })
        .await;
    }

    fn press(&self, keys: &str) {
        self.master.take_writer().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    async fn ended(mut self) -> Ended {
        let status = until("the watcher ends", RUN_BOUND, || {
            std::future::ready(self.child.try_wait().unwrap().ok_or_else(|| self.seen()))
        })
        .await;
        let after = settings(&*self.master);
        drop(self.master);
        self.reader.join().unwrap();
        let seen = String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned();
        Ended { status, seen, settings: [self.before, after] }
    }
}

/// Whether it echoes, waits for whole lines, and so on.
fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

impl Ended {
    /// The terminal is as it was, and what was said last is not on the screen that is gone.
    fn left_behind(&self) -> &str {
        assert_eq!(self.settings[0], self.settings[1], "{}", self.seen);
        assert!(self.seen.contains(TAKEN), "{}", self.seen);
        let last = |code: &str| self.seen.rfind(code).unwrap_or_else(|| panic!("{}", self.seen));
        assert!(last(HIDDEN) < last(SHOWN), "the cursor: {}", self.seen);
        self.seen.rsplit_once(GIVEN_BACK).unwrap_or_else(|| panic!("{}", self.seen)).1
    }
}

/// A run of which the source answers no read for a minute.
async fn slow_run() -> (World, super::Folder, s3sync_proto::model::Run) {
    let (mut world, folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 40, 6);
    world.apply_job().await.unwrap();
    let slow = vec![Rule::of("GetObject", Fault::Delay(60_000), When::Always)];
    world.side("usw2").set_faults(Faults::new(1, slow));
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    (world, folder, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_leaves_the_run_going_on_and_the_terminal_as_it_was() {
    let (world, _folder, run) = slow_run().await;
    for keys in ["q", "\u{3}"] {
        let watcher = Watcher::start(&world);
        watcher.shows("media/1").await;
        watcher.shows("leaves").await;
        watcher.press(keys);
        let ended = watcher.ended().await;
        assert!(ended.status.success(), "{:?}", ended.status);
        let last = ended.left_behind();
        assert!(last.contains("come back with: s3syncctl run watch media/1"), "{last:?}");
    }
    let state = world.client().unwrap().get_run(&media(), None).await.unwrap().state;
    assert_eq!(state, RunState::Running);

    // Told to end from outside.
    for (signal, code, last) in
        [("-TERM", 1, "media/1 goes on"), ("-HUP", 1, "media/1 goes on"), ("-INT", 0, "come back")]
    {
        let watcher = Watcher::start(&world);
        watcher.shows("leaves").await;
        let id = watcher.child.process_id().unwrap().to_string();
        let kill = tokio::process::Command::new("kill").args([signal, &id]).status();
        assert!(kill.await.unwrap().success());
        let told = watcher.ended().await;
        assert_eq!(told.status.exit_code(), code, "{signal}: {}", told.seen);
        assert!(told.left_behind().contains(last), "{signal}: {}", told.seen);
    }

    // Who leaves a run that waits for a person is told so by the exit code.
    world.ctl_ok(&["run", "pause", "media"]).await.unwrap();
    let watcher = Watcher::start(&world);
    watcher.shows("run resume media/1").await;
    watcher.press("q");
    let ended_paused = watcher.ended().await;
    assert_eq!(ended_paused.status.exit_code(), 5);
    ended_paused.left_behind();
    drop(run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for_and_the_end_of_the_run_ends_the_screen() {
    let (mut world, _folder, run) = slow_run().await;
    let watcher = Watcher::start(&world);
    watcher.shows("leaves").await;
    world.kill_server().await.unwrap();
    watcher.shows("no server since").await;
    world.start_server().await.unwrap();
    world.side("usw2").set_faults(Faults::default());
    // What they wait for would take a minute; others find the work.
    for (old, new) in [("us-1", "us-2"), ("cn-1", "cn-2")] {
        world.kill_agent(old).await.unwrap();
        let start = if new == "us-2" { World::start_west } else { World::start_china };
        start(&mut world, new).unwrap();
    }
    let end = ended(&world, &run).await;
    assert_eq!(end.state, RunState::Succeeded, "{end:?}\n{}", world.logs());
    let ended = watcher.ended().await;
    assert!(ended.status.success(), "{:?}", ended.status);
    let last = ended.left_behind();
    assert!(last.contains("succeeded"), "{last:?}");
}
