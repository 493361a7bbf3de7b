//! Sockets: accepts connections, takes requests apart, lets faults strike, answers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{self, Signer};
use crate::endpoint::{Endpoint, EndpointConfig};
use crate::error::{S3Error, S3Result};
use crate::fault::Fault;
use crate::ops::{self, Payload};
use crate::record::Write;
use crate::reply::Reply;
use crate::request::Call;
use crate::text::hex;
use crate::{admin, chunked};

type Body = BoxBody<Bytes, io::Error>;

/// Between the first half of a body that is cut and the end of its connection.
const CUT_PAUSE: Duration = Duration::from_millis(5);

/// Running endpoints. They stop when this is dropped.
#[derive(Debug)]
pub struct Lab {
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lab {
    /// Starts endpoints.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(configs: Vec<EndpointConfig>) -> io::Result<Self> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut endpoints = BTreeMap::new();
        for config in configs {
            let listener = TcpListener::bind(config.listen).await?;
            let endpoint = Endpoint::new(config, listener.local_addr()?);
            endpoints.insert(endpoint.name().to_owned(), Arc::clone(&endpoint));
            tasks.spawn(accept(listener, stop.clone(), tasks.clone(), move |request| {
                let endpoint = Arc::clone(&endpoint);
                async move { serve(&endpoint, request).await }
            }));
        }
        Ok(Self { endpoints, stop, tasks })
    }

    /// An endpoint by name.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Arc<Endpoint> {
        Arc::clone(&self.endpoints[name])
    }

    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    /// Serves the control interface on a listener, for tests in other processes.
    pub(crate) fn serve_admin(&self, listener: TcpListener) {
        let endpoints = Arc::new(self.endpoints.clone());
        self.tasks.spawn(accept(listener, self.stop.clone(), self.tasks.clone(), move |request| {
            let endpoints = Arc::clone(&endpoints);
            async move { admin::serve(&endpoints, request).await }
        }));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept<F, A>(listener: TcpListener, stop: CancellationToken, tasks: TaskTracker, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = io::Result<Response<Body>>> + Send + 'static,
{
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            () = stop.cancelled() => return,
        };
        // Without it each small answer waits for the acknowledgement of the one before.
        drop(stream.set_nodelay(true));
        let (answer, stop) = (answer.clone(), stop.clone());
        tasks.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::select! {
                // A broken connection is the client's to notice, and often what was asked for.
                served = connection => drop(served),
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Serves one request. An error breaks the connection.
async fn serve(endpoint: &Arc<Endpoint>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let begin = endpoint.tick();
    let (parts, incoming) = request.into_parts();
    let call = Call::new(&parts);
    let (faults, list_delay) = {
        let mut state = endpoint.state();
        let claimed = (call.operation.to_owned(), auth::claimed_key(&call), call.bucket.clone());
        *state.counts.0.entry(claimed).or_default() += 1;
        let listed = call.query("prefix").unwrap_or_default().as_bytes();
        let place = if call.key.is_empty() { listed } else { &call.key };
        (state.faults.strike(call.operation, place), state.capabilities.list_delay_ms)
    };
    delay(&call, &faults, list_delay).await;
    let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
    if faults.contains(&Fault::ResetBefore) {
        record(endpoint, &call, begin, 0, false);
        return broken();
    }
    let mut body = incoming.collect().await.map_err(io::Error::other)?.to_bytes();
    if faults.contains(&Fault::WrongByteUp) {
        body = wrong_byte(&body);
    }
    let late = faults.contains(&Fault::ErrorIn200) && may_fail_late(&call);
    let result = answer(endpoint, &call, body, &faults);
    let effect = result.is_ok() && !late;
    let mut reply =
        result.unwrap_or_else(|error| Reply::error(&error, call.method == http::Method::HEAD));
    if late && reply.status.is_success() {
        reply = Reply { status: http::StatusCode::OK, ..Reply::error(&S3Error::internal(), false) };
    }
    record(endpoint, &call, begin, reply.status.as_u16(), effect);
    if faults.contains(&Fault::ResetAfter) {
        return broken();
    }
    if faults.contains(&Fault::WrongByteDown)
        && reply.status.is_success()
        && call.operation == "GetObject"
    {
        reply.body = wrong_byte(&reply.body);
    }
    Ok(response(reply, faults.contains(&Fault::CutBody)))
}

async fn delay(call: &Call, faults: &[Fault], list_delay: u64) {
    let listing = if call.operation == "ListObjectsV2" { list_delay } else { 0 };
    let more: u64 =
        faults.iter().map(|fault| if let Fault::Delay(millis) = fault { *millis } else { 0 }).sum();
    if listing + more > 0 {
        tokio::time::sleep(Duration::from_millis(listing + more)).await;
    }
}

fn record(endpoint: &Endpoint, call: &Call, begin: u64, status: u16, effect: bool) {
    if !call.writes() {
        return;
    }
    endpoint.record(Write {
        operation: call.operation,
        bucket: call.bucket.clone(),
        key: String::from_utf8_lossy(&call.key).into_owned(),
        access_key: auth::claimed_key(call),
        begin,
        end: endpoint.tick(),
        status,
        effect,
    });
}

/// Verifies and performs a call, unless a fault refuses it.
fn answer(endpoint: &Endpoint, call: &Call, raw: Bytes, faults: &[Fault]) -> S3Result<Reply> {
    let region = endpoint.state().region.clone();
    let signer = auth::verify(call, endpoint.keys(), &region)?;
    for fault in faults {
        match fault {
            Fault::SlowDown => return Err(S3Error::slow_down()),
            Fault::InternalError => return Err(S3Error::internal()),
            Fault::AccessDenied => return Err(S3Error::access_denied()),
            Fault::ErrorIn200 if may_fail_late(call) => {
                // Without an effect; the caller of this makes it a 200.
                return Ok(Reply::empty(http::StatusCode::OK));
            }
            Fault::ResetBefore
            | Fault::ResetAfter
            | Fault::CutBody
            | Fault::WrongByteDown
            | Fault::WrongByteUp
            | Fault::ErrorIn200
            | Fault::Delay(_) => {}
        }
    }
    let no_trailers = endpoint.state().capabilities.no_trailers;
    let payload = payload(call, raw, signer, no_trailers)?;
    ops::perform(&mut endpoint.state(), call, &payload)
}

fn may_fail_late(call: &Call) -> bool {
    matches!(call.operation, "CopyObject" | "UploadPartCopy" | "CompleteMultipartUpload")
}

/// The body as the client meant it, verified against what was signed.
fn payload(call: &Call, raw: Bytes, signer: Signer, no_trailers: bool) -> S3Result<Payload> {
    let declared = call.header("x-amz-content-sha256").unwrap_or_default();
    match declared {
        "UNSIGNED-PAYLOAD" => Ok(Payload { body: raw, trailers: Vec::new() }),
        streaming if streaming.starts_with("STREAMING-") => {
            if no_trailers && streaming.ends_with("-TRAILER") {
                return Err(S3Error::body_hash());
            }
            let signer = streaming.contains("AWS4-HMAC").then_some(signer);
            let decoded = chunked::decode(&raw, signer)?;
            let length = decoded.body.len().to_string();
            if call
                .header("x-amz-decoded-content-length")
                .is_some_and(|declared| declared != length)
            {
                return Err(S3Error::incomplete_body());
            }
            Ok(Payload { body: decoded.body, trailers: decoded.trailers })
        }
        digest if digest == hex(&Sha256::digest(&raw)) => {
            Ok(Payload { body: raw, trailers: Vec::new() })
        }
        _ => Err(S3Error::body_hash()),
    }
}

/// The same bytes but for one in the middle.
fn wrong_byte(bytes: &Bytes) -> Bytes {
    let mut wrong = bytes.to_vec();
    let middle = wrong.len() / 2;
    if let Some(byte) = wrong.get_mut(middle) {
        *byte ^= 0x20;
    }
    Bytes::from(wrong)
}

fn response(reply: Reply, cut: bool) -> Response<Body> {
    let Reply { status, headers, body, length } = reply;
    let announced = length.unwrap_or(body.len() as u64);
    let cut = cut && body.len() > 1;
    let body: Body = if cut {
        let half = Ok(Frame::data(body.slice(..body.len() / 2)));
        let end = async {
            // Lets the head and the first half leave; an error at once would break the connection before them.
            tokio::time::sleep(CUT_PAUSE).await;
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        };
        let frames = stream::once(std::future::ready(half)).chain(stream::once(end));
        BodyExt::boxed(StreamBody::new(frames))
    } else {
        Full::new(body).map_err(|never| match never {}).boxed()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert("x-amz-request-id", http::HeaderValue::from_static("LAB"));
    if cut || length.is_some() {
        response.headers_mut().insert("content-length", announced.into());
    }
    response
}

/// A plain answer of the control interface.
pub(crate) fn plain(status: http::StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response =
        Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}
