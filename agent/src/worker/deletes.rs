//! Deletes the keys of one slice that the destination has and the source does not, or only counts them: a merge-join of
//! both listings again, one batch after the other. A batch is named in a report before it is sent to S3, and only once
//! that report is on the server's disk anything of it is deleted: so no more goes than was allowed, whoever dies when.

use std::collections::VecDeque;
use std::sync::Arc;

use s3sync_proto::model::{
    Counters, DeleteWork, Extras, Failure, FailureClass, Key, MAX_DELETING, Outcome, WorkError,
};
use tokio::time::Instant;

use super::careful::ENOUGH;
use super::context::Context;
use super::range::GIVE_UP_WITHIN;
use super::range::extra::MAX_SAMPLES;
use crate::compare::Found;
use crate::delete;
use crate::scan::frontier::Settled;
use crate::scan::merge::{Lane, Merge, Verdict};
use crate::scan::{self, Page, Place};
use crate::work::{Lost, Orders, Progress};

/// A listing that does not say what it lists proves nothing.
const ODD_LISTING: &str = "odd_listing";

struct Pass {
    context: Arc<Context>,
    count_only: bool,
    unconditional: bool,
    merge: Merge,
    /// Keys above the cursor that an earlier holder may have deleted.
    earlier: VecDeque<Key>,
    /// What was joined beyond them.
    pending: Option<Verdict>,
    /// The cursor of the last report, and what is to be told in the next.
    reported: Option<Key>,
    told: Told,
    sampled: usize,
    /// Keys that were worked on carefully.
    worked_on: u32,
    last_report: Instant,
}

/// What is settled and not reported yet.
#[derive(Default)]
struct Told {
    cursor: Option<Key>,
    keys: u64,
    counters: Counters,
    failures: Vec<Failure>,
    samples: Vec<Key>,
}

/// What was joined and is not settled yet.
#[derive(Default)]
struct Step {
    /// To delete.
    batch: Vec<Found>,
    /// Perhaps deleted by an earlier holder, and at the source again.
    back: Vec<Key>,
    /// Keys that an earlier holder was about to delete.
    named: Vec<Key>,
    /// What is known of the others.
    counters: Counters,
    samples: Vec<Key>,
    /// The last key that was joined.
    end: Option<Key>,
    keys: u64,
}

/// Works on a slice.
pub(super) async fn run(
    context: Arc<Context>,
    work: DeleteWork,
    orders: Orders,
) -> Result<Outcome, Lost> {
    let DeleteWork { range, cursor, count_only, unconditional, deleting } = work;
    let after = super::remaining(&range, cursor.as_ref());
    let pass = Pass {
        count_only,
        unconditional,
        merge: Merge::new(after, range.until),
        earlier: deleting
            .into_iter()
            .filter(|key| cursor.as_ref().is_none_or(|c| key > c))
            .collect(),
        pending: None,
        reported: cursor.clone(),
        told: Told { cursor, ..Told::default() },
        sampled: 0,
        worked_on: 0,
        last_report: Instant::now(),
        context,
    };
    Box::pin(pass.run(orders)).await
}

impl Pass {
    async fn run(mut self, mut orders: Orders) -> Result<Outcome, Lost> {
        loop {
            if orders.split.try_recv().is_ok() {
                self.context.desk.decline_split("deletes are not cut").await;
            }
            if orders.stop.is_cancelled() {
                return self.end(Outcome::Yielded).await;
            }
            let mut step = Step::default();
            let gathered = tokio::select! {
                biased;
                () = orders.stop.cancelled() => Err(Outcome::Yielded),
                gathered = self.gather(&mut step) => gathered.map_err(Outcome::Errored),
            };
            if let Err(outcome) = gathered {
                self.restore(&step);
                return self.end(outcome).await;
            }
            let settled = if step.work() == 0 {
                Vec::new()
            } else {
                self.report(Outcome::Checkpoint, &step).await?;
                self.take_care(&step).await?;
                match self.execute(&step, &orders).await {
                    Some(settled) => settled,
                    None => {
                        self.restore(&step);
                        return self.end(Outcome::Yielded).await;
                    }
                }
            };
            self.settled(step, settled);
            if self.is_done() {
                return self.end(Outcome::Completed).await;
            }
            if self.worked_on >= ENOUGH {
                return self.end(Outcome::Yielded).await;
            }
            let settings = self.context.engine.settings;
            let due = self.told.keys >= settings.checkpoint_keys
                || self.last_report.elapsed() >= settings.checkpoint_every;
            if due {
                self.report(Outcome::Checkpoint, &Step::default()).await?;
            }
        }
    }

    /// Joins until a batch is full, a report is due, or the slice ends.
    async fn gather(&mut self, step: &mut Step) -> Result<(), WorkError> {
        let settings = self.context.engine.settings;
        let began = Instant::now();
        // Where agents have died, the death of one more is to tell the key.
        let most = if self.context.careful { 1 } else { MAX_DELETING };
        loop {
            while step.work() < most {
                let Some(verdict) = self.pending.take().or_else(|| self.merge.join()) else {
                    break;
                };
                if self.earlier.back().is_some_and(|last| key_of(&verdict) > last) {
                    // What was named before is settled by itself, so that no report names more than one batch.
                    self.pending = Some(verdict);
                    self.all_gone(step);
                    return Ok(());
                }
                self.note(step, verdict);
            }
            if self.is_done() {
                self.all_gone(step);
                return Ok(());
            }
            let full = step.work() >= most;
            let enough = step.keys >= settings.checkpoint_keys
                || began.elapsed() >= settings.checkpoint_every;
            if full || (enough && step.end.is_some()) {
                return Ok(());
            }
            self.read().await?;
        }
    }

    /// Reads the next page of each side that the join waits for.
    async fn read(&mut self) -> Result<(), WorkError> {
        let context = Arc::clone(&self.context);
        let source = self.merge.next_page(Lane::Source, 1);
        let destination = self.merge.next_page(Lane::Destination, 1);
        let page = |lane, place: Option<Place>| {
            let context = &context;
            async move {
                match place {
                    Some(place) => scan::page(context, lane, place).await.map(Some),
                    None => Ok(None),
                }
            }
        };
        let (source, destination) =
            tokio::join!(page(Lane::Source, source), page(Lane::Destination, destination));
        self.feed(Lane::Source, source?)?;
        self.feed(Lane::Destination, destination?)
    }

    fn feed(&mut self, lane: Lane, page: Option<Page>) -> Result<(), WorkError> {
        let Some(page) = page else { return Ok(()) };
        if !page.exact {
            return Err(WorkError {
                class: FailureClass::Transient,
                code: ODD_LISTING.to_owned(),
                message: format!(
                    "the listing of the {} does not say what it lists, so nothing is deleted by it",
                    lane.name()
                ),
            });
        }
        self.merge.feed(lane, page.found, page.next).map_err(|error| scan::unordered(&error))
    }

    /// Notes what is to be done about a key.
    fn note(&mut self, step: &mut Step, verdict: Verdict) {
        let key = key_of(&verdict).clone();
        while let Some(gone) = self.earlier.pop_front_if(|earlier| *earlier < key) {
            step.gone(gone);
        }
        // What an earlier holder was about to delete comes before anything new: extra keys among it are younger than
        // the count that was passed, and left to the next run.
        let was_named = self.earlier.pop_front_if(|earlier| *earlier == key).is_some();
        step.named.extend(was_named.then(|| key.clone()));
        let among_earlier = !was_named && !self.earlier.is_empty();
        step.keys += 1;
        step.end = Some(key.clone());
        let in_scope = self.context.filter.lets_key(&key);
        match verdict {
            Verdict::Extra(_) if in_scope && self.count_only => {
                step.counters.extra += 1;
                step.counters.destination_listed += 1;
                if self.sampled < MAX_SAMPLES {
                    self.sampled += 1;
                    step.samples.push(key);
                }
            }
            Verdict::Extra(found) if in_scope && !among_earlier => step.batch.push(found),
            Verdict::Extra(_) => {}
            Verdict::Listed { destination: None, .. } if was_named => {
                step.counters.deleted += 1;
                step.back.push(key);
            }
            Verdict::Listed { destination, .. } => {
                let there = u64::from(destination.is_some() && in_scope && self.count_only);
                step.counters.destination_listed += there;
            }
        }
    }

    /// Careful work: its one key is named once all before it is reported.
    async fn take_care(&mut self, step: &Step) -> Result<(), Lost> {
        let Some(key) = step.batch.first().map(|found| &found.key).or(step.back.first()) else {
            return Ok(());
        };
        if self.context.careful {
            self.worked_on += 1;
            self.context.desk.suspect(key).await?;
        }
        Ok(())
    }

    /// Deletes the batch and brings back what is to be. `None`: it was told to stop, and not all is settled.
    async fn execute(&self, step: &Step, orders: &Orders) -> Option<Vec<Settled>> {
        let context = &self.context;
        let work = async {
            let (batch, back) = (step.batch.clone(), step.back.clone());
            let mut settled =
                delete::settle(Arc::clone(context), batch, self.unconditional).await?;
            settled.extend(delete::bring_back_all(Arc::clone(context), back).await?);
            Some(settled)
        };
        let patience = async {
            orders.stop.cancelled().await;
            tokio::time::sleep(context.engine.settings.patience).await;
            context.give_up.cancel();
            tokio::time::sleep(GIVE_UP_WITHIN).await;
        };
        tokio::select! {
            biased;
            settled = work => settled,
            () = patience => None,
        }
    }

    /// Takes over what a step came to.
    fn settled(&mut self, step: Step, settled: Vec<Settled>) {
        let told = &mut self.told;
        told.counters += step.counters;
        for Settled { mut counters, failure, object: _ } in settled {
            // It was counted by the scan.
            counters.extra = 0;
            told.counters += counters;
            told.failures.extend(failure);
        }
        told.samples.extend(step.samples);
        told.keys += step.keys;
        told.cursor = step.end.or(told.cursor.take());
    }

    /// What a step was to do is to be done by the next holder.
    fn restore(&mut self, step: &Step) {
        self.earlier = self.named(step).into();
    }

    /// Reports what is settled, and what is about to be deleted.
    async fn report(&mut self, outcome: Outcome, step: &Step) -> Result<(), Lost> {
        let told = std::mem::take(&mut self.told);
        self.told.cursor.clone_from(&told.cursor);
        let deleting = self.named(step);
        let mut counters = told.counters;
        let (requests, usage) = self.context.meter.take();
        counters += requests;
        let completed = outcome == Outcome::Completed;
        let cursor = if completed { self.merge.until().cloned() } else { told.cursor };
        let progress = Progress {
            outcome,
            previous_cursor: self.reported.clone(),
            cursor: cursor.clone(),
            counters,
            failures: told.failures,
            extras: Extras { deleting, samples: told.samples, usage, ..Extras::default() },
        };
        self.reported = cursor;
        self.last_report = Instant::now();
        self.context.desk.report(progress).await
    }

    /// All keys above the cursor that may have been deleted, or will be.
    fn named(&self, step: &Step) -> Vec<Key> {
        let batch = step.batch.iter().map(|found| &found.key);
        let mut named: Vec<Key> = batch.chain(&step.named).chain(&self.earlier).cloned().collect();
        named.sort();
        named.dedup();
        named
    }

    fn is_done(&self) -> bool {
        self.merge.done() && self.pending.is_none()
    }

    /// Nothing is left of what an earlier holder was about to delete.
    fn all_gone(&mut self, step: &mut Step) {
        while let Some(key) = self.earlier.pop_front() {
            step.gone(key);
        }
    }

    async fn end(mut self, outcome: Outcome) -> Result<Outcome, Lost> {
        self.report(outcome.clone(), &Step::default()).await?;
        Ok(outcome)
    }
}

fn key_of(verdict: &Verdict) -> &Key {
    match verdict {
        Verdict::Listed { source, .. } => &source.key,
        Verdict::Extra(found) => &found.key,
    }
}

impl Step {
    /// How many keys are to be worked on.
    fn work(&self) -> usize {
        self.batch.len() + self.back.len()
    }

    /// An earlier holder deleted this key.
    fn gone(&mut self, key: Key) {
        self.counters.deleted += 1;
        self.keys += 1;
        self.end = self.end.take().max(Some(key.clone()));
        self.named.push(key);
    }
}
