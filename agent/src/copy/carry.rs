//! What an object carries beside its bytes: attributes, tags, storage class, encryption, and our stamp.

use s3sync_proto::model::EtagKind;

use super::{Fault, State};
use crate::compare::{STAMP, is_md5_like, stamp};
use crate::s3::{Attributes, Class, Object, Operation, WriteEncryption};
use crate::worker::context::Context;
use crate::worker::side::Side;

/// User metadata S3 takes, in bytes of names and values (S3 User Guide, "Working with object metadata").
const MAX_METADATA: usize = 2048;

/// The attributes to write.
pub(super) fn attributes(context: &Context, object: &Object, stamp: Option<String>) -> Attributes {
    let mut attributes = object.attributes.clone();
    // The source may itself be a copy; its stamp speaks of another pair.
    attributes.metadata.remove(STAMP);
    if let Some(stamp) = stamp {
        let used: usize =
            attributes.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        // Without room for it the pair is copied again by each run until it is old enough; better than to fail.
        if used + STAMP.len() + stamp.len() <= MAX_METADATA {
            attributes.metadata.insert(STAMP.to_owned(), stamp);
        }
    }
    attributes.storage_class = storage_class(context, attributes.storage_class);
    attributes
}

/// The storage class to write.
pub(super) fn storage_class(context: &Context, of_source: Option<String>) -> Option<String> {
    let class = context.options.storage_class.clone().or(of_source)?;
    (!class.is_empty() && class != "STANDARD").then_some(class)
}

/// How to encrypt what is written.
pub(super) fn encryption(context: &Context) -> Option<WriteEncryption> {
    context.options.encryption.as_ref().map(|encryption| WriteEncryption {
        algorithm: encryption.algorithm.clone(),
        kms_key_id: encryption.kms_key_id.clone(),
    })
}

/// The stamp to write: only when ETags alone will not tell that the two are in step.
pub(super) fn stamp_of(context: &Context, state: &State, etags_comparable: bool) -> Option<String> {
    let source = &state.source;
    let needed = state.stamp || !etags_comparable;
    (needed && !context.compare_ignores_stamps()).then(|| stamp(&source.etag, source.modified))
}

/// Whether a copy by one write will have the ETag of its source, as far as is known.
pub(super) fn single_is_comparable(context: &Context, state: &State) -> bool {
    let kinds = context.kinds();
    is_md5_like(&state.source.etag)
        && kinds.source != Some(EtagKind::Opaque)
        && kinds.destination != Some(EtagKind::Opaque)
}

/// Makes sure that S3 returned all user metadata; what it leaves out would be lost by a copy.
///
/// # Errors
/// A failure, when it left some out.
pub(super) fn all_readable(context: &Context, state: &State, object: &Object) -> Result<(), Fault> {
    let missing = object.attributes.missing_metadata;
    if missing == 0 {
        return Ok(());
    }
    let message = format!(
        "{missing} entries of its user metadata cannot be read (x-amz-missing-meta), and a copy would lose them; \
         write them at the source in another way"
    );
    let key = &state.source.key;
    let code = "metadata_unreadable";
    Err(Fault::Failed(context.source.error(Class::Permanent, Operation::Head, key, code, message)))
}

/// The tags of the source, none where they cannot be read, which is noted. The caller holds a permit of the source.
pub(super) async fn tags(
    context: &Context,
    state: &mut State,
    count: Option<u32>,
) -> Result<Vec<(String, String)>, Fault> {
    let tags = tags_of(context, &context.source, state, count).await?;
    state.tags_unread = tags.is_none();
    Ok(tags.unwrap_or_default())
}

/// The tags of an object. Asked for only when S3 says that there are some, or does not say and it is not yet known
/// whether that means none. `None`: they cannot be read. The caller holds a permit of the side.
pub(super) async fn tags_of(
    context: &Context,
    side: &Side,
    state: &State,
    count: Option<u32>,
) -> Result<Option<Vec<(String, String)>>, Fault> {
    match count {
        Some(0) => return Ok(Some(Vec::new())),
        Some(_) => return read_tags(context, side, state).await.map(Some),
        None => {}
    }
    let unsaid = |readable: bool| readable.then(Vec::new);
    if let Some(readable) = side.known.tags() {
        return Ok(unsaid(readable));
    }
    let _first = side.known.first_tags.lock().await;
    if let Some(readable) = side.known.tags() {
        return Ok(unsaid(readable));
    }
    match read_tags(context, side, state).await {
        Ok(tags) => {
            context.learn(side, |facts| facts.tags = Some(true)).await;
            Ok(Some(tags))
        }
        Err(Fault::Failed(error)) if matches!(error.class, Class::Denied | Class::Unsupported) => {
            let bucket = &side.bucket;
            tracing::warn!(bucket, code = error.code, "object tags cannot be read");
            context.learn(side, |facts| facts.tags = Some(false)).await;
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// One request, under whatever permit its caller holds: asking for another while a body is open could wait forever.
async fn read_tags(
    context: &Context,
    side: &Side,
    state: &State,
) -> Result<Vec<(String, String)>, Fault> {
    let key = side.full(&state.source.key);
    let read = side.once(Operation::GetTags, side.store.get_tags(&key)).await;
    read.map_err(|error| {
        if std::ptr::eq(side, &raw const context.source) {
            Fault::from_source(error)
        } else if error.class == Class::NoSuchKey {
            Fault::Changed(error)
        } else {
            Fault::Failed(error)
        }
    })
}
