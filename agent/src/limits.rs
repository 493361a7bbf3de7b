//! What all workers of an agent share: requests in flight per endpoint, bytes in flight.
//!
//! Whoever holds permits of requests asks for no more of them, and bytes are asked for before requests. So nobody
//! waits for what is held by somebody who waits.

pub(crate) mod throttle;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use s3sync_proto::model::{EndpointLoad, Name};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::s3::Class;

/// Requests in flight to one endpoint at most. At 200 ms round trip that is 1,280 requests a second.
pub const MAX_REQUESTS: usize = 256;

/// Requests in flight to one endpoint at least, however much it asks to slow down: a stream between two buckets of
/// one endpoint holds two.
pub const MIN_REQUESTS: usize = 2;

/// Bytes of bodies in memory at most, over all workers. Leaves room for everything else within 400 MB.
pub const MAX_BYTES: u64 = 128 * 1024 * 1024;

/// The limit is halved once in this time at most: the answers to requests that were in flight together are one sign.
const HALVE_EVERY: Duration = Duration::from_secs(1);

/// Bytes are counted in units of this, since a semaphore counts to 2^29 on 32-bit machines.
const UNIT: u64 = 1024;

/// Requests in flight to one endpoint. Grows by one for each round of successes and halves when the endpoint asks to
/// slow down.
#[derive(Debug)]
pub struct Limiter {
    /// Which of this process it is, by when it was made.
    ordinal: u64,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    max: usize,
    failures: [AtomicU64; Class::ALL.len()],
    retries: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Requests allowed now.
    allowed: usize,
    /// Permits to be taken back when their holders return them.
    owed: usize,
    /// Successes since the limit last grew.
    successes: usize,
    halved: Option<Instant>,
}

/// A request may be in flight while this lives.
#[derive(Debug)]
pub struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    limiter: Arc<Limiter>,
}

/// Bytes of bodies in memory.
#[derive(Debug)]
pub struct ByteBudget {
    units: Arc<Semaphore>,
    max: u32,
}

/// The shortest time a request to one endpoint took: about a round trip, whatever the load was.
#[derive(Debug)]
pub struct RoundTrip(AtomicU64);

// === impl RoundTrip ===

impl RoundTrip {
    /// Notes how long a request took.
    pub fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_min(micros, Ordering::Relaxed);
    }

    /// The shortest so far; zero before the first.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            u64::MAX => Duration::ZERO,
            micros => Duration::from_micros(micros),
        }
    }
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

// === impl Limiter ===

impl Limiter {
    /// At most `max` requests in flight.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let max = max.max(MIN_REQUESTS);
        let state = State { allowed: max, owed: 0, successes: 0, halved: None };
        Arc::new(Self {
            ordinal: MADE.fetch_add(1, Ordering::Relaxed),
            permits: Arc::new(Semaphore::new(max)),
            state: Mutex::new(state),
            max,
            failures: Default::default(),
            retries: AtomicU64::new(0),
        })
    }

    /// Waits for a permit for one request.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        let mut permits = self.acquire_many(1).await;
        permits.pop().expect("one was asked for")
    }

    async fn acquire_many(self: &Arc<Self>, n: u32) -> Vec<Permit> {
        let mut all = Arc::clone(&self.permits)
            .acquire_many_owned(n)
            .await
            .expect("the semaphore is never closed");
        (0..n)
            .filter_map(|_| all.split(1))
            .map(|permit| Permit { permit: Some(permit), limiter: Arc::clone(self) })
            .collect()
    }

    /// Requests allowed now.
    pub fn allowed(&self) -> usize {
        self.lock().allowed
    }

    /// What is in flight to the endpoint, which is called so.
    #[must_use]
    pub fn load(&self, endpoint: &Name) -> EndpointLoad {
        let state = self.lock();
        let free = self.permits.available_permits();
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        EndpointLoad {
            endpoint: endpoint.clone(),
            in_flight: number((state.allowed + state.owed).saturating_sub(free)),
            allowed: number(state.allowed),
            most: number(self.max),
        }
    }

    /// The endpoint did what was asked.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        if state.allowed >= self.max {
            return;
        }
        state.successes += 1;
        if state.successes < state.allowed {
            return;
        }
        state.successes = 0;
        state.allowed += 1;
        if state.owed > 0 {
            state.owed -= 1;
        } else {
            self.permits.add_permits(1);
        }
    }

    /// A request failed. When the endpoint asked to slow down, fewer are allowed from now on.
    pub fn failed(&self, class: Class) {
        self.failures[class as usize].fetch_add(1, Ordering::Relaxed);
        if class == Class::Throttled {
            self.throttled();
        }
    }

    /// How many requests failed like this.
    pub fn failures(&self, class: Class) -> u64 {
        self.failures[class as usize].load(Ordering::Relaxed)
    }

    /// Waits before something is tried again.
    pub async fn again(&self, wait: Duration) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
    }

    /// How often something was tried again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// The endpoint asked to slow down.
    fn throttled(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.halved.is_some_and(|halved| now.duration_since(halved) < HALVE_EVERY) {
            return;
        }
        let allowed = (state.allowed / 2).max(MIN_REQUESTS);
        let excess = state.allowed - allowed;
        let taken = self.permits.forget_permits(excess);
        state.owed += excess - taken;
        state.allowed = allowed;
        state.successes = 0;
        state.halved = Some(now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a permit for a request to each of two endpoints that will be in flight together.
pub async fn acquire_pair(a: &Arc<Limiter>, b: &Arc<Limiter>) -> [Permit; 2] {
    if Arc::ptr_eq(a, b) {
        // Both at once: two streams that hold one each and wait for their second would wait forever.
        let permits = a.acquire_many(2).await;
        return permits.try_into().expect("two were asked for");
    }
    // Always in the same order, so that streams in both directions between two endpoints do not wait for each other; not
    // by their addresses, which differ from process to process: a history that is played again is the same one.
    if a.ordinal < b.ordinal {
        let first = a.acquire().await;
        [first, b.acquire().await]
    } else {
        let second = b.acquire().await;
        [a.acquire().await, second]
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.limiter.lock();
        if state.owed > 0 {
            state.owed -= 1;
            permit.forget();
        }
    }
}

// === impl ByteBudget ===

impl ByteBudget {
    /// At most `bytes` in memory.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let max = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 3).max(1);
        Self { units: Arc::new(Semaphore::new(max as usize)), max }
    }

    /// How many bytes may be held.
    pub fn max(&self) -> u64 {
        u64::from(self.max) * UNIT
    }

    /// How many are.
    pub fn taken(&self) -> u64 {
        self.max().saturating_sub(self.units.available_permits() as u64 * UNIT)
    }

    /// Waits until this many bytes may be held. More than the whole budget counts as the whole budget.
    pub async fn acquire(&self, bytes: u64) -> OwnedSemaphorePermit {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.max);
        Arc::clone(&self.units)
            .acquire_many_owned(units)
            .await
            .expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_counts() {
        let round_trip = RoundTrip::default();
        assert_eq!(round_trip.shortest(), Duration::ZERO);
        for millis in [200, 180, 900] {
            round_trip.took(Duration::from_millis(millis));
        }
        assert_eq!(round_trip.shortest(), Duration::from_millis(180));
    }

    #[tokio::test(start_paused = true)]
    async fn slowing_down_halves_once_a_second_and_grows_back_slowly() {
        let limiter = Limiter::new(16);
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(limiter.acquire().await);
        }
        limiter.throttled();
        limiter.throttled();
        assert_eq!(limiter.allowed(), 8);
        held.truncate(8);
        assert_eq!(limiter.permits.available_permits(), 0, "eight permits were taken back");
        drop(held);
        assert_eq!(limiter.permits.available_permits(), 8);
        for _ in 0..8 {
            limiter.succeeded();
        }
        assert_eq!((limiter.allowed(), limiter.permits.available_permits()), (9, 9));
        for _ in 0..10 {
            tokio::time::advance(HALVE_EVERY).await;
            limiter.throttled();
        }
        assert_eq!(limiter.allowed(), MIN_REQUESTS);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_in_both_directions_do_not_wait_for_each_other() {
        let (a, b) = (Limiter::new(2), Limiter::new(2));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (a, b) = (Arc::clone(&a), Arc::clone(&b));
            tasks.spawn(async move {
                let _pair = match n % 3 {
                    0 => acquire_pair(&a, &b).await,
                    1 => acquire_pair(&b, &a).await,
                    _ => acquire_pair(&a, &a).await,
                };
                tokio::task::yield_now().await;
            });
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), all).await.expect("nobody waits forever");
    }

    #[tokio::test]
    async fn one_body_larger_than_the_budget_goes_alone() {
        let budget = ByteBudget::new(10 * UNIT);
        let all = budget.acquire(u64::MAX).await;
        assert_eq!(budget.units.available_permits(), 0);
        drop(all);
        let _one = budget.acquire(1).await;
        assert_eq!(budget.units.available_permits(), 9);
    }
}
