//! What people see, as golden texts.

use base64::Engine as _;
use expect_test::expect;
use s3sync_proto::model::{
    Counters, DestinationProgress, Failure, FailureClass, Key, Location, Run, RunState, Timestamp,
    Trigger,
};

use super::*;

fn run() -> Run {
    let counters = Counters {
        listed: 12_345,
        in_step: 12_000,
        copied: 343,
        failed: 2,
        copied_bytes: 5 << 30,
        list_requests: 26,
        read_requests: 343,
        write_requests: 345,
        ..Counters::default()
    };
    let start = Timestamp::from_micros(1_700_000_000_000_000);
    Run {
        name: "jobs/media/runs/3".parse().unwrap(),
        state: RunState::FinishedWithFailures,
        reason: String::new(),
        trigger: Trigger::Manual,
        job_generation: 1,
        destinations: vec![DestinationProgress {
            location: Location {
                endpoint: "cnn1".parse().unwrap(),
                bucket: "dest".into(),
                prefix: "d/".into(),
            },
            counters,
            open_ranges: 0,
            leased_ranges: 0,
            done_ranges: 4,
        }],
        created: start,
        started: Some(start),
        ended: Some(start.plus(std::time::Duration::from_secs(200))),
        traceparent: String::new(),
        nominal: None,
    }
}

#[test]
fn a_run_for_people() {
    expect![[r"
        run       media/3
        state     finished with failures
        trigger   manual
        created   2023-11-14T22:13:20Z
        started   2023-11-14T22:13:20Z
        ended     2023-11-14T22:16:40Z
        took      3m20s
        work      12,345 listed, 12,000 in step, 343 copied (5.0 GiB), 2 failed
        requests  26 list, 343 read, 345 write
        to        cnn1:dest/d/: 12,345 listed, 12,000 in step, 343 copied (5.0 GiB), 2 failed
        next      s3syncctl run failures media/3
    "]]
    .assert_eq(&one(&run(), Output::Table));
}

#[test]
fn a_run_in_one_line() {
    let mut run = run();
    run.state = RunState::Pending;
    run.reason = "no agent is connected".into();
    run.destinations[0].open_ranges = 4;
    expect![[
        r"media/3 pending: 12,345 listed, 12,000 in step, 343 copied (5.0 GiB), 2 failed; 4 ranges open, 0 being worked on; no agent is connected"
    ]]
    .assert_eq(&progress_line(&run));
}

#[test]
fn a_run_for_programs_is_the_json_form_of_the_message() {
    let value: serde_json::Value = serde_json::from_str(&one(&run(), Output::Json)).unwrap();
    assert_eq!(value["name"], "jobs/media/runs/3");
    assert_eq!(value["state"], "RUN_STATE_FINISHED_WITH_FAILURES");
    assert_eq!(value["totals"]["copiedBytes"], (5_u64 << 30).to_string());
    assert_eq!(value["endTime"], "2023-11-14T22:16:40Z");
}

#[test]
fn failures_in_a_table() {
    let failure = |key: &str, code: &str| Failure {
        key: Key::from(key),
        destination: 0,
        class: FailureClass::Permanent,
        code: code.into(),
        message: "the bucket's policy refuses it".into(),
        s3_request_id: "R1".into(),
        attempts: 1,
        first: Timestamp::default(),
        last: Timestamp::default(),
    };
    expect![[r"
        KEY         CLASS      CODE          MESSAGE
        a/b c       permanent  AccessDenied  the bucket's policy refuses it
        line\nfeed  permanent  X             the bucket's policy refuses it
    "]]
    .assert_eq(&many(
        &[failure("a/b c", "AccessDenied"), failure("line\nfeed", "X")],
        Output::Table,
    ));
}

/// Any text, as a key may be, or bytes that are none.
fn any_key() -> impl proptest::strategy::Strategy<Value = Key> {
    use proptest::prelude::*;
    prop_oneof![
        "\\PC{0,12}|[\u{0}-\u{20}\u{7f}-\u{9f}\u{200e}-\u{202f}\u{2066}-\u{2069}\\\\%]{1,8}"
            .prop_map(|text: String| Key::from(text.as_str())),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Key::from),
    ]
}

proptest::proptest! {
    /// Each key is one line of a table, moves no cursor and turns no text; and JSON has its very bytes.
    #[test]
    fn any_key_is_shown_in_one_line_and_kept_in_json(key in any_key(), message in any_key()) {
        let message = String::from_utf8_lossy(message.as_bytes()).into_owned();
        let failure = Failure {
            key: key.clone(),
            destination: 0,
            class: FailureClass::Permanent,
            code: message.clone(),
            message,
            s3_request_id: String::new(),
            attempts: 1,
            first: Timestamp::default(),
            last: Timestamp::default(),
        };
        let table = many(std::slice::from_ref(&failure), Output::Wide);
        proptest::prop_assert_eq!(table.lines().count(), 2, "{:?}", table);
        let odd = |c: char| c != '\n' && s3sync_proto::model::moves_text(c);
        proptest::prop_assert!(!table.contains(odd), "{:?}", table);
        let json = one(&failure, Output::Json);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let kept = value["key"].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(kept).unwrap();
        proptest::prop_assert_eq!(bytes, key.as_bytes().to_vec());
        let encoded = explain::encoded(key.as_bytes());
        let way_back = crate::cmd::explain::key_of(encoded.as_bytes(), true);
        proptest::prop_assert_eq!(way_back, Ok((None, key)));
    }
}
