//! Endpoints, jobs, facts and request ids.

use std::time::Duration;

use s3sync_proto::model::{BucketFacts, EndpointSpec, EtagKind, Outcome, QueueSpec, Timestamp};

use super::bench::{Bench, destination, job, name, request};
use crate::store::{Applied, CatalogueChange, Error, REQUEST_ID_TTL};

fn put(text: &str, region: &str) -> CatalogueChange {
    let spec = EndpointSpec { region: region.into(), ..EndpointSpec::default() };
    CatalogueChange::PutEndpoint { name: name(text), spec }
}

pub(super) async fn moved(bench: Bench) {
    let seen = bench.store.catalogue().await.unwrap().revision;
    let first = bench.store.change_catalogue(seen, put("usw2", "r1"), None, bench.now).await;
    assert_eq!(first.unwrap(), Applied::Fresh);
    let second = bench.store.change_catalogue(seen, put("usw2", "r2"), None, bench.now).await;
    assert!(matches!(second, Err(Error::Moved)), "{second:?}");
    let catalogue = bench.store.catalogue().await.unwrap();
    assert_eq!(catalogue.revision, seen + 1);
    assert_eq!(catalogue.endpoints[&name("usw2")].spec.region, "r1");
    // What fails moves nothing.
    let absent = CatalogueChange::DeleteEndpoint { name: name("none") };
    assert!(matches!(bench.change(absent).await, Err(Error::NotFound(_))));
    assert_eq!(bench.store.catalogue().await.unwrap().revision, seen + 1);
}

pub(super) async fn round_trip(mut bench: Bench) {
    let before = bench.store.catalogue().await.unwrap();
    let old = &before.jobs[&name("media")];
    assert_eq!(old.spec, job(vec![destination("cnn1", "target")]));
    assert_eq!((old.generation, old.created, old.latest_run.clone()), (1, bench.now, None));
    let created = bench.now;
    bench.pass(Duration::from_secs(5));
    bench.put_job("media", vec![destination("cnn1", "a"), destination("usw2", "b")]).await;
    let run = bench.start().await;
    let after = bench.store.catalogue().await.unwrap();
    let new = &after.jobs[&name("media")];
    assert_eq!(new.spec.destinations.len(), 2);
    assert_eq!((new.generation, new.created, new.updated), (2, created, bench.now));
    assert_eq!((&new.uid, &new.latest_run), (&old.uid, &Some(run)));
    assert_ne!(new.etag, old.etag);
    let endpoint = &after.endpoints[&name("usw2")];
    assert_eq!((endpoint.created, endpoint.updated), (created, created));
}

pub(super) async fn queues(bench: Bench) {
    let spec =
        QueueSpec { url: "https://sqs/1/events".into(), endpoint: name("usw2"), receivers: 1 };
    let put =
        |spec: &QueueSpec| CatalogueChange::PutQueue { name: name("events"), spec: spec.clone() };
    bench.change(put(&spec)).await.unwrap();
    let made = bench.store.catalogue().await.unwrap().queues[&name("events")].clone();
    assert_eq!((&made.spec, made.created), (&spec, bench.now));
    let other = QueueSpec { url: "https://sqs/1/others".into(), ..spec };
    bench.change(put(&other)).await.unwrap();
    let changed = bench.store.catalogue().await.unwrap().queues[&name("events")].clone();
    assert_eq!(changed.spec, other);
    assert_ne!(changed.etag, made.etag);
    let delete = || CatalogueChange::DeleteQueue { name: name("events") };
    bench.change(delete()).await.unwrap();
    assert!(bench.store.catalogue().await.unwrap().queues.is_empty());
    assert!(matches!(bench.change(delete()).await, Err(Error::NotFound(_))));
}

pub(super) async fn requests(mut bench: Bench) {
    let store = bench.store.clone();
    let seen = store.catalogue().await.unwrap().revision;
    let ours = request("put", "1", "f1");
    assert_eq!(store.remembered(&ours, bench.now).await.unwrap(), None);
    let change = || store.change_catalogue(seen, put("usw2", "r1"), Some(ours.clone()), bench.now);
    assert_eq!(change().await.unwrap(), Applied::Fresh);
    // The revision has moved, but the request was made before it did.
    assert_eq!(change().await.unwrap(), Applied::Repeated);
    assert_eq!(store.catalogue().await.unwrap().revision, seen + 1);
    assert_eq!(
        store.remembered(&ours, bench.now).await.unwrap().as_deref(),
        Some("endpoints/usw2")
    );
    let reuse = store.remembered(&request("put", "1", "f2"), bench.now).await;
    assert!(matches!(reuse, Err(Error::RequestReused)), "{reuse:?}");
    // Another RPC's ids are its own.
    assert_eq!(store.remembered(&request("delete", "1", "f2"), bench.now).await.unwrap(), None);
    bench.pass(REQUEST_ID_TTL - Duration::from_micros(1));
    assert!(store.remembered(&ours, bench.now).await.unwrap().is_some());
    bench.pass(Duration::from_micros(1));
    assert_eq!(store.remembered(&ours, bench.now).await.unwrap(), None);
    let again =
        store.change_catalogue(seen + 1, put("usw2", "r3"), Some(ours.clone()), bench.now).await;
    assert_eq!(again.unwrap(), Applied::Fresh);
}

pub(super) async fn delete_job(bench: Bench) {
    let delete = || CatalogueChange::DeleteJob { name: name("media") };
    let run = bench.start().await;
    let refused = bench.change(delete()).await;
    assert!(matches!(refused, Err(Error::RunActive(active)) if active == run));
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [None, None], 1).await;
    assert_eq!(bench.change(delete()).await.unwrap(), Applied::Fresh);
    assert!(matches!(bench.store.run(&run.job, None).await, Err(Error::NotFound(_))));
    assert!(matches!(bench.store.failures(&run, None, None, 9).await, Err(Error::NotFound(_))));
    assert!(matches!(bench.change(delete()).await, Err(Error::NotFound(_))));
    // A job of that name made anew is another one, and counts its runs from the beginning.
    bench.put_job("media", vec![destination("cnn1", "target")]).await;
    assert_eq!(bench.start().await.number, 1);
}

pub(super) async fn facts(bench: Bench) {
    let learned = |micros| BucketFacts {
        learned: Timestamp::from_micros(micros),
        ..BucketFacts::unknown(name("cnn1"), "target".into())
    };
    let one = BucketFacts { conditional_writes: Some(true), ..learned(1) };
    let two = BucketFacts { etags: Some(EtagKind::Md5), ..learned(2) };
    bench.store.learn(one).await.unwrap();
    bench.store.learn(two).await.unwrap();
    let buckets =
        |catalogue: crate::store::Catalogue| catalogue.endpoints[&name("cnn1")].buckets.clone();
    let known = buckets(bench.store.catalogue().await.unwrap());
    let expected =
        BucketFacts { conditional_writes: Some(true), etags: Some(EtagKind::Md5), ..learned(2) };
    assert_eq!(known, std::slice::from_ref(&expected));
    // Work is handed out with what is known.
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let assignment = bench.take(session).await;
    assert_eq!(assignment.destination_facts, expected);
    assert_eq!(assignment.source_facts.conditional_writes, None);
    bench.change(CatalogueChange::DeleteEndpoint { name: name("cnn1") }).await.unwrap();
    bench.store.learn(learned(3)).await.unwrap();
    bench.change(put("cnn1", "r")).await.unwrap();
    assert_eq!(buckets(bench.store.catalogue().await.unwrap()), []);
}
