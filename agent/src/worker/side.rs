//! One side of an assignment: its bucket, its prefix, and the way every request to it goes: with a permit, counted,
//! and tried again as `retry` says.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use s3sync_proto::model::{EtagKind, Key, RequestSide, WaitReason};
use tokio::time::Instant;

use super::known::Known;
use crate::limits::RoundTrip;
use crate::limits::throttle::Access;
use crate::meter::{Answered, Meter};
use crate::retry::{Next, Tries};
use crate::s3::{Class, Condition, Error, ObjectStore, Operation};

/// How long somebody who waits for an answer is kept waiting for one request. An explanation makes three, one after the
/// other, and has 20 s.
pub(crate) const BRIEFLY: std::time::Duration = std::time::Duration::from_secs(6);

/// The source or the destination.
pub(crate) struct Side {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) which: RequestSide,
    pub(crate) bucket: String,
    pub(crate) prefix: Bytes,
    pub(crate) limiter: Access,
    pub(crate) known: Arc<Known>,
    /// What the endpoint's settings say of ETags.
    pub(crate) fixed_etags: Option<EtagKind>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) round_trip: Arc<RoundTrip>,
}

/// A request that failed as often as it is tried.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The last error.
    pub(crate) error: Box<Error>,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

// === impl Side ===

impl Side {
    /// The full key of a key without prefix.
    pub(crate) fn full(&self, key: &Key) -> Key {
        if self.prefix.is_empty() {
            return key.clone();
        }
        let mut full = BytesMut::with_capacity(self.prefix.len() + key.as_bytes().len());
        full.put_slice(&self.prefix);
        full.put_slice(key.as_bytes());
        Key::new(full.freeze())
    }

    /// The key without prefix; `None` when it does not begin with the prefix.
    pub(crate) fn relative(&self, full: Key) -> Option<Key> {
        let bytes = full.into_bytes();
        bytes.starts_with(&self.prefix).then(|| Key::new(bytes.slice(self.prefix.len()..)))
    }

    /// What ETags of the bucket are.
    pub(crate) fn etags(&self) -> Option<EtagKind> {
        self.fixed_etags.or_else(|| self.known.etags())
    }

    /// The condition of a write over what was seen. None where conditions are known not to be honoured: some servers
    /// refuse them.
    pub(crate) fn condition(&self, seen: Option<&str>) -> Condition {
        match (self.known.conditional_writes(), seen) {
            (Some(false), _) => Condition::None,
            (_, None) => Condition::Absent,
            (_, Some(etag)) => Condition::Matches(etag.to_owned()),
        }
    }

    /// The same for a copy inside S3.
    pub(crate) fn condition_of_copy(&self, seen: Option<&str>) -> Condition {
        match (self.known.conditional_copies(), seen) {
            (Some(false), _) => Condition::None,
            (_, None) => Condition::Absent,
            (_, Some(etag)) => Condition::Matches(etag.to_owned()),
        }
    }

    /// An error of our own about an object of this side.
    pub(crate) fn error(
        &self,
        class: Class,
        operation: Operation,
        key: &Key,
        code: &str,
        message: String,
    ) -> Box<Error> {
        Box::new(Error {
            class,
            operation,
            bucket: self.bucket.clone(),
            key: self.full(key),
            code: code.to_owned(),
            message,
            request_id: String::new(),
            status: None,
        })
    }

    /// Makes one request for which the caller holds a permit.
    pub(crate) async fn once<T>(
        &self,
        operation: Operation,
        request: BoxFuture<'_, Result<T, Error>>,
    ) -> Result<T, Box<Error>> {
        self.meter.made(self.which, operation);
        self.limiter.spent();
        let began = Instant::now();
        let answer = request.await;
        let how = answer.as_ref().map_or_else(|error| error.class.answered(), |_| Answered::Well);
        self.meter.answered(self.which, operation, began.elapsed(), how);
        match answer {
            Ok(answer) => {
                self.limiter.succeeded();
                self.round_trip.took(began.elapsed());
                Ok(answer)
            }
            Err(error) => {
                tracing::trace!(%error, class = ?error.class, "request failed");
                self.limiter.failed(error.class);
                Err(Box::new(error))
            }
        }
    }

    /// Makes a request until it succeeds or is not to be tried again.
    pub(crate) async fn call<'a, T>(
        &self,
        operation: Operation,
        mut request: impl FnMut() -> BoxFuture<'a, Result<T, Error>> + Send,
    ) -> Result<T, Failed> {
        let mut tries = Tries::default();
        loop {
            let permit = self.limiter.acquire().await;
            let answer = self.once(operation, request()).await;
            drop(permit);
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match tries.failed(error.class, fastrand::f64()) {
                Next::Wait(wait) => self.pause(error.class, wait).await,
                Next::GiveUp => return Err(Failed { error, attempts: tries.failed }),
            }
        }
    }

    /// Waits before something that failed is tried again.
    pub(crate) async fn pause(&self, class: Class, wait: Duration) {
        let reason =
            if class == Class::Throttled { WaitReason::SlowDown } else { WaitReason::Retry };
        self.meter.wait(reason, self.limiter.again(wait)).await;
    }

    /// Makes a request for somebody who waits for the answer: tried a second time when that may help, and given up
    /// after [`BRIEFLY`]. `key` is without prefix.
    pub(crate) async fn call_briefly<'a, T>(
        &self,
        operation: Operation,
        key: &Key,
        mut request: impl FnMut() -> BoxFuture<'a, Result<T, Error>> + Send,
    ) -> Result<T, Failed> {
        let mut attempts = 0;
        let tried = async {
            let mut tries = Tries::default();
            loop {
                attempts += 1;
                let permit = self.limiter.acquire().await;
                let answer = self.once(operation, request()).await;
                drop(permit);
                let error = match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                match tries.failed(error.class, fastrand::f64()) {
                    Next::Wait(wait) if attempts < 2 => self.limiter.again(wait).await,
                    Next::Wait(_) | Next::GiveUp => return Err(error),
                }
            }
        };
        let answer = tokio::time::timeout(BRIEFLY, tried).await;
        let answer = answer.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", BRIEFLY.as_secs());
            Err(self.error(Class::Transient, operation, key, "timeout", message))
        });
        answer.map_err(|error| Failed { error, attempts })
    }
}
