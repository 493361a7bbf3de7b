//! Traces: a run that started by itself is given one once; what events tell of goes on with theirs.

use s3sync_proto::model::{EventBatch, MAX_TRACE_LINKS, News, Schedule, Timing};

use super::bench::{Bench, destination, job, name};
use super::events::{event, following};
use crate::store::CatalogueChange;

fn traceparent(number: usize) -> String {
    format!("00-{number:032x}-{number:016x}-01")
}

pub(super) async fn of_a_run(mut bench: Bench) {
    let hour = std::time::Duration::from_secs(3_600);
    let schedule = Schedule {
        timing: Some(Timing::Every(hour)),
        at_start: true,
        jitter: std::time::Duration::ZERO,
        overlap: s3sync_proto::model::OverlapPolicy::Skip,
    };
    let spec = s3sync_proto::model::JobSpec {
        schedule: Some(schedule),
        ..job(vec![destination("cnn1", "target")])
    };
    let change = CatalogueChange::PutJob { name: name("media"), spec: Box::new(spec) };
    bench.change(change).await.unwrap();
    let run = bench.store.start_due(1, bench.now).await.unwrap().remove(0);
    assert_eq!(bench.run().await.traceparent, "");
    bench.store.trace_run(&run, &traceparent(1)).await.unwrap();
    bench.store.trace_run(&run, &traceparent(2)).await.unwrap();
    assert_eq!(bench.run().await.traceparent, traceparent(1), "it keeps the one it has");
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let work = bench.try_take(session).await.unwrap();
    assert_eq!((work.traceparent, work.trace_links.len()), (traceparent(1), 0));
    bench.pass(hour);
}

pub(super) async fn of_events(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    let mut sequence = 0;
    let mut told = Vec::new();
    // Each tells of a key of its own, the last of the first one's again.
    for number in 1..=MAX_TRACE_LINKS + 5 {
        told.push((format!("{number:03}"), traceparent(number)));
    }
    told.push(("001".to_owned(), traceparent(999)));
    for (key, traceparent) in told {
        sequence += 1;
        let events = vec![event(&key)];
        let news = News { events, messages: 1, traceparent, ..News::default() };
        let batch = EventBatch { sequence, held: watch.held, news };
        bench.store.take_events(batch, bench.now).await.unwrap();
        bench.pass(std::time::Duration::from_millis(1));
    }
    let work = bench.try_take(session).await.unwrap();
    // The oldest that still counts; others are linked, within bounds.
    assert_eq!(work.traceparent, traceparent(2));
    assert_eq!(work.trace_links.len(), MAX_TRACE_LINKS);
    assert_eq!(work.trace_links[0], traceparent(3));
    // Who takes it over goes on with the same.
    bench.pass(super::bench::TTL * 2);
    assert_eq!(bench.store.expire_sessions(bench.now).await.unwrap(), [session]);
    let other = bench.connect("b", "1", Vec::new()).await.session;
    let again = bench.try_take(other).await.unwrap();
    assert_eq!((again.traceparent, again.held.epoch), (work.traceparent, work.held.epoch + 1));
}

pub(super) async fn of_none(bench: Bench) {
    let (session, watch) = following(&bench).await;
    let news = News { events: vec![event("k")], messages: 1, ..News::default() };
    let batch = EventBatch { sequence: 1, held: watch.held, news };
    bench.store.take_events(batch, bench.now).await.unwrap();
    let work = bench.try_take(session).await.unwrap();
    assert_eq!((work.traceparent.as_str(), work.trace_links.len()), ("", 0));
}
