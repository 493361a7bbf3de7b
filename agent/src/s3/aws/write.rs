//! From our requests to the SDK's.

use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::fail::{self, About};
use crate::s3::classify::Cause;
use crate::s3::{Algorithm, Checksum, Error, Part, text};

/// Sets what an object carries. `Expires` is not among it: the SDK takes only dates, so it is set as a header.
macro_rules! attributes {
    ($request:expr, $attributes:expr) => {{
        let attributes = &$attributes;
        let metadata = attributes.metadata.iter();
        let metadata =
            metadata.map(|(name, value)| (name.clone(), text::metadata_to_header(value)));
        let metadata: std::collections::HashMap<_, _> = metadata.collect();
        $request
            .set_content_type(attributes.content_type.clone())
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_cache_control(attributes.cache_control.clone())
            .set_website_redirect_location(attributes.website_redirect.clone())
            .set_metadata(Some(metadata).filter(|metadata| !metadata.is_empty()))
    }};
}
pub(super) use attributes;

/// Sets storage class and encryption.
macro_rules! placement {
    ($request:expr, $storage_class:expr, $encryption:expr) => {{
        let encryption = $encryption.as_ref();
        $request
            .set_storage_class($storage_class.as_deref().map(aws_sdk_s3::types::StorageClass::from))
            .set_server_side_encryption(
                encryption
                    .map(|e| aws_sdk_s3::types::ServerSideEncryption::from(e.algorithm.as_str())),
            )
            .set_ssekms_key_id(encryption.and_then(|e| e.kms_key_id.clone()))
    }};
}
pub(super) use placement;

/// Sets the condition on what is there.
macro_rules! condition {
    ($request:expr, $condition:expr) => {{
        match &$condition {
            crate::s3::Condition::None => $request,
            crate::s3::Condition::Absent => $request.if_none_match("*"),
            crate::s3::Condition::Matches(etag) => $request.if_match(text::quoted_etag(etag)),
        }
    }};
}
pub(super) use condition;

/// Sets how a body is verified.
macro_rules! verify {
    ($request:expr, $verify:expr) => {{
        use crate::s3::{Algorithm, Verify};
        match &$verify {
            Verify::Checksum(checksum) => {
                let value = checksum.value.clone();
                match checksum.algorithm {
                    Algorithm::Crc64Nvme => $request.checksum_crc64_nvme(value),
                    Algorithm::Crc32 => $request.checksum_crc32(value),
                    Algorithm::Crc32C => $request.checksum_crc32_c(value),
                }
            }
            Verify::ContentMd5(md5) => $request.content_md5(md5.clone()),
            Verify::Trailer(algorithm) => $request.checksum_algorithm(write::algorithm(*algorithm)),
            Verify::Caller => $request,
        }
    }};
}
pub(super) use verify;

/// The SDK's name of an algorithm.
pub(super) fn algorithm(algorithm: Algorithm) -> ChecksumAlgorithm {
    match algorithm {
        Algorithm::Crc64Nvme => ChecksumAlgorithm::Crc64Nvme,
        Algorithm::Crc32 => ChecksumAlgorithm::Crc32,
        Algorithm::Crc32C => ChecksumAlgorithm::Crc32C,
    }
}

/// Tags as `x-amz-tagging` carries them: as the query of a URL. `None` when there are none.
pub(super) fn tagging(tags: &[(String, String)]) -> Option<String> {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let tags: Vec<String> =
        tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    (!tags.is_empty()).then(|| tags.join("&"))
}

/// A change to a request before it is signed: the raw `Expires` of an object.
pub(super) fn expires(value: Option<String>) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    move |request| {
        if let Some(value) = &value {
            // A value that no header can carry was not read from one either.
            let _refused = request.headers_mut().try_insert("expires", value.clone());
        }
    }
}

/// A change to a request before it is signed: asks for the stored checksum. Asked through the SDK's own field, the
/// SDK would verify the body too, and warn of every checksum that is combined of parts.
pub(super) fn ask_for_checksum(request: &mut HttpRequest) {
    request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
}

/// The parts of an upload.
pub(super) fn parts(parts: Vec<Part>) -> CompletedMultipartUpload {
    let parts = parts.into_iter().map(|part| {
        let completed = CompletedPart::builder()
            .part_number(part_number(part.number))
            .e_tag(text::quoted_etag(&part.etag));
        match part.checksum {
            Some(Checksum { algorithm, value }) => match algorithm {
                Algorithm::Crc64Nvme => completed.checksum_crc64_nvme(value),
                Algorithm::Crc32 => completed.checksum_crc32(value),
                Algorithm::Crc32C => completed.checksum_crc32_c(value),
            },
            None => completed,
        }
        .build()
    });
    CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build()
}

/// Sets the checksum of the whole object.
pub(super) fn whole_checksum(
    request: CompleteMultipartUploadFluentBuilder,
    checksum: Option<Checksum>,
) -> CompleteMultipartUploadFluentBuilder {
    let Some(Checksum { algorithm, value }) = checksum else { return request };
    let request = request.checksum_type(aws_sdk_s3::types::ChecksumType::FullObject);
    match algorithm {
        Algorithm::Crc64Nvme => request.checksum_crc64_nvme(value),
        Algorithm::Crc32 => request.checksum_crc32(value),
        Algorithm::Crc32C => request.checksum_crc32_c(value),
    }
}

/// A length as the SDK takes it.
pub(super) fn content_length(about: About<'_>, length: u64) -> Result<i64, Box<Error>> {
    i64::try_from(length).map_err(|_| {
        let message = format!("{length} bytes are more than any request can carry");
        fail::ours(about, Cause::NotARequest, "too_large", message).into()
    })
}

/// A part number, which is at most 10,000.
pub(super) fn part_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
