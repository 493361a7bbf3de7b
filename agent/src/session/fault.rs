//! Pure. Why a session could not be opened or ended, as far as it changes what the agent does next.

use std::collections::VecDeque;
use std::time::Duration;

use s3sync_proto::client::{ApiError, Code};
use s3sync_proto::status::reason;

/// Another session of the same name took over this often within [`SWAPS_WITHIN`]: there are two such agents, and one of
/// them must go, else both keep taking the work from each other. More than this ends the process.
pub(crate) const MAX_SWAPS: usize = 3;

/// See [`MAX_SWAPS`].
pub(crate) const SWAPS_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Why a session could not be opened, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server cannot be reached, stopped, or the connection broke. Passes by itself.
    Broken(String),
    /// The server answers no state: the connection is half open.
    Silent,
    /// The server let the session expire: what it held may be somebody else's already.
    Expired,
    /// A newer session of the same name took over: what this one held is somebody else's.
    Superseded(String),
    /// The server speaks no version this agent speaks. Passes when one of the two is upgraded.
    Unsupported(String),
    /// The server does not let this agent in. Passes when a person changes something.
    Refused(String),
    /// The server says that something it was sent makes no sense. Saying it again would not help.
    Senseless(String),
}

/// Counts take-overs.
#[derive(Debug, Default)]
pub(crate) struct Swaps(VecDeque<Duration>);

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match (error.reason.as_str(), error.code) {
            (reason::AGENT_PROTOCOL_UNSUPPORTED, _) => Self::Unsupported(message),
            (reason::SESSION_SUPERSEDED, _) => Self::Superseded(message),
            (reason::SESSION_EXPIRED, _) => Self::Expired,
            (_, Code::InvalidArgument) => Self::Senseless(message),
            (_, Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented) => {
                Self::Refused(message)
            }
            (
                _,
                Code::NotFound
                | Code::AlreadyExists
                | Code::Aborted
                | Code::FailedPrecondition
                | Code::Unavailable
                | Code::Cancelled
                | Code::Internal,
            ) => Self::Broken(message),
        }
    }
}

impl Swaps {
    /// Another take-over, at a monotonic time; whether there have been too many.
    pub(crate) fn too_many(&mut self, now: Duration) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| now.saturating_sub(*first) > SWAPS_WITHIN) {
            self.0.pop_front();
        }
        self.0.len() > MAX_SWAPS
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fault(code: Code, reason: &str) -> Fault {
        Fault::from(ApiError {
            code,
            reason: reason.into(),
            message: "m".into(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
        })
    }

    #[test]
    fn errors_are_told_apart_by_what_follows() {
        let m = || "m".to_owned();
        let cases = [
            (Code::Unavailable, "", Fault::Broken(m())),
            (Code::Unavailable, reason::SERVER_STOPPING, Fault::Broken(m())),
            (Code::Internal, "", Fault::Broken(m())),
            (Code::Aborted, reason::SESSION_SUPERSEDED, Fault::Superseded(m())),
            (Code::Aborted, reason::SESSION_EXPIRED, Fault::Expired),
            (Code::FailedPrecondition, reason::AGENT_PROTOCOL_UNSUPPORTED, Fault::Unsupported(m())),
            (Code::Unimplemented, "", Fault::Refused(m())),
            (Code::Unauthenticated, reason::CREDENTIALS_INVALID, Fault::Refused(m())),
            (Code::InvalidArgument, reason::FIELD_INVALID, Fault::Senseless(m())),
        ];
        for (code, reason, expected) in cases {
            assert_eq!(fault(code, reason), expected, "{code:?} {reason}");
        }
    }

    #[test]
    fn the_fourth_take_over_in_five_minutes_is_too_many() {
        let minute = Duration::from_secs(60);
        let mut swaps = Swaps::default();
        let quick: Vec<_> = (0..4).map(|n| swaps.too_many(minute * n)).collect();
        assert_eq!(quick, [false, false, false, true]);
        let mut swaps = Swaps::default();
        assert!((0..20).all(|n| !swaps.too_many(minute * 2 * n)), "slow ones are no sign of two");
    }
}
