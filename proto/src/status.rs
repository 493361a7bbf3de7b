//! Errors as they travel: a gRPC status with `ErrorInfo`, and what else goes with its kind. A status travels in HTTP/2
//! trailers, which clients limit (grpc-java to 8 KiB in all); one that is larger reaches nobody, so all of it is bounded.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt as _};

use crate::model::{Invalid, Violation};

/// Longest message of a status, in bytes. Each may take three in a trailer, which is percent-encoded.
const MAX_MESSAGE_BYTES: usize = 512;
/// Most bytes that the violations of a status take together: 5.5 KiB in a trailer, which is base64.
const MAX_VIOLATIONS_BYTES: usize = 4096;
/// Longest description of one violation, in bytes. Ours are shorter unless they quote; then the beginning says enough.
const MAX_DESCRIPTION_BYTES: usize = 512;
/// What a violation takes beside its texts: tags and lengths of three nested fields.
const VIOLATION_OVERHEAD_BYTES: usize = 12;

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
    /// The queue is named by jobs.
    pub const QUEUE_IN_USE: &str = "QUEUE_IN_USE";
    /// The job is no longer what the request builds on.
    pub const JOB_CHANGED: &str = "JOB_CHANGED";
    /// The run is not in a state in which that can be done.
    pub const RUN_STATE: &str = "RUN_STATE";
    /// No key failed that could be tried again.
    pub const NOTHING_TO_RETRY: &str = "NOTHING_TO_RETRY";
    /// No protocol version in common with the agent.
    pub const AGENT_PROTOCOL_UNSUPPORTED: &str = "AGENT_PROTOCOL_UNSUPPORTED";
    /// A newer session of the same agent took over.
    pub const SESSION_SUPERSEDED: &str = "SESSION_SUPERSEDED";
    /// No connected agent can do what is asked.
    pub const NO_ELIGIBLE_AGENT: &str = "NO_ELIGIBLE_AGENT";
    /// The agents that could did not answer in time.
    pub const NO_ANSWER: &str = "NO_ANSWER";
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

/// A status with its reason and metadata for programs. The metadata is the server's own and short.
#[must_use]
pub fn status_with(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, shortened(message.into(), MAX_MESSAGE_BYTES), details)
}

/// A status about one resource, such as NOT_FOUND or ALREADY_EXISTS, with `ResourceInfo`. `name` is the resource's name,
/// such as `jobs/media`.
#[must_use]
pub fn status_about(code: Code, reason: &str, name: &str, message: impl Into<String>) -> Status {
    let message = shortened(message.into(), MAX_MESSAGE_BYTES);
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    details.set_resource_info(resource_type(name), name, "", message.as_str());
    Status::with_error_details(code, message, details)
}

/// FAILED_PRECONDITION with `PreconditionFailure`: `subjects` are the names of what stands in the way, such as the jobs
/// that name an endpoint. The first that fit are listed.
#[must_use]
pub fn precondition_failed(
    reason: &str,
    message: impl Into<String>,
    subjects: impl IntoIterator<Item = String>,
) -> Status {
    let message = shortened(message.into(), MAX_MESSAGE_BYTES);
    let mut room = MAX_VIOLATIONS_BYTES;
    let mut violations = Vec::new();
    for subject in subjects {
        let Some(left) = room.checked_sub(subject.len() + reason.len() + VIOLATION_OVERHEAD_BYTES)
        else {
            break;
        };
        room = left;
        violations.push(PreconditionViolation::new(reason, subject, ""));
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    details.set_precondition_failure(violations);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

impl From<Invalid> for Status {
    /// INVALID_ARGUMENT with the violations that fit, in their order; the last says how many were left out.
    fn from(invalid: Invalid) -> Self {
        let message = shortened(invalid.to_string(), MAX_MESSAGE_BYTES);
        let mut details = ErrorDetails::new();
        details.set_error_info(reason::FIELD_INVALID, DOMAIN, HashMap::new());
        let (all, mut listed, mut room) = (invalid.violations.len(), 0, MAX_VIOLATIONS_BYTES);
        for Violation { field, description } in invalid.violations {
            let field = shortened(field, MAX_DESCRIPTION_BYTES);
            let description = shortened(description, MAX_DESCRIPTION_BYTES);
            let size = field.len() + description.len() + VIOLATION_OVERHEAD_BYTES;
            let Some(left) = room.checked_sub(size) else { break };
            (room, listed) = (left, listed + 1);
            details.add_bad_request_violation(field, description);
        }
        if listed < all {
            let text = format!("{} more problems are not listed; mend these first", all - listed);
            details.add_bad_request_violation("", text);
        }
        Self::with_error_details(Code::InvalidArgument, message, details)
    }
}

/// Type of a resource by its name: that of the innermost collection.
fn resource_type(name: &str) -> &'static str {
    match name.rsplit('/').nth(1) {
        Some("endpoints") => "s3sync.dev/Endpoint",
        Some("queues") => "s3sync.dev/Queue",
        Some("jobs") => "s3sync.dev/Job",
        Some("runs") => "s3sync.dev/Run",
        Some("agents") => "s3sync.dev/Agent",
        _ => "",
    }
}

/// The text, or its beginning and three dots, in at most `limit` bytes.
fn shortened(mut text: String, limit: usize) -> String {
    const DOTS: &str = "...";
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit - DOTS.len()));
        text.push_str(DOTS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_its_limit_and_between_characters() {
        assert_eq!(shortened("äää".to_owned(), 6), "äää");
        assert_eq!(shortened("ääää".to_owned(), 6), "ä...");
    }

    #[test]
    fn every_violation_is_sent_until_the_room_is_used_up() {
        let invalid = |count: usize| Invalid {
            violations: (0..count)
                .map(|n| Violation::new(format!("f[{n}]"), "x".repeat(96)))
                .collect(),
        };
        let sent = |count| {
            let details = Status::from(invalid(count)).get_error_details();
            details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default()
        };
        let first = sent(10);
        assert_eq!((first.len(), first[9].field.as_str()), (10, "f[9]"));
        let many = sent(1000);
        let last = &many[many.len() - 1];
        assert_eq!(last.field, "");
        assert_eq!(
            last.description,
            format!("{} more problems are not listed; mend these first", 1001 - many.len())
        );
        assert!(many.len() > 30, "{}", many.len());
    }

    #[test]
    fn the_largest_status_fits_in_the_trailers_of_every_client() {
        let name = format!("jobs/{}", "x".repeat(63));
        let violation = Violation::new("ü".repeat(4000), "\u{10ffff}".repeat(4000));
        let statuses = [
            Status::from(Invalid { violations: vec![violation; 1000] }),
            precondition_failed(
                reason::ENDPOINT_IN_USE,
                "ü".repeat(4000),
                vec![name.clone(); 1000],
            ),
            status_about(Code::NotFound, reason::RESOURCE_NOT_FOUND, &name, "ü".repeat(4000)),
        ];
        for status in statuses {
            let headers = status.into_http::<()>().into_parts().0.headers;
            let size: usize =
                headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(size <= 8192, "{size}");
        }
    }

    #[test]
    fn a_status_says_which_resource_or_what_stands_in_the_way() {
        let status =
            status_about(Code::NotFound, reason::RESOURCE_NOT_FOUND, "jobs/a/runs/3", "no");
        let details = status.get_error_details();
        let info = details.resource_info().unwrap();
        assert_eq!(
            (info.resource_type.as_str(), info.resource_name.as_str()),
            ("s3sync.dev/Run", "jobs/a/runs/3")
        );
        let status = precondition_failed(reason::ENDPOINT_IN_USE, "no", ["jobs/a".to_owned()]);
        let details = status.get_error_details();
        let failure = details.precondition_failure().unwrap();
        assert_eq!(failure.violations[0].subject, "jobs/a");
        assert_eq!(failure.violations[0].r#type, reason::ENDPOINT_IN_USE);
    }
}
