//! Brings one key in step: asks for the stamp where listings cannot tell, copies, and looks again whenever something
//! changed under it. What one key meets never reaches another: each ends settled, or unsettled when the worker is
//! told to let go.

pub mod choose;
pub mod digest;
pub(crate) mod named;

pub(crate) mod archived;
mod ask;
pub(crate) mod body;
mod carry;
mod fail;
mod look;
mod parts;
pub(crate) mod plan;
mod resume;
mod server_side;
mod single;
pub(crate) mod trace;
mod upload;
mod way;

pub(crate) use fail::{failure, failure_class, work_error};
pub(crate) use look::{head, is_copy_of};
pub(crate) use resume::{Left, abandon, sort};
pub(crate) use upload::abort_left;
pub(crate) use way::route;

use std::sync::{Arc, Mutex, PoisonError};

use s3sync_proto::model::{CompareMode, Counters, Failure, Timestamp};

use crate::clock;
use crate::compare::{Ask, Found};
use crate::limits::Permit;
use crate::retry::{self, Next, Tries};
use crate::s3::{Class, Condition, Error, HeadRequest, Object, Operation};
use crate::scan::frontier::Settled;
use crate::work::Lost;
use crate::worker::context::Context;
use crate::worker::side::{Failed, Side};
use ask::Answer;
use choose::Route;
use parts::Course;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use trace::Why;

/// When a write is answered later than this after the source was last known to be what was copied, the source is looked at
/// again. It may have become what the destination was before the write: whoever looked in between found both in step.
const LOOK_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(10);

/// A key to bring in step.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// At the source.
    pub(crate) source: Found,
    /// ETag at the destination; `None` when there was nothing.
    pub(crate) seen: Option<String>,
    /// What to ask before it is copied, since it may be in step.
    pub(crate) ask: Option<Ask>,
    /// An upload that an earlier holder left open.
    pub(crate) left: Option<Left>,
}

/// What a copy works with. The source is the version that is copied; every read is pinned to it.
pub(crate) struct State {
    pub(crate) source: Found,
    /// ETag that was seen at the destination before the source was read.
    pub(crate) seen: Option<String>,
    /// Stamp the copy even if ETags look comparable.
    pub(crate) stamp: bool,
    /// What the destination refused.
    pub(crate) refused: Refused,
    /// A write may have had its effect although its answer was an error.
    pub(crate) ambiguous: bool,
    /// The source's tags could not be read, so the copy has none.
    pub(crate) tags_unread: bool,
    /// What to ask first.
    ask: Option<Ask>,
    /// An upload that an earlier holder left open: gone on with, or aborted before anything else is written.
    left: Option<Left>,
    /// What the source carries, when the destination's bytes were in step and that was not.
    carried: Option<Box<ask::Carried>>,
    /// The source as it is being read already, of the version that is copied. The lock is never contended: a stream
    /// alone cannot be shared between threads, and a state is.
    opened: Mutex<Option<Opened>>,
}

/// A read that has begun, with all it holds.
pub(crate) struct Opened {
    object: Object,
    body: crate::s3::Body,
    /// Permits for the read and perhaps for the write that follows.
    permits: Vec<Permit>,
    bytes: OwnedSemaphorePermit,
    /// When it was asked for: the source was what is read then, or later.
    asked: Instant,
}

/// What a destination does not know, or may not know; left out from then on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    pub(crate) checksums: bool,
    /// A checksum that was to be streamed was refused by name, not by what could be a byte that changed on the way.
    pub(crate) trailers: bool,
    pub(crate) conditions: bool,
    /// How often it refused something, while no checksum was sent.
    times: u32,
}

/// A copy that was made.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// ETag at the destination.
    pub(crate) etag: String,
    pub(crate) bytes: u64,
    pub(crate) by: By,
    /// Whether the source may have become something else before the write, with nobody left to notice.
    pub(crate) look_again: bool,
    /// Whether only what the object carries was brought in step.
    pub(crate) repaired: bool,
    /// Whether the source's tags could not be read.
    pub(crate) tags_unread: bool,
}

/// Who moved the bytes of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// This agent, by one GET and one PUT.
    #[default]
    Agent,
    /// This agent, in parts.
    AgentParts,
    /// S3, by one CopyObject.
    Copy,
    /// S3, by copies of parts.
    PartCopies,
}

/// Why a copy was not made.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The assignment is lost.
    Lost,
    /// The worker lets go.
    GivenUp,
    /// The source is not there any more.
    Vanished,
    /// One of the sides is not what it was.
    Changed(Box<Error>),
    /// It was written, as this ETag, but cannot be compared: write it again with a stamp.
    Unstamped(String),
    /// It is to be tried in another way at once.
    OtherWay,
    /// A request failed; not tried again yet.
    Failed(Box<Error>),
    /// A request failed as often as it is tried.
    Spent(Failed),
}

/// What became of a key.
#[derive(Debug)]
pub(crate) enum End {
    /// In step; whether its tags could not be read.
    InStep(bool),
    Copied(Copied),
    Vanished,
    Archived(Box<Failure>),
    Failed(Box<Failure>),
}

/// Brings a key in step. `None`: it stays unsettled, since the assignment was lost or given up.
pub(crate) async fn settle(context: &Arc<Context>, task: Task) -> Option<Settled> {
    let key = task.source.key.clone();
    let plain = context.destination.known.plain();
    let state = State::new(task, plain);
    let work = async { bring_in_step(context, state).await.map(|end| settled(context, end)) };
    trace::settle(Why::Listed, &key, work).await
}

/// What an end adds to a report.
fn settled(context: &Context, end: End) -> Settled {
    let mut counters = Counters { listed: 1, ..Counters::default() };
    let mut failure = None;
    match end {
        End::InStep(tags_unread) => {
            counters.in_step = 1;
            counters.tags_unread = u64::from(tags_unread);
        }
        End::Copied(copied) => {
            counters.copied = 1;
            counters.copied_bytes = copied.bytes;
            way::count(copied.by, copied.bytes, &mut counters);
            let refused = counters.copied_server_side == 0 && context.server_side_refused();
            counters.server_side_refused = u64::from(refused);
            context.meter.copied();
            counters.repaired = u64::from(copied.repaired);
            counters.tags_unread = u64::from(copied.tags_unread);
        }
        End::Vanished => counters.vanished = 1,
        End::Archived(archived) => {
            counters.archived = 1;
            failure = Some(*archived);
        }
        End::Failed(failed) => {
            counters.failed = 1;
            failure = Some(*failed);
        }
    }
    Settled { counters, failure, object: String::new() }
}

async fn bring_in_step(context: &Arc<Context>, mut state: State) -> Option<End> {
    let end = try_until_end(context, &mut state).await?;
    // The record goes with the key.
    state.abandon_left(context).await;
    Some(end)
}

async fn try_until_end(context: &Arc<Context>, state: &mut State) -> Option<End> {
    let mut tries = Tries::default();
    let mut looks = 0;
    let mut first_failed: Option<Timestamp> = None;
    let mut look_first = false;
    loop {
        if context.give_up.is_cancelled() {
            return None;
        }
        let attempt = attempt(context, state, look_first).await;
        look_first = false;
        let fault = match attempt {
            Ok(end) => return Some(end),
            Err(fault) => fault,
        };
        // How often it was tried, when that was often enough.
        let (error, next, spent) = match fault {
            Fault::Lost | Fault::GivenUp => return None,
            Fault::Vanished => return Some(End::Vanished),
            Fault::OtherWay => continue,
            Fault::Unstamped(etag) => {
                state.seen = Some(etag);
                (state.stamp, state.ask) = (true, None);
                continue;
            }
            Fault::Changed(error) => {
                looks += 1;
                (look_first, state.ask) = (true, None);
                (error, retry::changed(looks, fastrand::f64()), looks)
            }
            Fault::Failed(error) => {
                let next = tries.failed(error.class, fastrand::f64());
                (error, next, tries.failed)
            }
            Fault::Spent(Failed { error, attempts }) => (error, Next::GiveUp, attempts),
        };
        let first = *first_failed.get_or_insert_with(clock::now);
        if error.class == Class::Archived {
            let failure = failure(&state.source.key, &error, spent, first);
            return Some(End::Archived(Box::new(failure)));
        }
        match next {
            Next::Wait(wait) => context.side_of(&error).pause(error.class, wait).await,
            Next::GiveUp => {
                let failure = failure(&state.source.key, &error, spent, first);
                return Some(End::Failed(Box::new(failure)));
            }
        }
    }
}

async fn attempt(
    context: &Arc<Context>,
    state: &mut State,
    look_first: bool,
) -> Result<End, Fault> {
    if look_first && look::again(context, state).await? {
        // Our own write whose answer was lost, or that of another holder of the same range.
        if state.ambiguous {
            return Ok(End::Copied(Copied {
                etag: state.seen.clone().unwrap_or_default(),
                bytes: state.source.size,
                by: if context.server_side() { By::Copy } else { By::Agent },
                tags_unread: state.tags_unread,
                ..Copied::default()
            }));
        }
        if context.compare != CompareMode::Full {
            return Ok(End::InStep(false));
        }
        state.ask = Some(Ask::Carried);
    }
    let answer = match state.ask {
        Some(ask) => ask::answer(context, state, ask).await?,
        None => Answer::Copy,
    };
    state.ask = None;
    let retried = state.ambiguous;
    let copied = match answer {
        Answer::InStep => return Ok(End::InStep(state.tags_unread)),
        Answer::Repaired(copied) => copied,
        Answer::Copy if state.source.archived => {
            return Ok(End::Archived(Box::new(archived::failure(&state.source))));
        }
        Answer::Copy => copy(context, state).await?,
    };
    let known = &context.destination.known;
    let honoured = match copied.by {
        By::Copy => known.conditional_copies() == Some(true),
        By::Agent | By::AgentParts | By::PartCopies => known.conditional_writes() == Some(true),
    };
    if !honoured || retried || copied.look_again {
        look::source_unchanged(context, state, &copied.etag).await?;
    }
    let tags_unread = state.tags_unread;
    let copied = ask::kept(context, state, copied).await?;
    Ok(End::Copied(Copied { tags_unread, ..copied }))
}

async fn copy(context: &Arc<Context>, state: &mut State) -> Result<Copied, Fault> {
    let size = state.source.size;
    let route = choose::choose(way::facts(context, size));
    if !matches!(route, Route::Parts(_) | Route::ServerSideParts(_)) {
        state.abandon_left(context).await;
    }
    match route {
        Route::ServerSide => {
            state.close();
            return server_side::copy(context, state).await;
        }
        Route::Single => return single::copy(context, state).await,
        Route::TooLarge => return Err(too_large(context, &state.source)),
        Route::Parts(_) | Route::ServerSideParts(_) => {}
    }
    state.close();
    // What a multipart upload carries must be known when it is opened, and how it is laid out depends on the source.
    let object = head_source(context, state, None).await?;
    context.learn_encryption(&context.source, object.encryption.as_deref()).await;
    let facts = way::all_facts(context, state, &object).await?;
    let (layout, server_side) = match choose::choose(facts) {
        Route::Parts(layout) => (layout, false),
        Route::ServerSideParts(layout) => (layout, true),
        Route::ServerSide | Route::Single | Route::TooLarge => {
            state.abandon_left(context).await;
            return single::copy(context, state).await;
        }
    };
    parts::copy(context, state, object, Course { facts, layout, server_side }).await
}

fn too_large(context: &Context, source: &Found) -> Fault {
    let message = format!("{} bytes are more than the destination takes", source.size);
    let (class, operation) = (Class::Permanent, Operation::CreateUpload);
    let side = &context.destination;
    Fault::Failed(side.error(class, operation, &source.key, "too_large", message))
}

/// HEAD of the version of the source that is copied.
async fn head_source(
    context: &Context,
    state: &State,
    part_number: Option<u32>,
) -> Result<Object, Fault> {
    let side = &context.source;
    let request =
        HeadRequest { key: side.full(&state.source.key), if_match: state.pin(), part_number };
    let head = side.call(Operation::Head, || side.store.head(request.clone())).await;
    let object = head.map_err(|failed| {
        // A 404 to a HEAD proves nothing; a GET does.
        let look = [Class::Precondition, Class::NoSuchKey, Class::NotFound];
        if look.contains(&failed.error.class) {
            Fault::Changed(failed.error)
        } else {
            Fault::Spent(failed)
        }
    })?;
    pinned(context, state, &object, Operation::Head)?;
    Ok(object)
}

/// Whether an answer is of the version that was asked for: not every server honours `If-Match` on reads.
fn pinned(
    context: &Context,
    state: &State,
    object: &Object,
    operation: Operation,
) -> Result<(), Fault> {
    if object.etag == state.source.etag {
        return Ok(());
    }
    let message = format!("its ETag is {} instead of {}", object.etag, state.source.etag);
    let key = &state.source.key;
    let error = context.source.error(Class::Precondition, operation, key, "changed", message);
    Err(Fault::Changed(error))
}

// === impl State ===

impl State {
    fn new(task: Task, plain: bool) -> Self {
        Self {
            source: task.source,
            seen: task.seen,
            stamp: false,
            refused: Refused { checksums: plain, ..Refused::default() },
            ambiguous: false,
            tags_unread: false,
            ask: task.ask,
            left: task.left,
            carried: None,
            opened: Mutex::default(),
        }
    }

    /// A read that has begun already, once.
    fn opened(&mut self) -> Option<Opened> {
        self.opened.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends a read that has begun and is of no use.
    fn close(&mut self) {
        drop(self.opened());
    }

    /// Aborts what an earlier holder left open, if nothing went on with it.
    async fn abandon_left(&mut self, context: &Context) {
        if let Some(left) = self.left.take() {
            resume::abandon(context, &self.source.key, &left).await;
        }
    }

    /// The condition that pins reads of the source to one version.
    fn pin(&self) -> Option<String> {
        (!self.source.etag.is_empty()).then(|| self.source.etag.clone())
    }

    /// The condition of a write over what was seen.
    fn condition(&self, destination: &Side) -> Condition {
        if self.refused.conditions {
            Condition::None
        } else {
            destination.condition(self.seen.as_deref())
        }
    }
}

// === impl Refused ===

impl Refused {
    /// Notes that a plain write was refused as unknown; whether another way is left. A signature covers the body, and a
    /// byte that changed on the way is refused in the same words; so only the third time is believed.
    pub(crate) fn plain_write(&mut self, condition: &Condition) -> bool {
        self.times += 1;
        if self.times < 3 {
            return true;
        }
        self.times = 0;
        self.conditions = true;
        *condition != Condition::None
    }
}

// === impl Fault ===

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        Self::Spent(failed)
    }
}

impl From<Lost> for Fault {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

impl Fault {
    /// What an error of a read of the source means.
    pub(crate) fn from_source(error: Box<Error>) -> Self {
        if error.class == Class::Precondition {
            Self::Changed(error)
        } else if error.class == Class::NoSuchKey {
            Self::Vanished
        } else {
            Self::Failed(error)
        }
    }

    /// What an error of a commit at the destination means.
    pub(crate) fn from_commit(error: Box<Error>, state: &mut State) -> Self {
        if error.class == Class::Precondition {
            return Self::Changed(error);
        }
        state.ambiguous |= error.class == Class::Transient;
        Self::Failed(error)
    }
}
