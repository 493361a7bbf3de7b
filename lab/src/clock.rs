//! The lab's clock: wall time for what S3 and SQS tell, nothing else. Waiting is done with tokio's clock.

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks for the time")]
pub(crate) fn now() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
