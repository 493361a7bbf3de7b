//! Requests to the lab's queues, over sockets.

use std::sync::Arc;

use s3sync_lab::{Fault, Faults, Lab, QueueConfig, Queues, QueuesConfig, Rule, When};

use super::*;
use s3sync_proto::client::Secret;

const HIDDEN: Duration = Duration::from_secs(600);

struct Bench {
    _lab: Lab,
    queues: Arc<Queues>,
}

impl Bench {
    async fn new() -> Self {
        let mut lab = Lab::start(Vec::new()).await.unwrap();
        let dead = QueueConfig::new("dead");
        let events = QueueConfig {
            dead_letters: Some("dead".into()),
            max_receives: 7,
            ..QueueConfig::new("events")
        };
        let config = QueuesConfig::new("sqs", "us-west-2").key("AKIA", "secret");
        let queues = lab.start_queues(config.queue(dead).queue(events)).await.unwrap();
        Self { _lab: lab, queues }
    }

    fn open(&self, queue: &str, secret: &str) -> Sqs {
        let endpoint = EndpointSpec { region: "us-west-2".into(), ..EndpointSpec::default() };
        let credential = Credential::Keys {
            access_key_id: "AKIA".into(),
            secret_access_key: Secret::new(secret),
            session_token: None,
        };
        Sqs::new(&self.queues.queue_url(queue), &endpoint, &credential, None).unwrap()
    }
}

#[tokio::test]
async fn a_message_is_received_hidden_given_back_and_deleted() {
    let bench = Bench::new().await;
    let queue = bench.open("events", "secret");
    assert_eq!(queue.receive(Duration::ZERO, HIDDEN).await.unwrap(), []);
    bench.queues.send("events", "one");
    let first = queue.receive(MAX_WAIT, HIDDEN).await.unwrap();
    assert_eq!((first.len(), first[0].body.as_str(), first[0].receives), (1, "one", 1));
    assert!(first[0].sent.is_some());
    let waited = first[0].waited.expect("by the queue's clock");
    assert_eq!(queue.state().await.unwrap().in_flight, 1);
    let receipts = [first[0].receipt.clone()];
    assert_eq!(queue.hide(&receipts, Duration::ZERO).await.unwrap(), []);
    let again = queue.receive(MAX_WAIT, HIDDEN).await.unwrap();
    assert_eq!(
        (again[0].receives, again[0].waited),
        (2, Some(waited)),
        "when it was received first"
    );
    let receipts = [again[0].receipt.clone(), "nonsense".to_owned()];
    let left = queue.delete(&receipts).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].receipt, "nonsense");
    assert!(bench.queues.messages("events").is_empty());
}

#[tokio::test]
async fn a_batch_is_ten() {
    let bench = Bench::new().await;
    let queue = bench.open("events", "secret");
    for number in 0..12 {
        bench.queues.send("events", &number.to_string());
    }
    let first = queue.receive(MAX_WAIT, HIDDEN).await.unwrap();
    assert_eq!(first.len(), MAX_BATCH);
    let receipts: Vec<_> = first.into_iter().map(|message| message.receipt).collect();
    assert_eq!(queue.delete(&receipts).await.unwrap(), []);
    let state = queue.state().await.unwrap();
    assert_eq!((state.waiting, state.in_flight, state.max_receives), (2, 0, Some(7)));
    assert!(state.retention.is_some());
}

#[tokio::test]
async fn failures_have_classes() {
    let bench = Bench::new().await;
    let class = async |queue: &Sqs| queue.receive(Duration::ZERO, HIDDEN).await.unwrap_err().class;
    assert_eq!(class(&bench.open("events", "wrong")).await, Class::Denied);
    assert_eq!(class(&bench.open("none", "secret")).await, Class::NoSuchQueue);
    let queue = bench.open("events", "secret");
    for (fault, expected) in [
        (Fault::SlowDown, Class::Throttled),
        (Fault::InternalError, Class::Transient),
        (Fault::ResetBefore, Class::Transient),
        (Fault::ResetAfter, Class::Transient),
    ] {
        let text = format!("{fault:?}");
        bench.queues.set_faults(Faults::new(1, vec![Rule::every(fault, When::Always)]));
        assert_eq!(class(&queue).await, expected, "{text}");
    }
}

#[test]
fn the_server_is_read_from_the_url() {
    for (url, server) in [
        ("https://sqs.us-west-2.amazonaws.com/1/q", "https://sqs.us-west-2.amazonaws.com"),
        ("http://127.0.0.1:9324/0/q", "http://127.0.0.1:9324"),
        ("http://[::1]:1/0/q", "http://[::1]:1"),
    ] {
        assert_eq!(server_of(url), server);
    }
}

#[test]
fn a_redrive_policy_writes_its_number_in_two_ways() {
    assert_eq!(max_receives(r#"{"maxReceiveCount": 5, "deadLetterTargetArn": "a"}"#), Some(5));
    assert_eq!(max_receives(r#"{"maxReceiveCount": "5"}"#), Some(5));
    assert_eq!(max_receives("{}"), None);
    assert_eq!(max_receives("x"), None);
}
