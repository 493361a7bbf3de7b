//! Asks both sides for what listings do not tell: stamps, stored checksums, what an object carries. Where only that is
//! not in step, it is repaired without moving a byte if the destination can copy an object onto itself.

use super::{By, Copied, Fault, State, carry, look, server_side};
use crate::compare::drift::{drift, same_tags};
use crate::compare::{Ask, Decision, answered, by_checksums, is_md5_like};
use crate::s3::{Attributes, Class, CopyRequest, Object, Operation};
use crate::worker::context::Context;

/// What was found.
pub(super) enum Answer {
    InStep,
    /// It is to be copied.
    Copy,
    /// The bytes are in step, and now what the object carries is as well.
    Repaired(Copied),
}

/// What a copy must carry when it has arrived. Kept where that is not certain: the bytes were in step and this was not,
/// or it was sent in a way that not every server keeps.
pub(super) struct Carried {
    attributes: Attributes,
    tags: Option<Vec<(String, String)>>,
    /// The bytes were in step.
    pub(super) drifted: bool,
}

/// How the two sides compare.
pub(super) enum Compared {
    InStep,
    /// The bytes are not in step.
    Copy,
    /// The bytes are in step, and what the object carries is not.
    Drifted(Box<Drifted>),
}

/// Both sides of a key whose bytes are in step.
pub(super) struct Drifted {
    pub(super) source: Object,
    pub(super) destination: Object,
    /// The source's.
    tags: Option<Vec<(String, String)>>,
}

/// Asks, and repairs what can be repaired by itself.
pub(super) async fn answer(
    context: &Context,
    state: &mut State,
    ask: Ask,
) -> Result<Answer, Fault> {
    let Drifted { source, destination, tags } = match compared(context, state, ask).await? {
        Compared::InStep => return Ok(Answer::InStep),
        Compared::Copy => return Ok(Answer::Copy),
        Compared::Drifted(drifted) => *drifted,
    };
    let repaired = onto_itself(context, state, &source, &destination, tags.clone()).await;
    state.carried = Some(Box::new(Carried { attributes: source.attributes, tags, drifted: true }));
    match repaired? {
        Some(copied) => Ok(Answer::Repaired(copied)),
        None => Ok(Answer::Copy),
    }
}

/// Asks. Nothing is written.
pub(super) async fn compared(
    context: &Context,
    state: &mut State,
    ask: Ask,
) -> Result<Compared, Fault> {
    let listed = state.seen.clone();
    let Some(destination) = look::destination(context, state).await? else {
        return Ok(Compared::Copy);
    };
    let in_step = look::in_step(state, &destination);
    let same_size = destination.length == state.source.size;
    // Written over since it was listed, and not by a copy of this source.
    let overwritten = ask == Ask::Carried && !in_step && listed != state.seen;
    if !same_size || overwritten {
        return Ok(Compared::Copy);
    }
    let checksums = match ask {
        Ask::Checksums => {
            let source = super::head_source(context, state, None).await?;
            by_checksums(&source.checksums, &destination.checksums)
        }
        Ask::Stamp | Ask::Carried => None,
    };
    match answered(context.compare, ask, in_step, checksums).0 {
        Decision::InStep => Ok(Compared::InStep),
        Decision::Copy => Ok(Compared::Copy),
        Decision::Ask(_) => carried(context, state, destination).await,
    }
}

/// Compares what both sides carry. Their bytes are in step.
async fn carried(
    context: &Context,
    state: &mut State,
    destination: Object,
) -> Result<Compared, Fault> {
    let source = super::head_source(context, state, None).await?;
    carry::all_readable(context, state, &source)?;
    let drifted = drift(&source.attributes, &destination.attributes);
    let permit = context.source.limiter.acquire().await;
    let tags = carry::tags_of(context, &context.source, state, source.tag_count).await?;
    drop(permit);
    state.tags_unread = tags.is_none();
    let tags_differ = match &tags {
        Some(tags) => differ(context, state, tags, destination.tag_count).await?,
        None => false,
    };
    if drifted.is_empty() && !tags_differ {
        return Ok(Compared::InStep);
    }
    tracing::debug!(key = %state.source.key, ?drifted, tags_differ, "carries other things");
    Ok(Compared::Drifted(Box::new(Drifted { source, destination, tags })))
}

async fn differ(
    context: &Context,
    state: &mut State,
    tags: &[(String, String)],
    count: Option<u32>,
) -> Result<bool, Fault> {
    if count.is_some_and(|count| count as usize != tags.len()) {
        return Ok(true);
    }
    let side = &context.destination;
    let permit = side.limiter.acquire().await;
    let there = carry::tags_of(context, side, state, count).await?;
    drop(permit);
    state.tags_unread = there.is_none();
    Ok(there.is_some_and(|there| !same_tags(tags, &there)))
}

/// Whether the destination may be asked to copy an object onto itself.
pub(super) fn can_copy_onto_itself(context: &Context, destination: &Object) -> bool {
    destination.length <= context.engine.settings.copy_up_to
        && context.destination.known.conditional_copies() != Some(false)
        && !context.copies_onto_itself_refused()
        && !destination.etag.is_empty()
        && !destination.is_archived()
}

/// Has the destination copy the object onto itself with what the source carries. The write holds a condition, and so
/// does the read: what is written over is what was looked at. `None`: it cannot, so the bytes must travel again.
async fn onto_itself(
    context: &Context,
    state: &mut State,
    source: &Object,
    destination: &Object,
    tags: Option<Vec<(String, String)>>,
) -> Result<Option<Copied>, Fault> {
    let side = &context.destination;
    if !can_copy_onto_itself(context, destination) {
        return Ok(None);
    }
    state.abandon_left(context).await;
    // Some servers keep an ETag that speaks of parts.
    let comparable = carry::single_is_comparable(context, state) && is_md5_like(&destination.etag);
    let stamp = carry::stamp_of(context, state, comparable);
    let stamped = stamp.is_some();
    let of_source = source.attributes.storage_class.clone();
    let request = CopyRequest {
        source_bucket: side.bucket.clone(),
        source_key: side.full(&state.source.key),
        source_if_match: destination.etag.clone(),
        key: side.full(&state.source.key),
        replace: Some(carry::attributes(context, source, stamp)),
        replace_tags: tags,
        storage_class: carry::storage_class(context, of_source),
        encryption: carry::encryption(context),
        condition: side.condition_of_copy(Some(&destination.etag)),
    };
    match server_side::send(context, request).await? {
        Ok(sent) => server_side::sent(context, state, sent, stamped).await.map(Some),
        Err(error) => match error.class {
            Class::Denied | Class::Unsupported => {
                context.refuse_copies_onto_itself(&error.code);
                Ok(None)
            }
            Class::Permanent | Class::Archived => Ok(None),
            Class::NoSuchKey | Class::NotFound => Err(Fault::Changed(error)),
            Class::Throttled
            | Class::Transient
            | Class::Precondition
            | Class::NotModified
            | Class::NoSuchUpload
            | Class::Corrupt => Err(Fault::from_commit(error, state)),
        },
    }
}

/// Makes sure that the destination kept what the copy carries, where that is not certain. What it lost on the way is
/// given to it once more in another way.
///
/// # Errors
/// A failure that names what it does not keep: else each run would do it again and call it a success.
pub(super) async fn kept(
    context: &Context,
    state: &mut State,
    copied: Copied,
) -> Result<Copied, Fault> {
    let Some(carried) = state.carried.take() else { return Ok(copied) };
    let copied = Copied { repaired: carried.drifted, ..copied };
    let Some((destination, lost)) = lost(context, state, &carried, &copied.etag).await? else {
        return Ok(copied);
    };
    if copied.by != By::Copy {
        let source = Object { attributes: carried.attributes.clone(), ..Object::default() };
        let tags = carried.tags.clone();
        if let Some(again) = onto_itself(context, state, &source, &destination, tags).await? {
            let copied = Copied { etag: again.etag, ..copied };
            return match self::lost(context, state, &carried, &copied.etag).await? {
                None => Ok(copied),
                Some((_, lost)) => Err(not_kept(context, state, &lost)),
            };
        }
    }
    Err(not_kept(context, state, &lost))
}

/// What the destination has not kept of what was written as this ETag. `None`: it kept all, or somebody else has
/// written over it, which the next run looks at.
async fn lost(
    context: &Context,
    state: &mut State,
    carried: &Carried,
    written: &str,
) -> Result<Option<(Object, Vec<String>)>, Fault> {
    let Some(destination) = look::destination(context, state).await? else { return Ok(None) };
    if destination.etag != written {
        return Ok(None);
    }
    let mut lost = match carried.drifted {
        true => drift(&carried.attributes, &destination.attributes),
        // Only of tags it is not certain.
        false => Vec::new(),
    };
    if let Some(tags) = &carried.tags {
        let count = destination.tag_count;
        // S3 tells no count when there are none.
        let as_many = match count {
            Some(count) => count as usize == tags.len(),
            None => tags.is_empty(),
        };
        if !as_many && differ(context, state, tags, count).await? {
            lost.push("tags".to_owned());
        }
    }
    Ok((!lost.is_empty()).then_some((destination, lost)))
}

fn not_kept(context: &Context, state: &State, lost: &[String]) -> Fault {
    let what = lost.join(", ");
    let message = format!("the bytes are in step, but the destination does not keep: {what}");
    let (side, key) = (&context.destination, &state.source.key);
    Fault::Failed(side.error(Class::Permanent, Operation::Head, key, "not_kept", message))
}

impl Carried {
    /// Of a copy that is sent in a way in which not every server keeps tags.
    pub(super) fn new(attributes: Attributes, tags: Vec<(String, String)>) -> Self {
        Self { attributes, tags: Some(tags), drifted: false }
    }
}
