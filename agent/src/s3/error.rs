//! What can go wrong with a request to S3, by what a caller does about it.

use s3sync_proto::model::{Key, Operation};

use crate::meter::Answered;

/// A failed request.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of s3://{bucket}/{key} failed: {code}: {message}")]
pub struct Error {
    /// What a caller does about it.
    pub class: Class,
    /// Which request.
    pub operation: Operation,
    /// The bucket.
    pub bucket: String,
    /// Full key; the prefix for a listing.
    pub key: Key,
    /// S3's error code, or a short name of ours such as `timeout`, `short_body` or `not_allowed`.
    pub code: String,
    /// What happened, for a person.
    pub message: String,
    /// S3's request id; empty when there was no answer.
    pub request_id: String,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
}

/// What a caller does about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The endpoint asks to slow down: wait and try again; not counted as an attempt.
    Throttled,
    /// May pass: try again. The request may or may not have had its effect.
    Transient,
    /// `If-Match`/`If-None-Match` failed (412), or a write raced another (409): look again.
    Precondition,
    /// `If-None-Match` on a read: it has not changed (304).
    NotModified,
    /// The object is not there, and S3 said so by code (`NoSuchKey`).
    NoSuchKey,
    /// A 404 that proves nothing: to a HEAD, or without a code.
    NotFound,
    /// `NoSuchUpload`: the upload was completed, aborted or never was; or `InvalidPart`: a part of it is not the one
    /// that was written.
    NoSuchUpload,
    /// Archived; must be restored first.
    Archived,
    /// Refused for want of permission, or a credential that does not work.
    Denied,
    /// The endpoint does not know or take this kind of request (501, refused trailer, refused header).
    Unsupported,
    /// The bytes that arrived are not those that were announced (checksum, length): try again.
    Corrupt,
    /// Refused; trying again is of no use.
    Permanent,
}

impl Class {
    /// All of them, in the order above.
    pub const ALL: [Self; 12] = [
        Self::Throttled,
        Self::Transient,
        Self::Precondition,
        Self::NotModified,
        Self::NoSuchKey,
        Self::NotFound,
        Self::NoSuchUpload,
        Self::Archived,
        Self::Denied,
        Self::Unsupported,
        Self::Corrupt,
        Self::Permanent,
    ];

    /// As a label says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Precondition => "precondition",
            Self::NotModified => "not_modified",
            Self::NoSuchKey => "no_such_key",
            Self::NotFound => "not_found",
            Self::NoSuchUpload => "no_such_upload",
            Self::Archived => "archived",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Permanent => "permanent",
        }
    }
}

/// Helpers return their errors boxed, since an error is large and success is usual.
impl From<Box<Self>> for Error {
    fn from(error: Box<Self>) -> Self {
        *error
    }
}

impl Class {
    /// How a request that failed so was answered, for who counts requests.
    #[must_use]
    pub const fn answered(self) -> Answered {
        match self {
            Self::Throttled => Answered::SlowDown,
            Self::Precondition | Self::NotModified | Self::NoSuchKey | Self::NotFound => {
                Answered::Well
            }
            Self::Transient
            | Self::NoSuchUpload
            | Self::Archived
            | Self::Denied
            | Self::Unsupported
            | Self::Corrupt
            | Self::Permanent => Answered::Badly,
        }
    }
}
