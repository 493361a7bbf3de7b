//! Pure. What the agent holds against what the server says it should hold.

use s3sync_proto::model::{FailureClass, Held, Lease, WorkError};

/// Something the agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    /// What.
    pub(crate) held: Held,
    /// The first state of this session that named it; `None` when none has yet.
    pub(crate) since: Option<u64>,
}

/// What to do with an assignment that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Begin.
    Start,
    /// What is held under an older epoch is lost; then look again.
    Replace(Held),
    /// It is held already, or came later than a newer epoch of it.
    Ignore,
    /// Give it back.
    Refuse(WorkError),
}

/// What is to be dropped after a lease. A lease knows nothing of what came after the state it answers was sent: an
/// assignment may overtake it, and is not dropped for that.
pub(crate) fn unconfirmed(held: impl IntoIterator<Item = Stated>, lease: &Lease) -> Vec<Held> {
    held.into_iter()
        .filter(|stated| stated.since.is_some_and(|since| since <= lease.sequence))
        .map(|stated| stated.held)
        .filter(|held| !lease.confirmed.contains(held))
        .collect()
}

/// What to do with an assignment, given what is held under its id (`same`), how many are held in all and how many may.
pub(crate) fn arrival(new: Held, same: Option<Held>, held: usize, capacity: u32) -> Arrival {
    match same {
        Some(old) if old.epoch < new.epoch => Arrival::Replace(old),
        Some(_) => Arrival::Ignore,
        None if held < capacity as usize => Arrival::Start,
        None if capacity == 0 => {
            Arrival::Refuse(refusal("draining", "the agent takes nothing new".into()))
        }
        None => Arrival::Refuse(refusal(
            "over_capacity",
            format!("the agent holds {held} assignments and takes {capacity}"),
        )),
    }
}

fn refusal(code: &str, message: String) -> WorkError {
    WorkError { class: FailureClass::Transient, code: code.into(), message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn held(id: u64, epoch: u64) -> Held {
        Held { id, epoch }
    }

    fn lease(sequence: u64, confirmed: &[Held]) -> Lease {
        Lease {
            sequence,
            write_window: Duration::ZERO,
            heartbeat_interval: Duration::ZERO,
            confirmed: confirmed.to_vec(),
        }
    }

    #[test]
    fn what_was_stated_and_is_not_confirmed_is_dropped() {
        let stated = [
            Stated { held: held(1, 1), since: Some(0) },
            Stated { held: held(2, 5), since: Some(3) },
            Stated { held: held(3, 1), since: Some(3) },
        ];
        let confirmed = [held(1, 1), held(2, 6), held(9, 1)];
        assert_eq!(unconfirmed(stated, &lease(3, &confirmed)), [held(2, 5), held(3, 1)]);
    }

    #[test]
    fn what_came_after_the_state_is_not_judged_by_its_lease() {
        let stated =
            [Stated { held: held(1, 1), since: None }, Stated { held: held(2, 1), since: Some(4) }];
        assert_eq!(unconfirmed(stated, &lease(3, &[])), []);
        assert_eq!(unconfirmed(stated, &lease(4, &[])), [held(2, 1)]);
    }

    #[test]
    fn an_assignment_starts_replaces_is_ignored_or_refused() {
        let code = |arrival| {
            let Arrival::Refuse(error) = arrival else { panic!("{arrival:?}") };
            error.code
        };
        assert_eq!(arrival(held(1, 1), None, 1, 2), Arrival::Start);
        assert_eq!(code(arrival(held(1, 1), None, 2, 2)), "over_capacity");
        assert_eq!(code(arrival(held(1, 1), None, 0, 0)), "draining");
        assert_eq!(arrival(held(1, 2), Some(held(1, 2)), 2, 2), Arrival::Ignore);
        assert_eq!(arrival(held(1, 1), Some(held(1, 2)), 2, 2), Arrival::Ignore);
        assert_eq!(
            arrival(held(1, 3), Some(held(1, 2)), 2, 2),
            Arrival::Replace(held(1, 2)),
            "it takes the place of the old one, so that there is room"
        );
    }
}
