//! One CopyObject: S3 moves the bytes, metadata and tags itself.

use tokio::time::Instant;

use super::{By, Copied, Fault, STALLED, State, carry, look, single};
use crate::s3::{Class, Condition, CopyRequest, Operation};
use crate::worker::context::Context;

/// Copies an object inside S3.
pub(super) async fn copy(context: &Context, state: &mut State) -> Result<Copied, Fault> {
    let destination = &context.destination;
    let stamp = carry::stamp_of(context, state, carry::single_is_comparable(context, state));
    let stamped = stamp.is_some();
    let replace = match stamp {
        // Metadata is replaced as a whole, so it must be read first.
        Some(stamp) => {
            let object = super::head_source(context, state, None).await?;
            Some(carry::attributes(context, &object, Some(stamp)))
        }
        None => None,
    };
    let mut request = CopyRequest {
        source_bucket: context.source.bucket.clone(),
        source_key: context.source.full(&state.source.key),
        source_if_match: state.source.etag.clone(),
        key: destination.full(&state.source.key),
        replace,
        storage_class: carry::storage_class(context, Some(state.source.storage_class.clone())),
        encryption: carry::encryption(context),
        condition: Condition::None,
    };
    let mut first_copy = destination.known.first_copy().await;
    request.condition = destination.condition_of_copy(state.seen.as_deref());
    let permit = context.commit_permit().await?;
    let began = Instant::now();
    let answer = destination.once(Operation::Copy, destination.store.copy(request.clone())).await;
    drop(permit);
    let written = match answer {
        Ok(written) => written,
        Err(error) => {
            if let Some(attempts) = &mut first_copy {
                // Nothing was written that could teach anything, so another copy may still learn.
                **attempts -= 1;
            }
            return Err(refused(context, error, state));
        }
    };
    if let Some(first_copy) = first_copy {
        request.condition = Condition::Absent;
        let again = destination.store.copy(request);
        single::learn_conditions(context, first_copy, Operation::Copy, again).await;
    }
    context.learn_encryption(destination, written.encryption.as_deref()).await;
    if !stamped && !context.compare_ignores_stamps() {
        look::comparable(context, state, &written.etag).await?;
    }
    let stalled = began.elapsed() > STALLED;
    Ok(Copied {
        etag: written.etag,
        bytes: state.source.size,
        by: By::Copy,
        stalled,
        ..Copied::default()
    })
}

/// What a refused copy means. A credential may be allowed to read and to write and yet not to copy, for example when
/// a policy names the way a bucket is reached.
fn refused(context: &Context, error: Box<crate::s3::Error>, state: &mut State) -> Fault {
    if matches!(error.class, Class::Denied | Class::Unsupported) {
        context.no_server_side(&error.code);
        Fault::OtherWay
    } else if error.class == Class::NoSuchKey {
        Fault::Vanished
    } else {
        Fault::from_commit(error, state)
    }
}
