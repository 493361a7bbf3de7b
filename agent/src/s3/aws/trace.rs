//! A span for each request, named as the semantic conventions of OpenTelemetry name the calls of an AWS SDK. There are
//! very many, so most are not delivered (`s3sync_telemetry::traces::Detail`).

use s3sync_telemetry::traces;
use tracing::Span;

use super::fail::About;
use crate::copy::trace::SPANS;
use crate::s3::{Class, Error, Operation};

/// Attribute with the full key. Left out of traces unless it is allowed there.
pub(crate) const KEY: &str = "aws.s3.key";

/// The span of a request.
pub(super) fn span(about: About<'_>) -> Span {
    let span = tracing::debug_span!(
        "request",
        otel.kind = "client",
        otel.name = %format_args!("S3/{}", about.operation),
        rpc.system = "aws-api",
        rpc.service = "S3",
        rpc.method = about.operation.name(),
        aws.s3.bucket = about.bucket,
    );
    if !span.is_disabled() {
        let above = Span::current();
        if above.metadata().is_some_and(|above| SPANS.contains(&above.name())) {
            traces::is_part_of_detail(&span);
        } else {
            traces::is_detail(&span);
        }
        traces::note(&span, KEY, about.key.to_string());
    }
    span
}

/// Notes how long the body is that a request sends.
pub(super) fn sends(span: &Span, length: u64) {
    if !span.is_disabled() {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        traces::note(span, "http.request.body.size", length);
    }
}

/// Notes how a request ended.
pub(super) fn ended<T>(span: &Span, answer: &Result<T, Error>) {
    let Err(error) = answer else { return };
    if span.is_disabled() {
        return;
    }
    if let Some(status) = error.status {
        traces::note(span, "http.response.status_code", i64::from(status));
    }
    if !error.request_id.is_empty() {
        traces::note(span, "aws.request_id", error.request_id.clone());
    }
    if is_failure(error) {
        traces::failed(span, &error.code);
    }
}

/// Whether an answer is what nobody asked for: that something is not there, or has not changed, is what some requests
/// are made to find out.
fn is_failure(error: &Error) -> bool {
    match error.class {
        Class::NotModified | Class::Precondition | Class::NoSuchKey | Class::NoSuchUpload => false,
        Class::NotFound => error.operation != Operation::Head,
        Class::Throttled
        | Class::Transient
        | Class::Archived
        | Class::Denied
        | Class::Unsupported
        | Class::Corrupt
        | Class::Permanent => true,
    }
}
