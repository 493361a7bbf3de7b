//! Multipart uploads.

use std::collections::BTreeMap;

use bytes::BytesMut;
use http::StatusCode;

use super::Payload;
use super::object::{opaque, template, verify, write_conditions};
use crate::checksum::{Algorithm, Checksum, Kind, md5, multipart_etag};
use crate::endpoint::Capabilities;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Bucket, Upload, UploadedPart};
use crate::text::{element, elements, hex, now, xml_unescape};

/// Highest part number (S3 User Guide, "Multipart upload limits").
const MAX_PART: u32 = 10_000;

pub(super) fn create(bucket: &mut Bucket, call: &Call) -> S3Result<Reply> {
    let algorithm = call.header("x-amz-checksum-algorithm").and_then(Algorithm::named);
    let full = call.header("x-amz-checksum-type").is_some_and(|kind| kind == "FULL_OBJECT");
    let checksum = algorithm.map(|algorithm| {
        let composite = algorithm != Algorithm::Crc64Nvme && !full;
        (algorithm, if composite { Kind::Composite } else { Kind::FullObject })
    });
    let id = format!("upload-{:032x}", fastrand::u128(..));
    let upload = Upload {
        key: call.key.clone(),
        initiated: now(),
        template: template(call)?,
        checksum,
        parts: BTreeMap::new(),
    };
    bucket.uploads.insert(id.clone(), upload);
    let inner = format!(
        "{}{}{}",
        element("Bucket", &call.bucket),
        element("Key", &String::from_utf8_lossy(&call.key)),
        element("UploadId", &id)
    );
    Ok(Reply::xml("InitiateMultipartUploadResult", &inner))
}

pub(super) fn upload<'a>(bucket: &'a mut Bucket, call: &Call) -> S3Result<&'a mut Upload> {
    let id = call.query("uploadId").unwrap_or_default();
    bucket
        .uploads
        .get_mut(id)
        .filter(|upload| upload.key == call.key)
        .ok_or_else(S3Error::no_such_upload)
}

pub(super) fn part_number(call: &Call) -> S3Result<u32> {
    let number = call.query("partNumber").and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=MAX_PART).contains(number))
        .ok_or_else(|| S3Error::invalid("partNumber"))
}

pub(super) fn upload_part(
    bucket: &mut Bucket,
    call: &Call,
    payload: &Payload,
    capabilities: &Capabilities,
) -> S3Result<Reply> {
    let number = part_number(call)?;
    let upload = upload(bucket, call)?;
    let mut checksum = verify(call, payload, capabilities)?;
    if let (None, Some((algorithm, _))) = (&checksum, upload.checksum) {
        checksum = Some((algorithm, algorithm.of(&payload.body)));
    }
    if let (Some((given, _)), Some((wanted, _))) = (&checksum, upload.checksum)
        && *given != wanted
    {
        return Err(S3Error::invalid("Checksum Type mismatch occurred"));
    }
    let digest = md5(&payload.body);
    let mut reply = Reply::empty(StatusCode::OK).with("etag", &format!("\"{}\"", hex(&digest)));
    if let Some((algorithm, value)) = &checksum {
        reply = reply.with(algorithm.header(), value);
    }
    upload.parts.insert(number, UploadedPart { body: payload.body.clone(), digest, checksum });
    Ok(reply)
}

pub(super) fn list_parts(bucket: &mut Bucket, call: &Call) -> S3Result<Reply> {
    let after: u32 =
        call.query("part-number-marker").and_then(|text| text.parse().ok()).unwrap_or_default();
    let limit: usize =
        call.query("max-parts").and_then(|text| text.parse().ok()).unwrap_or(1_000).min(1_000);
    let upload = upload(bucket, call)?;
    let rest: Vec<_> = upload.parts.range(after + 1..).collect();
    let mut inner = format!(
        "{}{}",
        element("UploadId", call.query("uploadId").unwrap_or_default()),
        element("IsTruncated", if rest.len() > limit { "true" } else { "false" })
    );
    for (number, part) in rest.iter().take(limit) {
        let checksum =
            part.checksum.as_ref().map(|(algorithm, value)| element(&algorithm.element(), value));
        inner.push_str(&format!(
            "<Part>{}{}{}{}</Part>",
            element("PartNumber", &number.to_string()),
            element("ETag", &format!("\"{}\"", hex(&part.digest))),
            element("Size", &part.body.len().to_string()),
            checksum.unwrap_or_default()
        ));
    }
    if let Some((last, _)) = rest.iter().take(limit).next_back() {
        inner.push_str(&element("NextPartNumberMarker", &last.to_string()));
    }
    Ok(Reply::xml("ListPartsResult", &inner))
}

pub(super) fn abort(bucket: &mut Bucket, call: &Call) -> S3Result<Reply> {
    upload(bucket, call)?;
    bucket.uploads.remove(call.query("uploadId").unwrap_or_default());
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) fn complete(
    bucket: &mut Bucket,
    call: &Call,
    payload: &Payload,
    capabilities: &Capabilities,
) -> S3Result<Reply> {
    upload(bucket, call)?;
    write_conditions(bucket, call, capabilities)?;
    let id = call.query("uploadId").unwrap_or_default().to_owned();
    let upload = upload(bucket, call)?.clone();
    let parts = chosen(&upload, &payload.body)?;
    let too_small = |part: &&UploadedPart| part.body.len() < capabilities.min_part_size;
    if parts[..parts.len() - 1].iter().any(too_small) {
        return Err(S3Error::entity_too_small());
    }
    let mut body = BytesMut::with_capacity(parts.iter().map(|part| part.body.len()).sum());
    parts.iter().for_each(|part| body.extend_from_slice(&part.body));
    if let Some(size) = call.header("x-amz-mp-object-size")
        && size != body.len().to_string()
    {
        return Err(S3Error::invalid(
            "The provided 'x-amz-mp-object-size' does not match what was uploaded",
        ));
    }
    let digests: Vec<_> = parts.iter().map(|part| part.digest).collect();
    let mut object = upload.template.clone();
    object.modified = now();
    object.parts = parts.iter().map(|part| part.body.len() as u64).collect();
    object.etag = if capabilities.opaque_etags { opaque() } else { multipart_etag(&digests) };
    object.body = body.freeze();
    object.checksum = (!capabilities.no_checksums).then(|| whole(&upload, &parts, &object.body));
    if let Some(checksum) = &object.checksum
        && let Some(given) = call.header(checksum.algorithm.header())
        && given != checksum.value
    {
        return Err(S3Error::bad_digest());
    }
    bucket.uploads.remove(&id);
    let object = bucket.put(call.key.clone(), object);
    let checksum = object.checksum.as_ref().map(|checksum| {
        let kind = if checksum.kind == Kind::FullObject { "FULL_OBJECT" } else { "COMPOSITE" };
        element(&checksum.algorithm.element(), &checksum.value) + &element("ChecksumType", kind)
    });
    let inner = format!(
        "{}{}{}{}",
        element("Bucket", &call.bucket),
        element("Key", &String::from_utf8_lossy(&call.key)),
        element("ETag", &format!("\"{}\"", object.etag)),
        checksum.unwrap_or_default()
    );
    Ok(Reply::xml("CompleteMultipartUploadResult", &inner))
}

/// The parts that a completion names, in its order.
fn chosen<'a>(upload: &'a Upload, xml: &[u8]) -> S3Result<Vec<&'a UploadedPart>> {
    let xml = std::str::from_utf8(xml).map_err(|_| S3Error::malformed_xml())?;
    let mut parts = Vec::new();
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
        let found =
            upload.parts.get(&number).filter(|part| hex(&part.digest) == etag.trim_matches('"'));
        let found = found.ok_or_else(S3Error::invalid_part)?;
        if let Some((algorithm, value)) = &found.checksum
            && text(&algorithm.element()).is_some_and(|given| given != *value)
        {
            return Err(S3Error::invalid_part());
        }
        parts.push(found);
    }
    if parts.is_empty() { Err(S3Error::malformed_xml()) } else { Ok(parts) }
}

/// The checksum of the whole object: combined from the parts', or computed by S3 itself.
fn whole(upload: &Upload, parts: &[&UploadedPart], body: &[u8]) -> Checksum {
    let (algorithm, kind) = upload.checksum.unwrap_or((Algorithm::Crc64Nvme, Kind::FullObject));
    let known: Option<Vec<_>> = parts
        .iter()
        .map(|part| {
            part.checksum.as_ref().map(|(_, value)| (value.clone(), part.body.len() as u64))
        })
        .collect();
    let value = match kind {
        Kind::Composite => known.as_deref().and_then(|known| algorithm.composite(known)),
        Kind::FullObject => Some(algorithm.of(body)),
    };
    match value {
        Some(value) => Checksum { algorithm, value, kind },
        None => Checksum {
            algorithm: Algorithm::Crc64Nvme,
            value: Algorithm::Crc64Nvme.of(body),
            kind: Kind::FullObject,
        },
    }
}
