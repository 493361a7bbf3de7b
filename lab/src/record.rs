//! What was asked: counts by operation, access key and bucket, and every request that changed an object.

use std::collections::BTreeMap;

use serde::Serialize;

/// Requests by operation, access key and bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<(String, String, String), u64>);

/// A request that changed objects, or tried to.
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
}
