//! One CopyObject: S3 moves the bytes, metadata and tags itself.

use s3sync_proto::model::CompareMode;
use tokio::time::Instant;

use super::{By, Copied, Fault, LOOK_AGAIN_AFTER, State, carry, look, single};
use crate::s3::{Class, Condition, CopyRequest, Error, Operation, Written};
use crate::work::Lost;
use crate::worker::context::Context;

/// A copy that was answered.
pub(super) struct Sent {
    written: Written,
    look_again: bool,
}

/// Copies an object inside S3.
pub(super) async fn copy(context: &Context, state: &mut State) -> Result<Copied, Fault> {
    let destination = &context.destination;
    let stamp = carry::stamp_of(context, state, carry::single_is_comparable(context, state));
    let stamped = stamp.is_some();
    let replace = replacement(context, state, stamp).await?;
    let request = CopyRequest {
        source_bucket: context.source.bucket.clone(),
        source_key: context.source.full(&state.source.key),
        source_if_match: state.source.etag.clone(),
        key: destination.full(&state.source.key),
        replace,
        replace_tags: None,
        storage_class: carry::storage_class(context, Some(state.source.storage_class.clone())),
        encryption: carry::encryption(context),
        condition: destination.condition_of_copy(state.seen.as_deref()),
    };
    match send(context, request).await? {
        Ok(answered) => sent(context, state, answered, stamped).await,
        Err(error) => Err(refused(context, error, state)),
    }
}

/// The metadata to write instead of the source's own, when S3 would not carry all of it. It is replaced as a whole, so
/// it must be read first. S3 leaves out the website redirect, which only a HEAD shows: it is looked for where it is
/// usual, on objects without bytes, and everywhere in jobs that compare all that objects carry.
async fn replacement(
    context: &Context,
    state: &State,
    stamp: Option<String>,
) -> Result<Option<crate::s3::Attributes>, Fault> {
    let looks = state.source.size == 0 || context.compare == CompareMode::Full;
    if stamp.is_none() && !looks {
        return Ok(None);
    }
    let object = super::head_source(context, state, None).await?;
    if stamp.is_none() && object.attributes.website_redirect.is_none() {
        return Ok(None);
    }
    carry::all_readable(context, state, &object)?;
    Ok(Some(carry::attributes(context, &object, stamp)))
}

/// Sends a copy. The first into a bucket also learns whether its condition is honoured.
pub(super) async fn send(
    context: &Context,
    mut request: CopyRequest,
) -> Result<Result<Sent, Box<Error>>, Lost> {
    let destination = &context.destination;
    let mut first_copy = destination.known.first_copy().await;
    if destination.known.conditional_copies() == Some(false) {
        // It was learned while this one waited for its turn.
        request.condition = Condition::None;
    }
    let permit = context.commit_permit().await?;
    let began = Instant::now();
    let answer = destination.once(Operation::Copy, destination.store.copy(request.clone())).await;
    drop(permit);
    let look_again = began.elapsed() > LOOK_AGAIN_AFTER;
    let written = match answer {
        Ok(written) => written,
        Err(error) => {
            if let Some(attempts) = &mut first_copy {
                // Nothing was written that could teach anything, so another copy may still learn.
                **attempts -= 1;
            }
            return Ok(Err(error));
        }
    };
    if let Some(first_copy) = first_copy {
        let onto_itself =
            request.source_bucket == destination.bucket && request.source_key == request.key;
        if onto_itself {
            // Else it would be refused for what it reads, not for what it writes over.
            request.source_if_match.clone_from(&written.etag);
        }
        request.condition = Condition::Absent;
        let again = destination.store.copy(request);
        single::learn_conditions(context, first_copy, Operation::Copy, again).await;
    }
    context.learn_encryption(destination, written.encryption.as_deref()).await;
    Ok(Ok(Sent { written, look_again }))
}

/// What follows from a copy that was made.
pub(super) async fn sent(
    context: &Context,
    state: &State,
    sent: Sent,
    stamped: bool,
) -> Result<Copied, Fault> {
    let Sent { written, look_again } = sent;
    if !stamped && !context.compare_ignores_stamps() {
        look::comparable(context, state, &written.etag).await?;
    }
    let bytes = state.source.size;
    Ok(Copied { etag: written.etag, bytes, by: By::Copy, look_again, ..Copied::default() })
}

/// What a refused copy means. A credential may be allowed to read and to write and yet not to copy, for example when
/// a policy names the way a bucket is reached.
fn refused(context: &Context, error: Box<Error>, state: &mut State) -> Fault {
    if matches!(error.class, Class::Denied | Class::Unsupported) {
        context.no_server_side(&error.code);
        Fault::OtherWay
    } else if error.class == Class::NoSuchKey {
        Fault::Vanished
    } else {
        Fault::from_commit(error, state)
    }
}
