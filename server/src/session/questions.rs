//! Questions that are open at sessions of this process, and who waits for their answers. In memory only: a question is
//! lost with its session, and whoever asked is told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use s3sync_proto::model::Answer;
use tokio::sync::oneshot;

use crate::store::SessionId;

/// Questions open at one session at most; agents answer no more at once.
pub const MAX_OPEN_QUESTIONS: usize = 8;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The session has as many open questions as it may.
    Busy,
    /// The session ended.
    Gone,
    /// None came in time.
    Late,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    newest: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    session: SessionId,
    answer: oneshot::Sender<Answer>,
}

impl Questions {
    /// Opens a question at a session; its id, and where its answer comes. The end of that means that the session ended.
    pub(super) fn open(
        &self,
        session: SessionId,
    ) -> Result<(u64, oneshot::Receiver<Answer>), Unanswered> {
        let mut book = self.book();
        let open = book.open.values().filter(|open| open.session == session).count();
        if open >= MAX_OPEN_QUESTIONS {
            return Err(Unanswered::Busy);
        }
        book.newest += 1;
        let id = book.newest;
        let (answer, answered) = oneshot::channel();
        book.open.insert(id, Open { session, answer });
        Ok((id, answered))
    }

    /// An answer came. One to a question of another session, or that nobody waits for, counts for nothing.
    pub(super) fn answered(&self, session: SessionId, id: u64, answer: Answer) {
        let mut book = self.book();
        if book.open.get(&id).is_some_and(|open| open.session == session)
            && let Some(open) = book.open.remove(&id)
        {
            // Whoever asked may have left in this very moment.
            open.answer.send(answer).ok();
        }
    }

    /// Nobody waits any more; whether the question was still open.
    pub(super) fn close(&self, id: u64) -> bool {
        self.book().open.remove(&id).is_some()
    }

    /// The session ended.
    pub(super) fn lose(&self, session: SessionId) {
        self.book().open.retain(|_, open| open.session != session);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
