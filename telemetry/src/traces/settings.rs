//! Pure. What the `OTEL_*` variables say of traces
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use crate::otlp::{disabled, is_tls, of_signal, timeout};

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// Over gRPC, not HTTP.
    pub(super) grpc: bool,
    /// The collector is reached by TLS.
    pub(super) tls: bool,
    /// File of the authorities to trust instead of the system's (PEM).
    pub(super) authorities: Option<String>,
    /// How long an export over HTTP may take.
    pub(super) timeout: Duration,
    /// Which traces that begin here.
    pub(super) sampler: Sampler,
}

/// Which traces are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler {
    /// Where a trace began elsewhere, what was decided there holds.
    pub(super) parent_based: bool,
    /// The share of those that begin here, from 0 to 1.
    pub(super) ratio: f64,
}

/// What is set and cannot be used; it is said and left aside, since telemetry must not keep a program from its work.
pub(super) type Problem = String;

/// The settings; none when traces go nowhere.
pub(super) fn settings(
    variable: impl Fn(&str) -> Option<String>,
) -> (Option<Settings>, Vec<Problem>) {
    let mut problems = Vec::new();
    let of_traces = |name: &str| of_signal("TRACES", name, &variable);
    let Some(endpoint) = of_traces("ENDPOINT") else { return (None, problems) };
    if disabled(&variable) {
        return (None, problems);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref().map(str::trim) {
        None | Some("otlp") => {}
        Some("none") => return (None, problems),
        Some(other) => {
            problems
                .push(format!("OTEL_TRACES_EXPORTER is {other:?}; only otlp and none can be used"));
        }
    }
    let protocol = of_traces("PROTOCOL");
    let grpc = match protocol.as_deref().map(str::trim) {
        Some("grpc") => true,
        None | Some("http/protobuf") => false,
        Some(other) => {
            problems.push(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}; traces go by http/protobuf, and grpc could be used"
            ));
            false
        }
    };
    let authorities = of_traces("CERTIFICATE");
    let timeout = timeout(of_traces("TIMEOUT").as_deref());
    if ["CLIENT_CERTIFICATE", "CLIENT_KEY"].iter().any(|name| of_traces(name).is_some()) {
        problems.push(
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY are not used: a collector is shown no certificate"
                .to_owned(),
        );
    }
    let name = variable("OTEL_TRACES_SAMPLER");
    let argument = variable("OTEL_TRACES_SAMPLER_ARG");
    let sampler = sampler(name.as_deref(), argument.as_deref(), &mut problems);
    let tls = is_tls(&endpoint);
    (Some(Settings { grpc, tls, authorities, timeout, sampler }), problems)
}

fn sampler(name: Option<&str>, argument: Option<&str>, problems: &mut Vec<Problem>) -> Sampler {
    let mut ratio = || match argument.map(|text| (text, text.trim().parse::<f64>())) {
        None => 1.0,
        Some((_, Ok(ratio))) if (0.0..=1.0).contains(&ratio) => ratio,
        Some((text, _)) => {
            problems
                .push(format!("OTEL_TRACES_SAMPLER_ARG is {text:?}, and not a number from 0 to 1"));
            1.0
        }
    };
    let (parent_based, ratio) = match name.map(str::trim) {
        None | Some("parentbased_always_on") => (true, 1.0),
        Some("parentbased_always_off") => (true, 0.0),
        Some("parentbased_traceidratio") => (true, ratio()),
        Some("always_on") => (false, 1.0),
        Some("always_off") => (false, 0.0),
        Some("traceidratio") => (false, ratio()),
        Some(other) => {
            problems.push(format!(
                "OTEL_TRACES_SAMPLER is {other:?}; parentbased_always_on is used, and there are always_on, always_off, \
                 traceidratio and each of them with parentbased_"
            ));
            (true, 1.0)
        }
    };
    Sampler { parent_based, ratio }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> (Option<Settings>, Vec<Problem>) {
        settings(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn traces_go_nowhere_unless_a_place_is_named() {
        assert_eq!(read(&[("OTEL_TRACES_SAMPLER", "always_on")]), (None, Vec::new()));
        let place = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(read(&[place]).0.is_some());
        assert!(read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1")]).0.is_some());
        assert_eq!(read(&[place, ("OTEL_SDK_DISABLED", "TRUE")]).0, None);
        assert!(read(&[place, ("OTEL_SDK_DISABLED", "no")]).0.is_some());
        assert_eq!(read(&[place, ("OTEL_TRACES_EXPORTER", "none")]).0, None);
    }

    #[test]
    fn what_is_said_of_traces_goes_before_what_is_said_of_all() {
        let (settings, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        let sampler = Sampler { parent_based: true, ratio: 0.25 };
        let authorities = Some("ca.pem".to_owned());
        let timeout = Duration::from_millis(1_500);
        let expected = Settings { grpc: true, tls: true, authorities, timeout, sampler };
        assert_eq!(settings, Some(expected));
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn what_cannot_be_used_is_said_and_left_aside() {
        let (settings, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "half"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ]);
        assert_eq!(problems.len(), 4, "{problems:?}");
        let settings = settings.unwrap();
        assert_eq!((settings.grpc, settings.sampler.ratio), (false, 1.0));
        let (_, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ]);
        assert!(problems[0].contains("xray"), "{problems:?}");
    }
}
