//! Pure. When to dial the server again: at a random moment of a window that doubles, the rest of the window being waited
//! out, so that agents that lost the server together do not come back together.

use std::time::Duration;

/// The first window: after a flap most agents are back within a second.
pub const FIRST_WINDOW: Duration = Duration::from_secs(1);

/// The largest window. Between two attempts pass at most two windows (the first at the start of its window, the second
/// at the end of the next) or one hanging dial (15 s) and one window: both are below the 30 s in which a server that
/// returns has its agents back.
pub const MAX_WINDOW: Duration = Duration::from_secs(8);

/// Which window the next attempt falls into.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    window: Duration,
}

/// A window and the moment in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From the start of the window to the attempt.
    pub wait: Duration,
    /// From the start of this window to the start of the next.
    pub window: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { window: FIRST_WINDOW }
    }
}

impl Backoff {
    /// The next turn; `random` is uniform in `[0, 1)`.
    pub fn turn(&mut self, random: f64) -> Turn {
        let window = self.window;
        self.window = (window * 2).min(MAX_WINDOW);
        Turn { wait: window.mul_f64(random.clamp(0.0, 1.0)), window }
    }

    /// A session went well.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A moment between two times; `random` is uniform in `[0, 1)`.
#[must_use]
pub fn between(least: Duration, most: Duration, random: f64) -> Duration {
    least + most.saturating_sub(least).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_double_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        let windows: Vec<_> = (0..6).map(|_| backoff.turn(0.5).window.as_secs()).collect();
        assert_eq!(windows, [1, 2, 4, 8, 8, 8]);
        backoff.reset();
        assert_eq!(backoff.turn(0.25), Turn { wait: FIRST_WINDOW / 4, window: FIRST_WINDOW });
    }

    proptest! {
        #[test]
        fn attempts_stay_in_their_windows_and_never_further_apart_than_promised(
            randoms in prop::collection::vec(0.0_f64..1.0, 2..40),
        ) {
            let mut backoff = Backoff::default();
            let (mut start, mut last) = (Duration::ZERO, Duration::ZERO);
            for random in randoms {
                let turn = backoff.turn(random);
                prop_assert!(turn.wait <= turn.window && turn.window <= MAX_WINDOW);
                let attempt = start + turn.wait;
                prop_assert!(attempt >= last && attempt - last <= MAX_WINDOW * 2);
                (start, last) = (start + turn.window, attempt);
            }
        }

        #[test]
        fn a_moment_lies_between_its_bounds(least in 0_u64..100, more in 0_u64..100, random in 0.0_f64..1.0) {
            let (least, most) = (Duration::from_secs(least), Duration::from_secs(least + more));
            let moment = between(least, most, random);
            prop_assert!(least <= moment && moment <= most);
        }
    }
}
