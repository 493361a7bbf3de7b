//! Why the store refuses.

use s3sync_proto::model::RunName;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue changed since it was read: read again, check again.
    #[error("the catalogue changed meanwhile")]
    Moved,
    /// There is no such thing.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The job has a run that has not ended.
    #[error("{0} has not ended")]
    RunActive(RunName),
    /// The request id was used for a different request.
    #[error("the request id was used for a different request")]
    RequestReused,
    /// The session expired or was superseded.
    #[error("the session is gone")]
    SessionGone,
    /// It changed since it was read.
    #[error("{0}")]
    Outdated(String),
    /// Things are not so that it can be done.
    #[error("{text}")]
    NotNow {
        /// Why, for programs.
        reason: &'static str,
        /// Why and what to do, for people.
        text: String,
    },
    /// A message contradicts itself or what is recorded.
    #[error("{0}")]
    Invalid(String),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
