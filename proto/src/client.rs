//! Typed clients: domain types in, domain types out. Also how a connection to a server is made.

mod agent;
mod api;
mod ask;
mod audit;
mod deletes;
mod error;
mod queues;
mod view;

use std::fmt;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

pub use agent::{AgentLink, OUTBOUND_MESSAGES};
pub use api::{ApiClient, Page, Precondition, WatchEvent, WriteOptions};
pub use error::{ApiError, Code};

/// An agent's connection is pinged this often, also while idle: middle boxes forget flows after a minute or less.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A ping that is not answered within this ends the connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Covers TCP and TLS on a slow and lossy link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);
/// Largest message of the API that is read.
pub const MAX_API_MESSAGE: usize = 4 << 20;
/// Largest message of a session that is read, on both sides.
pub const MAX_SESSION_MESSAGE: usize = 1 << 20;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How to reach a server.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// Sent with every call.
    pub token: Option<Secret>,
    /// Authorities to trust instead of the system's, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Certificate and key to show the server, in PEM.
    pub identity: Option<(Vec<u8>, Secret)>,
    /// Allow `http://` to another host than this one.
    pub insecure: bool,
}

/// Adds the token and the trace context to every call.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    token: Option<Secret>,
    traceparent: Option<String>,
}

// === impl Secret ===

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

// === impl ConnectOptions ===

impl ConnectOptions {
    /// A channel that connects when it is first used, and again when it broke.
    ///
    /// # Errors
    /// When the options contradict themselves.
    pub fn channel(&self) -> Result<Channel, ApiError> {
        let bad = |message: String| ApiError::local(Code::InvalidArgument, message);
        // Not said back, since it may hold a password.
        if self.url.contains('@') {
            return Err(bad("the server's URL has a user in it; use a token instead".to_owned()));
        }
        let endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(|error| bad(format!("{:?} is not the URL of a server: {error}", self.url)))?;
        let uri = endpoint.uri();
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(bad(format!("{:?} must be a scheme, a host and a port", self.url)));
        }
        // rustls would skip what is no certificate, and then trust nobody without saying why.
        let certificate = b"-----BEGIN CERTIFICATE-----";
        if self
            .ca
            .as_ref()
            .is_some_and(|ca| !ca.windows(certificate.len()).any(|w| w == certificate))
        {
            return Err(bad(
                "the file of authorities to trust has no certificate in PEM".to_owned()
            ));
        }
        let endpoint = match uri.scheme_str() {
            Some("https") => endpoint.tls_config(self.tls()).map_err(|error| {
                bad(with_causes("TLS cannot be set up".to_owned(), Some(&error)))
            })?,
            Some("http") if self.insecure || is_loopback(host) => endpoint,
            Some("http") => {
                return Err(bad(format!(
                    "{} would carry everything in the clear, and nobody could tell who answers; use https:// or \
                     say --insecure",
                    self.url
                )));
            }
            _ => return Err(bad(format!("{:?} must begin with http:// or https://", self.url))),
        };
        Ok(endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy())
    }

    fn tls(&self) -> ClientTlsConfig {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
            None => tls.with_native_roots(),
        };
        match &self.identity {
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key.reveal())),
            None => tls,
        }
    }

    /// What goes with every call.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { token: self.token.clone(), traceparent: None }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A message with what caused it, down to the root. Layers that only repeat what is said are left out.
fn with_causes(mut text: String, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(error) = cause {
        let layer = error.to_string();
        if !text.contains(&layer) {
            text = format!("{text}: {layer}");
        }
        cause = error.source();
    }
    text
}

// === impl Credentials ===

impl Credentials {
    /// The same, with a W3C trace context.
    #[must_use]
    pub fn with_traceparent(mut self, traceparent: Option<String>) -> Self {
        self.traceparent = traceparent;
        self
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            let mut value: MetadataValue<_> =
                format!("Bearer {}", token.reveal()).parse().map_err(|_| {
                    Status::unauthenticated("the token has characters that cannot be sent")
                })?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(traceparent) = self.traceparent.as_deref().and_then(|text| text.parse().ok()) {
            request.metadata_mut().insert("traceparent", traceparent);
        }
        Ok(request)
    }
}
