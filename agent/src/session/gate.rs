//! Waiting for the write window to open. The decision is `window`'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::window::{Reading, Window};
use crate::work::Lost;

/// Where both clocks are read.
pub trait Clocks: Send + Sync + 'static {
    /// Both clocks now.
    fn read(&self) -> Reading;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClocks {
    start: Instant,
}

/// The write window, shared by the session and all workers.
pub(crate) struct Gate {
    window: Mutex<Window>,
    /// Changes when the window may have opened. That it closes needs no word: time does that.
    changed: Notify,
    clocks: Arc<dyn Clocks>,
}

// === impl SystemClocks ===

impl SystemClocks {
    /// Monotonic time counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Clocks for SystemClocks {
    fn read(&self) -> Reading {
        // Monotonic first: a pause between the two looks like a jump of the wall clock, which errs on the safe side.
        Reading { monotonic: self.start.elapsed(), wall: clock::now() }
    }
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new(clocks: Arc<dyn Clocks>) -> Self {
        Self { window: Mutex::default(), changed: Notify::new(), clocks }
    }

    pub(crate) fn read_clocks(&self) -> Reading {
        self.clocks.read()
    }

    /// The state sent at `sent` was answered.
    pub(crate) fn extend(&self, sent: Reading, write_window: Duration) {
        self.window().extend(sent, write_window);
        self.changed.notify_waiters();
    }

    /// No commit may begin until the next answer.
    pub(crate) fn close(&self) {
        self.window().close();
    }

    pub(crate) fn is_open(&self) -> bool {
        let now = self.clocks.read();
        self.window().is_open(now)
    }

    /// Waits until a commit may begin.
    pub(crate) async fn opened(&self, lost: &CancellationToken) -> Result<(), Lost> {
        loop {
            // Listens from here on, so that no change falls between the look and the wait.
            let changed = self.changed.notified();
            if lost.is_cancelled() {
                return Err(Lost);
            }
            if self.is_open() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = lost.cancelled() => return Err(Lost),
                () = changed => {}
            }
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
