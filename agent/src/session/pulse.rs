//! The heartbeat of one session: when the next state is due, which ones are unanswered, and when the connection counts as
//! half open.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::window::Reading;

/// A server that asks for more states gets this many; each costs it a transaction.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// A server that asks for fewer gets one this often, so that a half-open connection is noticed within 30 s.
const MAX_INTERVAL: Duration = Duration::from_secs(12);

/// An early state waits this long for further changes.
const COALESCE: Duration = Duration::from_millis(100);

/// Least time above two heartbeats that a server has for its answer, so that a stall of a busy machine is not taken for
/// a broken connection when the heartbeat is short.
const MIN_MARGIN: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Pulse {
    interval: Duration,
    /// Number of the newest state; Hello is 0.
    sequence: u64,
    sent: Instant,
    unanswered: VecDeque<(u64, Reading)>,
    /// When the newest lease came.
    answered: Instant,
    last_lease: u64,
    window: Duration,
}

impl Pulse {
    /// Hello was sent.
    pub(crate) fn new(hello: Reading) -> Self {
        let now = Instant::now();
        Self {
            interval: MIN_INTERVAL,
            sequence: 0,
            sent: now,
            unanswered: VecDeque::from([(0, hello)]),
            answered: now,
            last_lease: 0,
            window: Duration::ZERO,
        }
    }

    /// A state is sent now; its number.
    pub(crate) fn beat(&mut self, now: Reading) -> u64 {
        self.sequence += 1;
        self.sent = Instant::now();
        self.unanswered.push_back((self.sequence, now));
        self.sequence
    }

    /// A lease came; when the state it answers was sent. `None` when that state was answered before.
    pub(crate) fn answered(&mut self, sequence: u64, interval: Duration) -> Option<Reading> {
        self.interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        let index = self.unanswered.iter().position(|(number, _)| *number == sequence)?;
        let (_, sent) = self.unanswered.drain(..=index).next_back()?;
        self.answered = Instant::now();
        self.last_lease = sequence;
        Some(sent)
    }

    /// The write window of the newest lease.
    pub(crate) const fn window(&self) -> Duration {
        self.window
    }

    pub(crate) const fn keep_window(&mut self, window: Duration) {
        self.window = window;
    }

    pub(crate) const fn last_lease(&self) -> u64 {
        self.last_lease
    }

    /// When the next state is due. One that tells a change goes early, but only when the one before was answered: the
    /// server's answers set the pace, and at most a few are under way.
    pub(crate) fn due(&self, changed: bool) -> Instant {
        let wait = if changed && self.unanswered.is_empty() { COALESCE } else { self.interval };
        self.sent + wait.min(self.interval)
    }

    /// When the connection counts as half open: two heartbeats and a margin without a lease.
    pub(crate) fn dead(&self) -> Instant {
        self.answered + self.interval * 2 + (self.interval / 2).max(MIN_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use s3sync_proto::model::Timestamp;

    use super::*;

    fn reading(seconds: u64) -> Reading {
        Reading { monotonic: Duration::from_secs(seconds), wall: Timestamp::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_answers_all_states_before_it_and_counts_from_its_own() {
        let mut pulse = Pulse::new(reading(0));
        for n in 1..=3 {
            assert_eq!(pulse.beat(reading(n)), n);
        }
        let interval = Duration::from_secs(10);
        assert_eq!(pulse.answered(2, interval), Some(reading(2)));
        assert_eq!(pulse.answered(1, interval), None, "late");
        assert_eq!(pulse.answered(2, interval), None, "twice");
        assert_eq!(pulse.answered(9, interval), None, "never sent");
        assert_eq!(pulse.last_lease(), 2);
        assert_eq!(pulse.answered(3, interval), Some(reading(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_server_asks_for_silence_is_noticed_within_thirty_seconds() {
        for seconds in [0, 1, 10, 12, 3600] {
            let mut pulse = Pulse::new(reading(0));
            pulse.answered(0, Duration::from_secs(seconds));
            let now = Instant::now();
            assert!(pulse.dead() - now <= Duration::from_secs(30), "{seconds}");
            assert!(pulse.dead() - now >= pulse.interval * 2 + MIN_MARGIN, "{seconds}");
            assert!(pulse.due(false) > now, "no busy loop at {seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_early_but_one_at_a_time() {
        let mut pulse = Pulse::new(reading(0));
        let interval = Duration::from_secs(10);
        pulse.answered(0, interval);
        assert_eq!(pulse.due(true) - Instant::now(), COALESCE);
        pulse.beat(reading(1));
        assert_eq!(pulse.due(true) - Instant::now(), interval, "the one before is unanswered");
    }
}
