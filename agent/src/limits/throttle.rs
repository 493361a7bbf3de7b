//! What a run may use of its job's limits at this agent: so many requests and bytes a second, from the first moment on and
//! however often that changes. Waited for before a permit of an endpoint is asked for, so that a job with limits does not
//! keep others from theirs.
//!
//! Each request is counted once, whether or not its permit was waited for here: what was not is made up for by whoever
//! comes next. Bytes are counted by the object or part, before it is read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use s3sync_proto::model::WaitReason;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Limiter, Permit, acquire_pair};
use crate::meter::Meter;
use crate::s3::Class;

/// What is not used is kept for this long.
const BURST: Duration = Duration::from_millis(100);

/// Waits are at least this long: the clock is no finer.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// The way to an endpoint for the work of one run.
pub(crate) struct Access {
    limiter: Arc<Limiter>,
    throttle: Option<Arc<Throttle>>,
    meter: Arc<Meter>,
}

/// What a run may use. Nothing before it is told.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    requests: Bucket,
    bytes: Bucket,
}

#[derive(Debug)]
struct Bucket {
    /// Who waits first is let through first.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// What a second brings; `None`: there is no bound.
    rate: Option<f64>,
    /// The rate holds until then; nothing comes after that.
    until: Instant,
    balance: f64,
    /// Let through, and not counted as used yet.
    advance: u64,
    at: Instant,
}

// === impl Access ===

impl Access {
    /// What is waited for is counted by `meter`.
    pub(crate) const fn new(
        limiter: Arc<Limiter>,
        throttle: Option<Arc<Throttle>>,
        meter: Arc<Meter>,
    ) -> Self {
        Self { limiter, throttle, meter }
    }

    /// Waits until a request may be made.
    pub(crate) async fn acquire(&self) -> Permit {
        self.admit().await;
        self.meter.wait(WaitReason::RequestSlots, self.limiter.acquire()).await
    }

    /// Waits until so many bytes may be written.
    pub(crate) async fn admit_bytes(&self, bytes: u64) {
        if let Some(throttle) = &self.throttle {
            let admitted = throttle.bytes.admit(bytes, 0);
            self.meter.wait(WaitReason::BandwidthLimit, admitted).await;
        }
    }

    async fn admit(&self) {
        if let Some(throttle) = &self.throttle {
            let admitted = throttle.requests.admit(1, 1);
            self.meter.wait(WaitReason::RequestLimit, admitted).await;
        }
    }

    /// A request failed.
    pub(crate) fn failed(&self, class: Class) {
        self.limiter.failed(class);
    }

    /// Waits before something is tried again.
    pub(crate) async fn again(&self, wait: Duration) {
        self.limiter.again(wait).await;
    }

    /// A request is made.
    pub(crate) fn spent(&self) {
        if let Some(throttle) = &self.throttle {
            throttle.requests.spent();
        }
    }

    pub(crate) fn succeeded(&self) {
        self.limiter.succeeded();
    }
}

/// Waits until a request to each of two endpoints may be made that will be in flight together.
pub(crate) async fn acquire_both(a: &Access, b: &Access) -> [Permit; 2] {
    a.admit().await;
    a.meter.wait(WaitReason::RequestSlots, acquire_pair(&a.limiter, &b.limiter)).await
}

// === impl Throttle ===

impl Throttle {
    /// Thousandths a second, until then; `None`: there is no bound.
    pub(crate) fn set(&self, requests: Option<u64>, bytes: Option<u64>, until: Instant) {
        self.requests.set(requests, until);
        self.bytes.set(bytes, until);
    }

    /// The same for longer.
    pub(crate) fn keep(&self, until: Instant) {
        self.requests.change(|state| state.until = until);
        self.bytes.change(|state| state.until = until);
    }

    /// Nothing from now on.
    pub(crate) fn stop(&self) {
        self.set(Some(0), Some(0), Instant::now());
    }
}

// === impl Bucket ===

impl Default for Bucket {
    fn default() -> Self {
        let now = Instant::now();
        let state = State { rate: Some(0.0), until: now, balance: 0.0, advance: 0, at: now };
        Self {
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
        }
    }
}

impl Bucket {
    #[expect(clippy::cast_precision_loss, reason = "a rate is no more exact than a clock")]
    fn set(&self, thousandths: Option<u64>, until: Instant) {
        self.change(|state| {
            state.rate = thousandths.map(|rate| rate as f64 / 1000.0);
            state.until = until;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        state.refill(Instant::now());
        change(&mut state);
        drop(state);
        self.changed.send_replace(());
    }

    async fn admit(&self, cost: u64, advance: u64) {
        let _turn = self.turn.lock().await;
        let mut changed = self.changed.subscribe();
        loop {
            let next = self.state().take(cost, advance);
            match next {
                Next::Now => return,
                // The sender lives as long as the bucket.
                Next::Changed => drop(changed.changed().await),
                Next::After(wait) => {
                    tokio::select! {
                        biased;
                        _ = changed.changed() => {}
                        () = sleep(wait) => {}
                    }
                }
            }
        }
    }

    fn spent(&self) {
        let mut state = self.state();
        if state.advance > 0 {
            state.advance -= 1;
        } else if state.rate.is_some() {
            state.refill(Instant::now());
            state.balance -= 1.0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to go on.
enum Next {
    Now,
    After(Duration),
    /// Not before something else is told.
    Changed,
}

impl State {
    /// Takes so much if there is anything; the rest is owed.
    #[expect(clippy::cast_precision_loss, reason = "a body is far below 2^52 bytes")]
    fn take(&mut self, cost: u64, advance: u64) -> Next {
        let now = Instant::now();
        self.refill(now);
        let Some(rate) = self.rate else {
            self.advance += advance;
            return Next::Now;
        };
        if now >= self.until || rate <= 0.0 {
            return Next::Changed;
        }
        if self.balance >= 0.0 {
            self.balance -= cost as f64;
            self.advance += advance;
            return Next::Now;
        }
        let rest = self.until.saturating_duration_since(now).max(LEAST_WAIT);
        let wait = Duration::try_from_secs_f64(-self.balance / rate).unwrap_or(Duration::MAX);
        Next::After(wait.clamp(LEAST_WAIT, rest))
    }

    fn refill(&mut self, now: Instant) {
        let from = self.at;
        self.at = now;
        let Some(rate) = self.rate else {
            self.balance = 0.0;
            return;
        };
        let brought = rate * now.min(self.until).saturating_duration_since(from).as_secs_f64();
        let most = (rate * BURST.as_secs_f64()).max(self.balance);
        self.balance = (self.balance + brought).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn access(requests: Option<u64>, bytes: Option<u64>) -> (Arc<Throttle>, Access) {
        let throttle = Arc::new(Throttle::default());
        throttle.set(requests, bytes, Instant::now() + LONG);
        (Arc::clone(&throttle), Access::new(Limiter::new(64), Some(throttle), Arc::default()))
    }

    /// How many requests are made in this time by many who make one after the other.
    async fn made_in(access: &Arc<Access>, time: Duration) -> u64 {
        let mut tasks = tokio::task::JoinSet::new();
        let until = Instant::now() + time;
        for _ in 0..50 {
            let access = Arc::clone(access);
            tasks.spawn(async move {
                let mut made = 0;
                // Who may at once may also after its time.
                while Instant::now() < until
                    && tokio::time::timeout_at(until, access.acquire()).await.is_ok()
                {
                    access.spent();
                    made += 1;
                    sleep(Duration::from_millis(20)).await;
                }
                made
            });
        }
        tasks.join_all().await.into_iter().sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_and_follows_what_is_told() {
        let (throttle, access) = access(Some(100_000), None);
        let access = Arc::new(access);
        let made = made_in(&access, Duration::from_secs(10)).await;
        assert!((990..=1_012).contains(&made), "{made}");
        throttle.set(Some(2_500), None, Instant::now() + LONG);
        let made = made_in(&access, Duration::from_secs(10)).await;
        assert!((24..=27).contains(&made), "{made}");
        throttle.set(None, None, Instant::now() + LONG);
        assert!(made_in(&access, Duration::from_secs(1)).await > 1_000, "no bound");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_did_not_wait_are_made_up_for() {
        let (_, access) = access(Some(100_000), None);
        let began = Instant::now();
        for _ in 0..100 {
            drop(access.acquire().await);
            for _ in 0..3 {
                access.spent();
            }
        }
        let took = began.elapsed().as_secs_f64();
        assert!((2.9..=3.2).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_also_those_of_one_large_object() {
        let (_, access) = access(None, Some(1_000_000_000));
        let began = Instant::now();
        for size in [10_000_000, 0, 500_000, 500_000, 1] {
            access.admit_bytes(size).await;
        }
        let took = began.elapsed().as_secs_f64();
        assert!((10.9..=11.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_used_before_it_is_told_nor_after_its_time() {
        let throttle = Arc::new(Throttle::default());
        let access =
            Arc::new(Access::new(Limiter::new(64), Some(Arc::clone(&throttle)), Arc::default()));
        assert_eq!(made_in(&access, LONG).await, 0);
        throttle.set(Some(10_000), None, Instant::now() + Duration::from_secs(5));
        let made = made_in(&access, LONG).await;
        assert!((45..=52).contains(&made), "{made}");
        throttle.keep(Instant::now() + Duration::from_secs(5));
        let made = made_in(&access, LONG).await;
        assert!((45..=52).contains(&made), "{made}");
        throttle.stop();
        assert_eq!(made_in(&access, LONG).await, 0);
    }
}
