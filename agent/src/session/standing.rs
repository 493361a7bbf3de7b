//! How the session stands, for those who only look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::ledger::Ledger;

/// See the module.
pub struct Standing {
    ledger: Arc<Ledger>,
    up: AtomicBool,
    opened: AtomicU64,
}

impl Standing {
    pub(super) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { ledger, up: AtomicBool::new(false), opened: AtomicU64::new(0) })
    }

    #[cfg(test)]
    pub(crate) fn idle(capacity: u32) -> Arc<Self> {
        let clocks = Arc::new(super::SystemClocks::new());
        Self::new(Arc::new(Ledger::new(capacity, clocks)))
    }

    pub(super) fn begins(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.up.store(true, Ordering::Relaxed);
    }

    pub(super) fn ends(&self) {
        self.up.store(false, Ordering::Relaxed);
    }

    /// Whether there is a session.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// How many were opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Whether commits may begin.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.ledger.gate.is_open()
    }

    /// Assignments held, and how many would be held at most.
    #[must_use]
    pub fn assignments(&self) -> (u32, u32) {
        (self.ledger.holds(), self.ledger.capacity())
    }

    /// Messages that are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.ledger.unacknowledged()
    }
}
