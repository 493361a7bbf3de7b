//! Paused runs, and what pauses them.

use s3sync_proto::model::{
    Counters, Failure, FailureClass, Outcome, RunState, Verdict, WorkError, WorkReport,
};

use super::bench::{Bench, failure, key, report};
use crate::plan::SAME_FAILURES_TO_PAUSE;
use crate::store::{Error, Grant};

pub(super) async fn held(bench: Bench) {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    let paused = bench.store.pause_run(&run, "lunch").await.unwrap();
    assert_eq!((paused.state, paused.reason.as_str()), (RunState::Paused, "lunch"));
    let again = bench.store.pause_run(&run, "twice").await.unwrap();
    assert_eq!(again.reason, "lunch", "the first reason stays");
    assert!(bench.store.snapshot(9, bench.now).await.unwrap().leased[0].revoke);
    // What explains runs that stand still leaves the reason alone.
    bench.store.explain_runs(vec![(run.clone(), String::new())]).await.unwrap();
    bench.done(held, Outcome::Yielded, [None, Some("k")], 3).await;
    assert!(bench.ready().await.is_empty());
    let now = bench.run().await;
    assert_eq!(
        (now.state, now.reason.as_str(), now.totals().listed),
        (RunState::Paused, "lunch", 3)
    );
    // Another run of the job waits all the same.
    let other = bench.store.start_run(bench.start_of("media"), bench.now).await;
    assert!(matches!(other, Err(Error::RunActive(_))), "{other:?}");
    let resumed = bench.store.resume_run(&run, bench.now).await.unwrap();
    assert_eq!((resumed.state, resumed.reason.as_str()), (RunState::Running, ""));
    assert_eq!(bench.store.resume_run(&run, bench.now).await.unwrap(), resumed);
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [Some("k"), None], 2).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
    for refused in
        [bench.store.pause_run(&run, "late").await, bench.store.resume_run(&run, bench.now).await]
    {
        assert!(matches!(refused, Err(Error::NotNow { .. })), "{refused:?}");
    }
}

pub(super) async fn raced(bench: Bench) {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.ready().await[0].held;
    bench.store.pause_run(&run, "now").await.unwrap();
    let grant = Grant { held, session };
    assert_eq!(bench.store.lease(vec![grant], bench.now).await.unwrap(), [], "decided before");
    let resumed = bench.store.resume_run(&run, bench.now).await.unwrap();
    assert_eq!(resumed.state, RunState::Pending, "nobody has worked on it");
    bench.store.pause_run(&run, "again").await.unwrap();
    let cancelled = bench.store.cancel_run(&run, bench.now).await.unwrap();
    assert_eq!(cancelled.state, RunState::Cancelled);
}

fn denied(text: &str) -> Failure {
    Failure { code: "AccessDenied".into(), message: "PutObject: no".into(), ..failure(key(text)) }
}

pub(super) async fn credential(bench: Bench) {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    let failures: Vec<_> =
        (0..SAME_FAILURES_TO_PAUSE).map(|n| denied(&format!("{n:04}"))).collect();
    let failed = failures.len() as u64;
    let all = WorkReport {
        counters: Counters { listed: failed + 5, in_step: 5, failed, ..Counters::default() },
        failures,
        ..report(held, Outcome::Checkpoint, [None, Some("1")], 0)
    };
    assert_eq!(bench.say(all).await.unwrap(), Verdict::Stale);
    let paused = bench.run().await;
    assert_eq!((paused.state, paused.totals().listed), (RunState::Paused, 0), "nothing counted");
    assert!(
        paused.reason.contains("cnn1:target/to/: every key fails with AccessDenied"),
        "{}",
        paused.reason
    );
    assert_eq!(bench.store.failures(&run, None, None, 9).await.unwrap().0, []);
    // Resumed, it begins where it stood.
    bench.store.resume_run(&run, bench.now).await.unwrap();
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [None, None], 7).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
}

pub(super) async fn credential_for_listing(bench: Bench) {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    let error = WorkError {
        class: FailureClass::Permanent,
        code: "ExpiredToken".into(),
        message: "the token expired".into(),
    };
    bench.done(held, Outcome::Errored(error), [None, None], 0).await;
    let paused = bench.run().await;
    assert_eq!(paused.state, RunState::Paused);
    assert!(paused.reason.contains("ExpiredToken: the token expired"), "{}", paused.reason);
    bench.store.resume_run(&run, bench.now).await.unwrap();
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [None, None], 7).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
}
