//! Does one assignment: brings a slice of the key space in step, or aborts uploads. Speaks with the server through
//! its desk only.

mod careful;
pub(crate) mod context;
mod deletes;
mod engine;
pub(crate) mod known;
mod range;
pub(crate) mod side;

use std::sync::Arc;

use futures_util::StreamExt as _;
use s3sync_proto::model::{
    Assignment, Extras, FailureClass, Key, KeyRange, Matcher, Outcome, Upload, Work, WorkError,
};
use s3sync_telemetry::traces;
use tracing::Instrument as _;

use crate::copy;
use crate::s3::ObjectStore;
use crate::work::{Desk, Lost, Orders, Progress};
use context::Context;
pub use engine::{Engine, Settings};

/// Uploads of earlier holders aborted at once.
const ABORTS_AT_ONCE: usize = 8;

/// The two sides of an assignment.
pub struct Sides {
    /// Where objects come from.
    pub source: Arc<dyn ObjectStore>,
    /// Where they go.
    pub destination: Arc<dyn ObjectStore>,
    /// Whether the destination's credential can read the source inside S3: it is the same credential, and the same
    /// endpoint or both AWS in one partition.
    pub server_side: bool,
}

/// Works on an assignment until it is done, given back, failed or lost.
pub async fn run(
    assignment: Assignment,
    sides: Sides,
    desk: Arc<dyn Desk>,
    orders: Orders,
    engine: Arc<Engine>,
) {
    let span = tracing::info_span!(
        "assignment",
        id = assignment.held.id,
        epoch = assignment.held.epoch,
        run = %assignment.run,
        source = %assignment.source.endpoint,
        destination = %assignment.destination.location.endpoint,
    );
    traces::adopt(&span, &assignment.traceparent);
    for other in &assignment.trace_links {
        traces::link(&span, other);
    }
    let lost = orders.lost.clone();
    let work = work(assignment, sides, desk, orders, engine);
    let all = async move {
        tokio::select! {
            biased;
            () = lost.cancelled() => tracing::info!("assignment lost"),
            result = work => match result {
                Ok(outcome) => {
                    tracing::info!(?outcome, "assignment ended");
                    if let Outcome::Errored(error) = &outcome {
                        traces::failed(&tracing::Span::current(), &error.code);
                    }
                }
                Err(Lost) => tracing::info!("assignment lost"),
            },
        }
    };
    all.instrument(span).await;
}

async fn work(
    assignment: Assignment,
    sides: Sides,
    desk: Arc<dyn Desk>,
    orders: Orders,
    engine: Arc<Engine>,
) -> Result<Outcome, Lost> {
    let filter = match Matcher::new(&assignment.filter) {
        Ok(filter) => filter,
        Err(problem) => return errored(&*desk, &assignment.work, unsupported(&problem)).await,
    };
    let context = Arc::new(Context::new(&assignment, filter, sides, desk, engine));
    let Assignment { uploads, work, .. } = assignment;
    // What a cut took along is somebody else's.
    let in_range = |upload: &Upload| match &work {
        Work::Range { range, .. } => range.contains(&upload.key),
        Work::Delete(work) => work.range.contains(&upload.key),
        // A key's intents move along when another takes the key, so all of them are this work's.
        Work::Reap | Work::Keys(_) | Work::DeleteKeys { .. } => true,
    };
    let comes_to = |key: &Key| match &work {
        Work::Range { cursor, .. } => cursor.as_ref().is_none_or(|cursor| key > cursor),
        Work::Keys(keys) => keys.binary_search(key).is_ok(),
        // None is gone on with: what comes back is small, or copied anew.
        Work::Delete(_) | Work::DeleteKeys { .. } | Work::Reap => false,
    };
    let uploads: Vec<Upload> = uploads.into_iter().filter(in_range).collect();
    let (left, rest) = copy::sort(uploads, comes_to);
    // Before anything is copied: an upload that is left open must not be completed over what is written now. Those that
    // may be gone on with are looked at when their keys are.
    futures_util::stream::iter(&rest)
        .for_each_concurrent(ABORTS_AT_ONCE, |upload| {
            copy::abort_left(&context, upload, left.get(&upload.key))
        })
        .await;
    match work {
        Work::Range { range, cursor } => range::run(context, range, cursor, left, orders).await,
        Work::Keys(keys) => range::named::look(context, keys, left, orders).await,
        Work::DeleteKeys { keys, unconditional } => {
            range::named::delete(context, keys, unconditional, orders).await
        }
        Work::Delete(work) => deletes::run(context, work, orders).await,
        Work::Reap => {
            let progress = Progress::without_keys(Outcome::Completed, &context.meter);
            context.desk.report(progress).await?;
            Ok(Outcome::Completed)
        }
    }
}

/// Work that this version cannot do is refused, never done in another way.
fn unsupported(why: &impl ToString) -> WorkError {
    let (class, code) = (FailureClass::Permanent, "unsupported".to_owned());
    WorkError { class, code, message: why.to_string() }
}

async fn errored(desk: &dyn Desk, work: &Work, error: WorkError) -> Result<Outcome, Lost> {
    let cursor = match work {
        Work::Range { cursor, .. } => cursor.clone(),
        Work::Delete(work) => work.cursor.clone(),
        Work::Reap | Work::Keys(_) | Work::DeleteKeys { .. } => None,
    };
    let outcome = Outcome::Errored(error);
    let progress = Progress {
        outcome: outcome.clone(),
        previous_cursor: cursor.clone(),
        cursor,
        counters: s3sync_proto::model::Counters::default(),
        failures: Vec::new(),
        extras: Extras::default(),
    };
    desk.report(progress).await?;
    Ok(outcome)
}

/// The slice that is still to be done.
pub(crate) fn remaining(range: &KeyRange, cursor: Option<&Key>) -> Option<Key> {
    cursor.cloned().max(range.after.clone())
}

#[cfg(test)]
mod tests;
