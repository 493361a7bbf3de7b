//! Metrics: made once with OpenTelemetry's API, read as Prometheus text, and sent by OTLP where an endpoint is set.

mod otlp;
#[cfg(any(test, feature = "testing"))]
pub mod page;
mod process;

use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::{Encoder as _, Registry, TextEncoder};

use crate::Program;
use crate::environment::variable;

/// Content type of what [`Metrics::text`] returns.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of histograms of durations in seconds: from a commit on a fast disk to the copy of the largest object.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Series of one metric at most. What comes beyond goes into one series with the label `otel_metric_overflow`.
const MAX_SERIES: usize = 20_000;

/// The metrics of a process.
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
    meter: Meter,
    sent: bool,
}

/// A meter whose instruments count nothing.
#[must_use]
pub fn none() -> Meter {
    opentelemetry::metrics::NoopMeterProvider::new().meter("none")
}

impl Metrics {
    /// Metrics of a process, sent as the `OTEL_*` variables of its environment say. `instance` says which of several of the
    /// program it is. Where a runtime is entered, by which they are sent. What of the variables cannot be used is said and
    /// left aside: telemetry keeps no program from its work.
    ///
    /// # Panics
    /// Never: the registry is new, so nothing in it has the same name.
    #[must_use]
    pub fn start(program: Program, instance: Option<&str>) -> Self {
        let registry = Registry::new();
        if crate::otlp::disabled(variable) {
            let provider = SdkMeterProvider::builder().build();
            return Self { provider, registry, meter: none(), sent: false };
        }
        let text = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .expect("nothing is registered yet");
        let mut builder = SdkMeterProvider::builder()
            .with_resource(program.resource(instance))
            .with_reader(text)
            .with_view(|instrument: &Instrument| bounded(instrument));
        let exporter = otlp::exporter().unwrap_or_else(|error| {
            tracing::warn!(%error, "metrics are not sent");
            None
        });
        let sent = exporter.is_some();
        if let Some(exporter) = exporter {
            builder = builder.with_periodic_exporter(exporter);
        }
        let provider = builder.build();
        let meter = provider.meter(program.name);
        process::observe(&meter, program);
        Self { provider, registry, meter, sent }
    }

    /// Makes instruments.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whether they are sent, so that what is only looked at when asked must be kept fresh.
    #[must_use]
    pub fn are_sent(&self) -> bool {
        self.sent
    }

    /// All of them as Prometheus reads them.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            // An empty family is the only cause, and the registry has none.
            tracing::error!(%error, "metrics were not written");
        }
        text
    }

    /// Sends what is left, for at most so long; the runtime must still go on.
    pub async fn stop(&self, within: Duration) {
        let provider = self.provider.clone();
        // Blocks while it sends, and the library bounds that by the time of a request alone.
        let sending = tokio::task::spawn_blocking(move || provider.shutdown());
        let problem = match tokio::time::timeout(within, sending).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panic)) => panic.to_string(),
            Err(_) => format!("the collector did not answer within {within:?}"),
        };
        tracing::warn!(problem, "the last metrics were not sent");
    }
}

fn bounded(_: &Instrument) -> Option<Stream> {
    Stream::builder().with_cardinality_limit(MAX_SERIES).build().ok()
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("sent", &self.sent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
