//! What is kept, and for how long: runs with their failures, and the audit log.

use std::time::Duration;

use s3sync_proto::model::{AuditCall, AuditOutcome, Counters, Key, Outcome, RunName};

use super::bench::{Bench, destination, failure, report};
use crate::store::{Error, Keep, Pruned};

const EVERYTHING: Keep = Keep {
    runs_for: Duration::from_secs(1_000),
    runs_per_job: 100,
    failures: 100,
    audit_entries: 100,
};

/// A run that fails on so many keys.
async fn failed_run(bench: &mut Bench, keys: u64) -> RunName {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    let mut report = report(held, Outcome::Completed, [None, None], keys);
    report.counters = Counters { listed: keys, failed: keys, ..Counters::default() };
    report.failures =
        (0..keys).map(|key| failure(Key::from(format!("{key:03}").as_str()))).collect();
    bench.store.report(report, bench.now).await.unwrap();
    bench.now = bench.now.plus(Duration::from_secs(10));
    run
}

async fn numbers(bench: &Bench) -> Vec<u64> {
    let runs = bench.store.runs(None, None, 100).await.unwrap();
    runs.iter().map(|listed| listed.run.name.number).collect()
}

async fn prune(bench: &Bench, keep: Keep) -> u64 {
    let mut runs = 0;
    loop {
        match bench.store.prune(&keep, bench.now).await.unwrap() {
            Pruned { runs: 0, audit_entries: 0 } => return runs,
            pruned => runs += pruned.runs,
        }
    }
}

pub(super) async fn runs(mut bench: Bench) {
    let first = failed_run(&mut bench, 2).await;
    for _ in 0..3 {
        failed_run(&mut bench, 1).await;
    }
    assert_eq!(prune(&bench, EVERYTHING).await, 0);
    // The first ended 40 seconds ago, the second 30: at the bound a run is kept.
    let keep = Keep { runs_for: Duration::from_secs(30), ..EVERYTHING };
    assert_eq!(prune(&bench, keep).await, 1);
    assert_eq!(numbers(&bench).await, [4, 3, 2]);
    assert!(matches!(bench.store.failures(&first, None, None, 10).await, Err(Error::NotFound(_))));
    assert_eq!(prune(&bench, Keep { runs_per_job: 2, ..EVERYTHING }).await, 1);
    assert_eq!(numbers(&bench).await, [4, 3]);
    assert_eq!(prune(&bench, Keep { failures: 2, ..EVERYTHING }).await, 0);
    assert_eq!(prune(&bench, Keep { failures: 1, ..EVERYTHING }).await, 1);
    assert_eq!(numbers(&bench).await, [4]);
    // The newest stays, whatever the bounds, and so does one that is going on.
    let nothing = Keep { runs_for: Duration::ZERO, runs_per_job: 0, failures: 0, audit_entries: 0 };
    bench.now = bench.now.plus(Duration::from_secs(10));
    assert_eq!(prune(&bench, nothing).await, 0);
    let going = bench.start().await;
    bench.now = bench.now.plus(Duration::from_secs(10));
    assert_eq!(prune(&bench, nothing).await, 0);
    assert_eq!(numbers(&bench).await, [5, 4]);
    assert_eq!(bench.store.run(&going.job, None).await.unwrap().name, going);
}

pub(super) async fn per_job(mut bench: Bench) {
    bench.put_job("other", vec![destination("cnn1", "else")]).await;
    let other = bench.store.start_run(bench.start_of("other"), bench.now).await.unwrap();
    bench.store.cancel_run(&other.name, bench.now).await.unwrap();
    for _ in 0..3 {
        failed_run(&mut bench, 1).await;
    }
    assert_eq!(prune(&bench, Keep { runs_per_job: 1, ..EVERYTHING }).await, 2);
    let left = bench.store.runs(None, None, 100).await.unwrap();
    let names: Vec<_> = left.iter().map(|listed| listed.run.name.to_string()).collect();
    assert_eq!(names, ["jobs/media/runs/3", "jobs/other/runs/1"]);
}

pub(super) async fn audit(bench: Bench) {
    let call = |resource: &str| AuditCall {
        caller: "alice".into(),
        peer: "127.0.0.1:9".into(),
        method: "JobService.RunJob".into(),
        resource: resource.into(),
        request: "{}".into(),
    };
    let mut numbers = Vec::new();
    for resource in ["jobs/media", "jobs/media/runs/1", "jobs/media-2", "jobs", "endpoints/usw2"] {
        numbers.push(bench.store.begin_audit(call(resource), bench.now).await.unwrap());
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let later = bench.now.plus(Duration::from_secs(1));
    let refused = AuditOutcome::Refused("no".into());
    bench.store.end_audit(1, AuditOutcome::Done, later).await.unwrap();
    bench.store.end_audit(1, refused.clone(), later).await.unwrap();
    bench.store.end_audit(2, refused.clone(), later).await.unwrap();
    bench.store.end_audit(9, AuditOutcome::Done, later).await.unwrap();
    let about = bench.store.audit(Some("jobs/media"), None, 10).await.unwrap();
    let found: Vec<_> = about.iter().map(|entry| (entry.number, entry.outcome.clone())).collect();
    assert_eq!(found, [(2, refused), (1, AuditOutcome::Done)]);
    assert_eq!((about[1].call.clone(), about[1].created), (call("jobs/media"), bench.now));
    assert_eq!(about[1].ended, Some(later));
    let page = bench.store.audit(None, Some(5), 2).await.unwrap();
    let shown: Vec<_> = page.iter().map(|entry| (entry.number, entry.outcome.clone())).collect();
    assert_eq!(shown, [(4, AuditOutcome::Unknown), (3, AuditOutcome::Unknown)]);
    let keep = Keep { audit_entries: 2, ..EVERYTHING };
    assert_eq!(prune(&bench, keep).await, 0);
    let left = bench.store.audit(None, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.number).collect::<Vec<_>>(), [5, 4]);
}
