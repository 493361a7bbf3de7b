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
    pb::v1::audit_service_server::SERVICE_NAME,
    pb::agent::v1::agent_service_server::SERVICE_NAME,
];

pub(super) fn service() -> (HealthServer<impl Health>, HealthReporter) {
    let reporter = HealthReporter::new();
    (HealthServer::new(HealthService::from_health_reporter(reporter.clone())), reporter)
}

/// Keeps the status true until the server stops.
pub(super) async fn watch(context: Context, reporter: HealthReporter) {
    loop {
        tell(&context, &reporter).await;
        if context.shutdown.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = context.shutdown.cancelled() => {}
        }
    }
}

async fn tell(context: &Context, reporter: &HealthReporter) {
    let usable = context.store.ping().await.is_ok() && !context.shutdown.is_cancelled();
    let status = if usable { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message as _;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;
    use tonic::Request;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus as Status;

    use super::*;
    use crate::clock;
    use crate::session::Sessions;
    use crate::store::sqlite::Sqlite;

    #[test]
    fn every_service_of_the_contract_is_told_of() {
        let files = prost_types::FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap();
        let services = files.file.iter().flat_map(|file| {
            let package = file.package();
            file.service.iter().map(move |service| format!("{package}.{}", service.name()))
        });
        let mut services: Vec<_> = services.filter(|name| name.starts_with("s3sync.")).collect();
        let mut told: Vec<_> = SERVICES.iter().filter(|name| !name.is_empty()).collect();
        services.sort();
        told.sort();
        assert_eq!(services.iter().collect::<Vec<_>>(), told);
    }

    #[tokio::test]
    async fn no_service_serves_while_the_database_cannot_be_written() {
        let store = Arc::new(Sqlite::in_memory().await.unwrap());
        let context = Context {
            store: store.clone(),
            clock: clock::system(),
            sessions: Arc::new(Sessions::default()),
            times: Default::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let status = async |name: &str| {
            let request = HealthCheckRequest { service: name.to_owned() };
            let answer = service.check(Request::new(request)).await.unwrap();
            answer.into_inner().status()
        };
        tell(&context, &reporter).await;
        for name in SERVICES {
            assert_eq!(status(name).await, Status::Serving, "{name}");
        }
        store.close().await;
        tell(&context, &reporter).await;
        for name in SERVICES {
            assert_eq!(status(name).await, Status::NotServing, "{name}");
        }
    }
}
