//! One client of the SDK for each endpoint and credential, set up so that it does what it is told and nothing else:
//! no retries, no endpoint from the environment, no checksums of its own choice.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use s3sync_proto::model::{EndpointSpec, Name};

use super::clock::EndpointClock;
use super::count::Counted;
use super::credentials;
use super::headers::Readable;
use crate::config::Credential;
use crate::metrics::{Metrics, Requests};

/// How long to wait for a connection, TLS included. The SDK's 3.1 s are too short for a lossy line across the
/// Pacific, where a lost packet of the handshake costs seconds.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);

/// How long a body may stand still before it is given up.
const STALLED_GRACE: Duration = Duration::from_secs(30);

/// How long a connection is kept for the next request. S3 closes them after some 20 s; a request on one that is being
/// closed fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Region to sign for at servers that do not have any.
const ANY_REGION: &str = "us-east-1";

/// A client of one endpoint with one credential. Its connections are shared by all buckets.
pub struct AwsClient {
    /// Sends no checksum but those it is given.
    pub(super) plain: Client,
    /// Computes checksums and sends them as trailers. Shares everything else with `plain`.
    pub(super) trailing: Client,
    /// Whether the transport protects bodies, so that they need not be signed too.
    pub(super) encrypted: bool,
    pub(super) clock: EndpointClock,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificates to trust cannot be used.
    #[error("the certificates to trust cannot be used: {0}")]
    Certificates(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AwsClient {
    /// A client of `endpoint`. Connects to nothing yet. `ca` are certificates (PEM) to trust beside the system's.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(
        endpoint: &EndpointSpec,
        credential: &Credential,
        ca: Option<&[u8]>,
    ) -> Result<Self, ConnectError> {
        let name = Name::from_str("endpoint").expect("it is a name");
        Self::counted(endpoint, credential, ca, Metrics::none().requests(&name))
    }

    /// As [`Self::new`], and counts its requests.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn counted(
        endpoint: &EndpointSpec,
        credential: &Credential,
        ca: Option<&[u8]>,
        requests: Arc<Requests>,
    ) -> Result<Self, ConnectError> {
        let region = if endpoint.region.is_empty() { ANY_REGION } else { &endpoint.region };
        let region = Region::new(region.to_owned());
        let encrypted = endpoint.url.as_ref().is_none_or(|url| url.starts_with("https:"));
        let http = http_client(encrypted, ca)?;
        let clock = EndpointClock::new();
        // Built from nothing, not from the SDK's loader: an endpoint in the environment or a profile is not ours.
        let config = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .credentials_provider(credentials::provider(credential, region))
            .identity_cache(IdentityCache::lazy().build())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled().grace_period(STALLED_GRACE).build(),
            )
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(Readable)
            .interceptor(clock.clone())
            .interceptor(Counted::new(requests))
            .force_path_style(endpoint.path_style);
        let config = match &endpoint.url {
            Some(url) => config.endpoint_url(url),
            None => config,
        };
        let config = config.build();
        let trailing = config
            .to_builder()
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .build();
        Ok(Self {
            plain: Client::from_conf(config),
            trailing: Client::from_conf(trailing),
            encrypted,
            clock,
        })
    }
}

/// The transport of a client. `ca` are certificates (PEM) to trust beside the system's.
///
/// # Errors
/// When the certificates cannot be used.
pub(crate) fn http_client(
    encrypted: bool,
    ca: Option<&[u8]>,
) -> Result<SharedHttpClient, ConnectError> {
    // Not the system's certificates where none is asked for: some containers have none, which is no error here.
    let mut trust = if encrypted { TrustStore::default() } else { TrustStore::empty() };
    if let Some(pem) = ca {
        check(pem)?;
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| ConnectError::Tls(error.into()))?;
    Ok(HttpBuilder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https())
}

/// Makes sure that certificates can be used: the SDK panics at those that cannot.
fn check(pem: &[u8]) -> Result<(), ConnectError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| ConnectError::Certificates(error.to_string()))?;
        store.add(certificate).map_err(|error| ConnectError::Certificates(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(ConnectError::Certificates("there are none".to_owned()));
    }
    Ok(())
}

/// Says nothing of what is inside.
impl fmt::Debug for AwsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsClient").finish_non_exhaustive()
    }
}
