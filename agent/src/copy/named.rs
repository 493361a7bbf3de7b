//! A key that is looked at by name: an event told of it, or it failed before. One HEAD of the destination and one GET
//! of the source tell how it stands; when the source has changed, the GET is already the read of the copy.
//!
//! The destination is looked at before the source: what is then read of the source is newer than what is overwritten,
//! so that a conditional write never puts older bytes over newer ones.

use std::sync::{Arc, Mutex};

use s3sync_proto::model::{CompareMode, Counters, Key, MAX_OBJECT_BYTES};
use tokio::time::Instant;

use super::single::STREAM_BYTES;
use super::trace::Why;
use super::{
    End, Left, Opened, State, Task, abandon, bring_in_step, failure, look, settled, trace,
};
use crate::clock;
use crate::compare::{self, Decision, Found, STAMP, stamp};
use crate::limits::throttle::acquire_both;
use crate::retry::{Next, Tries};
use crate::s3::{Class, Error, GetRequest, Object, Operation};
use crate::scan::frontier::Settled;
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// How a key was found.
enum Look {
    /// Nothing is to be copied.
    Ended(End),
    /// The source does not have it.
    Vanished {
        /// What the destination has. A run over listings counts and deletes it, if it is to be.
        extra: Option<Object>,
    },
    /// The filter leaves it out.
    Filtered,
    /// The source is being read, to be copied.
    Differs(Box<State>),
}

/// Brings a key in step. `None`: it stays unsettled, since the assignment was lost or given up.
pub(crate) async fn settle(
    context: &Arc<Context>,
    key: Key,
    left: Option<Left>,
) -> Option<Settled> {
    let work = settle_inner(context, key.clone(), left);
    trace::settle(Why::Named, &key, work).await
}

async fn settle_inner(context: &Arc<Context>, key: Key, mut left: Option<Left>) -> Option<Settled> {
    let began = clock::now();
    let looked = tokio::select! {
        biased;
        () = context.give_up.cancelled() => return None,
        looked = look(context, &key) => looked,
    };
    let settled = match looked {
        Ok(Look::Filtered) => {
            let counters = Counters { filtered: 1, ..Counters::default() };
            Settled { counters, ..Settled::default() }
        }
        Ok(Look::Vanished { extra }) => {
            let mut settled = settled(context, End::Vanished);
            settled.counters.extra = u64::from(extra.is_some());
            settled.object = extra.as_ref().map(identity).unwrap_or_default();
            settled
        }
        Ok(Look::Ended(end)) => settled(context, end),
        Ok(Look::Differs(mut state)) => {
            state.left = left.take();
            settled(context, bring_in_step(context, *state).await?)
        }
        Err(Failed { error, attempts }) => {
            let failure = Box::new(failure(&key, &error, attempts, began));
            let archived = error.class == Class::Archived;
            settled(context, if archived { End::Archived(failure) } else { End::Failed(failure) })
        }
    };
    // What nothing went on with goes with the key.
    if let Some(left) = &left {
        abandon(context, &key, left).await;
    }
    Some(settled)
}

async fn look(context: &Arc<Context>, key: &Key) -> Result<Look, Failed> {
    let there = look::head(&context.destination, key).await?;
    if let Some(there) = &there {
        context.learn_encryption(&context.destination, there.encryption.as_deref()).await;
    }
    let request = GetRequest {
        key: context.source.full(key),
        if_none_match: there.as_ref().and_then(|there| in_step_etag(context.compare, there)),
        ..GetRequest::default()
    };
    let mut tries = Tries::default();
    let opened = loop {
        let error = match open(context, request.clone()).await {
            Ok(opened) => break opened,
            Err(error) => error,
        };
        if error.class == Class::NotModified {
            return Ok(Look::Ended(End::InStep(false)));
        }
        if error.class == Class::NoSuchKey {
            let extra = there.filter(|_| context.filter.lets_key(key));
            return Ok(Look::Vanished { extra });
        }
        match tries.failed(error.class, fastrand::f64()) {
            Next::Wait(wait) => context.side_of(&error).limiter.again(wait).await,
            Next::GiveUp => return Err(Failed { error, attempts: tries.failed }),
        }
    };
    context.learn_encryption(&context.source, opened.object.encryption.as_deref()).await;
    let source = found(key, &opened.object);
    if !context.filter.lets(key, source.size, source.modified) {
        return Ok(Look::Filtered);
    }
    let decision = match &there {
        None => Decision::Copy,
        Some(there) => decide(context, &source, &opened.object, there),
    };
    let ask = match decision {
        Decision::InStep => return Ok(Look::Ended(End::InStep(false))),
        Decision::Copy => None,
        Decision::Ask(ask) => Some(ask),
    };
    let task = Task { source, seen: there.map(|there| there.etag), ask, left: None };
    let plain = context.destination.known.plain();
    let mut state = State::new(task, plain);
    // Most of what is asked about more closely is not read.
    state.opened = Mutex::new(Some(opened).filter(|_| ask.is_none()));
    Ok(Look::Differs(Box::new(state)))
}

/// What tells an object from any other that stands under its key before or after it: `ExtraKey::object`.
pub(crate) fn identity(object: &Object) -> String {
    let version = object.version_id.as_deref().unwrap_or_default();
    let text = format!("{}/{}/{version}", object.etag, object.modified.as_micros());
    if text.len() > MAX_OBJECT_BYTES { String::new() } else { text }
}

/// The ETag the source must have for the key to be in step. None where more than an ETag is compared.
fn in_step_etag(mode: CompareMode, there: &Object) -> Option<String> {
    let stamped = there.attributes.metadata.get(STAMP).and_then(|stamp| stamp.rsplit_once('/'));
    let etag = match mode {
        CompareMode::Default => stamped.map_or(there.etag.as_str(), |(etag, _)| etag),
        CompareMode::Size | CompareMode::Etag => there.etag.as_str(),
        CompareMode::Checksum | CompareMode::Full => return None,
    };
    (!etag.is_empty()).then(|| etag.to_owned())
}

/// What a scan would decide, with what both sides have answered at hand.
fn decide(context: &Context, source: &Found, object: &Object, there: &Object) -> Decision {
    let destination = found(&source.key, there);
    let stamped = there.attributes.metadata.get(STAMP);
    let stamped = stamped.is_some_and(|stamped| *stamped == stamp(&source.etag, source.modified));
    let same_etag = !source.etag.is_empty() && source.etag == there.etag;
    match compare::decide(context.compare, source, &destination, context.kinds()) {
        Decision::Ask(ask) => {
            let equal = compare::by_checksums(&object.checksums, &there.checksums);
            compare::answered(context.compare, ask, same_etag || stamped, equal).0
        }
        decided @ (Decision::InStep | Decision::Copy) => decided,
    }
}

/// Begins to read the source. Holds what a copy by one GET and one PUT will need, in the order of `limits`: whoever
/// has it waits for nothing.
async fn open(context: &Context, request: GetRequest) -> Result<Opened, Box<Error>> {
    let source = &context.source;
    let bytes = context.memory(STREAM_BYTES).await;
    let permits = acquire_both(&source.limiter, &context.destination.limiter).await;
    let asked = Instant::now();
    let (object, body) = source.once(Operation::Get, source.store.get(request)).await?;
    Ok(Opened { object, body, permits: permits.into(), bytes, asked })
}

/// An object as a listing would show it.
fn found(key: &Key, object: &Object) -> Found {
    Found {
        key: key.clone(),
        size: object.length,
        etag: object.etag.clone(),
        modified: object.modified,
        storage_class: object.attributes.storage_class.clone().unwrap_or_default(),
        archived: object.is_archived(),
    }
}
