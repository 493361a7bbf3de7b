//! A command is a trace, or a step of the one that the environment names.

use std::time::Duration;

use s3sync_telemetry::Program;
use s3sync_telemetry::logs::{self, LogFormat};
use s3sync_telemetry::traces::{self, Detail, Traces};

use crate::exit::Exit;

/// How long a command may be held up at its end to deliver its trace.
const TRACES_LIMIT: Duration = Duration::from_millis(1_500);

/// Runs a command in a span of its own, if traces are delivered.
pub(crate) fn traced(command: &str, parent: Option<String>, work: impl FnOnce() -> Exit) -> Exit {
    let program = Program { name: "s3syncctl", version: env!("CARGO_PKG_VERSION") };
    let Some(traces) = Traces::open(program, None, Detail::ALL, &[]) else { return work() };
    // One line, should they not be delivered. The filter is one.
    logs::start("off,s3sync_telemetry=warn", LogFormat::Text, Some(&traces)).ok();
    let span = tracing::info_span!("command", otel.name = command);
    traces::adopt(&span, parent.as_deref().unwrap_or_default());
    let exit = span.in_scope(work);
    traces::note(&span, "process.exit.code", i64::from(exit as u8));
    if exit != Exit::Done {
        traces::failed(&span, &format!("{exit:?}"));
    }
    drop(span);
    traces.finish(TRACES_LIMIT);
    exit
}
