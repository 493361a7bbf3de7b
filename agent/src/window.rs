//! Pure. Until when a commit at a destination may begin: `write_window` after *sending* a state that was answered. The
//! server counts a session's time from the receipt of that state, which is later, so it gives the work to nobody else
//! before this window is over. Not here: waiting for it to open (`session::gate`).

use std::time::Duration;

use s3sync_proto::model::Timestamp;

/// Largest difference between the progress of the wall clock and of the monotonic clock that counts as both being
/// right. The monotonic clock stands still while the machine is suspended or a snapshot of it is restored, the wall
/// clock does not. Smaller differences are corrections of NTP; they are far below the margin between the write window
/// (35 s) and the expiry of a session (60 s).
pub const MAX_CLOCK_JUMP: Duration = Duration::from_secs(5);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since some point in the past; never goes back, stands still in suspend.
    pub monotonic: Duration,
    /// What people call the time; may jump.
    pub wall: Timestamp,
}

/// The write window of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// When the state that was answered was sent.
    sent: Reading,
    /// Monotonic time from which no commit may begin.
    until: Duration,
}

impl Window {
    /// The state sent at `sent` was answered. An answer that grants less time than an earlier one changes nothing,
    /// unless the window was closed in between.
    pub fn extend(&mut self, sent: Reading, write_window: Duration) {
        let until = sent.monotonic.saturating_add(write_window);
        if self.open.is_none_or(|open| open.sent.monotonic <= sent.monotonic) {
            self.open = Some(Open { sent, until });
        }
    }

    /// No commit may begin until the next answer.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Whether a commit may begin now. Closes for good when a clock jumped, so that a clock that is set back
    /// afterwards does not open it again.
    pub fn is_open(&mut self, now: Reading) -> bool {
        let Some(open) = self.open else { return false };
        if now.monotonic >= open.until || jumped(open.sent, now) {
            self.open = None;
        }
        self.open.is_some()
    }
}

fn jumped(from: Reading, to: Reading) -> bool {
    let wall = i128::from(to.wall.as_micros()) - i128::from(from.wall.as_micros());
    let monotonic = to.monotonic.saturating_sub(from.monotonic).as_micros();
    let monotonic = i128::try_from(monotonic).unwrap_or(i128::MAX);
    (wall - monotonic).unsigned_abs() > MAX_CLOCK_JUMP.as_micros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(35);

    fn at(seconds: u64) -> Reading {
        skewed(seconds, 0)
    }

    fn skewed(seconds: u64, ahead_millis: i64) -> Reading {
        let wall = i64::try_from(seconds).unwrap() * 1_000_000 + ahead_millis * 1_000;
        Reading { monotonic: Duration::from_secs(seconds), wall: Timestamp::from_micros(wall) }
    }

    #[test]
    fn it_is_open_from_the_answer_until_just_before_its_end() {
        let mut window = Window::default();
        assert!(!window.is_open(at(0)), "closed before the first answer");
        window.extend(at(100), WINDOW);
        assert!(window.is_open(at(100)));
        assert!(window.is_open(at(134)));
        assert!(!window.is_open(at(135)), "the end itself is outside");
    }

    #[test]
    fn time_counts_from_sending_not_from_the_answer() {
        let mut window = Window::default();
        window.extend(at(100), WINDOW);
        assert!(
            !window.is_open(at(140)),
            "answered 40 s after it was sent: too late for any commit"
        );
    }

    #[test]
    fn an_answer_to_an_older_state_does_not_shorten_it() {
        let mut window = Window::default();
        window.extend(at(110), WINDOW);
        window.extend(at(100), WINDOW);
        assert!(window.is_open(at(140)));
    }

    #[test]
    fn a_newer_answer_may_shorten_it() {
        let mut window = Window::default();
        window.extend(at(100), WINDOW);
        window.extend(at(101), Duration::from_secs(1));
        assert!(!window.is_open(at(102)));
    }

    #[test]
    fn a_jump_of_either_clock_closes_it_until_a_state_sent_afterwards_is_answered() {
        for ahead in [5_001, 3_600_000, -5_001, -3_600_000] {
            let mut window = Window::default();
            window.extend(at(100), WINDOW);
            assert!(!window.is_open(skewed(101, ahead)), "{ahead} ms");
            assert!(!window.is_open(at(102)), "set back: still closed");
            window.extend(at(100), WINDOW);
            assert!(!window.is_open(skewed(103, ahead)), "a state sent before the jump");
            window.extend(skewed(104, ahead), WINDOW);
            assert!(window.is_open(skewed(105, ahead)), "a state sent after the jump");
        }
        for ahead in [5_000, -5_000] {
            let mut window = Window::default();
            window.extend(at(100), WINDOW);
            assert!(window.is_open(skewed(101, ahead)), "the limit itself is no jump");
        }
    }

    proptest! {
        /// Invariant I2: whatever the order of answers and questions, an open window means that some state sent less
        /// than a window ago was answered.
        #[test]
        fn never_open_without_a_fresh_answer(steps in prop::collection::vec((0_u64..20, any::<bool>()), 0..50)) {
            let (mut window, mut now, mut newest) = (Window::default(), 0, None);
            for (passed, answered) in steps {
                now += passed;
                if answered {
                    let sent = now - passed.min(now);
                    window.extend(at(sent), WINDOW);
                    newest = newest.max(Some(sent));
                }
                let fresh = newest.is_some_and(|sent| now < sent + WINDOW.as_secs());
                prop_assert_eq!(window.is_open(at(now)), fresh);
            }
        }
    }
}
