//! Answers, before they become bytes on a socket.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::checksum::Checksum;
use crate::error::S3Error;
use crate::record::Change;
use crate::storage::Object;
use crate::text::{element, http_date, quoted};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Length to announce where it is not that of the body (HEAD).
    pub(crate) length: Option<u64>,
    /// What it tells of was changed.
    pub(crate) changes: Vec<Change>,
}

/// When restored copies expire, as S3 writes it. Here they do not.
const EXPIRY: &str = "expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"";

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            length: None,
            changes: Vec::new(),
        }
    }

    pub(crate) fn xml(root: &str, inner: &str) -> Self {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</{root}>"
        );
        Self { body: Bytes::from(text), ..Self::empty(StatusCode::OK) }
            .with("content-type", "application/xml")
    }

    pub(crate) fn error(error: &S3Error, head: bool) -> Self {
        let reply = Self::empty(error.status);
        if head || error.status == StatusCode::NOT_MODIFIED {
            return reply;
        }
        let inner =
            format!("{}{}", element("Code", error.code), element("Message", &error.message));
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{inner}</Error>");
        Self { body: Bytes::from(text), ..reply }.with("content-type", "application/xml")
    }

    pub(crate) fn changing(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// With what S3 tells of an object on every read.
    pub(crate) fn describing(mut self, object: &Object, checksums: bool) -> Self {
        self = self
            .with("etag", &quoted(&object.etag))
            .with("last-modified", &http_date(object.modified))
            .with("accept-ranges", "bytes");
        for (name, value) in &object.headers {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                self.headers.insert(name, value.clone());
            }
        }
        if !self.headers.contains_key("content-type") {
            self = self.with("content-type", "binary/octet-stream");
        }
        if !object.storage_class.is_empty() {
            self = self.with("x-amz-storage-class", &object.storage_class);
        }
        if !object.encryption.is_empty() {
            self = self.with("x-amz-server-side-encryption", &object.encryption);
        }
        if !object.archive_status.is_empty() {
            self = self.with("x-amz-archive-status", &object.archive_status);
        }
        if object.restored {
            self = self.with("x-amz-restore", &format!("ongoing-request=\"false\", {EXPIRY}"));
        }
        if !object.tags.is_empty() {
            self = self.with("x-amz-tagging-count", &object.tags.len().to_string());
        }
        if let (true, Some(checksum)) = (checksums, &object.checksum) {
            self = self.with_checksum(checksum);
        }
        self
    }

    pub(crate) fn with_checksum(self, checksum: &Checksum) -> Self {
        self.with(checksum.algorithm.header(), &checksum.value)
            .with("x-amz-checksum-type", checksum.kind.name())
    }
}
