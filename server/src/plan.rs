//! Pure. Decisions of the control plane, as functions of values: no I/O, no clock.

mod asked;
pub mod check;
mod credential;
mod cuts;
mod dirty;
pub mod events;
mod fair;
mod guard;
mod needs;
mod outcome;
pub mod pace;
mod place;
mod rate;
pub mod schedule;
pub mod setup;
pub mod shares;
mod split;
mod survey;
mod watch;

pub use asked::{Need, able, relative_key};
pub use credential::{SAME_FAILURES_TO_PAUSE, fails_on_keys, fails_on_work};
pub use cuts::kept_cuts;
pub use dirty::{DirtyRow, dirty};
pub use fair::{MAX_YIELDS, TURN, yields};
pub use guard::{
    Before, Counted, DEFAULT_MAX_COUNT, DEFAULT_MAX_PERCENT, Guard, MAX_RECOUNTS, guard,
};
pub use needs::needs;
pub use outcome::{AfterError, RunSummary, after_error, final_state};
pub use place::{Placement, place};
pub use rate::{DEFAULT_MAX_PER_HOUR, Flow, Rate, rate};
pub use split::{MAX_SPLIT_REQUESTS, splits};
pub use survey::{Slice, Survey};
pub use watch::{Watches, watch_pause, watches};

use std::time::Duration;

/// How long others than the agent that gave it back with an error are preferred to receive from a queue.
pub const FAILURE_PAUSE: Duration = Duration::from_secs(600);
/// How long an assignment is not offered again to an agent that refused it.
pub const REFUSAL_PAUSE: Duration = Duration::from_secs(60);
