//! Watch work and events.

use s3sync_proto::model::{Held, MAX_KEY_BYTES};
use s3sync_proto::pb::agent::v1 as agent_pb;
use s3sync_proto::pb::agent::v1::open_session_request::Message;
use s3sync_proto::pb::agent::v1::open_session_response;
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire::{self, UnknownMessage};

use super::{from_agent, invalid, refused};

#[test]
fn what_is_told_of_a_queue() {
    let event = || agent_pb::ObjectEvent {
        bucket: "b".to_owned(),
        key: vec![0; MAX_KEY_BYTES].into(),
        kind: 1,
        ..Default::default()
    };
    let batch = agent_pb::EventBatch {
        events: vec![agent_pb::ObjectEvent::default()],
        messages: -1,
        state: Some(pb::QueueState { waiting: -2, ..Default::default() }),
        ..Default::default()
    };
    let told = [
        "events[0].bucket: is missing",
        "events[0].kind: 0 is not",
        "messages: -1",
        "state.waiting: -2",
    ];
    invalid(from_agent(Message::Events(batch)), &told);
    let large = |events: usize| agent_pb::EventBatch {
        events: vec![event(); events],
        ..Default::default()
    };
    invalid(from_agent(Message::Events(large(257))), &["events: is too large: 263168"]);
    let many = agent_pb::EventBatch {
        events: vec![agent_pb::ObjectEvent { key: vec![0].into(), ..event() }; 1_001],
        unreadable: vec![pb::UnreadableMessage::default(); 101],
        ..Default::default()
    };
    let told = ["events: is too large: 1001", "unreadable: is too large: 101"];
    invalid(from_agent(Message::Events(many)), &told);
}

#[test]
fn a_queue_to_follow() {
    let watch = agent_pb::Watch { assignment_id: 9, epoch: 2, ..Default::default() };
    let response = agent_pb::OpenSessionResponse {
        message: Some(open_session_response::Message::Watch(watch)),
    };
    let UnknownMessage::Assignment { held, problem } =
        wire::to_agent(response).expect_err("must be refused")
    else {
        panic!("must be told as an assignment, so that it can be refused")
    };
    assert_eq!(held, Held { id: 9, epoch: 2 });
    refused::<()>(Err(problem), &["queue: is missing", "endpoint: is missing", "settings"]);
}

#[test]
fn queues() {
    let queue = |url: &str, endpoint: &str| pb::Queue {
        url: url.to_owned(),
        endpoint: endpoint.to_owned(),
        ..Default::default()
    };
    for url in [
        "sqs.us-west-2.amazonaws.com/1/q",
        "ftp://sqs/1/q",
        "https://sqs",
        "https://sqs/q",
        "https:///1/q",
        "https://sqs/1/q?x",
        "https://sqs/1/q#x",
    ] {
        refused(wire::queue_spec(queue(url, "usw2")), &["url: "]);
    }
    for url in [
        "https://sqs.us-west-2.amazonaws.com/123456789012/q",
        "http://127.0.0.1:9324/000000000000/q",
    ] {
        assert!(wire::queue_spec(queue(url, "usw2")).is_ok(), "{url}");
    }
    refused(wire::queue_spec(queue("", "")), &["url: is missing", "endpoint: is missing"]);
    let receivers = |receivers| pb::Queue { receivers, ..queue("https://sqs/1/q", "usw2") };
    refused(wire::queue_spec(receivers(17)), &["receivers: is 17; at most 16"]);
    refused(wire::queue_spec(receivers(-1)), &["receivers: -1 is negative"]);
    assert_eq!(wire::queue_spec(receivers(0)).map(|spec| spec.receivers), Ok(1), "not said");
    let invalid = wire::queue_spec(queue("https://me:pass@sqs/1/q", "usw2")).unwrap_err();
    assert!(!invalid.to_string().contains("pass"), "{invalid}");
}
