//! Buckets and objects in memory. Bodies are shared, never copied.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use crate::checksum::{Algorithm, Checksum, Kind, md5};
use crate::clock::now;
use crate::error::{S3Error, S3Result};
use crate::generated::Space;
use crate::giant::{Giant, Unstored};
use crate::text::hex;

/// Encryption with which ETags say nothing of the bytes.
pub(crate) const KMS: &str = "aws:kms";

/// A stored object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its bytes.
    pub body: Bytes,
    /// ETag without quotes.
    pub etag: String,
    /// When it was changed, in microseconds since 1970.
    pub modified: i64,
    /// Content headers and user metadata, names in lower case.
    pub headers: BTreeMap<String, HeaderValue>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Storage class; empty means STANDARD.
    pub storage_class: String,
    /// Encryption it was written with; empty when none was asked for.
    pub encryption: String,
    /// Archive tier of Intelligent-Tiering, such as `ARCHIVE_ACCESS`; empty when it is in none. No listing shows it.
    pub archive_status: String,
    /// Whether a restored copy can be read although it is archived.
    pub restored: bool,
    /// Sizes of its parts; empty when it was written in one request.
    pub parts: Vec<u64>,
    pub(crate) checksum: Option<Checksum>,
    /// What stands for `body` where the bytes are not stored.
    pub(crate) unstored: Option<Unstored>,
}

/// A multipart upload that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its key.
    pub key: Bytes,
    /// Its id.
    pub upload_id: String,
    /// How many parts it has.
    pub parts: usize,
}

/// An upload with its parts.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) key: Bytes,
    pub(crate) initiated: i64,
    pub(crate) template: Object,
    pub(crate) checksum: Option<(Algorithm, Kind)>,
    pub(crate) parts: BTreeMap<u32, UploadedPart>,
}

/// A part of an open upload.
#[derive(Clone, Debug)]
pub(crate) struct UploadedPart {
    /// Empty when it was not stored.
    pub(crate) body: Bytes,
    pub(crate) size: u64,
    pub(crate) digest: [u8; 16],
    /// Without quotes; not the digest where ETags are opaque.
    pub(crate) etag: String,
    pub(crate) checksum: Option<(Algorithm, String)>,
}

/// A bucket. `None` in `objects` hides a generated object that was deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<Bytes, Option<Arc<Object>>>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) generated: Option<Space>,
    /// Bytes that are written to keys that begin with this are verified and not stored.
    pub(crate) sink: Option<Bytes>,
}

impl Object {
    /// An object as a plain PUT makes it.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let (etag, checksum) = (hex(&md5(&body)), Checksum::full(Algorithm::Crc64Nvme, &body));
        Self { body, etag, checksum: Some(checksum), ..Self::empty() }
    }

    /// One without bytes, ETag and checksum, which come later.
    pub(crate) fn empty() -> Self {
        Self {
            body: Bytes::new(),
            etag: String::new(),
            modified: now(),
            headers: BTreeMap::new(),
            tags: BTreeMap::new(),
            storage_class: String::new(),
            encryption: String::new(),
            archive_status: String::new(),
            restored: false,
            parts: Vec::new(),
            checksum: None,
            unstored: None,
        }
    }

    /// One of any size whose bytes are made when they are read, as if it had been encrypted by KMS: its ETag says nothing,
    /// and its checksum is a CRC-64/NVME.
    #[must_use]
    pub fn giant(size: u64, seed: u64) -> Self {
        let giant = Giant::new(seed, size);
        let value = Algorithm::Crc64Nvme.encode(giant.crc(0..size));
        Self {
            etag: format!("{:032x}", fastrand::u128(..)),
            encryption: KMS.to_owned(),
            checksum: Some(Checksum {
                algorithm: Algorithm::Crc64Nvme,
                value,
                kind: Kind::FullObject,
            }),
            unstored: Some(Unstored::Made(giant)),
            ..Self::empty()
        }
    }

    /// Its size in bytes, whether they are stored or not.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.unstored.map_or(self.body.len() as u64, Unstored::size)
    }

    /// Its checksum, base64.
    #[must_use]
    pub fn checksum(&self) -> Option<&str> {
        self.checksum.as_ref().map(|checksum| checksum.value.as_str())
    }

    /// Bytes of it.
    pub(crate) fn read(&self, range: Range<u64>) -> S3Result<Bytes> {
        match self.unstored {
            Some(Unstored::Made(giant)) => Ok(giant.read(range)),
            // They were dropped.
            Some(Unstored::Sunk(_)) => Err(S3Error::not_implemented()),
            None => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                Ok(self.body.slice(place(range.start)..place(range.end)))
            }
        }
    }

    /// The checksum of bytes of it.
    pub(crate) fn checksum_of(&self, algorithm: Algorithm, range: Range<u64>) -> S3Result<String> {
        match (self.unstored, algorithm) {
            (Some(Unstored::Made(giant)), Algorithm::Crc64Nvme) => {
                Ok(algorithm.encode(giant.crc(range)))
            }
            _ => Ok(algorithm.of(&self.read(range)?)),
        }
    }

    /// Whether its bytes must be restored before they can be read.
    pub(crate) fn is_archived(&self) -> bool {
        let archive = matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE");
        (archive || !self.archive_status.is_empty()) && !self.restored
    }

    /// With a header or user metadata (`x-amz-meta-…`).
    ///
    /// # Panics
    /// When the value cannot be a header's.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value a header can have");
        self.headers.insert(name.to_lowercase(), value);
        self
    }

    /// With a tag.
    #[must_use]
    pub fn with_tag(mut self, name: &str, value: &str) -> Self {
        self.tags.insert(name.to_owned(), value.to_owned());
        self
    }

    /// As if it had been uploaded in parts of this size.
    #[must_use]
    pub fn in_parts(mut self, part_size: usize) -> Self {
        let parts: Vec<&[u8]> = self.body.chunks(part_size).collect();
        let digests: Vec<_> = parts.iter().map(|part| md5(part)).collect();
        self.parts = parts.iter().map(|part| part.len() as u64).collect();
        self.etag = crate::checksum::multipart_etag(&digests);
        self
    }

    /// In a storage class.
    #[must_use]
    pub fn in_class(mut self, class: &str) -> Self {
        class.clone_into(&mut self.storage_class);
        self
    }

    /// In an archive tier of Intelligent-Tiering.
    #[must_use]
    pub fn in_archive_tier(mut self, tier: &str) -> Self {
        tier.clone_into(&mut self.archive_status);
        self.in_class("INTELLIGENT_TIERING")
    }

    /// With a restored copy that can be read.
    #[must_use]
    pub fn restored(mut self) -> Self {
        self.restored = true;
        self
    }

    /// Without a stored checksum, as objects of before December 2024 are.
    #[must_use]
    pub fn without_checksum(mut self) -> Self {
        self.checksum = None;
        self
    }
}

impl Bucket {
    /// An object, stored or generated.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<Object>> {
        match self.objects.get(key) {
            Some(stored) => stored.clone(),
            None => self.made(key),
        }
    }

    fn made(&self, key: &[u8]) -> Option<Arc<Object>> {
        let space = self.generated.as_ref()?;
        let index = space.index_of(key)?;
        let mut object = Object::new(space.body(index));
        object.modified = space.modified();
        Some(Arc::new(object))
    }

    /// Whether what is written to a key is not stored.
    pub(crate) fn sinks(&self, key: &[u8]) -> bool {
        self.sink.as_ref().is_some_and(|prefix| key.starts_with(prefix))
    }

    pub(crate) fn put(&mut self, key: Bytes, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        self.objects.insert(key, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object; tells whether there was one.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        let hides = self.generated.as_ref().is_some_and(|space| space.index_of(key).is_some());
        if !hides {
            return self.objects.remove(key).is_some();
        }
        // Without an entry the generated object would show again.
        !matches!(self.objects.insert(Bytes::copy_from_slice(key), None), Some(None))
    }

    /// Keys from a place on, with size, ETag, time and class, in byte order.
    pub(crate) fn walk<'a>(
        &'a self,
        from: &[u8],
        above: bool,
    ) -> impl Iterator<Item = Entry> + use<'a> {
        let start = if above {
            std::ops::Bound::Excluded(Bytes::copy_from_slice(from))
        } else {
            std::ops::Bound::Included(Bytes::copy_from_slice(from))
        };
        let mut stored = self.objects.range((start, std::ops::Bound::Unbounded)).peekable();
        let space = self.generated.as_ref();
        let mut index = space.map_or(0, |space| {
            let first = space.first_from(from);
            let at = first < space.count() && space.key(first) == from;
            if above && at { first + 1 } else { first }
        });
        std::iter::from_fn(move || {
            loop {
                let made =
                    space.filter(|space| index < space.count()).map(|space| space.key(index));
                let take_stored = match (stored.peek(), &made) {
                    (None, None) => return None,
                    (Some((key, _)), Some(made)) if *key == made => {
                        index += 1;
                        true
                    }
                    (Some((key, _)), Some(made)) => *key < made,
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                };
                if take_stored {
                    let (key, object) = stored.next()?;
                    let Some(object) = object else { continue };
                    return Some(Entry::of(key.clone(), object));
                }
                let space = space?;
                let entry = Entry {
                    key: space.key(index),
                    size: space.size(),
                    etag: space.etag(index),
                    modified: space.modified(),
                    storage_class: String::new(),
                    restored: false,
                    checksum: Some((Algorithm::Crc64Nvme, Kind::FullObject)),
                };
                index += 1;
                return Some(entry);
            }
        })
    }
}

/// A key in a listing.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified: i64,
    pub(crate) storage_class: String,
    pub(crate) restored: bool,
    pub(crate) checksum: Option<(Algorithm, Kind)>,
}

impl Entry {
    fn of(key: Bytes, object: &Object) -> Self {
        Self {
            key,
            size: object.size(),
            etag: object.etag.clone(),
            modified: object.modified,
            storage_class: object.storage_class.clone(),
            restored: object.restored,
            checksum: object.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::Generated;

    fn keys(bucket: &Bucket, from: &str, above: bool) -> Vec<String> {
        let text = |entry: Entry| String::from_utf8(entry.key.to_vec()).unwrap();
        bucket.walk(from.as_bytes(), above).map(text).collect()
    }

    #[test]
    fn stored_and_generated_objects_are_walked_as_one() {
        let space =
            Generated { prefix: "d/".into(), count: 3, size: 16, differs_every: 0, modified: 0 };
        let mut bucket = Bucket { generated: Some(Space::new(space)), ..Bucket::default() };
        for key in ["a", "d/0000000000", "d/00000000005", "e"] {
            bucket.put(Bytes::from(key), Object::new("other"));
        }
        assert!(bucket.delete(b"d/0000000002"));
        assert!(!bucket.delete(b"d/0000000002"));
        assert!(!bucket.delete(b"never there"));
        let all = ["a", "d/0000000000", "d/00000000005", "d/0000000001", "e"];
        assert_eq!(keys(&bucket, "", false), all);
        assert_eq!(keys(&bucket, "d/0000000000", true), all[2..]);
        assert_eq!(keys(&bucket, "d/0000000001", false), all[3..]);
        assert_eq!(bucket.get(b"d/0000000000").unwrap().body, "other");
        assert!(bucket.get(b"d/0000000002").is_none());
    }
}
