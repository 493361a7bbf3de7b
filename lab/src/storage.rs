//! Buckets and objects in memory. Bodies are shared, never copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use crate::checksum::{Algorithm, Checksum, Kind, md5};
use crate::generated::Generated;
use crate::text::{hex, now};

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
    /// Sizes of its parts; empty when it was written in one request.
    pub parts: Vec<u64>,
    pub(crate) checksum: Option<Checksum>,
}

/// A multipart upload that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its key.
    pub key: Bytes,
    /// Its id.
    pub upload_id: String,
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
    pub(crate) body: Bytes,
    pub(crate) digest: [u8; 16],
    pub(crate) checksum: Option<(Algorithm, String)>,
}

/// A bucket. `None` in `objects` hides a generated object that was deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<Bytes, Option<Arc<Object>>>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) generated: Option<Generated>,
}

impl Object {
    /// An object as a plain PUT makes it.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let checksum = Checksum {
            algorithm: Algorithm::Crc64Nvme,
            value: Algorithm::Crc64Nvme.of(&body),
            kind: Kind::FullObject,
        };
        Self {
            etag: hex(&md5(&body)),
            body,
            modified: now(),
            headers: BTreeMap::new(),
            tags: BTreeMap::new(),
            storage_class: String::new(),
            encryption: String::new(),
            parts: Vec::new(),
            checksum: Some(checksum),
        }
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
        object.modified = space.modified;
        Some(Arc::new(object))
    }

    pub(crate) fn put(&mut self, key: Bytes, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        self.objects.insert(key, Some(Arc::clone(&object)));
        object
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        if self.made(key).is_some() {
            self.objects.insert(Bytes::copy_from_slice(key), None);
        } else {
            self.objects.remove(key);
        }
    }

    /// Keys from a place on, with size, ETag, time and class, in byte order.
    pub(crate) fn walk<'a>(&'a self, from: &[u8], above: bool) -> impl Iterator<Item = Entry> + 'a {
        let start = if above {
            std::ops::Bound::Excluded(Bytes::copy_from_slice(from))
        } else {
            std::ops::Bound::Included(Bytes::copy_from_slice(from))
        };
        let mut stored = self.objects.range((start, std::ops::Bound::Unbounded)).peekable();
        let space = self.generated.as_ref();
        let mut index = space.map_or(0, |space| {
            let first = space.first_from(from);
            if above && first < space.count && space.key(first) == from { first + 1 } else { first }
        });
        std::iter::from_fn(move || {
            loop {
                let made = space.filter(|space| index < space.count).map(|space| space.key(index));
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
                    size: Generated::SIZE,
                    etag: space.etag(index),
                    modified: space.modified,
                    storage_class: String::new(),
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
}

impl Entry {
    fn of(key: Bytes, object: &Object) -> Self {
        Self {
            key,
            size: object.body.len() as u64,
            etag: object.etag.clone(),
            modified: object.modified,
            storage_class: object.storage_class.clone(),
        }
    }
}
