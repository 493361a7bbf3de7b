//! Pure. Durable messages that the server has not acknowledged. They are numbered anew in each session and sent again, in
//! order, after a reconnect; the store tells a repetition by epoch and previous cursor, so it counts once.

use std::collections::VecDeque;

use s3sync_proto::model::{
    BucketFacts, EventBatch, FromAgent, Held, Key, News, Outcome, SplitProposal, Suspicion,
    UploadIntent, WorkReport,
};

use crate::work::{Begun, Progress};

/// Something that must be on the server's disk before the one who says it goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Durable {
    Report(Progress),
    Split { at: Key, until: Option<Key> },
    UploadIntent { key: Key, begun: Option<Begun> },
    Suspicion(Key),
    Facts(BucketFacts),
    News(News),
}

/// Messages in order; `W` is whoever waits for the acknowledgement.
#[derive(Debug)]
pub(crate) struct Outbox<W> {
    entries: VecDeque<Entry<W>>,
    /// Number of the newest message of this session.
    sequence: u64,
}

#[derive(Debug)]
struct Entry<W> {
    /// Whose; facts are nobody's.
    held: Option<Held>,
    message: Durable,
    /// Its number once it was sent in this session.
    sequence: Option<u64>,
    waiter: W,
}

/// A message that was acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged<W> {
    pub(crate) held: Option<Held>,
    /// It was the last report of its assignment.
    pub(crate) last: bool,
    pub(crate) waiter: W,
}

impl<W> Outbox<W> {
    pub(crate) const fn new() -> Self {
        Self { entries: VecDeque::new(), sequence: 0 }
    }

    pub(crate) fn push(&mut self, held: Option<Held>, message: Durable, waiter: W) {
        self.entries.push_back(Entry { held, message, sequence: None, waiter });
    }

    /// A new session: everything is to be sent again, with new numbers.
    pub(crate) fn begin_session(&mut self) {
        self.sequence = 0;
        for entry in &mut self.entries {
            entry.sequence = None;
        }
    }

    /// The next message to send in this session; it gets its number.
    pub(crate) fn next(&mut self) -> Option<FromAgent> {
        // Sent entries precede unsent ones: numbers are given in order, and acknowledged entries leave.
        let sent = self.entries.partition_point(|entry| entry.sequence.is_some());
        let entry = self.entries.get_mut(sent)?;
        self.sequence += 1;
        entry.sequence = Some(self.sequence);
        Some(numbered(entry.held, entry.message.clone(), self.sequence))
    }

    /// The server handled a message. `None` when nobody waits for that number any more.
    pub(crate) fn acknowledge(&mut self, sequence: u64) -> Option<Acknowledged<W>> {
        let index = self.entries.iter().position(|entry| entry.sequence == Some(sequence))?;
        let Entry { held, message, waiter, .. } = self.entries.remove(index)?;
        Some(Acknowledged { held, last: message.is_last(), waiter })
    }

    /// The assignment is not ours any more: its messages would be stale.
    pub(crate) fn forget(&mut self, held: Held) {
        self.entries.retain(|entry| entry.held != Some(held));
    }

    /// Whether a message of an assignment waits.
    pub(crate) fn has_any_of_assignments(&self) -> bool {
        self.entries.iter().any(|entry| entry.held.is_some())
    }
}

impl Durable {
    /// Whether the assignment ends with it.
    pub(crate) const fn is_last(&self) -> bool {
        match self {
            Self::Report(Progress { outcome, .. }) => match outcome {
                Outcome::Checkpoint => false,
                Outcome::Completed | Outcome::Yielded | Outcome::Errored(_) => true,
            },
            Self::Split { .. }
            | Self::UploadIntent { .. }
            | Self::Suspicion(_)
            | Self::Facts(_)
            | Self::News(_) => false,
        }
    }
}

fn numbered(held: Option<Held>, message: Durable, sequence: u64) -> FromAgent {
    let whose = || held.expect("only facts are pushed without an assignment");
    match message {
        Durable::Report(Progress {
            outcome,
            previous_cursor,
            cursor,
            counters,
            failures,
            extras,
        }) => FromAgent::Report(WorkReport {
            sequence,
            held: whose(),
            outcome,
            previous_cursor,
            cursor,
            counters,
            failures,
            extras,
        }),
        Durable::Split { at, until } => {
            FromAgent::SplitProposal(SplitProposal { sequence, held: whose(), at, until })
        }
        Durable::UploadIntent { key, begun } => {
            let (upload_id, plan) = begun.map(|begun| (begun.upload_id, begun.plan)).unzip();
            let (held, plan) = (whose(), plan.flatten());
            FromAgent::UploadIntent(UploadIntent { sequence, held, key, upload_id, plan })
        }
        Durable::Suspicion(key) => FromAgent::Suspicion(Suspicion { sequence, held: whose(), key }),
        Durable::Facts(facts) => FromAgent::Facts { sequence, facts },
        Durable::News(news) => FromAgent::Events(EventBatch { sequence, held: whose(), news }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Held = Held { id: 1, epoch: 1 };
    const B: Held = Held { id: 2, epoch: 1 };

    fn intent(key: &str) -> Durable {
        Durable::UploadIntent { key: key.into(), begun: None }
    }

    fn sent(outbox: &mut Outbox<u8>) -> Vec<(u64, String)> {
        std::iter::from_fn(|| outbox.next())
            .map(|message| {
                let FromAgent::UploadIntent(intent) = message else { panic!("{message:?}") };
                (intent.sequence, intent.key.to_string())
            })
            .collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_in_order_with_new_numbers() {
        let mut outbox = Outbox::new();
        for (n, (held, key)) in [(A, "a"), (B, "b"), (A, "c"), (B, "d")].into_iter().enumerate() {
            outbox.push(Some(held), intent(key), u8::try_from(n).unwrap());
        }
        let numbered = |all: &[(u64, &str)]| -> Vec<_> {
            all.iter().map(|(n, key)| (*n, (*key).to_owned())).collect()
        };
        assert_eq!(sent(&mut outbox), numbered(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]));
        assert_eq!(sent(&mut outbox), [], "each is sent once in a session");
        let acknowledged = outbox.acknowledge(2).unwrap();
        assert_eq!(acknowledged, Acknowledged { held: Some(B), last: false, waiter: 1 });
        assert_eq!(outbox.acknowledge(2), None, "an acknowledgement that comes twice");

        outbox.begin_session();
        assert_eq!(outbox.acknowledge(3), None, "a number of the session before");
        outbox.push(Some(A), intent("e"), 4);
        assert_eq!(sent(&mut outbox), numbered(&[(1, "a"), (2, "c"), (3, "d"), (4, "e")]));

        outbox.forget(A);
        outbox.begin_session();
        assert_eq!(sent(&mut outbox), numbered(&[(1, "d")]));
    }
}
