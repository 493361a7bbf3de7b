//! Pure. Changes of some fields only: the other fields are read before, so the change is written only onto what was read.

use crate::catalogue::{Precondition, Refused};

/// How often a change of some fields is tried while others change the same resource.
const MAX_TRIES: u32 = 10;

/// What a client asked for, beside the values.
pub(super) struct Update {
    /// Fields to change; empty means all.
    pub(super) paths: Vec<String>,
    /// The etag the client has read.
    pub(super) etag: Option<String>,
    /// Create it when it is not there.
    pub(super) allow_missing: bool,
}

impl Update {
    /// Whether the rest is to stay as it is.
    pub(super) fn is_partial(&self) -> bool {
        !self.paths.is_empty()
    }

    /// What must be so when it is written; `read` is the etag of what the rest was taken from.
    pub(super) fn precondition(&self, read: Option<&String>) -> Precondition {
        match (&self.etag, read) {
            (None, Some(read)) if self.is_partial() => Precondition::Exists(Some(read.clone())),
            (None, None) if self.is_partial() && self.allow_missing => Precondition::Absent,
            (etag, _) if self.allow_missing => Precondition::Any(etag.clone()),
            (etag, _) => Precondition::Exists(etag.clone()),
        }
    }

    /// Whether to read and merge again: it changed in between, and the client did not insist on a state of it.
    pub(super) fn goes_again(&self, refused: &Refused, tries: u32) -> bool {
        let moved = matches!(refused, Refused::Changed(_) | Refused::Exists);
        // One that was deleted meanwhile is found missing, or made, the next time.
        let deleted = self.allow_missing && matches!(refused, Refused::Missing);
        self.is_partial() && self.etag.is_none() && (moved || deleted) && tries < MAX_TRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(paths: &[&str], etag: Option<&str>, allow_missing: bool) -> Update {
        let paths = paths.iter().map(ToString::to_string).collect();
        Update { paths, etag: etag.map(str::to_owned), allow_missing }
    }

    #[test]
    fn a_change_of_some_fields_is_written_only_onto_what_was_read() {
        let read = "r".to_owned();
        let some = |etag, missing| update(&["paused"], etag, missing);
        let exists = |etag: &str| Precondition::Exists(Some(etag.to_owned()));
        assert_eq!(some(None, false).precondition(Some(&read)), exists("r"));
        assert_eq!(some(None, true).precondition(Some(&read)), exists("r"));
        assert_eq!(some(None, false).precondition(None), Precondition::Exists(None));
        assert_eq!(some(None, true).precondition(None), Precondition::Absent);
        assert_eq!(some(Some("e"), false).precondition(Some(&read)), exists("e"));
        assert_eq!(update(&[], None, false).precondition(None), Precondition::Exists(None));
        assert_eq!(update(&[], None, true).precondition(None), Precondition::Any(None));
    }

    #[test]
    fn only_who_named_no_state_is_merged_again_and_not_for_ever() {
        let changed = Refused::Changed("n".to_owned());
        assert!(update(&["paused"], None, false).goes_again(&changed, 1));
        assert!(!update(&["paused"], None, false).goes_again(&changed, MAX_TRIES));
        assert!(!update(&["paused"], Some("e"), false).goes_again(&changed, 1));
        assert!(!update(&[], None, false).goes_again(&changed, 1));
        assert!(!update(&["paused"], None, false).goes_again(&Refused::Missing, 1));
        assert!(update(&["paused"], None, true).goes_again(&Refused::Missing, 1));
    }
}
