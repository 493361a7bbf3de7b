//! Schedules: each nominal time starts one run or is counted, whatever happens in between.

use std::time::Duration;

use s3sync_proto::model::{
    JobSpec, Outcome, OverlapPolicy, RunState, Schedule, Timestamp, Timing, Trigger,
};

use super::bench::{Bench, destination, job, name};
use crate::store::CatalogueChange;

const HOUR: Duration = Duration::from_secs(3_600);

fn hourly(at_start: bool) -> Schedule {
    Schedule {
        timing: Some(Timing::Every(HOUR)),
        at_start,
        jitter: Duration::ZERO,
        overlap: OverlapPolicy::Skip,
    }
}

async fn put(bench: &Bench, schedule: Option<Schedule>, paused: bool) {
    let spec = JobSpec { schedule, paused, ..job(vec![destination("cnn1", "target")]) };
    let change = CatalogueChange::PutJob { name: name("media"), spec: Box::new(spec) };
    bench.change(change).await.unwrap();
}

async fn start(bench: &Bench) -> usize {
    bench.store.start_due(100, bench.now).await.unwrap().len()
}

/// Brings the run that is going on to its end.
async fn finish(bench: &Bench) {
    let session = bench.connect("worker", "1", Vec::new()).await.session;
    let held = bench.take(session).await.held;
    bench.done(held, Outcome::Completed, [None, None], 1).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
}

async fn next(bench: &Bench) -> Option<Timestamp> {
    bench.store.catalogue().await.unwrap().jobs[&name("media")].next_starts.first().copied()
}

pub(super) async fn fires(mut bench: Bench) {
    put(&bench, Some(hourly(false)), false).await;
    let armed = bench.now;
    assert_eq!((start(&bench).await, next(&bench).await), (0, Some(armed.plus(HOUR))));
    bench.pass(HOUR);
    assert_eq!(start(&bench).await, 1);
    let run = bench.run().await;
    assert_eq!((run.trigger, run.nominal), (Trigger::Schedule, Some(armed.plus(HOUR))));
    assert_eq!((start(&bench).await, next(&bench).await), (0, Some(armed.plus(2 * HOUR))));
    // The next one is due while it is going on, and is left out.
    bench.pass(HOUR);
    assert_eq!((start(&bench).await, next(&bench).await), (0, Some(armed.plus(3 * HOUR))));
    finish(&bench).await;
    assert_eq!(start(&bench).await, 0);
    // After a downtime one run makes up for what was missed.
    bench.pass(5 * HOUR);
    assert_eq!((start(&bench).await, start(&bench).await), (1, 0));
    assert_eq!(bench.run().await.nominal, Some(armed.plus(7 * HOUR)));
}

pub(super) async fn queues(mut bench: Bench) {
    let schedule = Schedule { overlap: OverlapPolicy::QueueOne, ..hourly(false) };
    put(&bench, Some(schedule), false).await;
    let armed = bench.now;
    bench.pass(HOUR);
    assert_eq!(start(&bench).await, 1);
    bench.pass(3 * HOUR);
    assert_eq!(start(&bench).await, 0, "it waits for the run that is going on");
    finish(&bench).await;
    assert_eq!((start(&bench).await, start(&bench).await), (1, 0), "one, not three");
    assert_eq!(bench.run().await.nominal, Some(armed.plus(4 * HOUR)));
}

pub(super) async fn pauses(mut bench: Bench) {
    put(&bench, Some(hourly(false)), true).await;
    let armed = bench.now;
    bench.pass(4 * HOUR);
    assert_eq!(start(&bench).await, 0);
    put(&bench, Some(hourly(false)), false).await;
    assert_eq!((start(&bench).await, start(&bench).await), (1, 0));
    assert_eq!(bench.run().await.nominal, Some(armed.plus(4 * HOUR)), "the times were kept");
    finish(&bench).await;
    // Another schedule counts from its own beginning; without one nothing starts.
    let other = Schedule { timing: Some(Timing::Every(2 * HOUR)), ..hourly(false) };
    put(&bench, Some(other), false).await;
    assert_eq!(next(&bench).await, Some(bench.now.plus(2 * HOUR)));
    put(&bench, None, false).await;
    bench.pass(9 * HOUR);
    assert_eq!((start(&bench).await, next(&bench).await), (0, None));
}

pub(super) async fn begins(mut bench: Bench) {
    put(&bench, Some(hourly(true)), false).await;
    assert_eq!((start(&bench).await, start(&bench).await), (1, 0), "created, so due");
    assert_eq!((bench.run().await.trigger, bench.run().await.nominal), (Trigger::Start, None));
    // The server starts while the run is going on: nothing more to do.
    bench.store.begin_schedules(bench.now).await.unwrap();
    assert_eq!(start(&bench).await, 0);
    finish(&bench).await;
    assert_eq!(start(&bench).await, 0);
    bench.pass(HOUR / 2);
    bench.store.begin_schedules(bench.now).await.unwrap();
    assert_eq!(start(&bench).await, 0, "one finished within the interval");
    // A change of the job that leaves the schedule alone starts nothing.
    put(&bench, Some(hourly(true)), false).await;
    assert_eq!(start(&bench).await, 0);
    bench.pass(HOUR / 2);
    bench.store.begin_schedules(bench.now).await.unwrap();
    assert_eq!(start(&bench).await, 1);
    assert_eq!(bench.run().await.trigger, Trigger::Start);
    // What was due at the same moment is left out, since the run is going on.
    assert_eq!(start(&bench).await, 0);
    assert_eq!(next(&bench).await, Some(bench.now.plus(HOUR)));
}

pub(super) async fn only_at_start(mut bench: Bench) {
    put(&bench, Some(Schedule { timing: None, ..hourly(true) }), false).await;
    assert_eq!((start(&bench).await, next(&bench).await), (1, None));
    finish(&bench).await;
    bench.pass(100 * HOUR);
    bench.store.begin_schedules(bench.now).await.unwrap();
    assert_eq!(start(&bench).await, 0, "without times only a creation starts it");
}
