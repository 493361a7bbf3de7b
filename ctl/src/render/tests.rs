//! What people see, as golden texts.

mod lists;
mod reports;

use base64::Engine as _;
use expect_test::expect;
use s3sync_proto::model::{
    AuditCall, AuditEntry, AuditOutcome, Counters, DestinationProgress, Failure, FailureClass, Key,
    Location, Run, RunState, Timestamp, Trigger,
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
        deletes: None,
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

fn object(presence: s3sync_proto::model::Presence) -> s3sync_proto::model::ObjectState {
    use s3sync_proto::model::{EtagKind, ObjectState, ShownChecksum};
    ObjectState {
        bucket: "srcbucket".into(),
        key: Key::from("in/a b\n"),
        presence,
        problem: None,
        size: 2_048,
        etag: "0cc175b9c0f1b6a831c399e269772661".into(),
        etag_kind: Some(EtagKind::Md5),
        modified: Some(Timestamp::from_micros(1_700_000_000_000_000)),
        storage_class: "STANDARD_IA".into(),
        archived: false,
        encryption: "AES256".into(),
        version_id: "v\u{1b}1".into(),
        stamp: "abc/1700000000".into(),
        checksums: vec![ShownChecksum {
            algorithm: "CRC64NVME".into(),
            value: "AAAA=".into(),
            whole: true,
        }],
        tags: Some(2),
        content_type: "image/jpeg".into(),
    }
}

fn explained_place(bucket: &str) -> Location {
    Location { endpoint: "cnn1".parse().unwrap(), bucket: bucket.into(), prefix: "d/".into() }
}

fn dirty_key() -> s3sync_proto::model::DirtyKey {
    s3sync_proto::model::DirtyKey {
        run: "jobs/media/runs/7".parse().unwrap(),
        since: Timestamp::from_micros(1_700_000_000_000_000),
        latest: Timestamp::from_micros(1_700_000_060_000_000),
        sequencer: "00A1".into(),
        reasons: 3,
        looks: 2,
        state: s3sync_proto::model::DirtyState::PutOff,
        next_look: Some(Timestamp::from_micros(1_700_000_080_000_000)),
        reason: "2 looks failed; it is looked at again by itself".into(),
    }
}

#[test]
fn a_key_explained_for_people() {
    use s3sync_proto::model::{
        CopyWay, DestinationExplanation, Explanation, KeyExplanation, KeyVerdict, NextStep,
        ObjectState, Presence,
    };
    let there = ObjectState {
        bucket: "dest".into(),
        key: Key::from("d/a b\n"),
        ..object(Presence::Absent)
    };
    let found = KeyExplanation {
        source: object(Presence::Present),
        destination: there,
        passes_filter: true,
        filter_reason: "the job has no patterns".into(),
        verdict: KeyVerdict::Differs,
        reason: "not in step: the destination does not have it".into(),
        next: NextStep::Copy,
        next_reason: "copied through an agent by one GET and one PUT".into(),
        way: Some(CopyWay::Single),
    };
    let explanation = Explanation {
        job: "media".parse().unwrap(),
        key: Key::from("a b\n"),
        destinations: vec![
            DestinationExplanation {
                index: 0,
                location: explained_place("dest"),
                found: Ok(("cn-1".parse().unwrap(), found)),
                dirty: Some(dirty_key()),
            },
            DestinationExplanation {
                index: 1,
                location: explained_place("other"),
                found: Err("no agent is connected".into()),
                dirty: None,
            },
        ],
        failures: Vec::new(),
        latest_run: None,
    };
    expect![[r#"
        job         media
        key         a b\n
        encoded     a%20b%0A
        last run    none yet
        failures    none is recorded of the newest runs

        to          cnn1:dest/d/
        dirty       put off: 2 looks failed; it is looked at again by itself
                    since 2023-11-14T22:13:20Z, in media/7, newest event 2023-11-14T22:14:20Z, 3 reasons to look, sequencer 00A1
                    looked at again at 2023-11-14T22:14:40Z
        seen by     cn-1
        source      s3://srcbucket/in/a b\n
                    2.0 KiB (2048 bytes), ETag 0cc175b9c0f1b6a831c399e269772661 (MD5), changed 2023-11-14T22:13:20Z
                    STANDARD_IA, image/jpeg, 2 tags, encrypted with AES256, version v\u{1b}1
                    CRC64NVME AAAA=
                    stamped as a copy of abc/1700000000
        there       s3://dest/d/a b\n
                    not there, as a listing of exactly this key shows
        filter      lets it through: the job has no patterns
        verdict     not in step: the destination does not have it
        next        copy: copied through an agent by one GET and one PUT

        to          cnn1:other/d/
        not looked  no agent is connected
    "#]].assert_eq(&super::explanation(&explanation, Output::Table));
    let json = super::explanation(&explanation, Output::Json);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["key"], "YSBiCg==");
    assert_eq!(value["destinations"][0]["explanation"]["way"], "COPY_WAY_SINGLE");
}

#[test]
fn what_is_known_of_buckets_a_line_each() {
    use s3sync_proto::model::{BucketFacts, Endpoint, EndpointSpec, EtagKind};
    let endpoint = Endpoint {
        name: "cnn1".parse().unwrap(),
        spec: EndpointSpec { region: "cn-north-1".into(), ..EndpointSpec::default() },
        buckets: vec![BucketFacts {
            conditional_writes: Some(true),
            conditional_copies: Some(false),
            etags: Some(EtagKind::Opaque),
            tags: Some(false),
            ..BucketFacts::unknown("cnn1".parse().unwrap(), "dest".into())
        }],
        etag: String::new(),
        created: Timestamp::default(),
        updated: Timestamp::default(),
    };
    expect![[r#"
        endpoint               cnn1
        region                 cn-north-1
        url                    AWS
        path style             false
        created                -
        updated                -
        bucket                 dest
          conditional writes   yes
          conditional copies   no; the source is looked at again after each
          conditional deletes  not learned yet
          deletes in batches   not learned yet
          ETags                opaque: copies are stamped with what they are copies of
          checksums            not learned yet
          trailers             not learned yet
          tags readable        no; they are not copied
          listing order        ascending, as far as seen
    "#]]
    .assert_eq(&one(&endpoint, Output::Table));
}

#[test]
fn the_audit_log_says_who_asked_for_what_and_how_it_ended() {
    let call = |caller: &str, method: &str| AuditCall {
        caller: caller.to_owned(),
        peer: "10.0.0.7:50412".to_owned(),
        method: method.to_owned(),
        resource: "jobs/media".to_owned(),
        request: r#"{"name":"jobs/media"}"#.to_owned(),
    };
    let entry = |number, call, outcome| AuditEntry {
        number,
        created: "2026-01-31T06:00:00Z".parse().unwrap(),
        call,
        outcome,
        ended: None,
    };
    let refused = AuditOutcome::Refused("jobs/media/runs/3 has not ended".to_owned());
    let entries = [
        entry(3, call("ci", "JobService.RunJob"), refused),
        entry(2, call("alice", "JobService.UpdateJob"), AuditOutcome::Done),
        entry(1, call("alice", "JobService.CreateJob"), AuditOutcome::Unknown),
    ];
    expect![[r#"
        TIME                  WHO    CALL                  RESOURCE    OUTCOME
        2026-01-31T06:00:00Z  ci     JobService.RunJob     jobs/media  refused: jobs/media/runs/3 has not ended
        2026-01-31T06:00:00Z  alice  JobService.UpdateJob  jobs/media  done
        2026-01-31T06:00:00Z  alice  JobService.CreateJob  jobs/media  not known
    "#]].assert_eq(&many(&entries, Output::Table));
    expect![[r#"
        {"name":"auditEntries/3","createTime":"2026-01-31T06:00:00Z","caller":"ci","peer":"10.0.0.7:50412","method":"JobService.RunJob","resource":"jobs/media","request":"{\"name\":\"jobs/media\"}","outcome":"AUDIT_OUTCOME_REFUSED","reason":"jobs/media/runs/3 has not ended"}
    "#]].assert_eq(&many(&entries[..1], Output::Jsonl));
}
