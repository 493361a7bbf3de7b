//! Pure. How often something happens: a count in which what is older counts for less, so that two numbers a row tell it
//! at any time, also after a restart.

use s3sync_proto::model::Timestamp;

/// After this time something counts for a bit more than a third.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(60);

/// How often something happens. At a steady rate `amount` is what happens within a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// What counts, as of `at`.
    pub amount: f64,
    /// When something was added last.
    pub at: Timestamp,
}

impl Pace {
    /// Some more of it happened.
    #[must_use]
    pub fn plus(self, more: u64, now: Timestamp) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "it is rounded when it is told")]
        let more = more as f64;
        // A clock that was set back makes nothing older, and nothing newer.
        Self { amount: self.amount_at(now) + more, at: self.at.max(now) }
    }

    /// About how many there are in a minute now.
    #[must_use]
    pub fn per_minute(self, now: Timestamp) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, saturating"
        )]
        let rounded = self.amount_at(now).round() as u64;
        rounded
    }

    fn amount_at(self, now: Timestamp) -> f64 {
        let age = now.since(self.at).as_secs_f64();
        self.amount * (-age / WINDOW.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + millis * 1_000)
    }

    #[test]
    fn a_steady_rate_is_told_and_forgotten() {
        let mut pace = Pace::default();
        for second in 0..600 {
            for part in 0..4 {
                pace = pace.plus(50, at(second * 1_000 + part * 250));
            }
        }
        let told = pace.per_minute(at(600_000));
        assert!((11_800..12_200).contains(&told), "200 a second are {told} a minute");
        assert_eq!(pace.per_minute(at(600_000 + 15 * 60_000)), 0);
    }

    #[test]
    fn what_happened_just_now_is_told_whole() {
        let pace = Pace::default().plus(7, at(0));
        assert_eq!(pace.per_minute(at(0)), 7);
        assert_eq!(pace.per_minute(at(60_000)), 3);
    }

    #[test]
    fn a_clock_that_is_set_back_does_no_harm() {
        let pace = Pace::default().plus(10, at(0)).plus(10, at(-3_600_000));
        assert_eq!(pace.per_minute(at(-3_600_000)), 20);
        assert_eq!(pace.per_minute(at(0)), 20);
    }
}
