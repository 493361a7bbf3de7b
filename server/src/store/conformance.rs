//! What every store must do, as cases against the trait alone. Another implementation adds one call of [`all`] to its
//! tests and touches nothing here.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, compiled also for the tests of other crates"
)]

mod asked;
mod bench;
mod cancel;
mod catalogue;
mod cuts;
mod deletes;
mod event_deletes;
mod events;
mod figures;
mod gaps;
mod history;
mod keep;
mod pause;
mod permits;
mod put_off;
mod rates;
mod receivers;
mod retry;
mod runs;
mod schedules;
mod sessions;
mod suspects;
mod traces;
mod view;
mod work;

use std::pin::Pin;
use std::sync::Arc;

pub use history::{Action, Fate, Step, history};

use super::Store;
use bench::Bench;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
type Case = (&'static str, fn(Bench) -> Running);

const CASES: &[Case] = &[
    ("a change needs the newest revision", |b| Box::pin(catalogue::moved(b))),
    ("endpoints and jobs come back as they were put", |b| Box::pin(catalogue::round_trip(b))),
    ("queues come back as they were put, and go", |b| Box::pin(catalogue::queues(b))),
    ("a request id is applied once, and not for another request", |b| {
        Box::pin(catalogue::requests(b))
    }),
    ("a job with an active run is not deleted, and goes with its runs", |b| {
        Box::pin(catalogue::delete_job(b))
    }),
    ("bucket facts are merged and go with their endpoint", |b| Box::pin(catalogue::facts(b))),
    ("runs are numbered, and one is active at a time", |b| Box::pin(runs::numbers(b))),
    ("a run keeps what it started with", |b| Box::pin(runs::frozen(b))),
    ("a repeated start returns the same run", |b| Box::pin(runs::repeated_start(b))),
    ("runs are paged, newest first", |b| Box::pin(runs::paging(b))),
    ("changed runs come in the order of change", |b| Box::pin(runs::changed(b))),
    ("a reason is recorded once and goes with the first lease", |b| Box::pin(runs::reasons(b))),
    ("ranges are shown in the order of keys, with who holds them", |b| Box::pin(view::strips(b))),
    ("what an earlier run listed is expected again", |b| Box::pin(view::expected(b))),
    ("a report has requests, waits and what happened", |b| Box::pin(view::reported(b))),
    ("a retry knows how many keys it has", |b| Box::pin(view::named_keys(b))),
    ("failures are paged, and kept up to the limit", |b| Box::pin(runs::failures_limit(b))),
    ("failures are found by key, newest first", |b| Box::pin(asked::failures_of_key(b))),
    ("a dirty key is told of with all it waits for", |b| Box::pin(asked::dirty_key(b))),
    ("facts of a bucket are forgotten and learned anew", |b| Box::pin(asked::relearned(b))),
    ("a change wakes who looks after each", |b| Box::pin(runs::wakes(b))),
    ("a reconnect of the same process keeps what is held", |b| Box::pin(sessions::same(b))),
    ("another process of that name takes nothing over", |b| Box::pin(sessions::other(b))),
    ("what a process held that another superseded waits", |b| Box::pin(sessions::waits(b))),
    ("an expired session's work goes on, a late report counts until then", |b| {
        Box::pin(sessions::expiry(b))
    }),
    ("who returns after an expiry gets back what nobody took", |b| Box::pin(sessions::returns(b))),
    ("an assignment that was lost on the way is released", |b| Box::pin(sessions::lost(b))),
    ("a state sets capacity and draining", |b| Box::pin(sessions::state(b))),
    ("a session that left holds nothing", |b| Box::pin(sessions::leaves(b))),
    ("no session expires for the server's absence", |b| Box::pin(sessions::extended(b))),
    ("a range is leased once", |b| Box::pin(work::leased_once(b))),
    ("a report moves the cursor once", |b| Box::pin(work::checkpoints(b))),
    ("a stale epoch changes nothing", |b| Box::pin(work::stale(b))),
    ("a report that contradicts itself is refused whole", |b| Box::pin(work::contradictions(b))),
    ("a yielded range goes on at its cursor", |b| Box::pin(work::yielded(b))),
    ("an error is tried again with pauses, then the run fails", |b| Box::pin(work::errors(b))),
    ("a range that moves on has its attempts anew", |b| Box::pin(work::attempts(b))),
    ("a refused assignment is not offered to the same agent", |b| Box::pin(work::refusals(b))),
    ("uploads are handed to the next holder until their key is settled", |b| {
        Box::pin(work::uploads(b))
    }),
    ("what a given-up range leaves open goes to the job's next run", |b| {
        Box::pin(work::left_uploads(b))
    }),
    ("the next holder is told what uploads are to become", |b| Box::pin(work::plans_of_uploads(b))),
    ("a key that kills each agent alone is given up", |b| Box::pin(suspects::poison(b))),
    ("agents that die of something else blame no key", |b| Box::pin(suspects::other_reasons(b))),
    ("a range that kills whoever lists it is given up", |b| Box::pin(suspects::listing(b))),
    ("a delete that kills each agent alone is given up", |b| Box::pin(suspects::deletes(b))),
    ("a key that is settled is not suspected", |b| Box::pin(suspects::named_late(b))),
    ("each destination has its own ranges", |b| Box::pin(work::destinations(b))),
    ("a cut makes two ranges, once", |b| Box::pin(cuts::twice(b))),
    ("a cut whose proposal was lost loses no key", |b| Box::pin(cuts::lost(b))),
    ("a cut outside of what is left is refused", |b| Box::pin(cuts::outside(b))),
    ("uploads above a cut go with the new range", |b| Box::pin(cuts::uploads(b))),
    ("a destination is cut up to the limit", |b| Box::pin(cuts::limit(b))),
    ("the next run begins as the last one was cut", |b| Box::pin(cuts::boundaries(b))),
    ("a nominal time starts one run or is counted", |b| Box::pin(schedules::fires(b))),
    ("a start that waits for a run is one", |b| Box::pin(schedules::queues(b))),
    ("a paused job keeps its times", |b| Box::pin(schedules::pauses(b))),
    ("a job starts when it is created and when the server does", |b| {
        Box::pin(schedules::begins(b))
    }),
    ("without times a job starts once", |b| Box::pin(schedules::only_at_start(b))),
    ("a paused run is let go and goes on where it stood", |b| Box::pin(pause::held(b))),
    ("a decision made before a pause leases nothing", |b| Box::pin(pause::raced(b))),
    ("a credential that fails on every key pauses the run", |b| Box::pin(pause::credential(b))),
    ("a credential that cannot list pauses the run", |b| {
        Box::pin(pause::credential_for_listing(b))
    }),
    ("a retry looks at what failed and at nothing else", |b| Box::pin(retry::whole(b))),
    ("failures are grouped by class and code", |b| Box::pin(retry::groups(b))),
    ("without failures there is nothing to retry", |b| Box::pin(retry::nothing(b))),
    ("a retry knows a destination by its place", |b| Box::pin(retry::destinations(b))),
    ("a yielded key work gives back what is not settled", |b| Box::pin(retry::yielded(b))),
    ("a late report of a key work counts once", |b| Box::pin(retry::late(b))),
    ("a key that kills its holders is found and given up", |b| Box::pin(retry::poison(b))),
    ("many keys are spread over works, each once", |b| Box::pin(retry::many(b))),
    ("a cancelled retry forgets no failure", |b| Box::pin(retry::cancelled(b))),
    ("a queue is received from by one session", |b| Box::pin(events::leased_once(b))),
    ("a queue goes to others when its holder dies or it changes", |b| Box::pin(events::moves(b))),
    ("a queue that fails is tried again with pauses", |b| Box::pin(events::errors(b))),
    ("receivers of a queue are leased each by itself", |b| Box::pin(receivers::each_by_itself(b))),
    ("receivers come and go with the queue's settings", |b| Box::pin(receivers::more_and_fewer(b))),
    ("what receivers of a queue tell is seen together", |b| Box::pin(receivers::together(b))),
    ("a receiver that fails leaves the others alone", |b| Box::pin(receivers::failing(b))),
    ("a change is as old as its oldest event", |b| Box::pin(receivers::oldest(b))),
    ("events mark keys, and each look clears what it has seen", |b| Box::pin(events::marks(b))),
    ("events and a scan go on beside each other", |b| Box::pin(events::beside_a_scan(b))),
    ("keys that fail are put off and keep no others waiting", |b| Box::pin(put_off::put_off(b))),
    ("news of a key that is put off brings its look forward", |b| {
        Box::pin(put_off::told_while_put_off(b))
    }),
    ("a run of events lasts a day", |b| Box::pin(events::rotates(b))),
    ("how fast events come and are settled is told", |b| Box::pin(rates::told(b))),
    ("events go on by a job's new settings", |b| Box::pin(events::settings(b))),
    ("a job that follows events is deleted when nothing is held", |b| {
        Box::pin(events::deleted_job(b))
    }),
    ("a dead holder's keys go to others", |b| Box::pin(events::lost_holder(b))),
    ("keys that may still be written wait alone", |b| Box::pin(events::late_commits(b))),
    ("how events and queues stand is told", |b| Box::pin(events::told(b))),
    ("after too long a silence a scan looks at everything", |b| Box::pin(gaps::silence(b))),
    ("messages that expire unread are made up for by a scan", |b| Box::pin(gaps::backlog(b))),
    ("what a cancelled run of events drops is made up for", |b| Box::pin(gaps::cancelled(b))),
    ("a run that started by itself is traced once", |b| Box::pin(traces::of_a_run(b))),
    ("a key goes on with the trace of its newest event", |b| Box::pin(traces::of_events(b))),
    ("an event without a trace has none", |b| Box::pin(traces::of_none(b))),
    ("two jobs follow one queue", |b| Box::pin(events::follows_two(b))),
    ("a delete by an event is named before it is work", |b| {
        Box::pin(event_deletes::named_before(b))
    }),
    ("a flood of deletes by events waits for a person", |b| {
        Box::pin(event_deletes::stopped_flood(b))
    }),
    ("a delete by an event is counted once, whoever dies", |b| {
        Box::pin(event_deletes::counted_once(b))
    }),
    ("a delete that nobody did in time is decided on anew", |b| Box::pin(event_deletes::lapsed(b))),
    ("deletes that passed are held to new limits", |b| Box::pin(event_deletes::tighter(b))),
    ("deletes by events are approved as they were shown", |b| {
        Box::pin(event_deletes::other_shown(b))
    }),
    ("deletes by events wait where no scan was", |b| Box::pin(event_deletes::unscanned(b))),
    ("events of a job that keeps delete nothing", |b| Box::pin(event_deletes::kept(b))),
    ("a newer event comes before a delete", |b| Box::pin(event_deletes::newer_reason(b))),
    ("what waits for a person outlives a run of events", |b| Box::pin(event_deletes::replaced(b))),
    ("the run of events is beside the others", |b| Box::pin(event_deletes::beside_scans(b))),
    ("a key that is gone is between the cursors", |b| Box::pin(event_deletes::odd_report(b))),
    ("what a guard passes is deleted, once", |b| Box::pin(deletes::passed(b))),
    ("what a guard does not pass waits for an approval of it", |b| Box::pin(deletes::asks(b))),
    ("a run that waits for an approval can be cancelled", |b| Box::pin(deletes::cancelled(b))),
    ("nothing is deleted that is to be kept or was not listed", |b| Box::pin(deletes::never(b))),
    ("a key that is named to be deleted counts once", |b| Box::pin(deletes::named_once(b))),
    ("more than was passed is counted anew", |b| Box::pin(deletes::too_many(b))),
    ("more than was approved is asked about again", |b| Box::pin(deletes::approved_too_many(b))),
    ("who deletes lets go when what is left is counted", |b| Box::pin(deletes::told_to_count(b))),
    ("a source that loses keys all the time is asked about", |b| {
        Box::pin(deletes::again_and_again(b))
    }),
    ("a cancelled run that nobody holds ends at once", |b| Box::pin(cancel::idle(b))),
    ("a cancelled run waits for its holders", |b| Box::pin(cancel::held(b))),
    ("a cancelled run's uploads are aborted first", |b| Box::pin(cancel::reaped(b))),
    ("a cancelled run's lost holder leaves its uploads to others", |b| Box::pin(cancel::lost(b))),
    ("to cancel what has ended has no effect", |b| Box::pin(cancel::ended(b))),
    ("clearing up that kills agents has an end", |b| Box::pin(cancel::deadly(b))),
    ("a key that killed is told of its upload", |b| Box::pin(cancel::deadly_after_deadly(b))),
    ("clearing up that is refused has an end", |b| Box::pin(cancel::impossible(b))),
    ("clearing up that nobody can do says why", |b| Box::pin(cancel::explained(b))),
    ("figures agree with the runs, and go with the job", |b| Box::pin(figures::agree(b))),
    ("figures tell of agents and of what they lost", |b| Box::pin(figures::lost(b))),
    ("a destination is in step since a scan that left nothing out", |b| Box::pin(figures::lag(b))),
    ("events bring a destination nearer than scans", |b| Box::pin(figures::lag_with_events(b))),
    ("a backlog of which nothing is known is not in step", |b| {
        Box::pin(figures::lag_with_a_backlog(b))
    }),
    ("old runs go with their failures, the newest stays", |b| Box::pin(keep::runs(b))),
    ("runs are kept for each job", |b| Box::pin(keep::per_job(b))),
    ("calls are recorded, and end once", |b| Box::pin(keep::audit(b))),
];

/// Runs every case, each with a new store.
///
/// # Panics
/// At the first thing the store does wrong; the case is named on stderr.
pub async fn all(make: impl AsyncFn() -> Arc<dyn Store>) {
    for (name, case) in CASES {
        eprintln!("conformance: {name}");
        case(Bench::new(make().await).await).await;
    }
    for seed in 0..20 {
        eprintln!("conformance: deletes by events are counted once, whatever happens, seed {seed}");
        permits::play(Bench::new(make().await).await, seed).await;
    }
}
