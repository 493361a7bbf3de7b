//! One endpoint: its keys, buckets, faults and records. What tests use in process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{S3Error, S3Result};
use crate::fault::{Faults, Gate};
use crate::generated::{Generated, Space};
use crate::notify::Notification;
use crate::record::{Change, Counts, Write};
use crate::storage::{Bucket, Object, OpenUpload};

/// Most writes that are remembered; beyond it the oldest half is forgotten.
const MAX_WRITES: usize = 1_000_000;

/// What an endpoint is to be.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Its name.
    pub name: String,
    /// Region that requests must be signed for.
    pub region: String,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Secrets by access key.
    pub keys: BTreeMap<String, String>,
    /// Buckets it begins with.
    pub buckets: Vec<String>,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What an endpoint can do, for those that can do less than S3.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// Silently ignores conditions on writes.
    pub ignore_conditions: bool,
    /// Knows no checksums.
    pub no_checksums: bool,
    /// Refuses bodies with trailers.
    pub no_trailers: bool,
    /// ETags say nothing about the bytes.
    pub opaque_etags: bool,
    /// Looks at the condition of a completion before it looks for the upload: one that is repeated after it had its
    /// effect gets a 412, not a 404.
    pub conditions_first: bool,
    /// Silently ignores the ETags of batches of deletes.
    pub ignore_batch_etags: bool,
    /// Listings are not in order.
    pub unordered_listing: bool,
    /// Smallest part but the last, in bytes.
    pub min_part_size: usize,
    /// Each listing takes this many milliseconds longer.
    pub list_delay_ms: u64,
}

/// What is behind an endpoint's lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    pub(crate) capabilities: Capabilities,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    pub(crate) writes: Vec<Write>,
    pub(crate) notifications: Vec<Notification>,
}

impl State {
    pub(crate) fn bucket(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(S3Error::no_such_bucket)
    }
}

/// A running endpoint.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    region: String,
    address: SocketAddr,
    keys: BTreeMap<String, String>,
    state: Mutex<State>,
    order: AtomicU64,
    pub(crate) gate: Gate,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            ignore_conditions: false,
            no_checksums: false,
            no_trailers: false,
            opaque_etags: false,
            conditions_first: false,
            ignore_batch_etags: false,
            unordered_listing: false,
            min_part_size: 5 << 20,
            list_delay_ms: 0,
        }
    }
}

impl EndpointConfig {
    /// An endpoint on any port of this machine.
    #[must_use]
    pub fn new(name: &str, region: &str) -> Self {
        Self {
            name: name.to_owned(),
            region: region.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: BTreeMap::new(),
            buckets: Vec::new(),
            capabilities: Capabilities::default(),
        }
    }

    /// With an access key and its secret.
    #[must_use]
    pub fn key(mut self, access_key: &str, secret: &str) -> Self {
        self.keys.insert(access_key.to_owned(), secret.to_owned());
        self
    }

    /// With a bucket.
    #[must_use]
    pub fn bucket(mut self, name: &str) -> Self {
        self.buckets.push(name.to_owned());
        self
    }

    /// With other capabilities.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl Endpoint {
    pub(crate) fn new(config: EndpointConfig, address: SocketAddr) -> Arc<Self> {
        let EndpointConfig { name, region, listen: _, keys, buckets, capabilities } = config;
        let buckets = buckets.into_iter().map(|name| (name, Bucket::default())).collect();
        let state = State {
            buckets,
            capabilities,
            faults: Faults::default(),
            counts: Counts::default(),
            writes: Vec::new(),
            notifications: Vec::new(),
        };
        let (state, order) = (Mutex::new(state), AtomicU64::new(0));
        Arc::new(Self { name, region, address, keys, state, order, gate: Gate::default() })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self) -> &BTreeMap<String, String> {
        &self.keys
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.state().capabilities.clone()
    }

    /// A change that was just made, while the lock is still held under which it was.
    pub(crate) fn changed(
        &self,
        key: &Bytes,
        event: &'static str,
        object: Option<&Object>,
    ) -> Change {
        let etag = object.map(|object| object.etag.clone()).unwrap_or_default();
        let size = object.map_or(0, Object::size);
        Change { key: key.clone(), event, etag, size, sequence: self.tick() }
    }

    /// The next place in the order of all beginnings and ends.
    pub(crate) fn tick(&self) -> u64 {
        self.order.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn record(&self, writes: Vec<Write>) {
        let mut state = self.state();
        if state.writes.len() >= MAX_WRITES {
            state.writes.drain(..MAX_WRITES / 2);
        }
        state.writes.extend(writes);
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, name: &str) {
        self.state().buckets.entry(name.to_owned()).or_default();
    }

    /// Stores an object without a request.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn seed(&self, bucket: &str, key: impl AsRef<[u8]>, body: impl Into<Bytes>) {
        self.seed_object(bucket, key, Object::new(body));
    }

    /// Stores an object with all it carries, without a request.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn seed_object(&self, bucket: &str, key: impl AsRef<[u8]>, object: Object) {
        let mut state = self.state();
        let bucket = state.buckets.get_mut(bucket).expect("the bucket was made before");
        bucket.put(Bytes::copy_from_slice(key.as_ref()), object);
    }

    /// Declares a generated key space of a bucket; replaces the one before.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn generate(&self, bucket: &str, space: Generated) {
        let mut state = self.state();
        state.buckets.get_mut(bucket).expect("the bucket was made before").generated =
            Some(Space::new(space));
    }

    /// Has bytes that are written to keys that begin with a prefix verified and not stored. ETags there are those of KMS.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn sink(&self, bucket: &str, prefix: impl AsRef<[u8]>) {
        let mut state = self.state();
        let bucket = state.buckets.get_mut(bucket).expect("the bucket was made before");
        bucket.sink = Some(Bytes::copy_from_slice(prefix.as_ref()));
    }

    /// Removes an object without a request.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn remove(&self, bucket: &str, key: impl AsRef<[u8]>) {
        self.state()
            .buckets
            .get_mut(bucket)
            .expect("the bucket was made before")
            .delete(key.as_ref());
    }

    /// Somebody writes an object (`None`: deletes it), without a request, but queues are told of it.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn change(&self, bucket: &str, key: impl AsRef<[u8]>, object: Option<Object>) {
        let key = Bytes::copy_from_slice(key.as_ref());
        let change = {
            let mut state = self.state();
            let there = state.buckets.get_mut(bucket).expect("the bucket was made before");
            match object {
                Some(object) => {
                    let object = there.put(key.clone(), object);
                    self.changed(&key, "ObjectCreated:Put", Some(&object))
                }
                None => {
                    there.delete(&key);
                    self.changed(&key, "ObjectRemoved:Delete", None)
                }
            }
        };
        crate::notify::tell(self, bucket, "LAB", &[change]);
    }

    /// An object, if it is there.
    #[must_use]
    pub fn object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Option<Arc<Object>> {
        self.state().buckets.get(bucket)?.get(key.as_ref())
    }

    /// All stored objects of a bucket by key; generated ones are not among them.
    #[must_use]
    pub fn objects(&self, bucket: &str) -> BTreeMap<Bytes, Arc<Object>> {
        let state = self.state();
        let stored = state.buckets.get(bucket).into_iter().flat_map(|bucket| &bucket.objects);
        stored.filter_map(|(key, object)| Some((key.clone(), object.clone()?))).collect()
    }

    /// Multipart uploads that are open.
    #[must_use]
    pub fn open_uploads(&self, bucket: &str) -> Vec<OpenUpload> {
        let state = self.state();
        let uploads = state.buckets.get(bucket).into_iter().flat_map(|bucket| &bucket.uploads);
        uploads
            .map(|(id, upload)| OpenUpload {
                key: upload.key.clone(),
                upload_id: id.clone(),
                parts: upload.parts.len(),
            })
            .collect()
    }

    /// Tells a queue of each change of a bucket's objects from now on. See [`Notification`].
    pub fn notify(&self, notification: Notification) {
        self.state().notifications.push(notification);
    }

    /// Whether there is a bucket.
    #[must_use]
    pub fn has_bucket(&self, name: &str) -> bool {
        self.state().buckets.contains_key(name)
    }

    /// Switches faults on or off. Requests that are held go on.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        self.gate.open();
    }

    /// How many requests are held by a fault.
    #[must_use]
    pub fn held(&self) -> usize {
        self.gate.held()
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// Changes what the endpoint can do.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        self.state().capabilities = capabilities;
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Forgets what was asked.
    pub fn reset_counts(&self) {
        self.state().counts = Counts::default();
    }

    /// Requests that changed objects, or tried to, in the order they ended.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }
}
