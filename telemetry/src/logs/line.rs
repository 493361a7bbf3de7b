//! A log line with the trace it is of at its end.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, FormatFields, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use crate::traces::Carried;

/// See the module.
pub(super) struct Traced<F> {
    inner: F,
    json: bool,
}

impl Traced<Format<Full>> {
    pub(super) fn text(inner: Format<Full>) -> Self {
        Self { inner, json: false }
    }
}

impl Traced<Format<Json>> {
    pub(super) fn json(inner: Format<Json>) -> Self {
        Self { inner, json: true }
    }
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace, span)) = ids(context) else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        // A JSON line is one object.
        match (self.json.then(|| line.strip_suffix('}')).flatten(), span) {
            (Some(open), Some(span)) => {
                writeln!(writer, "{open},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            (Some(open), None) => writeln!(writer, "{open},\"trace_id\":\"{trace}\"}}"),
            (None, Some(span)) => writeln!(writer, "{line} trace_id={trace} span_id={span}"),
            (None, None) => writeln!(writer, "{line} trace_id={trace}"),
        }
    }
}

/// The trace an event is of, and where spans are delivered its span.
fn ids<S, N>(context: &FmtContext<'_, S, N>) -> Option<(String, Option<String>)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    let current = Context::map_current(|context| {
        let span = context.span().span_context().clone();
        span.is_valid().then(|| (span.trace_id().to_string(), Some(span.span_id().to_string())))
    });
    let carried = || {
        let trace = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Carried>().map(|Carried(trace)| trace.to_string())
        };
        Some((context.event_scope()?.find_map(trace)?, None))
    };
    current.or_else(carried)
}
