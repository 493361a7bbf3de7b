//! One GET into one PUT. Small bodies are read first, larger ones stream.

use s3sync_proto::model::{BucketFacts, EtagKind};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::body::{self, End};
use super::digest::{self, Crc, Digested, Expected, Running, Told};
use super::{Copied, Fault, LOOK_AGAIN_AFTER, Opened, State, carry, look};
use crate::compare::is_md5_like;
use crate::limits::Permit;
use crate::limits::throttle::acquire_both;
use crate::s3::{
    Algorithm, Class, Condition, GetRequest, Object, Operation, PutBody, PutRequest, Verify,
    Written,
};
use crate::worker::context::Context;
use crate::worker::known::FirstWrite;

/// Bodies up to this size are read before they are written: they come in one or a few chunks anyway, their checksum
/// is known before the PUT begins, and no request is held open for another.
const COLLECT_UP_TO: u64 = 256 * 1024;

/// Where streamed checksums are not taken, bodies and parts up to this size are read first, so that their MD5 can be
/// sent.
pub(super) const COLLECT_PLAIN_UP_TO: u64 = 16 * 1024 * 1024;

/// Memory that a streaming body counts for: buffers of two connections and the chunk that is held back. Measured with
/// 64 large objects at once it takes up to 1.5 MiB; so many of this still leave room within 400 MB.
pub(super) const STREAM_BYTES: u64 = 768 * 1024;

/// Copies an object by one GET and one PUT.
pub(super) async fn copy(context: &Context, state: &mut State) -> Result<Copied, Fault> {
    context.destination.limiter.admit_bytes(state.source.size).await;
    let plain = state.refused.checksums;
    let most = if plain { COLLECT_PLAIN_UP_TO } else { COLLECT_UP_TO };
    let collect = state.source.size <= most;
    let sent =
        if collect { collected(context, state).await? } else { streamed(context, state).await? };
    let source_is_md5 = sent.digested.md5.is_some_and(|md5| digest::hex(&md5) == state.source.etag);
    if source_is_md5 {
        context.learn_etags(&context.source, EtagKind::Md5).await;
    }
    let encryption = sent.written.encryption.as_deref();
    context.learn_encryption(&context.destination, encryption).await;
    learn_checksums(context, &sent).await;
    stored_as_sent(context, state, &sent)?;
    let Sent { written, stamped, digested, look_again, verify: _ } = sent;
    context.meter.moved(digested.length);
    learn_refusals(context, state).await;
    if !stamped && !context.compare_ignores_stamps() {
        look::comparable(context, state, &written.etag).await?;
    }
    Ok(Copied { etag: written.etag, bytes: digested.length, look_again, ..Copied::default() })
}

/// A PUT that was answered.
struct Sent {
    written: Written,
    stamped: bool,
    digested: Digested,
    look_again: bool,
    /// How the destination was to verify it.
    verify: Verify,
}

async fn collected(context: &Context, state: &mut State) -> Result<Sent, Fault> {
    let (source, destination) = (&context.source, &context.destination);
    let opened = match state.opened().filter(|_| state.source.size <= STREAM_BYTES) {
        Some(opened) => opened,
        None => {
            let bytes = context.memory(state.source.size).await;
            let permits = vec![source.limiter.acquire().await];
            open(context, state, bytes, permits).await?
        }
    };
    let Opened { object, body, permits, bytes: _bytes, asked } = opened;
    let expected = expected(context, state, &object);
    // Without a checksum of the source's, one is computed for the destination to verify.
    let algorithm = expected.checksum.as_ref().map_or(Algorithm::Crc64Nvme, |c| c.algorithm);
    let unsure = !state.refused.checksums && destination.known.checksums().is_none();
    let md5 = (expected.md5_etag.is_some() || unsure).then_some(());
    let read = body::collect(body, Running::new(Some(algorithm), md5), expected.length).await;
    let (bytes, digested) = read.map_err(Fault::from_source)?;
    expected
        .check(&digested)
        .map_err(|wrong| Fault::Failed(body::corrupt(source, &state.source.key, &wrong)))?;
    carry::all_readable(context, state, &object)?;
    let tags = carry::tags(context, state, object.tag_count).await?;
    drop(permits);

    let stamp = carry::stamp_of(context, state, carry::single_is_comparable(context, state));
    let stamped = stamp.is_some();
    let mut request = put_request(context, state, &object, tags, stamp);
    request.verify = match digested.checksum.map(Crc::encode) {
        Some(checksum) if !state.refused.checksums => Verify::Checksum(checksum),
        _ => Verify::ContentMd5(digest::content_md5(&bytes)),
    };
    let verify = request.verify.clone();
    let first_write = destination.known.first_write().await;
    // It may have been learned while this copy waited for its turn.
    request.condition = state.condition(destination);
    let permit = context.commit_permit().await?;
    let put = destination.store.put(request.clone(), PutBody::Bytes(bytes.clone()));
    let put = destination.once(Operation::Put, put).await;
    drop(permit);
    let look_again = asked.elapsed() > LOOK_AGAIN_AFTER;
    let written = put.map_err(|error| refused(error, state, &request))?;
    if let Some(first_write) = first_write {
        request.condition = Condition::Absent;
        let put = destination.store.put(request, PutBody::Bytes(bytes));
        learn_conditions(context, first_write, Operation::Put, put).await;
    }
    Ok(Sent { written, stamped, digested, look_again, verify })
}

async fn streamed(context: &Context, state: &mut State) -> Result<Sent, Fault> {
    let (source, destination) = (&context.source, &context.destination);
    let opened = match state.opened() {
        Some(opened) => opened,
        None => {
            let bytes = context.memory(STREAM_BYTES).await;
            let permits = acquire_both(&source.limiter, &destination.limiter).await;
            open(context, state, bytes, permits.into()).await?
        }
    };
    let Opened { object, body, permits: _permits, bytes: _bytes, asked } = opened;
    carry::all_readable(context, state, &object)?;
    let tags = carry::tags(context, state, object.tag_count).await?;
    let expected = expected(context, state, &object);
    let stamp = carry::stamp_of(context, state, carry::single_is_comparable(context, state));
    let stamped = stamp.is_some();
    let mut request = put_request(context, state, &object, tags, stamp);
    let trailers = destination.known.trailers() != Some(false) && !state.refused.checksums;
    let by_etag = expected.md5_etag.as_deref().and_then(digest::content_md5_of_etag);
    request.verify = match (&expected.checksum, by_etag) {
        (Some(checksum), _) if !state.refused.checksums => Verify::Checksum(checksum.clone()),
        (_, Some(md5)) => Verify::ContentMd5(md5),
        _ if trailers => Verify::Trailer(Algorithm::Crc64Nvme),
        _ => Verify::Caller,
    };
    // What nothing else verifies, or may not, is compared by the ETag afterwards.
    let known = &destination.known;
    let (algorithm, by_etag) = match &request.verify {
        Verify::Checksum(checksum) => (Some(checksum.algorithm), known.checksums().is_none()),
        Verify::Trailer(algorithm) => (Some(*algorithm), known.trailers().is_none()),
        Verify::ContentMd5(_) => (None, false),
        Verify::Caller => (None, true),
    };
    let algorithm = expected.checksum.as_ref().map(|checksum| checksum.algorithm).or(algorithm);
    let md5 = (expected.md5_etag.is_some() || by_etag).then_some(());
    let length = expected.length;
    let gate = Some(std::sync::Arc::clone(&context.desk));
    let (body, passage) = body::guard(body, Running::new(algorithm, md5), expected, gate);
    let put = destination.store.put(request.clone(), PutBody::Stream { length, body });
    let put = destination.once(Operation::Put, put).await;
    let digested = match passage.end(source, &state.source.key) {
        End::Passed(digested) => digested,
        End::Stopped(fault) => return Err(*fault),
        End::Untaken => match put {
            Err(error) => return Err(refused(error, state, &request)),
            Ok(_) => return Err(Fault::Failed(untaken(context, state))),
        },
    };
    let written = put.map_err(|error| refused(error, state, &request))?;
    let look_again = asked.elapsed() > LOOK_AGAIN_AFTER;
    Ok(Sent { written, stamped, digested, look_again, verify: request.verify })
}

/// Reads the version that is copied.
async fn open(
    context: &Context,
    state: &State,
    bytes: OwnedSemaphorePermit,
    permits: Vec<Permit>,
) -> Result<Opened, Fault> {
    let source = &context.source;
    let request = GetRequest {
        key: source.full(&state.source.key),
        if_match: state.pin(),
        ..GetRequest::default()
    };
    let asked = Instant::now();
    let get = source.once(Operation::Get, source.store.get(request)).await;
    let (object, body) = get.map_err(Fault::from_source)?;
    super::pinned(context, state, &object, Operation::Get)?;
    context.learn_encryption(source, object.encryption.as_deref()).await;
    Ok(Opened { object, body, permits, bytes, asked })
}

/// What the body must be: as long as announced and listed, with the checksum S3 has stored, else with the MD5 that
/// its ETag is.
fn expected(context: &Context, state: &State, object: &Object) -> Expected {
    let opaque = context.kinds().source == Some(EtagKind::Opaque);
    let by_etag = object.checksum.is_none() && !opaque && is_md5_like(&object.etag);
    Expected {
        length: state.source.size,
        checksum: object.checksum.clone(),
        md5_etag: by_etag.then(|| object.etag.clone()),
    }
}

fn put_request(
    context: &Context,
    state: &State,
    object: &Object,
    tags: Vec<(String, String)>,
    stamp: Option<String>,
) -> PutRequest {
    PutRequest {
        key: context.destination.full(&state.source.key),
        attributes: carry::attributes(context, object, stamp),
        tags,
        encryption: carry::encryption(context),
        condition: state.condition(&context.destination),
        verify: Verify::Caller,
    }
}

/// What a refused PUT means; what the destination may not know is left out the next time, one after the other.
fn refused(error: Box<crate::s3::Error>, state: &mut State, request: &PutRequest) -> Fault {
    let trailer = matches!(request.verify, Verify::Trailer(_));
    let unknown = error.class == Class::Unsupported;
    // Some servers that do not know trailers say that the signature is wrong.
    if !(unknown || trailer && error.class == Class::Denied) {
        return Fault::from_commit(error, state);
    }
    if trailer || matches!(request.verify, Verify::Checksum(_)) {
        state.refused.trailers |= trailer && unknown;
        state.refused.checksums = true;
    } else if !state.refused.plain_write(&request.condition) {
        return Fault::Failed(error);
    }
    Fault::OtherWay
}

/// What had to be left out for a write to succeed is not known to the bucket.
pub(super) async fn learn_refusals(context: &Context, state: &State) {
    let refused = state.refused;
    context
        .learn(&context.destination, |facts| {
            if refused.trailers {
                facts.trailers = Some(false);
            }
            if refused.conditions {
                facts.conditional_writes = Some(false);
            }
        })
        .await;
}

fn untaken(context: &Context, state: &State) -> Box<crate::s3::Error> {
    let message = "it was answered before all bytes were sent".to_owned();
    let key = &state.source.key;
    context.destination.error(Class::Corrupt, Operation::Put, key, "short_write", message)
}

/// Makes sure that the destination stored what was sent. One that does not say so is believed only when it had to
/// verify an MD5, or when its ETag shows it; else the object is written once more in that way.
fn stored_as_sent(context: &Context, state: &mut State, sent: &Sent) -> Result<(), Fault> {
    let side = &context.destination;
    let md5s = side.etags().map(|kind| kind == EtagKind::Md5);
    let told =
        digest::told(&sent.digested, sent.written.checksum.as_ref(), &sent.written.etag, md5s);
    let by_checksum = match sent.verify {
        Verify::Checksum(_) | Verify::Trailer(_) => true,
        Verify::ContentMd5(_) | Verify::Caller => false,
    };
    match told {
        Told::Same => Ok(()),
        Told::Nothing if !by_checksum => Ok(()),
        Told::Nothing => {
            tracing::debug!(bucket = side.bucket, "a checksum that was sent is not told");
            state.seen = Some(sent.written.etag.clone());
            state.refused.checksums = true;
            Err(Fault::OtherWay)
        }
        Told::Other => {
            state.seen = Some(sent.written.etag.clone());
            let message = "the destination stored other bytes than were sent".to_owned();
            let key = &state.source.key;
            let (class, code) = (Class::Corrupt, "stored_wrong");
            Err(Fault::Failed(side.error(class, Operation::Put, key, code, message)))
        }
    }
}

/// Learns whether the destination tells the checksums it was sent. Those it does not tell it may not have verified, so
/// they are not relied on any more.
async fn learn_checksums(context: &Context, sent: &Sent) {
    let told = sent.written.checksum.is_some();
    let trailer = matches!(sent.verify, Verify::Trailer(_));
    if !trailer && !matches!(sent.verify, Verify::Checksum(_)) {
        return;
    }
    let learned = |facts: &mut BucketFacts| {
        facts.checksums.get_or_insert(told);
        if trailer {
            facts.trailers.get_or_insert(told);
        }
    };
    context.learn(&context.destination, learned).await;
}

/// Learns whether conditional writes are honoured: the same write again, this time only if nothing is there. It must
/// be refused. Where it is not, the same bytes were written once more, and nothing is harmed.
pub(super) async fn learn_conditions(
    context: &Context,
    first_write: FirstWrite<'_>,
    operation: Operation,
    again: futures_util::future::BoxFuture<'_, Result<Written, crate::s3::Error>>,
) {
    let destination = &context.destination;
    let Ok(permit) = context.commit_permit().await else { return };
    let answer = destination.once(operation, again).await;
    drop(permit);
    let honoured = match answer {
        Ok(_) => false,
        Err(error) if error.class == Class::Precondition => true,
        Err(error) if error.class == Class::Unsupported => false,
        Err(_) => return,
    };
    if !honoured {
        let operation = operation.name();
        tracing::warn!(bucket = destination.bucket, operation, "conditions are not honoured");
    }
    let learned = |facts: &mut BucketFacts| {
        if operation == Operation::Copy {
            facts.conditional_copies = Some(honoured);
        } else {
            facts.conditional_writes = Some(honoured);
        }
    };
    context.learn(destination, learned).await;
    drop(first_write);
}
