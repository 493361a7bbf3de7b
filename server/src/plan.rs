//! Pure. Decisions of the control plane, as functions of values: no I/O, no clock.

mod outcome;

pub use outcome::{AfterError, RunSummary, after_error, final_state};

use std::time::Duration;

/// How long an assignment is not offered again to an agent that refused it.
pub const REFUSAL_PAUSE: Duration = Duration::from_secs(60);
