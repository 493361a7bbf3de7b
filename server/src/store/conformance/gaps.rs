//! Events that are missing.

use std::time::Duration;

use s3sync_proto::model::{EventBatch, News, RunState};

use super::bench::{Bench, stating};
use super::events::{event, following, following_of, newest, scan, tell};

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

pub(super) async fn backlog(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    let state = s3sync_proto::model::QueueState {
        retention: Some(Duration::from_secs(1_000)),
        ..Default::default()
    };
    let batch = |waited: u64, keys: &[&str]| {
        let events: Vec<_> = keys.iter().map(|key| event(key)).collect();
        let longest_wait = Some(Duration::from_secs(waited));
        let news = News { events, messages: 1, longest_wait, ..News::default() };
        EventBatch { sequence: 1, held: watch.held, news }
    };
    let mut first = batch(0, &[]);
    first.news.state = Some(state);
    bench.store.take_events(first, bench.now).await.unwrap();
    // What was sent before the job followed the queue is not missed by it.
    bench.pass(Duration::from_secs(800));
    bench.store.take_events(batch(950, &["a"]), bench.now).await.unwrap();
    bench.pass(Duration::from_secs(800));
    bench.store.take_events(batch(899, &["a"]), bench.now).await.unwrap();
    assert_eq!(following_of(&bench).await.gap, None, "those that are as old are still there");
    bench.store.take_events(batch(900, &["b"]), bench.now).await.unwrap();
    let gap = following_of(&bench).await.gap.expect("events are missing");
    assert_eq!((gap.since, &gap.scan), (bench.now, &None));
    assert!(gap.reason.contains("had waited for 900 s"), "{}", gap.reason);
    // Once, whatever else comes before the scan begins, while it goes on, and when it has ended.
    bench.pass(Duration::from_secs(10));
    bench.store.take_events(batch(990, &["c"]), bench.now).await.unwrap();
    assert_eq!(following_of(&bench).await.gap, Some(gap.clone()));
    let started = bench.store.tend_events(bench.now).await.unwrap();
    assert_eq!(started.len(), 1);
    bench.store.take_events(batch(990, &["d"]), bench.now).await.unwrap();
    let gap = following_of(&bench).await.gap.unwrap();
    assert_eq!(gap.scan.as_ref(), Some(&started[0]), "what was sent before it began it will see");
    scan(&bench, session).await;
    bench.pass(Duration::from_secs(800));
    bench.store.take_events(batch(990, &["e"]), bench.now).await.unwrap();
    let told = following_of(&bench).await;
    assert_eq!(told.gap, None, "sent before the scan began");
    assert_eq!(bench.store.tend_events(bench.now).await.unwrap(), []);
    // What is lost since it began, nobody has seen. Any scan that sees everything would do.
    bench.pass(Duration::from_secs(200));
    bench.store.take_events(batch(990, &["f"]), bench.now).await.unwrap();
    assert!(following_of(&bench).await.gap.is_some());
    assert_eq!(bench.store.tend_events(bench.now).await.unwrap().len(), 1);
    scan(&bench, session).await;
    bench.pass(Duration::from_secs(500));
    bench.start().await;
    scan(&bench, session).await;
    for waited in [0, 990] {
        bench.pass(Duration::from_secs(475));
        bench.store.take_events(batch(waited, &["g"]), bench.now).await.unwrap();
    }
    assert_eq!(following_of(&bench).await.gap, None, "the manual run saw it");
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
