//! From the store's errors to what a client sees. The only such mapping.

use std::collections::HashMap;

use s3sync_proto::status::{reason, status, status_about, status_with};
use tonic::{Code, Status};

use crate::store::Error;

/// A store's refusal as a status. What is internal stays in the log.
pub(super) fn refused(error: Error) -> Status {
    match error {
        Error::NotFound(name) => missing(&name),
        Error::RunActive(run) => {
            let metadata = HashMap::from([("run".to_owned(), run.to_string())]);
            let message = format!("{run} has not ended; wait for it or cancel it");
            status_with(Code::AlreadyExists, reason::RUN_IN_PROGRESS, message, metadata)
        }
        Error::RequestReused => status(
            Code::InvalidArgument,
            reason::REQUEST_ID_REUSED,
            "the request id was used for a different request; choose a new one",
        ),
        Error::SessionGone => status(Code::Aborted, reason::SESSION_EXPIRED, "the session expired"),
        Error::NotNow { reason, text } => status(Code::FailedPrecondition, reason, text),
        Error::Invalid(text) => status(Code::InvalidArgument, reason::FIELD_INVALID, text),
        Error::Outdated(text) => status(Code::Aborted, reason::ETAG_MISMATCH, text),
        Error::Moved => {
            status(Code::Aborted, reason::ETAG_MISMATCH, "too many changes at once; try again")
        }
        Error::Unavailable(cause) => {
            tracing::error!(cause = %Chain(cause.as_ref()), "the store failed");
            status(
                Code::Unavailable,
                reason::STORE_UNAVAILABLE,
                "the database cannot be used; see the server's log",
            )
        }
    }
}

/// An error with what caused it.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

/// The resource changed since it was read.
pub(super) fn etag_mismatch(name: &str, current: &str) -> Status {
    let metadata = HashMap::from([("current_etag".to_owned(), current.to_owned())]);
    let message = format!("{name} changed since it was read; read it again");
    status_with(Code::Aborted, reason::ETAG_MISMATCH, message, metadata)
}

/// There is one of that name.
pub(super) fn exists(name: &str) -> Status {
    let message = format!("{name} exists already");
    status_about(Code::AlreadyExists, reason::RESOURCE_EXISTS, name, message)
}

/// There is none of that name.
pub(super) fn missing(name: &str) -> Status {
    let message = format!("{name} does not exist");
    status_about(Code::NotFound, reason::RESOURCE_NOT_FOUND, name, message)
}

/// The server is stopping.
pub(super) fn stopping() -> Status {
    status(Code::Unavailable, reason::SERVER_STOPPING, "the server is stopping; call again")
}
