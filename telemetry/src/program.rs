//! Who tells: what every span and metric carries of the process it comes from.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};

use crate::environment::variable;

/// What tells processes apart that have no name.
static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:032x}", fastrand::u128(..)));

/// A program that has traces and metrics.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, as `service.name` says it unless `OTEL_SERVICE_NAME` does.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Program {
    /// What is said of the process: of several of the program, which it is, or a random name. Traces and metrics say the same.
    pub(crate) fn resource(self, instance: Option<&str>) -> Resource {
        let instance = instance.unwrap_or(&PROCESS).to_owned();
        // Later ones count: what the environment says of anything.
        let builder = Resource::builder_empty()
            .with_service_name(self.name)
            .with_attributes([
                KeyValue::new("service.version", self.version),
                KeyValue::new("service.instance.id", instance),
            ])
            .with_detectors(&[
                Box::new(TelemetryResourceDetector),
                Box::new(EnvResourceDetector::new()),
            ]);
        match variable("OTEL_SERVICE_NAME") {
            Some(name) => builder.with_service_name(name).build(),
            None => builder.build(),
        }
    }
}
