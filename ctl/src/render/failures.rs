//! Failures, one by one and in groups.

use s3sync_proto::model::{Failure, FailureClass, FailureGroup};

use super::Show;
use super::text::{count, plain, time};

impl Show for Failure {
    const PLURAL: &'static str = "failures";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) =
        (&["KEY", "CLASS", "CODE", "MESSAGE"], &["DESTINATION", "ATTEMPTS", "REQUEST ID", "LAST"]);

    fn row(&self) -> Vec<String> {
        vec![
            self.key.to_string(),
            class(self.class).to_owned(),
            plain(&self.code),
            plain(&self.message),
            self.destination.to_string(),
            self.attempts.to_string(),
            plain(&self.s3_request_id),
            time(Some(self.last)),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let heads = Self::COLUMNS.0.iter().chain(Self::COLUMNS.1).map(|head| head.to_lowercase());
        heads.zip(self.row()).collect()
    }
}

impl Show for FailureGroup {
    const PLURAL: &'static str = "failures";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) =
        (&["CLASS", "CODE", "KEYS", "SAMPLE", "MESSAGE"], &[]);

    fn row(&self) -> Vec<String> {
        let Self { size, sample } = self;
        vec![
            class(sample.class).to_owned(),
            plain(&sample.code),
            count(*size),
            sample.key.to_string(),
            plain(&sample.message),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let heads = Self::COLUMNS.0.iter().map(|head| head.to_lowercase());
        heads.zip(self.row()).collect()
    }
}

/// What to do next about a run's failures.
pub(crate) fn next_steps(label: &str) -> String {
    format!(
        "Each key: s3syncctl run failures {label} --keys\nTry them again: s3syncctl run retry {label} --wait\n"
    )
}

/// A class as people read it.
pub(crate) fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Throttled => "throttled",
        FailureClass::Transient => "transient",
        FailureClass::Changed => "changed",
        FailureClass::Permanent => "permanent",
        FailureClass::Archived => "archived",
        FailureClass::Poison => "poison",
    }
}
