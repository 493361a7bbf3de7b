//! Looks at a slice of the key space as a scan does, and says what a run would do: the same listings, the same join, the
//! same questions. Nothing is written: the stores refuse it, and the desk lets no commit begin.
//!
//! Keys are looked at side by side and counted in their order, so that what is counted always ends at one key, after
//! which somebody else can go on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use s3sync_proto::model::{
    CopyWay, Difference, FailureClass, Key, KeyRange, Matcher, NextStep, PlanAsk, PlanPart, Work,
    WorkError,
};
use tokio::time::{Instant, sleep_until, timeout};

use crate::compare::{self, Decision, Found};
use crate::copy::Task;
use crate::copy::plan::{Fate, Planned, plan};
use crate::s3::read_only::ReadOnly;
use crate::scan::cut::Cut;
use crate::scan::merge::{Lane, Merge, Verdict};
use crate::scan::{self, PAGE_KEYS, Page};
use crate::work::NoDesk;
use crate::worker::context::Context;
use crate::worker::{Engine, Sides, remaining};

/// Keys that wait for an answer, or to be counted behind one that does.
const AT_ONCE: usize = 64;

/// After its time is over, this long is waited for what has been asked.
const GRACE: Duration = Duration::from_secs(10);

/// How long a cut may be searched for.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of differences after which no further keys are begun. With those that are under way it stays below half of what
/// one message may have.
const MAX_DIFFERENCE_BYTES: usize = 256 * 1024;

/// Longest reason, in bytes.
const MAX_REASON: usize = 400;

/// What was found of one key.
enum Finding {
    InStep,
    Filtered,
    Extra(Found),
    /// On the destination alone, and the filter leaves it out.
    Ignored,
    Planned(Planned, &'static str),
}

struct Looked {
    key: Key,
    /// Whether the source and the destination listed it.
    listed: [bool; 2],
    found: Finding,
}

struct Survey {
    context: Arc<Context>,
    merge: Merge,
    pages: FuturesUnordered<BoxFuture<'static, (Lane, Result<Page, WorkError>)>>,
    looking: FuturesOrdered<BoxFuture<'static, Looked>>,
    /// The first key of the slice that was joined.
    first: Option<Key>,
    begun: u64,
    bytes: usize,
    differences: bool,
    part: PlanPart,
}

/// Looks at as much of a slice as its bounds allow.
///
/// # Errors
/// When a listing fails, or the slice is none, or its filter is not known.
pub(crate) async fn survey(
    ask: PlanAsk,
    sides: Sides,
    engine: Arc<Engine>,
) -> Result<PlanPart, WorkError> {
    let PlanAsk { work, max_keys, time, cut, differences } = ask;
    let refuse = |message: String| {
        let code = "unsupported".to_owned();
        WorkError { class: FailureClass::Permanent, code, message }
    };
    let Work::Range { range, cursor } = &work.work else {
        return Err(refuse("only ranges are planned".to_owned()));
    };
    let filter = Matcher::new(&work.filter).map_err(|problem| refuse(problem.to_string()))?;
    let sides = Sides {
        source: Arc::new(ReadOnly::new(sides.source, work.source.bucket.clone())),
        destination: Arc::new(ReadOnly::new(
            sides.destination,
            work.destination.location.bucket.clone(),
        )),
        server_side: sides.server_side,
    };
    let context = Arc::new(Context::new(&work, filter, sides, Arc::new(NoDesk), engine));
    let mut survey = Survey::new(context, range, cursor.as_ref(), differences);
    survey.look_until(Instant::now() + time, max_keys.max(1)).await?;
    let cut = if cut { survey.cut().await } else { None };
    Ok(PlanPart { cut, ..survey.part })
}

impl Survey {
    fn new(
        context: Arc<Context>,
        range: &KeyRange,
        cursor: Option<&Key>,
        differences: bool,
    ) -> Self {
        let after = remaining(range, cursor);
        Self {
            context,
            merge: Merge::new(after, range.until.clone()),
            pages: FuturesUnordered::new(),
            looking: FuturesOrdered::new(),
            first: None,
            begun: 0,
            bytes: 0,
            differences,
            part: PlanPart::default(),
        }
    }

    async fn look_until(&mut self, deadline: Instant, max_keys: u64) -> Result<(), WorkError> {
        let mut over = false;
        loop {
            over |= self.begun >= max_keys || self.bytes >= MAX_DIFFERENCE_BYTES;
            if !over {
                over = self.begin(max_keys);
                self.list_ahead();
            }
            let done = self.merge.done() && self.looking.is_empty();
            if done || (over && self.looking.is_empty()) {
                self.part.completed = self.merge.done();
                return Ok(());
            }
            // Who has found nothing yet would only be asked the same again.
            let found = self.part.cursor.is_some();
            let until = if over || !found { deadline + GRACE } else { deadline };
            tokio::select! {
                biased;
                Some(looked) = self.looking.next() => self.count(looked),
                Some((lane, page)) = self.pages.next(), if !over => self.feed(lane, page)?,
                () = sleep_until(until) => {
                    // What hangs is left to the next one.
                    let late = Instant::now() >= deadline + GRACE;
                    if late {
                        return Ok(());
                    }
                    over = true;
                }
            }
        }
    }

    /// Reads a page ahead on each side.
    fn list_ahead(&mut self) {
        for lane in [Lane::Source, Lane::Destination] {
            if let Some(place) = self.merge.next_page(lane, usize::from(PAGE_KEYS)) {
                let context = Arc::clone(&self.context);
                self.pages.push(Box::pin(async move {
                    let page = scan::page(&context, lane, place).await;
                    (lane, page)
                }));
            }
        }
    }

    fn feed(&mut self, lane: Lane, page: Result<Page, WorkError>) -> Result<(), WorkError> {
        let page = page?;
        self.merge.feed(lane, page.found, page.next).map_err(|error| scan::unordered(&error))
    }

    /// Begins with as many keys as there is room for; whether no more are to be begun.
    fn begin(&mut self, max_keys: u64) -> bool {
        while self.looking.len() < AT_ONCE {
            if self.begun >= max_keys || self.bytes >= MAX_DIFFERENCE_BYTES {
                return true;
            }
            let Some(verdict) = self.merge.join() else { return false };
            self.begun += 1;
            match self.decide(verdict) {
                Step::Known(looked) if self.looking.is_empty() => self.count(looked),
                Step::Known(looked) => {
                    self.looking.push_back(Box::pin(std::future::ready(looked)));
                }
                Step::Ask(looking) => self.looking.push_back(looking),
            }
        }
        false
    }

    fn decide(&mut self, verdict: Verdict) -> Step {
        let context = &self.context;
        let (source, destination) = match verdict {
            Verdict::Listed { source, destination } => (source, destination),
            Verdict::Extra(found) => {
                let key = found.key.clone();
                let counts = context.filter.lets_key(&key);
                let found = if counts { Finding::Extra(found) } else { Finding::Ignored };
                return Step::Known(Looked { key, listed: [false, true], found });
            }
        };
        if self.first.is_none() {
            self.first = Some(source.key.clone());
        }
        let key = source.key.clone();
        let listed = [true, destination.is_some()];
        let known = |found| Step::Known(Looked { key: key.clone(), listed, found });
        if !context.filter.lets(&key, source.size, source.modified) {
            return known(Finding::Filtered);
        }
        let (decision, why) = match &destination {
            None => (Decision::Copy, "the destination does not have it"),
            Some(there) => {
                let (decision, why) =
                    compare::decide_why(context.compare, &source, there, context.kinds());
                (decision, why.text())
            }
        };
        let ask = match decision {
            Decision::InStep => return known(Finding::InStep),
            Decision::Copy if source.archived => {
                let planned = Planned { source, fate: Fate::Archived, reads: 0, writes: 0 };
                return known(Finding::Planned(planned, why));
            }
            Decision::Copy => None,
            Decision::Ask(ask) => Some(ask),
        };
        let task = Task { source, seen: destination.map(|there| there.etag), ask, left: None };
        let context = Arc::clone(context);
        Step::Ask(Box::pin(async move {
            let planned = plan(&context, task).await;
            Looked { key, listed, found: Finding::Planned(planned, why) }
        }))
    }

    /// Counts a key, and moves the cursor to it.
    fn count(&mut self, looked: Looked) {
        let Looked { key, listed: [source, destination], found } = looked;
        let tally = &mut self.part.tally;
        tally.source_keys += u64::from(source);
        tally.destination_keys += u64::from(destination);
        tally.destination_in_scope += u64::from(destination && self.context.filter.lets_key(&key));
        let difference = match found {
            Finding::InStep => {
                tally.listed += 1;
                tally.in_step += 1;
                None
            }
            Finding::Filtered => {
                tally.filtered += 1;
                None
            }
            Finding::Ignored => None,
            Finding::Extra(found) => {
                tally.extra.add(&key, found.size);
                let reason = "the source does not have it";
                Some((NextStep::Delete, reason.to_owned(), found.size, None))
            }
            Finding::Planned(planned, why) => self.planned(planned, why),
        };
        if let Some((next, reason, size, way)) = difference.filter(|_| self.differences) {
            let reason = shortened(reason);
            self.bytes += key.as_bytes().len() + reason.len();
            let key = key.clone();
            // Which destination it is of, the server knows.
            self.part.differences.push(Difference { destination: 0, key, next, reason, size, way });
        }
        self.part.cursor = Some(key);
    }

    fn planned(
        &mut self,
        planned: Planned,
        why: &str,
    ) -> Option<(NextStep, String, u64, Option<CopyWay>)> {
        let Planned { source, fate, reads, writes } = planned;
        let Found { key, size, .. } = source;
        let tally = &mut self.part.tally;
        tally.listed += 1;
        tally.read_requests += reads;
        tally.write_requests += writes;
        let why = why.to_owned();
        match fate {
            Fate::InStep => {
                tally.in_step += 1;
                None
            }
            Fate::Vanished => {
                tally.vanished += 1;
                None
            }
            Fate::Copy(way) => {
                tally.copies.entry(way).or_default().add(&key, size);
                let repaired = "the bytes are in step, and what it carries is not";
                let why = if way == CopyWay::Repair { repaired.to_owned() } else { why };
                Some((NextStep::Copy, why, size, Some(way)))
            }
            Fate::Archived => {
                tally.archived.add(&key, size);
                let reason = "it is archived and must be restored before it can be read";
                Some((NextStep::Archived, reason.to_owned(), size, None))
            }
            Fate::Fail(failure) => {
                tally.failing.add(&key, size);
                let reason = format!("{}: {}", failure.code, failure.message);
                Some((NextStep::Fail, reason, size, None))
            }
        }
    }

    /// A key that about halves what is left. `None`: little is left, or it cannot be told.
    async fn cut(&mut self) -> Option<Key> {
        if self.part.completed || self.merge.ended(Lane::Source) {
            return None;
        }
        let (first, listed) = (self.first.as_ref()?, self.merge.listed()?);
        let until = self.merge.until().cloned();
        let cut = Cut::new(first, listed, until.as_ref());
        let context = Arc::clone(&self.context);
        let cut = timeout(CUT_WITHIN, scan::find_cut(&context, cut, until)).await.ok().flatten()?;
        self.part.cursor.as_ref().is_none_or(|cursor| cut > *cursor).then_some(cut)
    }
}

/// What the listings alone tell of a key, or a look that tells the rest.
enum Step {
    Known(Looked),
    Ask(BoxFuture<'static, Looked>),
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}
