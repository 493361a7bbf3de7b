//! The environment, as far as OpenTelemetry says what is in it. The only reader of it here.

/// A variable that is set and not empty: OpenTelemetry takes an empty one for one that is not set.
#[expect(
    clippy::disallowed_methods,
    reason = "the OTEL_* variables are settings, and this file reads them"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
