//! CopyObject and UploadPartCopy.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::etag;
use super::multipart::{part_number, upload};
use super::object::{parse_range, sunk, template, write_conditions};
use crate::checksum::{Algorithm, Checksum, Kind, md5};
use crate::clock::now;
use crate::endpoint::{Capabilities, Endpoint};
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Object, UploadedPart};
use crate::text::{element, quoted, uri_decode, xml_date};

/// Largest object of one CopyObject (API reference).
const MAX_COPY_BYTES: u64 = 5 << 30;

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
    if source.size() > MAX_COPY_BYTES {
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
    if object.unstored.is_some() {
        object.encryption = sunk(&object.encryption);
    }
    object.etag = etag(|| md5(&source.body), &object.encryption, capabilities);
    object.checksum = if capabilities.no_checksums { None } else { Some(checksum(call, source)?) };
    Ok(object)
}

/// The source's checksum, unless another is asked for, or it says nothing about one piece.
fn checksum(call: &Call, source: &Object) -> S3Result<Checksum> {
    let asked = call.header("x-amz-checksum-algorithm").and_then(Algorithm::named);
    let algorithm = match (asked, &source.checksum) {
        (None, Some(known)) if known.kind == Kind::FullObject => return Ok(known.clone()),
        (None, Some(known)) => known.algorithm,
        (asked, _) => asked.unwrap_or(Algorithm::Crc64Nvme),
    };
    let value = source.checksum_of(algorithm, 0..source.size())?;
    Ok(Checksum { algorithm, value, kind: Kind::FullObject })
}

pub(super) fn part(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let source = source(endpoint, call)?;
    let number = part_number(call)?;
    let size = source.size();
    let (from, to) = match call.header("x-amz-copy-source-range") {
        Some(range) => parse_range(range, size)?
            .ok_or_else(|| S3Error::invalid_argument("x-amz-copy-source-range"))?,
        None => (0, size),
    };
    let capabilities = endpoint.capabilities();
    let (kind, encryption, sinks) = {
        let mut state = endpoint.state();
        let sinks = state.bucket(&call.bucket)?.sinks(&call.key);
        let upload = upload(&mut state, call)?;
        let kind = upload.checksum.map(|(algorithm, _)| algorithm);
        (kind, upload.template.encryption.clone(), sinks)
    };
    let body = if sinks { Bytes::new() } else { source.read(from..to)? };
    let digest = if sinks { [0; 16] } else { md5(&body) };
    let checksum = match kind.or(sinks.then_some(Algorithm::Crc64Nvme)) {
        Some(algorithm) => Some((algorithm, source.checksum_of(algorithm, from..to)?)),
        None => None,
    };
    let etag = etag(|| digest, &encryption, &capabilities);
    let shown = checksum.as_ref().map(|(algorithm, value)| element(&algorithm.element(), value));
    let reply = result("CopyPartResult", &etag, &shown.unwrap_or_default());
    let part = UploadedPart { body, size: to - from, digest, etag, checksum };
    upload(&mut endpoint.state(), call)?.parts.insert(number, part);
    Ok(reply)
}

fn result(root: &str, etag: &str, checksum: &str) -> Reply {
    let (etag, modified) =
        (element("ETag", &quoted(etag)), element("LastModified", &xml_date(now())));
    Reply { status: StatusCode::OK, ..Reply::xml(root, &format!("{etag}{modified}{checksum}")) }
}
