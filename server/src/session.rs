//! The sessions of this process: where to push messages to. Only a hint; who holds what is the store's to say.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use s3sync_proto::model::ToAgent;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::SessionId;

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
pub struct Sessions(Mutex<BTreeMap<SessionId, Handle>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session, handle);
    }

    /// Whether the session's stream is one of this process.
    #[must_use]
    pub fn is_here(&self, session: SessionId) -> bool {
        self.get(session).is_some()
    }

    /// Removes a session.
    pub fn leave(&self, session: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&session).cloned()
    }
}
