//! Changes that meet: of some fields, of requests that come again, of what is being watched.

use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::endpoint_service_client::EndpointServiceClient;

use super::*;

/// Adds a field to those that are to change.
fn mask(request: &mut pb::UpdateEndpointRequest, path: &str) {
    request.update_mask.get_or_insert_default().paths.push(path.to_owned());
}

#[tokio::test]
async fn changes_of_different_fields_at_the_same_time_are_all_kept() {
    /// A lost update needs both to read before either writes; one of these does.
    const ROUNDS: usize = 20;
    let (server, mut client) = with_job().await;
    let channel = server.options(None).channel().unwrap();
    let change = |endpoint: pb::Endpoint, path: &str| {
        let mut request = pb::UpdateEndpointRequest {
            endpoint: Some(pb::Endpoint { name: "endpoints/usw2".into(), ..endpoint }),
            ..Default::default()
        };
        mask(&mut request, path);
        let mut client = EndpointServiceClient::new(channel.clone());
        async move { client.update_endpoint(request).await.unwrap() }
    };
    for round in 0..ROUNDS {
        let region = format!("us-west-{}", round % 2 + 1);
        let path_style = round % 2 == 0;
        let by_region = pb::Endpoint { region: region.clone(), ..Default::default() };
        let by_style = pb::Endpoint { path_style, ..Default::default() };
        tokio::join!(change(by_region, "region"), change(by_style, "path_style"));
        let spec = client.get_endpoint(&name("usw2")).await.unwrap().spec;
        assert_eq!((spec.region, spec.path_style), (region, path_style), "in round {round}");
    }
}

#[tokio::test]
async fn a_change_of_some_fields_holds_to_the_etag_it_names() {
    let (server, mut client) = with_job().await;
    let read = client.get_endpoint(&name("usw2")).await.unwrap();
    let channel = server.options(None).channel().unwrap();
    let mut raw = EndpointServiceClient::new(channel);
    let mut request = pb::UpdateEndpointRequest {
        endpoint: Some(pb::Endpoint {
            name: "endpoints/usw2".into(),
            path_style: true,
            etag: read.etag,
            ..Default::default()
        }),
        ..Default::default()
    };
    mask(&mut request, "path_style");
    raw.update_endpoint(request.clone()).await.unwrap();
    let refused = raw.update_endpoint(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Aborted, "that etag is of an earlier state");
    // Creating by some fields: only where there is none, and only when it is allowed.
    let endpoint = request.endpoint.get_or_insert_default();
    *endpoint =
        pb::Endpoint { name: "endpoints/new".into(), region: "r".into(), ..endpoint.clone() };
    endpoint.etag.clear();
    mask(&mut request, "region");
    let missing = raw.update_endpoint(request.clone()).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
    request.allow_missing = true;
    let made = raw.update_endpoint(request).await.unwrap().into_inner();
    assert_eq!((made.region.as_str(), made.path_style), ("r", true));
}

#[tokio::test]
async fn only_a_uuid_is_a_request_id() {
    let (_server, mut client) = with_job().await;
    let uuid = "0b2f1f1e-5a4b-4c3d-9e8f-7a6b5c4d3e2f";
    let bad = [
        format!("{uuid}-what-ever-more"),
        format!("zz-{uuid}"),
        format!("{uuid}-"),
        uuid.replace('-', ""),
        uuid.replace('f', "g"),
    ];
    for id in bad {
        let refused = client.run_job(&name("media"), Some(id.clone())).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidArgument, "{id}");
        assert_eq!(refused.violations[0].field, "request_id", "{id}");
    }
    let run = client.run_job(&name("media"), Some(uuid.into())).await.unwrap();
    let upper = client.run_job(&name("media"), Some(uuid.to_uppercase())).await;
    assert_eq!(upper.unwrap_err().reason, reason::REQUEST_ID_REUSED, "it was spelled otherwise");
    assert_eq!(client.run_job(&name("media"), Some(uuid.into())).await.unwrap().name, run.name);
}

#[tokio::test]
async fn a_create_that_comes_again_makes_one_job() {
    let (_server, mut client) = with_job().await;
    let mut spec = job();
    spec.destinations[0].location.bucket = "other".into();
    let id = "1b2f1f1e-5a4b-4c3d-9e8f-7a6b5c4d3e2f";
    let options = || WriteOptions { validate_only: false, request_id: Some(id.to_owned()) };
    let made = client.put_job(&name("two"), &spec, Precondition::Absent, options()).await.unwrap();
    let again = client.put_job(&name("two"), &spec, Precondition::Absent, options()).await.unwrap();
    assert_eq!((again.uid, again.etag), (made.uid, made.etag));
    let two = name("two");
    let twice = client.put_job(&two, &spec, Precondition::Absent, WriteOptions::default());
    assert_eq!(twice.await.unwrap_err().reason, reason::RESOURCE_EXISTS);
}

#[tokio::test]
async fn a_watch_of_what_is_not_there_or_is_deleted_ends() {
    let (server, mut client) = with_job().await;
    let unknown = client.watch_runs(Some(&name("none"))).await.err().expect("there is no such job");
    assert_eq!(unknown.reason, reason::RESOURCE_NOT_FOUND);
    let run = client.run_job(&name("media"), None).await.unwrap();
    let unknown = client.watch_run(&run.name.job, 9).await.err().expect("there is no such run");
    assert_eq!(unknown.reason, reason::RESOURCE_NOT_FOUND);
    let mut events =
        std::pin::pin!(client.watch_run(&run.name.job, run.name.number).await.unwrap());
    for _ in 0..2 {
        events.next().await.unwrap().unwrap();
    }
    // It ends and is deleted before the watch looks again: the end is not seen, but the watch is over.
    let mut other = server.client();
    other.cancel_run(&run.name.job, None).await.unwrap();
    other.delete_job(&run.name.job, None).await.unwrap();
    let end = async {
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        last.expect("one more event")
    };
    match tokio::time::timeout(BOUND, end).await.expect("the watch ends") {
        Ok(WatchEvent::Changed(run)) => assert_eq!(run.state, RunState::Cancelled),
        Ok(other) => panic!("{other:?}"),
        Err(gone) => assert_eq!(gone.reason, reason::RESOURCE_NOT_FOUND),
    }
}

#[tokio::test]
async fn a_watch_of_a_job_tells_its_runs_and_no_others() {
    let (server, mut client) = with_job().await;
    let mut spec = job();
    spec.destinations[0].location.bucket = "other".into();
    client
        .put_job(&name("two"), &spec, Precondition::Absent, WriteOptions::default())
        .await
        .unwrap();
    let first = client.run_job(&name("media"), None).await.unwrap();
    let mut events = std::pin::pin!(client.watch_runs(Some(&name("media"))).await.unwrap());
    let mut next = async || {
        let event = tokio::time::timeout(BOUND, events.next()).await.expect("an event in time");
        event.expect("a watch of a job goes on").unwrap()
    };
    assert!(matches!(next().await, WatchEvent::Snapshot(seen) if seen.name == first.name));
    assert_eq!(next().await, WatchEvent::SnapshotEnd);
    let mut other = server.client();
    other.run_job(&name("two"), None).await.unwrap();
    other.cancel_run(&first.name.job, None).await.unwrap();
    let second = other.run_job(&name("media"), None).await.unwrap();
    // Each is told at least once, the newest state last; what happened between two looks is told once.
    let mut seen = BTreeMap::new();
    while seen.len() < 2 || seen.get(&1) != Some(&RunState::Cancelled) {
        let WatchEvent::Changed(run) = next().await else { panic!("the snapshot is over") };
        assert_eq!(run.name.job, second.name.job);
        seen.insert(run.name.number, run.state);
    }
}
