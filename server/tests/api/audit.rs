//! The audit log: what is recorded of which call.

use s3sync_proto::model::{AuditEntry, AuditOutcome};

use super::*;

async fn log(client: &mut ApiClient, resource: &str) -> Vec<AuditEntry> {
    client.list_audit_entries(resource, 100, "").await.unwrap().items
}

fn lines(entries: &[AuditEntry]) -> Vec<String> {
    let line = |entry: &AuditEntry| {
        let outcome = match &entry.outcome {
            AuditOutcome::Unknown => "unknown",
            AuditOutcome::Done => "done",
            AuditOutcome::Refused(_) => "refused",
        };
        format!("{} {} {outcome}", entry.call.method, entry.call.resource)
    };
    entries.iter().map(line).collect()
}

#[tokio::test]
async fn every_change_is_recorded_with_who_and_what_and_looks_are_not() {
    let tokens = Tokens {
        api: vec![
            (name("alice"), Secret::new("the-api-token-1")),
            (name("ci"), Secret::new("the-api-token-2")),
        ],
        agent: None,
    };
    let server = server(tokens).await;
    let mut alice = ApiClient::new(&server.options(Some("the-api-token-1"))).unwrap();
    let mut ci = ApiClient::new(&server.options(Some("the-api-token-2"))).unwrap();
    let options = WriteOptions::default;
    let (usw2, media) = (name("usw2"), name("media"));
    alice.put_endpoint(&usw2, &endpoint(), Precondition::Absent, options()).await.unwrap();
    let check = WriteOptions { validate_only: true, request_id: None };
    alice.put_job(&media, &job(), Precondition::Absent, check).await.unwrap();
    alice.put_job(&media, &job(), Precondition::Absent, options()).await.unwrap();
    ci.run_job(&media, None).await.unwrap();
    let again = ci.run_job(&media, None).await.unwrap_err();
    assert_eq!(again.code, Code::AlreadyExists);
    ci.get_job(&media).await.unwrap();
    ci.delete_endpoint(&usw2, None).await.unwrap_err();

    let all = log(&mut ci, "").await;
    let expected = [
        "EndpointService.DeleteEndpoint endpoints/usw2 refused",
        "JobService.RunJob jobs/media refused",
        "JobService.RunJob jobs/media done",
        "JobService.CreateJob jobs/media done",
        "EndpointService.CreateEndpoint endpoints/usw2 done",
    ];
    assert_eq!(lines(&all), expected);
    let who: Vec<_> = all.iter().map(|entry| entry.call.caller.as_str()).collect();
    assert_eq!(who, ["ci", "ci", "ci", "alice", "alice"]);
    assert!(all.iter().all(|entry| entry.ended >= Some(entry.created)), "{all:#?}");
    assert!(all.iter().all(|entry| entry.call.peer.starts_with("127.0.0.1:")), "{all:#?}");
    assert!(all[3].call.request.contains(r#""bucket":"into""#), "{}", all[3].call.request);
    assert_eq!(all[1].outcome, AuditOutcome::Refused(again.message));
    assert_eq!(lines(&log(&mut ci, "jobs/media").await), expected[1..4]);
    let stranger = ApiClient::new(&server.options(Some("the-api-token-3"))).unwrap();
    let refused = stranger.clone().run_job(&media, None).await.unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
    assert_eq!(log(&mut ci, "").await.len(), 5, "who has no token writes nothing");
}

#[tokio::test]
async fn the_log_is_paged_newest_first() {
    let (_server, mut client) = with_job().await;
    for _ in 0..5 {
        client.delete_endpoint(&name("usw2"), None).await.unwrap_err();
    }
    let (mut numbers, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.list_audit_entries("endpoints/usw2", 2, &token).await.unwrap();
        assert!(page.items.len() <= 2);
        numbers.extend(page.items.iter().map(|entry| entry.number));
        match page.next {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(numbers, [7, 6, 5, 4, 3, 1]);
    let foreign = client.list_audit_entries("jobs/media", 2, &token).await;
    assert_eq!(
        foreign.map(|page| page.items.len()).map_err(|error| error.code),
        Err(Code::InvalidArgument)
    );
}

#[tokio::test]
async fn without_a_record_nothing_is_changed() {
    let (server, mut client) = with_job().await;
    server.store.close().await;
    let refused = client.run_job(&name("media"), None).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable);
    assert!(server.store.run(&name("media"), None).await.is_err());
}
