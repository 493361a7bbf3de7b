//! GetObject, HeadObject, PutObject.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::Payload;
use super::tags::parse_header;
use crate::checksum::{ALL, Algorithm, Checksum, Kind, md5};
use crate::endpoint::Capabilities;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Bucket, Object};
use crate::text::{hex, now};

/// Headers that an object keeps.
const KEPT: &[&str] = &[
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "expires",
    "x-amz-website-redirect-location",
];

pub(super) fn get(bucket: &Bucket, call: &Call) -> S3Result<Reply> {
    let object = bucket.get(&call.key).ok_or_else(S3Error::no_such_key)?;
    read_conditions(call, &object)?;
    if call.operation == "GetObject"
        && matches!(object.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
    {
        return Err(S3Error::invalid_object_state());
    }
    let size = object.body.len() as u64;
    let (from, to, status) = match (part_range(call, &object)?, call.header("range")) {
        (Some((from, to)), _) => (from, to, StatusCode::PARTIAL_CONTENT),
        (None, Some(range)) => {
            let (from, to) = parse_range(range, size)?;
            (from, to, StatusCode::PARTIAL_CONTENT)
        }
        (None, None) => (0, size, StatusCode::OK),
    };
    let whole = status == StatusCode::OK;
    let checksums =
        call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    let mut reply = Reply::empty(status).describing(&object, checksums && whole);
    if !whole {
        reply =
            reply.with("content-range", &format!("bytes {from}-{}/{size}", to.saturating_sub(1)));
    }
    if call.query("partNumber").is_some() && !object.parts.is_empty() {
        reply = reply.with("x-amz-mp-parts-count", &object.parts.len().to_string());
    }
    if call.operation == "HeadObject" {
        reply.length = Some(to - from);
    } else {
        let range =
            usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
        reply.body = object.body.slice(range);
    }
    Ok(reply)
}

/// If-Match and its kin (RFC 9110, section 13.2.2: in this order).
fn read_conditions(call: &Call, object: &Object) -> S3Result<()> {
    let is = |wanted: &str| wanted == "*" || wanted.trim_matches('"') == object.etag;
    // Headers carry whole seconds.
    let seconds = object.modified.div_euclid(1_000_000);
    let time = |name: &str| {
        let text = call.header(name)?;
        jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().as_second())
    };
    match call.header("if-match") {
        Some(wanted) if !is(wanted) => return Err(S3Error::precondition()),
        Some(_) => {}
        None if time("if-unmodified-since").is_some_and(|limit| seconds > limit) => {
            return Err(S3Error::precondition());
        }
        None => {}
    }
    match call.header("if-none-match") {
        Some(wanted) if is(wanted) => Err(S3Error::not_modified()),
        Some(_) => Ok(()),
        None if time("if-modified-since").is_some_and(|limit| seconds <= limit) => {
            Err(S3Error::not_modified())
        }
        None => Ok(()),
    }
}

fn part_range(call: &Call, object: &Object) -> S3Result<Option<(u64, u64)>> {
    let Some(text) = call.query("partNumber") else { return Ok(None) };
    let number: usize = text.parse().map_err(|_| S3Error::invalid("partNumber"))?;
    if object.parts.is_empty() && number == 1 {
        return Ok(Some((0, object.body.len() as u64)));
    }
    let index = number
        .checked_sub(1)
        .filter(|index| *index < object.parts.len())
        .ok_or_else(S3Error::invalid_range)?;
    let from: u64 = object.parts[..index].iter().sum();
    Ok(Some((from, from + object.parts[index])))
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n`, as a half-open range.
pub(super) fn parse_range(text: &str, size: u64) -> S3Result<(u64, u64)> {
    let refuse = S3Error::invalid_range;
    let range = text.strip_prefix("bytes=").ok_or_else(refuse)?;
    let (from, to) = range.split_once('-').ok_or_else(refuse)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| refuse());
    let (from, to) = match (from, to) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (from, "") => (number(from)?, size),
        (from, to) => (number(from)?, number(to)?.saturating_add(1).min(size)),
    };
    if from >= size || from >= to { Err(refuse()) } else { Ok((from, to)) }
}

pub(super) fn put(
    bucket: &mut Bucket,
    call: &Call,
    payload: &Payload,
    capabilities: &Capabilities,
) -> S3Result<Reply> {
    write_conditions(bucket, call, capabilities)?;
    let checksum = verify(call, payload, capabilities)?;
    let digest = md5(&payload.body);
    let mut object = template(call)?;
    object.etag = if capabilities.opaque_etags { opaque() } else { hex(&digest) };
    object.body = payload.body.clone();
    object.checksum = (!capabilities.no_checksums).then(|| {
        let (algorithm, value) = checksum
            .unwrap_or_else(|| (Algorithm::Crc64Nvme, Algorithm::Crc64Nvme.of(&payload.body)));
        Checksum { algorithm, value, kind: Kind::FullObject }
    });
    let object = bucket.put(call.key.clone(), object);
    Ok(written(&object))
}

/// What S3 answers to a write.
pub(super) fn written(object: &Arc<Object>) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK).with("etag", &format!("\"{}\"", object.etag));
    if !object.encryption.is_empty() {
        reply = reply.with("x-amz-server-side-encryption", &object.encryption);
    }
    match &object.checksum {
        Some(checksum) => reply.with_checksum(checksum),
        None => reply,
    }
}

/// An ETag that says nothing about the bytes.
pub(super) fn opaque() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Conditions on what is at the key that is written.
pub(super) fn write_conditions(
    bucket: &Bucket,
    call: &Call,
    capabilities: &Capabilities,
) -> S3Result<()> {
    if capabilities.ignore_conditions {
        return Ok(());
    }
    let existing = bucket.get(&call.key);
    if call.header("if-none-match") == Some("*") && existing.is_some() {
        return Err(S3Error::precondition());
    }
    match (call.header("if-match"), existing) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(S3Error::no_such_key()),
        (Some(wanted), Some(object))
            if wanted == "*" || wanted.trim_matches('"') == object.etag =>
        {
            Ok(())
        }
        (Some(_), Some(_)) => Err(S3Error::precondition()),
    }
}

/// An object with what a request's headers say, and no body yet.
pub(super) fn template(call: &Call) -> S3Result<Object> {
    let mut headers = BTreeMap::new();
    for (name, value) in &call.headers {
        let name = name.as_str();
        if KEPT.contains(&name) || name.starts_with("x-amz-meta-") {
            headers.insert(name.to_owned(), value.clone());
        }
    }
    // What is left of the encoding is the object's own.
    if let Some(encoding) = call.header("content-encoding") {
        let own: Vec<_> =
            encoding.split(',').map(str::trim).filter(|part| *part != "aws-chunked").collect();
        headers.remove("content-encoding");
        if !own.is_empty()
            && let Ok(value) = own.join(",").parse()
        {
            headers.insert("content-encoding".to_owned(), value);
        }
    }
    let class = call.header("x-amz-storage-class").unwrap_or_default();
    Ok(Object {
        body: bytes::Bytes::new(),
        etag: String::new(),
        modified: now(),
        headers,
        tags: parse_header(call.header("x-amz-tagging").unwrap_or_default()),
        storage_class: if class == "STANDARD" { String::new() } else { class.to_owned() },
        encryption: call.header("x-amz-server-side-encryption").unwrap_or_default().to_owned(),
        parts: Vec::new(),
        checksum: None,
    })
}

/// Verifies what the client says of its body; returns the checksum it sent.
pub(super) fn verify(
    call: &Call,
    payload: &Payload,
    capabilities: &Capabilities,
) -> S3Result<Option<(Algorithm, String)>> {
    if let Some(given) = call.header("content-md5")
        && given != STANDARD.encode(md5(&payload.body))
    {
        return Err(S3Error::bad_digest());
    }
    if capabilities.no_checksums {
        return Ok(None);
    }
    let trailer = |name: &str| {
        payload.trailers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    for algorithm in ALL {
        let Some(given) = call.header(algorithm.header()).or_else(|| trailer(algorithm.header()))
        else {
            continue;
        };
        let actual = algorithm.of(&payload.body);
        if given != actual {
            return Err(S3Error::bad_digest());
        }
        return Ok(Some((algorithm, actual)));
    }
    Ok(None)
}
