//! Events and the jobs they concern.

use s3sync_proto::model::{Destination, Filter, Location, QueueState};

use super::*;

fn job(prefix: &str, filter: Filter, compare: CompareMode) -> JobSpec {
    let place = |bucket: &str, prefix: &str| Location {
        endpoint: "usw2".parse().unwrap(),
        bucket: bucket.into(),
        prefix: prefix.into(),
    };
    JobSpec {
        source: place("media", prefix),
        destinations: vec![Destination {
            location: place("copy", ""),
            storage_class: None,
            agent_labels: Default::default(),
            encryption: None,
        }],
        filter,
        compare,
        deletes: Default::default(),
        schedule: None,
        events: Some("q".parse().unwrap()),
        limits: Default::default(),
        paused: false,
    }
}

fn event(bucket: &str, key: &[u8], kind: EventKind) -> ObjectEvent {
    ObjectEvent {
        bucket: bucket.into(),
        key: Key::from(key.to_vec()),
        kind,
        sequencer: String::new(),
        sent: None,
    }
}

#[test]
fn an_event_is_for_jobs_of_its_bucket_prefix_and_filter() {
    let filter = Filter {
        include: vec!["**/*.jpg".into()],
        exclude: vec!["tmp/**".into()],
        min_size: 5,
        ..Filter::default()
    };
    let listener = Listener::new(&job("in/", filter, CompareMode::Default)).unwrap();
    let hears = |bucket: &str, key: &str| {
        listener.hears(&event(bucket, key.as_bytes(), EventKind::Written))
    };
    let look = |key: &str| Meaning::Look(Key::from(key));
    assert_eq!(hears("media", "in/a/b.jpg"), look("a/b.jpg"));
    assert_eq!(hears("media", "in//.jpg"), look("/.jpg"));
    assert_eq!(hears("Media", "in/a/b.jpg"), Meaning::None, "another bucket");
    assert_eq!(hears("media", "in"), Meaning::None, "not below the prefix");
    assert_eq!(hears("media", "inn/a/b.jpg"), Meaning::None);
    assert_eq!(hears("media", "in/a/b.png"), Meaning::None, "not included");
    assert_eq!(hears("media", "in/tmp/b.jpg"), Meaning::None, "excluded");
}

#[test]
fn the_prefix_itself_is_the_empty_key_and_keys_are_bytes() {
    let all = Listener::new(&job("in/", Filter::default(), CompareMode::Default)).unwrap();
    let hears = |key: &[u8]| all.hears(&event("media", key, EventKind::Written));
    assert_eq!(hears(b"in/"), Meaning::Look(Key::from("")));
    assert_eq!(hears(b"in/\xff\x00"), Meaning::Look(Key::from(b"\xff\x00".to_vec())));
}

#[test]
fn kinds_that_change_nothing_are_left_alone() {
    let hears = |compare: CompareMode, kind: EventKind| {
        let listener = Listener::new(&job("", Filter::default(), compare)).unwrap();
        listener.hears(&event("media", b"k", kind))
    };
    let look = Meaning::Look(Key::from("k"));
    for kind in [EventKind::Written, EventKind::Removed, EventKind::Restored] {
        assert_eq!(hears(CompareMode::Default, kind), look, "{kind:?}");
    }
    assert_eq!(hears(CompareMode::Default, EventKind::Tagged), Meaning::None);
    assert_eq!(hears(CompareMode::Full, EventKind::Tagged), look);
    assert_eq!(hears(CompareMode::Full, EventKind::Lost), Meaning::Lost(Key::from("k")));
}

#[test]
fn what_may_pass_is_looked_at_again_with_growing_pauses() {
    let now = Timestamp::from_micros(0);
    let pauses = |class: FailureClass, code: &str| -> Vec<Option<u64>> {
        let pause = |looks| look_again(looks, class, code, now).map(|at| at.since(now).as_secs());
        (1..=MAX_LOOKS).map(pause).collect()
    };
    let grow = [Some(5), Some(20), Some(80), Some(320), Some(900), None];
    assert_eq!(pauses(FailureClass::Transient, "timeout"), grow);
    assert_eq!(pauses(FailureClass::Permanent, "ExpiredToken"), grow);
    assert_eq!(pauses(FailureClass::Permanent, "KeyTooLongError")[0], None);
    assert_eq!(pauses(FailureClass::Archived, "InvalidObjectState")[0], None);
    assert_eq!(look_again(u32::MAX, FailureClass::Transient, "", now), None);
}

#[test]
fn a_scan_that_ends_well_makes_up_for_missing_events() {
    let now = Timestamp::from_micros(0);
    let after = |end| scan_again(end, now).map(|at| at.since(now).as_secs());
    assert_eq!(after(RunState::Succeeded), None);
    assert_eq!(after(RunState::FinishedWithFailures), None);
    assert_eq!(after(RunState::Failed), Some(600));
    assert_eq!(after(RunState::Cancelled), Some(3_600));
}

#[test]
fn silence_matters_when_it_is_longer_than_messages_live() {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let day = Some(Duration::from_secs(86_400));
    assert_eq!(silence(None, day, at(90_000)), None, "nothing was told before");
    assert_eq!(silence(Some(at(0)), None, at(90_000)), None, "it is not known how long they live");
    assert_eq!(silence(Some(at(0)), day, at(86_400)), None);
    assert_eq!(
        silence(Some(at(0)), day, at(86_401)).as_deref(),
        Some("nothing was received for 86401 s, and the queue keeps messages for 86400 s")
    );
}

#[test]
fn messages_that_were_nearly_dropped_say_that_others_were() {
    let secs = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(expiring(None, secs(100)), None, "it is not known how long they waited");
    assert_eq!(expiring(secs(100), None), None, "it is not known how long they live");
    assert_eq!(expiring(Some(Duration::from_millis(89_999)), secs(100)), None);
    let why = expiring(secs(90), secs(100)).unwrap();
    assert!(why.starts_with("messages were received that had waited for 90 s"), "{why}");
    assert!(why.contains("keeps them for 100 s") && why.ends_with("a longer retention"), "{why}");
}

#[test]
fn what_is_not_known_to_be_told_is_not() {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let state = |waiting, retention: Option<u64>, oldest: Option<i64>| QueueState {
        waiting,
        retention: retention.map(Duration::from_secs),
        oldest_sent: oldest.map(at),
        ..QueueState::default()
    };
    let cases = [
        (0, None, None, None, "nothing is said"),
        (0, None, Some(state(0, Some(60), None)), Some(100), "nothing waits"),
        (0, None, Some(state(0, Some(60), Some(40))), Some(100), "what was received last is told"),
        (0, None, Some(state(5, Some(60), None)), None, "a receive missed what waits"),
        (0, None, Some(state(5, Some(60), Some(40))), Some(40), "others may be as old"),
        (0, None, Some(state(5, Some(60), Some(400))), Some(100), "a clock that is ahead"),
        (0, None, Some(state(0, None, None)), Some(100), "not looked at, and nothing came"),
        (0, None, Some(state(0, None, Some(40))), Some(40), "not looked at, and something came"),
        (3, Some(30), None, Some(70), "others may be as old"),
        (3, Some(30), Some(state(0, Some(60), None)), Some(70), "it was looked at before"),
        (3, None, Some(state(0, None, Some(40))), Some(40), "an agent of before"),
        (3, None, None, Some(100), "an agent of before"),
    ];
    for (messages, waited, state, until, why) in cases {
        let longest_wait = waited.map(Duration::from_secs);
        let news = News { messages, longest_wait, state, ..News::default() };
        assert_eq!(told_until(&news, at(100)), until.map(at), "{why}: {news:?}");
    }
    // A part of a large message.
    let event = event("b", b"k", EventKind::Written);
    let (state, longest_wait) = (Some(state(0, Some(60), None)), Some(Duration::from_secs(30)));
    let news = News { events: vec![event], state, longest_wait, ..News::default() };
    assert_eq!(told_until(&news, at(100)), Some(at(70)));
}
