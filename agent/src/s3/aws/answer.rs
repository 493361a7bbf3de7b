//! Sends requests and waits for their answers, each in a span and with a limit in time.

use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::sync::oneshot;

use super::fail::About;
use super::{fail, trace};
use crate::s3::Error;
use crate::s3::classify::Cause;

/// How long to wait for an answer once the request was sent.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait for S3 to copy or to put an upload together: it may take minutes for the largest objects, and a
/// connection that is dead must end some time.
pub(super) const WORK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Slowest line, in bytes per second, over which a body that is sent from memory still arrives in time.
const SLOWEST: u64 = 16 * 1024;

/// Sends a request and waits for its answer.
pub(super) async fn answer<T, E>(
    about: About<'_>,
    timeout: Duration,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Error>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    // Boxed first: each future that it is passed through would else be as large.
    let request = Box::pin(request);
    trace::request(about, None, within(about, timeout, request)).await
}

async fn within<T, E>(
    about: About<'_>,
    timeout: Duration,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Error>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match tokio::time::timeout(timeout, request).await {
        Ok(answer) => answer.map_err(|error| fail::failed(about, &error)),
        Err(_) => Err(no_answer(about, timeout)),
    }
}

/// Sends a request with a body and waits for its answer. While the body is on its way the SDK watches its progress.
pub(super) async fn answer_to_body<T, E>(
    about: About<'_>,
    length: u64,
    sent: Option<oneshot::Receiver<()>>,
    request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Error>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let mut request = Box::pin(request);
    let exchange = async {
        let Some(sent) = sent else {
            let timeout = ANSWER_TIMEOUT + Duration::from_secs(length / SLOWEST);
            return within(about, timeout, request).await;
        };
        let early = tokio::select! {
            biased;
            answer = &mut request => Some(answer),
            // The sender is dropped with the body; nothing is ever sent.
            _dropped = sent => None,
        };
        match early {
            Some(answer) => answer.map_err(|error| fail::failed(about, &error)),
            None => within(about, ANSWER_TIMEOUT, request).await,
        }
    };
    trace::request(about, Some(length), exchange).await
}

fn no_answer(about: About<'_>, timeout: Duration) -> Error {
    let message = format!("no answer within {} s", timeout.as_secs());
    fail::ours(about, Cause::Timeout, "timeout", message)
}
