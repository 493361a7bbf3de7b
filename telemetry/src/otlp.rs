//! What traces and metrics have in common where they leave by OTLP
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use opentelemetry_otlp::ExporterBuildError;
use tonic::transport::{Certificate, ClientTlsConfig};

/// Whether the process is to have no telemetry at all.
pub(crate) fn disabled(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// A variable of a signal (`TRACES`, `METRICS`), or the one of all signals.
pub(crate) fn of_signal(
    signal: &str,
    name: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    variable(&format!("OTEL_EXPORTER_OTLP_{signal}_{name}"))
        .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

/// Whether an endpoint is reached by TLS.
pub(crate) fn is_tls(endpoint: &str) -> bool {
    endpoint.trim_start().to_ascii_lowercase().starts_with("https:")
}

/// Trusts the authorities of a file (PEM), else those of the system. The library would trust nobody.
pub(crate) fn tls(authorities: Option<&str>) -> Result<ClientTlsConfig, ExporterBuildError> {
    let tls = ClientTlsConfig::new();
    let Some(file) = authorities else { return Ok(tls.with_native_roots()) };
    let pem = std::fs::read(file).map_err(|error| {
        let text = format!("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read {file}: {error}");
        ExporterBuildError::InvalidConfiguration(text)
    })?;
    Ok(tls.ca_certificate(Certificate::from_pem(pem)))
}
