//! Who asked for which change.

use super::Timestamp;

/// Longest request that is kept, in bytes of its JSON form; what is longer is cut.
pub const MAX_AUDIT_REQUEST_BYTES: usize = 4_096;

/// Longest reason of a refusal that is kept, in bytes.
pub const MAX_AUDIT_REASON_BYTES: usize = 1_024;

/// One call that asked for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When the call came.
    pub created: Timestamp,
    /// What was asked, and by whom.
    pub call: AuditCall,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// When it ended; `None` when that is not known.
    pub ended: Option<Timestamp>,
}

/// What was asked, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditCall {
    /// Name of the token it was made with.
    pub caller: String,
    /// Address it came from; empty when it is not known.
    pub peer: String,
    /// The call, such as `JobService.UpdateJob`.
    pub method: String,
    /// The resource it is about, such as `jobs/media`.
    pub resource: String,
    /// The request in its JSON form.
    pub request: String,
}

/// How a call that asked for a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It is going on, or the server or the connection died meanwhile.
    Unknown,
    /// Done.
    Done,
    /// Refused, and why.
    Refused(String),
}
