//! Pure. Whether a credential works at all. One that fails on everything pauses its run: going on would only burn
//! requests and fill the list of failures with one and the same.

use s3sync_proto::model::{Counters, Failure, WorkError};

/// Keys of one report that all failed for the same credential before the run is paused. A report is sent every few
/// seconds, so this is reached within some hundreds of requests.
pub const SAME_FAILURES_TO_PAUSE: usize = 100;

/// Codes by which S3 says that a credential does not work or may not do something (API reference, "Error responses"),
/// and our own for when there is none.
const CODES: &[&str] = &[
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "NotSignedUp",
    "UnauthorizedAccess",
    "Unauthorized",
    "credentials",
];

/// Whether a code says that a credential does not work or may not do something.
pub(super) fn is_of_credential(code: &str) -> bool {
    CODES.contains(&code)
}

/// Why a whole piece of work cannot be done, when it is for its credential.
#[must_use]
pub fn fails_on_work(error: &WorkError) -> Option<String> {
    is_of_credential(&error.code).then(|| format!("{}: {}", error.code, error.message))
}

/// Why every key of a report failed, when it is for one credential and nothing else went well. Of a run that is paused
/// already a few keys are enough: they are what was in flight.
#[must_use]
pub fn fails_on_keys(counters: &Counters, failures: &[Failure], paused: bool) -> Option<String> {
    let first = failures.first()?;
    let same = failures.iter().all(|failure| failure.code == first.code);
    let many = paused || failures.len() >= SAME_FAILURES_TO_PAUSE;
    let nothing_else = counters.copied == 0 && counters.deleted == 0;
    (many && same && nothing_else && is_of_credential(&first.code))
        .then(|| format!("every key fails with {}: {}", first.code, first.message))
}

#[cfg(test)]
mod tests {
    use s3sync_proto::model::{FailureClass, Key, Timestamp};

    use super::*;

    fn failures(count: usize, code: &str) -> Vec<Failure> {
        let failure = |n: usize| Failure {
            key: Key::from(format!("{n}").as_str()),
            destination: 0,
            class: FailureClass::Permanent,
            code: code.into(),
            message: "PutObject: no".into(),
            s3_request_id: String::new(),
            attempts: 1,
            first: Timestamp::default(),
            last: Timestamp::default(),
        };
        (0..count).map(failure).collect()
    }

    #[test]
    fn only_many_of_the_same_and_nothing_else_mean_the_credential() {
        let none = Counters::default();
        let limit = SAME_FAILURES_TO_PAUSE;
        let says =
            |counters: Counters, failures: &[Failure]| fails_on_keys(&counters, failures, false);
        let all = failures(limit, "AccessDenied");
        assert_eq!(says(none, &all).unwrap(), "every key fails with AccessDenied: PutObject: no");
        assert_eq!(says(none, &all[1..]), None, "one less");
        assert_eq!(says(Counters { copied: 1, ..none }, &all), None, "one was copied");
        assert!(says(Counters { in_step: 9, ..none }, &all).is_some(), "in step needs no write");
        assert_eq!(says(none, &failures(limit, "KeyTooLongError")), None);
        let mut mixed = all.clone();
        mixed[7].code = "ExpiredToken".into();
        assert_eq!(says(none, &mixed), None);
        assert_eq!(says(none, &[]), None);
        assert!(fails_on_keys(&none, &all[..1], true).is_some(), "one in flight of a paused run");
    }

    #[test]
    fn work_fails_for_its_credential_or_for_something_else() {
        let error = |code: &str| WorkError {
            class: FailureClass::Permanent,
            code: code.into(),
            message: "x".into(),
        };
        assert_eq!(fails_on_work(&error("ExpiredToken")).as_deref(), Some("ExpiredToken: x"));
        assert_eq!(fails_on_work(&error("NoSuchBucket")), None);
        assert_eq!(fails_on_work(&error("not_allowed")), None);
    }
}
