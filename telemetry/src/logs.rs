//! Logs: to stderr, for people or as JSON.

use tracing_subscriber::EnvFilter;

/// What is logged of libraries unless the filter names them: their chatter buries ours, and at finer levels some of
/// them write headers of requests.
const LIBRARIES: &str = "aws_config=warn,aws_sdk_s3=warn,aws_smithy_runtime=warn,aws_smithy_http_client=warn,\
    aws_runtime=warn,aws_sigv4=warn,hyper=warn,hyper_util=warn,h2=warn,tonic=warn,tower=warn,rustls=warn,";

/// How it is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging. A second call (several programs in one process, in tests) changes nothing.
///
/// # Errors
/// When the filter is not one.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(self::filter(filter)?)
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

/// What the filter says goes before what is said here of libraries.
fn filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{LIBRARIES}{filter}")).map_err(|error| format!("--log: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        let debug = filter("debug").unwrap().to_string();
        assert!(debug.contains("hyper=warn") && debug.contains("debug"), "{debug}");
        let named = filter("info,hyper=trace").unwrap().to_string();
        assert!(named.contains("hyper=trace") && !named.contains("hyper=warn"), "{named}");
        assert!(filter("=").is_err());
    }
}
