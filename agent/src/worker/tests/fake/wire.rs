//! What passes between a fake bucket and its callers: bodies, what verifies them, errors.

use bytes::Bytes;
use futures_util::StreamExt as _;
use s3sync_proto::model::Key;

use super::Fault;
use crate::copy::digest::{Crc, content_md5};
use crate::s3::{Body, Checksum, Class, Error, Operation, PutBody, Verify};

pub(super) fn error(class: Class, operation: Operation, key: &Key) -> Error {
    Error {
        class,
        operation,
        bucket: "fake".into(),
        key: key.clone(),
        code: format!("{class:?}"),
        message: "as told".into(),
        request_id: "r1".into(),
        status: None,
    }
}

pub(super) async fn read(body: PutBody, operation: Operation, key: &Key) -> Result<Bytes, Error> {
    let (length, mut body) = match body {
        PutBody::Bytes(bytes) => return Ok(bytes),
        PutBody::Stream { length, body } => (length, body),
    };
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk.map_err(|_| error(Class::Transient, operation, key))?);
    }
    assert!(body.next().await.is_none(), "a body that ended may be asked once more");
    assert_eq!(all.len() as u64, length, "a body is as long as announced");
    Ok(all.into())
}

pub(super) fn verify(
    verify: &Verify,
    bytes: &Bytes,
    op: Operation,
    key: &Key,
) -> Result<(), Error> {
    let right = match verify {
        Verify::Checksum(sent) => Crc::of(sent.algorithm, bytes).encode() == *sent,
        Verify::ContentMd5(sent) => content_md5(bytes) == *sent,
        Verify::Trailer(_) | Verify::Caller => true,
    };
    if right { Ok(()) } else { Err(error(Class::Corrupt, op, key)) }
}

/// A body in several chunks, spoiled as told.
pub(super) fn body(bytes: &Bytes, fault: Option<Fault>, key: &Key) -> Body {
    let mut bytes = bytes.to_vec();
    let mut end = Vec::new();
    if fault == Some(Fault::CutBody) {
        bytes.truncate(bytes.len() / 2);
        end.push(Err(error(Class::Transient, Operation::Get, key)));
    } else if fault == Some(Fault::WrongByte) && !bytes.is_empty() {
        let at = bytes.len() / 3;
        bytes[at] ^= 0x40;
    }
    let size = bytes.len().div_ceil(3).max(1);
    let mut chunks: Vec<_> = bytes.chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    chunks.append(&mut end);
    futures_util::stream::iter(chunks).boxed()
}

/// The checksum of what was received, of the kind that was sent.
pub(super) fn told(verify: &Verify, bytes: &Bytes) -> Option<Checksum> {
    match verify {
        Verify::Checksum(sent) => Some(Crc::of(sent.algorithm, bytes).encode()),
        Verify::Trailer(algorithm) => Some(Crc::of(*algorithm, bytes).encode()),
        Verify::ContentMd5(_) | Verify::Caller => None,
    }
}
