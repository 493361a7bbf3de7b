//! What traces and metrics have in common where they leave by OTLP
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT};
use tonic::transport::{Certificate, ClientTlsConfig};

/// The variable that names a file of authorities, for a signal or for all.
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

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
    let (pem, _) = read(file)?;
    Ok(tls.ca_certificate(Certificate::from_pem(pem)))
}

/// A client of OTLP over HTTP, where the library's own will not do: it has no setting for the authorities of a file, and
/// reads those of the system also where there is no TLS, which takes longer than all else a program does to start.
pub(crate) fn http_client(
    tls: bool,
    authorities: Option<&str>,
    timeout: Duration,
) -> Result<Option<reqwest::blocking::Client>, ExporterBuildError> {
    let authorities = match (tls, authorities) {
        (false, _) => Vec::new(),
        (true, Some(file)) => read(file)?.1,
        (true, None) => return Ok(None),
    };
    let build = move || {
        reqwest::blocking::Client::builder().timeout(timeout).tls_certs_only(authorities).build()
    };
    // It has a runtime of its own, which must not be made or dropped where another one is entered.
    let built = std::thread::spawn(build).join();
    let failed = |why: &dyn std::fmt::Display| {
        ExporterBuildError::InvalidConfiguration(format!(
            "the HTTP client of OTLP cannot be made: {why}"
        ))
    };
    let built = built.map_err(|_| failed(&"its thread panicked"))?;
    built.map(Some).map_err(|error| failed(&error))
}

/// How long an export over HTTP may take: the variable is in milliseconds.
pub(crate) fn timeout(value: Option<&str>) -> Duration {
    let millis = value.and_then(|value| value.trim().parse().ok());
    millis.map_or(OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, Duration::from_millis)
}

/// The certificates of a file: as they are, and one by one. A file without any would trust nobody, and say so only with
/// each export that fails.
fn read(file: &str) -> Result<(Vec<u8>, Vec<reqwest::Certificate>), ExporterBuildError> {
    let pem = std::fs::read(file).map_err(|error| wrong(file, &error))?;
    let all = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(file, &error))?;
    if all.is_empty() {
        return Err(wrong(file, &"it has no certificate (PEM)"));
    }
    Ok((pem, all))
}

fn wrong(file: &str, why: &dyn std::fmt::Display) -> ExporterBuildError {
    let text = format!("{CERTIFICATE}: cannot use {file}: {why}");
    ExporterBuildError::InvalidConfiguration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused_by_both_ways_with_the_name_of_the_variable() {
        let none = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for file in ["nowhere.pem", none] {
            let ways = [
                tls(Some(file)).map(drop).unwrap_err(),
                http_client(true, Some(file), Duration::from_secs(1)).map(drop).unwrap_err(),
            ];
            for error in ways.map(|error| error.to_string()) {
                assert!(error.contains(CERTIFICATE) && error.contains(file), "{error}");
            }
        }
    }

    #[test]
    fn a_timeout_is_in_milliseconds() {
        assert_eq!(timeout(Some(" 2500 ")), Duration::from_millis(2_500));
        assert_eq!(timeout(None), Duration::from_secs(10));
        assert_eq!(timeout(Some("soon")), Duration::from_secs(10));
    }
}
