//! Multipart uploads.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::object::{sunk, template, verify, write_conditions};
use super::{Payload, etag, is_opaque};
use crate::checksum::{Algorithm, Checksum, Kind, md5, multipart_etag};
use crate::clock::now;
use crate::endpoint::{Capabilities, Endpoint, State};
use crate::error::{S3Error, S3Result};
use crate::giant::Unstored;
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Object, Upload, UploadedPart};
use crate::text::{element, elements, quoted, xml_unescape};

/// Highest part number (S3 User Guide, "Multipart upload limits").
const MAX_PART: u32 = 10_000;

/// Most parts of a page (API reference, ListParts).
const MAX_PAGE: usize = 1_000;

pub(super) fn create(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let algorithm = call.header("x-amz-checksum-algorithm").and_then(Algorithm::named);
    let full = call.header("x-amz-checksum-type").is_some_and(|kind| kind == "FULL_OBJECT");
    let checksum = algorithm.map(|algorithm| {
        let composite = algorithm != Algorithm::Crc64Nvme && !full;
        (algorithm, if composite { Kind::Composite } else { Kind::FullObject })
    });
    if full && algorithm == Some(Algorithm::Sha256) {
        return Err(S3Error::invalid("The FULL_OBJECT checksum type cannot be used with SHA256."));
    }
    let id = format!("upload-{:032x}", fastrand::u128(..));
    let inner = format!(
        "{}{}{}",
        element("Bucket", &call.bucket),
        element("Key", &String::from_utf8_lossy(&call.key)),
        element("UploadId", &id)
    );
    let mut reply = Reply::xml("InitiateMultipartUploadResult", &inner);
    if let Some((algorithm, kind)) = checksum {
        reply = reply
            .with("x-amz-checksum-algorithm", algorithm.name())
            .with("x-amz-checksum-type", kind.name());
    }
    let mut template = template(call)?;
    if endpoint.state().bucket(&call.bucket)?.sinks(&call.key) {
        template.encryption = sunk(&template.encryption);
    }
    if !template.encryption.is_empty() {
        reply = reply.with("x-amz-server-side-encryption", &template.encryption);
    }
    let upload = Upload {
        key: call.key.clone(),
        initiated: now(),
        template,
        checksum,
        parts: BTreeMap::new(),
    };
    endpoint.state().bucket(&call.bucket)?.uploads.insert(id, upload);
    Ok(reply)
}

/// The upload that a call names.
pub(super) fn upload<'a>(
    state: &'a mut MutexGuard<'_, State>,
    call: &Call,
) -> S3Result<&'a mut Upload> {
    let id = call.query("uploadId").unwrap_or_default();
    state
        .bucket(&call.bucket)?
        .uploads
        .get_mut(id)
        .filter(|upload| upload.key == call.key)
        .ok_or_else(S3Error::no_such_upload)
}

pub(super) fn part_number(call: &Call) -> S3Result<u32> {
    let number = call.query("partNumber").and_then(|text| text.parse().ok());
    number.filter(|number| (1..=MAX_PART).contains(number)).ok_or_else(|| {
        S3Error::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
    })
}

pub(super) fn upload_part(endpoint: &Endpoint, call: &Call, payload: &Payload) -> S3Result<Reply> {
    let capabilities = endpoint.capabilities();
    let number = part_number(call)?;
    let (wanted, encryption, sinks) = {
        let mut state = endpoint.state();
        let sinks = state.bucket(&call.bucket)?.sinks(&call.key);
        let upload = upload(&mut state, call)?;
        let wanted = upload.checksum.map(|(algorithm, _)| algorithm);
        (wanted, upload.template.encryption.clone(), sinks)
    };
    let sent = verify(call, payload, &capabilities)?;
    if let (Some((given, _)), Some(wanted)) = (&sent, wanted)
        && *given != wanted
    {
        return Err(S3Error::invalid("Checksum Type mismatch occurred"));
    }
    // What is not stored can be combined later by its checksum alone.
    let kind = wanted.or(sinks.then_some(Algorithm::Crc64Nvme));
    let computed = || kind.map(|algorithm| (algorithm, algorithm.of(&payload.body)));
    let checksum = sent.or_else(computed).filter(|_| sinks || !capabilities.no_checksums);
    let digest = if sinks { [0; 16] } else { md5(&payload.body) };
    let etag = etag(|| digest, &encryption, &capabilities);
    let mut reply = Reply::empty(StatusCode::OK).with("etag", &quoted(&etag));
    if let Some((algorithm, value)) = &checksum {
        reply = reply.with(algorithm.header(), value);
    }
    let size = payload.body.len() as u64;
    let body = if sinks { Bytes::new() } else { payload.body.clone() };
    let part = UploadedPart { body, size, digest, etag, checksum };
    upload(&mut endpoint.state(), call)?.parts.insert(number, part);
    Ok(reply)
}

pub(super) fn list_parts(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<u32>().ok());
    let after = number("part-number-marker").unwrap_or_default();
    let limit = number("max-parts").map_or(MAX_PAGE, |limit| MAX_PAGE.min(limit as usize));
    let mut state = endpoint.state();
    let upload = upload(&mut state, call)?;
    let mut rest = upload.parts.range(after.saturating_add(1)..);
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut inner = format!(
        "{}{}{}{}",
        element("Bucket", &call.bucket),
        element("Key", &String::from_utf8_lossy(&call.key)),
        element("UploadId", call.query("uploadId").unwrap_or_default()),
        element("IsTruncated", if rest.next().is_some() { "true" } else { "false" })
    );
    if let Some((last, _)) = page.last() {
        inner.push_str(&element("NextPartNumberMarker", &last.to_string()));
    }
    for (number, part) in page {
        let checksum =
            part.checksum.as_ref().map(|(algorithm, value)| element(&algorithm.element(), value));
        inner.push_str(&format!(
            "<Part>{}{}{}{}</Part>",
            element("PartNumber", &number.to_string()),
            element("ETag", &quoted(&part.etag)),
            element("Size", &part.size.to_string()),
            checksum.unwrap_or_default()
        ));
    }
    Ok(Reply::xml("ListPartsResult", &inner))
}

pub(super) fn abort(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let mut state = endpoint.state();
    upload(&mut state, call)?;
    let id = call.query("uploadId").unwrap_or_default();
    state.bucket(&call.bucket)?.uploads.remove(id);
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) fn complete(endpoint: &Endpoint, call: &Call, payload: &Payload) -> S3Result<Reply> {
    let capabilities = endpoint.capabilities();
    let begun = {
        let mut state = endpoint.state();
        if capabilities.conditions_first {
            write_conditions(state.bucket(&call.bucket)?, call, &capabilities)?;
        }
        let begun = upload(&mut state, call)?.clone();
        write_conditions(state.bucket(&call.bucket)?, call, &capabilities)?;
        begun
    };
    let numbers = chosen(&begun, &payload.body)?;
    let parts: Vec<&UploadedPart> = numbers.iter().map(|number| &begun.parts[number]).collect();
    let object = assembled(&begun, &parts, &capabilities)?;
    agrees(call, &object)?;
    let mut state = endpoint.state();
    // The lock was not held while the parts were put together.
    let now_there = upload(&mut state, call)?;
    let same = |number: &u32| {
        now_there.parts.get(number).map(|part| &part.etag) == Some(&begun.parts[number].etag)
    };
    if !numbers.iter().all(same) {
        return Err(S3Error::invalid_part());
    }
    let bucket = state.bucket(&call.bucket)?;
    write_conditions(bucket, call, &capabilities)?;
    bucket.uploads.remove(call.query("uploadId").unwrap_or_default());
    let object = bucket.put(call.key.clone(), Object { modified: now(), ..object });
    let event = "ObjectCreated:CompleteMultipartUpload";
    let change = endpoint.changed(&call.key, event, Some(&object));
    let inner = format!(
        "{}{}{}{}",
        element("Bucket", &call.bucket),
        element("Key", &String::from_utf8_lossy(&call.key)),
        element("ETag", &quoted(&object.etag)),
        object.checksum.as_ref().map(Checksum::elements).unwrap_or_default()
    );
    Ok(Reply::xml("CompleteMultipartUploadResult", &inner).changing(change))
}

/// Numbers of the parts that a completion names, in its order.
fn chosen(upload: &Upload, xml: &[u8]) -> S3Result<Vec<u32>> {
    let xml = std::str::from_utf8(xml).map_err(|_| S3Error::malformed_xml())?;
    let mut numbers = Vec::new();
    let mut last = 0;
    for part in elements(xml, "Part") {
        let text = |name: &str| elements(part, name).first().map(|text| xml_unescape(text));
        let number = text("PartNumber").and_then(|text| text.trim().parse().ok());
        let number: u32 = number.ok_or_else(S3Error::malformed_xml)?;
        if number <= last {
            return Err(S3Error::invalid_part_order());
        }
        last = number;
        let etag = text("ETag").unwrap_or_default();
        let found = upload.parts.get(&number).filter(|part| part.etag == etag.trim_matches('"'));
        let found = found.ok_or_else(S3Error::invalid_part)?;
        if let Some((algorithm, value)) = &found.checksum
            && text(&algorithm.element()).is_some_and(|given| given != *value)
        {
            return Err(S3Error::invalid_part());
        }
        numbers.push(number);
    }
    if numbers.is_empty() { Err(S3Error::malformed_xml()) } else { Ok(numbers) }
}

/// The object that parts make.
fn assembled(
    upload: &Upload,
    parts: &[&UploadedPart],
    capabilities: &Capabilities,
) -> S3Result<Object> {
    let least = capabilities.min_part_size as u64;
    let too_small = |part: &&UploadedPart| part.size < least;
    if parts[..parts.len() - 1].iter().any(too_small) {
        return Err(S3Error::entity_too_small());
    }
    let size: u64 = parts.iter().map(|part| part.size).sum();
    let body = joined(parts);
    let digests: Vec<_> = parts.iter().map(|part| part.digest).collect();
    let mut object = upload.template.clone();
    object.parts = parts.iter().map(|part| part.size).collect();
    object.unstored = (body.len() as u64 != size).then_some(Unstored::Sunk(size));
    object.etag = if is_opaque(&object.encryption, capabilities) {
        format!("{:032x}-{}", fastrand::u128(..), parts.len())
    } else {
        multipart_etag(&digests)
    };
    object.checksum = (!capabilities.no_checksums).then(|| whole(upload, parts, &body));
    object.body = body;
    Ok(object)
}

fn joined(parts: &[&UploadedPart]) -> Bytes {
    if let [only] = parts {
        return only.body.clone();
    }
    let mut body = BytesMut::with_capacity(parts.iter().map(|part| part.body.len()).sum());
    parts.iter().for_each(|part| body.extend_from_slice(&part.body));
    body.freeze()
}

/// What a completion says of the whole object must be so.
fn agrees(call: &Call, object: &Object) -> S3Result<()> {
    if let Some(size) = call.header("x-amz-mp-object-size")
        && size != object.size().to_string()
    {
        return Err(S3Error::invalid(
            "The provided 'x-amz-mp-object-size' does not match what was uploaded",
        ));
    }
    if let Some(checksum) = &object.checksum
        && let Some(given) = call.header(checksum.algorithm.header())
        && given != checksum.value
    {
        return Err(S3Error::bad_digest());
    }
    Ok(())
}

/// The checksum of the whole object: combined from the parts', or computed by S3 itself.
fn whole(upload: &Upload, parts: &[&UploadedPart], body: &[u8]) -> Checksum {
    let (algorithm, kind) = upload.checksum.unwrap_or((Algorithm::Crc64Nvme, Kind::FullObject));
    let known = |part: &&UploadedPart| {
        let (known, value) = part.checksum.as_ref()?;
        (*known == algorithm).then(|| (value.clone(), part.size))
    };
    let known: Option<Vec<_>> = parts.iter().map(known).collect();
    let value = known.and_then(|known| match kind {
        Kind::Composite => algorithm.composite(&known),
        Kind::FullObject => algorithm.combined(&known),
    });
    match value {
        Some(value) => Checksum { algorithm, value, kind },
        None => Checksum::full(Algorithm::Crc64Nvme, body),
    }
}
