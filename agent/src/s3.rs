//! The seam to S3, in our own types. Only `s3/aws.rs` names the SDK, and only implementations of [`ObjectStore`]
//! sign anything: a later way of signing (borrowed signatures) replaces the implementation and nothing else.

pub mod aws;

mod classify;
mod error;
pub mod policy;
pub mod read_only;
mod text;

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use s3sync_proto::model::{Key, Notifications, Timestamp};

pub use error::{Class, Error};
pub use s3sync_proto::model::Operation;

/// Most objects of one batch of deletes (API reference, DeleteObjects).
pub const MAX_DELETE_BATCH: usize = 1_000;

/// A stream of a body's bytes. Ends with an error when fewer bytes came than were announced.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// One bucket behind one endpoint with one credential. Keys are full keys (with the prefix).
///
/// Each call is one request: retries, limits and the write window are the callers' business. Every call can fail with
/// an [`Error`] that says its class.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Lists one page of keys in byte order (ListObjectsV2 with `encoding-type=url`).
    async fn list(&self, request: ListRequest) -> Result<ListPage, Error>;
    /// Reads an object's attributes.
    async fn head(&self, request: HeadRequest) -> Result<Object, Error>;
    /// Reads an object or a range of it.
    async fn get(&self, request: GetRequest) -> Result<(Object, Body), Error>;
    /// Reads an object's tags.
    async fn get_tags(&self, key: &Key) -> Result<Vec<(String, String)>, Error>;
    /// Writes an object in one request.
    async fn put(&self, request: PutRequest, body: PutBody) -> Result<Written, Error>;
    /// Copies inside S3 (CopyObject); at most 5 GiB. The source is reachable with this store's credential.
    async fn copy(&self, request: CopyRequest) -> Result<Written, Error>;
    /// Opens a multipart upload; returns its id.
    async fn create_upload(&self, request: CreateUploadRequest) -> Result<String, Error>;
    /// Writes one part.
    async fn upload_part(&self, request: PartRequest, body: PutBody) -> Result<Part, Error>;
    /// Copies one part inside S3 (UploadPartCopy).
    async fn copy_part(&self, request: CopyPartRequest) -> Result<Part, Error>;
    /// Makes an object of the parts.
    async fn complete_upload(&self, request: CompleteRequest) -> Result<Written, Error>;
    /// Gives an upload up. Success when there is no such upload.
    async fn abort_upload(&self, key: &Key, upload_id: &str) -> Result<(), Error>;
    /// Deletes an object, or, where the bucket has versions, puts a delete marker over it (DeleteObject). Without a
    /// condition it is a success when there is none.
    async fn delete(&self, request: DeleteRequest) -> Result<(), Error>;
    /// The same of up to [`MAX_DELETE_BATCH`] objects (DeleteObjects): what became of each, in their order.
    async fn delete_many(
        &self,
        requests: Vec<DeleteRequest>,
    ) -> Result<Vec<Result<(), Error>>, Error>;
    /// Open uploads of exactly this key.
    async fn list_uploads(&self, key: &Key) -> Result<Vec<OpenUpload>, Error>;
    /// The parts of an open upload, by number.
    async fn list_parts(&self, key: &Key, upload_id: &str) -> Result<Vec<ListedPart>, Error>;
    /// Whom the bucket tells of changes (GetBucketNotificationConfiguration).
    async fn notifications(&self) -> Result<Notifications, Error>;

    /// By how many seconds the endpoint's clock was ahead of this machine's at its last answer, where it tells its time.
    fn clock_ahead(&self) -> Option<i64> {
        None
    }
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only keys that begin with this.
    pub prefix: Key,
    /// Only keys above this one (a full key).
    pub start_after: Option<Key>,
    /// Go on after the page that returned this token.
    pub token: Option<String>,
    /// At most this many keys (1 to 1,000).
    pub max_keys: u16,
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// The keys, in the order they came.
    pub objects: Vec<Listed>,
    /// Token of the next page; `None` on the last.
    pub next: Option<String>,
    /// Whether the answer says in so many words that it lists this prefix, and whether more follows. What does not may be
    /// anybody's page, and proves nothing.
    pub exact: bool,
}

/// One listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Full key.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Storage class; empty means STANDARD.
    pub storage_class: String,
    /// Whether a restored copy can be read although its class is an archive.
    pub restored: bool,
}

/// What to ask of a HEAD.
#[derive(Clone, Debug, Default)]
pub struct HeadRequest {
    /// Full key.
    pub key: Key,
    /// Only if it still has this ETag.
    pub if_match: Option<String>,
    /// Ask for one part: its length, and the number of parts.
    pub part_number: Option<u32>,
}

/// What to read.
#[derive(Clone, Debug, Default)]
pub struct GetRequest {
    /// Full key.
    pub key: Key,
    /// Only if it still has this ETag (pins the read).
    pub if_match: Option<String>,
    /// Only if it no longer has this ETag; otherwise [`Class::NotModified`].
    pub if_none_match: Option<String>,
    /// Only these bytes.
    pub range: Option<Range<u64>>,
}

/// An object's attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Bytes of this answer's body (of the range, when one was asked for).
    pub length: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Version, where the bucket has versions.
    pub version_id: Option<String>,
    /// Checksum of the whole object that S3 has stored, when it is of type FULL_OBJECT.
    pub checksum: Option<Checksum>,
    /// Every checksum S3 has stored, also those we cannot compute: to be compared with another object's.
    pub checksums: Vec<StoredChecksum>,
    /// What it carries beside its bytes.
    pub attributes: Attributes,
    /// Number of tags. `None`: S3 did not say, which may mean none or no permission.
    pub tag_count: Option<u32>,
    /// Number of parts (HEAD with a part number).
    pub parts_count: Option<u32>,
    /// Encryption S3 says it uses, such as `aws:kms`.
    pub encryption: Option<String>,
    /// Intelligent-Tiering archive state, when it is archived.
    pub archive_status: Option<String>,
    /// Whether a restored copy can be read although its class is an archive.
    pub restored: bool,
}

/// What an object carries beside its bytes and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding, without `aws-chunked`.
    pub content_encoding: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Expires, as the text it is.
    pub expires: Option<String>,
    /// Website redirect.
    pub website_redirect: Option<String>,
    /// User metadata, names in lower case.
    pub metadata: BTreeMap<String, String>,
    /// Storage class; `None` means STANDARD.
    pub storage_class: Option<String>,
    /// User metadata S3 could not return (`x-amz-missing-meta`).
    pub missing_metadata: u32,
}

/// A checksum of a whole object or part, base64 as S3 writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Base64.
    pub value: String,
}

/// A checksum as S3 has stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChecksum {
    /// S3's name of the algorithm.
    pub algorithm: &'static str,
    /// Base64; combined ones end in `-N`.
    pub value: String,
    /// Whether it is of all bytes (FULL_OBJECT), not of parts' checksums.
    pub whole: bool,
}

/// Checksum algorithms we can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CRC-64/NVME, what S3 computes by itself.
    Crc64Nvme,
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32C,
}

/// A write's condition on what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// None.
    #[default]
    None,
    /// Nothing is there (`If-None-Match: *`).
    Absent,
    /// The object still has this ETag.
    Matches(String),
}

/// Encryption of what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteEncryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// KMS key.
    pub kms_key_id: Option<String>,
}

/// What a body to write is made of.
pub enum PutBody {
    /// All bytes, in memory.
    Bytes(Bytes),
    /// A stream of exactly this many bytes.
    Stream {
        /// How many.
        length: u64,
        /// The bytes.
        body: Body,
    },
}

/// How the destination verifies what it received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// By a checksum known beforehand, sent as a header: the body travels plain.
    Checksum(Checksum),
    /// By an MD5 known beforehand (`Content-MD5`, base64): for servers without checksums.
    ContentMd5(String),
    /// By a checksum computed on the way, sent as a trailer (aws-chunked).
    Trailer(Algorithm),
    /// Not by the destination; the caller compares the ETag.
    #[default]
    Caller,
}

/// A write of a whole object.
#[derive(Clone, Debug, Default)]
pub struct PutRequest {
    /// Full key.
    pub key: Key,
    /// What it carries.
    pub attributes: Attributes,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Encryption; `None` for the bucket's default.
    pub encryption: Option<WriteEncryption>,
    /// Condition on what is there.
    pub condition: Condition,
    /// How it is verified.
    pub verify: Verify,
}

/// A copy inside S3.
#[derive(Clone, Debug, Default)]
pub struct CopyRequest {
    /// Bucket to copy from.
    pub source_bucket: String,
    /// Full key to copy from.
    pub source_key: Key,
    /// Only if the source still has this ETag.
    pub source_if_match: String,
    /// Full key to write.
    pub key: Key,
    /// Replaces metadata when set; else the source's is kept.
    pub replace: Option<Attributes>,
    /// Replaces tags when set; else the source's are kept.
    pub replace_tags: Option<Vec<(String, String)>>,
    /// Storage class to write; `None` for STANDARD.
    pub storage_class: Option<String>,
    /// Encryption; `None` for the bucket's default.
    pub encryption: Option<WriteEncryption>,
    /// Condition on what is there.
    pub condition: Condition,
}

/// An object to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Full key.
    pub key: Key,
    /// Only if it still has this ETag.
    pub if_match: Option<String>,
}

/// A multipart upload to open.
#[derive(Clone, Debug, Default)]
pub struct CreateUploadRequest {
    /// Full key.
    pub key: Key,
    /// What the object will carry.
    pub attributes: Attributes,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Encryption; `None` for the bucket's default.
    pub encryption: Option<WriteEncryption>,
    /// Checksum the parts come with, combined to one of the full object; `None` for none.
    pub checksum: Option<Algorithm>,
}

/// One part to write.
#[derive(Clone, Debug, Default)]
pub struct PartRequest {
    /// Full key.
    pub key: Key,
    /// Upload.
    pub upload_id: String,
    /// Part number, from 1 to 10,000.
    pub number: u32,
    /// How it is verified.
    pub verify: Verify,
}

/// One part to copy inside S3.
#[derive(Clone, Debug, Default)]
pub struct CopyPartRequest {
    /// Full key to write.
    pub key: Key,
    /// Upload.
    pub upload_id: String,
    /// Part number, from 1 to 10,000.
    pub number: u32,
    /// Bucket to copy from.
    pub source_bucket: String,
    /// Full key to copy from.
    pub source_key: Key,
    /// Only if the source still has this ETag.
    pub source_if_match: String,
    /// Bytes to copy.
    pub range: Range<u64>,
}

/// A part that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Part number.
    pub number: u32,
    /// ETag without quotes.
    pub etag: String,
    /// Checksum S3 answered or that was sent.
    pub checksum: Option<Checksum>,
}

/// A part of an open upload, as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedPart {
    /// The part, with the checksum S3 has stored.
    pub part: Part,
    /// Its size in bytes.
    pub size: u64,
}

/// An upload to complete.
#[derive(Clone, Debug, Default)]
pub struct CompleteRequest {
    /// Full key.
    pub key: Key,
    /// Upload.
    pub upload_id: String,
    /// All parts, by number.
    pub parts: Vec<Part>,
    /// Size of the whole object in bytes (`x-amz-mp-object-size`).
    pub size: u64,
    /// Checksum of the whole object, when the upload was opened with one.
    pub checksum: Option<Checksum>,
    /// Condition on what is there.
    pub condition: Condition,
}

/// An object that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// ETag without quotes.
    pub etag: String,
    /// Checksum S3 answered, when it is of type FULL_OBJECT.
    pub checksum: Option<Checksum>,
    /// Encryption S3 says it used.
    pub encryption: Option<String>,
}

/// An upload that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its id.
    pub upload_id: String,
    /// When it was begun.
    pub initiated: Timestamp,
}

impl Listed {
    /// Whether it must be restored before it can be read.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        is_archive(&self.storage_class) && !self.restored
    }
}

impl Object {
    /// Whether it must be restored before it can be read.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        let class = self.attributes.storage_class.as_deref().unwrap_or_default();
        (self.archive_status.is_some() || is_archive(class)) && !self.restored
    }
}

/// Storage classes whose objects must be restored (API reference, RestoreObject).
fn is_archive(storage_class: &str) -> bool {
    matches!(storage_class, "GLACIER" | "DEEP_ARCHIVE")
}
