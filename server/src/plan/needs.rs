//! Pure. What an agent must know beyond the protocol to do the work of a job as it is meant.

use s3sync_proto::model::{
    CompareMode, DeleteMode, FEATURE_COMPARE, FEATURE_DELETES, FEATURE_LIMITS, JobSpec, Limits,
};

/// Names of the features that work of a job needs. An agent without one of them gets none of it.
#[must_use]
pub fn needs(spec: &JobSpec) -> Vec<&'static str> {
    let compare = match spec.compare {
        CompareMode::Checksum | CompareMode::Full => Some(FEATURE_COMPARE),
        CompareMode::Default | CompareMode::Size | CompareMode::Etag => None,
    };
    // Others would not count what a guard decides by.
    let mirror = (spec.deletes.mode == DeleteMode::Mirror).then_some(FEATURE_DELETES);
    // Others would know of no bound.
    let limits = (spec.limits != Limits::default()).then_some(FEATURE_LIMITS);
    compare.into_iter().chain(mirror).chain(limits).collect()
}
