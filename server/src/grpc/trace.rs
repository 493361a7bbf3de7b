//! A span for each call, with the W3C trace context that came with it; and what a run carries on of it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poller, Poll};

use http::{Request, Response};
use s3sync_proto::model::News;
use s3sync_telemetry::traces;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument as _, Span};

/// Longest trace context that is taken: version 00 has 55 characters.
const TRACEPARENT_CHARS: usize = 55;

/// A service each of whose calls has a span.
#[derive(Clone)]
pub(super) struct Traced<S>(pub(super) S);

impl<S: NamedService> NamedService for Traced<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(poller)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = span(&request);
        let call = span.in_scope(|| self.0.call(request)).instrument(span.clone());
        Box::pin(async move {
            let answer = call.await;
            if let Ok(response) = &answer {
                // A call that is answered with a message says how it ended after that; it went well until then.
                let status = Status::from_header_map(response.headers());
                ended(&span, status.map_or(Code::Ok, |status| status.code()));
            }
            answer
        })
    }
}

/// The span of a call (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>).
fn span(request: &Request<Body>) -> Span {
    let path = request.uri().path().trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    let span = tracing::info_span!(
        parent: None,
        "rpc",
        otel.kind = "server",
        otel.name = path,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
    );
    let given = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    if let Some(given) = given.filter(|text| is_valid(text)) {
        traces::adopt(&span, given);
    }
    span
}

fn ended(span: &Span, code: Code) {
    traces::note(span, "rpc.grpc.status_code", i64::from(code as i32));
    // What a caller did wrong is no failure of this side.
    let ours = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ];
    if ours.contains(&code) {
        traces::failed(span, &format!("{code:?}"));
    }
}

/// The trace context that what a call begins carries on: of the call's span; where spans are not delivered, the one that
/// came with it, or a new one when there is none or a malformed one
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub(super) fn traceparent(metadata: &MetadataMap) -> String {
    if let Some(own) = traces::traceparent(&Span::current()) {
        return own;
    }
    let given = metadata.get("traceparent").and_then(|value| value.to_str().ok());
    match given.filter(|text| is_valid(text)) {
        Some(text) => text.to_owned(),
        None => traces::new_traceparent(),
    }
}

/// The span of what an agent tells of a queue. Keys that are marked by it go on with its trace.
pub(super) fn events(news: &mut News) -> Span {
    if !is_valid(&news.traceparent) {
        news.traceparent.clear();
    }
    if news.events.is_empty() {
        return Span::none();
    }
    let span = tracing::info_span!(
        parent: None,
        "events",
        otel.kind = "consumer",
        messaging.batch.message_count = news.messages,
        events = news.events.len(),
    );
    traces::adopt(&span, &news.traceparent);
    if let Some(own) = traces::traceparent(&span) {
        news.traceparent = own;
    }
    span
}

fn is_valid(text: &str) -> bool {
    let hex = |part: &str, chars: usize| {
        part.len() == chars
            && part.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            && (chars == 2 || part.chars().any(|c| c != '0'))
    };
    let parts: Vec<&str> = text.split('-').collect();
    text.len() == TRACEPARENT_CHARS
        && matches!(parts[..], ["00", trace, span, flags] if hex(trace, 32) && hex(span, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_context_is_kept_and_a_bad_one_replaced() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut metadata = MetadataMap::new();
        metadata.insert("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&metadata), good);
        for bad in [
            "",
            "00-0-0-01",
            &good.replace('a', "G"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            metadata.insert("traceparent", bad.parse().unwrap());
            let made = traceparent(&metadata);
            assert_ne!(made, bad);
            assert!(is_valid(&made), "{made}");
        }
    }
}
