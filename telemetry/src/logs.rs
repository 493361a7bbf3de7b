//! Logs: to stderr, for people or as JSON; each line names the trace it is of.

mod fields;
mod line;

use std::io::IsTerminal as _;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use self::fields::{JsonFields, TextFields};
use self::line::Traced;
use crate::environment::variable;
use crate::traces::Traces;

/// What is logged of libraries unless the filter names them: their chatter buries ours, and at finer levels some of
/// them write headers of requests. Those that deliver traces say at each attempt what is said once here.
const LIBRARIES: &str = "aws_config=warn,aws_sdk_s3=warn,aws_smithy_runtime=warn,aws_smithy_http_client=warn,\
    aws_runtime=warn,aws_sigv4=warn,hyper=warn,hyper_util=warn,h2=warn,reqwest=warn,tonic=warn,tower=warn,rustls=warn,\
    opentelemetry=off,";

/// How it is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people where stderr is a terminal, else JSON.
    #[default]
    Auto,
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging, and with `traces` the making of spans. A second call (several programs in one process, in tests)
/// changes nothing.
///
/// # Errors
/// When the filter is not one.
pub fn start(filter: &str, format: LogFormat, traces: Option<&Traces>) -> Result<(), String> {
    let terminal = std::io::stderr().is_terminal();
    // https://no-color.org
    let color = terminal && variable("NO_COLOR").is_none();
    let lines = lines(format, terminal, color, std::io::stderr).with_filter(self::filter(filter)?);
    let spans: Option<BoxedSpans> = traces.map(|traces| Box::new(traces.layer()) as BoxedSpans);
    // Fails only when logging was started before.
    drop(tracing_subscriber::registry().with(spans).with(lines).try_init());
    for problem in traces.map(Traces::problems).unwrap_or_default() {
        tracing::warn!("{problem}");
    }
    Ok(())
}

/// What makes traces, first in the stack.
type BoxedSpans = Box<dyn Layer<Registry> + Send + Sync>;

fn lines<W>(
    format: LogFormat,
    terminal: bool,
    color: bool,
    writer: W,
) -> Box<dyn Layer<Layered<Option<BoxedSpans>, Registry>> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    match (format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => {
            let event = Traced::json(fmt::format().json());
            Box::new(layer.fmt_fields(JsonFields).event_format(event))
        }
        (LogFormat::Text, _) | (LogFormat::Auto, true) => {
            let event = Traced::text(fmt::format().with_target(false).with_ansi(color));
            Box::new(layer.with_ansi(color).fmt_fields(TextFields).event_format(event))
        }
    }
}

/// What the filter says goes before what is said here of libraries.
fn filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{LIBRARIES}{filter}")).map_err(|error| format!("--log: {error}"))
}

#[cfg(test)]
pub(crate) mod tests;
