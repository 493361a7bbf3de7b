//! Going on with an upload that an earlier holder of the work left open. Only when this holder's own copy would be the
//! same: the same version of the source, in the same parts, opened with the same attributes. What is there of it
//! counts only as far as it can be verified together with the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use s3sync_proto::model::{EtagKind, Key, Timestamp, Upload, UploadPlan};
use sha2::{Digest as _, Sha256};

use super::choose::{self, Facts, Layout};
use super::digest::{Crc, Digested, hex, md5_of_etag};
use super::parts::Done;
use super::single::COLLECT_PLAIN_UP_TO;
use super::{Fault, upload};
use crate::compare::{Found, STAMP};
use crate::s3::{Algorithm, Class, CreateUploadRequest, ListedPart, Operation};
use crate::worker::context::Context;
use crate::worker::side::Failed;

/// An upload that an earlier holder left open, and that may be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(super) id: String,
    pub(super) plan: UploadPlan,
    intent: Timestamp,
}

/// What must be known of parts that are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    pub(super) layout: Layout,
    pub(super) size: u64,
    /// S3 copies parts by itself, of one version of the source, and combines their checksums itself.
    pub(super) server_side: bool,
    /// Parts were sent without a checksum.
    pub(super) plain: bool,
    /// Checksums of this kind are combined to that of the whole.
    pub(super) checksum: Option<Algorithm>,
    /// MD5s of parts make the ETag that is compared with the source's.
    pub(super) md5: bool,
    /// Whether ETags of parts are MD5s.
    pub(super) etags: Option<EtagKind>,
}

/// Of the uploads that earlier holders left open, what may be gone on with: the newest of each key that this work will
/// come to. The others are to be aborted.
pub(crate) fn sort(
    uploads: Vec<Upload>,
    comes_to: impl Fn(&Key) -> bool,
) -> (BTreeMap<Key, Left>, Vec<Upload>) {
    let mut left: BTreeMap<Key, Left> = BTreeMap::new();
    let mut rest = Vec::new();
    for upload in uploads {
        let Upload { key, upload_id: Some(id), intent, plan: Some(plan) } = &upload else {
            rest.push(upload);
            continue;
        };
        let older = left.get(key).is_some_and(|other| other.intent > *intent);
        if older || !comes_to(key) {
            rest.push(upload);
            continue;
        }
        let newest = Left { id: id.clone(), plan: plan.clone(), intent: *intent };
        if let Some(Left { id, plan, intent }) = left.insert(key.clone(), newest) {
            let (key, upload_id, plan) = (key.clone(), Some(id), Some(plan));
            rest.push(Upload { key, upload_id, intent, plan });
        }
    }
    (left, rest)
}

/// What an upload opened by this request is to become. `None`: nothing tells one version of the source from another.
pub(super) fn plan(
    source: &Found,
    layout: Layout,
    request: &CreateUploadRequest,
    server_side: bool,
) -> Option<UploadPlan> {
    (!source.etag.is_empty()).then(|| UploadPlan {
        source_etag: source.etag.clone(),
        size: source.size,
        part_size: layout.part_size,
        opened_with: opened_with(source, request, server_side),
    })
}

/// The layout an upload was begun with, when it is still one for this source.
pub(super) fn layout(recorded: &UploadPlan, source: &Found, facts: Facts) -> Option<Layout> {
    let same = recorded.source_etag == source.etag && recorded.size == source.size;
    same.then(|| choose::begun(facts, recorded.part_size)).flatten()
}

/// Whether an upload becomes what would be made now. A stamp more than is wanted does no harm, if it is of this source.
pub(super) fn agree(recorded: &UploadPlan, now: &UploadPlan, source: &Found) -> bool {
    let parts = |plan: &UploadPlan| (plan.source_etag.clone(), plan.size, plan.part_size);
    let stamped = format!("{}{}", now.opened_with, stamped_at(source));
    parts(recorded) == parts(now)
        && (recorded.opened_with == now.opened_with || recorded.opened_with == stamped)
}

/// How an upload with a stamp is marked. The stamp tells the source's time in whole seconds.
fn stamped_at(source: &Found) -> String {
    format!("/{}", source.modified.as_micros().div_euclid(1_000_000))
}

/// Stands for all that an upload is opened with and that its completion cannot change. The stamp is told apart.
fn opened_with(source: &Found, request: &CreateUploadRequest, server_side: bool) -> String {
    let CreateUploadRequest { key: _, attributes, tags, encryption, checksum } = request;
    let mut text = String::from("1");
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            // With lengths, so that no two lists of values read the same.
            let _infallible = write!(text, "\n{name} {} {value}", value.len());
        }
    };
    add("content-type", attributes.content_type.as_deref());
    add("content-encoding", attributes.content_encoding.as_deref());
    add("content-language", attributes.content_language.as_deref());
    add("content-disposition", attributes.content_disposition.as_deref());
    add("cache-control", attributes.cache_control.as_deref());
    add("expires", attributes.expires.as_deref());
    add("website-redirect", attributes.website_redirect.as_deref());
    add("storage-class", attributes.storage_class.as_deref());
    let metadata = attributes.metadata.iter().filter(|(name, _)| *name != STAMP);
    for (name, value) in metadata {
        add("metadata-name", Some(name));
        add("metadata-value", Some(value));
    }
    let mut tags: Vec<_> = tags.iter().collect();
    tags.sort();
    for (name, value) in tags {
        add("tag-name", Some(name));
        add("tag-value", Some(value));
    }
    if let Some(encryption) = encryption {
        add("encryption", Some(&encryption.algorithm));
        add("kms-key", encryption.kms_key_id.as_deref());
    }
    let checksum = checksum.map(|algorithm| format!("{algorithm:?}"));
    add("checksum", checksum.as_deref());
    add("server-side", server_side.then_some(""));
    let mut digest = hex(&Sha256::digest(text));
    if attributes.metadata.contains_key(STAMP) {
        digest.push_str(&stamped_at(source));
    }
    digest
}

/// Of the parts that are there, those that need not be sent again. `None`: they are not those of this layout.
pub(super) fn kept(needs: &Needs, listed: Vec<ListedPart>) -> Option<BTreeMap<u32, Done>> {
    let mut kept = BTreeMap::new();
    for ListedPart { part, size } in listed {
        if part.number == 0 || part.number > needs.layout.parts {
            return None;
        }
        let range = needs.layout.range(part.number, needs.size);
        if range.end - range.start != size {
            return None;
        }
        if let Some(digested) = digested(needs, size, &part) {
            kept.insert(part.number, Done { part, digested });
        }
    }
    Some(kept)
}

/// What is known of a part's bytes; `None` when it is less than is needed.
fn digested(needs: &Needs, length: u64, part: &crate::s3::Part) -> Option<Digested> {
    if part.etag.is_empty() {
        return None;
    }
    if needs.server_side {
        return Some(Digested::default());
    }
    let told = part.checksum.as_ref().and_then(Crc::decode);
    let checksum = told.filter(|crc| Some(crc.algorithm()) == needs.checksum);
    if needs.checksum.is_some() && checksum.is_none() {
        return None;
    }
    let md5 = match needs.etags {
        Some(EtagKind::Md5) if needs.md5 => md5_of_etag(&part.etag),
        _ => None,
    };
    if needs.md5 && md5.is_none() {
        return None;
    }
    // Larger ones were sent with nothing that the destination could verify; who sent them had yet to look.
    let verified = !needs.plain || length <= COLLECT_PLAIN_UP_TO;
    verified.then_some(Digested { length, checksum, md5 })
}

/// The parts of an upload that need not be sent again. `None`: there is nothing to go on with.
///
/// # Errors
/// [`Fault::Changed`] when the upload is not there: then it may have been completed after the destination was listed, and
/// a look costs less than its bytes.
pub(super) async fn parts(
    context: &Context,
    key: &Key,
    left: &Left,
    needs: &Needs,
) -> Result<Option<BTreeMap<u32, Done>>, Fault> {
    let side = &context.destination;
    let full = side.full(key);
    let list = || side.store.list_parts(&full, &left.id);
    let listed = match side.call(Operation::ListParts, list).await {
        Ok(listed) => listed,
        Err(Failed { error, .. }) => {
            tracing::info!(%key, upload = left.id, code = error.code, "not gone on with");
            if error.class == Class::NoSuchUpload {
                return Err(Fault::Changed(error));
            }
            return Ok(None);
        }
    };
    let Some(kept) = kept(needs, listed) else { return Ok(None) };
    let (there, parts) = (kept.len(), needs.layout.parts);
    tracing::info!(%key, upload = left.id, there, parts, "going on with an upload");
    Ok(Some(kept))
}

/// Gives up an upload that was left open.
pub(crate) async fn abandon(context: &Context, key: &Key, left: &Left) {
    upload::abort_one(context, key, &left.id).await;
}

#[cfg(test)]
mod tests;
