//! Queues through the API.

use s3sync_proto::model::QueueSpec;

use super::*;

fn queue(endpoint: &str) -> QueueSpec {
    QueueSpec {
        url: "https://sqs.us-west-2.amazonaws.com/123456789012/events".into(),
        endpoint: name(endpoint),
        receivers: 1,
    }
}

#[tokio::test]
async fn a_queue_lives_beside_its_endpoint() {
    let (_server, mut client) = with_job().await;
    let options = WriteOptions::default;
    let events = name("events");
    let wrong = client
        .put_queue(&events, &queue("nowhere"), Precondition::Absent, options())
        .await
        .unwrap_err();
    assert_eq!(wrong.violations[0].field, "endpoint");
    let made =
        client.put_queue(&events, &queue("usw2"), Precondition::Absent, options()).await.unwrap();
    assert_eq!(client.get_queue(&events).await.unwrap(), made);
    assert_eq!(client.list_queues(10, "").await.unwrap().items, std::slice::from_ref(&made));
    let twice = client.put_queue(&events, &queue("usw2"), Precondition::Absent, options()).await;
    assert_eq!(twice.unwrap_err().reason, reason::RESOURCE_EXISTS);
    let used = client.delete_endpoint(&name("usw2"), None).await.unwrap_err();
    assert_eq!(used.reason, reason::ENDPOINT_IN_USE);
    assert!(used.message.contains("queues/events"), "{}", used.message);
    let stale = client.delete_queue(&events, Some("other".into())).await.unwrap_err();
    assert_eq!(stale.reason, reason::ETAG_MISMATCH);
    client.delete_queue(&events, Some(made.etag)).await.unwrap();
    assert_eq!(client.get_queue(&events).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_job_names_a_queue_that_is_there() {
    let (_server, mut client) = with_job().await;
    let spec = JobSpec { events: Some(name("events")), ..job() };
    let refused = client
        .put_job(&name("media"), &spec, Precondition::Exists(None), WriteOptions::default())
        .await
        .unwrap_err();
    let fields: Vec<_> = refused.violations.iter().map(|one| one.field.as_str()).collect();
    assert!(fields.contains(&"events.queue"), "{fields:?}");
}
