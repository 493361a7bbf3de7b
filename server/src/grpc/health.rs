//! The standard health service: each service serves while the database can be written.

use std::time::Duration;

use s3sync_proto::pb;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};

use super::Context;

/// How often the database is tried.
const INTERVAL: Duration = Duration::from_secs(2);

/// Names of the services, as clients ask for them; the empty one stands for the whole server.
const SERVICES: &[&str] = &[
    "",
    pb::v1::endpoint_service_server::SERVICE_NAME,
    pb::v1::job_service_server::SERVICE_NAME,
    pb::v1::queue_service_server::SERVICE_NAME,
    pb::v1::agent_admin_service_server::SERVICE_NAME,
    pb::agent::v1::agent_service_server::SERVICE_NAME,
];

pub(super) fn service() -> (HealthServer<impl Health>, HealthReporter) {
    let reporter = HealthReporter::new();
    (HealthServer::new(HealthService::from_health_reporter(reporter.clone())), reporter)
}

/// Keeps the status true until the server stops.
pub(super) async fn watch(context: Context, reporter: HealthReporter) {
    loop {
        let usable = context.store.ping().await.is_ok() && !context.shutdown.is_cancelled();
        let status = if usable { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
        if context.shutdown.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = context.shutdown.cancelled() => {}
        }
    }
}
