//! Pure. Whether what a run counted may be deleted, or a person is asked first.

use s3sync_proto::model::{DeleteMode, DeletePolicy};

/// Most keys that are deleted at one destination without an approval, where the job does not say.
pub const DEFAULT_MAX_COUNT: u64 = 10_000;

/// Most of a destination's keys, in percent, that are deleted without an approval, where the job does not say.
pub const DEFAULT_MAX_PERCENT: f64 = 10.0;

/// How often a run counts anew by itself when there is more to delete than was passed. Then it asks: a source that loses
/// keys faster than they are counted is one that somebody should look at.
pub const MAX_RECOUNTS: u32 = 3;

/// What was counted at one destination. The whole source was listed without error, or nobody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Keys of the source, those included that the filter leaves out.
    pub source: u64,
    /// Keys of the destination, of those the filter's patterns let through.
    pub listed: u64,
    /// Keys to delete now.
    pub extra: u64,
    /// Keys that this run has deleted already.
    pub deleted: u64,
}

/// What this run was allowed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// A person approved a count, and then there was more.
    pub approved: bool,
    /// How often it counted anew.
    pub recounts: u32,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// There is nothing to delete.
    Nothing,
    /// It may be deleted.
    Passed,
    /// A person is asked: why, for each destination; empty where it may be deleted.
    Asks(Vec<String>),
}

/// Decides over all destinations of a run together: all wait for the one that asks.
#[must_use]
pub fn guard(policy: &DeletePolicy, counted: &[Counted], before: Before) -> Guard {
    if policy.mode == DeleteMode::Keep || counted.iter().all(|one| one.extra == 0) {
        return Guard::Nothing;
    }
    let reasons: Vec<String> = counted.iter().map(|one| reason(policy, one, before)).collect();
    if reasons.iter().all(String::is_empty) { Guard::Passed } else { Guard::Asks(reasons) }
}

/// Why a destination needs an approval; empty when it does not.
fn reason(policy: &DeletePolicy, counted: &Counted, before: Before) -> String {
    let Counted { source, listed, extra, deleted } = *counted;
    let total = extra.saturating_add(deleted);
    let listed = listed.max(total);
    let max_count = policy.max_count.unwrap_or(DEFAULT_MAX_COUNT);
    let max_percent = policy.max_percent.unwrap_or(DEFAULT_MAX_PERCENT);
    if extra == 0 {
        String::new()
    } else if source == 0 {
        "the source is empty".to_owned()
    } else if total >= listed {
        format!("it would be all {listed} keys there are")
    } else if before.approved {
        "there is more to delete than was approved".to_owned()
    } else if before.recounts >= MAX_RECOUNTS {
        format!("there was more to delete than was counted, {} times", before.recounts)
    } else if total > max_count {
        format!("{total} keys are more than max_count allows, {max_count}")
    } else if exceeds(total, listed, max_percent) {
        let percent = total as f64 * 100.0 / listed as f64;
        format!(
            "{total} of {listed} keys are {percent:.1} %, more than max_percent allows, {max_percent} %"
        )
    } else {
        String::new()
    }
}

/// Whether a part is more than so many percent of a whole.
fn exceeds(part: u64, whole: u64, percent: f64) -> bool {
    part as f64 * 100.0 > percent * whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror() -> DeletePolicy {
        DeletePolicy { mode: DeleteMode::Mirror, ..DeletePolicy::default() }
    }

    fn counted(extra: u64, listed: u64) -> Counted {
        Counted { source: 1_000_000, listed, extra, deleted: 0 }
    }

    fn asks(policy: &DeletePolicy, one: Counted) -> Option<String> {
        match guard(policy, &[one], Before::default()) {
            Guard::Asks(reasons) => Some(reasons.concat()),
            Guard::Passed => None,
            Guard::Nothing => panic!("there is something to delete"),
        }
    }

    #[test]
    fn limits_hold_to_the_key() {
        let policy = DeletePolicy { max_count: Some(50), max_percent: Some(100.0), ..mirror() };
        assert_eq!(asks(&policy, counted(50, 1_000)), None);
        let reason = asks(&policy, counted(51, 1_000)).unwrap();
        assert_eq!(reason, "51 keys are more than max_count allows, 50");
        let policy = DeletePolicy { max_percent: Some(2.5), ..mirror() };
        assert_eq!(asks(&policy, counted(25, 1_000)), None);
        let reason = asks(&policy, counted(26, 1_000)).unwrap();
        assert_eq!(reason, "26 of 1000 keys are 2.6 %, more than max_percent allows, 2.5 %");
        assert_eq!(asks(&mirror(), counted(10_000, 100_000)), None, "both defaults, just");
        assert!(asks(&mirror(), counted(10_001, 1_000_000)).is_some());
        assert!(asks(&mirror(), counted(100, 999)).is_some());
    }

    #[test]
    fn a_bound_of_zero_asks_always() {
        for policy in [
            DeletePolicy { max_count: Some(0), ..mirror() },
            DeletePolicy { max_percent: Some(0.0), ..mirror() },
        ] {
            assert!(asks(&policy, counted(1, 1_000_000)).is_some());
        }
    }

    #[test]
    fn a_wipe_and_an_empty_source_ask_whatever_the_limits_are() {
        let policy =
            DeletePolicy { max_count: Some(u64::MAX), max_percent: Some(100.0), ..mirror() };
        assert_eq!(asks(&policy, counted(9, 10)), None);
        assert_eq!(asks(&policy, counted(10, 10)).unwrap(), "it would be all 10 keys there are");
        assert!(asks(&policy, counted(1, 1)).is_some());
        assert!(asks(&policy, counted(7, 0)).is_some(), "counts that make no sense");
        let wiped_in_two = Counted { deleted: 4, ..counted(6, 10) };
        assert!(asks(&policy, wiped_in_two).is_some());
        let empty = Counted { source: 0, ..counted(1, 100) };
        assert_eq!(asks(&policy, empty).unwrap(), "the source is empty");
    }

    #[test]
    fn what_was_deleted_before_counts_towards_the_limits() {
        let policy = DeletePolicy { max_count: Some(10), max_percent: Some(100.0), ..mirror() };
        assert_eq!(asks(&policy, Counted { deleted: 6, ..counted(4, 100) }), None);
        assert!(asks(&policy, Counted { deleted: 6, ..counted(5, 100) }).is_some());
    }

    #[test]
    fn more_than_was_approved_or_counted_too_often_asks() {
        let one = [counted(1, 1_000)];
        let after = |approved, recounts| guard(&mirror(), &one, Before { approved, recounts });
        assert_eq!(after(false, MAX_RECOUNTS - 1), Guard::Passed);
        assert!(matches!(after(false, MAX_RECOUNTS), Guard::Asks(_)));
        assert!(matches!(after(true, 1), Guard::Asks(_)));
    }

    #[test]
    fn one_destination_holds_all_and_nothing_is_nothing() {
        let all = [counted(1, 1_000), counted(0, 0), counted(500, 1_000)];
        let Guard::Asks(reasons) = guard(&mirror(), &all, Before::default()) else {
            panic!("half of a destination passed")
        };
        let asks: Vec<bool> = reasons.iter().map(|reason| !reason.is_empty()).collect();
        assert_eq!(asks, [false, false, true]);
        let nothing = [Counted { source: 0, ..counted(0, 0) }];
        assert_eq!(guard(&mirror(), &nothing, Before::default()), Guard::Nothing);
        assert_eq!(guard(&DeletePolicy::default(), &all, Before::default()), Guard::Nothing);
    }
}
