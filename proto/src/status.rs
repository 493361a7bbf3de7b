//! Errors as they travel: a gRPC status with `ErrorInfo`, and `BadRequest` with every field violation.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::model::Invalid;

/// Domain of every reason.
pub const DOMAIN: &str = "s3sync.dev";

/// Why a call was refused, for programs. The same reason never gets another meaning.
pub mod reason {
    /// Fields are wrong; the violations say which and why.
    pub const FIELD_INVALID: &str = "FIELD_INVALID";
    /// A page token is not one of this list's.
    pub const PAGE_TOKEN_INVALID: &str = "PAGE_TOKEN_INVALID";
    /// A request id was used for a different request.
    pub const REQUEST_ID_REUSED: &str = "REQUEST_ID_REUSED";
    /// There is no such resource.
    pub const RESOURCE_NOT_FOUND: &str = "RESOURCE_NOT_FOUND";
    /// A resource of that name exists.
    pub const RESOURCE_EXISTS: &str = "RESOURCE_EXISTS";
    /// The job has a run that has not ended.
    pub const RUN_IN_PROGRESS: &str = "RUN_IN_PROGRESS";
    /// The resource changed since it was read.
    pub const ETAG_MISMATCH: &str = "ETAG_MISMATCH";
    /// The job cannot be deleted while it runs.
    pub const JOB_HAS_ACTIVE_RUN: &str = "JOB_HAS_ACTIVE_RUN";
    /// The endpoint is named by jobs.
    pub const ENDPOINT_IN_USE: &str = "ENDPOINT_IN_USE";
    /// No protocol version in common with the agent.
    pub const AGENT_PROTOCOL_UNSUPPORTED: &str = "AGENT_PROTOCOL_UNSUPPORTED";
    /// A newer session of the same agent took over.
    pub const SESSION_SUPERSEDED: &str = "SESSION_SUPERSEDED";
    /// The session expired.
    pub const SESSION_EXPIRED: &str = "SESSION_EXPIRED";
    /// The agent does not read its stream.
    pub const SESSION_SLOW: &str = "SESSION_SLOW";
    /// No token, or a wrong one.
    pub const CREDENTIALS_INVALID: &str = "CREDENTIALS_INVALID";
    /// The database cannot be used.
    pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
    /// The server is stopping.
    pub const SERVER_STOPPING: &str = "SERVER_STOPPING";
}

/// A status with its reason.
#[must_use]
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    status_with(code, reason, message, HashMap::new())
}

/// A status with its reason and metadata for programs.
#[must_use]
pub fn status_with(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason::FIELD_INVALID, DOMAIN, HashMap::new());
        for violation in &invalid.violations {
            details.add_bad_request_violation(&violation.field, &violation.description);
        }
        Self::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
    }
}
