//! What was asked: counts by operation, access key and bucket, and every request that changed an object.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

/// Requests by operation, access key and bucket (or queue).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<(String, String, String), u64>);

/// A request that changed objects, or tried to. A batch has one for each key that it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Write {
    /// S3's name of it.
    pub operation: &'static str,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Who signed it.
    pub access_key: String,
    /// Place in the order of all beginnings and ends of requests.
    pub begin: u64,
    /// Place in the same order.
    pub end: u64,
    /// HTTP status; 0 when the connection was broken before an effect.
    pub status: u16,
    /// Whether it changed something.
    pub effect: bool,
    /// ETag of what is at the key after it; empty when nothing is, or without an effect.
    pub etag: String,
}

/// A key that a request changed, as notifications tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    /// S3's name of the event, without `s3:`.
    pub(crate) event: &'static str,
    /// Empty when the object is gone.
    pub(crate) etag: String,
    pub(crate) size: u64,
    /// Order of the changes of a key; taken under the lock under which the change was made.
    pub(crate) sequence: u64,
}

impl Counts {
    /// Requests of an operation, of all keys and buckets.
    #[must_use]
    pub fn of(&self, operation: &str) -> u64 {
        self.0.iter().filter(|((name, _, _), _)| name == operation).map(|(_, count)| count).sum()
    }

    /// Requests that an access key signed.
    #[must_use]
    pub fn by(&self, access_key: &str) -> u64 {
        self.0.iter().filter(|((_, key, _), _)| key == access_key).map(|(_, count)| count).sum()
    }

    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Requests by operation.
    #[must_use]
    pub fn by_operation(&self) -> BTreeMap<&str, u64> {
        let mut sums = BTreeMap::new();
        for ((operation, _, _), count) in &self.0 {
            *sums.entry(operation.as_str()).or_default() += count;
        }
        sums
    }

    pub(crate) fn add(&mut self, operation: &str, access_key: String, place: String) {
        *self.0.entry((operation.to_owned(), access_key, place)).or_default() += 1;
    }
}
