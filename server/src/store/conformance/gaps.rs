//! Events that are missing.

use std::time::Duration;

use s3sync_proto::model::{EventBatch, News, RunState};

use super::bench::{Bench, stating};
use super::events::{following, following_of, newest, scan, tell};

pub(super) async fn silence(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    let state = s3sync_proto::model::QueueState {
        retention: Some(Duration::from_secs(60)),
        ..Default::default()
    };
    let news = News { state: Some(state), ..News::default() };
    let batch = EventBatch { sequence: 1, held: watch.held, news };
    bench.store.take_events(batch, bench.now).await.unwrap();
    bench.pass(Duration::from_secs(61));
    tell(&bench, watch.held, &["a"]).await;
    let gap = following_of(&bench).await.gap.expect("events are missing");
    assert_eq!((gap.since, gap.scan), (bench.now, None));
    assert!(gap.reason.contains("nothing was received for 61 s"), "{}", gap.reason);
    assert!(bench.try_take(session).await.is_none(), "the scan to come looks at it");
    let started = bench.store.tend_events(bench.now).await.unwrap();
    assert_eq!(started.len(), 1);
    assert_eq!(bench.store.tend_events(bench.now).await.unwrap(), [], "once");
    assert_eq!(following_of(&bench).await.gap.unwrap().scan, Some(started[0].clone()));
    // What comes while it goes on is marked: it may have passed it.
    tell(&bench, watch.held, &["b"]).await;
    scan(&bench, session).await;
    let ended = bench.store.run(&started[0].job, Some(started[0].number)).await.unwrap();
    assert_eq!(ended.state, RunState::Succeeded);
    let told = following_of(&bench).await;
    assert_eq!((told.gap, told.events), (None, 1));
}

pub(super) async fn cancelled(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    tell(&bench, watch.held, &["a"]).await;
    let run = newest(&bench).await.name;
    let ended = bench.store.cancel_run(&run, bench.now).await.unwrap();
    assert_eq!(ended.state, RunState::Cancelled);
    assert!(following_of(&bench).await.gap.is_some(), "what it dropped is missing");
    let scan_run = bench.store.tend_events(bench.now).await.unwrap().pop().unwrap();
    // A scan that is cancelled closes no gap, and another begins later.
    bench.store.cancel_run(&scan_run, bench.now).await.unwrap();
    assert!(following_of(&bench).await.gap.is_some());
    assert_eq!(bench.store.tend_events(bench.now).await.unwrap(), []);
    bench.pass(Duration::from_secs(3_600));
    assert_eq!(bench.store.tend_events(bench.now).await.unwrap().len(), 1);
    let session = match bench.renew(session, stating(1, 0, vec![watch.held])).await {
        Ok(_) => session,
        Err(_) => bench.connect("b", "1", Vec::new()).await.session,
    };
    scan(&bench, session).await;
    assert_eq!(following_of(&bench).await.gap, None);
    // A gap that opens while a scan goes on is not closed by it.
    tell(&bench, watch.held, &["a"]).await;
    let run = newest(&bench).await.name;
    let manual = bench.start().await;
    bench.store.cancel_run(&run, bench.now).await.unwrap();
    scan(&bench, session).await;
    let ended = bench.store.run(&manual.job, Some(manual.number)).await.unwrap();
    assert_eq!(ended.state, RunState::Succeeded);
    assert!(following_of(&bench).await.gap.is_some());
}
