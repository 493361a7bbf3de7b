//! Checked conversions between the wire and the domain. From the wire every problem is collected, with the path people
//! write in a job file; to the wire nothing can fail. Messages are destructured, so that a new field does not compile
//! until someone decides what it means.

mod agent;
mod ask;
mod audit;
mod deletes;
mod endpoint;
mod events;
mod explain;
mod job;
mod names;
mod plan;
mod problems;
mod queue;
mod run;
mod session;
mod session_out;
mod setup;
mod status;
mod usage;
mod view;

pub use agent::{agent_from, agent_to};
pub use ask::{probed_from, probed_to};
pub use audit::{audit_entry_from, audit_entry_to};
pub use endpoint::{endpoint_from, endpoint_spec, endpoint_to, facts_from, facts_to};
pub use explain::{key_explained_from, key_explained_to};
pub use job::{job_from, job_spec, job_to};
pub use names::{
    agent_name, endpoint_name, format_agent, format_endpoint, format_job, format_queue, job_name,
    parse_job_parent, parse_run, queue_name,
};
pub use plan::{difference_to, plan_to, planned_from, planned_to};
pub use problems::Problems;
pub use queue::{queue_from, queue_spec, queue_to};
pub use run::{
    counters_from, counters_to, failure_class, failure_class_to, failure_from, failure_group_from,
    failure_group_to, failure_to, run_from, run_to,
};
pub use session::{UnknownMessage, from_agent, to_agent};
pub use session_out::{from_agent_to, to_agent_to};
pub use setup::{queue_checked_from, queue_checked_to};
pub use usage::{run_report_from, run_report_to};
pub use view::{run_view_from, run_view_to};

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::Timestamp;

/// Seconds of the times a wire message may hold: the years 1 to 9999 (google/protobuf/timestamp.proto).
const WIRE_TIMES: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Most seconds a wire duration may hold: about 10,000 years (google/protobuf/duration.proto).
const MAX_WIRE_SECONDS: u64 = 315_576_000_000;
const MICROS: i64 = 1_000_000;

/// A wire time, if it is one. What is finer than a microsecond is dropped.
fn time_from(time: &prost_types::Timestamp) -> Option<Timestamp> {
    let fits = WIRE_TIMES.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    fits.then(|| Timestamp::from_micros(time.seconds * MICROS + i64::from(time.nanos) / 1_000))
}

/// A time for the wire. One that the wire cannot hold becomes the nearest that it can: it would have no JSON form.
fn time_to(time: Timestamp) -> Option<prost_types::Timestamp> {
    let (first, last) = (WIRE_TIMES.start() * MICROS, WIRE_TIMES.end() * MICROS + MICROS - 1);
    let micros = time.as_micros().clamp(first, last);
    let nanos = i32::try_from(micros.rem_euclid(MICROS) * 1_000).unwrap_or_default();
    Some(prost_types::Timestamp { seconds: micros.div_euclid(MICROS), nanos })
}

/// A duration for the wire; a longer one than the wire can hold becomes the longest.
fn duration_to(duration: Duration) -> Option<prost_types::Duration> {
    let duration = duration.min(Duration::from_secs(MAX_WIRE_SECONDS));
    Some(prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    })
}

/// A wire duration, if it is one and not negative.
fn duration_from(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok().filter(|s| *s <= MAX_WIRE_SECONDS)?;
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// A count for the wire; counts above 2^63 do not occur.
fn int64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A small count for the wire; counts above 2^31 do not occur.
fn int32(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
