//! The sessions of this process: where to push messages to. Only a hint; who holds what is the store's to say.

mod questions;
mod shares;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use s3sync_proto::model::{Answer, Ask, Question, Shares, ToAgent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::questions::Questions;
use self::shares::Dealt;
use crate::store::SessionId;

pub use self::questions::{MAX_OPEN_QUESTIONS, Unanswered};
pub use self::shares::Works;

/// Timing of leases. What each bound is for is in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How often an agent states what it holds.
    pub heartbeat_interval: Duration,
    /// How long after sending an answered state an agent may begin commits.
    pub write_window: Duration,
    /// How long after the last state was received a session expires.
    pub session_ttl: Duration,
}

/// Why a session is ended by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A newer session of the same agent took over.
    Superseded,
    /// It expired.
    Expired,
    /// The agent does not read its stream.
    Slow,
}

/// Where to push a session's messages.
#[derive(Clone, Debug)]
pub struct Handle {
    sender: mpsc::Sender<ToAgent>,
    ended: CancellationToken,
    reason: std::sync::Arc<Mutex<Option<End>>>,
}

/// All sessions of this process.
#[derive(Debug, Default)]
pub struct Sessions {
    handles: Mutex<BTreeMap<SessionId, Handle>>,
    questions: Questions,
    dealt: Dealt,
}

/// A question until it is answered. When whoever asked leaves before, the agent is told.
struct Asked<'a> {
    sessions: &'a Sessions,
    session: SessionId,
    id: u64,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(10),
            write_window: Duration::from_secs(35),
            session_ttl: Duration::from_secs(60),
        }
    }
}

impl Handle {
    /// A handle that pushes into `sender`.
    #[must_use]
    pub fn new(sender: mpsc::Sender<ToAgent>) -> Self {
        Self { sender, ended: CancellationToken::new(), reason: std::sync::Arc::default() }
    }

    /// Ends the session.
    pub fn end(&self, reason: End) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.ended.cancel();
    }

    /// Waits until the session is ended by this side.
    pub async fn ended(&self) -> Option<End> {
        self.ended.cancelled().await;
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes a message without waiting; a session whose queue is full is ended, since it does not read.
    #[must_use]
    pub fn push(&self, message: ToAgent) -> bool {
        match self.sender.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.end(End::Slow);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl Sessions {
    /// Enters a session.
    pub fn enter(&self, session: SessionId, handle: Handle) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).insert(session, handle);
    }

    /// Whether the session's stream is one of this process.
    #[must_use]
    pub fn is_here(&self, session: SessionId) -> bool {
        self.get(session).is_some()
    }

    /// Deals the limits of jobs out anew, and tells each session of this process what it may use when that has changed.
    pub fn deal(&self, works: &Works, open: &BTreeSet<SessionId>) {
        let here = open.iter().copied().filter(|session| self.is_here(*session)).collect();
        for (session, shares) in self.dealt.deal(works, open, &here) {
            // One that does not take it is ended, and begins without shares when it comes back.
            let _taken = self.push(session, ToAgent::Shares(shares));
        }
    }

    /// What a session was told last of what it may use.
    #[must_use]
    pub fn shares(&self, session: SessionId) -> Option<Shares> {
        self.dealt.told(session)
    }

    /// A session applies what it was told with this version.
    pub fn shares_applied(&self, session: SessionId, version: u64) {
        self.dealt.applied(session, version);
    }

    /// Removes a session.
    pub fn leave(&self, session: SessionId) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        self.questions.lose(session);
    }

    /// Asks a session and waits for its answer. Dropped before, the question is withdrawn.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(
        &self,
        session: SessionId,
        ask: Ask,
        patience: Duration,
    ) -> Result<Answer, Unanswered> {
        let (id, answered) = self.questions.open(session)?;
        let _asked = Asked { sessions: self, session, id };
        if !self.push(session, ToAgent::Question(Question { id, patience, ask })) {
            return Err(Unanswered::Gone);
        }
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Gone),
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// An answer of a session came.
    pub fn answered(&self, session: SessionId, id: u64, answer: Answer) {
        self.questions.answered(session, id, answer);
    }

    /// Ends a session of this process, if it is one.
    pub fn end(&self, session: SessionId, reason: End) {
        if let Some(handle) = self.get(session) {
            handle.end(reason);
        }
    }

    /// Pushes a message to a session; `false` when it is not here or does not take it. Nothing is lost by that: the
    /// agent's next state shows what it does not hold.
    #[must_use]
    pub fn push(&self, session: SessionId, message: ToAgent) -> bool {
        self.get(session).is_some_and(|handle| handle.push(message))
    }

    fn get(&self, session: SessionId) -> Option<Handle> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).get(&session).cloned()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.sessions.questions.close(self.id) {
            // One that is not here any more has forgotten it anyway.
            let _told = self.sessions.push(self.session, ToAgent::Withdrawal(self.id));
        }
    }
}

#[cfg(test)]
mod tests;
