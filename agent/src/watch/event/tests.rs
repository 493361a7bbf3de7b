//! Messages as S3, SNS and EventBridge write them, and what merely looks like them.

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn record(name: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "eventTime": "2026-11-01T10:00:00.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "media", "arn": "arn:aws-cn:s3:::media"},
            "object": {"key": key, "size": 3, "eTag": "e", "sequencer": "0055AED6DCD90281E5"},
        },
        "fieldOfTheFuture": {"any": ["thing"]},
    })
}

fn message(records: &[Value]) -> String {
    json!({"Records": records}).to_string()
}

fn bridge(detail_type: &str, key: &str) -> Value {
    json!({
        "version": "0", "id": "x", "detail-type": detail_type, "source": "aws.s3",
        "time": "2026-11-01T10:00:00Z", "region": "us-west-2",
        "detail": {
            "version": "0", "bucket": {"name": "media"}, "reason": "PutObject",
            "object": {"key": key, "size": 3, "etag": "e", "sequencer": "617f08299329d189"},
        },
    })
}

fn keys(body: &str) -> Vec<(Kind, String)> {
    let read = read(body).expect("it can be read");
    read.changes.iter().map(|change| (change.kind, change.key.to_string())).collect()
}

#[test]
fn each_name_has_its_kind() {
    use Kind::{Lost, Removed, Restored, Tagged, Written};
    let cases = [
        ("ObjectCreated:Put", Some(Written)),
        ("ObjectCreated:Post", Some(Written)),
        ("ObjectCreated:Copy", Some(Written)),
        ("ObjectCreated:CompleteMultipartUpload", Some(Written)),
        ("s3:ObjectCreated:Put", Some(Written)),
        ("ObjectRemoved:Delete", Some(Removed)),
        ("ObjectRemoved:DeleteMarkerCreated", Some(Removed)),
        ("LifecycleExpiration:Delete", Some(Removed)),
        ("LifecycleExpiration:DeleteMarkerCreated", Some(Removed)),
        ("ObjectRestore:Completed", Some(Restored)),
        ("ObjectTagging:Put", Some(Tagged)),
        ("ObjectTagging:Delete", Some(Tagged)),
        ("ReducedRedundancyLostObject", Some(Lost)),
        ("ObjectRestore:Post", None),
        ("ObjectAcl:Put", None),
        ("LifecycleTransition", None),
        ("ObjectCreatedLater:Put", None),
    ];
    for (name, kind) in cases {
        let read = read(&message(&[record(name, "k")])).expect("it can be read");
        assert_eq!(read.changes.first().map(|change| change.kind), kind, "{name}");
        assert_eq!(read.ignored, u32::from(kind.is_none()), "{name}");
    }
}

#[test]
fn all_records_of_a_message_count() {
    let body = message(&[
        record("ObjectCreated:Put", "a"),
        record("ObjectAcl:Put", "b"),
        record("ObjectRemoved:Delete", "c"),
    ]);
    let read = read(&body).expect("it can be read");
    assert_eq!((read.changes.len(), read.ignored, read.test), (2, 1, false));
    let change = &read.changes[0];
    assert_eq!(
        (change.bucket.as_str(), change.sequencer.as_str()),
        ("media", "0055AED6DCD90281E5")
    );
    assert_eq!(change.time, "2026-11-01T10:00:00.000Z");
    assert_eq!(super::read(&message(&[])), Ok(Message::default()));
}

#[test]
fn a_delete_has_neither_size_nor_etag() {
    let mut gone = record("ObjectRemoved:Delete", "k");
    gone["s3"]["object"] = json!({"key": "k", "sequencer": null});
    assert_eq!(keys(&message(&[gone])), [(Kind::Removed, "k".to_owned())]);
}

#[test]
fn keys_are_decoded_as_each_form_needs() {
    let cases = [
        ("red+flower.jpg", "red flower.jpg"),
        ("a%2Fb", "a/b"),
        ("100%25", "100%"),
        ("%C3%BC", "ü"),
    ];
    for (written, key) in cases {
        let body = message(&[record("ObjectCreated:Put", written)]);
        assert_eq!(keys(&body), [(Kind::Written, key.to_owned())]);
    }
    let plain = bridge("Object Created", "ü/a").to_string();
    assert_eq!(keys(&plain), [(Kind::Written, "ü/a".to_owned())]);
    // Either may be meant: both are looked at.
    let both = bridge("Object Created", "a+b%2Fc").to_string();
    assert_eq!(
        keys(&both),
        [(Kind::Written, "a+b%2Fc".to_owned()), (Kind::Written, "a b/c".to_owned())]
    );
}

#[test]
fn sns_wraps_either_form_once() {
    let wrap = |inner: &str| {
        json!({"Type": "Notification", "TopicArn": "t", "Message": inner}).to_string()
    };
    let inner = message(&[record("ObjectCreated:Put", "k")]);
    assert_eq!(read(&wrap(&inner)), read(&inner));
    let bridged = bridge("Object Deleted", "k").to_string();
    assert_eq!(keys(&wrap(&bridged)), [(Kind::Removed, "k".to_owned())]);
    assert_eq!(read(&wrap(&wrap(&inner))), Err(Unreadable::UnknownForm("SNS wrapped it twice")));
}

#[test]
fn eventbridge_names_have_their_kinds() {
    let kind = |name| keys(&bridge(name, "k").to_string()).first().map(|(kind, _)| *kind);
    assert_eq!(kind("Object Created"), Some(Kind::Written));
    assert_eq!(kind("Object Deleted"), Some(Kind::Removed));
    assert_eq!(kind("Object Restore Completed"), Some(Kind::Restored));
    assert_eq!(kind("Object Tags Added"), Some(Kind::Tagged));
    assert_eq!(kind("Object Tags Deleted"), Some(Kind::Tagged));
    let other = read(&bridge("Object ACL Updated", "k").to_string()).expect("it can be read");
    assert_eq!((other.changes.len(), other.ignored), (0, 1));
}

#[test]
fn the_test_event_is_no_change() {
    let body = json!({
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-01T10:00:00.000Z",
        "Bucket": "media", "RequestId": "r", "HostId": "h",
    });
    let read = read(&body.to_string()).expect("it can be read");
    assert_eq!((read.test, read.changes.len(), read.ignored), (true, 0, 0));
}

#[test]
fn what_cannot_be_read_says_why_and_counts_for_nothing() {
    let mut nameless = record("ObjectCreated:Put", "k");
    nameless["s3"]["bucket"] = json!({});
    let mut keyless = record("ObjectCreated:Put", "k");
    keyless["s3"]["object"] = json!({"size": 3});
    let mut typed = record("ObjectCreated:Put", "k");
    typed["s3"]["object"]["key"] = json!(7);
    let long = "x".repeat(MAX_KEY_BYTES + 1);
    let whole = record("ObjectCreated:Put", "whole");
    let cases = [
        (String::new(), "is not JSON: EOF while parsing a value at line 1 column 0"),
        ("hello".to_owned(), "is not JSON: expected value at line 1 column 1"),
        ("[]".to_owned(), "is none of S3's forms: it is not an object"),
        ("{}".to_owned(), "is none of S3's forms: it has neither Records nor detail"),
        (json!({"Records": 3}).to_string(), "is none of S3's forms: its Records are not a list"),
        (
            json!({"source": "aws.ec2", "detail-type": "x"}).to_string(),
            "is none of S3's forms: it is EventBridge's, not of S3",
        ),
        (
            json!({"Type": "SubscriptionConfirmation"}).to_string(),
            "is none of S3's forms: it asks to confirm a subscription of SNS",
        ),
        (message(&[whole.clone(), nameless]), "record 1: names no bucket"),
        (message(&[whole.clone(), keyless]), "record 1: names no key"),
        (message(&[whole.clone(), typed]), "record 1: has fields of other types than S3's"),
        (
            message(&[whole.clone(), record("ObjectCreated:Put", &long)]),
            "record 1: has a key longer than 1,024 bytes",
        ),
        (message(&[whole, json!({})]), "record 1: has no eventName"),
        (
            bridge("Object Created", &long).to_string(),
            "record 0: has a key longer than 1,024 bytes",
        ),
    ];
    for (body, problem) in cases {
        assert_eq!(read(&body).map_err(|error| error.to_string()), Err(problem.to_owned()));
    }
}

proptest! {
    #[test]
    fn every_key_comes_back_as_the_bytes_it_is(key in prop::collection::vec(any::<u8>(), 1..=MAX_KEY_BYTES)) {
        let written = percent_encode(&key, NON_ALPHANUMERIC).to_string();
        let read = read(&message(&[record("ObjectCreated:Put", &written)])).expect("it can be read");
        prop_assert_eq!(read.changes[0].key.as_bytes(), &key[..]);
    }

    #[test]
    fn nothing_makes_it_panic(body in ".{0,200}", cut in 0..400_usize) {
        drop(read(&body));
        let whole = bridge("Object Created", &format!("k{body}")).to_string();
        let end = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
        // What is cut off is never taken for whole.
        prop_assert_eq!(read(&whole[..end]).is_ok(), end == whole.len());
    }
}
