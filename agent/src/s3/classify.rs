//! Pure. From what came back, or did not, to what a caller does about it: the one table of S3's error codes.

use super::{Class, Operation};

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause<'a> {
    /// An answer with this status and, where the body had one, this code. The status of a failed copy or completion
    /// may be 200 (CopyObject, UploadPartCopy and CompleteMultipartUpload: API reference).
    Answer { status: u16, code: Option<&'a str> },
    /// An answer that is not what S3 answers, with this status.
    NotUnderstood { status: u16 },
    /// No answer in time. The request may have had its effect.
    Timeout,
    /// No connection, or one that broke. The request may have had its effect.
    Connection,
    /// The body we send ended early or failed.
    OurBody,
    /// There is no credential now, but there may be soon: its source does not answer.
    NoCredentialNow,
    /// There is no credential.
    NoCredential,
    /// The request could not be built.
    NotARequest,
}

/// The class of a failure of `operation`.
pub(super) fn classify(operation: Operation, cause: Cause<'_>) -> Class {
    match cause {
        Cause::Answer { status, code: Some(code) } => {
            by_code(operation, code).unwrap_or_else(|| by_status(operation, status))
        }
        Cause::Answer { status, code: None } => by_status(operation, status),
        Cause::NotUnderstood { status } if status >= 300 => by_status(operation, status),
        Cause::NotUnderstood { .. }
        | Cause::Timeout
        | Cause::Connection
        | Cause::OurBody
        | Cause::NoCredentialNow => Class::Transient,
        Cause::NoCredential => Class::Denied,
        Cause::NotARequest => Class::Permanent,
    }
}

fn by_code(operation: Operation, code: &str) -> Option<Class> {
    let class = match code {
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded" => Class::Throttled,

        // A part of ours that never arrived whole is `RequestTimeout` or `IncompleteBody`, with a 400.
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "IncompleteBody"
        | "OperationAborted"
        | "503" => Class::Transient,

        "PreconditionFailed" | "ConditionalRequestConflict" => Class::Precondition,
        "NotModified" => Class::NotModified,
        "NoSuchKey" => no_such_key(operation),
        "NoSuchUpload" | "InvalidPart" => Class::NoSuchUpload,

        "InvalidObjectState" | "ObjectNotInActiveTierError" => Class::Archived,

        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed"
        | "RequestExpired"
        | "NotSignedUp"
        | "InvalidSecurity"
        | "Unauthorized"
        | "UnauthorizedAccess"
        | "InvalidPayer" => Class::Denied,

        // `XAmzContentSHA256Mismatch` and a signature that is said to be of a wrong payload: how servers that do not
        // know trailers refuse them.
        "NotImplemented" | "XAmzContentSHA256Mismatch" | "XNotImplemented" => Class::Unsupported,

        "BadDigest" | "XAmzContentChecksumMismatch" | "ChecksumMismatch" => Class::Corrupt,

        "NoSuchBucket" | "PermanentRedirect" | "EntityTooLarge" | "EntityTooSmall"
        | "InvalidPartOrder" | "KeyTooLongError" | "MetadataTooLarge" => Class::Permanent,
        _ => return None,
    };
    Some(class)
}

/// Only a read that says so proves that the object is not there; a conditional delete that finds none says as much. A conditional write of an object that has gone is
/// answered with the same code, and a copy does not say which side it means: the caller looks again.
fn no_such_key(operation: Operation) -> Class {
    match operation {
        Operation::Get | Operation::GetTags | Operation::Delete | Operation::DeleteMany => {
            Class::NoSuchKey
        }
        Operation::Put | Operation::Copy | Operation::CopyPart | Operation::CompleteUpload => {
            Class::Precondition
        }
        Operation::List
        | Operation::Head
        | Operation::CreateUpload
        | Operation::UploadPart
        | Operation::AbortUpload
        | Operation::ListUploads
        | Operation::ListParts
        | Operation::GetNotifications => Class::NotFound,
    }
}

fn by_status(operation: Operation, status: u16) -> Class {
    match status {
        304 => Class::NotModified,
        412 => Class::Precondition,
        401 | 403 => Class::Denied,
        404 => Class::NotFound,
        429 => Class::Throttled,
        // An answer to a HEAD has no body and so no code; S3's 503 is nearly always `SlowDown`.
        503 if operation == Operation::Head => Class::Throttled,
        501 | 405 => Class::Unsupported,
        408 => Class::Transient,
        status if status >= 500 => Class::Transient,
        // An error in the body of an answer that began well, with a code we do not know.
        status if status < 300 => Class::Transient,
        _ => Class::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(operation: Operation, status: u16, code: &str) -> Class {
        let code = (!code.is_empty()).then_some(code);
        classify(operation, Cause::Answer { status, code })
    }

    #[test]
    fn every_answer_has_its_class() {
        use Operation::{
            CompleteUpload as Complete, Copy, Delete, Get, Head, List, Put, UploadPart,
        };
        let table = [
            (Put, 503, "SlowDown", Class::Throttled),
            (Head, 503, "", Class::Throttled),
            (Get, 503, "", Class::Transient),
            (Get, 503, "ServiceUnavailable", Class::Transient),
            (List, 429, "", Class::Throttled),
            (List, 400, "RequestLimitExceeded", Class::Throttled),
            (Put, 500, "InternalError", Class::Transient),
            (Put, 502, "", Class::Transient),
            (Put, 400, "RequestTimeout", Class::Transient),
            (UploadPart, 400, "IncompleteBody", Class::Transient),
            (Complete, 200, "InternalError", Class::Transient),
            (Complete, 200, "SomethingNew", Class::Transient),
            (Complete, 200, "SlowDown", Class::Throttled),
            (Complete, 200, "PreconditionFailed", Class::Precondition),
            (Put, 412, "PreconditionFailed", Class::Precondition),
            (Head, 412, "", Class::Precondition),
            (Put, 409, "ConditionalRequestConflict", Class::Precondition),
            (Put, 409, "OperationAborted", Class::Transient),
            (Put, 404, "NoSuchKey", Class::Precondition),
            (Delete, 404, "NoSuchKey", Class::NoSuchKey),
            (Delete, 404, "", Class::NotFound),
            (Delete, 404, "NoSuchBucket", Class::Permanent),
            (Delete, 412, "PreconditionFailed", Class::Precondition),
            (Delete, 501, "NotImplemented", Class::Unsupported),
            (Copy, 404, "NoSuchKey", Class::Precondition),
            (Get, 304, "", Class::NotModified),
            (Get, 404, "NoSuchKey", Class::NoSuchKey),
            (Head, 404, "NoSuchKey", Class::NotFound),
            (Head, 404, "NotFound", Class::NotFound),
            (Get, 404, "", Class::NotFound),
            (Get, 404, "NoSuchBucket", Class::Permanent),
            (UploadPart, 404, "NoSuchUpload", Class::NoSuchUpload),
            (Get, 403, "InvalidObjectState", Class::Archived),
            (Copy, 403, "ObjectNotInActiveTierError", Class::Archived),
            (Get, 403, "AccessDenied", Class::Denied),
            (Get, 403, "InvalidAccessKeyId", Class::Denied),
            (Get, 403, "SignatureDoesNotMatch", Class::Denied),
            (Get, 400, "ExpiredToken", Class::Denied),
            (Head, 403, "", Class::Denied),
            (List, 401, "", Class::Denied),
            (Put, 501, "NotImplemented", Class::Unsupported),
            (Put, 501, "", Class::Unsupported),
            (Put, 400, "XAmzContentSHA256Mismatch", Class::Unsupported),
            (Put, 400, "BadDigest", Class::Corrupt),
            (Put, 400, "EntityTooLarge", Class::Permanent),
            (Put, 400, "InvalidRequest", Class::Permanent),
            (List, 301, "PermanentRedirect", Class::Permanent),
        ];
        for (operation, status, code, class) in table {
            assert_eq!(answer(operation, status, code), class, "{operation} {status} {code}");
        }
    }

    #[test]
    fn what_is_no_answer_has_its_class() {
        let table = [
            (Cause::Timeout, Class::Transient),
            (Cause::Connection, Class::Transient),
            (Cause::OurBody, Class::Transient),
            (Cause::NotUnderstood { status: 200 }, Class::Transient),
            (Cause::NotUnderstood { status: 403 }, Class::Denied),
            (Cause::NoCredentialNow, Class::Transient),
            (Cause::NoCredential, Class::Denied),
            (Cause::NotARequest, Class::Permanent),
        ];
        for (cause, class) in table {
            assert_eq!(classify(Operation::Put, cause), class, "{cause:?}");
        }
    }
}
