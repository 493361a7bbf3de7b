//! The wire: tonic services that convert in, call one thing, and convert out.

mod agent;
mod agents;
mod audit;
mod auth;
mod endpoints;
mod explain;
mod health;
mod jobs;
mod merge;
mod page;
mod plan;
mod probe;
mod queues;
mod setup;
mod status;
mod stop;
mod trace;
mod update;
mod view;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::client::{MAX_API_MESSAGE, MAX_SESSION_MESSAGE};
use s3sync_proto::pb;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::Router;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::clock::Clock;
use crate::session::{LeaseTimes, Sessions};
use crate::store::Store;

pub use auth::Tokens;
pub(crate) use status::Chain;

/// Pings also find agents behind a middle box that forgot the flow.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A ping that is not answered within this ends the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A TLS handshake has no limit of its own.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection: a client library may multiplex many watches.
const MAX_STREAMS: u32 = 200;

/// What every service works with.
#[derive(Clone)]
pub struct Context {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The sessions of this process.
    pub sessions: Arc<Sessions>,
    /// Timing of leases.
    pub times: LeaseTimes,
    /// Streams end when this is cancelled.
    pub shutdown: CancellationToken,
    /// Tasks of streams, waited for at the end.
    pub tasks: TaskTracker,
}

/// TLS of the listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate chain and key, in PEM.
    pub identity: (Vec<u8>, Vec<u8>),
    /// When set, clients must show a certificate of this authority.
    pub client_ca: Option<Vec<u8>>,
}

/// All services behind one listener.
///
/// # Errors
/// When the certificate or key cannot be used.
pub fn router(
    context: &Context,
    tokens: &Tokens,
    tls: Option<Tls>,
) -> Result<Router, tonic::transport::Error> {
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(MAX_STREAMS))
        .tcp_nodelay(true);
    if let Some(Tls { identity: (certificate, key), client_ca }) = tls {
        let mut config = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .timeout(TLS_HANDSHAKE_TIMEOUT);
        if let Some(ca) = client_ca {
            config = config.client_ca_root(Certificate::from_pem(ca));
        }
        server = server.tls_config(config)?;
    }
    let endpoints = pb::v1::endpoint_service_server::EndpointServiceServer::new(
        endpoints::Endpoints(context.clone()),
    )
    .max_decoding_message_size(MAX_API_MESSAGE);
    let jobs = pb::v1::job_service_server::JobServiceServer::new(jobs::Jobs(context.clone()))
        .max_decoding_message_size(MAX_API_MESSAGE);
    let queues =
        pb::v1::queue_service_server::QueueServiceServer::new(queues::Queues(context.clone()))
            .max_decoding_message_size(MAX_API_MESSAGE);
    let admin = pb::v1::agent_admin_service_server::AgentAdminServiceServer::new(agents::Agents(
        context.clone(),
    ))
    .max_decoding_message_size(MAX_API_MESSAGE);
    let audits =
        pb::v1::audit_service_server::AuditServiceServer::new(audit::Audits(context.clone()))
            .max_decoding_message_size(MAX_API_MESSAGE);
    let agent = pb::agent::v1::agent_service_server::AgentServiceServer::new(agent::AgentApi(
        context.clone(),
    ))
    .max_decoding_message_size(MAX_SESSION_MESSAGE);
    let (health, reporter) = health::service();
    context.tasks.spawn(health::watch(context.clone(), reporter));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let described = "the build script wrote valid descriptors";
    Ok(server
        .add_service(traced(audited(context, endpoints), tokens.api()))
        .add_service(traced(audited(context, jobs), tokens.api()))
        .add_service(traced(audited(context, queues), tokens.api()))
        .add_service(traced(audited(context, admin), tokens.api()))
        .add_service(traced(audits, tokens.api()))
        .add_service(traced(agent, tokens.agent()))
        // Asked all day by machines, of which a trace would tell nothing.
        .add_service(InterceptedService::new(health, tokens.any()))
        .add_service(InterceptedService::new(
            reflection().build_v1().expect(described),
            tokens.any(),
        ))
        .add_service(InterceptedService::new(
            reflection().build_v1alpha().expect(described),
            tokens.any(),
        )))
}

/// Has each call checked by `doors`, and makes a span of it.
fn traced<S, I>(service: S, doors: I) -> trace::Traced<InterceptedService<S, I>>
where
    I: tonic::service::Interceptor,
{
    trace::Traced(InterceptedService::new(service, doors))
}

/// Records the changes that a service is asked for.
fn audited<S>(context: &Context, service: S) -> audit::Audited<S> {
    audit::Audited::new(service, context.clone())
}
