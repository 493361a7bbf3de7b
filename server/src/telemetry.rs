//! Logs: to stderr, for people or as JSON.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. A second call (several programs in one process, in tests) changes nothing.
///
/// # Errors
/// When the filter is not one.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // Fails only when logging was started before.
    drop(started);
    Ok(())
}
