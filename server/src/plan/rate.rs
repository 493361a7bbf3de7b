//! Pure. How many deletes by events may pass in an hour without a person.

use s3sync_proto::model::DeletePolicy;

use super::guard::DEFAULT_MAX_PERCENT;

/// Most keys that events let delete at one destination within an hour, where the job does not say.
pub const DEFAULT_MAX_PER_HOUR: u64 = 1_000;

/// What is known of one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Keys it had after the last scan; `None` when there was none.
    pub keys: Option<u64>,
    /// Deletes by events that passed within the last hour.
    pub passed: u64,
    /// Deletes that are to be decided on.
    pub waiting: u64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rate {
    /// All may be deleted.
    Passes,
    /// So many may be deleted; a person is asked about the rest and about all that follows, and why.
    Stops {
        /// How many may.
        most: u64,
        /// For a person.
        reason: String,
    },
}

/// Decides over what waits. Whatever the limits are, no more than half of the keys go in an hour: a bucket that is wiped
/// is told of key by key, and is never mirrored unasked.
#[must_use]
pub fn rate(policy: &DeletePolicy, flow: Flow) -> Rate {
    let Flow { keys, passed, waiting } = flow;
    let max_count = policy.max_per_hour.unwrap_or(DEFAULT_MAX_PER_HOUR);
    let max_percent = policy.max_percent.unwrap_or(DEFAULT_MAX_PERCENT);
    let Some(keys) = keys else {
        let reason = "before the first scan it is not known how many keys there are".to_owned();
        return Rate::Stops { most: 0, reason };
    };
    let of_percent = part(keys, max_percent);
    let limit = max_count.min(of_percent).min(keys / 2);
    if passed.saturating_add(waiting) <= limit {
        return Rate::Passes;
    }
    let hour = format!("of {keys} keys within an hour");
    let reason = if limit == max_count {
        format!("more than max_per_hour allows, {max_count} {hour}")
    } else if limit == of_percent {
        format!("more than max_percent allows, {max_percent} % {hour}")
    } else {
        format!("more than half {hour}")
    };
    Rate::Stops { most: limit.saturating_sub(passed), reason }
}

/// So many percent of some keys, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "percentages are 0 to 100, so it is no more than there are"
)]
fn part(keys: u64, percent: f64) -> u64 {
    (keys as f64 * percent / 100.0) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s3sync_proto::model::DeleteMode;

    use super::*;

    fn policy(max_per_hour: Option<u64>, max_percent: Option<f64>) -> DeletePolicy {
        DeletePolicy {
            mode: DeleteMode::Mirror,
            max_per_hour,
            max_percent,
            ..DeletePolicy::default()
        }
    }

    fn decided(policy: &DeletePolicy, keys: u64, passed: u64, waiting: u64) -> Option<u64> {
        match rate(policy, Flow { keys: Some(keys), passed, waiting }) {
            Rate::Passes => None,
            Rate::Stops { most, reason } => {
                assert!(!reason.is_empty());
                Some(most)
            }
        }
    }

    #[test]
    fn the_defaults_hold_to_the_key() {
        let defaults = policy(None, None);
        // The count is less than the percentage.
        assert_eq!(decided(&defaults, 1_000_000, 0, 1_000), None);
        assert_eq!(decided(&defaults, 1_000_000, 0, 1_001), Some(1_000));
        assert_eq!(decided(&defaults, 1_000_000, 999, 1), None);
        assert_eq!(decided(&defaults, 1_000_000, 999, 2), Some(1));
        assert_eq!(decided(&defaults, 1_000_000, 1_000, 1), Some(0));
        // And the other way around.
        assert_eq!(decided(&defaults, 9_990, 0, 999), None);
        assert_eq!(decided(&defaults, 9_990, 0, 1_000), Some(999));
        assert_eq!(decided(&defaults, 10, 0, 1), None);
        assert_eq!(decided(&defaults, 9, 0, 1), Some(0));
    }

    #[test]
    fn what_the_job_says_counts_but_for_half_of_all() {
        let told = |policy: &DeletePolicy, waiting| match rate(
            policy,
            Flow { keys: Some(1_000), passed: 0, waiting },
        ) {
            Rate::Passes => String::new(),
            Rate::Stops { reason, .. } => reason,
        };
        let none = policy(Some(0), None);
        assert_eq!(told(&none, 1), "more than max_per_hour allows, 0 of 1000 keys within an hour");
        let percent = policy(None, Some(2.5));
        assert_eq!(told(&percent, 25), "");
        assert_eq!(
            told(&percent, 26),
            "more than max_percent allows, 2.5 % of 1000 keys within an hour"
        );
        let all = policy(Some(u64::MAX), Some(100.0));
        assert_eq!(told(&all, 500), "");
        assert_eq!(told(&all, 501), "more than half of 1000 keys within an hour");
        assert_eq!(decided(&all, 1, 0, 1), Some(0), "the last key never goes unasked");
    }

    #[test]
    fn without_a_scan_a_person_is_asked() {
        let all = policy(Some(u64::MAX), Some(100.0));
        let flow = Flow { keys: None, passed: 0, waiting: 1 };
        assert!(matches!(rate(&all, flow), Rate::Stops { most: 0, .. }));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_more_than_each_limit_in_an_hour(
            keys in 0..100_000_u64,
            passed in 0..2_000_u64,
            waiting in 0..3_000_u64,
            count in proptest::option::of(0..3_000_u64),
            percent in proptest::option::of(0.0..=100.0_f64),
        ) {
            let policy = policy(count, percent);
            let more = decided(&policy, keys, passed, waiting).unwrap_or(waiting);
            prop_assert!(more <= waiting);
            let total = passed + more;
            let limits = [
                count.unwrap_or(DEFAULT_MAX_PER_HOUR) as f64,
                keys as f64 * percent.unwrap_or(DEFAULT_MAX_PERCENT) / 100.0,
                keys as f64 / 2.0,
            ];
            prop_assert!(more == 0 || limits.iter().all(|limit| total as f64 <= *limit));
        }
    }
}
