//! The operations. Each takes the endpoint's lock where it looks and changes, so that conditions are atomic with their
//! writes; bytes are hashed and moved outside of it.

mod copy;
mod delete;
mod multipart;
mod object;
mod tags;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::StatusCode;

use crate::endpoint::{Capabilities, Endpoint};
use crate::error::{S3Error, S3Result};
use crate::listing;
use crate::notify;
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::KMS;
use crate::text::{element, hex};

/// Longest key in bytes (S3 User Guide, "Naming Amazon S3 objects").
const MAX_KEY_BYTES: usize = 1_024;

/// A body as it arrived, and the trailers that came with it.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    pub(crate) body: Bytes,
    pub(crate) trailers: Vec<(String, String)>,
    /// The first entry of a batch fails.
    pub(crate) first_fails: bool,
}

/// Performs a call.
pub(crate) fn perform(endpoint: &Endpoint, call: &Call, payload: &Payload) -> S3Result<Reply> {
    if call.key.len() > MAX_KEY_BYTES {
        return Err(S3Error::key_too_long());
    }
    if std::str::from_utf8(&call.key).is_err() {
        return Err(S3Error::invalid_uri());
    }
    match call.operation {
        "ListBuckets" => Ok(list_buckets(endpoint)),
        "CreateBucket" => {
            endpoint.create_bucket(&call.bucket);
            Ok(Reply::empty(StatusCode::OK))
        }
        "HeadBucket" => {
            endpoint.state().bucket(&call.bucket)?;
            Ok(Reply::empty(StatusCode::OK).with("x-amz-bucket-region", endpoint.region()))
        }
        "GetBucketLocation" => location(endpoint, call),
        "GetBucketNotificationConfiguration" => notify::configuration(endpoint, call),
        "ListObjectsV2" => listing::objects(endpoint, call),
        "ListMultipartUploads" => listing::uploads(endpoint, call),
        "GetObject" | "HeadObject" => object::get(endpoint, call),
        "PutObject" => object::put(endpoint, call, payload),
        "DeleteObject" => delete::one(endpoint, call),
        "DeleteObjects" => delete::many(endpoint, call, payload),
        "GetObjectTagging" => tags::get(endpoint, call),
        "PutObjectTagging" => tags::put(endpoint, call, payload),
        "DeleteObjectTagging" => tags::delete(endpoint, call),
        "CopyObject" => copy::object(endpoint, call),
        "UploadPartCopy" => copy::part(endpoint, call),
        "CreateMultipartUpload" => multipart::create(endpoint, call),
        "UploadPart" => multipart::upload_part(endpoint, call, payload),
        "ListParts" => multipart::list_parts(endpoint, call),
        "CompleteMultipartUpload" => multipart::complete(endpoint, call, payload),
        "AbortMultipartUpload" => multipart::abort(endpoint, call),
        _ => Err(S3Error::method_not_allowed()),
    }
}

/// Whether ETags say nothing about the bytes (API reference, Object: not with keys of KMS).
fn is_opaque(encryption: &str, capabilities: &Capabilities) -> bool {
    capabilities.opaque_etags || encryption.starts_with(KMS)
}

/// ETag of an object or part with this MD5.
fn etag(
    digest: impl FnOnce() -> [u8; 16],
    encryption: &str,
    capabilities: &Capabilities,
) -> String {
    if is_opaque(encryption, capabilities) {
        format!("{:032x}", fastrand::u128(..))
    } else {
        hex(&digest())
    }
}

fn list_buckets(endpoint: &Endpoint) -> Reply {
    let state = endpoint.state();
    let name = |name: &String| format!("<Bucket>{}</Bucket>", element("Name", name));
    let names: String = state.buckets.keys().map(name).collect();
    Reply::xml("ListAllMyBucketsResult", &format!("<Buckets>{names}</Buckets>"))
}

fn location(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    endpoint.state().bucket(&call.bucket)?;
    // The oldest region is told as nothing (API reference, GetBucketLocation).
    let region = if endpoint.region() == "us-east-1" { "" } else { endpoint.region() };
    Ok(Reply::xml("LocationConstraint", region))
}
