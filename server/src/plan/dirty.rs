//! Pure. What a dirty key waits for, in words.

use s3sync_proto::model::{DirtyKey, DirtyState, RunName, Timestamp};

/// What is recorded of a dirty key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyRow {
    /// The run that works it off.
    pub run: RunName,
    /// When the oldest of its events was sent.
    pub since: Timestamp,
    /// When the newest was.
    pub latest: Timestamp,
    /// S3's sequencer of the newest.
    pub sequencer: String,
    /// Reasons to look at it.
    pub reasons: u64,
    /// Looks that failed.
    pub looks: u32,
    /// It is not looked at before.
    pub not_before: Timestamp,
    /// A look found that only the destination has it.
    pub is_gone: bool,
    /// Its delete has not passed the guard.
    pub awaits: bool,
    /// Why the guard is shut; empty when it is not.
    pub guard: String,
    /// The agent that works on it.
    pub holder: Option<String>,
    /// Until when something that its last holder had begun may still arrive.
    pub late_until: Timestamp,
    /// There is a newer reason to look at it than the holder knows of.
    pub again: bool,
    /// Why its run is paused, when it is.
    pub paused: Option<String>,
}

/// How a dirty key stands now.
#[must_use]
pub fn dirty(row: DirtyRow, now: Timestamp) -> DirtyKey {
    let (state, reason) = stands(&row, now);
    let DirtyRow { run, since, latest, sequencer, reasons, looks, not_before, late_until, .. } =
        row;
    let next_look = (state == DirtyState::PutOff).then_some(not_before.max(late_until));
    DirtyKey { run, since, latest, sequencer, reasons, looks, state, next_look, reason }
}

fn stands(row: &DirtyRow, now: Timestamp) -> (DirtyState, String) {
    if row.awaits {
        let why = if row.guard.is_empty() { "the rate guard" } else { &row.guard };
        let run = format!("{}/{}", row.run.job, row.run.number);
        let text = format!(
            "only the destination has it, and deletes wait: {why}; s3syncctl run approve {run} lets them pass"
        );
        return (DirtyState::AwaitingApproval, text);
    }
    if let Some(agent) = &row.holder {
        let then = if row.again {
            "; then it is looked at once more, since it changed meanwhile"
        } else {
            ""
        };
        let does = if row.is_gone { "is about to delete it" } else { "works on it" };
        return (DirtyState::WorkedOn, format!("{agent} {does}{then}"));
    }
    if let Some(why) = &row.paused {
        return (
            DirtyState::Paused,
            format!("its run is paused: {why}; it is kept until that goes on"),
        );
    }
    if row.late_until > now {
        let text = "the agent that worked on it ended, and what that had begun to write may still arrive; then it is looked at";
        return (DirtyState::PutOff, text.to_owned());
    }
    if row.not_before > now {
        let looks = row.looks;
        return (
            DirtyState::PutOff,
            format!("{looks} looks failed; it is looked at again by itself"),
        );
    }
    let text = if row.is_gone {
        "it may be deleted, and waits for an agent"
    } else {
        "it waits for an agent to look at it"
    };
    (DirtyState::Waiting, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> DirtyRow {
        DirtyRow {
            run: RunName { job: "media".parse().unwrap(), number: 7 },
            since: Timestamp::from_micros(1),
            latest: Timestamp::from_micros(2),
            sequencer: "00A1".into(),
            reasons: 3,
            looks: 0,
            not_before: Timestamp::from_micros(1),
            is_gone: false,
            awaits: false,
            guard: String::new(),
            holder: None,
            late_until: Timestamp::from_micros(0),
            again: false,
            paused: None,
        }
    }

    #[test]
    fn what_it_waits_for_is_said_the_nearest_first() {
        let now = Timestamp::from_micros(10);
        let holder = Some("cn-1".to_owned());
        let paused = Some("the job is paused".to_owned());
        let later = Timestamp::from_micros(20);
        let awaits = DirtyRow { awaits: true, is_gone: true, ..row() };
        let guard = "more than max_per_hour".to_owned();
        let cases = [
            (row(), DirtyState::Waiting, "waits for an agent to look"),
            (DirtyRow { is_gone: true, ..row() }, DirtyState::Waiting, "may be deleted"),
            (
                DirtyRow { holder: holder.clone(), ..row() },
                DirtyState::WorkedOn,
                "cn-1 works on it",
            ),
            (
                DirtyRow { holder, again: true, paused: paused.clone(), ..row() },
                DirtyState::WorkedOn,
                "once more",
            ),
            (
                DirtyRow { paused, not_before: later, ..row() },
                DirtyState::Paused,
                "the job is paused",
            ),
            (
                DirtyRow { looks: 2, not_before: later, ..row() },
                DirtyState::PutOff,
                "2 looks failed",
            ),
            (DirtyRow { late_until: later, ..row() }, DirtyState::PutOff, "may still arrive"),
            (
                DirtyRow { guard, ..awaits.clone() },
                DirtyState::AwaitingApproval,
                "more than max_per_hour; s3syncctl run approve media/7",
            ),
            (
                DirtyRow { not_before: later, ..awaits },
                DirtyState::AwaitingApproval,
                "the rate guard",
            ),
        ];
        for (row, state, text) in cases {
            let not_before = row.not_before.max(row.late_until);
            let told = dirty(row, now);
            assert_eq!(told.state, state, "{told:?}");
            assert!(told.reason.contains(text), "{told:?}");
            assert_eq!(told.next_look, (state == DirtyState::PutOff).then_some(not_before));
        }
    }
}
