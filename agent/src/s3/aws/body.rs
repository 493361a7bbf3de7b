//! Bodies between our seam and the SDK, without copying a byte, in both directions bound to their length.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::BodyDataStream;
use s3sync_proto::model::Key;
use tokio::sync::oneshot;

use super::fail;
use crate::s3::{Body, Class, Error, Operation, PutBody};

/// Why a body that we send ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum OurBody {
    #[error("the body to send failed: {0}")]
    Failed(Error),
    #[error("the body to send ended {0} bytes early")]
    TooShort(u64),
    #[error("the body to send is longer than announced")]
    TooLong,
}

/// A body to send, and what becomes ready when the last of it was taken. `None`: it was there from the beginning.
pub(super) struct Outgoing {
    pub(super) body: ByteStream,
    pub(super) length: u64,
    pub(super) sent: Option<oneshot::Receiver<()>>,
}

/// A stream of ours as the SDK wants it. Dropped when it was sent, which `_sent` tells.
struct StreamBody {
    // The SDK wants bodies to be `Sync`. The mutex is never locked: polling has the only reference.
    stream: Mutex<Body>,
    left: u64,
    _sent: oneshot::Sender<()>,
}

/// The body of an answer.
struct Incoming {
    stream: BodyDataStream<SdkBody>,
    left: u64,
    bucket: String,
    key: Key,
    request_id: String,
    ended: bool,
}

/// Prepares a body to be sent.
pub(super) fn outgoing(body: PutBody) -> Outgoing {
    match body {
        PutBody::Bytes(bytes) => {
            Outgoing { length: bytes.len() as u64, body: ByteStream::from(bytes), sent: None }
        }
        PutBody::Stream { length, body } => {
            let (sender, sent) = oneshot::channel();
            let body = StreamBody { stream: Mutex::new(body), left: length, _sent: sender };
            let body = ByteStream::new(SdkBody::from_body_1_x(body));
            Outgoing { body, length, sent: Some(sent) }
        }
    }
}

/// The body of an answer to a GET of `key`, exactly `length` bytes long or ending with an error.
pub(super) fn incoming(
    body: ByteStream,
    length: u64,
    bucket: String,
    key: Key,
    request_id: String,
) -> Body {
    let stream = BodyDataStream::new(body.into_inner());
    Incoming { stream, left: length, bucket, key, request_id, ended: false }.boxed()
}

// === impl StreamBody ===

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = OurBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OurBody>>> {
        let this = self.get_mut();
        let stream = this.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = match ready!(stream.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => match this.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    this.left = left;
                    Some(Ok(Frame::data(bytes)))
                }
                None => Some(Err(OurBody::TooLong)),
            },
            Some(Err(error)) => Some(Err(OurBody::Failed(error))),
            None if this.left > 0 => Some(Err(OurBody::TooShort(this.left))),
            None => None,
        };
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

// === impl Incoming ===

impl Stream for Incoming {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let next = match ready!(this.stream.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => match this.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    this.left = left;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                None => Some(Err(this.wrong_length("more bytes came than were announced"))),
            },
            Some(Err(error)) => Some(Err(this.broken(error.as_ref()))),
            None if this.left > 0 => Some(Err(this.short())),
            None => None,
        };
        this.ended = true;
        Poll::Ready(next)
    }
}

impl Incoming {
    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        if fail::is_early_end(error) {
            return self.short();
        }
        self.error(Class::Transient, "connection", fail::chain(error))
    }

    fn short(&self) -> Error {
        self.wrong_length(&format!("the body ended {} bytes early", self.left))
    }

    fn wrong_length(&self, message: &str) -> Error {
        self.error(Class::Corrupt, "short_body", message.to_owned())
    }

    fn error(&self, class: Class, code: &str, message: String) -> Error {
        Error {
            class,
            operation: Operation::Get,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            code: code.to_owned(),
            message,
            request_id: self.request_id.clone(),
            status: None,
        }
    }
}
