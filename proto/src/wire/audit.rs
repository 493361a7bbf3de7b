//! The audit log.

use super::{Problems, time_to};
use crate::model::{AuditCall, AuditEntry, AuditOutcome, Invalid};
use crate::pb::v1 as pb;

const COLLECTION: &str = "auditEntries/";

/// An entry as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn audit_entry_from(entry: pb::AuditEntry) -> Result<AuditEntry, Invalid> {
    let pb::AuditEntry {
        name,
        create_time,
        caller,
        peer,
        method,
        resource,
        request,
        outcome,
        reason,
        end_time,
    } = entry;
    let mut problems = Problems::default();
    let number = name.strip_prefix(COLLECTION).and_then(|number| number.parse().ok());
    if number.is_none() {
        problems.add("name", "is not auditEntries/NUMBER");
    }
    let created = problems.time("create_time", create_time).unwrap_or_default();
    let ended = problems.time("end_time", end_time);
    let outcome = match pb::AuditOutcome::try_from(outcome) {
        Ok(pb::AuditOutcome::Unknown) => Some(AuditOutcome::Unknown),
        Ok(pb::AuditOutcome::Done) => Some(AuditOutcome::Done),
        Ok(pb::AuditOutcome::Refused) => Some(AuditOutcome::Refused(reason)),
        Ok(pb::AuditOutcome::Unspecified) | Err(_) => {
            problems.add("outcome", "is none that is known here");
            None
        }
    };
    let call = AuditCall { caller, peer, method, resource, request };
    problems.finish(number.zip(outcome).map(|(number, outcome)| AuditEntry {
        number,
        created,
        call,
        outcome,
        ended,
    }))
}

/// An entry for the wire.
#[must_use]
pub fn audit_entry_to(entry: AuditEntry) -> pb::AuditEntry {
    let AuditEntry { number, created, call, outcome, ended } = entry;
    let AuditCall { caller, peer, method, resource, request } = call;
    let (outcome, reason) = match outcome {
        AuditOutcome::Unknown => (pb::AuditOutcome::Unknown, String::new()),
        AuditOutcome::Done => (pb::AuditOutcome::Done, String::new()),
        AuditOutcome::Refused(reason) => (pb::AuditOutcome::Refused, reason),
    };
    pb::AuditEntry {
        name: format!("{COLLECTION}{number}"),
        create_time: time_to(created),
        caller,
        peer,
        method,
        resource,
        request,
        outcome: outcome.into(),
        reason,
        end_time: ended.and_then(time_to),
    }
}
