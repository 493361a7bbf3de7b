//! GetObject, HeadObject, PutObject.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::tags::parse_header;
use super::{Payload, etag};
use crate::checksum::{ALL, Algorithm, Checksum, Kind, md5};
use crate::clock::now;
use crate::endpoint::{Capabilities, Endpoint};
use crate::error::{S3Error, S3Result};
use crate::giant::Unstored;
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Bucket, KMS, Object};
use crate::text::{http_date, quoted};

/// Most bytes of all names and values of user metadata (S3 User Guide, "Working with object metadata").
const MAX_METADATA_BYTES: usize = 2_048;

/// Headers that an object keeps.
const KEPT: &[&str] = &[
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "expires",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
];

pub(super) fn get(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let object = endpoint.state().bucket(&call.bucket)?.get(&call.key);
    let object = object.ok_or_else(S3Error::no_such_key)?;
    match read_conditions(call, &object) {
        Err(error) if error.status == StatusCode::NOT_MODIFIED => {
            return Ok(Reply::empty(error.status)
                .with("etag", &quoted(&object.etag))
                .with("last-modified", &http_date(object.modified)));
        }
        result => result?,
    }
    if call.operation == "GetObject" && object.is_archived() {
        return Err(S3Error::invalid_object_state());
    }
    let size = object.size();
    let range = match (part_range(call, &object)?, call.header("range")) {
        (Some(part), _) => Some(part),
        (None, Some(text)) => parse_range(text, size)?,
        (None, None) => None,
    };
    let (from, to, status) = match range {
        Some((from, to)) => (from, to, StatusCode::PARTIAL_CONTENT),
        None => (0, size, StatusCode::OK),
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
        reply.body = object.read(from..to)?;
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
        return Ok(Some((0, object.size())));
    }
    let index = number
        .checked_sub(1)
        .filter(|index| *index < object.parts.len())
        .ok_or_else(S3Error::invalid_range)?;
    let from: u64 = object.parts[..index].iter().sum();
    Ok(Some((from, from + object.parts[index])))
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n`, as a half-open range; nothing when it is not one of these, as S3 then
/// answers with everything.
pub(super) fn parse_range(text: &str, size: u64) -> S3Result<Option<(u64, u64)>> {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (from, to) = match (number(from), number(to)) {
        (Some(from), Some(last)) if last < from => return Ok(None),
        (Some(from), Some(last)) => (from, last.saturating_add(1).min(size)),
        (Some(from), None) if to.is_empty() => (from, size),
        (None, Some(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return Ok(None),
    };
    if from >= size { Err(S3Error::invalid_range()) } else { Ok(Some((from, to))) }
}

pub(super) fn put(endpoint: &Endpoint, call: &Call, payload: &Payload) -> S3Result<Reply> {
    let capabilities = endpoint.capabilities();
    let sent = verify(call, payload, &capabilities)?;
    let mut object = template(call)?;
    if endpoint.state().bucket(&call.bucket)?.sinks(&call.key) {
        object.encryption = sunk(&object.encryption);
        object.unstored = Some(Unstored::Sunk(payload.body.len() as u64));
    } else {
        object.body = payload.body.clone();
    }
    object.etag = etag(|| md5(&payload.body), &object.encryption, &capabilities);
    object.checksum = (!capabilities.no_checksums).then(|| match sent {
        Some((algorithm, value)) => Checksum { algorithm, value, kind: Kind::FullObject },
        None => Checksum::full(Algorithm::Crc64Nvme, &payload.body),
    });
    let mut state = endpoint.state();
    let bucket = state.bucket(&call.bucket)?;
    write_conditions(bucket, call, &capabilities)?;
    let object = bucket.put(call.key.clone(), Object { modified: now(), ..object });
    let change = endpoint.changed(&call.key, "ObjectCreated:Put", Some(&object));
    Ok(written(&object).changing(change))
}

/// The encryption of what is not stored: its ETag says nothing, so that no MD5 need be computed.
pub(super) fn sunk(encryption: &str) -> String {
    if encryption.starts_with(KMS) { encryption.to_owned() } else { KMS.to_owned() }
}

/// What S3 answers to a write.
pub(super) fn written(object: &Arc<Object>) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK).with("etag", &quoted(&object.etag));
    if !object.encryption.is_empty() {
        reply = reply.with("x-amz-server-side-encryption", &object.encryption);
    }
    match &object.checksum {
        Some(checksum) => reply.with_checksum(checksum),
        None => reply,
    }
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
    match call.header("if-none-match") {
        Some("*") if existing.is_some() => return Err(S3Error::precondition()),
        Some("*") | None => {}
        Some(_) => return Err(S3Error::not_implemented()),
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
    let (mut headers, mut bytes) = (BTreeMap::new(), 0);
    for (name, value) in &call.headers {
        let name = name.as_str();
        let metadata = name.strip_prefix("x-amz-meta-");
        bytes += metadata.map_or(0, |name| name.len() + value.len());
        if KEPT.contains(&name) || metadata.is_some() {
            headers.insert(name.to_owned(), value.clone());
        }
    }
    if bytes > MAX_METADATA_BYTES {
        return Err(S3Error::metadata_too_large());
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
        headers,
        tags: parse_header(call.header("x-amz-tagging").unwrap_or_default())?,
        storage_class: if class == "STANDARD" { String::new() } else { class.to_owned() },
        encryption: call.header("x-amz-server-side-encryption").unwrap_or_default().to_owned(),
        ..Object::empty()
    })
}

/// What headers about checksums begin with that are not a checksum themselves.
const NO_CHECKSUMS: [&str; 3] =
    ["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"];

/// Verifies what the client says of its body; returns the checksum it sent. One that cannot be verified is refused.
pub(super) fn verify(
    call: &Call,
    payload: &Payload,
    capabilities: &Capabilities,
) -> S3Result<Option<(Algorithm, String)>> {
    if let Some(given) = call.header("content-md5") {
        let given = STANDARD.decode(given).ok().filter(|given| given.len() == 16);
        if given.ok_or_else(S3Error::invalid_digest)? != md5(&payload.body) {
            return Err(S3Error::bad_digest());
        }
    }
    if capabilities.no_checksums {
        return Ok(None);
    }
    let unknown = |name: &str| {
        name.starts_with("x-amz-checksum-")
            && !NO_CHECKSUMS.contains(&name)
            && ALL.iter().all(|algorithm| algorithm.header() != name)
    };
    let mut trailers = payload.trailers.iter().map(|(name, _)| name.as_str());
    if call.headers.keys().any(|name| unknown(name.as_str())) || trailers.any(unknown) {
        return Err(S3Error::not_implemented());
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
