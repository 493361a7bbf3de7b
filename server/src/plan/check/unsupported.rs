//! Pure. What the contract has and this version does not do yet. It is refused, never ignored. A feature that lands
//! removes its line.

use s3sync_proto::model::{JobSpec, Limits, Violation};

/// Whether a job asks for it, the field, and what to use instead.
type Missing = (fn(&JobSpec) -> bool, &'static str, &'static str);

const MISSING: &[Missing] =
    &[(|job| job.limits != Limits::default(), "limits", "set limits in the agents' configuration")];

pub(super) fn check(job: &JobSpec) -> Vec<Violation> {
    MISSING
        .iter()
        .filter(|(asked, _, _)| asked(job))
        .map(|(_, field, instead)| {
            Violation::new(*field, format!("is not supported by this version; {instead}"))
        })
        .collect()
}
