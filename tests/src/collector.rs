//! A collector of traces and metrics on a socket: takes them by gRPC and by HTTP/protobuf, and keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A span that was received.
#[derive(Clone, Debug)]
pub struct Span {
    /// Of which program it is.
    pub service: String,
    /// Of which process.
    pub process: String,
    /// Its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The span it is a part of; empty when it is of none.
    pub parent: String,
    /// Spans that led to it as well.
    pub links: Vec<String>,
    /// What it is.
    pub name: String,
    /// Whether it failed.
    pub failed: bool,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
}

/// A metric that was received, once for each time it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Of which program it is.
    pub service: String,
    /// Of which process.
    pub process: String,
    /// Its name.
    pub name: String,
}

/// How spans come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

/// What a collector behind TLS shows: a certificate and its key (PEM).
#[derive(Clone, Debug)]
pub struct Shown {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// See the module. Ends when it is dropped.
pub struct Collector {
    protocol: Protocol,
    scheme: &'static str,
    address: SocketAddr,
    kept: Kept,
    _running: DropGuard,
}

/// What was received.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>, Arc<Mutex<Vec<Metric>>>);

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start(protocol: Protocol) -> anyhow::Result<Self> {
        Self::start_with(protocol, None).await
    }

    /// The same behind TLS.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start_behind(protocol: Protocol, shown: Shown) -> anyhow::Result<Self> {
        Self::start_with(protocol, Some(shown)).await
    }

    async fn start_with(protocol: Protocol, shown: Option<Shown>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (kept, stop) = (Kept::default(), CancellationToken::new());
        let (keeps, stopped) = (kept.clone(), stop.clone());
        let scheme = if shown.is_some() { "https" } else { "http" };
        match protocol {
            Protocol::Grpc => {
                let mut server = Server::builder();
                if let Some(Shown { certificate, key }) = shown {
                    let identity = Identity::from_pem(certificate, key);
                    server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
                }
                let served = server
                    .add_service(TraceServiceServer::new(keeps.clone()))
                    .add_service(MetricsServiceServer::new(keeps))
                    .serve_with_incoming_shutdown(
                        TcpListenerStream::new(listener),
                        stopped.cancelled_owned(),
                    );
                tokio::spawn(served);
            }
            Protocol::Http => {
                let tls = shown.as_ref().map(acceptor).transpose()?;
                tokio::spawn(async move {
                    let accepting = accept(listener, tls, keeps);
                    tokio::select! {
                        () = accepting => {}
                        () = stopped.cancelled() => {}
                    }
                });
            }
        }
        Ok(Self { protocol, scheme, address, kept, _running: stop.drop_guard() })
    }

    /// The variables by which a process delivers its traces here, soon.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        };
        let url = format!("{}://{}", self.scheme, self.address);
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Whether a span that came has one of the secrets in it.
    #[must_use]
    pub fn holds(&self, secrets: &[String]) -> bool {
        crate::secrets::holds(format!("{:?}", self.spans()).as_bytes(), secrets)
    }

    /// All spans, in the order they came.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All metrics, each as often as it came.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        self.kept.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The trace that has a span of this name; the first of several.
    #[must_use]
    pub fn trace_of(&self, name: &str) -> Trace {
        let spans = self.spans();
        let trace = spans.iter().find(|span| span.name == name).map(|span| span.trace.clone());
        Trace(spans.into_iter().filter(|span| Some(&span.trace) == trace.as_ref()).collect())
    }
}

/// All spans of one trace that were received.
#[derive(Clone, Debug)]
pub struct Trace(pub Vec<Span>);

impl Trace {
    /// Spans of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Span> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    /// Names of a span and of all above it, from the span up.
    #[must_use]
    pub fn path(&self, span: &Span) -> Vec<String> {
        let mut path = vec![span.name.clone()];
        let mut parent = span.parent.clone();
        while let Some(above) = self.0.iter().find(|span| span.id == parent) {
            path.push(above.name.clone());
            parent.clone_from(&above.parent);
        }
        path
    }

    /// The one span that is of no other.
    ///
    /// # Errors
    /// When there is none or more than one, an id comes twice, or a span is of one that was not received.
    pub fn root(&self) -> anyhow::Result<&Span> {
        let ids: BTreeSet<&str> = self.0.iter().map(|span| span.id.as_str()).collect();
        anyhow::ensure!(ids.len() == self.0.len(), "an id comes twice: {:#?}", self.0);
        let roots: Vec<_> = self.0.iter().filter(|span| span.parent.is_empty()).collect();
        for span in &self.0 {
            let known = span.parent.is_empty() || ids.contains(span.parent.as_str());
            anyhow::ensure!(known, "what {} is a part of was not received: {span:?}", span.name);
        }
        anyhow::ensure!(roots.len() <= 1, "more than one root: {roots:#?}");
        roots.first().copied().context("no root")
    }
}

fn acceptor(shown: &Shown) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(shown.certificate.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, kept: Kept) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, kept) = (tls.clone(), kept.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else { return serve(stream, kept).await };
            // Who does not trust it leaves before.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, kept).await;
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, kept: Kept) {
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        let kept = kept.clone();
        async move { answer(request, &kept).await }
    });
    let served = hyper::server::conn::http1::Builder::new();
    // A connection that ends early is the other side's affair.
    served.serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    kept: &Kept,
) -> anyhow::Result<http::Response<Full<bytes::Bytes>>> {
    let path = request.uri().path().to_owned();
    let bytes = request.into_body().collect().await?.to_bytes();
    let taken = match path.as_str() {
        "/v1/traces" => {
            ExportTraceServiceRequest::decode(bytes).ok().map(|message| kept.take(message))
        }
        "/v1/metrics" => ExportMetricsServiceRequest::decode(bytes)
            .ok()
            .map(|message| kept.take_metrics(message)),
        _ => None,
    };
    let status = if taken.is_some() { 200 } else { 404 };
    let body = ExportTraceServiceResponse::default().encode_to_vec();
    let response =
        http::Response::builder().status(status).header("content-type", "application/x-protobuf");
    Ok(response.body(Full::new(body.into()))?)
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Kept {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take_metrics(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Kept {
    fn take_metrics(&self, message: ExportMetricsServiceRequest) {
        let mut kept = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        for of_resource in message.resource_metrics {
            let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
            let known = |name: &str| resource.get(name).cloned().unwrap_or_default();
            for metric in of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                kept.push(Metric {
                    service: known("service.name"),
                    process: known("service.instance.id"),
                    name: metric.name,
                });
            }
        }
    }

    fn take(&self, message: ExportTraceServiceRequest) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_resource in message.resource_spans {
            let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
            let known = |name: &str| resource.get(name).cloned().unwrap_or_default();
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                kept.push(Span {
                    service: known("service.name"),
                    process: known("service.instance.id"),
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                    name: span.name,
                    // STATUS_CODE_ERROR
                    failed: span.status.is_some_and(|status| status.code == 2),
                    attributes: attributes(span.attributes),
                });
            }
        }
    }
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    attributes.into_iter().map(|one| (one.key, text(one.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
