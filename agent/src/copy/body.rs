//! A body on its way from a GET into a PUT. Its last bytes are held back until all of it is known to be right and a
//! commit may begin: an unfinished PUT commits nothing.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use s3sync_proto::model::Key;

use super::Fault;
use super::digest::{Digested, Expected, Mismatch, Running};
use crate::s3::{Body, Class, Error, Operation};
use crate::work::Desk;
use crate::worker::side::Side;

/// What became of a body. Kept beside the stream, since a PUT that failed for its body does not say so.
#[derive(Clone, Default)]
pub(crate) struct Passage(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Passing,
    Passed(Digested),
    Stopped(Stop),
}

enum Stop {
    Lost,
    Read(Box<Error>),
    Wrong(Mismatch),
}

/// How a passage ended.
pub(crate) enum End {
    /// All bytes were released.
    Passed(Digested),
    /// It was stopped; nothing was committed.
    Stopped(Box<Fault>),
    /// The receiver did not take all of it.
    Untaken,
}

/// A body that watches itself.
struct Guarded {
    body: Body,
    running: Option<Running>,
    expected: Expected,
    held: Option<Bytes>,
    gate: Option<Arc<dyn Desk>>,
    passage: Passage,
}

/// Guards a body. With a `gate`, the last bytes wait until a commit may begin.
pub(crate) fn guard(
    body: Body,
    running: Running,
    expected: Expected,
    gate: Option<Arc<dyn Desk>>,
) -> (Body, Passage) {
    let passage = Passage::default();
    let running = Some(running);
    let guarded = Guarded { body, running, expected, held: None, gate, passage: passage.clone() };
    // Fused: a client may ask once more after the end.
    (futures_util::stream::unfold(guarded, Guarded::next).fuse().boxed(), passage)
}

/// Reads a whole body into memory.
pub(crate) async fn collect(
    mut body: Body,
    mut running: Running,
    length: u64,
) -> Result<(Bytes, Digested), Box<Error>> {
    // Most small bodies are one chunk; that is kept without a copy.
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        running.update(&chunk);
        if running.length() > length {
            break;
        }
        if first.is_empty() && all.is_empty() {
            first = chunk;
        } else {
            if all.is_empty() {
                all.reserve(usize::try_from(length).unwrap_or(0));
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&chunk);
        }
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, running.finish()))
}

/// What is wrong with a body, as the error of the GET it came from.
pub(crate) fn corrupt(side: &Side, key: &Key, mismatch: &Mismatch) -> Box<Error> {
    let code = match mismatch {
        Mismatch::Length(..) => "wrong_length",
        Mismatch::Checksum(..) | Mismatch::Md5(..) => "wrong_bytes",
    };
    side.error(Class::Corrupt, Operation::Get, key, code, mismatch.to_string())
}

// === impl Passage ===

impl Passage {
    /// How it ended; to be asked when the request that took the body is over.
    pub(crate) fn end(&self, source: &Side, key: &Key) -> End {
        let fault = match std::mem::take(&mut *self.lock()) {
            State::Passing => return End::Untaken,
            State::Passed(digested) => return End::Passed(digested),
            State::Stopped(Stop::Lost) => Fault::Lost,
            State::Stopped(Stop::Read(error)) => Fault::from_source(error),
            State::Stopped(Stop::Wrong(wrong)) => Fault::Failed(corrupt(source, key, &wrong)),
        };
        End::Stopped(Box::new(fault))
    }

    fn set(&self, state: State) {
        *self.lock() = state;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Guarded ===

impl Guarded {
    /// The next chunk to release: always one behind what has come, so that the last is held until the end is seen.
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let mut running = self.running.take()?;
        loop {
            match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    running.update(&chunk);
                    if running.length() > self.expected.length {
                        let wrong = Mismatch::Length(running.length(), self.expected.length);
                        return Some(self.stop(Stop::Wrong(wrong)));
                    }
                    if let Some(release) = self.held.replace(chunk) {
                        self.running = Some(running);
                        return Some((Ok(release), self));
                    }
                }
                Some(Err(error)) => return Some(self.stop(Stop::Read(Box::new(error)))),
                None => break,
            }
        }
        let digested = running.finish();
        if let Err(wrong) = self.expected.check(&digested) {
            return Some(self.stop(Stop::Wrong(wrong)));
        }
        if let Some(gate) = self.gate.take()
            && gate.may_commit().await.is_err()
        {
            return Some(self.stop(Stop::Lost));
        }
        self.passage.set(State::Passed(digested));
        let last = self.held.take()?;
        Some((Ok(last), self))
    }

    fn stop(self, stop: Stop) -> (Result<Bytes, Error>, Self) {
        let error = Error {
            class: Class::Transient,
            operation: Operation::Get,
            bucket: String::new(),
            key: Key::default(),
            code: "stopped".to_owned(),
            message: "the body was stopped before its end".to_owned(),
            request_id: String::new(),
            status: None,
        };
        self.passage.set(State::Stopped(stop));
        (Err(error), self)
    }
}
