//! A request, taken apart.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use crate::text::uri_decode;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) bucket: String,
    pub(crate) key: Bytes,
    pub(crate) method: Method,
    /// Path as it was sent.
    pub(crate) path: String,
    /// Decoded names and values, in the order they came.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
}

impl Call {
    pub(crate) fn new(parts: &Parts) -> Self {
        let path = parts.uri.path().to_owned();
        let rest = path.strip_prefix('/').unwrap_or_default();
        let (bucket, key) =
            rest.split_once('/').map_or((rest, None), |(bucket, key)| (bucket, Some(key)));
        let bucket = String::from_utf8_lossy(&uri_decode(bucket)).into_owned();
        let key = Bytes::from(key.map(uri_decode).unwrap_or_default());
        let query = query_of(&parts.uri);
        let mut call = Self {
            operation: "Unknown",
            bucket,
            key,
            method: parts.method.clone(),
            path,
            query,
            headers: parts.headers.clone(),
        };
        call.operation = call.operation();
        call
    }

    fn operation(&self) -> &'static str {
        let has = |name: &str| self.query(name).is_some();
        let copies = self.header("x-amz-copy-source").is_some();
        match (self.method.as_str(), self.key.is_empty()) {
            ("GET", true) if self.bucket.is_empty() => "ListBuckets",
            ("GET", true) if has("uploads") => "ListMultipartUploads",
            ("GET", true) if has("notification") => "GetBucketNotificationConfiguration",
            ("GET", true) if has("location") => "GetBucketLocation",
            ("GET", true) if self.query("list-type") == Some("2") => "ListObjectsV2",
            ("HEAD", true) => "HeadBucket",
            ("PUT", true) => "CreateBucket",
            ("POST", true) if has("delete") => "DeleteObjects",
            ("GET", false) if has("tagging") => "GetObjectTagging",
            ("PUT", false) if has("tagging") => "PutObjectTagging",
            ("DELETE", false) if has("tagging") => "DeleteObjectTagging",
            ("GET", false) if has("uploadId") => "ListParts",
            ("GET", false) => "GetObject",
            ("HEAD", false) => "HeadObject",
            ("PUT", false) if has("uploadId") && copies => "UploadPartCopy",
            ("PUT", false) if has("uploadId") => "UploadPart",
            ("PUT", false) if copies => "CopyObject",
            ("PUT", false) => "PutObject",
            ("POST", false) if has("uploads") => "CreateMultipartUpload",
            ("POST", false) if has("uploadId") => "CompleteMultipartUpload",
            ("DELETE", false) if has("uploadId") => "AbortMultipartUpload",
            ("DELETE", false) => "DeleteObject",
            _ => "Unknown",
        }
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A header that is ASCII text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the request changes objects.
    pub(crate) fn writes(&self) -> bool {
        matches!(
            self.operation,
            "PutObject"
                | "CopyObject"
                | "CompleteMultipartUpload"
                | "DeleteObject"
                | "DeleteObjects"
                | "PutObjectTagging"
                | "DeleteObjectTagging"
        )
    }
}

/// Decoded names and values of a query, in the order they came.
pub(crate) fn query_of(uri: &Uri) -> Vec<(String, String)> {
    let text = |part: &str| String::from_utf8_lossy(&uri_decode(part)).into_owned();
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (text(name), text(value))
        })
        .collect()
}
