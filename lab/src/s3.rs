//! Serves requests to S3: counts them, lets faults strike, verifies, answers, and writes down what was changed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use crate::auth::{self, Keys, Signed, Signer};
use crate::endpoint::Endpoint;
use crate::error::{S3Error, S3Result};
use crate::fault::{Fault, Ticket};
use crate::ops::{self, Payload};
use crate::record::{Change, Write};
use crate::reply::Reply;
use crate::request::Call;
use crate::server::{Body, response};
use crate::text::hex;
use crate::{chunked, notify};

/// Serves one request. An error breaks the connection.
pub(crate) async fn serve(
    endpoint: &Arc<Endpoint>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let begin = endpoint.tick();
    let (parts, incoming) = request.into_parts();
    let call = Call::new(&parts);
    let (faults, list_delay, mut ticket) = struck(endpoint, &call);
    delay(&call, &faults, list_delay).await;
    endpoint.gate.pass(Fault::Hold, &faults, &mut ticket).await;
    let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
    if faults.contains(&Fault::ResetBefore) {
        record(endpoint, &call, begin, (0, false), &[]);
        return broken();
    }
    let mut body = incoming.collect().await.map_err(io::Error::other)?.to_bytes();
    if faults.contains(&Fault::WrongByteUp) {
        body = wrong_byte(&body);
    }
    let late = faults.contains(&Fault::ErrorIn200) && may_fail_late(&call);
    let result = answer(endpoint, &call, body, &faults);
    let effect = !late && result.as_ref().is_ok_and(|reply| !reply.status.is_client_error());
    let mut reply =
        result.unwrap_or_else(|error| Reply::error(&error, call.method == http::Method::HEAD));
    if late && reply.status.is_success() {
        reply = Reply { status: http::StatusCode::OK, ..Reply::error(&S3Error::internal(), false) };
    }
    record(endpoint, &call, begin, (reply.status.as_u16(), effect), &reply.changes);
    if !reply.changes.is_empty() {
        let access_key = auth::claimed_key(&call.headers);
        notify::tell(endpoint, &call.bucket, &access_key, &reply.changes);
    }
    for fault in &faults {
        if let Fault::DelayAnswer(millis) = fault {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
        }
    }
    endpoint.gate.pass(Fault::HoldAnswer, &faults, &mut ticket).await;
    if faults.contains(&Fault::ResetAfter) {
        return broken();
    }
    if faults.contains(&Fault::WrongByteDown)
        && reply.status.is_success()
        && call.operation == "GetObject"
    {
        reply.body = wrong_byte(&reply.body);
    }
    if faults.contains(&Fault::EmptyBody) {
        reply.body = Bytes::new();
    }
    Ok(response(reply, faults.contains(&Fault::CutBody), begin))
}

/// Counts a call, refused or not, and tells what faults strike it.
fn struck(endpoint: &Endpoint, call: &Call) -> (Vec<Fault>, u64, Ticket) {
    let mut state = endpoint.state();
    state.counts.add(call.operation, auth::claimed_key(&call.headers), call.bucket.clone());
    let listed = call.query("prefix").unwrap_or_default().as_bytes();
    let place = if call.key.is_empty() { listed } else { &call.key };
    let faults = state.faults.strike(call.operation, &call.bucket, place);
    (faults, state.capabilities.list_delay_ms, endpoint.gate.ticket())
}

async fn delay(call: &Call, faults: &[Fault], list_delay: u64) {
    let listing = if call.operation == "ListObjectsV2" { list_delay } else { 0 };
    let millis = listing + delay_of(faults);
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// Milliseconds of all delays that strike.
pub(crate) fn delay_of(faults: &[Fault]) -> u64 {
    faults.iter().map(|fault| if let Fault::Delay(millis) = fault { *millis } else { 0 }).sum()
}

/// Writes down a request that changes objects: one entry, or of a batch one for each key.
fn record(
    endpoint: &Endpoint,
    call: &Call,
    begin: u64,
    (status, effect): (u16, bool),
    changes: &[Change],
) {
    if !call.writes() {
        return;
    }
    let end = endpoint.tick();
    let write = |key: &Bytes, etag: &str| Write {
        operation: call.operation,
        bucket: call.bucket.clone(),
        key: String::from_utf8_lossy(key).into_owned(),
        access_key: auth::claimed_key(&call.headers),
        begin,
        end,
        status,
        effect,
        etag: etag.to_owned(),
    };
    let writes = if changes.is_empty() {
        vec![write(&call.key, "")]
    } else {
        changes.iter().map(|change| write(&change.key, &change.etag)).collect()
    };
    endpoint.record(writes);
}

/// Verifies and performs a call, unless a fault refuses it.
fn answer(endpoint: &Endpoint, call: &Call, raw: Bytes, faults: &[Fault]) -> S3Result<Reply> {
    let declared = call.header("x-amz-content-sha256").ok_or_else(S3Error::access_denied)?;
    let signed = Signed {
        method: &call.method,
        path: &call.path,
        query: &call.query,
        headers: &call.headers,
        payload: declared,
    };
    let keys = Keys { secrets: endpoint.keys(), region: endpoint.region(), service: "s3" };
    let signer = auth::verify(signed, keys)?;
    for fault in faults {
        match fault {
            Fault::SlowDown => return Err(S3Error::slow_down()),
            Fault::InternalError => return Err(S3Error::internal()),
            Fault::AccessDenied => return Err(S3Error::access_denied()),
            Fault::NoSuchBucket => return Err(S3Error::no_such_bucket()),
            Fault::EmptyNotFound => return Ok(Reply::empty(http::StatusCode::NOT_FOUND)),
            Fault::Conflict => return Err(S3Error::conflict()),
            Fault::ErrorIn200 if may_fail_late(call) => {
                // Without an effect; the caller of this makes it a 200.
                return Ok(Reply::empty(http::StatusCode::OK));
            }
            Fault::ResetBefore
            | Fault::ResetAfter
            | Fault::CutBody
            | Fault::EmptyBody
            | Fault::WrongByteDown
            | Fault::WrongByteUp
            | Fault::WrongByteStored
            | Fault::ErrorIn200
            | Fault::Delay(_)
            | Fault::DelayAnswer(_)
            | Fault::Hold
            | Fault::HoldAnswer
            | Fault::FailEntry
            | Fault::Duplicate => {}
        }
    }
    let no_trailers = endpoint.state().capabilities.no_trailers;
    let mut payload = payload(call, raw, signer, no_trailers)?;
    if faults.contains(&Fault::WrongByteStored)
        && matches!(call.operation, "PutObject" | "UploadPart")
    {
        payload.body = wrong_byte(&payload.body);
    }
    payload.first_fails = faults.contains(&Fault::FailEntry);
    ops::perform(endpoint, call, &payload)
}

fn may_fail_late(call: &Call) -> bool {
    matches!(call.operation, "CopyObject" | "UploadPartCopy" | "CompleteMultipartUpload")
}

/// The body as the client meant it, verified against what was signed.
fn payload(call: &Call, raw: Bytes, signer: Signer, no_trailers: bool) -> S3Result<Payload> {
    let declared = call.header("x-amz-content-sha256").unwrap_or_default();
    match declared {
        "UNSIGNED-PAYLOAD" => Ok(Payload { body: raw, ..Payload::default() }),
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
            let (body, trailers) = (decoded.body, decoded.trailers);
            Ok(Payload { body, trailers, ..Payload::default() })
        }
        digest if digest == hex(&Sha256::digest(&raw)) => {
            Ok(Payload { body: raw, ..Payload::default() })
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
