//! From the SDK's errors to ours.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::{RequestId, RequestIdExt};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use s3sync_proto::model::Key;

use super::body::OurBody;
use crate::s3::classify::{Cause, classify};
use crate::s3::{Error, Operation};

/// Longest message that is kept of an answer, in bytes: some servers send pages.
const MAX_MESSAGE_BYTES: usize = 1024;

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) operation: Operation,
    pub(super) bucket: &'a str,
    pub(super) key: &'a Key,
}

/// The error of a request that was sent, or could not be.
pub(super) fn failed<E>(about: About<'_>, error: &SdkError<E, HttpResponse>) -> Error
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().filter(|code| !code.is_empty());
    let (cause, name) = cause(error, status, code);
    let said = error.message().filter(|message| !message.is_empty());
    let message = match (said, status) {
        (Some(said), _) => said.to_owned(),
        (None, Some(status)) if code.is_none() && status >= 300 => {
            format!("the answer was HTTP {status}")
        }
        _ => chain(error),
    };
    Error {
        class: classify(about.operation, cause),
        operation: about.operation,
        bucket: about.bucket.to_owned(),
        key: about.key.clone(),
        code: name,
        message: shortened(message),
        request_id: request_id(error),
        status,
    }
}

/// An error of ours about a request that was not sent, or an answer that cannot be used.
pub(super) fn ours(about: About<'_>, cause: Cause<'_>, code: &str, message: String) -> Error {
    Error {
        class: classify(about.operation, cause),
        operation: about.operation,
        bucket: about.bucket.to_owned(),
        key: about.key.clone(),
        code: code.to_owned(),
        message,
        request_id: String::new(),
        status: None,
    }
}

/// The messages of an error and of all behind it.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let message = cause.to_string();
        // Wrappers often repeat what they wrap.
        if text.ends_with(&message) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&message);
    }
    shortened(text)
}

/// Whether the connection was closed before the announced length was reached.
pub(super) fn is_early_end(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    // `Error` itself has a `source` too, for references to errors, which lives no longer than the reference.
    std::iter::successors(Some(error), |error| StdError::source(*error))
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn cause<'a, E>(
    error: &'a SdkError<E, HttpResponse>,
    status: Option<u16>,
    code: Option<&'a str>,
) -> (Cause<'a>, String)
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    if let Some(credentials) = find::<CredentialsError>(error) {
        let cause = match credentials {
            CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                Cause::NoCredentialNow
            }
            CredentialsError::CredentialsNotLoaded(_)
            | CredentialsError::InvalidConfiguration(_)
            | _ => Cause::NoCredential,
        };
        return (cause, "credentials".into());
    }
    if find::<OurBody>(error).is_some() {
        return (Cause::OurBody, "body".into());
    }
    let status = status.unwrap_or_default();
    match error {
        SdkError::ConstructionFailure(_) => (Cause::NotARequest, "not_a_request".into()),
        SdkError::TimeoutError(_) => (Cause::Timeout, "timeout".into()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (Cause::Timeout, "timeout".into())
        }
        SdkError::ResponseError(_) => (Cause::NotUnderstood { status }, "invalid_answer".into()),
        // It began well, and then a header or the body was not what it should be.
        SdkError::ServiceError(_) if status < 300 && code.is_none() => {
            (Cause::NotUnderstood { status }, "invalid_answer".into())
        }
        SdkError::ServiceError(_) => {
            let name = code.map_or_else(|| format!("http_{status}"), str::to_owned);
            (Cause::Answer { status, code }, name)
        }
        // The SDK may add variants; what it cannot name is a connection that failed.
        SdkError::DispatchFailure(_) | _ => (Cause::Connection, "connection".into()),
    }
}

fn request_id<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let headers = error.raw_response().map(|response| response.headers());
    let id = headers.and_then(|headers| headers.request_id()).unwrap_or_default();
    match headers.and_then(|headers| headers.extended_request_id()) {
        Some(extended) => format!("{id} {extended}"),
        None => id.to_owned(),
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.push('…');
    }
    message
}
