//! CopyObject and UploadPartCopy.

use std::sync::Arc;

use http::StatusCode;

use super::etag;
use super::multipart::{part_number, upload};
use super::object::{parse_range, template, write_conditions};
use crate::checksum::{Algorithm, Checksum, Kind, md5};
use crate::clock::now;
use crate::endpoint::{Capabilities, Endpoint};
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Object, UploadedPart};
use crate::text::{element, quoted, uri_decode, xml_date};

/// Largest object of one CopyObject (API reference).
const MAX_COPY_BYTES: usize = 5 << 30;

/// Bucket and key that a copy reads.
fn place(call: &Call) -> S3Result<(&str, Vec<u8>)> {
    let header = call.header("x-amz-copy-source").unwrap_or_default();
    // A `?` of the key itself is encoded.
    let path = header.split('?').next().unwrap_or_default();
    let (bucket, key) = path
        .strip_prefix('/')
        .unwrap_or(path)
        .split_once('/')
        .ok_or_else(|| S3Error::invalid_argument("x-amz-copy-source"))?;
    Ok((bucket, uri_decode(key)))
}

/// The object a copy reads, if its conditions hold.
fn source(endpoint: &Endpoint, call: &Call) -> S3Result<Arc<Object>> {
    let (bucket, key) = place(call)?;
    let object = endpoint.state().bucket(bucket)?.get(&key).ok_or_else(S3Error::no_such_key)?;
    let is = |wanted: &str| wanted == "*" || wanted.trim_matches('"') == object.etag;
    let wrong = call.header("x-amz-copy-source-if-match").is_some_and(|wanted| !is(wanted))
        || call.header("x-amz-copy-source-if-none-match").is_some_and(is);
    if wrong {
        return Err(S3Error::precondition());
    }
    if object.is_archived() {
        return Err(S3Error::not_in_active_tier());
    }
    Ok(object)
}

pub(super) fn object(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let source = source(endpoint, call)?;
    if source.body.len() > MAX_COPY_BYTES {
        return Err(S3Error::invalid(
            "The specified copy source is larger than the maximum allowable size",
        ));
    }
    let capabilities = endpoint.capabilities();
    let object = copied(call, &source, &capabilities)?;
    let mut state = endpoint.state();
    let bucket = state.bucket(&call.bucket)?;
    write_conditions(bucket, call, &capabilities)?;
    let object = bucket.put(call.key.clone(), Object { modified: now(), ..object });
    let change = endpoint.changed(&call.key, "ObjectCreated:Copy", Some(&object));
    let checksum = object.checksum.as_ref().map(Checksum::elements);
    Ok(result("CopyObjectResult", &object.etag, &checksum.unwrap_or_default()).changing(change))
}

/// The object that a copy makes of another one.
fn copied(call: &Call, source: &Object, capabilities: &Capabilities) -> S3Result<Object> {
    let asked = template(call)?;
    let replaces = |name: &str| call.header(name) == Some("REPLACE");
    let replaces_headers = replaces("x-amz-metadata-directive");
    let changes = replaces_headers
        || asked.storage_class != source.storage_class
        || call.header("x-amz-server-side-encryption").is_some()
        || call.header("x-amz-website-redirect-location").is_some();
    let (bucket, key) = place(call)?;
    if !changes && bucket == call.bucket && key == call.key {
        return Err(S3Error::copy_to_itself());
    }
    let mut object = Object { parts: Vec::new(), ..source.clone() };
    (object.storage_class, object.encryption) = (asked.storage_class, asked.encryption);
    (object.archive_status, object.restored) = (String::new(), false);
    if replaces_headers {
        object.headers = asked.headers;
    } else {
        // The one header that is never copied (User Guide, "System-defined object metadata").
        let redirect = "x-amz-website-redirect-location";
        object.headers.remove(redirect);
        object.headers.extend(asked.headers.into_iter().filter(|(name, _)| name == redirect));
    }
    if replaces("x-amz-tagging-directive") {
        object.tags = asked.tags;
    }
    object.etag = etag(md5(&source.body), &object.encryption, capabilities);
    object.checksum = (!capabilities.no_checksums).then(|| checksum(call, source));
    Ok(object)
}

/// The source's checksum, unless another is asked for, or it says nothing about one piece.
fn checksum(call: &Call, source: &Object) -> Checksum {
    let asked = call.header("x-amz-checksum-algorithm").and_then(Algorithm::named);
    match (asked, &source.checksum) {
        (None, Some(known)) if known.kind == Kind::FullObject => known.clone(),
        (None, Some(known)) => Checksum::full(known.algorithm, &source.body),
        (asked, _) => Checksum::full(asked.unwrap_or(Algorithm::Crc64Nvme), &source.body),
    }
}

pub(super) fn part(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let source = source(endpoint, call)?;
    let number = part_number(call)?;
    let size = source.body.len() as u64;
    let (from, to) = match call.header("x-amz-copy-source-range") {
        Some(range) => parse_range(range, size)?
            .ok_or_else(|| S3Error::invalid_argument("x-amz-copy-source-range"))?,
        None => (0, size),
    };
    let range =
        usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
    let body = source.body.slice(range);
    let digest = md5(&body);
    let capabilities = endpoint.capabilities();
    let mut state = endpoint.state();
    let upload = upload(&mut state, call)?;
    let etag = etag(digest, &upload.template.encryption, &capabilities);
    let checksum = upload.checksum.map(|(algorithm, _)| (algorithm, algorithm.of(&body)));
    let shown = checksum.as_ref().map(|(algorithm, value)| element(&algorithm.element(), value));
    let reply = result("CopyPartResult", &etag, &shown.unwrap_or_default());
    upload.parts.insert(number, UploadedPart { body, digest, etag, checksum });
    Ok(reply)
}

fn result(root: &str, etag: &str, checksum: &str) -> Reply {
    let (etag, modified) =
        (element("ETag", &quoted(etag)), element("LastModified", &xml_date(now())));
    Reply { status: StatusCode::OK, ..Reply::xml(root, &format!("{etag}{modified}{checksum}")) }
}
