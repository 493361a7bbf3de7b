//! Every list and every single resource, as golden texts.

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::{Expect, expect};
use s3sync_proto::model::{
    Agent, AgentEndpoint, AgentState, AllowRule, BucketFacts, CheckState, Endpoint, EndpointSpec,
    Job, LastRun, ProbeCheck, Queue, QueueCheck, QueueSpec, SetupPlace, SetupStep, Verb, Warning,
};

use super::*;
use crate::manifest::{self, Resource};

fn shows<T: Show>(item: &T, table: Expect, wide: Expect, single: Expect) {
    table.assert_eq(&many(std::slice::from_ref(item), Output::Table));
    wide.assert_eq(&many(std::slice::from_ref(item), Output::Wide));
    single.assert_eq(&one(item, Output::Table));
}

/// A moment long ago would show an age that changes each day; this one shows none.
const NEVER: Timestamp = Timestamp::from_micros(0);

#[test]
fn jobs() {
    let text = "kind: Job\nname: media\nsource: { endpoint: usw2, bucket: src, prefix: in/ }\ndestinations:\n\
                - { endpoint: usw2, bucket: dest-usw2, prefix: out/ }\n\
                - { endpoint: cnn1, bucket: dest-cnn1, prefix: out/, storage_class: STANDARD_IA, agents: { region: cn } }\n\
                filter: { include: ['**/*.jpg'], exclude: ['tmp/**'], min_size: 1, max_size: 5TB }\n\
                compare: checksum\n\
                schedule: { every: 6h }\n";
    let documents = manifest::parse(Path::new("media.yaml"), text).unwrap();
    let Resource::Job(spec) = documents[0].resource.clone() else { panic!("{documents:?}") };
    let job = Job {
        name: "media".parse().unwrap(),
        uid: "u".into(),
        spec: *spec,
        etag: "e".into(),
        generation: 3,
        created: NEVER,
        updated: NEVER,
        latest_run: Some("jobs/media/runs/7".parse().unwrap()),
        next_starts: Vec::new(),
        following: None,
        last: Some(LastRun {
            name: "jobs/media/runs/7".parse().unwrap(),
            state: RunState::FinishedWithFailures,
            created: NEVER,
            ended: Some(NEVER),
        }),
        warnings: vec![Warning {
            field: "source.prefix".into(),
            description: "is odd; do otherwise".into(),
        }],
    };
    shows(
        &job,
        expect![[r#"
            JOB    LAST RUN                        NEXT  LAG  SCHEDULE
            media  7 finished with failures - ago  -     -    every 6h
        "#]],
        expect![[r#"
            JOB    LAST RUN                        NEXT  LAG  SCHEDULE  SOURCE        DESTINATIONS         DELETES  GENERATION  AGE
            media  7 finished with failures - ago  -     -    every 6h  usw2:src/in/  usw2:dest-usw2/out/  keep     3           -
                                                                                      cnn1:dest-cnn1/out/
        "#]],
        expect![[r#"
            job         media
            from        usw2:src/in/
            to          usw2:dest-usw2/out/
            to          cnn1:dest-cnn1/out/ as STANDARD_IA by agents with region=cn
            objects     **/*.jpg; not tmp/**; from 1 B; up to 4.5 TiB
            compare     checksum
            schedule    every 6h
            deletes     keep
            generation  3
            created     -
            updated     -
            last run    7 finished with failures - ago
            warning     source.prefix: is odd; do otherwise
        "#]],
    );
}

#[test]
fn endpoints() {
    let endpoint = Endpoint {
        name: "minio".parse().unwrap(),
        spec: EndpointSpec {
            region: "us-east-1".into(),
            url: Some("https://minio.example:9000".into()),
            path_style: true,
            ..EndpointSpec::default()
        },
        buckets: vec![BucketFacts::unknown("minio".parse().unwrap(), "photos".into())],
        etag: "e".into(),
        created: NEVER,
        updated: NEVER,
    };
    let (table, wide) =
        (many(&[&endpoint].map(Clone::clone), Output::Table), many(&[endpoint], Output::Wide));
    expect![[r#"
        ENDPOINT  REGION     URL                         BUCKETS
        minio     us-east-1  https://minio.example:9000  1
    "#]]
    .assert_eq(&table);
    expect![[r#"
        ENDPOINT  REGION     URL                         BUCKETS  PATH STYLE  AGE
        minio     us-east-1  https://minio.example:9000  1        true        -
    "#]]
    .assert_eq(&wide);
}

#[test]
fn queues() {
    let queue = Queue {
        name: "media-events".parse().unwrap(),
        spec: QueueSpec {
            url: "https://sqs.us-west-2.amazonaws.com/123456789012/media-events".into(),
            endpoint: "usw2".parse().unwrap(),
            receivers: 1,
        },
        status: None,
        etag: "e".into(),
        created: NEVER,
        updated: NEVER,
    };
    shows(
        &queue,
        expect![[r#"
            QUEUE         ENDPOINT  READ BY  WAITING  OLDEST
            media-events  usw2      -        -        -
        "#]],
        expect![[r#"
            QUEUE         ENDPOINT  READ BY  WAITING  OLDEST  URL                                                            AGE
            media-events  usw2      -        -        -       https://sqs.us-west-2.amazonaws.com/123456789012/media-events  -
        "#]],
        expect![[r#"
            queue    media-events
            url      https://sqs.us-west-2.amazonaws.com/123456789012/media-events
            read by  the credential of endpoint usw2
            created  -
            updated  -
            state    not read: no job names it
        "#]],
    );
}

#[test]
fn agents() {
    let endpoint = |name: &str, allow| AgentEndpoint {
        endpoint: name.parse().unwrap(),
        credential_kind: "profile".into(),
        allow,
        credential_fingerprint: "f".into(),
    };
    let rule = AllowRule {
        bucket: Some("src".into()),
        prefix: "in/".into(),
        verbs: vec![Verb::List, Verb::Read],
    };
    let agent = Agent {
        name: "cn-1".parse().unwrap(),
        state: AgentState::Online,
        labels: BTreeMap::from([("region".to_owned(), "cn-north-1".to_owned())]),
        endpoints: vec![endpoint("usw2", vec![rule]), endpoint("cnn1", Vec::new())],
        version: "0.1.0".into(),
        held: 2,
        capacity: 4,
        last_seen: NEVER,
        connected: NEVER,
        features: Vec::new(),
    };
    shows(
        &agent,
        expect![[r#"
        AGENT  STATE   LABELS             ENDPOINTS  HOLDS   LAST SEEN
        cn-1   online  region=cn-north-1  usw2,cnn1  2 of 4  -
    "#]],
        expect![[r#"
        AGENT  STATE   LABELS             ENDPOINTS  HOLDS   LAST SEEN  VERSION  CONNECTED
        cn-1   online  region=cn-north-1  usw2,cnn1  2 of 4  -          0.1.0    -
    "#]],
        expect![[r#"
        agent      cn-1
        state      online
        labels     region=cn-north-1
        holds      2 of 4 ranges
        version    0.1.0
        connected  -
        last seen  -
        endpoint   usw2 (profile): list+read in src/in/*
        endpoint   cnn1 (profile): everything but delete
    "#]],
    );
}

#[test]
fn runs() {
    let mut run = run();
    run.created = NEVER;
    run.state = RunState::Failed;
    run.reason = "the source bucket does not exist".into();
    let (table, wide) = (many(&[run.clone()], Output::Table), many(&[run], Output::Wide));
    expect![[r#"
        RUN      STATE   TRIGGER  LISTED  IN STEP  COPIED  BYTES    FAILED  AGE  TOOK
        media/3  failed  manual   12,345  12,000   343     5.0 GiB  2       -    3m20s
    "#]]
    .assert_eq(&table);
    expect![[r#"
        RUN      STATE   TRIGGER  LISTED  IN STEP  COPIED  BYTES    FAILED  AGE  TOOK   LIST REQ  READ REQ  WRITE REQ  REASON
        media/3  failed  manual   12,345  12,000   343     5.0 GiB  2       -    3m20s  26        343       345        the source bucket does not exist
    "#]].assert_eq(&wide);
}

fn checked() -> QueueCheck {
    let check = |name: &str, state, detail: &str| ProbeCheck {
        name: name.to_owned(),
        state,
        detail: detail.to_owned(),
    };
    let queue = SetupPlace {
        about: "queue media-events".to_owned(),
        agent: Some("us-1".parse().unwrap()),
        checks: vec![
            check("reachable", CheckState::Ok, "it answers"),
            check("receiving", CheckState::Unknown, "no agent has begun to yet; ask again"),
        ],
    };
    let bucket = SetupPlace {
        about: "bucket srcbucket".to_owned(),
        agent: None,
        checks: vec![check("configuration", CheckState::Failed, "no agent is connected")],
    };
    let step = SetupStep {
        title: "Let events be sent".to_owned(),
        files: vec![("policy.json".to_owned(), "{\n  \"a\": 1\n}".to_owned())],
        commands: vec!["aws sqs one".to_owned(), "aws sqs two".to_owned()],
    };
    QueueCheck {
        queue: "media-events".parse().unwrap(),
        places: vec![queue, bucket],
        steps: vec![step],
    }
}

#[test]
fn a_check_of_a_queue_for_people() {
    let mut told = checked();
    expect![[r#"
        queue            media-events, seen by us-1
          reachable      ok: it answers
          receiving      unknown: no agent has begun to yet; ask again

        bucket           srcbucket
          configuration  FAILED: no agent is connected

        What to add. Nothing of it was done. Save each document under its name, and run the commands beside them with a credential that
        may do it; or have the documents written with --folder.

        1. Let events be sent

        --- policy.json
        {
          "a": 1
        }

          aws sqs one
          aws sqs two
    "#]].assert_eq(&queue_check(&told, Output::Table));
    told.steps.clear();
    let text = queue_check(&told, Output::Table);
    assert!(
        text.ends_with("\nWhat to add cannot be told before the above is in order.\n"),
        "{text}"
    );
    told.places.pop();
    let text = queue_check(&told, Output::Wide);
    assert!(text.ends_with("\nNothing has to be added.\n"), "{text}");
}

#[test]
fn a_check_of_a_queue_as_json() {
    let told = checked();
    expect![[r#"
        {
          "name": "queues/media-events",
          "places": [
            {
              "about": "queue media-events",
              "agent": "agents/us-1",
              "checks": [
                {
                  "name": "reachable",
                  "state": "CHECK_STATE_OK",
                  "detail": "it answers"
                },
                {
                  "name": "receiving",
                  "state": "CHECK_STATE_UNKNOWN",
                  "detail": "no agent has begun to yet; ask again"
                }
              ]
            },
            {
              "about": "bucket srcbucket",
              "checks": [
                {
                  "name": "configuration",
                  "state": "CHECK_STATE_FAILED",
                  "detail": "no agent is connected"
                }
              ]
            }
          ],
          "steps": [
            {
              "title": "Let events be sent",
              "files": [
                {
                  "name": "policy.json",
                  "content": "{\n  \"a\": 1\n}"
                }
              ],
              "commands": [
                "aws sqs one",
                "aws sqs two"
              ]
            }
          ]
        }
    "#]]
    .assert_eq(&queue_check(&told, Output::Json));
}
