//! Endpoints and what is learned of the buckets behind them.

use serde::{Deserialize, Serialize};

use super::{Name, Timestamp};

/// Where S3 is spoken, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub name: Name,
    /// Its settings.
    pub spec: EndpointSpec,
    /// What was learned of its buckets.
    pub buckets: Vec<BucketFacts>,
    /// Changes with every change of the settings.
    pub etag: String,
    /// When it was created.
    pub created: Timestamp,
    /// When its settings last changed.
    pub updated: Timestamp,
}

/// Settings of an endpoint. No secret is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// Region that requests are signed for.
    pub region: String,
    /// Base URL of an S3-compatible server; `None` for AWS itself.
    pub url: Option<String>,
    /// Whether buckets are addressed in the path instead of the host name.
    pub path_style: bool,
    /// What ETags are; `None` means: learned per bucket.
    pub etags: Option<EtagKind>,
    /// Largest object the endpoint takes, in bytes; `None` means S3's own limit.
    pub max_object_size: Option<u64>,
}

/// What an ETag says about the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtagKind {
    /// A single-part object's ETag is the MD5 of its bytes.
    Md5,
    /// ETags say nothing about the bytes.
    Opaque,
}

/// What agents learned about one bucket behind one endpoint. `None`: not learned yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketFacts {
    /// The endpoint.
    pub endpoint: Name,
    /// The bucket.
    pub bucket: String,
    /// Whether conditional writes are honoured.
    pub conditional_writes: Option<bool>,
    /// What ETags of the bucket are.
    pub etags: Option<EtagKind>,
    /// Whether object tags can be read with the credentials in use.
    pub tags: Option<bool>,
    /// Whether streamed uploads with a checksum trailer are taken.
    pub trailers: Option<bool>,
    /// Set when a listing was not in ascending byte order.
    pub unordered_listing: bool,
    /// Whether checksums that are sent with a write are kept and told.
    #[serde(default)]
    pub checksums: Option<bool>,
    /// Whether CopyObject honours conditions on what it writes over.
    #[serde(default)]
    pub conditional_copies: Option<bool>,
    /// Whether DeleteObject honours a condition on the ETag.
    #[serde(default)]
    pub conditional_deletes: Option<bool>,
    /// Whether DeleteObjects honours the ETag of each key.
    #[serde(default)]
    pub batch_deletes: Option<bool>,
    /// When the newest of these was learned.
    pub learned: Timestamp,
}

impl BucketFacts {
    /// Nothing is known yet.
    #[must_use]
    pub fn unknown(endpoint: Name, bucket: String) -> Self {
        Self {
            endpoint,
            bucket,
            conditional_writes: None,
            etags: None,
            tags: None,
            trailers: None,
            unordered_listing: false,
            checksums: None,
            conditional_copies: None,
            conditional_deletes: None,
            batch_deletes: None,
            learned: Timestamp::default(),
        }
    }

    /// Takes over what `newer` knows and keeps the rest.
    pub fn merge(&mut self, newer: &Self) {
        self.conditional_writes = newer.conditional_writes.or(self.conditional_writes);
        self.etags = newer.etags.or(self.etags);
        self.tags = newer.tags.or(self.tags);
        self.trailers = newer.trailers.or(self.trailers);
        self.checksums = newer.checksums.or(self.checksums);
        self.conditional_copies = newer.conditional_copies.or(self.conditional_copies);
        self.conditional_deletes = newer.conditional_deletes.or(self.conditional_deletes);
        self.batch_deletes = newer.batch_deletes.or(self.batch_deletes);
        self.unordered_listing |= newer.unordered_listing;
        self.learned = newer.learned.max(self.learned);
    }
}
