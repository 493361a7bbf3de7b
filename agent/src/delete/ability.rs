//! Learns how a bucket deletes conditionally, before anything is deleted there: a bucket that ignores the condition would
//! otherwise show it by deleting what must not be.
//!
//! First a key is deleted that does not exist, on the condition of an ETag: S3 says that there is none. A bucket that
//! answers with a success ignores the condition, or does not mind that there is nothing; then an object of our own tells.

use s3sync_proto::model::{BucketFacts, Key};

use crate::copy;
use crate::s3::{Class, DeleteRequest, Object, Operation, PutBody, PutRequest};
use crate::work::Lost;
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// An ETag that no object has.
const NO_ETAG: &str = "00000000000000000000000000000000";

/// What the keys of our own begin with. One that is left behind is extra, and the next run deletes it.
pub(super) const PROBE: &str = ".s3sync-probe-";

/// How keys are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Many by one request, each on the condition of its ETag.
    Batch,
    /// One by one, on the condition of the ETag.
    Single,
    /// One by one, after a look.
    Unconditional,
}

/// Why nothing can be deleted.
pub(super) enum Unable {
    /// The assignment was lost.
    Lost,
    /// As every key's failure.
    Failed(Failed),
}

impl From<Lost> for Unable {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

impl From<Failed> for Unable {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// How keys are deleted in the destination's bucket.
pub(super) async fn way(context: &Context, unconditional: bool) -> Result<Way, Unable> {
    let side = &context.destination;
    let (single, batch) = match side.known.deletes() {
        Some(known) => known,
        None => {
            let _first = side.known.first_delete.lock().await;
            match side.known.deletes() {
                Some(known) => known,
                None => learn(context).await?,
            }
        }
    };
    if batch {
        return Ok(Way::Batch);
    }
    if single {
        return Ok(Way::Single);
    }
    if unconditional {
        return Ok(Way::Unconditional);
    }
    let message = format!(
        "the bucket {} does not delete on the condition of an ETag, so that what somebody else writes meanwhile could be \
         deleted; set deletes.unconditional: true to delete all the same",
        side.bucket
    );
    let key = Key::default();
    let error =
        side.error(Class::Unsupported, Operation::Delete, &key, "unconditional_delete", message);
    Err(Unable::Failed(Failed { error, attempts: 1 }))
}

/// Whether a key can be named in the XML of a batch: XML has no control characters.
pub(super) fn fits_batch(key: &Key) -> bool {
    std::str::from_utf8(key.as_bytes()).is_ok_and(|text| {
        text.chars().all(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'))
    })
}

/// What a delete on the condition of an ETag that nothing has came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It was refused for the condition.
    Honoured,
    /// It was a success.
    Success,
    /// The request was refused as one that is not known.
    Unknown,
}

async fn learn(context: &Context) -> Result<(bool, bool), Unable> {
    let side = &context.destination;
    let key = Key::from(format!("{PROBE}{:016x}", fastrand::u64(..)).as_str());
    let probe = DeleteRequest { key: side.full(&key), if_match: Some(NO_ETAG.to_owned()) };
    let single = match single(context, &probe).await? {
        Said::Honoured => true,
        Said::Unknown => false,
        Said::Success => own(context, &key, &probe, false).await?,
    };
    let batch = single
        && match batch(context, &probe).await? {
            Said::Honoured => true,
            Said::Unknown => false,
            Said::Success => own(context, &key, &probe, true).await?,
        };
    let learned = |facts: &mut BucketFacts| {
        (facts.conditional_deletes, facts.batch_deletes) = (Some(single), Some(batch));
    };
    context.learn(side, learned).await;
    Ok((single, batch))
}

async fn single(context: &Context, probe: &DeleteRequest) -> Result<Said, Unable> {
    let side = &context.destination;
    context.desk.may_commit().await?;
    let delete = side.call(Operation::Delete, || side.store.delete(probe.clone())).await;
    said(delete)
}

async fn batch(context: &Context, probe: &DeleteRequest) -> Result<Said, Unable> {
    let side = &context.destination;
    context.desk.may_commit().await?;
    let delete =
        side.call(Operation::DeleteMany, || side.store.delete_many(vec![probe.clone()])).await;
    let each = match delete {
        Ok(each) => each,
        // Whatever is wrong with batches, single deletes are known to work.
        Err(_) => return Ok(Said::Unknown),
    };
    let one = each.into_iter().next().unwrap_or(Ok(()));
    Ok(said(one.map_err(|error| Failed { error: Box::new(error), attempts: 1 }))
        .unwrap_or(Said::Unknown))
}

fn said(answer: Result<(), Failed>) -> Result<Said, Unable> {
    match answer {
        Ok(()) => Ok(Said::Success),
        Err(Failed { error, attempts }) => match error.class {
            Class::NoSuchKey | Class::Precondition => Ok(Said::Honoured),
            Class::Unsupported | Class::Permanent if error.code != "NoSuchBucket" => {
                Ok(Said::Unknown)
            }
            Class::Throttled
            | Class::Transient
            | Class::NotModified
            | Class::NotFound
            | Class::NoSuchUpload
            | Class::Archived
            | Class::Denied
            | Class::Unsupported
            | Class::Corrupt
            | Class::Permanent => Err(Failed { error, attempts }.into()),
        },
    }
}

/// Whether an object of our own survives a delete on the condition of an ETag that it does not have.
async fn own(
    context: &Context,
    key: &Key,
    probe: &DeleteRequest,
    in_batch: bool,
) -> Result<bool, Unable> {
    let side = &context.destination;
    let put = PutRequest {
        key: probe.key.clone(),
        condition: side.condition(None),
        ..PutRequest::default()
    };
    let body = "s3sync looks whether this bucket deletes conditionally; this object is gone soon.";
    context.desk.may_commit().await?;
    let written = side
        .call(Operation::Put, || side.store.put(put.clone(), PutBody::Bytes(body.into())))
        .await;
    match written {
        Ok(_) => {}
        // A write of ours whose answer was lost.
        Err(Failed { error, .. }) if error.class == Class::Precondition => {}
        Err(failed) => return Err(failed.into()),
    }
    let said = if in_batch { batch(context, probe).await? } else { single(context, probe).await? };
    let there = copy::head(side, key).await?;
    let survived = said == Said::Honoured && there.is_some();
    if let Some(Object { etag, .. }) = there {
        context.desk.may_commit().await?;
        let if_match = survived.then_some(etag);
        let delete = DeleteRequest { key: probe.key.clone(), if_match };
        // What is left behind is extra at the next run.
        let _left = side.call(Operation::Delete, || side.store.delete(delete.clone())).await;
    }
    Ok(survived)
}
