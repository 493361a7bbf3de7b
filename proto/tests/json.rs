//! The JSON form by example.

use expect_test::expect;
use s3sync_proto::json::Resource as _;
use s3sync_proto::model::{Failure, FailureClass, Timestamp};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire;

#[test]
fn a_job() {
    let location = pb::Location {
        endpoint: "usw2".to_owned(),
        bucket: "abc".to_owned(),
        prefix: String::new(),
    };
    let destination = pb::Destination {
        location: Some(location.clone()),
        storage_class: "STANDARD_IA".to_owned(),
        ..Default::default()
    };
    let job = pb::Job {
        name: "jobs/media".to_owned(),
        source: Some(location),
        destinations: vec![destination],
        deletes: Some(pb::DeletePolicy { mode: 2, max_percent: Some(0.0), ..Default::default() }),
        schedule: Some(pb::Schedule {
            every: Some(prost_types::Duration { seconds: 21_600, nanos: 0 }),
            ..Default::default()
        }),
        generation: 3,
        ..Default::default()
    };
    let json = wire::job_from(job).unwrap().to_json();
    expect![[r#"
        {
          "name": "jobs/media",
          "source": {
            "endpoint": "usw2",
            "bucket": "abc"
          },
          "destinations": [
            {
              "location": {
                "endpoint": "usw2",
                "bucket": "abc"
              },
              "storageClass": "STANDARD_IA"
            }
          ],
          "compare": "COMPARE_MODE_DEFAULT",
          "deletes": {
            "mode": "DELETE_MODE_MIRROR",
            "maxPercent": 0.0
          },
          "schedule": {
            "every": "21600s",
            "atStart": true,
            "overlap": "OVERLAP_POLICY_SKIP"
          },
          "generation": "3",
          "createTime": "1970-01-01T00:00:00Z",
          "updateTime": "1970-01-01T00:00:00Z"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn a_failure_of_a_key_that_is_no_text() {
    let failure = Failure {
        key: vec![0xff, 0x00].into(),
        destination: 0,
        class: FailureClass::Permanent,
        code: "AccessDenied".to_owned(),
        message: String::new(),
        s3_request_id: String::new(),
        attempts: 1,
        first: Timestamp::from_micros(1_500_000),
        // Later than the wire can say.
        last: Timestamp::from_micros(i64::MAX),
    };
    expect![[r#"
        {
          "key": "/wA=",
          "class": "FAILURE_CLASS_PERMANENT",
          "code": "AccessDenied",
          "attempts": 1,
          "firstTime": "1970-01-01T00:00:01.500Z",
          "lastTime": "9999-12-31T23:59:59.999999Z"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&failure.to_json()).unwrap());
}
