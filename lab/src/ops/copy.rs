//! CopyObject and UploadPartCopy.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::multipart::{part_number, upload};
use super::object::{opaque, parse_range, template, write_conditions};
use crate::checksum::md5;
use crate::endpoint::State;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Object, UploadedPart};
use crate::text::{element, hex, now, uri_decode, xml_date};

/// Largest object of one CopyObject (API reference).
const MAX_COPY_BYTES: usize = 5 << 30;

/// The object a copy reads, if its conditions hold.
fn source(state: &State, call: &Call) -> S3Result<Arc<Object>> {
    let header = call.header("x-amz-copy-source").unwrap_or_default();
    let path = header.strip_prefix('/').unwrap_or(header);
    let (bucket, key) =
        path.split_once('/').ok_or_else(|| S3Error::invalid("x-amz-copy-source"))?;
    let bucket = state.buckets.get(bucket).ok_or_else(S3Error::no_such_bucket)?;
    let object = bucket.get(&Bytes::from(uri_decode(key))).ok_or_else(S3Error::no_such_key)?;
    let wanted = call.header("x-amz-copy-source-if-match");
    if wanted.is_some_and(|wanted| wanted.trim_matches('"') != object.etag) {
        return Err(S3Error::precondition());
    }
    Ok(object)
}

pub(super) fn object(state: &mut State, call: &Call) -> S3Result<Reply> {
    let source = source(state, call)?;
    if source.body.len() > MAX_COPY_BYTES {
        return Err(S3Error::invalid(
            "The specified copy source is larger than the maximum allowable size",
        ));
    }
    let State { buckets, capabilities, .. } = state;
    let bucket = buckets.get_mut(&call.bucket).ok_or_else(S3Error::no_such_bucket)?;
    write_conditions(bucket, call, capabilities)?;
    let asked = template(call)?;
    let mut object = Object {
        modified: now(),
        parts: Vec::new(),
        etag: if capabilities.opaque_etags { opaque() } else { hex(&md5(&source.body)) },
        storage_class: asked.storage_class.clone(),
        encryption: asked.encryption.clone(),
        ..Object::clone(&source)
    };
    if call.header("x-amz-metadata-directive") == Some("REPLACE") {
        object.headers = asked.headers;
    }
    if call.header("x-amz-tagging-directive") == Some("REPLACE") {
        object.tags = asked.tags;
    }
    let object = bucket.put(call.key.clone(), object);
    Ok(result("CopyObjectResult", &object.etag, object.modified))
}

pub(super) fn part(state: &mut State, call: &Call) -> S3Result<Reply> {
    let source = source(state, call)?;
    let number = part_number(call)?;
    let size = source.body.len() as u64;
    let (from, to) = match call.header("x-amz-copy-source-range") {
        Some(range) => parse_range(range, size)?,
        None => (0, size),
    };
    let range =
        usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
    let body = source.body.slice(range);
    let bucket = state.buckets.get_mut(&call.bucket).ok_or_else(S3Error::no_such_bucket)?;
    let upload = upload(bucket, call)?;
    let checksum = upload.checksum.map(|(algorithm, _)| (algorithm, algorithm.of(&body)));
    let digest = md5(&body);
    upload.parts.insert(number, UploadedPart { body, digest, checksum });
    Ok(result("CopyPartResult", &hex(&digest), now()))
}

fn result(root: &str, etag: &str, modified: i64) -> Reply {
    let inner = format!(
        "{}{}",
        element("ETag", &format!("\"{etag}\"")),
        element("LastModified", &xml_date(modified))
    );
    Reply { status: StatusCode::OK, ..Reply::xml(root, &inner) }
}
