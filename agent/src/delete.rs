//! Deletes keys at the destination that the source does not have. Each key is asked for at the source by a GET before its
//! delete, although a listing has shown already that it is not there: a listing that lost a page looks like any other, and
//! a delete cannot be taken back. After it, the source is asked once more, and what it has again is copied back.

mod ability;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use s3sync_proto::model::{Counters, Key, Timestamp};

use crate::clock;
use crate::compare::Found;
use crate::copy::{self, failure};
use crate::retry::{self, Next, Tries};
use crate::s3::{Class, DeleteRequest, GetRequest, Operation};
use crate::scan::frontier::Settled;
use crate::worker::context::Context;
use crate::worker::side::{Failed, Side};
use ability::Way;

/// What became of one key.
enum End {
    /// Deleted by us, or by a request of ours whose answer was lost.
    Deleted,
    /// It was gone from the destination before.
    Gone,
    /// The source has it, or another object stands there than the one to delete: it is looked at anew.
    Back,
    /// It could not be deleted.
    Failed(Failed),
    /// The assignment was lost or given up; what became of the key is not known.
    Lost,
}

/// Which object a delete is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Whichever stands there while the source has none.
    Any,
    /// The one that was found: another is looked at anew.
    Found,
}

/// Deletes these keys, as they were listed at the destination. What became of each, in their order; `None` when the
/// assignment was lost or given up on the way.
pub(crate) async fn settle(
    context: Arc<Context>,
    keys: Vec<Found>,
    unconditional: bool,
) -> Option<Vec<Settled>> {
    settle_each(context, keys, unconditional, Which::Any).await
}

async fn settle_each(
    context: Arc<Context>,
    keys: Vec<Found>,
    unconditional: bool,
    which: Which,
) -> Option<Vec<Settled>> {
    if keys.is_empty() {
        return Some(Vec::new());
    }
    let began = clock::now();
    let way = match ability::way(&context, unconditional).await {
        Ok(way) => way,
        Err(ability::Unable::Lost) => return None,
        Err(ability::Unable::Failed(failed)) => {
            let settled = |found: &Found| not_deleted(&found.key, &failed, began);
            return Some(keys.iter().map(settled).collect());
        }
    };
    let at_once = context.engine.settings.copies_per_worker;
    let proofs = keys.iter().map(|found| absent(&context, &found.key).boxed());
    let mut ends = all(proofs.collect(), at_once).await;
    if way == Way::Batch {
        batches(&context, &keys, &mut ends, which).await;
    }
    let rest = keys.iter().zip(ends).map(|(found, end)| {
        let context = &context;
        let rest = async move {
            let end = match end {
                Some(end) => end,
                None => one(context, found, way, which).await,
            };
            afterwards(context, &found.key, end, began).await
        };
        rest.boxed()
    });
    all(rest.collect(), at_once).await.into_iter().collect()
}

/// Deletes one key that may be deleted. It is looked at anew: what is there is deleted if it is the object that may be,
/// and on the condition of it; another is told of as a look would. `allowed` is `ExtraKey::object`.
pub(crate) async fn named(
    context: &Arc<Context>,
    key: &Key,
    allowed: &str,
    unconditional: bool,
) -> Option<Settled> {
    let began = clock::now();
    let there = tokio::select! {
        biased;
        () = context.give_up.cancelled() => return None,
        there = copy::head(&context.destination, key) => there,
    };
    match there {
        Err(failed) => Some(not_deleted(key, &failed, began)),
        // It was deleted before, and the answer of the last request or of the last report was lost; or by somebody else. The
        // source may have it again.
        Ok(None) => {
            let mut settled = bring_back(context, key).await?;
            if settled.counters.vanished > 0 && settled.counters.extra == 0 {
                settled.counters = Counters::default();
            }
            Some(settled)
        }
        Ok(Some(object)) if !allowed.is_empty() && copy::named::identity(&object) != allowed => {
            bring_back(context, key).await
        }
        Ok(Some(object)) => {
            let found = Found {
                key: key.clone(),
                size: object.length,
                modified: object.modified,
                storage_class: object.attributes.storage_class.clone().unwrap_or_default(),
                archived: object.is_archived(),
                etag: object.etag,
            };
            let which = if allowed.is_empty() { Which::Any } else { Which::Found };
            let settled = settle_each(Arc::clone(context), vec![found], unconditional, which);
            settled.boxed().await?.into_iter().next()
        }
    }
}

/// Brings in step keys that were perhaps deleted by an earlier holder, and that the source has again.
pub(crate) async fn bring_back_all(context: Arc<Context>, keys: Vec<Key>) -> Option<Vec<Settled>> {
    let each = keys.iter().map(|key| bring_back(&context, key).boxed()).collect();
    all(each, context.engine.settings.copies_per_worker).await.into_iter().collect()
}

async fn bring_back(context: &Arc<Context>, key: &Key) -> Option<Settled> {
    copy::named::settle(context, key.clone(), None).await
}

/// The outcomes of all, in their order, with so many under way at once.
async fn all<T>(each: Vec<BoxFuture<'_, T>>, at_once: usize) -> Vec<T> {
    futures_util::stream::iter(each).buffered(at_once).collect().await
}

/// Makes sure that the source does not have a key. `None`: it is not there, and only then it may be deleted.
async fn absent(context: &Context, key: &Key) -> Option<End> {
    match proof(&context.source, key).await {
        Ok(true) => None,
        Ok(false) => Some(End::Back),
        Err(failed) => Some(End::Failed(failed)),
    }
}

/// Whether the source does not have a key: a GET that says `NoSuchKey` proves it, and nothing else does.
async fn proof(side: &Side, key: &Key) -> Result<bool, Failed> {
    let request = GetRequest { key: side.full(key), ..GetRequest::default() };
    let get = side.call(Operation::Get, || {
        let get = side.store.get(request.clone());
        Box::pin(async move {
            match get.await {
                Ok(_) => Ok(false),
                Err(error) if error.class == Class::NoSuchKey => Ok(true),
                // There, but not to be read.
                Err(error) if error.class == Class::Archived => Ok(false),
                Err(error) => Err(error),
            }
        })
    });
    get.await
}

/// Deletes the keys that are proven absent, in batches, each on the condition of its ETag. What does not go well that way
/// is left to be tried alone.
async fn batches(context: &Context, keys: &[Found], ends: &mut [Option<End>], which: Which) {
    let side = &context.destination;
    let left: Vec<usize> = (0..keys.len())
        .filter(|index| ends[*index].is_none() && ability::fits_batch(&keys[*index].key))
        .collect();
    for batch in left.chunks(crate::s3::MAX_DELETE_BATCH) {
        let requests: Vec<_> = batch.iter().map(|index| conditional(side, &keys[*index])).collect();
        let Ok(permit) = context.commit_permit().await else { return };
        let sent = side.once(Operation::DeleteMany, side.store.delete_many(requests)).await;
        drop(permit);
        let lost_answer = matches!(&sent, Err(error) if error.class == Class::Transient);
        for (at, index) in batch.iter().enumerate() {
            let end = match &sent {
                Ok(each) => match &each[at] {
                    Ok(()) => Some(End::Deleted),
                    Err(error) if error.class == Class::NoSuchKey => Some(End::Gone),
                    Err(_) => None,
                },
                // It may have had its effect; alone, the key tells.
                Err(_) if lost_answer => Some(retried(context, &keys[*index], which).await),
                Err(_) => None,
            };
            ends[*index] = end;
        }
    }
}

/// A key whose batch was not answered.
async fn retried(context: &Context, found: &Found, which: Which) -> End {
    try_alone(context, found, Way::Single, which, true).await
}

async fn one(context: &Context, found: &Found, way: Way, which: Which) -> End {
    // Alone, what a batch does with an ETag a single request does as well.
    let way = if way == Way::Batch { Way::Single } else { way };
    try_alone(context, found, way, which, false).await
}

fn conditional(side: &Side, found: &Found) -> DeleteRequest {
    DeleteRequest { key: side.full(&found.key), if_match: Some(found.etag.clone()) }
}

/// Deletes one key that is proven absent. `ambiguous`: a delete of it may have had its effect already.
async fn try_alone(
    context: &Context,
    found: &Found,
    way: Way,
    which: Which,
    mut ambiguous: bool,
) -> End {
    let side = &context.destination;
    let mut request = conditional(side, found);
    let mut tries = Tries::default();
    let mut looks = 0;
    // What a bucket cannot look at itself is looked at right before.
    let mut look = way == Way::Unconditional;
    loop {
        if context.give_up.is_cancelled() {
            return End::Lost;
        }
        if std::mem::take(&mut look) {
            match again(context, &found.key).await {
                Ok(Some(etag)) if which == Which::Found && etag != found.etag => return End::Back,
                Ok(Some(etag)) => request.if_match = Some(etag),
                Ok(None) => return if ambiguous { End::Deleted } else { End::Gone },
                Err(end) => return end,
            }
        }
        let sent = DeleteRequest {
            if_match: request.if_match.clone().filter(|_| way != Way::Unconditional),
            ..request.clone()
        };
        let Ok(permit) = context.commit_permit().await else { return End::Lost };
        let answer = side.once(Operation::Delete, side.store.delete(sent)).await;
        drop(permit);
        let error = match answer {
            Ok(()) => return End::Deleted,
            Err(error) => error,
        };
        if error.class == Class::NoSuchKey {
            return if ambiguous { End::Deleted } else { End::Gone };
        }
        let next = if error.class == Class::Precondition {
            if which == Which::Found {
                return End::Back;
            }
            looks += 1;
            look = true;
            retry::changed(looks, fastrand::f64())
        } else {
            ambiguous |= error.class == Class::Transient;
            look |= way == Way::Unconditional;
            tries.failed(error.class, fastrand::f64())
        };
        match next {
            Next::Wait(wait) => side.limiter.again(wait).await,
            Next::GiveUp => {
                return End::Failed(Failed { error, attempts: tries.failed.max(looks) });
            }
        }
    }
}

/// Looks at both sides again: at the destination first, so that the proof is newer than the ETag that is then the
/// condition. `None`: it is gone there.
async fn again(context: &Context, key: &Key) -> Result<Option<String>, End> {
    // Were a 404 wrong, the object would stay, and the next run see it.
    let there = copy::head(&context.destination, key).await.map_err(End::Failed)?;
    match absent(context, key).await {
        None => Ok(there.map(|object| object.etag)),
        Some(end) => Err(end),
    }
}

/// What is to be done after a delete, and what the key adds to a report.
async fn afterwards(
    context: &Arc<Context>,
    key: &Key,
    end: End,
    began: Timestamp,
) -> Option<Settled> {
    match end {
        End::Lost => None,
        End::Gone => Some(Settled::default()),
        End::Failed(failed) => Some(not_deleted(key, &failed, began)),
        End::Back => bring_back(context, key).await,
        End::Deleted => {
            let mut settled = match proof(&context.source, key).await {
                Ok(true) => Settled::default(),
                // Also when it cannot be told: the copy asks again, and lists the key as failed if it must.
                Ok(false) | Err(_) => bring_back(context, key).boxed().await?,
            };
            // That it vanished again is what a delete expects.
            if settled.counters.vanished > 0 {
                settled.counters = Counters::default();
            }
            settled.counters.deleted = 1;
            Some(settled)
        }
    }
}

/// A key that stays at the destination, as a failure.
fn not_deleted(key: &Key, failed: &Failed, began: Timestamp) -> Settled {
    let Failed { error, attempts } = failed;
    Settled {
        counters: Counters { not_deleted: 1, ..Counters::default() },
        failure: Some(failure(key, error, *attempts, began)),
        object: String::new(),
    }
}
