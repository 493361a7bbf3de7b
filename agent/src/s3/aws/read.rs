//! From the SDK's answers to ours.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumType, CopyPartResult, EncodingType, RestoreStatus};
use s3sync_proto::model::{Key, Timestamp};

use crate::s3::{
    Algorithm, Attributes, Checksum, ListedPart, Object, Part, StoredChecksum, Written, text,
};

/// Takes the checksum of the whole object from an answer. One that is combined of parts says nothing to us. Servers
/// older than checksum types send none; then the form tells, since combined ones end in `-N`.
macro_rules! checksum {
    ($from:expr) => {{
        let from = $from;
        whole_checksum(from.checksum_type(), checksums!(from))
    }};
}

/// Takes the checksums we know from an answer, the one S3 prefers first.
macro_rules! checksums {
    ($from:expr) => {
        [
            (Algorithm::Crc64Nvme, $from.checksum_crc64_nvme()),
            (Algorithm::Crc32C, $from.checksum_crc32_c()),
            (Algorithm::Crc32, $from.checksum_crc32()),
        ]
    };
}

/// Takes what HEAD and GET answer in the same way.
macro_rules! object {
    ($answer:expr, $length:expr) => {{
        let answer = $answer;
        let attributes = Attributes {
            content_type: answer.content_type().map(str::to_owned),
            content_encoding: answer.content_encoding().and_then(text::stored_encoding),
            content_language: answer.content_language().map(str::to_owned),
            content_disposition: answer.content_disposition().map(str::to_owned),
            cache_control: answer.cache_control().map(str::to_owned),
            expires: answer.expires_string().map(str::to_owned),
            website_redirect: answer.website_redirect_location().map(str::to_owned),
            metadata: metadata(answer.metadata()),
            storage_class: answer
                .storage_class()
                .map(|class| class.as_str().to_owned())
                .filter(|class| class != "STANDARD"),
            missing_metadata: count(answer.missing_meta()).unwrap_or_default(),
        };
        Object {
            length: $length,
            etag: answer.e_tag().map(text::bare_etag).unwrap_or_default(),
            modified: answer.last_modified().map(timestamp).unwrap_or_default(),
            version_id: answer.version_id().map(str::to_owned),
            checksum: checksum!(answer),
            checksums: stored_checksums(
                answer.checksum_type(),
                [
                    ("CRC64NVME", answer.checksum_crc64_nvme()),
                    ("CRC32C", answer.checksum_crc32_c()),
                    ("CRC32", answer.checksum_crc32()),
                    ("SHA1", answer.checksum_sha1()),
                    ("SHA256", answer.checksum_sha256()),
                    ("SHA512", answer.checksum_sha512()),
                    ("MD5", answer.checksum_md5()),
                    ("XXHASH64", answer.checksum_xxhash64()),
                    ("XXHASH3", answer.checksum_xxhash3()),
                    ("XXHASH128", answer.checksum_xxhash128()),
                ],
            ),
            attributes,
            tag_count: count(answer.tag_count()),
            parts_count: count(answer.parts_count()),
            encryption: answer.server_side_encryption().map(|kind| kind.as_str().to_owned()),
            archive_status: None,
            restored: answer.restore().is_some_and(text::is_restored),
        }
    }};
}

/// What a HEAD answered; `length` is its `Content-Length`.
pub(super) fn head(answer: &HeadObjectOutput, length: u64) -> Object {
    let archive_status = answer.archive_status().map(|status| status.as_str().to_owned());
    Object { archive_status, ..object!(answer, length) }
}

/// What a GET answered; `length` is its `Content-Length`.
pub(super) fn get(answer: &GetObjectOutput, length: u64) -> Object {
    // There is no archive status: a GET of an archived object fails.
    object!(answer, length)
}

/// What a PutObject answered.
pub(super) fn put(answer: &PutObjectOutput) -> Written {
    Written {
        etag: answer.e_tag().map(text::bare_etag).unwrap_or_default(),
        checksum: checksum!(answer),
        encryption: answer.server_side_encryption().map(|kind| kind.as_str().to_owned()),
    }
}

/// What a CopyObject answered.
pub(super) fn copy(answer: &CopyObjectOutput) -> Written {
    let result = answer.copy_object_result();
    Written {
        etag: result.and_then(|result| result.e_tag()).map(text::bare_etag).unwrap_or_default(),
        checksum: result.and_then(|result| checksum!(result)),
        encryption: answer.server_side_encryption().map(|kind| kind.as_str().to_owned()),
    }
}

/// What a CompleteMultipartUpload answered.
pub(super) fn complete(answer: &CompleteMultipartUploadOutput) -> Written {
    Written {
        etag: answer.e_tag().map(text::bare_etag).unwrap_or_default(),
        checksum: checksum!(answer),
        encryption: answer.server_side_encryption().map(|kind| kind.as_str().to_owned()),
    }
}

/// Whether a restored copy can be read.
pub(super) fn is_restored(status: &RestoreStatus) -> bool {
    status.is_restore_in_progress() == Some(false) && status.restore_expiry_date().is_some()
}

/// The checksum of a part that was sent.
pub(super) fn part_checksum(answer: &UploadPartOutput) -> Option<Checksum> {
    whole_checksum(None, checksums!(answer))
}

/// A part of an open upload; `None` when it has no number or size.
pub(super) fn listed_part(listed: &aws_sdk_s3::types::Part) -> Option<ListedPart> {
    let number = count(listed.part_number())?;
    let etag = listed.e_tag().map(text::bare_etag).unwrap_or_default();
    let checksum = whole_checksum(None, checksums!(listed));
    let size = u64::try_from(listed.size()?).ok()?;
    Some(ListedPart { part: Part { number, etag, checksum }, size })
}

/// The checksum of a part that was copied.
pub(super) fn copied_part_checksum(answer: &CopyPartResult) -> Option<Checksum> {
    whole_checksum(None, checksums!(answer))
}

/// A key of a listing. Encoded only when the answer says so: not every server knows `encoding-type`.
pub(super) fn key(text: &str, encoding: Option<&EncodingType>) -> Key {
    if encoding == Some(&EncodingType::Url) { text::listed_key(text) } else { Key::from(text) }
}

/// A point in time.
pub(super) fn timestamp(time: &DateTime) -> Timestamp {
    let micros = time.as_nanos() / 1_000;
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// The checksum of a whole object, of those an answer has. The first is the one S3 prefers.
pub(super) fn whole_checksum(
    kind: Option<&ChecksumType>,
    values: [(Algorithm, Option<&str>); 3],
) -> Option<Checksum> {
    if kind.is_some_and(|kind| *kind != ChecksumType::FullObject) {
        return None;
    }
    values
        .into_iter()
        .find_map(|(algorithm, value)| Some((algorithm, value?)))
        .filter(|(_, value)| !value.contains('-'))
        .map(|(algorithm, value)| Checksum { algorithm, value: value.to_owned() })
}

/// All checksums an answer has.
fn stored_checksums(
    kind: Option<&ChecksumType>,
    values: [(&'static str, Option<&str>); 10],
) -> Vec<StoredChecksum> {
    let values = values.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value?)));
    values
        .map(|(algorithm, value)| StoredChecksum {
            algorithm,
            value: value.to_owned(),
            whole: kind.is_none_or(|kind| *kind == ChecksumType::FullObject)
                && !value.contains('-'),
        })
        .collect()
}

fn metadata(all: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let all = all.into_iter().flatten();
    all.map(|(name, value)| (name.to_lowercase(), text::metadata_from_header(value))).collect()
}

fn count(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}
