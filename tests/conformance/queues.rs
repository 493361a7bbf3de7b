//! Cases about SQS, and the lab's notifications.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use s3sync_lab::{
    EndpointConfig, Fault, Faults, Lab, Notification, QueueConfig, QueuesConfig, Rule, When,
};
use serde_json::Value;

use s3sync_tests::servers::Server;

use super::servers::MINISTACK_QUEUES_DIFFER;
use super::{Outcome, cases, code, ensure, judge, text};

const REGION: &str = "us-east-1";
const KEY: (&str, &str) = ("AKIALAB", "lab-secret");
/// How often a message is received before it goes to the dead letters.
const RECEIVES: u32 = 3;

/// A queue of a case and its dead letters, with who may use them and who may not.
pub(crate) struct Queue {
    client: Client,
    stranger: Client,
    name: String,
    url: String,
    dead_letters: String,
}

cases![
    Queue;
    a_message_comes_as_it_was_sent,
    a_received_message_is_hidden_and_comes_back,
    a_long_poll_wakes_when_a_message_comes,
    a_deleted_message_is_gone,
    a_batch_tells_what_failed,
    batches_have_limits,
    visibility_is_changed,
    what_is_received_too_often_is_a_dead_letter,
    attributes_tell_how_many,
    an_unknown_queue_is_told,
    a_receive_has_limits,
    a_wrong_secret_is_refused_by_queues,
];

fn client(url: &str, secret: &str, key: &str) -> Client {
    s3sync_tests::servers::sqs_client(url, REGION, key, secret)
}

impl Queue {
    async fn send(&self, body: &str) -> Result<(), String> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body);
        send.send().await.map(drop).map_err(text)
    }

    /// Receives up to ten, waiting for so many seconds.
    async fn receive(&self, hidden: i32, wait: i32) -> Result<Vec<Message>, String> {
        let receive = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let receive = receive.visibility_timeout(hidden).wait_time_seconds(wait);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        Ok(receive.send().await.map_err(text)?.messages.unwrap_or_default())
    }
}

fn handle(message: &Message) -> String {
    message.receipt_handle.clone().unwrap_or_default()
}

fn count(message: &Message) -> Option<&str> {
    let attributes = message.attributes()?;
    attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount).map(String::as_str)
}

async fn a_message_comes_as_it_was_sent(queue: &Queue) -> Outcome {
    let body = "{\"a\": \"ü\u{1f600} <&>\"}\n";
    queue.send(body).await?;
    let messages = queue.receive(30, 1).await?;
    let [message] = messages.as_slice() else { return Err(format!("{messages:?}")) };
    ensure!(message.body() == Some(body), "{message:?}");
    ensure!(count(message) == Some("1"), "{message:?}");
    let attributes = message.attributes().ok_or("no attributes")?;
    for name in [
        MessageSystemAttributeName::SentTimestamp,
        MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
    ] {
        let millis = attributes.get(&name).and_then(|value| value.parse::<i64>().ok());
        ensure!(millis.is_some_and(|millis| millis > 1_600_000_000_000), "{name}: {millis:?}");
    }
    Ok(())
}

async fn a_received_message_is_hidden_and_comes_back(queue: &Queue) -> Outcome {
    queue.send("a").await?;
    let first = queue.receive(1, 1).await?;
    ensure!(first.len() == 1, "{first:?}");
    let hidden = queue.receive(1, 0).await?;
    ensure!(hidden.is_empty(), "{hidden:?}");
    let again = queue.receive(30, 20).await?;
    ensure!(again.len() == 1 && count(&again[0]) == Some("2"), "{again:?}");
    ensure!(handle(&first[0]) != handle(&again[0]), "the same receipt");
    Ok(())
}

async fn a_long_poll_wakes_when_a_message_comes(queue: &Queue) -> Outcome {
    let (received, sent) = tokio::join!(queue.receive(30, 20), async {
        // Lets the poll begin; when it did not, it still finds the message.
        tokio::task::yield_now().await;
        queue.send("a").await
    });
    sent?;
    ensure!(received.as_ref().is_ok_and(|messages| messages.len() == 1), "{received:?}");
    Ok(())
}

async fn a_deleted_message_is_gone(queue: &Queue) -> Outcome {
    queue.send("a").await?;
    let messages = queue.receive(1, 1).await?;
    let delete = || {
        let delete = queue.client.delete_message().queue_url(&queue.url);
        delete.receipt_handle(handle(&messages[0])).send()
    };
    delete().await.map_err(text)?;
    delete().await.map_err(|error| format!("a second time: {}", text(error)))?;
    let left = queue.receive(30, 2).await?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

async fn a_batch_tells_what_failed(queue: &Queue) -> Outcome {
    let entry = |id: &str, body: &str| {
        SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().map_err(text)
    };
    let entries = vec![entry("a", "one")?, entry("b", "two")?];
    let send = queue.client.send_message_batch().queue_url(&queue.url).set_entries(Some(entries));
    let sent = send.send().await.map_err(text)?;
    ensure!(sent.successful().len() == 2 && sent.failed().is_empty(), "{sent:?}");
    let messages = queue.receive(30, 1).await?;
    ensure!(messages.len() == 2, "{messages:?}");
    let entry = |id: &str, handle: String| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.build().map_err(text)
    };
    let entries = vec![entry("good", handle(&messages[0]))?, entry("bad", "no receipt".into())?];
    let delete =
        queue.client.delete_message_batch().queue_url(&queue.url).set_entries(Some(entries));
    let deleted = delete.send().await.map_err(text)?;
    let good: Vec<_> = deleted.successful().iter().map(|entry| entry.id()).collect();
    let bad: Vec<_> = deleted.failed().iter().map(|entry| (entry.id(), entry.code())).collect();
    ensure!(good == ["good"], "{deleted:?}");
    ensure!(bad == [("bad", "ReceiptHandleIsInvalid")], "{deleted:?}");
    Ok(())
}

async fn batches_have_limits(queue: &Queue) -> Outcome {
    let entry = |id: String| {
        SendMessageBatchRequestEntry::builder().id(id).message_body("x").build().map_err(text)
    };
    let send = async |ids: Vec<String>| {
        let entries = ids.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let send =
            queue.client.send_message_batch().queue_url(&queue.url).set_entries(Some(entries));
        Ok::<_, String>(code(send.send().await))
    };
    let ids = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let seen = [send(ids(10)).await?, send(ids(11)).await?, send(vec!["a".into(); 2]).await?];
    ensure!(seen[0] == "success", "{seen:?}");
    ensure!(seen[1].ends_with("TooManyEntriesInBatchRequest"), "{seen:?}");
    ensure!(seen[2].ends_with("BatchEntryIdsNotDistinct"), "{seen:?}");
    Ok(())
}

async fn visibility_is_changed(queue: &Queue) -> Outcome {
    queue.send("a").await?;
    let messages = queue.receive(600, 1).await?;
    let change = queue.client.change_message_visibility().queue_url(&queue.url);
    let change = change.receipt_handle(handle(&messages[0])).visibility_timeout(0);
    change.send().await.map_err(text)?;
    let again = queue.receive(600, 1).await?;
    ensure!(again.len() == 1, "{again:?}");
    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id("a").visibility_timeout(0);
    let entry = entry.receipt_handle(handle(&again[0])).build().map_err(text)?;
    let change = queue.client.change_message_visibility_batch().queue_url(&queue.url);
    let changed = change.entries(entry).send().await.map_err(text)?;
    ensure!(changed.failed().is_empty(), "{changed:?}");
    let again = queue.receive(600, 1).await?;
    ensure!(again.len() == 1, "{again:?}");
    Ok(())
}

async fn what_is_received_too_often_is_a_dead_letter(queue: &Queue) -> Outcome {
    queue.send("poison").await?;
    for _ in 0..RECEIVES {
        let messages = queue.receive(0, 1).await?;
        ensure!(messages.len() == 1, "{messages:?}");
    }
    let messages = queue.receive(0, 0).await?;
    ensure!(messages.is_empty(), "{messages:?}");
    let receive = queue.client.receive_message().queue_url(&queue.dead_letters);
    let dead = receive.wait_time_seconds(1).send().await.map_err(text)?;
    ensure!(dead.messages().first().and_then(Message::body) == Some("poison"), "{dead:?}");
    Ok(())
}

async fn attributes_tell_how_many(queue: &Queue) -> Outcome {
    queue.send("a").await?;
    queue.send("b").await?;
    let receive = queue.client.receive_message().queue_url(&queue.url).visibility_timeout(600);
    receive.max_number_of_messages(1).send().await.map_err(text)?;
    let ask = queue.client.get_queue_attributes().queue_url(&queue.url);
    let answer = ask.attribute_names(QueueAttributeName::All).send().await.map_err(text)?;
    let attributes = answer.attributes().ok_or("no attributes")?;
    let number = |name: QueueAttributeName| attributes.get(&name).map(String::as_str);
    let seen = (
        number(QueueAttributeName::ApproximateNumberOfMessages),
        number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
    );
    ensure!(seen == (Some("1"), Some("1")), "{seen:?}");
    let arn = number(QueueAttributeName::QueueArn).unwrap_or_default();
    ensure!(arn.starts_with("arn:aws:sqs:us-east-1:") && arn.ends_with(&queue.name), "{arn}");
    let policy = number(QueueAttributeName::RedrivePolicy).unwrap_or_default();
    let policy: Value = serde_json::from_str(policy).map_err(text)?;
    ensure!(policy["maxReceiveCount"].to_string().trim_matches('"') == "3", "{policy}");
    Ok(())
}

async fn an_unknown_queue_is_told(queue: &Queue) -> Outcome {
    let url = queue.url.replace(&queue.name, "no-such-queue");
    let seen = code(queue.client.receive_message().queue_url(url).send().await);
    ensure!(seen == "AWS.SimpleQueueService.NonExistentQueue", "{seen}");
    let found = queue.client.get_queue_url().queue_name(&queue.name).send().await.map_err(text)?;
    ensure!(found.queue_url() == Some(&queue.url), "{found:?}");
    Ok(())
}

async fn a_receive_has_limits(queue: &Queue) -> Outcome {
    let receive = || queue.client.receive_message().queue_url(&queue.url);
    let seen = [
        code(receive().max_number_of_messages(11).send().await),
        code(receive().wait_time_seconds(21).send().await),
    ];
    ensure!(seen == ["InvalidParameterValue", "InvalidParameterValue"], "{seen:?}");
    Ok(())
}

async fn a_wrong_secret_is_refused_by_queues(queue: &Queue) -> Outcome {
    let seen = code(queue.stranger.receive_message().queue_url(&queue.url).send().await);
    ensure!(seen == "SignatureDoesNotMatch", "{seen}");
    Ok(())
}

fn case_name(name: &str) -> String {
    name.replace('_', "-")
}

/// Runs all cases about queues on ministack.
pub(crate) async fn run_on_ministack(server: &Server) {
    let client = client(&server.url, &server.key.1, &server.key.0);
    let mut outcomes = Vec::new();
    for (name, case) in CASES {
        let name_of_queue = case_name(name);
        let create = |name: String| client.create_queue().queue_name(name);
        let dead_letters = create(format!("{name_of_queue}-dead")).send().await.unwrap();
        let dead_letters = dead_letters.queue_url.unwrap();
        let ask = client.get_queue_attributes().queue_url(&dead_letters);
        let arn = ask.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap();
        let arn = arn.attributes().unwrap()[&QueueAttributeName::QueueArn].clone();
        let policy = serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES})
            .to_string();
        let made =
            create(name_of_queue.clone()).attributes(QueueAttributeName::RedrivePolicy, policy);
        let url = made.send().await.unwrap().queue_url.unwrap();
        let stranger = self::client(&server.url, "not-the-secret", &server.key.0);
        let client = client.clone();
        let queue = Queue { client, stranger, name: name_of_queue, url, dead_letters };
        outcomes.push((*name, case(&queue).await));
    }
    judge(server.name, outcomes, MINISTACK_QUEUES_DIFFER);
}

fn lab_queues() -> QueuesConfig {
    let config = QueuesConfig::new("sqs", REGION).key(KEY.0, KEY.1);
    CASES.iter().fold(config, |config, (name, _)| {
        let (name, dead) = (case_name(name), format!("{}-dead", case_name(name)));
        let queue = QueueConfig {
            dead_letters: Some(dead.clone()),
            max_receives: RECEIVES,
            ..QueueConfig::new(&name)
        };
        config.queue(queue).queue(QueueConfig::new(&dead))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_labs_queues_are_like_sqs() {
    let mut lab = Lab::start(Vec::new()).await.unwrap();
    let queues = lab.start_queues(lab_queues()).await.unwrap();
    let mut outcomes = Vec::new();
    for (name, case) in CASES {
        let name_of_queue = case_name(name);
        let queue = Queue {
            client: client(&queues.url(), KEY.1, KEY.0),
            stranger: client(&queues.url(), "not-the-secret", KEY.0),
            url: queues.queue_url(&name_of_queue),
            dead_letters: queues.queue_url(&format!("{name_of_queue}-dead")),
            name: name_of_queue,
        };
        outcomes.push((*name, case(&queue).await));
    }
    judge("the lab", outcomes, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_objects_are_told_to_a_queue() {
    let config = EndpointConfig::new("s3", REGION).key(KEY.0, KEY.1).bucket("media");
    let mut lab = Lab::start(vec![config]).await.unwrap();
    let config = QueuesConfig::new("sqs", REGION).key(KEY.0, KEY.1);
    let queues = lab.start_queues(config.queue(QueueConfig::new("events"))).await.unwrap();
    let endpoint = lab.endpoint("s3");
    let (bucket, prefix, queue) = ("media".to_owned(), "p/".to_owned(), "events".to_owned());
    endpoint.notify(Notification { bucket, prefix, queues: queues.clone(), queue });
    let s3 = super::client(&endpoint.url(), REGION, KEY.0, KEY.1);
    // The answer is lost, the effect and its event are not.
    let lost = Rule::of("PutObject", Fault::ResetAfter, When::Nth(1));
    endpoint.set_faults(Faults::new(1, vec![lost]));
    s3.put_object().bucket("media").key("p/a b+ü").send().await.unwrap_err();
    s3.put_object().bucket("media").key("elsewhere").send().await.unwrap();
    let refused = s3.put_object().bucket("media").key("p/a b+ü").if_none_match("*").send().await;
    assert_eq!(code(refused), "PreconditionFailed");
    let copy = s3.copy_object().bucket("media").key("p/copy").copy_source("media/elsewhere");
    copy.send().await.unwrap();
    s3.delete_object().bucket("media").key("p/copy").send().await.unwrap();
    s3.delete_object().bucket("media").key("p/never there").send().await.unwrap();
    let records: Vec<Value> = queues
        .messages("events")
        .iter()
        .map(|message| serde_json::from_str::<Value>(&message.body).unwrap()["Records"][0].take())
        .collect();
    let told: Vec<_> = records
        .iter()
        .map(|record| (record["eventName"].as_str(), record["s3"]["object"]["key"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("ObjectCreated:Put"), Some("p/a+b%2B%C3%BC")),
            (Some("ObjectCreated:Copy"), Some("p/copy")),
            (Some("ObjectRemoved:Delete"), Some("p/copy")),
        ]
    );
    let sequencers: Vec<_> =
        records.iter().map(|record| record["s3"]["object"]["sequencer"].as_str()).collect();
    assert!(sequencers.is_sorted(), "{sequencers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_misbehave_when_told_to() {
    let mut lab = Lab::start(Vec::new()).await.unwrap();
    let config = QueuesConfig::new("sqs", REGION).key(KEY.0, KEY.1).queue(QueueConfig::new("q"));
    let queues = lab.start_queues(config).await.unwrap();
    let client = client(&queues.url(), KEY.1, KEY.0);
    let url = queues.queue_url("q");
    let receive = || client.receive_message().queue_url(&url).send();
    let set = |operation, fault| {
        let rule = Rule::of(operation, fault, When::Nth(1)).at("q", "");
        queues.set_faults(Faults::new(1, vec![rule]));
    };
    queues.send("q", "a");
    set("ReceiveMessage", Fault::SlowDown);
    assert_eq!(code(receive().await), "RequestThrottled");
    set("ReceiveMessage", Fault::InternalError);
    assert_eq!(code(receive().await), "InternalError");
    set("ReceiveMessage", Fault::Duplicate);
    let twice = [receive().await.unwrap(), receive().await.unwrap()];
    assert!(twice.iter().all(|answer| answer.messages().len() == 1), "{twice:?}");
    set("DeleteMessageBatch", Fault::FailEntry);
    let entry = DeleteMessageBatchRequestEntry::builder().id("x");
    let entry = entry.receipt_handle(handle(&twice[1].messages()[0])).build().unwrap();
    let delete = || client.delete_message_batch().queue_url(&url).entries(entry.clone()).send();
    assert_eq!(delete().await.unwrap().failed()[0].code(), "InternalError");
    assert_eq!(queues.messages("q").len(), 1);
    set("DeleteMessageBatch", Fault::ResetAfter);
    delete().await.unwrap_err();
    assert_eq!(queues.messages("q"), []);
    assert_eq!(queues.counts().of("ReceiveMessage"), 4);
    assert_eq!(queues.counts().by(KEY.0), 6);
}
