//! The wall clock. Only what is shown to people comes from it (when a key failed); decisions use tokio's monotonic
//! clock, so a jump of the wall clock changes nothing.

use s3sync_proto::model::Timestamp;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}
