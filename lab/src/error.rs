//! S3's error answers.

use http::StatusCode;

/// An error as S3 answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Error {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

pub(crate) type S3Result<T> = Result<T, S3Error>;

macro_rules! errors {
    ($($name:ident $status:ident $code:literal $message:literal;)*) => {
        impl S3Error {
            $(pub(crate) fn $name() -> Self {
                Self { status: StatusCode::$status, code: $code, message: $message.to_owned() }
            })*
        }
    };
}

errors! {
    access_denied FORBIDDEN "AccessDenied" "Access Denied";
    invalid_access_key FORBIDDEN "InvalidAccessKeyId" "The AWS Access Key Id you provided does not exist in our records.";
    malformed_authorization BAD_REQUEST "AuthorizationHeaderMalformed" "The authorization header is malformed, or is for another region or service.";
    time_skewed FORBIDDEN "RequestTimeTooSkewed" "The difference between the request time and the current time is too large.";
    signature FORBIDDEN "SignatureDoesNotMatch" "The request signature we calculated does not match the signature you provided.";
    body_hash BAD_REQUEST "XAmzContentSHA256Mismatch" "The provided 'x-amz-content-sha256' header does not match what was computed.";
    no_such_bucket NOT_FOUND "NoSuchBucket" "The specified bucket does not exist";
    no_such_key NOT_FOUND "NoSuchKey" "The specified key does not exist.";
    no_such_upload NOT_FOUND "NoSuchUpload" "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    precondition PRECONDITION_FAILED "PreconditionFailed" "At least one of the pre-conditions you specified did not hold";
    not_modified NOT_MODIFIED "NotModified" "Not Modified";
    conflict CONFLICT "ConditionalRequestConflict" "The conditional request cannot succeed due to a conflicting operation against this resource.";
    bad_digest BAD_REQUEST "BadDigest" "The Content-MD5 or checksum value that you specified did not match what the server received.";
    incomplete_body BAD_REQUEST "IncompleteBody" "You did not provide the number of bytes specified by the Content-Length HTTP header";
    key_too_long BAD_REQUEST "KeyTooLongError" "Your key is too long";
    entity_too_small BAD_REQUEST "EntityTooSmall" "Your proposed upload is smaller than the minimum allowed size";
    invalid_part BAD_REQUEST "InvalidPart" "One or more of the specified parts could not be found, or the ETag did not match.";
    invalid_part_order BAD_REQUEST "InvalidPartOrder" "The list of parts was not in ascending order.";
    invalid_range RANGE_NOT_SATISFIABLE "InvalidRange" "The requested range is not satisfiable";
    malformed_xml BAD_REQUEST "MalformedXML" "The XML you provided was not well-formed";
    invalid_digest BAD_REQUEST "InvalidDigest" "The Content-MD5 you specified is not valid.";
    invalid_uri BAD_REQUEST "InvalidURI" "Couldn't parse the specified URI.";
    missing_digest BAD_REQUEST "InvalidRequest" "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    metadata_too_large BAD_REQUEST "MetadataTooLarge" "Your metadata headers exceed the maximum allowed metadata size.";
    too_many_tags BAD_REQUEST "BadRequest" "Object tags cannot be greater than 10";
    copy_to_itself BAD_REQUEST "InvalidRequest" "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
    not_in_active_tier FORBIDDEN "ObjectNotInActiveTierError" "The source object of the COPY action is not in the active tier.";
    not_implemented NOT_IMPLEMENTED "NotImplemented" "A header you provided implies functionality that is not implemented";
    invalid_object_state FORBIDDEN "InvalidObjectState" "The operation is not valid for the object's storage class";
    slow_down SERVICE_UNAVAILABLE "SlowDown" "Please reduce your request rate.";
    internal INTERNAL_SERVER_ERROR "InternalError" "We encountered an internal error. Please try again.";
    method_not_allowed METHOD_NOT_ALLOWED "MethodNotAllowed" "The specified method is not allowed against this resource.";
}

impl S3Error {
    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "InvalidArgument", message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "InvalidRequest", message: message.into() }
    }
}
