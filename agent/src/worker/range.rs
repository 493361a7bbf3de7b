//! Brings one slice of the key space in step: lists both sides ahead, compares, hands differences to copies, and
//! moves the cursor. Of named keys it looks at each by itself, in their order. One loop owns all state; everything that waits is a task that ends in an [`Event`].

pub(super) mod extra;
mod idle;
mod left;
pub(super) mod named;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::model::{Counters, Extras, FailureClass, Key, KeyRange, Outcome, WorkError};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::careful::{Careful, Next};
use super::context::Context;
use crate::compare::{self, Decision, Found};
use crate::copy::{self, Left, Task};
use crate::scan::cut::Cut;
use crate::scan::frontier::{Frontier, Settled, Ticket};
use crate::scan::merge::{Lane, Merge, Verdict};
use crate::scan::{self, PAGE_KEYS, Page};
use crate::work::{Lost, Orders, Progress};
use named::Named;

/// How long tasks that were told to give up may take to abort what nobody can go on with. What is left open is in the
/// server's records for the next holder.
pub(super) const GIVE_UP_WITHIN: Duration = Duration::from_secs(5);

/// What a task ended with.
enum Event {
    Page(Lane, Result<Page, WorkError>),
    Key(Ticket, Option<Settled>),
    Named(Key, Ticket, Option<Settled>),
    Reported(Result<(), Lost>),
    Cut(Option<Key>),
    Split(Result<(), Lost>),
    Learned,
}

struct Driver {
    context: Arc<Context>,
    merge: Merge,
    /// Keys to look at by name; then nothing is listed.
    named: Option<VecDeque<Key>>,
    /// What is done about them.
    how: Named,
    /// Of keys to delete, which object may be: another stays.
    allowed: BTreeMap<Key, String>,
    /// Of these, those that only the destination has, and that are not reported yet.
    gone: BTreeMap<Key, String>,
    frontier: Frontier,
    careful: Careful,
    /// Uploads that earlier holders left open, of keys that were not come to yet.
    left: BTreeMap<Key, Left>,
    tasks: JoinSet<Event>,
    /// The first key that was joined; tells a cut what keys look like.
    first: Option<Key>,
    /// Keys that a task works on.
    copying: usize,
    /// Some of the extra keys, not reported yet, and how many there were.
    samples: Vec<Key>,
    sampled: usize,
    reporting: bool,
    splitting: bool,
    /// The end of the slice when a cut was asked for.
    split_from: Option<Key>,
    /// The cursor of the last report.
    reported: Option<Key>,
    last_report: Instant,
    ending: Option<Ending>,
}

/// The slice is not gone on with.
struct Ending {
    outcome: Outcome,
    /// When what is in flight is given up, and then when it is dropped.
    deadline: Instant,
    given_up: bool,
}

/// Works on a slice; `cursor` is as the server has it.
pub(super) async fn run(
    context: Arc<Context>,
    range: KeyRange,
    cursor: Option<Key>,
    left: BTreeMap<Key, Left>,
    orders: Orders,
) -> Result<Outcome, Lost> {
    let after = super::remaining(&range, cursor.as_ref());
    let mut driver = Driver::new(context, Merge::new(after, range.until));
    driver.reported = cursor;
    driver.left = left;
    Box::pin(driver.run(orders)).await
}

impl Driver {
    fn new(context: Arc<Context>, merge: Merge) -> Self {
        Self {
            merge,
            named: None,
            how: Named::Look,
            allowed: BTreeMap::new(),
            gone: BTreeMap::new(),
            frontier: Frontier::default(),
            careful: Careful::default(),
            left: BTreeMap::new(),
            tasks: JoinSet::new(),
            first: None,
            copying: 0,
            samples: Vec::new(),
            sampled: 0,
            reporting: false,
            splitting: false,
            split_from: None,
            reported: None,
            last_report: Instant::now(),
            ending: None,
            context,
        }
    }

    async fn run(mut self, mut orders: Orders) -> Result<Outcome, Lost> {
        let mut splits_open = true;
        loop {
            // In this order: what was joined makes room for the next pages.
            self.join();
            self.take_care();
            self.list_ahead();
            self.report_when_due();
            if self.is_over() {
                return self.end().await;
            }
            let next_report = self.last_report + self.context.engine.settings.checkpoint_every;
            let deadline = self.ending.as_ref().map(|ending| ending.deadline);
            let idle = self.idle();
            tokio::select! {
                biased;
                () = orders.stop.cancelled(), if self.ending.is_none() => {
                    self.end_with(Outcome::Yielded);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or(next_report)),
                    if deadline.is_some() => self.give_up(),
                Some(event) = self.tasks.join_next() => self.take(event)?,
                split = orders.split.recv(), if splits_open && !self.splitting => match split {
                    Some(()) => self.begin_split().await,
                    None => splits_open = false,
                },
                () = tokio::time::sleep_until(next_report),
                    if !self.reporting && self.frontier.reportable() > 0 => {}
            }
            self.waited(idle);
        }
    }

    fn spawn(&mut self, task: impl Future<Output = Event> + Send + 'static) {
        self.tasks.spawn(task.in_current_span());
    }

    /// Reads a page ahead on each side: one waits to be joined while the next one is on its way.
    fn list_ahead(&mut self) {
        if self.ending.is_some() || self.named.is_some() {
            return;
        }
        for lane in [Lane::Source, Lane::Destination] {
            if let Some(place) = self.merge.next_page(lane, usize::from(PAGE_KEYS)) {
                let context = Arc::clone(&self.context);
                self.spawn(
                    async move { Event::Page(lane, scan::page(&context, lane, place).await) },
                );
            }
        }
    }

    /// Decides on keys as long as both listings tell and there is room for what they need.
    fn join(&mut self) {
        let most = self.context.engine.settings.copies_per_worker;
        while self.ending.is_none()
            && self.copying < most
            && self.careful.is_free()
            && !self.frontier.is_full()
        {
            if let Some(named) = &mut self.named {
                let Some(key) = named.pop_front() else { break };
                self.look_at(key);
                continue;
            }
            match self.merge.join() {
                Some(Verdict::Extra(found)) => {
                    self.count_extra(found.key);
                }
                Some(Verdict::Listed { source, destination }) => self.decide(source, destination),
                None => break,
            }
        }
        let all = self.named.is_none() && self.merge.done() && self.careful.is_free();
        if self.ending.is_none() && all {
            self.abandon_before(None);
        }
    }

    fn decide(&mut self, source: Found, destination: Option<Found>) {
        if self.first.is_none() {
            self.first = Some(source.key.clone());
        }
        let Found { key, size, modified, .. } = &source;
        let there = destination.is_some() && self.context.filter.lets_key(key);
        let there = Counters { destination_listed: u64::from(there), ..Counters::default() };
        if !self.context.filter.lets(key, *size, *modified) {
            self.pass_by(source.key, Counters { filtered: 1, ..there });
            return;
        }
        let context = &self.context;
        let decision = match &destination {
            None => Decision::Copy,
            Some(found) => compare::decide(context.compare, &source, found, context.kinds()),
        };
        let listed = Counters { listed: 1, ..there };
        match decision {
            Decision::InStep => {
                self.pass_by(source.key, Counters { in_step: 1, ..listed });
            }
            Decision::Copy if source.archived && self.left.is_empty() => {
                let mut settled = copy::archived::settled(&source);
                settled.counters += there;
                self.frontier.add_settled(source.key, settled);
            }
            Decision::Copy | Decision::Ask(_) => {
                let seen = destination.map(|found| found.etag);
                let ask = match decision {
                    Decision::Ask(ask) => Some(ask),
                    Decision::InStep | Decision::Copy => None,
                };
                self.abandon_before(Some(&source.key));
                let left = self.left.remove(&source.key);
                let task = Task { source, seen, ask, left };
                if self.context.careful {
                    self.careful.come_to(task, there);
                } else {
                    self.copy(task, there);
                }
            }
        }
    }

    /// Copies a key; `there` is what is to be counted of the destination.
    fn copy(&mut self, task: Task, there: Counters) {
        let ticket = self.frontier.open(task.source.key.clone());
        let context = Arc::clone(&self.context);
        self.copying += 1;
        self.spawn(async move {
            if context.careful && context.desk.suspect(&task.source.key).await.is_err() {
                return Event::Key(ticket, None);
            }
            let mut settled = copy::settle(&context, task).await;
            if let Some(settled) = &mut settled {
                settled.counters += there;
            }
            Event::Key(ticket, settled)
        });
    }

    /// Careful work: when nothing else is under way and all before it is reported, the next key is worked on.
    fn take_care(&mut self) {
        if self.ending.is_some() || self.copying > 0 || self.reporting {
            return;
        }
        if self.frontier.reportable() > 0 {
            if self.careful.is_free() {
                return;
            }
            return self.report();
        }
        match self.careful.next() {
            Some(Next::Key(task, there)) => self.copy(*task, there),
            Some(Next::Enough) => self.end_with(Outcome::Yielded),
            None => {}
        }
    }

    fn take(&mut self, event: Result<Event, tokio::task::JoinError>) -> Result<(), Lost> {
        match event {
            Ok(Event::Page(lane, page)) => self.take_page(lane, page),
            Ok(Event::Named(key, ticket, settled)) => {
                self.copying -= 1;
                self.take_named(key, ticket, settled);
            }
            Ok(Event::Key(ticket, settled)) => {
                self.copying -= 1;
                if let Some(settled) = settled {
                    self.frontier.settle(ticket, settled);
                }
            }
            Ok(Event::Reported(result)) => {
                self.reporting = false;
                result?;
            }
            Ok(Event::Cut(at)) => self.split_at(at),
            Ok(Event::Split(result)) => {
                self.splitting = false;
                result?;
            }
            Ok(Event::Learned) => {}
            Err(aborted) if aborted.is_cancelled() => {}
            Err(panic) => {
                // The key it worked on stays unsettled; the range is tried again, elsewhere if need be.
                tracing::error!(%panic, "a task of the worker died");
                self.tasks.abort_all();
                self.end_with(Outcome::Errored(WorkError {
                    class: FailureClass::Transient,
                    code: "worker_died".to_owned(),
                    message: "a task of the worker died".to_owned(),
                }));
                self.give_up();
            }
        }
        Ok(())
    }

    fn take_page(&mut self, lane: Lane, page: Result<Page, WorkError>) {
        let fed = page.and_then(|page| {
            self.merge.feed(lane, page.found, page.next).map_err(|error| scan::unordered(&error))
        });
        if let Err(error) = fed {
            if error.code == "unordered_listing" {
                self.mark_unordered(lane);
            }
            self.end_with(Outcome::Errored(error));
        }
    }

    fn report_when_due(&mut self) {
        let settings = &self.context.engine.settings;
        let keys = self.frontier.reportable();
        let due = keys >= settings.checkpoint_keys
            || self.frontier.report_is_full()
            || (keys > 0 && self.last_report.elapsed() >= settings.checkpoint_every);
        if !self.reporting && due {
            self.report();
        }
    }

    fn report(&mut self) {
        if let Some(progress) = self.progress(Outcome::Checkpoint) {
            let context = Arc::clone(&self.context);
            self.reporting = true;
            self.last_report = Instant::now();
            self.spawn(async move { Event::Reported(context.desk.report(progress).await) });
        }
    }

    /// The next report, when there is something to report.
    fn progress(&mut self, outcome: Outcome) -> Option<Progress> {
        let settled = self.frontier.take()?;
        let mut counters = settled.counters;
        let (requests, usage) = self.context.meter.take();
        counters += requests;
        let previous_cursor = self.reported.replace(settled.cursor.clone());
        let cursor = Some(settled.cursor);
        let gone = self.gone_up_to(cursor.as_ref());
        let samples = std::mem::take(&mut self.samples);
        let extras = Extras { samples, gone, usage, ..Extras::default() };
        let failures = settled.failures;
        Some(Progress { outcome, previous_cursor, cursor, counters, failures, extras })
    }

    async fn begin_split(&mut self) {
        let listed = self.merge.listed().cloned();
        let (Some(first), Some(listed)) = (self.first.clone(), listed) else {
            return self.context.desk.decline_split("nothing is listed yet").await;
        };
        if self.ending.is_some() || self.context.careful || self.merge.ended(Lane::Source) {
            return self.context.desk.decline_split("little is left").await;
        }
        self.splitting = true;
        let until = self.merge.until().cloned();
        self.split_from = until.clone();
        let context = Arc::clone(&self.context);
        self.spawn(async move {
            let cut = Cut::new(&first, &listed, until.as_ref());
            Event::Cut(scan::find_cut(&context, cut, until).await)
        });
    }

    /// Stops at the cut first, then tells: whatever becomes of the proposal, nobody does a key twice.
    fn split_at(&mut self, at: Option<Key>) {
        let until = self.split_from.take();
        let context = Arc::clone(&self.context);
        let at = at.filter(|at| self.ending.is_none() && self.merge.stop_at(at));
        if let Some(at) = &at {
            // With the keys above the cut go the uploads at them.
            self.left.retain(|key, _| key <= at);
        }
        self.spawn(async move {
            Event::Split(match at {
                Some(at) => context.desk.propose_split(&at, until.as_ref()).await,
                None => {
                    context.desk.decline_split("nothing worth a cut is left").await;
                    Ok(())
                }
            })
        });
    }

    fn end_with(&mut self, outcome: Outcome) {
        if self.ending.is_none() {
            let deadline = Instant::now() + self.context.engine.settings.patience;
            self.ending = Some(Ending { outcome, deadline, given_up: false });
        }
    }

    fn give_up(&mut self) {
        self.context.give_up.cancel();
        if let Some(ending) = &mut self.ending {
            if ending.given_up {
                self.tasks.abort_all();
            }
            ending.given_up = true;
            ending.deadline = Instant::now() + GIVE_UP_WITHIN;
        }
    }

    fn is_over(&self) -> bool {
        match &self.ending {
            Some(_) => self.tasks.is_empty(),
            None => {
                let fed = self.named.as_ref().map_or_else(|| self.merge.done(), VecDeque::is_empty);
                let settled = fed && self.copying == 0 && self.careful.is_free();
                settled && !self.splitting && !self.reporting
            }
        }
    }

    /// Reports what is settled and how the slice ended.
    async fn end(mut self) -> Result<Outcome, Lost> {
        self.tasks.shutdown().await;
        let ending = self.ending.take();
        while self.frontier.report_is_full() || (ending.is_none() && self.frontier.reportable() > 0)
        {
            let Some(progress) = self.progress(Outcome::Checkpoint) else { break };
            self.context.desk.report(progress).await?;
        }
        let outcome = ending.map_or(Outcome::Completed, |ending| ending.outcome);
        let previous_cursor = self.reported.clone();
        let mut last = self.progress(outcome.clone()).unwrap_or_else(|| Progress {
            previous_cursor: previous_cursor.clone(),
            cursor: previous_cursor,
            ..Progress::without_keys(outcome.clone(), &self.context.meter)
        });
        if outcome == Outcome::Completed {
            last.cursor = self.merge.until().cloned();
        }
        self.context.desk.report(last).await?;
        Ok(outcome)
    }
}
