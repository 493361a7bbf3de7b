//! The span of each request, named as the semantic conventions of OpenTelemetry name the calls of an AWS SDK. There are
//! very many, so most are not made (`s3sync_telemetry::traces::part`).

use opentelemetry::KeyValue;
use s3sync_telemetry::traces::{self, Told};
use tracing::Instrument as _;

use super::fail::About;
use crate::s3::{Class, Error, Operation};

/// Attribute with the full key. Left out of traces unless it is allowed there.
pub(crate) const KEY: &str = "aws.s3.key";

/// Makes a request, which sends a body of so many bytes if any.
pub(super) async fn request<T>(
    about: About<'_>,
    body: Option<u64>,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    // For logs that are as fine.
    let span = tracing::debug_span!("request", operation = %about.operation, bucket = about.bucket);
    traces::part(
        request.instrument(span),
        |answer| failure(answer.as_ref().err()?),
        |answer| told(about, body, answer.and_then(|answer| answer.as_ref().err())),
    )
    .await
}

fn told(about: About<'_>, body: Option<u64>, error: Option<&Error>) -> Told {
    let mut attributes = vec![
        KeyValue::new("rpc.system", "aws-api"),
        KeyValue::new("rpc.service", "S3"),
        KeyValue::new("rpc.method", about.operation.name()),
        KeyValue::new("aws.s3.bucket", about.bucket.to_owned()),
        KeyValue::new(KEY, about.key.to_string()),
    ];
    if let Some(length) = body {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("http.request.body.size", length));
    }
    if let Some(error) = error {
        if let Some(status) = error.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if !error.request_id.is_empty() {
            attributes.push(KeyValue::new("aws.request_id", error.request_id.clone()));
        }
    }
    Told { name: format!("S3/{}", about.operation).into(), call: true, attributes }
}

/// The code of an error, unless it is an answer that some requests are made to get: that something is not there, or has
/// not changed.
fn failure(error: &Error) -> Option<&str> {
    let is_failure = match error.class {
        Class::NotModified | Class::Precondition | Class::NoSuchKey | Class::NoSuchUpload => false,
        Class::NotFound => error.operation != Operation::Head,
        Class::Throttled
        | Class::Transient
        | Class::Archived
        | Class::Denied
        | Class::Unsupported
        | Class::Corrupt
        | Class::Permanent => true,
    };
    is_failure.then_some(&error.code)
}
