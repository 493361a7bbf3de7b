//! Runs: started, shown, ended.

use s3sync_proto::model::{Counters, Outcome, RunState, Verdict};

use super::bench::{Bench, destination, failure, key, name, report, request};
use crate::store::{Error, MAX_FAILURES_PER_RUN};

/// Most failures a report of these tests carries.
const CHUNK: u64 = 10_000;

pub(super) async fn numbers(bench: Bench) {
    let first = bench.start().await;
    assert_eq!(first.to_string(), "jobs/media/runs/1");
    let run = bench.run().await;
    assert_eq!((run.state, run.job_generation, run.created), (RunState::Pending, 1, bench.now));
    assert_eq!((run.destinations[0].open_ranges, run.started, run.ended), (1, None, None));
    let again = bench.store.start_run(bench.start_of("media"), bench.now).await;
    assert!(matches!(again, Err(Error::RunActive(active)) if active == first));
    let none = bench.store.start_run(bench.start_of("none"), bench.now).await;
    assert!(matches!(none, Err(Error::NotFound(_))));

    let session = bench.connect("a", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    assert_eq!(
        (bench.run().await.state, bench.run().await.started),
        (RunState::Running, Some(bench.now))
    );
    bench.done(held, Outcome::Completed, [None, None], 7).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.ended), (RunState::Succeeded, Some(bench.now)));
    let progress = &run.destinations[0];
    let ranges = (progress.open_ranges, progress.leased_ranges, progress.done_ranges);
    assert_eq!((ranges, progress.counters.in_step), ((0, 0, 1), 7));
    assert_eq!(bench.start().await.number, 2);
    let number = |number| bench.store.run(&first.job, number);
    assert_eq!(number(None).await.unwrap().name.number, 2);
    assert_eq!(number(Some(1)).await.unwrap().state, RunState::Succeeded);
    assert!(matches!(number(Some(3)).await, Err(Error::NotFound(_))));
}

pub(super) async fn frozen(bench: Bench) {
    bench.start().await;
    bench.put_job("media", vec![destination("usw2", "elsewhere")]).await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let assignment = bench.take(session).await;
    assert_eq!(assignment.destination, destination("cnn1", "target"));
    assert_eq!(assignment.destination_endpoint.region, "us-west-2");
    assert_eq!(bench.run().await.destinations[0].location.bucket, "target");
}

pub(super) async fn repeated_start(bench: Bench) {
    let start = |fingerprint: &str| {
        let mut start = bench.start_of("media");
        start.request = Some(request("run", "1", fingerprint));
        bench.store.start_run(start, bench.now)
    };
    let first = start("f1").await.unwrap();
    assert_eq!(start("f1").await.unwrap(), first);
    assert!(matches!(start("f2").await, Err(Error::RequestReused)));
    // Also after it has ended: the request was made, and another run was not asked for.
    bench.store.cancel_run(&first.name, bench.now).await.unwrap();
    assert_eq!(start("f1").await.unwrap().name, first.name);
}

pub(super) async fn paging(bench: Bench) {
    bench.put_job("other", vec![destination("cnn1", "else")]).await;
    for job in ["media", "other", "media", "other", "media"] {
        let run = bench.store.start_run(bench.start_of(job), bench.now).await.unwrap();
        bench.store.cancel_run(&run.name, bench.now).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = bench.store.runs(None, before, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        before = Some(last.position);
        seen.extend(page.iter().map(|one| one.run.name.to_string()));
    }
    let expected = ["media/runs/3", "other/runs/2", "media/runs/2", "other/runs/1", "media/runs/1"];
    assert_eq!(seen, expected.map(|one| format!("jobs/{one}")));
    let of_job = bench.store.runs(Some(&name("media")), before.map(|first| first + 4), 9).await;
    let numbers: Vec<_> = of_job.unwrap().iter().map(|one| one.run.name.number).collect();
    assert_eq!(numbers, [2, 1]);
}

pub(super) async fn changed(bench: Bench) {
    bench.put_job("other", vec![destination("cnn1", "else")]).await;
    let media = bench.start().await;
    let other = bench.store.start_run(bench.start_of("other"), bench.now).await.unwrap().name;
    let all = bench.store.runs_changed_since(0, None, 9).await.unwrap();
    let names: Vec<_> = all.iter().map(|one| &one.run.name).collect();
    assert_eq!(names, [&media, &other]);
    let newest = all[1].revision;
    assert!(bench.store.runs_changed_since(newest, None, 9).await.unwrap().is_empty());
    bench.store.cancel_run(&media, bench.now).await.unwrap();
    let after = bench.store.runs_changed_since(newest, None, 9).await.unwrap();
    assert_eq!((after.len(), &after[0].run.name), (1, &media));
    assert_eq!(after[0].run.state, RunState::Cancelled);
    assert!(after[0].revision > newest);
    let of_other = bench.store.runs_changed_since(newest, Some(&other.job), 9).await.unwrap();
    assert!(of_other.is_empty());
    assert_eq!(bench.store.runs_changed_since(0, None, 1).await.unwrap()[0].run.name, other);
}

pub(super) async fn reasons(bench: Bench) {
    let run = bench.start().await;
    let explain = |text: &str| bench.store.explain_runs(vec![(run.clone(), text.to_owned())]);
    explain("no agent is connected").await.unwrap();
    assert_eq!(bench.run().await.reason, "no agent is connected");
    let revision = bench.store.runs(None, None, 1).await.unwrap()[0].revision;
    explain("no agent is connected").await.unwrap();
    assert_eq!(bench.store.runs(None, None, 1).await.unwrap()[0].revision, revision);
    let session = bench.connect("a", "1", Vec::new()).await.session;
    bench.take(session).await;
    assert_eq!(bench.run().await.reason, "");
}

/// Reports `count` failed keys from number `from` on.
async fn fail_many(bench: &Bench, held: s3sync_proto::model::Held, from: u64, count: u64) {
    let at = |number: u64| format!("{number:08}");
    let previous = (from > 0).then(|| at(from - 1));
    let cursor = at(from + count - 1);
    let cursors = [previous.as_deref(), Some(cursor.as_str())];
    let mut said = report(held, Outcome::Checkpoint, cursors, 0);
    said.counters = Counters { listed: count, failed: count, ..Counters::default() };
    said.failures = (from..from + count).map(|number| failure(key(&at(number)))).collect();
    assert_eq!(bench.say(said).await.unwrap(), Verdict::Applied);
}

pub(super) async fn failures_limit(bench: Bench) {
    for (extra, end) in [(0, RunState::FinishedWithFailures), (1, RunState::Incomplete)] {
        let run = bench.start().await;
        let session = bench.connect("a", "1", Vec::new()).await.session;
        let held = bench.take(session).await.held;
        let total = MAX_FAILURES_PER_RUN + extra;
        let mut from = 0;
        while from < total {
            let count = CHUNK.min(total - from);
            fail_many(&bench, held, from, count).await;
            from += count;
        }
        let last = format!("{:08}", total - 1);
        bench.done(held, Outcome::Completed, [Some(&last), None], 0).await;
        assert_eq!(bench.run().await.state, end);
        let (page, counted) = bench.store.failures(&run, None, None, 2).await.unwrap();
        assert_eq!(counted, total);
        assert_eq!(page, [failure(key("00000000")), failure(key("00000001"))]);
        let near = Some((0, key(&format!("{:08}", MAX_FAILURES_PER_RUN - 2))));
        let (page, _) = bench.store.failures(&run, None, near, 9).await.unwrap();
        assert_eq!(page, [failure(key(&format!("{:08}", MAX_FAILURES_PER_RUN - 1)))]);
    }
}

pub(super) async fn wakes(bench: Bench) {
    let mut changes = bench.store.changes();
    for _ in 0..3 {
        let run = bench.start().await;
        changes.changed().await.unwrap();
        bench.store.cancel_run(&run, bench.now).await.unwrap();
        changes.changed().await.unwrap();
    }
}
