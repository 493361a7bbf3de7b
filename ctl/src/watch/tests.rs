//! The screen as golden texts, at fixed states and sizes.

use std::path::Path;
use std::time::Duration;

use expect_test::expect_file;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use s3sync_proto::model::{
    Activity, Counters, DeleteReview, DeleteShare, DestinationProgress, EndpointLoad, Failure,
    FailureClass, HeldRange, Key, KeyRange, Limits, Location, Operation, RangeState, RangeStrip,
    RequestSide, RequestUsage, RunAgent, RunStage, RunState, Timestamp, Trigger, Usage, WaitReason,
    WaitUsage,
};

use super::tone::Palette;
use super::*;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn location(endpoint: &str, bucket: &str, prefix: &str) -> Location {
    Location { endpoint: endpoint.parse().unwrap(), bucket: bucket.into(), prefix: prefix.into() }
}

fn progress(location: Location, keys: u64) -> DestinationProgress {
    let counters = Counters {
        listed: keys,
        in_step: keys - keys / 4,
        copied: keys / 4,
        copied_bytes: keys * 50_000,
        ..Counters::default()
    };
    DestinationProgress { location, counters, open_ranges: 0, leased_ranges: 0, done_ranges: 0 }
}

pub(super) fn states(text: &str) -> Vec<RangeState> {
    let state = |c| match c {
        'w' => RangeState::Waiting,
        'p' => RangeState::PutOff,
        'h' => RangeState::Held,
        'd' => RangeState::Done,
        _ => RangeState::GivenUp,
    };
    text.chars().map(state).collect()
}

fn held(destination: u32, agent: &str, cursor: &str) -> HeldRange {
    HeldRange {
        destination,
        position: 0,
        agent: agent.parse().unwrap(),
        since: START,
        range: KeyRange::default(),
        cursor: (!cursor.is_empty()).then(|| Key::from(cursor)),
        lost: 0,
    }
}

pub(super) fn agent(name: &str, held: u32) -> RunAgent {
    let activity = Err(String::new());
    RunAgent { agent: name.parse().unwrap(), held, capacity: 8, draining: false, activity }
}

fn group(class: FailureClass, size: u64, code: &str, key: &str, message: &str) -> FailureGroup {
    let sample = Failure {
        key: Key::from(key),
        destination: 0,
        class,
        code: code.into(),
        message: message.into(),
        s3_request_id: "r".into(),
        attempts: 1,
        first: START,
        last: START,
    };
    FailureGroup { size, sample }
}

/// A run to two destinations after 200 seconds.
pub(super) fn view() -> RunView {
    let destinations = vec![
        progress(location("usw2", "destbucket-usw2", "destfolder/"), 600_000),
        progress(location("cnn1", "destbucket-cnn1", "destfolder/"), 400_000),
    ];
    RunView {
        run: Run {
            name: "jobs/media/runs/12".parse().unwrap(),
            state: RunState::Running,
            reason: String::new(),
            trigger: Trigger::Manual,
            job_generation: 1,
            destinations,
            created: START,
            started: Some(START),
            ended: None,
            traceparent: String::new(),
            nominal: None,
            deletes: None,
        },
        time: at(200),
        stage: RunStage::Scan,
        source: location("usw2", "srcbucket", "srcfolder/"),
        limits: Limits::default(),
        strips: vec![
            RangeStrip { states: states("ddddhhww"), expected_keys: Some(900_000) },
            RangeStrip { states: states("ddhwwp"), expected_keys: Some(900_000) },
        ],
        held: vec![
            held(0, "us-1", "photos/2024/01/17/0042.jpg"),
            held(0, "us-1", "photos/2025/08/02/9.jpg"),
            held(1, "cn-1", ""),
        ],
        agents: vec![agent("cn-1", 1), agent("us-1", 2)],
        more_agents: 0,
        connected_agents: 2,
        free_places: 13,
        expected_by: Some("jobs/media/runs/11".parse().unwrap()),
    }
}

/// A scene of which the looks of the last minute are known.
fn scene(view: RunView) -> Scene {
    let mut before = view.clone();
    before.time = at(140);
    for destination in &mut before.run.destinations {
        let counters = &mut destination.counters;
        *counters = Counters {
            listed: counters.listed / 2,
            in_step: counters.in_step / 2,
            copied: counters.copied / 2,
            copied_bytes: counters.copied_bytes / 2,
            ..*counters
        };
    }
    let mut scene = Scene::new(before);
    scene.look(view);
    scene
}

fn painted(scene: &Scene, size: (u16, u16), palette: Palette) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    let lines = draw::draw(scene, size, palette);
    assert_eq!(lines.len(), usize::from(size.1));
    for (y, line) in (0..size.1).zip(&lines) {
        assert!(line.width() <= usize::from(size.0), "too wide: {line}");
        buffer.set_line(0, y, line, size.0);
    }
    buffer
}

/// What is seen, without the blanks at the ends of lines.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(lines::width(symbol)).unwrap().max(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn golden(name: &str, scene: &Scene) {
    for size in [(40, 10), (60, 20), (80, 24), (160, 50)] {
        let plain = text(&painted(scene, size, Palette::Plain));
        let coloured = text(&painted(scene, size, Palette::Colour));
        assert_eq!(plain, coloured, "colour adds nothing that is read");
        let file = format!("src/watch/golden/{name}.{}x{}.txt", size.0, size.1);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        expect_file![path].assert_eq(&plain);
    }
}

/// What an agent has told after so long, working steadily.
fn activity(seconds: u64, allowed: u32, waited: WaitReason) -> Activity {
    let get = RequestUsage {
        side: RequestSide::Source,
        operation: Operation::Get,
        made: seconds * 480,
        slowed: seconds,
        failed: 0,
        time: Duration::from_secs(seconds * 30),
    };
    let time = Duration::from_secs(seconds * 90);
    let load = |endpoint: &str, in_flight, allowed| EndpointLoad {
        endpoint: endpoint.parse().unwrap(),
        in_flight,
        allowed,
        most: 256,
    };
    Activity {
        time: Duration::from_secs(seconds),
        listed: seconds * 2_350,
        copied: seconds * 480,
        moved_bytes: seconds * 48_000_000,
        usage: Usage { requests: vec![get], waits: vec![WaitUsage { reason: waited, time }] },
        loads: vec![load("cnn1", 30, 256), load("usw2", 28, allowed)],
    }
}

/// The same scene, with agents that tell what they do.
fn told(allowed: u32, waited: WaitReason) -> Scene {
    let mut scene = scene(view());
    for seconds in [100, 104, 108] {
        let mut view = scene.view.clone();
        for agent in &mut view.agents {
            agent.activity = Ok(activity(seconds, allowed, waited));
        }
        scene.look(view);
    }
    scene
}

#[test]
fn running() {
    golden("running", &told(256, WaitReason::Listing));
}

#[test]
fn throttled() {
    golden("throttled", &told(32, WaitReason::SlowDown));
}

#[test]
fn limited() {
    let mut scene = told(256, WaitReason::RequestLimit);
    scene.view.limits.requests_per_second = Some(500);
    scene.view.agents[1].activity = Err("it does not answer".into());
    golden("limited", &scene);
}

#[test]
fn just_begun() {
    let mut view = view();
    view.run.state = RunState::Pending;
    view.run.started = None;
    view.run.reason = "no agent is connected".into();
    view.expected_by = None;
    view.time = at(3);
    for destination in &mut view.run.destinations {
        destination.counters = Counters::default();
    }
    for strip in &mut view.strips {
        *strip = RangeStrip { states: states("w"), expected_keys: None };
    }
    (view.held, view.agents, view.connected_agents, view.free_places) =
        (Vec::new(), Vec::new(), 0, 0);
    golden("pending", &Scene::new(view));
}

#[test]
fn awaiting_approval() {
    let mut view = view();
    view.run.state = RunState::AwaitingApproval;
    view.run.reason = "1,204 keys to delete at one destination".into();
    view.stage = RunStage::Approval;
    view.strips.iter_mut().for_each(|strip| strip.states.fill(RangeState::Done));
    (view.held, view.agents) = (Vec::new(), Vec::new());
    let share = DeleteShare {
        destination: 1,
        extra: 1_204,
        listed: 401_204,
        deleted: 0,
        reason: "1,204 is more than max_count: 1,000".into(),
        samples: vec![Key::from("old/a.jpg"), Key::from("old/b.jpg")],
    };
    view.run.deletes = Some(DeleteReview { etag: "5f0c".into(), destinations: vec![share] });
    view.run.destinations[1].counters.extra = 1_204;
    golden("approval", &scene(view));
}

#[test]
fn paused() {
    let mut view = view();
    view.run.state = RunState::Paused;
    view.run.reason = "cnn1:destbucket-cnn1/destfolder/: every key fails with AccessDenied; mend the credential or its permissions, then resume the run".into();
    (view.held, view.agents) = (Vec::new(), Vec::new());
    view.strips[0].states = states("ddddwwww");
    view.strips[1].states = states("ddwwww");
    golden("paused", &scene(view));
}

#[test]
fn failing() {
    let mut view = view();
    for destination in &mut view.run.destinations {
        destination.counters.failed = 31_234;
        destination.counters.archived = 12;
        destination.counters.listed += 31_246;
    }
    view.strips[1].states = states("ddhwwg");
    let mut scene = scene(view);
    scene.failures = vec![
        group(FailureClass::Permanent, 62_400, "AccessDenied", "photos/a.jpg", "Access Denied"),
        group(
            FailureClass::Archived,
            24,
            "InvalidObjectState",
            "old/日本語の鍵.bin",
            "is in GLACIER",
        ),
        group(FailureClass::Transient, 68, "", "x", "connection reset by peer"),
    ];
    golden("failing", &scene);
}

#[test]
fn ended() {
    let mut view = view();
    view.run.state = RunState::FinishedWithFailures;
    view.run.ended = Some(at(190));
    view.run.destinations[0].counters.failed = 2;
    view.run.destinations[0].counters.listed += 2;
    view.strips.iter_mut().for_each(|strip| *strip = RangeStrip::default());
    (view.held, view.agents) = (Vec::new(), Vec::new());
    let mut scene = scene(view);
    let code = "KeyTooLongError";
    scene.failures = vec![group(FailureClass::Permanent, 2, code, "long", "too long")];
    golden("ended", &scene);
}

#[test]
fn thousands_of_ranges_and_many_agents() {
    let mut view = view();
    view.run.destinations.truncate(1);
    view.strips.truncate(1);
    let state = |index: u32| match index {
        0..1_700 => RangeState::Done,
        1_700..1_764 => RangeState::Held,
        2_900 => RangeState::GivenUp,
        3_000..3_004 => RangeState::PutOff,
        _ => RangeState::Waiting,
    };
    view.strips[0].states = (0..4_096).map(state).collect();
    view.agents = (0..64).map(|index| agent(&format!("agent-{index:03}"), 1)).collect();
    view.held = (0..64).map(|index| held(0, &format!("agent-{index:03}"), "p/q")).collect();
    (view.more_agents, view.connected_agents, view.free_places) = (936, 1_000, 0);
    golden("thousands", &scene(view));
}

#[test]
fn many_destinations_wide_keys_and_huge_numbers() {
    let mut view = view();
    view.run.destinations = (0..16)
        .map(|index| {
            let bucket = format!("a-bucket-with-a-rather-long-name-{index:02}");
            progress(location("eu-central-one", &bucket, "ordner/für/日本語/"), 999_999_999_999)
        })
        .collect();
    view.strips = (0..16)
        .map(|_| RangeStrip { states: states("ddhw"), expected_keys: Some(u64::MAX / 32) })
        .collect();
    view.held = vec![
        held(0, "us-1", "写真/二〇二四年/👩‍👩‍👧‍👦/e\u{301}te\u{301}/\u{202e}x"),
        held(1, "cn-1", "a"),
    ];
    golden("many", &scene(view));
}

#[test]
fn the_server_is_gone() {
    let mut scene = scene(view());
    let why = "connection refused (os error 111)".to_owned();
    scene.gone = Some((Duration::from_secs(75), why));
    golden("gone", &scene);
}

#[test]
fn colour_is_used_only_where_it_may_be() {
    let scene = scene(view());
    let coloured = |palette| {
        let buffer = painted(&scene, (80, 24), palette);
        buffer.content.iter().filter(|cell| cell.fg != Color::Reset).count()
    };
    assert_eq!(coloured(Palette::Plain), 0);
    assert!(coloured(Palette::Colour) > 50);
}

proptest! {
    /// Whatever the size, lines are as many and no wider than they may be, and nothing panics.
    #[test]
    fn any_size_is_drawn(wide in 0_u16..220, high in 0_u16..70, ranges in 0_usize..900) {
        let mut view = view();
        view.strips[0].states = vec![RangeState::Waiting; ranges];
        let mut scene = scene(view);
        scene.failures = vec![group(FailureClass::Permanent, 7, "日本", "語", "語")];
        let lines = draw::draw(&scene, (wide, high), Palette::Colour);
        prop_assert_eq!(lines.len(), usize::from(high));
        prop_assert!(lines.iter().all(|line| line.width() <= usize::from(wide)));
    }
}

#[test]
fn the_docs_show_the_screen_as_it_is() {
    let screen = include_str!("golden/running.80x24.txt");
    let docs = include_str!("../../../docs/watch.md");
    let shown = docs.split("```\n").find(|block| block.starts_with("media/12")).unwrap();
    // The page leaves out the empty part of the window.
    let lines = |text: &str| {
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(shown), lines(screen));
}
