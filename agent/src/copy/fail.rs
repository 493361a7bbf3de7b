//! From an error of S3 to what a run lists.

use s3sync_proto::model::{Failure, FailureClass, Key, Timestamp, WorkError};

use crate::clock;
use crate::s3::{Class, Error};

/// Longest message of a failure in bytes; a report holds up to 500 of them.
const MAX_MESSAGE: usize = 1024;

/// The failure that an error of a key ends in.
pub(crate) fn failure(key: &Key, error: &Error, attempts: u32, first: Timestamp) -> Failure {
    let mut message = error.message.clone();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Failure {
        key: key.clone(),
        // The server knows which destination the range is of.
        destination: 0,
        class: failure_class(error.class),
        code: error.code.clone(),
        message: format!("{}: {message}", error.operation),
        s3_request_id: error.request_id.clone(),
        attempts,
        first,
        last: clock::now(),
    }
}

/// The same error, when it was not of a key that is worked on.
pub(crate) fn work_error(error: &Error) -> WorkError {
    let mut message = error.message.clone();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    WorkError {
        class: failure_class(error.class),
        code: error.code.clone(),
        message: format!("{}: {message}", error.operation),
    }
}

/// The class of failure that a class of error ends in.
pub(crate) fn failure_class(class: Class) -> FailureClass {
    match class {
        Class::Throttled => FailureClass::Throttled,
        Class::Transient | Class::Corrupt | Class::NotFound => FailureClass::Transient,
        Class::Precondition | Class::NotModified => FailureClass::Changed,
        Class::Archived => FailureClass::Archived,
        Class::NoSuchKey
        | Class::NoSuchUpload
        | Class::Denied
        | Class::Unsupported
        | Class::Permanent => FailureClass::Permanent,
    }
}
