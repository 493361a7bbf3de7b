//! What a call failed with.

use std::collections::BTreeMap;
use std::fmt;

use tonic::Status;
use tonic_types::StatusExt as _;

use crate::model::{Invalid, Violation};

/// gRPC's status codes, as far as callers tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Bad input.
    InvalidArgument,
    /// There is no such resource.
    NotFound,
    /// It exists already, or is going on already.
    AlreadyExists,
    /// It changed meanwhile.
    Aborted,
    /// The state of things does not allow it.
    FailedPrecondition,
    /// Not allowed.
    PermissionDenied,
    /// No credential, or a wrong one.
    Unauthenticated,
    /// The server cannot be reached or is not ready.
    Unavailable,
    /// The server does not know the call.
    Unimplemented,
    /// The call was cancelled or took too long.
    Cancelled,
    /// Anything else.
    Internal,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What kind.
    pub code: Code,
    /// Why, for programs (see [`crate::status::reason`]); empty when the server did not say.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Every wrong field.
    pub violations: Vec<Violation>,
    /// More for programs.
    pub metadata: BTreeMap<String, String>,
}

impl ApiError {
    /// An error of this side.
    pub(crate) fn local(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: String::new(),
            message: message.into(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Whether the server could not be reached, or the connection to it broke. A call that writes may have had its
    /// effect then.
    #[must_use]
    pub fn unreachable(&self) -> bool {
        self.code == Code::Unavailable && self.reason.is_empty()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<Invalid> for ApiError {
    /// The server sent something that makes no sense.
    fn from(invalid: Invalid) -> Self {
        Self::local(Code::Internal, format!("the server's answer makes no sense: {invalid}"))
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            // Only an error of this side has a source. Where the connection breaks in the middle of a stream, tonic
            // says UNKNOWN, INTERNAL or CANCELLED, whatever h2 was doing; for a caller the server is gone.
            tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::Cancelled
                if std::error::Error::source(&status).is_some() =>
            {
                Code::Unavailable
            }
            tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Code::InvalidArgument,
            tonic::Code::NotFound => Code::NotFound,
            tonic::Code::AlreadyExists => Code::AlreadyExists,
            tonic::Code::Aborted => Code::Aborted,
            tonic::Code::FailedPrecondition => Code::FailedPrecondition,
            tonic::Code::PermissionDenied => Code::PermissionDenied,
            tonic::Code::Unauthenticated => Code::Unauthenticated,
            tonic::Code::Unavailable => Code::Unavailable,
            tonic::Code::Unimplemented => Code::Unimplemented,
            tonic::Code::Cancelled | tonic::Code::DeadlineExceeded => Code::Cancelled,
            tonic::Code::Ok
            | tonic::Code::Unknown
            | tonic::Code::ResourceExhausted
            | tonic::Code::Internal
            | tonic::Code::DataLoss => Code::Internal,
        };
        let details = status.get_error_details();
        let info = details.error_info();
        let violations =
            details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        // A transport error hides its cause ("transport error"); the chain says what happened.
        let source = std::error::Error::source(&status);
        let message = super::with_causes(status.message().to_owned(), source);
        Self {
            code,
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message,
            violations: violations
                .into_iter()
                .map(|v| Violation::new(v.field, v.description))
                .collect(),
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
        }
    }
}
