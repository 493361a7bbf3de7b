//! [`ObjectStore`] over the AWS SDK. Only this file and those in `aws/` name it. Each call is one request: nothing
//! here tries again.

mod answer;
mod body;
mod client;
mod clock;
mod count;
mod credentials;
mod delete;
mod fail;
mod headers;
mod notify;
mod read;
mod trace;
mod write;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::types::{
    ChecksumType, EncodingType, MetadataDirective, OptionalObjectAttributes, TaggingDirective,
};
use s3sync_proto::model::{Key, Notifications};

pub use client::{AwsClient, ConnectError};
pub(crate) use client::{CONNECT_TIMEOUT, http_client};
pub(crate) use count::Counted;
pub(crate) use credentials::provider;
pub(crate) use fail::chain;
pub(crate) use trace::KEY as TRACED_KEY;

use super::classify::Cause;
use super::{
    Body, Checksum, CompleteRequest, CopyPartRequest, CopyRequest, CreateUploadRequest,
    DeleteRequest, Error, GetRequest, HeadRequest, ListPage, ListRequest, Listed, ListedPart,
    Object, ObjectStore, OpenUpload, Operation, Part, PartRequest, PutBody, PutRequest, Verify,
    Written, text,
};
use answer::{ANSWER_TIMEOUT, WORK_TIMEOUT, answer, answer_to_body};
use fail::About;
use write::{attributes, condition, placement, verify};

/// One bucket, reached through a shared client.
pub struct AwsStore {
    client: Arc<AwsClient>,
    bucket: String,
}

impl AwsStore {
    /// The bucket behind a client.
    pub fn new(client: Arc<AwsClient>, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }

    fn about<'a>(&'a self, operation: Operation, key: &'a Key) -> About<'a> {
        About { operation, bucket: &self.bucket, key }
    }

    /// The client for a body that is to be verified like this.
    fn writer(&self, verify: &Verify) -> &aws_sdk_s3::Client {
        match verify {
            Verify::Trailer(_) => &self.client.trailing,
            Verify::Checksum(_) | Verify::ContentMd5(_) | Verify::Caller => &self.client.plain,
        }
    }

    /// Whether the SHA-256 of a body is left out of the signature: it is protected by TLS already, and trailers have
    /// their own way of signing.
    fn body_unsigned(&self, verify: &Verify) -> bool {
        self.client.encrypted && !matches!(verify, Verify::Trailer(_))
    }
}

/// A key as the SDK takes it. It knows only text, as does S3.
fn key_text(about: About<'_>, key: &Key) -> Result<String, Box<Error>> {
    std::str::from_utf8(key.as_bytes()).map(str::to_owned).map_err(|_| {
        let message = format!("the key {key} is not UTF-8, which S3 keys are");
        fail::ours(about, Cause::NotARequest, "key_not_utf8", message).into()
    })
}

/// The announced length of an answer.
fn length(about: About<'_>, announced: Option<i64>) -> Result<u64, Box<Error>> {
    announced.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| {
        let message = "the answer does not say how long it is".to_owned();
        fail::ours(about, Cause::NotUnderstood { status: 200 }, "invalid_answer", message).into()
    })
}

#[async_trait]
impl ObjectStore for AwsStore {
    async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        let about = self.about(Operation::List, &request.prefix);
        let start_after = request.start_after.as_ref();
        let start_after = start_after.map(|key| key_text(about, key)).transpose()?;
        let send = (self.client.plain.list_objects_v2())
            .bucket(&self.bucket)
            .prefix(key_text(about, &request.prefix)?)
            .set_start_after(start_after)
            .set_continuation_token(request.token.clone())
            .max_keys(i32::from(request.max_keys))
            .encoding_type(EncodingType::Url)
            // Costs nothing, and tells which archived objects can be read.
            .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
            .send();
        let page = answer(about, ANSWER_TIMEOUT, send).await?;
        let encoding = page.encoding_type();
        let objects = page.contents().iter().map(|object| {
            Some(Listed {
                key: read::key(object.key()?, encoding),
                size: u64::try_from(object.size()?).ok()?,
                etag: object.e_tag().map(text::bare_etag).unwrap_or_default(),
                modified: object.last_modified().map(read::timestamp).unwrap_or_default(),
                storage_class: object
                    .storage_class()
                    .map(|class| class.as_str().to_owned())
                    .filter(|class| class != "STANDARD")
                    .unwrap_or_default(),
                restored: object.restore_status().is_some_and(read::is_restored),
            })
        });
        let invalid = |message: &str| {
            let cause = Cause::NotUnderstood { status: 200 };
            fail::ours(about, cause, "invalid_answer", message.to_owned())
        };
        let objects: Option<Vec<Listed>> = objects.collect();
        let objects = objects.ok_or_else(|| invalid("a listed object has no key or size"))?;
        let truncated = page.is_truncated().unwrap_or_default();
        let next = page.next_continuation_token().map(str::to_owned).filter(|_| truncated);
        if truncated && next.is_none() {
            return Err(invalid("there are more keys, but no token to go on with"));
        }
        // A prefix that is empty may be left out of the answer.
        let prefix = read::key(page.prefix().unwrap_or_default(), encoding);
        let exact = page.is_truncated().is_some() && prefix == request.prefix;
        Ok(ListPage { objects, next, exact })
    }

    async fn head(&self, request: HeadRequest) -> Result<Object, Error> {
        let about = self.about(Operation::Head, &request.key);
        let send = (self.client.plain.head_object())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .set_if_match(request.if_match.as_deref().map(text::quoted_etag))
            .set_part_number(request.part_number.map(write::part_number))
            .customize()
            .mutate_request(write::ask_for_checksum)
            .send();
        let head = answer(about, ANSWER_TIMEOUT, send).await?;
        let mut object = read::head(&head, length(about, head.content_length())?);
        if request.part_number.is_some() {
            // What is said of a part is not of the whole object.
            (object.checksum, object.checksums) = (None, Vec::new());
        }
        Ok(object)
    }

    async fn get(&self, request: GetRequest) -> Result<(Object, Body), Error> {
        let about = self.about(Operation::Get, &request.key);
        let range = match &request.range {
            Some(range) if range.is_empty() => {
                let message = "an empty range cannot be asked for".to_owned();
                return Err(fail::ours(about, Cause::NotARequest, "empty_range", message));
            }
            Some(range) => Some(format!("bytes={}-{}", range.start, range.end - 1)),
            None => None,
        };
        let send = (self.client.plain.get_object())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .set_if_match(request.if_match.as_deref().map(text::quoted_etag))
            .set_if_none_match(request.if_none_match.as_deref().map(text::quoted_etag))
            .set_range(range)
            .customize()
            .mutate_request(write::ask_for_checksum)
            .send();
        let answer = answer(about, ANSWER_TIMEOUT, send).await?;
        let length = length(about, answer.content_length())?;
        let mut object = read::get(&answer, length);
        if let Some(range) = &request.range {
            let wanted = format!("bytes {}-{}/", range.start, range.end - 1);
            let came = answer.content_range().unwrap_or_default();
            if !came.starts_with(&wanted) || length != range.end - range.start {
                let message = format!("{wanted}* was asked for, {came:?} of {length} bytes came");
                return Err(fail::ours(about, Cause::NotARequest, "wrong_range", message));
            }
            (object.checksum, object.checksums) = (None, Vec::new());
        }
        let request_id = answer.request_id().unwrap_or_default().to_owned();
        let bucket = self.bucket.clone();
        let body = body::incoming(answer.body, length, bucket, request.key.clone(), request_id);
        Ok((object, body))
    }

    async fn get_tags(&self, key: &Key) -> Result<Vec<(String, String)>, Error> {
        let about = self.about(Operation::GetTags, key);
        let send = (self.client.plain.get_object_tagging())
            .bucket(&self.bucket)
            .key(key_text(about, key)?)
            .send();
        let answer = answer(about, ANSWER_TIMEOUT, send).await?;
        let tags = answer.tag_set.into_iter().map(|tag| (tag.key, tag.value));
        Ok(tags.collect())
    }

    async fn put(&self, request: PutRequest, body: PutBody) -> Result<Written, Error> {
        let about = self.about(Operation::Put, &request.key);
        let body = body::outgoing(body);
        let put = (self.writer(&request.verify).put_object())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .set_tagging(write::tagging(&request.tags))
            .content_length(write::content_length(about, body.length)?)
            .body(body.body);
        let put = attributes!(put, request.attributes);
        let put = placement!(put, request.attributes.storage_class, request.encryption);
        let put = condition!(put, request.condition);
        let put = verify!(put, request.verify).customize();
        let put = put.mutate_request(write::expires(request.attributes.expires.clone()));
        let unsigned = self.body_unsigned(&request.verify);
        let put = if unsigned { put.disable_payload_signing() } else { put };
        let written = answer_to_body(about, body.length, body.sent, put.send()).await?;
        Ok(read::put(&written))
    }

    async fn copy(&self, request: CopyRequest) -> Result<Written, Error> {
        let about = self.about(Operation::Copy, &request.key);
        let source_key = key_text(about, &request.source_key)?;
        let copy = (self.client.plain.copy_object())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .copy_source(text::copy_source(&request.source_bucket, &source_key))
            .copy_source_if_match(text::quoted_etag(&request.source_if_match));
        let copy = placement!(copy, request.storage_class, request.encryption);
        let copy = condition!(copy, request.condition);
        let expires = request.replace.as_ref().and_then(|attributes| attributes.expires.clone());
        let copy = match &request.replace {
            Some(replace) => {
                attributes!(copy, *replace).metadata_directive(MetadataDirective::Replace)
            }
            None => copy,
        };
        let copy = match &request.replace_tags {
            // Without a header, no tags.
            Some(tags) => {
                copy.set_tagging(write::tagging(tags)).tagging_directive(TaggingDirective::Replace)
            }
            None => copy,
        };
        let copy = copy.customize().mutate_request(write::expires(expires)).send();
        let written = answer(about, WORK_TIMEOUT, copy).await?;
        Ok(read::copy(&written))
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<String, Error> {
        let about = self.about(Operation::CreateUpload, &request.key);
        let create = (self.client.plain.create_multipart_upload())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .set_tagging(write::tagging(&request.tags))
            .set_checksum_algorithm(request.checksum.map(write::algorithm))
            .set_checksum_type(request.checksum.map(|_| ChecksumType::FullObject));
        let create = attributes!(create, request.attributes);
        let create = placement!(create, request.attributes.storage_class, request.encryption);
        let expires = write::expires(request.attributes.expires.clone());
        let create = create.customize().mutate_request(expires).send();
        let created = answer(about, ANSWER_TIMEOUT, create).await?;
        created.upload_id.filter(|id| !id.is_empty()).ok_or_else(|| {
            let message = "the answer has no upload id".to_owned();
            fail::ours(about, Cause::NotUnderstood { status: 200 }, "invalid_answer", message)
        })
    }

    async fn upload_part(&self, request: PartRequest, body: PutBody) -> Result<Part, Error> {
        let about = self.about(Operation::UploadPart, &request.key);
        let body = body::outgoing(body);
        let upload = (self.writer(&request.verify).upload_part())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .upload_id(&request.upload_id)
            .part_number(write::part_number(request.number))
            .content_length(write::content_length(about, body.length)?)
            .body(body.body);
        let upload = verify!(upload, request.verify).customize();
        let unsigned = self.body_unsigned(&request.verify);
        let upload = if unsigned { upload.disable_payload_signing() } else { upload };
        let part = answer_to_body(about, body.length, body.sent, upload.send()).await?;
        let answered = read::part_checksum(&part);
        let checksum = answered.or(match request.verify {
            Verify::Checksum(sent) => Some(sent),
            Verify::ContentMd5(_) | Verify::Trailer(_) | Verify::Caller => None,
        });
        let etag = part.e_tag().map(text::bare_etag).unwrap_or_default();
        Ok(Part { number: request.number, etag, checksum })
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<Part, Error> {
        let about = self.about(Operation::CopyPart, &request.key);
        let source_key = key_text(about, &request.source_key)?;
        let range = &request.range;
        let send = (self.client.plain.upload_part_copy())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .upload_id(&request.upload_id)
            .part_number(write::part_number(request.number))
            .copy_source(text::copy_source(&request.source_bucket, &source_key))
            .copy_source_if_match(text::quoted_etag(&request.source_if_match))
            .copy_source_range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .send();
        let copied = answer(about, WORK_TIMEOUT, send).await?;
        let result = copied.copy_part_result();
        let etag = result.and_then(|result| result.e_tag()).map(text::bare_etag);
        let checksum: Option<Checksum> = result.and_then(read::copied_part_checksum);
        Ok(Part { number: request.number, etag: etag.unwrap_or_default(), checksum })
    }

    async fn complete_upload(&self, request: CompleteRequest) -> Result<Written, Error> {
        let about = self.about(Operation::CompleteUpload, &request.key);
        let complete = (self.client.plain.complete_multipart_upload())
            .bucket(&self.bucket)
            .key(key_text(about, &request.key)?)
            .upload_id(&request.upload_id)
            .multipart_upload(write::parts(request.parts.clone()))
            .mpu_object_size(write::content_length(about, request.size)?);
        let complete = write::whole_checksum(complete, request.checksum.clone());
        let complete = condition!(complete, request.condition).send();
        let written = answer(about, WORK_TIMEOUT, complete).await?;
        Ok(read::complete(&written))
    }

    async fn abort_upload(&self, key: &Key, upload_id: &str) -> Result<(), Error> {
        let about = self.about(Operation::AbortUpload, key);
        let send = (self.client.plain.abort_multipart_upload())
            .bucket(&self.bucket)
            .key(key_text(about, key)?)
            .upload_id(upload_id)
            .send();
        match answer(about, ANSWER_TIMEOUT, send).await {
            Ok(_) => Ok(()),
            Err(error) if error.class == super::Class::NoSuchUpload => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(), Error> {
        delete::one(self, request).await
    }

    async fn delete_many(
        &self,
        requests: Vec<DeleteRequest>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        delete::many(self, requests).await
    }

    async fn list_uploads(&self, key: &Key) -> Result<Vec<OpenUpload>, Error> {
        let about = self.about(Operation::ListUploads, key);
        let prefix = key_text(about, key)?;
        let mut open = Vec::new();
        let mut after: Option<(String, Option<String>)> = None;
        loop {
            let (key_marker, upload_id_marker) = after.take().unzip();
            let send = (self.client.plain.list_multipart_uploads())
                .bucket(&self.bucket)
                .prefix(&prefix)
                .set_key_marker(key_marker)
                .set_upload_id_marker(upload_id_marker.flatten())
                .encoding_type(EncodingType::Url)
                .send();
            let page = answer(about, ANSWER_TIMEOUT, send).await?;
            let mut beyond = false;
            for upload in page.uploads() {
                let found = upload.key().map(|text| read::key(text, page.encoding_type()));
                // In order of keys, and the key itself is the first of those that begin with it.
                if found.as_ref() != Some(key) {
                    beyond = true;
                    continue;
                }
                let initiated = upload.initiated().map(read::timestamp).unwrap_or_default();
                let upload_id = upload.upload_id().unwrap_or_default().to_owned();
                open.push(OpenUpload { upload_id, initiated });
            }
            let next = page.next_key_marker().filter(|_| page.is_truncated().unwrap_or_default());
            match next {
                Some(next) if !beyond => {
                    let next = read::key(next, page.encoding_type());
                    let marker = page.next_upload_id_marker().map(str::to_owned);
                    after = Some((key_text(about, &next)?, marker));
                }
                _ => return Ok(open),
            }
        }
    }

    async fn list_parts(&self, key: &Key, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        let about = self.about(Operation::ListParts, key);
        let mut parts = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let send = (self.client.plain.list_parts())
                .bucket(&self.bucket)
                .key(key_text(about, key)?)
                .upload_id(upload_id)
                .set_part_number_marker(after.take())
                .send();
            let page = answer(about, ANSWER_TIMEOUT, send).await?;
            let listed = page.parts().iter().map(read::listed_part);
            let listed: Option<Vec<_>> = listed.collect();
            let last = parts.len();
            parts.extend(listed.ok_or_else(|| {
                let message = "a listed part has no number or size".to_owned();
                fail::ours(about, Cause::NotUnderstood { status: 200 }, "invalid_answer", message)
            })?);
            after = parts.last().map(|last: &ListedPart| last.part.number.to_string());
            // A page that brings nothing new would come for ever.
            if !page.is_truncated().unwrap_or_default() || parts.len() == last {
                return Ok(parts);
            }
        }
    }

    async fn notifications(&self) -> Result<Notifications, Error> {
        notify::read(self).await
    }

    fn clock_ahead(&self) -> Option<i64> {
        self.client.clock.ahead()
    }
}

impl fmt::Debug for AwsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsStore").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
