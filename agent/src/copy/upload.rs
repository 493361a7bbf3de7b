//! The life of one multipart upload: recorded before it is begun, completed under a condition, aborted on every way
//! out but those on which another holder takes the work over; that one goes on with it, or aborts it by the record.

use std::time::Duration;

use s3sync_proto::model::{Key, Timestamp, Upload, UploadPlan};
use tokio::time::Instant;

use super::resume::Left;
use super::{Fault, LOOK_AGAIN_AFTER, State};
use crate::clock;
use crate::compare::{STAMP, stamp};
use crate::retry::{Next, Tries};
use crate::s3::{
    Class, CompleteRequest, CreateUploadRequest, HeadRequest, Object, Operation, Written,
};
use crate::work::Begun;
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// S3 refuses requests of a clock that is further off than this (error `RequestTimeTooSkewed`), so S3's time of an
/// upload is at most this much before ours.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// An upload that is open.
pub(super) struct Open {
    pub(super) id: String,
    key: Key,
    began: Timestamp,
    /// The next holder can go on with it.
    pub(super) resumable: bool,
    /// The answer to an earlier try to open it was lost, so another one may be open.
    twin: bool,
}

/// Opens an upload, recorded at the server before and after.
pub(super) async fn open(
    context: &Context,
    state: &mut State,
    request: CreateUploadRequest,
    plan: Option<UploadPlan>,
) -> Result<Open, Fault> {
    let key = state.source.key.clone();
    context.desk.upload_intent(&key, None).await?;
    let began = clock::now();
    let side = &context.destination;
    let mut tries = Tries::default();
    let mut twin = false;
    let id = loop {
        let permit = side.limiter.acquire().await;
        let create =
            side.once(Operation::CreateUpload, side.store.create_upload(request.clone())).await;
        drop(permit);
        let error = match create {
            Ok(id) => break id,
            Err(error) => error,
        };
        twin |= error.class == Class::Transient;
        if error.class == Class::Unsupported && request.checksum.is_some() {
            state.refused.checksums = true;
            state.refused.trailers = true;
            return Err(Fault::OtherWay);
        }
        match tries.failed(error.class, fastrand::f64()) {
            Next::Wait(wait) => side.limiter.again(wait).await,
            Next::GiveUp => {
                if twin {
                    sweep(context, &key, began, None).await;
                }
                return Err(Fault::Spent(Failed { error, attempts: tries.failed }));
            }
        }
    };
    let open = Open { id: id.clone(), key, began, resumable: plan.is_some(), twin };
    context.desk.upload_intent(&open.key, Some(&Begun { upload_id: id, plan })).await?;
    if open.twin {
        // The record of this one took the place of the one without an id, which the other still needs.
        context.desk.upload_intent(&open.key, None).await?;
    }
    Ok(open)
}

/// Takes over an upload that an earlier holder has begun.
pub(super) fn taken_over(key: Key, left: Left) -> Open {
    // What it may have had for a twin was aborted when the work began.
    Open { id: left.id, key, began: clock::now(), resumable: true, twin: false }
}

/// Completes an upload of what the source was at a time. Returns what was written, and whether to look at the source again.
pub(super) async fn complete(
    context: &Context,
    state: &mut State,
    open: &Open,
    mut request: CompleteRequest,
    expected_etag: Option<&str>,
    known: Instant,
) -> Result<(Written, bool), Fault> {
    let side = &context.destination;
    let mut tries = Tries::default();
    loop {
        request.condition = state.condition(side);
        let permit = context.commit_permit().await?;
        let complete = side.store.complete_upload(request.clone());
        let answer = side.once(Operation::CompleteUpload, complete).await;
        drop(permit);
        let error = match answer {
            Ok(written) => {
                let look_again = state.ambiguous || known.elapsed() > LOOK_AGAIN_AFTER;
                return Ok((written, look_again));
            }
            Err(error) => error,
        };
        if matches!(error.class, Class::Precondition | Class::NoSuchUpload) {
            // It may be our own completion whose answer was lost.
            if state.ambiguous
                && let Some(object) = head(context, state).await?
                && is_ours(state, &object, expected_etag)
            {
                tracing::debug!(upload = open.id, "completed although the answer was lost");
                return Ok((Written { etag: object.etag, ..Written::default() }, true));
            }
            return Err(Fault::Changed(error));
        }
        if error.class == Class::Unsupported && state.refused.plain_write(&request.condition) {
            continue;
        }
        if error.class == Class::Corrupt && request.checksum.take().is_some() {
            // Some servers combine the parts' checksums in another way. Each part was verified by the destination, and
            // all together were compared with the source before.
            continue;
        }
        state.ambiguous |= error.class == Class::Transient;
        match tries.failed(error.class, fastrand::f64()) {
            Next::Wait(wait) => context.destination.limiter.again(wait).await,
            Next::GiveUp => {
                return Err(Fault::Spent(Failed { error, attempts: tries.failed }));
            }
        }
    }
}

fn is_ours(state: &State, object: &Object, expected_etag: Option<&str>) -> bool {
    let stamped = object.attributes.metadata.get(STAMP);
    object.length == state.source.size
        && (expected_etag == Some(object.etag.as_str())
            || stamped == Some(&stamp(&state.source.etag, state.source.modified)))
}

async fn head(context: &Context, state: &State) -> Result<Option<Object>, Fault> {
    let side = &context.destination;
    let request = HeadRequest { key: side.full(&state.source.key), ..HeadRequest::default() };
    match side.call(Operation::Head, || side.store.head(request.clone())).await {
        Ok(object) => Ok(Some(object)),
        Err(Failed { error, .. }) if matches!(error.class, Class::NotFound | Class::NoSuchKey) => {
            Ok(None)
        }
        Err(failed) => Err(Fault::Spent(failed)),
    }
}

/// After a completed upload: aborts its twin, if it may have one.
pub(super) async fn finish(context: &Context, open: Open) {
    if open.twin {
        sweep(context, &open.key, open.began, Some(&open.id)).await;
    }
}

/// Gives an upload up.
pub(super) async fn abort(context: &Context, open: Open) {
    abort_one(context, &open.key, &open.id).await;
    finish(context, open).await;
}

/// Aborts what an earlier holder may have left open: the upload whose id was recorded, else all uploads of exactly
/// that key that began since the intent was recorded, but the one that is `kept`. Uploads that are older are somebody
/// else's.
pub(crate) async fn abort_left(context: &Context, upload: &Upload, kept: Option<&Left>) {
    match &upload.upload_id {
        Some(id) => abort_one(context, &upload.key, id).await,
        None => {
            let kept = kept.map(|left| left.id.as_str());
            sweep(context, &upload.key, upload.intent, kept).await;
        }
    }
}

async fn sweep(context: &Context, key: &Key, since: Timestamp, but: Option<&str>) {
    let side = &context.destination;
    let full = side.full(key);
    let list = side.call(Operation::ListUploads, || side.store.list_uploads(&full)).await;
    let open = match list {
        Ok(open) => open,
        Err(Failed { error, .. }) => {
            tracing::warn!(bucket = side.bucket, code = error.code, "open uploads not listed");
            return;
        }
    };
    for upload in open {
        let ours = upload.initiated.plus(MAX_SKEW) >= since;
        if ours && but != Some(upload.upload_id.as_str()) {
            abort_one(context, key, &upload.upload_id).await;
        }
    }
}

pub(super) async fn abort_one(context: &Context, key: &Key, id: &str) {
    let side = &context.destination;
    let full = side.full(key);
    let abort = side.call(Operation::AbortUpload, || side.store.abort_upload(&full, id)).await;
    match abort {
        Ok(()) => {}
        Err(Failed { error, .. }) if error.class == Class::NoSuchUpload => {}
        // The object is not at stake, only the price of its parts; the run goes on.
        Err(Failed { error, .. }) => {
            tracing::warn!(bucket = side.bucket, code = error.code, "upload not aborted");
        }
    }
}
