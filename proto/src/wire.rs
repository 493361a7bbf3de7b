//! Checked conversions between the wire and the domain. From the wire every problem is collected, with the path people
//! write in a job file; to the wire nothing can fail. Messages are destructured, so that a new field does not compile
//! until someone decides what it means.

mod agent;
mod endpoint;
mod job;
mod names;
mod problems;
mod run;
mod session;
mod session_out;

pub use agent::{agent_from, agent_to};
pub use endpoint::{endpoint_from, endpoint_spec, endpoint_to, facts_from, facts_to};
pub use job::{job_from, job_spec, job_to};
pub use names::{
    agent_name, endpoint_name, format_agent, format_endpoint, format_job, job_name,
    parse_job_parent, parse_run,
};
pub use problems::Problems;
pub use run::{counters_from, counters_to, failure_from, failure_to, run_from, run_to};
pub use session::{UnknownMessage, from_agent, to_agent};
pub use session_out::{from_agent_to, to_agent_to};

use crate::model::Timestamp;

/// A wire time. Times out of range become the epoch: they are only shown.
fn time_from(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    let micros = time.seconds.checked_mul(1_000_000)?.checked_add(i64::from(time.nanos) / 1_000)?;
    Some(Timestamp::from_micros(micros))
}

/// A time for the wire.
fn time_to(time: Timestamp) -> Option<prost_types::Timestamp> {
    let micros = time.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    Some(prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos })
}

/// A duration for the wire.
fn duration_to(duration: std::time::Duration) -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    })
}

/// A wire duration, if it is one and not negative.
fn duration_from(duration: &prost_types::Duration) -> Option<std::time::Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(std::time::Duration::new(seconds, nanos))
}

/// A count for the wire; counts above 2^63 do not occur.
fn int64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
