//! What all workers of an agent share: settings, limits, and what was learned of buckets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use s3sync_proto::model::{Activity, BucketFacts, Name, RunName, Share};
use tokio::time::Instant;

use super::known::Known;
use crate::copy::choose;
use crate::limits::throttle::Throttle;
use crate::limits::{ByteBudget, Limiter, MAX_BYTES, MAX_REQUESTS, RoundTrip};
use crate::meter::Tally;

/// How workers work. The defaults are for production; tests choose smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Progress is reported this often when there is any.
    pub checkpoint_every: Duration,
    /// Progress over this many keys is reported at once.
    pub checkpoint_keys: u64,
    /// Keys a worker copies, or asks about, at once.
    pub copies_per_worker: usize,
    /// Requests in flight to one endpoint.
    pub requests_per_endpoint: usize,
    /// Bytes of bodies in memory.
    pub bytes: u64,
    /// Objects up to this size travel as one GET and one PUT.
    pub single_up_to: u64,
    /// Objects up to this size are copied inside S3 by one request, where they are.
    pub copy_up_to: u64,
    /// Smallest part of larger ones.
    pub usual_part: u64,
    /// Parts of one object in flight.
    pub parts_per_object: usize,
    /// How long what is in flight may take after a worker was told to stop.
    pub patience: Duration,
}

/// Shared by all workers of an agent.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) bytes: ByteBudget,
    limiters: Mutex<BTreeMap<Name, Arc<Limiter>>>,
    round_trips: Mutex<BTreeMap<Name, Arc<RoundTrip>>>,
    known: Mutex<BTreeMap<(Name, String), Arc<Known>>>,
    /// Until when S3 is not asked to copy between two buckets by itself, since it refused.
    refused: Mutex<BTreeMap<Pair, Instant>>,
    /// What may be used of the limits of jobs, by run.
    throttles: Mutex<BTreeMap<RunName, Arc<Throttle>>>,
    /// What was done for runs.
    tallies: Mutex<BTreeMap<RunName, Arc<Tally>>>,
}

/// Runs of which it is remembered what was done, beyond those that are worked at.
const TALLIES: usize = 64;

/// Source and destination, each an endpoint and a bucket. The credential is not part of it: an agent has one for each
/// endpoint as long as it runs.
pub(crate) type Pair = [(Name, String); 2];

/// How long a refusal to copy inside S3 is believed. After that one more request shows whether it still holds.
pub(crate) const REFUSAL_LASTS: Duration = Duration::from_secs(60 * 60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            // DESIGN: a cursor moves every 5 s or 50,000 keys.
            checkpoint_every: Duration::from_secs(5),
            checkpoint_keys: 50_000,
            // As many as can have a GET or a PUT in flight to one endpoint.
            copies_per_worker: 128,
            requests_per_endpoint: MAX_REQUESTS,
            bytes: MAX_BYTES,
            single_up_to: choose::SINGLE_UP_TO,
            copy_up_to: choose::MAX_PART,
            usual_part: choose::USUAL_PART,
            parts_per_object: 8,
            // Within the 30 s that service managers give a process to end.
            patience: Duration::from_secs(20),
        }
    }
}

// === impl Engine ===

impl Engine {
    /// With these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            bytes: ByteBudget::new(settings.bytes),
            limiters: Mutex::default(),
            round_trips: Mutex::default(),
            known: Mutex::default(),
            refused: Mutex::default(),
            throttles: Mutex::default(),
            tallies: Mutex::default(),
        })
    }

    /// What a run may use; `None`: its job has no limits.
    pub(crate) fn throttle(&self, run: &RunName) -> Option<Arc<Throttle>> {
        self.throttles.lock().unwrap_or_else(PoisonError::into_inner).get(run).cloned()
    }

    /// What is done for a run, where it is counted.
    pub(crate) fn tally(&self, run: &RunName) -> Arc<Tally> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if tallies.len() >= TALLIES && !tallies.contains_key(run) {
            tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        }
        Arc::clone(tallies.entry(run.clone()).or_default())
    }

    /// What this agent does for a run; nothing when it has never worked at it.
    pub(crate) fn activity(&self, run: &RunName) -> Activity {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut activity = tallies.get(run).map(|tally| tally.activity()).unwrap_or_default();
        drop(tallies);
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |(endpoint, limiter): (&Name, &Arc<Limiter>)| limiter.load(endpoint);
        activity.loads = limiters.iter().map(load).collect();
        activity
    }

    /// What runs may use until then. Those that are not named may use nothing.
    pub(crate) fn share(&self, shares: &[Share], until: Instant) {
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        for (run, throttle) in &*throttles {
            if !shares.iter().any(|share| share.run == *run) {
                throttle.stop();
            }
        }
        // Kept for those who work by them.
        throttles.retain(|run, throttle| {
            Arc::strong_count(throttle) > 1 || shares.iter().any(|share| share.run == *run)
        });
        for Share { run, requests, bandwidth } in shares {
            let throttle = throttles.entry(run.clone()).or_default();
            throttle.set(*requests, *bandwidth, until);
        }
    }

    /// What runs may use they may use until then.
    pub(crate) fn keep_shares(&self, until: Instant) {
        let throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        throttles.values().for_each(|throttle| throttle.keep(until));
    }

    /// Those of all endpoints that were worked with.
    pub(crate) fn limiters(&self) -> Vec<(Name, Arc<Limiter>)> {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.iter().map(|(name, limiter)| (name.clone(), Arc::clone(limiter))).collect()
    }

    pub(crate) fn limiter(&self, endpoint: &Name) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter = limiters.entry(endpoint.clone());
        Arc::clone(limiter.or_insert_with(|| Limiter::new(self.settings.requests_per_endpoint)))
    }

    pub(crate) fn round_trip(&self, endpoint: &Name) -> Arc<RoundTrip> {
        let mut round_trips = self.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(round_trips.entry(endpoint.clone()).or_default())
    }

    /// Whether S3 has refused lately to copy between these two by itself.
    pub(crate) fn refuses(&self, pair: &Pair) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(pair).is_some_and(|until| Instant::now() < *until)
    }

    /// Notes that S3 refused to copy between these two; whether that is news.
    pub(crate) fn refuse(&self, pair: &Pair) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = refused.insert(pair.clone(), now + REFUSAL_LASTS);
        before.is_none_or(|until| until <= now)
    }

    /// Forgets what was learned of a bucket, also for the workers at it.
    pub(crate) fn forget(&self, endpoint: &Name, bucket: &str) {
        let place = (endpoint.clone(), bucket.to_owned());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&place) {
            known.forget();
        }
        drop(known);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|pair, _| !pair.contains(&place));
    }

    pub(crate) fn known(&self, facts: &BucketFacts) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known
            .entry((facts.endpoint.clone(), facts.bucket.clone()))
            .or_insert_with(|| Arc::new(Known::new(facts.clone())));
        known.merge(facts);
        Arc::clone(known)
    }
}
