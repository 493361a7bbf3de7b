//! Looks at both sides again. The destination always before the source: what is then read of the source is newer than
//! what is overwritten, so that a conditional write never puts older bytes over newer ones.

use s3sync_proto::model::{EtagKind, Key};

use super::{Fault, State};
use crate::compare::{Found, STAMP, is_md5_like, stamp};
use crate::s3::{Class, GetRequest, HeadRequest, Object, Operation};
use crate::worker::context::Context;
use crate::worker::side::{Failed, Side};

/// The destination as it is now, which is then what was seen of it.
pub(super) async fn destination(
    context: &Context,
    state: &mut State,
) -> Result<Option<Object>, Fault> {
    let Some(object) = head(&context.destination, &state.source.key).await? else {
        state.seen = None;
        return Ok(None);
    };
    context.learn_encryption(&context.destination, object.encryption.as_deref()).await;
    state.seen = Some(object.etag.clone());
    Ok(Some(object))
}

/// Looks at both sides as they are now. Whether they are in step.
pub(super) async fn again(context: &Context, state: &mut State) -> Result<bool, Fault> {
    let destination = head(&context.destination, &state.source.key).await?;
    state.seen = destination.as_ref().map(|object| object.etag.clone());
    let source = match head(&context.source, &state.source.key).await? {
        Some(object) => object,
        None => get_proof(context, state).await?,
    };
    state.carried = None;
    let key = state.source.key.clone();
    let archived = source.is_archived();
    state.source = Found {
        key,
        size: source.length,
        etag: source.etag,
        modified: source.modified,
        storage_class: source.attributes.storage_class.unwrap_or_default(),
        archived,
    };
    Ok(destination.is_some_and(|object| in_step(state, &object)))
}

/// Makes sure that the source is still what was copied.
///
/// # Errors
/// [`Fault::Changed`] when it is not; then what was written, as `written`, is what to write over.
pub(super) async fn source_unchanged(
    context: &Context,
    state: &mut State,
    written: &str,
) -> Result<(), Fault> {
    state.seen = Some(written.to_owned());
    match head(&context.source, &state.source.key).await? {
        Some(object) if object.etag != state.source.etag => {
            let message = "it changed while it was copied".to_owned();
            let key = &state.source.key;
            Err(Fault::Changed(context.source.error(
                Class::Precondition,
                Operation::Head,
                key,
                "changed",
                message,
            )))
        }
        // Gone since: the copy was right when it was made, and deletes are not this worker's business.
        Some(_) | None => Ok(()),
    }
}

/// Whether the destination says by its ETag or its stamp that it is a copy of the source.
pub(super) fn in_step(state: &State, destination: &Object) -> bool {
    is_copy_of(destination, &state.source)
}

/// Whether the destination shows by its ETag or its stamp that it is a copy of this source.
pub(crate) fn is_copy_of(destination: &Object, source: &Found) -> bool {
    let Found { etag, size, modified, .. } = source;
    let stamped = destination.attributes.metadata.get(STAMP);
    destination.length == *size
        && !etag.is_empty()
        && (destination.etag == *etag || stamped.is_some_and(|s| *s == stamp(etag, *modified)))
}

/// HEAD without a condition. `None`: a 404, which proves nothing.
pub(crate) async fn head(side: &Side, key: &Key) -> Result<Option<Object>, Failed> {
    let request = HeadRequest { key: side.full(key), ..HeadRequest::default() };
    // A 404 is an answer here, not a failure that may pass.
    let head = side.call(Operation::Head, || {
        let head = side.store.head(request.clone());
        Box::pin(async move {
            match head.await {
                Ok(object) => Ok(Some(object)),
                Err(error) if matches!(error.class, Class::NotFound | Class::NoSuchKey) => Ok(None),
                Err(error) => Err(error),
            }
        })
    });
    head.await
}

/// Asks for the source by a GET, whose `NoSuchKey` proves that it is not there.
async fn get_proof(context: &Context, state: &State) -> Result<Object, Fault> {
    let side = &context.source;
    let request = GetRequest { key: side.full(&state.source.key), ..GetRequest::default() };
    let get = side.call(Operation::Get, || side.store.get(request.clone())).await;
    match get {
        Ok((object, _body)) => Ok(object),
        Err(Failed { error, .. }) if error.class == Class::NoSuchKey => Err(Fault::Vanished),
        Err(failed) => Err(Fault::Spent(failed)),
    }
}

/// Learns from a write without a stamp whether its ETag can be compared with that of the source.
///
/// # Errors
/// [`Fault::Unstamped`] when it cannot: then nothing but a stamp will tell that the two are in step.
pub(super) async fn comparable(
    context: &Context,
    state: &State,
    written: &str,
) -> Result<(), Fault> {
    let (source, destination) = (&context.source, &context.destination);
    if written == state.source.etag {
        if is_md5_like(written) {
            context.learn_etags(source, EtagKind::Md5).await;
            context.learn_etags(destination, EtagKind::Md5).await;
        }
        return Ok(());
    }
    // Nothing is concluded of the source: were its ETags held to be opaque by mistake, reads would not be checked
    // against them any more. Nor of the destination by an ETag that speaks of parts.
    if is_md5_like(written) {
        context.learn_etags(destination, EtagKind::Opaque).await;
    }
    Err(Fault::Unstamped(written.to_owned()))
}
