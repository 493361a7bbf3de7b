//! Metrics by OTLP, as the `OTEL_*` variables say
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). The library reads most of them
//! itself; here is whether metrics are sent, and whom a connection by TLS trusts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use crate::environment::variable;
use crate::otlp::{disabled, http_client, is_tls, of_signal, timeout, tls};

/// Where metrics go.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// Over gRPC, not HTTP.
    grpc: bool,
    /// The collector is reached by TLS.
    tls: bool,
    /// File of the authorities to trust instead of the system's (PEM).
    authorities: Option<String>,
    /// How long an export over HTTP may take.
    timeout: Duration,
}

/// Sends metrics, and says of failures only that they began and that they are over; the library by itself says nothing.
#[derive(Debug)]
pub(super) struct Exporter {
    exporter: MetricExporter,
    failing: AtomicBool,
}

/// The exporter that the environment asks for. Must be called where a runtime is entered.
pub(super) fn exporter() -> Result<Option<Exporter>, ExporterBuildError> {
    let Some(settings) = settings(variable) else { return Ok(None) };
    let exporter = if settings.grpc {
        let mut builder = MetricExporter::builder().with_tonic();
        if settings.tls {
            builder = builder.with_tls_config(tls(settings.authorities.as_deref())?);
        }
        builder.build()?
    } else {
        let mut builder = MetricExporter::builder().with_http();
        let authorities = settings.authorities.as_deref();
        if let Some(client) = http_client(settings.tls, authorities, settings.timeout)? {
            builder = builder.with_http_client(client);
        }
        builder.build()?
    };
    Ok(Some(Exporter { exporter, failing: AtomicBool::new(false) }))
}

/// None when metrics go nowhere: no endpoint is set for them or for all signals, or something turns them off.
fn settings(variable: impl Fn(&str) -> Option<String> + Copy) -> Option<Settings> {
    let of_metrics =
        |name: &str| of_signal("METRICS", name, variable).map(|value| value.trim().to_owned());
    let elsewhere = variable("OTEL_METRICS_EXPORTER")
        .is_some_and(|value| !value.split(',').any(|one| one.trim() == "otlp"));
    let endpoint = of_metrics("ENDPOINT")?;
    (!disabled(variable) && !elsewhere).then(|| Settings {
        grpc: of_metrics("PROTOCOL").as_deref() == Some("grpc"),
        tls: is_tls(&endpoint),
        authorities: of_metrics("CERTIFICATE"),
        timeout: timeout(of_metrics("TIMEOUT").as_deref()),
    })
}

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let sent = self.exporter.export(metrics).await;
        match &sent {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("metrics are sent again");
            }
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "metrics cannot be sent");
            }
            Ok(()) | Err(_) => {}
        }
        sent
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Option<Settings> {
        settings(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn metrics_are_sent_only_to_an_endpoint_that_is_set() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4317");
        let table: [(&[(&str, &str)], bool); 8] = [
            (&[], false),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")], false),
            (&[all], true),
            (&[own], true),
            (&[all, ("OTEL_SDK_DISABLED", "TRUE")], false),
            (&[all, ("OTEL_SDK_DISABLED", "1")], true),
            (&[all, ("OTEL_METRICS_EXPORTER", "none")], false),
            (&[all, ("OTEL_METRICS_EXPORTER", "console, otlp")], true),
        ];
        for (set, expected) in table {
            assert_eq!(read(set).is_some(), expected, "{set:?}");
        }
    }

    #[test]
    fn what_is_said_of_metrics_goes_before_what_is_said_of_all() {
        let set = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
        ];
        let authorities = Some("ca.pem".to_owned());
        let timeout = Duration::from_secs(10);
        assert_eq!(read(&set), Some(Settings { grpc: true, tls: true, authorities, timeout }));
        let plain = Settings { grpc: false, tls: false, authorities: None, timeout };
        assert_eq!(read(&set[..1]), Some(plain));
    }
}
