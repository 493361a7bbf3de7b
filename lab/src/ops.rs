//! The operations. Each looks and changes under the endpoint's lock, so that conditions are atomic with their writes.

mod copy;
mod delete;
mod multipart;
mod object;
mod tags;

use bytes::Bytes;
use http::StatusCode;

use crate::endpoint::State;
use crate::error::{S3Error, S3Result};
use crate::listing;
use crate::reply::Reply;
use crate::request::Call;

/// Longest key in bytes (S3 User Guide, "Naming Amazon S3 objects").
const MAX_KEY_BYTES: usize = 1_024;

/// A body as it arrived, and the trailers that came with it.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    pub(crate) body: Bytes,
    pub(crate) trailers: Vec<(String, String)>,
}

/// Performs a call.
pub(crate) fn perform(state: &mut State, call: &Call, payload: &Payload) -> S3Result<Reply> {
    if call.key.len() > MAX_KEY_BYTES {
        return Err(S3Error::key_too_long());
    }
    match call.operation {
        "ListBuckets" => return Ok(list_buckets(state)),
        "CreateBucket" => {
            state.buckets.entry(call.bucket.clone()).or_default();
            return Ok(Reply::empty(StatusCode::OK));
        }
        _ => {}
    }
    let State { buckets, capabilities, .. } = state;
    let bucket = buckets.get_mut(&call.bucket).ok_or_else(S3Error::no_such_bucket)?;
    match call.operation {
        "HeadBucket" => Ok(Reply::empty(StatusCode::OK)),
        "GetBucketLocation" => Ok(Reply::xml("LocationConstraint", &state.region)),
        "ListObjectsV2" => listing::objects(bucket, call, capabilities),
        "ListMultipartUploads" => Ok(listing::uploads(bucket, call)),
        "GetObject" | "HeadObject" => object::get(bucket, call),
        "PutObject" => object::put(bucket, call, payload, capabilities),
        "DeleteObject" => delete::one(bucket, call, capabilities),
        "DeleteObjects" => delete::many(bucket, payload, capabilities),
        "GetObjectTagging" => tags::get(bucket, call),
        "PutObjectTagging" => tags::put(bucket, call, payload),
        "DeleteObjectTagging" => tags::delete(bucket, call),
        "CopyObject" => copy::object(state, call),
        "UploadPartCopy" => copy::part(state, call),
        "CreateMultipartUpload" => multipart::create(bucket, call),
        "UploadPart" => multipart::upload_part(bucket, call, payload, capabilities),
        "ListParts" => multipart::list_parts(bucket, call),
        "CompleteMultipartUpload" => multipart::complete(bucket, call, payload, capabilities),
        "AbortMultipartUpload" => multipart::abort(bucket, call),
        _ => Err(S3Error::method_not_allowed()),
    }
}

fn list_buckets(state: &State) -> Reply {
    let names: String = state
        .buckets
        .keys()
        .map(|name| format!("<Bucket>{}</Bucket>", crate::text::element("Name", name)))
        .collect();
    Reply::xml("ListAllMyBucketsResult", &format!("<Buckets>{names}</Buckets>"))
}
