//! Opens buckets with the agent's credentials, guarded by its policies; says what the agent can sign for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use s3sync_proto::model::{
    AgentEndpoint, Assignment, EndpointSpec, FailureClass, Location, Name, QueueSpec, WorkError,
};

use crate::config::{Config, EndpointConfig};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::queue::sqs::Sqs;
use crate::s3::ObjectStore;
use crate::s3::aws::{AwsClient, AwsStore, ConnectError};
use crate::s3::policy::{Guarded, Policy};
use crate::worker::Sides;

/// The buckets an agent can open. One client, with its connections, is kept for each configured endpoint.
#[derive(Debug)]
pub struct Stores {
    endpoints: HashMap<Name, EndpointConfig>,
    clients: Mutex<HashMap<Name, Opened>>,
    metrics: Metrics,
}

/// A client, and the settings of the endpoint it was made for.
#[derive(Debug)]
struct Opened {
    spec: EndpointSpec,
    client: Arc<AwsClient>,
}

/// Why a bucket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The agent's configuration does not name the endpoint.
    #[error("this agent has no credential for endpoint {0}")]
    NoCredential(Name),
    /// The agent's configuration does not let it use the queue.
    #[error(
        "this agent's configuration does not allow it to read the queue {url}; queues of [endpoints.{endpoint}] would have to \
         name it"
    )]
    QueueNotAllowed {
        /// The endpoint.
        endpoint: Name,
        /// The queue.
        url: String,
    },
    /// There is no client.
    #[error("endpoint {endpoint} cannot be used")]
    Connect {
        /// The endpoint.
        endpoint: Name,
        /// Why.
        #[source]
        source: ConnectError,
    },
}

// === impl Stores ===

impl Stores {
    /// The endpoints of a configuration. Opens nothing yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::counted(config, Metrics::none())
    }

    /// As [`Self::new`], and counts requests.
    #[must_use]
    pub fn counted(config: &Config, metrics: Metrics) -> Self {
        let endpoints = config.endpoints.iter().map(|(name, one)| (name.clone(), one.clone()));
        Self { endpoints: endpoints.collect(), clients: Mutex::default(), metrics }
    }

    /// What this agent can sign for, in order of names. Without any secret.
    #[must_use]
    pub fn offers(&self) -> Vec<AgentEndpoint> {
        let offers = self.endpoints.iter().map(|(name, endpoint)| AgentEndpoint {
            endpoint: name.clone(),
            credential_kind: endpoint.credential.kind().to_owned(),
            allow: endpoint.allow.clone(),
            credential_fingerprint: endpoint.credential.fingerprint(),
        });
        let mut offers: Vec<_> = offers.collect();
        offers.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        offers
    }

    /// Opens a bucket. No request is sent.
    ///
    /// # Errors
    /// When there is no credential for the endpoint, or it cannot be used.
    pub fn open(
        &self,
        endpoint: &Name,
        spec: &EndpointSpec,
        bucket: &str,
    ) -> Result<Arc<dyn ObjectStore>, OpenError> {
        Ok(Arc::new(self.guarded(endpoint, spec, bucket)?))
    }

    /// Opens both sides of an assignment. No request is sent. A copy inside S3 is signed with the destination's
    /// credential, but what it may read is what the source's endpoint allows.
    ///
    /// # Errors
    /// As of [`Self::open`], for one of the sides.
    pub fn open_sides(&self, assignment: &Assignment) -> Result<Sides, OpenError> {
        let (from, from_spec) = (&assignment.source, &assignment.source_endpoint);
        let (to, to_spec) = (&assignment.destination.location, &assignment.destination_endpoint);
        let source = self.guarded(&from.endpoint, from_spec, &from.bucket)?;
        let destination = self.guarded(&to.endpoint, to_spec, &to.bucket)?;
        let server_side = same_place(from_spec, to_spec) && self.same_credential(from, to);
        let destination = match self.endpoints.get(&from.endpoint) {
            Some(config) if server_side => {
                destination.with_sources(Policy::new(from.endpoint.clone(), config.allow.clone()))
            }
            Some(_) | None => destination,
        };
        Ok(Sides { source: Arc::new(source), destination: Arc::new(destination), server_side })
    }

    /// Opens a queue. No request is sent.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn open_queue(
        &self,
        spec: &QueueSpec,
        endpoint: &EndpointSpec,
    ) -> Result<Arc<dyn Queue>, OpenError> {
        let name = &spec.endpoint;
        let no_credential = || OpenError::NoCredential(name.clone());
        let config = self.endpoints.get(name).ok_or_else(no_credential)?;
        if config.queues.as_ref().is_some_and(|queues| !queues.contains(&spec.url)) {
            return Err(OpenError::QueueNotAllowed {
                endpoint: name.clone(),
                url: spec.url.clone(),
            });
        }
        let requests = self.metrics.requests(name);
        let ca = config.ca.as_deref();
        let queue = Sqs::counted(&spec.url, endpoint, &config.credential, ca, requests);
        let connect = |source| OpenError::Connect { endpoint: name.clone(), source };
        Ok(Arc::new(queue.map_err(connect)?))
    }

    fn same_credential(&self, a: &Location, b: &Location) -> bool {
        match (self.endpoints.get(&a.endpoint), self.endpoints.get(&b.endpoint)) {
            (Some(a), Some(b)) => a.credential.fingerprint() == b.credential.fingerprint(),
            _ => false,
        }
    }

    fn guarded(
        &self,
        name: &Name,
        spec: &EndpointSpec,
        bucket: &str,
    ) -> Result<Guarded<AwsStore>, OpenError> {
        let no_credential = || OpenError::NoCredential(name.clone());
        let config = self.endpoints.get(name).ok_or_else(no_credential)?;
        let client = self.client(name, spec, config)?;
        let policy = Policy::new(name.clone(), config.allow.clone());
        Ok(Guarded::new(AwsStore::new(client, bucket), bucket, policy))
    }

    /// The client of an endpoint; a new one when the endpoint's settings have changed.
    fn client(
        &self,
        name: &Name,
        spec: &EndpointSpec,
        config: &EndpointConfig,
    ) -> Result<Arc<AwsClient>, OpenError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = clients.get(name).filter(|opened| opened.spec == *spec) {
            return Ok(Arc::clone(&opened.client));
        }
        let requests = self.metrics.requests(name);
        let ca = config.ca.as_deref();
        let client = AwsClient::counted(spec, &config.credential, ca, requests);
        let client =
            client.map_err(|source| OpenError::Connect { endpoint: name.clone(), source })?;
        let client = Arc::new(client);
        let opened = Opened { spec: spec.clone(), client: Arc::clone(&client) };
        clients.insert(name.clone(), opened);
        Ok(client)
    }
}

// === impl OpenError ===

/// An assignment that cannot be begun is given back; another agent may be able to.
impl From<OpenError> for WorkError {
    fn from(error: OpenError) -> Self {
        let code = match error {
            OpenError::NoCredential(_) => "no_credential",
            OpenError::QueueNotAllowed { .. } => "not_allowed",
            OpenError::Connect { .. } => "endpoint_unusable",
        };
        let mut message = error.to_string();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            message = format!("{message}: {source}");
            cause = source;
        }
        Self { class: FailureClass::Permanent, code: code.to_owned(), message }
    }
}

/// Whether one credential reaches both: the same server, or AWS in one partition.
#[must_use]
pub fn same_place(a: &EndpointSpec, b: &EndpointSpec) -> bool {
    match (&a.url, &b.url) {
        (None, None) => partition(&a.region) == partition(&b.region),
        (Some(a), Some(b)) => a.trim_end_matches('/') == b.trim_end_matches('/'),
        _ => false,
    }
}

/// The AWS partition of a region: a credential of one is unknown in all others (botocore, `partitions.json`).
#[must_use]
pub fn partition(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    PARTITIONS
        .into_iter()
        .find(|(prefix, _)| region.starts_with(prefix))
        .map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use s3sync_lab::{EndpointConfig as LabEndpoint, Lab};

    use super::*;
    use crate::config::Flags;
    use crate::s3::{Class, CopyRequest, Error, GetRequest, ListRequest, PutBody, PutRequest};

    #[tokio::test]
    async fn what_is_not_allowed_never_leaves_the_agent() {
        let endpoint = LabEndpoint::new("lab", "us-east-1").key("AKIA1", "lab-secret-1");
        let lab = Lab::start(vec![endpoint.bucket("a").bucket("b")]).await.unwrap();
        let config = String::from(
            "server = \"http://127.0.0.1:1\"\nname = \"t\"\n[endpoints.src]\naccess_key_id = \"AKIA1\"\n\
             secret_access_key = \"lab-secret-1\"\nallow = [{ bucket = \"a\", prefix = \"in/\", verbs = [\"list\", \"read\"] }]\n\
             [endpoints.dst]\naccess_key_id = \"AKIA1\"\nsecret_access_key = \"lab-secret-1\"\n\
             allow = [{ bucket = \"b\", prefix = \"out/\", verbs = [\"list\", \"read\", \"write\"] }]\n",
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, config).unwrap();
        let flags = Flags { config: path, ..Flags::default() };
        let stores = Stores::new(&Config::load(&flags).unwrap().config);

        let shown = format!("{stores:?} {:?}", stores.offers());
        assert!(shown.contains("AKIA1") && !shown.contains("lab-secret"), "{shown}");
        let offers = stores.offers();
        assert_eq!(offers[0].credential_fingerprint, offers[1].credential_fingerprint);

        let spec = EndpointSpec {
            region: "us-east-1".into(),
            url: Some(lab.endpoint("lab").url()),
            path_style: true,
            ..EndpointSpec::default()
        };
        let (src, dst) = ("src".parse().unwrap(), "dst".parse().unwrap());
        let open = |name: &Name, bucket: &str| stores.open(name, &spec, bucket).unwrap();
        let not_allowed = |error: Error| {
            assert_eq!((error.class, error.code.as_str()), (Class::Denied, "not_allowed"));
        };
        let put = |key: &str| {
            let body = PutBody::Bytes(bytes::Bytes::from_static(b"x"));
            (PutRequest { key: key.into(), ..PutRequest::default() }, body)
        };
        let get = |key: &str| GetRequest { key: key.into(), ..GetRequest::default() };
        let list = |prefix: &str| ListRequest {
            prefix: prefix.into(),
            max_keys: 1,
            ..ListRequest::default()
        };
        let copy = |source: &str| CopyRequest {
            source_bucket: "a".into(),
            source_key: source.into(),
            source_if_match: "9dd4e461268c8034f5c8564e155c67a6".into(),
            key: "out/k".into(),
            ..CopyRequest::default()
        };

        let (request, body) = put("in/k");
        not_allowed(open(&src, "a").put(request, body).await.unwrap_err());
        not_allowed(open(&src, "b").get(get("in/k")).await.err().unwrap());
        not_allowed(open(&src, "a").get(get("i")).await.err().unwrap());
        not_allowed(open(&src, "a").list(list("")).await.unwrap_err());
        let (request, body) = put("other");
        not_allowed(open(&dst, "b").put(request, body).await.unwrap_err());
        // Opened alone, the destination's own rules are all that counts.
        not_allowed(open(&dst, "b").copy(copy("in/k")).await.unwrap_err());
        let config = &stores.endpoints[&src];
        let together = stores
            .guarded(&dst, &spec, "b")
            .unwrap()
            .with_sources(Policy::new(src.clone(), config.allow.clone()));
        not_allowed(together.copy(copy("secret/k")).await.unwrap_err());
        assert_eq!(lab.endpoint("lab").counts().total(), 0);

        lab.endpoint("lab").seed("a", "in/k", "x");
        assert_eq!(open(&src, "a").get(get("in/k")).await.unwrap().0.length, 1);
        open(&src, "a").list(list("in/")).await.unwrap();
        together.copy(copy("in/k")).await.unwrap();
        assert!(lab.endpoint("lab").object("b", "out/k").is_some());
        assert!(matches!(
            stores.open(&"none".parse().unwrap(), &spec, "a").err(),
            Some(OpenError::NoCredential(_))
        ));
    }

    #[test]
    fn queues_that_are_not_named_are_not_read_where_some_are() {
        let url = "https://sqs.us-west-2.amazonaws.com/123456789012/media-events";
        let open = |queues: &str| {
            let config = format!(
                "server = \"http://127.0.0.1:1\"\nname = \"t\"\n[endpoints.usw2]\nprofile = \"p\"\n{queues}\n"
            );
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("agent.toml");
            std::fs::write(&path, config).unwrap();
            let flags = Flags { config: path, ..Flags::default() };
            let stores = Stores::new(&Config::load(&flags).unwrap().config);
            let spec =
                QueueSpec { url: url.to_owned(), endpoint: "usw2".parse().unwrap(), receivers: 1 };
            let here = EndpointSpec { region: "us-west-2".into(), ..EndpointSpec::default() };
            stores.open_queue(&spec, &here).map(drop).map_err(|error| WorkError::from(error).code)
        };
        assert_eq!(open(""), Ok(()));
        assert_eq!(open(&format!("queues = [{url:?}]")), Ok(()));
        assert_eq!(open(&format!("queues = [\"{url}-other\"]")), Err("not_allowed".to_owned()));
        assert_eq!(open("queues = []"), Err("not_allowed".to_owned()));
    }

    #[test]
    fn regions_belong_to_partitions() {
        let table = [
            ("us-east-1", "aws"),
            ("eu-central-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("cn-northwest-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ];
        for (region, expected) in table {
            assert_eq!(partition(region), expected, "{region}");
        }
    }

    #[test]
    fn a_place_is_a_server_or_a_partition() {
        let aws = |region: &str| EndpointSpec { region: region.into(), ..EndpointSpec::default() };
        let other = |url: &str| EndpointSpec { url: Some(url.into()), ..aws("us-east-1") };
        assert!(same_place(&aws("us-east-1"), &aws("eu-west-1")));
        assert!(!same_place(&aws("us-east-1"), &aws("cn-north-1")));
        assert!(same_place(&other("http://a:1"), &other("http://a:1/")));
        assert!(!same_place(&other("http://a:1"), &other("http://a:2")));
        assert!(!same_place(&other("http://a:1"), &aws("us-east-1")));
    }
}
