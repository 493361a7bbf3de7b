//! Endpoints, queues and jobs, and changes of them.

use std::collections::BTreeMap;

use s3sync_proto::model::{Endpoint, EndpointSpec, Job, JobSpec, Name, Queue, QueueSpec};

/// All endpoints, queues and jobs.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Grows with each change of them.
    pub revision: u64,
    /// The endpoints.
    pub endpoints: BTreeMap<Name, Endpoint>,
    /// The queues.
    pub queues: BTreeMap<Name, Queue>,
    /// The jobs, without warnings.
    pub jobs: BTreeMap<Name, Job>,
}

/// A change of the catalogue.
#[derive(Clone, Debug)]
pub enum CatalogueChange {
    /// Create or replace an endpoint.
    PutEndpoint {
        /// Which.
        name: Name,
        /// Its settings.
        spec: EndpointSpec,
    },
    /// Delete an endpoint and what was learned of its buckets.
    DeleteEndpoint {
        /// Which.
        name: Name,
    },
    /// Create or replace a queue.
    PutQueue {
        /// Which.
        name: Name,
        /// Its settings.
        spec: QueueSpec,
    },
    /// Delete a queue.
    DeleteQueue {
        /// Which.
        name: Name,
    },
    /// Create or replace a job.
    PutJob {
        /// Which.
        name: Name,
        /// Its settings.
        spec: Box<JobSpec>,
    },
    /// Delete a job with its runs; [`super::Error::RunActive`] while one is going on.
    DeleteJob {
        /// Which.
        name: Name,
    },
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was made.
    Fresh,
    /// A request with the same id had made it before.
    Repeated,
}

/// A client's request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The RPC.
    pub method: &'static str,
    /// The id the client chose.
    pub id: String,
    /// Digest of the request, to tell a repetition from a reuse.
    pub fingerprint: String,
    /// Name of the resource that the request makes or changes; for a run it is set by the store.
    pub resource: String,
}
