//! One object in parts: ranged reads of one version in parallel, or copies of ranges inside S3. Each part is tried
//! again by itself; what they make together is compared with the source before it becomes an object.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3sync_proto::model::{BucketFacts, EtagKind};
use s3sync_telemetry::traces;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::ask::Carried;
use super::body::{self, End};
use super::choose::{Facts, Layout};
use super::digest::{self, Crc, Digested, Expected, Running, Told};
use super::resume::{self, Needs};
use super::single::{COLLECT_PLAIN_UP_TO, STREAM_BYTES};
use super::upload::{self, Open};
use super::{By, Copied, Fault, State, carry, single};
use crate::limits::throttle::acquire_both;
use crate::retry::{Next, Tries};
use crate::s3::{
    Algorithm, Class, CompleteRequest, Condition, CopyPartRequest, CreateUploadRequest, Error,
    GetRequest, Object, Operation, Part, PartRequest, PutBody, Verify,
};
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// How an object travels in parts.
#[derive(Clone, Copy)]
pub(super) struct Course {
    pub(super) facts: Facts,
    pub(super) layout: Layout,
    pub(super) server_side: bool,
}

/// What all parts of one object share.
struct Plan {
    state: PartState,
    upload_id: String,
    layout: Layout,
    server_side: bool,
    checksum: Option<Algorithm>,
    /// The parts' own MD5s are needed, to compare with the source's ETag.
    md5: bool,
}

/// The part of [`State`] that parts need.
struct PartState {
    key: s3sync_proto::model::Key,
    etag: String,
    size: u64,
    plain: bool,
}

/// A part that was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) part: Part,
    pub(super) digested: Digested,
}

/// Copies an object in parts. `object` is the HEAD of the version to copy.
pub(super) async fn copy(
    context: &Arc<Context>,
    state: &mut State,
    object: Object,
    course: Course,
) -> Result<Copied, Fault> {
    let permit = context.source.limiter.acquire().await;
    carry::all_readable(context, state, &object)?;
    let tags = carry::tags(context, state, object.tag_count).await?;
    drop(permit);
    let (open, plan, done) = match taken_over(context, state, &object, &tags, course).await? {
        Some(taken_over) => taken_over,
        None => {
            let plan = Plan::new(context, state, &object, course);
            let request = opening(context, state, &object, &tags, &plan);
            let becomes = resume::plan(&state.source, plan.layout, &request, plan.server_side);
            let open = upload::open(context, state, request, becomes).await?;
            (open, plan, BTreeMap::new())
        }
    };
    let plan = Arc::new(Plan { upload_id: open.id.clone(), ..plan });
    if !tags.is_empty() && state.carried.is_none() {
        // Not every server keeps those of an upload.
        state.carried = Some(Box::new(Carried::new(object.attributes.clone(), tags)));
    }
    let filled = tokio::select! {
        biased;
        filled = fill(context, state, &plan, &open, &object, done) => filled,
        () = context.give_up.cancelled() => Err(Fault::GivenUp),
    };
    match filled {
        Ok(copied) => {
            upload::finish(context, open).await;
            single::learn_refusals(context, state).await;
            Ok(copied)
        }
        // The next holder goes on with it or aborts it, by its record.
        Err(Fault::Lost) => Err(Fault::Lost),
        Err(Fault::GivenUp) if open.resumable => Err(Fault::GivenUp),
        Err(fault) => {
            upload::abort(context, open).await;
            Err(without_checksums(state, &plan, fault))
        }
    }
}

/// What the upload is opened with.
fn opening(
    context: &Context,
    state: &State,
    object: &Object,
    tags: &[(String, String)],
    plan: &Plan,
) -> CreateUploadRequest {
    let reproduced = plan.layout.as_source && context.kinds().destination == Some(EtagKind::Md5);
    let stamp = carry::stamp_of(context, state, reproduced);
    CreateUploadRequest {
        key: context.destination.full(&state.source.key),
        attributes: carry::attributes(context, object, stamp),
        tags: tags.to_vec(),
        encryption: carry::encryption(context),
        checksum: plan.checksum,
    }
}

/// Takes over the upload that an earlier holder left open, when it is what this copy would be; else aborts it.
async fn taken_over(
    context: &Context,
    state: &mut State,
    object: &Object,
    tags: &[(String, String)],
    course: Course,
) -> Result<Option<(Open, Plan, BTreeMap<u32, Done>)>, Fault> {
    let Some(left) = state.left.take() else { return Ok(None) };
    let key = state.source.key.clone();
    if let Some(layout) = resume::layout(&left.plan, &state.source, course.facts) {
        let plan = Plan::new(context, state, object, Course { layout, ..course });
        let request = opening(context, state, object, tags, &plan);
        let becomes = resume::plan(&state.source, layout, &request, plan.server_side);
        if becomes.is_some_and(|becomes| resume::agree(&left.plan, &becomes, &state.source)) {
            let needs = plan.needs(context, object);
            if let Some(done) = resume::parts(context, &key, &left, &needs).await? {
                return Ok(Some((upload::taken_over(key, left), plan, done)));
            }
        }
    }
    resume::abandon(context, &key, &left).await;
    Ok(None)
}

/// A destination that takes an upload with checksums and then refuses parts with them gets an upload without.
fn without_checksums(state: &mut State, plan: &Plan, fault: Fault) -> Fault {
    if let Fault::Spent(Failed { error, .. }) = &fault
        && error.class == Class::Unsupported
        && plan.checksum.is_some()
    {
        state.refused.checksums = true;
        state.refused.trailers = true;
        return Fault::OtherWay;
    }
    fault
}

async fn fill(
    context: &Arc<Context>,
    state: &mut State,
    plan: &Arc<Plan>,
    open: &Open,
    object: &Object,
    done: BTreeMap<u32, Done>,
) -> Result<Copied, Fault> {
    let (done, known) = all_parts(context, plan, done).await?;
    let checksum = match plan.server_side {
        // S3 combines its own and compares.
        true => object.checksum.clone(),
        false => verify(context, plan, object, &done)?.map(Crc::encode),
    };
    let etag = digest::multipart_etag(done.iter().map(|done| done.part.etag.as_str()));
    let request = CompleteRequest {
        key: context.destination.full(&plan.state.key),
        upload_id: open.id.clone(),
        parts: done.into_iter().map(|done| done.part).collect(),
        size: plan.state.size,
        checksum: checksum.filter(|_| plan.checksum.is_some()),
        condition: Condition::None,
    };
    let (written, look_again) =
        upload::complete(context, state, open, request, etag.as_deref(), known).await?;
    context.learn_encryption(&context.destination, written.encryption.as_deref()).await;
    Ok(Copied {
        etag: written.etag,
        bytes: plan.state.size,
        by: if plan.server_side { By::PartCopies } else { By::AgentParts },
        look_again,
        ..Copied::default()
    })
}

/// Sends the parts that are not done yet. Returns all, and a time at or after which the source was still the same: each read of
/// it is pinned.
async fn all_parts(
    context: &Arc<Context>,
    plan: &Arc<Plan>,
    mut done: BTreeMap<u32, Done>,
) -> Result<(Vec<Done>, Instant), Fault> {
    let mut known = Instant::now();
    let mut flying = JoinSet::new();
    let missing = (1..=plan.layout.parts).filter(|number| !done.contains_key(number));
    let mut missing = missing.collect::<Vec<_>>().into_iter();
    loop {
        while flying.len() < context.engine.settings.parts_per_object
            && let Some(number) = missing.next()
        {
            let (context, plan) = (Arc::clone(context), Arc::clone(plan));
            known = Instant::now();
            let part = async move { (number, part(&context, &plan, number).await) };
            flying.spawn(traces::in_current_whole(part).in_current_span());
        }
        let Some(finished) = flying.join_next().await else { break };
        let (number, result) = match finished {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        match result {
            Ok(part) => drop(done.insert(number, part)),
            Err(fault) => {
                // Parts in flight could land after an abort and would be paid for.
                flying.shutdown().await;
                return Err(fault);
            }
        }
    }
    assert!(done.len() == plan.layout.parts as usize, "each part is done or was sent");
    Ok((done.into_values().collect(), known))
}

/// Whether the parts together are the source. Returns their combined checksum.
fn verify(
    context: &Context,
    plan: &Plan,
    object: &Object,
    done: &[Done],
) -> Result<Option<Crc>, Fault> {
    let parts = done.iter().map(|done| Some((done.digested.checksum?, done.digested.length)));
    // Where nothing is to be compared with it, that of a part may not be known.
    let parts: Option<Vec<_>> = parts.collect();
    let combined = parts.and_then(|parts| {
        let mut parts = parts.into_iter();
        let (first, _) = parts.next()?;
        Some(parts.fold(first, |before, (next, length)| before.followed_by(next, length)))
    });
    let is = combined.map(Crc::encode);
    let wrong = |message: String| {
        let side = &context.source;
        side.error(Class::Corrupt, Operation::Get, &plan.state.key, "wrong_bytes", message)
    };
    if let (Some(is), Some(expected)) = (&is, &object.checksum)
        && is != expected
    {
        let message =
            format!("the parts have the checksum {} instead of {}", is.value, expected.value);
        return Err(Fault::Failed(wrong(message)));
    }
    let md5s: Option<Vec<String>> =
        done.iter().map(|done| done.digested.md5.map(|md5| digest::hex(&md5))).collect();
    if plan.md5
        && let Some(md5s) = md5s
        && let Some(etag) = digest::multipart_etag(md5s.iter().map(String::as_str))
        && etag != plan.state.etag
    {
        let message = format!("the parts have the ETag {etag} instead of {}", plan.state.etag);
        return Err(Fault::Failed(wrong(message)));
    }
    Ok(combined)
}

// === impl Plan ===

impl Plan {
    fn new(context: &Context, state: &State, object: &Object, course: Course) -> Self {
        let Course { layout, server_side, facts: _ } = course;
        let wanted = object.checksum.as_ref().map_or(Algorithm::Crc64Nvme, |c| c.algorithm);
        let plain = state.refused.checksums;
        let opaque = context.kinds().source == Some(EtagKind::Opaque);
        Self {
            state: PartState {
                key: state.source.key.clone(),
                etag: state.source.etag.clone(),
                size: state.source.size,
                plain,
            },
            upload_id: String::new(),
            layout,
            server_side,
            checksum: (!plain).then_some(wanted),
            md5: object.checksum.is_none() && layout.as_source && !opaque && !server_side,
        }
    }

    /// What must be known of parts that are there.
    fn needs(&self, context: &Context, object: &Object) -> Needs {
        let of_source = object.checksum.as_ref().map(|checksum| checksum.algorithm);
        Needs {
            layout: self.layout,
            size: self.state.size,
            server_side: self.server_side,
            plain: self.state.plain,
            checksum: self.checksum.or(of_source),
            md5: self.md5,
            etags: context.kinds().destination,
        }
    }
}

async fn part(context: &Context, plan: &Plan, number: u32) -> Result<Done, Fault> {
    let mut tries = Tries::default();
    loop {
        let attempt = if plan.server_side {
            copy_part(context, plan, number).await
        } else {
            stream_part(context, plan, number).await
        };
        let error = match attempt {
            Err(Fault::Failed(error)) => error,
            other => return other,
        };
        match tries.failed(error.class, fastrand::f64()) {
            Next::Wait(wait) => context.side_of(&error).limiter.again(wait).await,
            Next::GiveUp => return Err(Fault::Spent(Failed { error, attempts: tries.failed })),
        }
    }
}

async fn copy_part(context: &Context, plan: &Plan, number: u32) -> Result<Done, Fault> {
    let side = &context.destination;
    let request = CopyPartRequest {
        key: side.full(&plan.state.key),
        upload_id: plan.upload_id.clone(),
        number,
        source_bucket: context.source.bucket.clone(),
        source_key: context.source.full(&plan.state.key),
        source_if_match: plan.state.etag.clone(),
        range: plan.layout.range(number, plan.state.size),
    };
    let _permit = side.limiter.acquire().await;
    match side.once(Operation::CopyPart, side.store.copy_part(request)).await {
        Ok(part) => Ok(Done { part, digested: Digested::default() }),
        Err(error) if matches!(error.class, Class::Denied | Class::Unsupported) => {
            context.no_server_side(&error.code);
            Err(Fault::OtherWay)
        }
        Err(error) => Err(part_refused(error, true)),
    }
}

async fn stream_part(context: &Context, plan: &Plan, number: u32) -> Result<Done, Fault> {
    let (source, destination) = (&context.source, &context.destination);
    let range = plan.layout.range(number, plan.state.size);
    let length = range.end - range.start;
    let collect = plan.state.plain && length <= COLLECT_PLAIN_UP_TO;
    let bytes = if collect { length } else { STREAM_BYTES.min(length) };
    destination.limiter.admit_bytes(length).await;
    let _bytes = context.memory(bytes).await;
    let _permits = acquire_both(&source.limiter, &destination.limiter).await;
    let request = GetRequest {
        key: source.full(&plan.state.key),
        if_match: (!plan.state.etag.is_empty()).then(|| plan.state.etag.clone()),
        range: Some(range),
        ..GetRequest::default()
    };
    let get = source.once(Operation::Get, source.store.get(request)).await;
    let (object, body) = get.map_err(Fault::from_source)?;
    if object.etag != plan.state.etag {
        let message = format!("its ETag is {} instead of {}", object.etag, plan.state.etag);
        let key = &plan.state.key;
        let error = source.error(Class::Precondition, Operation::Get, key, "changed", message);
        return Err(Fault::Changed(error));
    }
    let mut request = PartRequest {
        key: destination.full(&plan.state.key),
        upload_id: plan.upload_id.clone(),
        number,
        verify: Verify::Caller,
    };
    let expected = Expected { length, ..Expected::default() };
    // A checksum is computed in any case: the parts' together is compared with the source's.
    let algorithm = plan.checksum.or(Some(Algorithm::Crc64Nvme));
    let by_etag = plan.checksum.is_none() && !collect;
    let by_etag = by_etag || (plan.checksum.is_some() && destination.known.trailers().is_none());
    let running = Running::new(algorithm, (plan.md5 || by_etag).then_some(()));
    if collect {
        let read = body::collect(body, running, length).await;
        let (bytes, digested) = read.map_err(Fault::from_source)?;
        expected
            .check(&digested)
            .map_err(|mismatch| Fault::Failed(body::corrupt(source, &plan.state.key, &mismatch)))?;
        request.verify = Verify::ContentMd5(digest::content_md5(&bytes));
        let upload = destination.store.upload_part(request, PutBody::Bytes(bytes));
        let part = destination
            .once(Operation::UploadPart, upload)
            .await
            .map_err(|error| part_refused(error, plan.checksum.is_none()))?;
        context.meter.moved(length);
        return Ok(Done { part, digested });
    }
    if let Some(algorithm) = plan.checksum {
        request.verify = Verify::Trailer(algorithm);
    }
    let (body, passage) = body::guard(body, running, expected, None);
    let upload = destination.store.upload_part(request, PutBody::Stream { length, body });
    let sent = destination.once(Operation::UploadPart, upload).await;
    let digested = match (passage.end(source, &plan.state.key), &sent) {
        (End::Passed(digested), _) => digested,
        (End::Stopped(fault), _) => return Err(*fault),
        (End::Untaken, Err(_)) => Digested::default(),
        (End::Untaken, Ok(_)) => return Err(Fault::Failed(stored_wrong(context, plan))),
    };
    let part = sent.map_err(|error| part_refused(error, plan.checksum.is_none()))?;
    stored_as_sent(context, plan, &part, &digested).await?;
    context.meter.moved(length);
    Ok(Done { part, digested })
}

/// Makes sure that the destination stored the part that was sent. One that does not say so although it was sent a
/// checksum gets an upload without: then it has to verify an MD5.
async fn stored_as_sent(
    context: &Context,
    plan: &Plan,
    part: &Part,
    digested: &Digested,
) -> Result<(), Fault> {
    let side = &context.destination;
    let md5s = side.etags().map(|kind| kind == EtagKind::Md5);
    let told = digest::told(digested, part.checksum.as_ref(), &part.etag, md5s);
    if plan.checksum.is_some() {
        let told = part.checksum.is_some();
        let learned = |facts: &mut BucketFacts| {
            facts.trailers.get_or_insert(told);
        };
        context.learn(side, learned).await;
    }
    match told {
        Told::Same => Ok(()),
        Told::Nothing if plan.checksum.is_none() => Ok(()),
        Told::Nothing => {
            let message = "the checksum that was sent is not told".to_owned();
            let (class, code) = (Class::Unsupported, "not_told");
            let key = &plan.state.key;
            let error = side.error(class, Operation::UploadPart, key, code, message);
            Err(Fault::Spent(Failed { error, attempts: 1 }))
        }
        Told::Other => Err(Fault::Failed(stored_wrong(context, plan))),
    }
}

fn stored_wrong(context: &Context, plan: &Plan) -> Box<crate::s3::Error> {
    let message = "the destination stored other bytes than were sent".to_owned();
    let key = &plan.state.key;
    let side = &context.destination;
    side.error(Class::Corrupt, Operation::UploadPart, key, "stored_wrong", message)
}

/// What a refused part means. A part is invisible, so nothing is at stake but the upload.
fn part_refused(error: Box<Error>, plain: bool) -> Fault {
    if error.class == Class::NoSuchUpload {
        // Somebody aborted it: the next holder of the range, or a lifecycle rule.
        return Fault::Changed(error);
    }
    let unknown = plain && error.class == Class::Unsupported;
    if (unknown || error.class == Class::Denied) && error.operation == Operation::UploadPart {
        // The same credential has just opened the upload. A signature covers the part's bytes: one of them changed.
        return Fault::Failed(Box::new(Error { class: Class::Corrupt, ..*error }));
    }
    Fault::from_source(error)
}
