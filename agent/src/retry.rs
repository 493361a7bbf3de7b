//! Pure. Whether and when a failed request, or a failed copy of one object, is tried again. Knows classes only.

use std::time::Duration;

use crate::s3::Class;

/// How often something is tried in all. With the waits below that is half a minute of trouble at most.
pub const MAX_ATTEMPTS: u32 = 8;

/// Longest first wait after a failure that may pass; doubles with each further one.
pub const FIRST_WAIT: Duration = Duration::from_millis(200);

/// No wait is longer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long, in waits together, an endpoint may ask to slow down before its work is given up. S3 needs minutes to
/// partition a prefix under new load (S3 User Guide, "Best practices design patterns").
pub const MAX_THROTTLED: Duration = Duration::from_secs(300);

/// How often a key is looked at again because one of its sides changed. A key that is written all the time is brought
/// in step by a later run.
pub const MAX_LOOKS: u32 = 8;

/// What was tried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts that failed and count.
    pub failed: u32,
    /// Times in a row that the endpoint asked to slow down.
    pub throttled: u32,
    /// Time spent waiting because of that.
    pub throttled_for: Duration,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this long.
    Wait(Duration),
    /// It stays failed.
    GiveUp,
}

// === impl Tries ===

impl Tries {
    /// Notes a failure and says what to do. `random` is from 0 to 1: waits have full jitter, so that those who failed
    /// together do not come back together.
    pub fn failed(&mut self, class: Class, random: f64) -> Next {
        match class {
            Class::Throttled => {
                if self.throttled_for >= MAX_THROTTLED {
                    self.failed += 1;
                    return Next::GiveUp;
                }
                // Never none at all: a wait of zero would let a throttled endpoint be hammered without end.
                let wait = jittered(self.throttled, 0.5 + random / 2.0);
                self.throttled += 1;
                self.throttled_for += wait;
                Next::Wait(wait)
            }
            // A 404 without S3's code may be a proxy's; it proves nothing, so it may pass.
            Class::Transient | Class::Corrupt | Class::NotFound => {
                self.throttled = 0;
                self.failed += 1;
                if self.failed >= MAX_ATTEMPTS {
                    Next::GiveUp
                } else {
                    Next::Wait(jittered(self.failed - 1, random))
                }
            }
            Class::Precondition
            | Class::NotModified
            | Class::NoSuchKey
            | Class::NoSuchUpload
            | Class::Archived
            | Class::Denied
            | Class::Unsupported
            | Class::Permanent => {
                self.failed += 1;
                Next::GiveUp
            }
        }
    }
}

/// What to do when a key was found changed for the `looks`-th time, counted from 1. The first time at once: mostly
/// somebody wrote it once.
#[must_use]
pub fn changed(looks: u32, random: f64) -> Next {
    if looks >= MAX_LOOKS {
        Next::GiveUp
    } else if looks <= 1 {
        Next::Wait(Duration::ZERO)
    } else {
        Next::Wait(jittered(looks - 2, random))
    }
}

fn jittered(doublings: u32, random: f64) -> Duration {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT);
    longest.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_pass_is_tried_up_to_the_limit_and_waits_double() {
        let mut tries = Tries::default();
        let waits: Vec<_> = (0..MAX_ATTEMPTS)
            .map(|_| match tries.failed(Class::Transient, 1.0) {
                Next::Wait(wait) => wait.as_millis(),
                Next::GiveUp => 0,
            })
            .collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 0]);
        assert_eq!(tries.failed, MAX_ATTEMPTS);
    }

    #[test]
    fn what_will_not_pass_is_tried_once() {
        for class in [Class::Denied, Class::Permanent, Class::Archived, Class::Unsupported] {
            assert_eq!(Tries::default().failed(class, 0.5), Next::GiveUp, "{class:?}");
        }
    }

    #[test]
    fn a_change_is_looked_at_at_once_and_then_more_and_more_patiently() {
        let waits: Vec<_> = (1..=MAX_LOOKS)
            .map(|looks| match changed(looks, 1.0) {
                Next::Wait(wait) => Some(wait.as_millis()),
                Next::GiveUp => None,
            })
            .collect();
        let expected = [0, 200, 400, 800, 1600, 3200, 6400].map(Some);
        assert_eq!(waits, [&expected[..], &[None]].concat());
    }

    proptest! {
        #[test]
        fn throttling_costs_no_attempt_and_ends_in_time(random in 0.0..=1.0_f64) {
            let mut tries = Tries::default();
            let mut waited = Duration::ZERO;
            while let Next::Wait(wait) = tries.failed(Class::Throttled, random) {
                prop_assert_eq!(tries.failed, 0);
                prop_assert!(wait > Duration::ZERO && wait <= LONGEST_WAIT);
                waited += wait;
            }
            prop_assert!(waited >= MAX_THROTTLED && waited < MAX_THROTTLED + LONGEST_WAIT);
        }
    }
}
