//! Traces: spans of `tracing`, delivered by OTLP. Off unless the environment names a collector; then there is no layer,
//! and a span costs nothing.

mod deliver;
mod detail;
mod keep;
mod settings;

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanExporter as _};
use tracing::{Metadata, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::{LookupSpan as _, Registry};

use crate::Program;
use crate::environment::variable;

use self::detail::Details;
pub use self::detail::{Detail, Told, in_current_whole, part, whole};

/// The W3C header, and the variable of an environment, that carries a trace on.
const TRACEPARENT: &str = "traceparent";

/// Spans of these crates are delivered. Those of others are not ours to answer for, and some are of delivering itself.
const OURS: &str = "s3sync";

/// Delivery of traces while a program runs.
#[must_use = "what is not delivered yet is lost unless it is finished"]
pub struct Traces {
    provider: SdkTracerProvider,
    /// What delivers lives apart from what works: neither can hold up the other.
    runtime: tokio::runtime::Runtime,
    problems: Vec<String>,
}

/// The trace of a span where traces are not delivered: logs name it all the same.
pub(crate) struct Carried(pub(crate) opentelemetry::TraceId);

impl Traces {
    /// Begins to deliver traces of a process, if the environment says where to, without the attributes that are private.
    /// `instance` says which of several of the program it is. What the environment says wrongly is logged later.
    #[must_use]
    pub fn open(
        program: Program,
        instance: Option<&str>,
        detail: Detail,
        private: &'static [&'static str],
    ) -> Option<Self> {
        let (settings, mut problems) = settings::settings(variable);
        let settings = settings?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()
            .ok()?;
        let entered = runtime.enter();
        // Fails only when another provider was installed before, which then serves as well.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let resource = program.resource(instance);
        let sampler = keep::Choose::new(settings.sampler);
        let mut provider = SdkTracerProvider::builder();
        match deliver::exporter(&settings) {
            Ok(mut exporter) => {
                exporter.set_resource(&resource);
                let keep = keep::Keep::new(BatchSpanProcessor::builder(exporter).build(), private);
                Details::open(keep.clone(), detail, sampler.records_all());
                provider = provider.with_span_processor(keep);
            }
            Err(error) => problems.push(format!("traces are not delivered: {error}")),
        }
        let provider = provider.with_sampler(sampler).with_resource(resource).build();
        drop(entered);
        Some(Self { provider, runtime, problems })
    }

    /// What makes traces of spans.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        // Log lines stay in the log: some have keys in them. So do spans of finer levels.
        let ours =
            |metadata: &Metadata<'_>| metadata.is_span() && metadata.target().starts_with(OURS);
        let ours = filter_fn(ours).with_max_level_hint(LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(OURS))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
    }

    /// What was not right in the environment.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Delivers what is left, for at most so long.
    pub fn finish(self, within: Duration) {
        // What fails was said, or is late.
        drop(self.provider.shutdown_with_timeout(within));
        self.runtime.shutdown_background();
    }
}

/// Makes a new span a child of the one that a W3C trace context names. Where traces are not delivered, its log lines
/// name the trace nevertheless.
pub fn adopt(span: &Span, traceparent: &str) {
    let Some(parent) = context_of(traceparent) else { return };
    let trace = parent.span().span_context().trace_id();
    if let Err(SetParentError::LayerNotFound) = span.set_parent(parent) {
        span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            registry.span(id)?.extensions_mut().replace(Carried(trace));
            Some(())
        });
    }
}

/// Notes on a span that another one, named by its W3C trace context, led to it as well.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(other) = context_of(traceparent) {
        span.add_link(other.span().span_context().clone());
    }
}

/// The W3C trace context of a span; `None` where traces are not delivered.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = std::collections::HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Notes something on a span that is only for traces. `name` is one of the semantic conventions where there is one.
pub fn note(span: &Span, name: &'static str, value: impl Into<opentelemetry::Value>) {
    span.set_attribute(name, value);
}

/// Notes that what a span is of failed. The reason is a short name, not a text: texts may have keys in them.
pub fn failed(span: &Span, reason: &str) {
    span.set_attribute("error.type", reason.to_owned());
    span.set_status(opentelemetry::trace::Status::error(""));
}

/// A new trace, without any span yet.
#[must_use]
pub fn new_traceparent() -> String {
    format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..))
}

fn context_of(traceparent: &str) -> Option<Context> {
    let carrier =
        std::collections::HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().is_valid().then_some(context.clone())
}
