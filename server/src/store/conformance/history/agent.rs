//! What an agent of a history knows and says.

use std::collections::{BTreeMap, VecDeque};

use s3sync_proto::model::{
    Assignment, Counters, Extras, Failure, Held, Key, Outcome, SplitProposal, UploadIntent,
    Verdict, Work, WorkReport,
};

use super::super::bench::failure;
use crate::store::SessionId;

/// Keys of the space: one byte each. Each has its bit in a sum, which must fit 64 bits.
pub(super) const KEYS: u8 = 40;
/// Every so many keys, one fails.
const FAILING: u8 = 9;

/// What an agent knows of an assignment.
pub(super) struct Tenure {
    pub(super) held: Held,
    pub(super) reap: bool,
    /// Everything up to here is done and was reported, or is being reported.
    pub(super) cursor: Option<Key>,
    /// Where the slice begins.
    pub(super) after: Option<Key>,
    /// Where the agent stops.
    pub(super) until: Option<Key>,
    /// The last report was made.
    pub(super) over: bool,
}

#[derive(Clone)]
pub(super) enum Message {
    Report(WorkReport),
    Cut(SplitProposal),
    Intent(UploadIntent),
}

impl Message {
    pub(super) fn held(&self) -> Held {
        match self {
            Self::Report(report) => report.held,
            Self::Cut(proposal) => proposal.held,
            Self::Intent(intent) => intent.held,
        }
    }
}

#[derive(Default)]
pub(super) struct Agent {
    pub(super) process: u32,
    pub(super) session: Option<SessionId>,
    pub(super) sequence: u64,
    pub(super) last_lease: u64,
    pub(super) tenures: BTreeMap<u64, Tenure>,
    /// What is not acknowledged, with what the store said to it, if it came there. Acknowledgements keep their order, so
    /// one that was lost is followed by none: then all of these are sent again.
    pub(super) outbox: VecDeque<(Message, Option<Verdict>)>,
}

/// The byte of a key; one before the first for none.
pub(super) fn position(key: Option<&Key>) -> i32 {
    key.map_or(-1, |key| i32::from(key.as_bytes()[0]))
}

pub(super) fn key_at(position: i32) -> Key {
    Key::from(vec![u8::try_from(position).unwrap()])
}

/// What is counted for the keys after `from` up to `to`.
pub(super) fn counted(from: i32, to: i32) -> (Counters, Vec<Failure>) {
    let mut counters = Counters::default();
    let mut failures = Vec::new();
    for number in from + 1..=to {
        counters.listed += 1;
        // One bit for each key: with as many bits as keys, none can stand for another.
        counters.copied_bytes += 1 << number;
        if number % i32::from(FAILING) == 0 {
            // Both kinds are listed.
            match number % 2 {
                0 => counters.failed += 1,
                _ => counters.archived += 1,
            }
            failures.push(failure(key_at(number)));
        } else {
            counters.copied += 1;
        }
    }
    (counters, failures)
}

impl Tenure {
    pub(super) fn begin(assignment: &Assignment) -> Self {
        let (range, cursor, reap) = match &assignment.work {
            Work::Range { range, cursor } => (range.clone(), cursor.clone(), false),
            Work::Reap => (Default::default(), None, true),
            Work::DeleteKeys { .. } => unreachable!("no job of this history mirrors"),
            Work::Delete(work) => unreachable!("no job of this history mirrors: {work:?}"),
            Work::Keys(keys) => unreachable!("no run of this history is a retry: {keys:?}"),
        };
        let (after, until) = (range.after, range.until);
        Self { held: assignment.held, reap, cursor, after, until, over: false }
    }

    pub(super) fn done_to(&self) -> i32 {
        position(self.cursor.as_ref()).max(position(self.after.as_ref()))
    }

    pub(super) fn last(&self) -> i32 {
        self.until.as_ref().map_or(i32::from(KEYS) - 1, |until| position(Some(until)))
    }

    /// A report up to `to`.
    pub(super) fn report(&mut self, outcome: Outcome, to: i32) -> WorkReport {
        let from = self.done_to();
        let (counters, failures) = if self.reap { Default::default() } else { counted(from, to) };
        let previous_cursor = self.cursor.clone();
        if to > from && !self.reap {
            self.cursor = Some(key_at(to));
        }
        let cursor = match outcome {
            Outcome::Completed => self.until.clone(),
            Outcome::Checkpoint | Outcome::Yielded | Outcome::Errored(_) => self.cursor.clone(),
        };
        self.over = outcome != Outcome::Checkpoint;
        let held = self.held;
        let extras = Extras::default();
        WorkReport {
            sequence: 1,
            held,
            outcome,
            previous_cursor,
            cursor,
            counters,
            failures,
            extras,
        }
    }
}

impl Agent {
    pub(super) fn held(&self) -> Vec<Held> {
        self.tenures.values().map(|tenure| tenure.held).collect()
    }

    /// Drops what is not its own any more.
    pub(super) fn keep(&mut self, confirmed: &[Held]) {
        self.tenures.retain(|_, tenure| confirmed.contains(&tenure.held));
    }

    /// Takes the answers that are there, in order.
    pub(super) fn acknowledge(&mut self) {
        while let Some((message, Some(verdict))) = self.outbox.front().cloned() {
            self.outbox.pop_front();
            let held = message.held();
            let last = matches!(&message, Message::Report(report) if report.outcome != Outcome::Checkpoint);
            let ours = self.tenures.get(&held.id).is_some_and(|tenure| tenure.held == held);
            if ours && (last || verdict == Verdict::Stale) {
                self.tenures.remove(&held.id);
            }
        }
    }
}
