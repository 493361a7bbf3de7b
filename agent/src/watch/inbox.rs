//! Pure. Messages that were received and are not deleted yet, and what is to be told of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use s3sync_proto::model::{
    MAX_EVENT_BYTES_PER_BATCH, MAX_EVENTS_PER_BATCH, MAX_UNREADABLE_PER_BATCH, News, ObjectEvent,
    Timestamp, UnreadableMessage,
};

use super::event;
use crate::queue::Received;

/// Messages in memory at most, told or not. With more the queue is left alone: the server does not keep up.
pub(super) const MAX_HELD: usize = 1_000;

/// Where no redrive policy takes away what cannot be read, it is removed when it was received this often: else a queue
/// that is fed something else would hand it out for ever.
pub(super) const MAX_RECEIVES_UNREADABLE: u32 = 5;

/// Characters of an unreadable message that are shown.
const EXCERPT: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// What is not told yet, oldest first.
    waiting: VecDeque<Read>,
    /// Until when each message that is held is hidden from others, by its receipt, as a monotonic time.
    hidden: BTreeMap<String, Duration>,
    /// When the oldest message of the newest receive was sent.
    oldest_sent: Option<Timestamp>,
}

/// A message that was read, or the rest of a large one.
#[derive(Debug)]
struct Read {
    receipt: String,
    /// When it was received, as a monotonic time, and how long it had waited then.
    received: Duration,
    waited: Option<Duration>,
    events: VecDeque<ObjectEvent>,
    ignored: u64,
    unreadable: Option<UnreadableMessage>,
}

/// What is to be told at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) news: News,
    /// Receipts of the messages that may be deleted once this is on the server's disk.
    pub(super) done: Vec<String>,
}

impl Inbox {
    /// How many more messages may be received.
    pub(super) fn room(&self) -> usize {
        MAX_HELD.saturating_sub(self.hidden.len())
    }

    /// Takes messages that were received at `received`, a monotonic time, and are hidden from others for `hidden` from then on.
    /// `redriven`: what cannot be read goes to the dead letters by itself.
    pub(super) fn take(
        &mut self,
        messages: Vec<Received>,
        received: Duration,
        hidden: Duration,
        redriven: bool,
        now: Timestamp,
    ) {
        self.oldest_sent = messages.iter().filter_map(|message| message.sent).min();
        for message in messages {
            let read = read(&message, received, redriven, now);
            // What comes again on its own and was told before is left where it is until then.
            let Some(read) = read else { continue };
            self.hidden.insert(message.receipt, received + hidden);
            self.waiting.push_back(read);
        }
    }

    /// What to tell next, within the bounds of one batch. The longest wait is that of all that is to be told, also later.
    pub(super) fn next(&mut self, now: Duration) -> Option<Batch> {
        let mut batch = Batch::default();
        let waits = self
            .waiting
            .iter()
            .filter_map(|message| Some(message.waited? + now.saturating_sub(message.received)));
        batch.news.longest_wait = waits.max();
        let mut bytes = 0;
        while let Some(message) = self.waiting.front_mut() {
            if message.unreadable.is_some()
                && batch.news.unreadable.len() == MAX_UNREADABLE_PER_BATCH
            {
                break;
            }
            while let Some(event) = message.events.front() {
                bytes += event.key.as_bytes().len();
                let full = batch.news.events.len() == MAX_EVENTS_PER_BATCH
                    || bytes > MAX_EVENT_BYTES_PER_BATCH;
                if full {
                    return Some(batch);
                }
                batch.news.events.extend(message.events.pop_front());
            }
            let Some(message) = self.waiting.pop_front() else { break };
            batch.news.messages += 1;
            batch.news.ignored += message.ignored;
            let removed = message.unreadable.as_ref().is_none_or(|unreadable| unreadable.removed);
            batch.news.unreadable.extend(message.unreadable);
            if removed {
                batch.done.push(message.receipt);
            } else {
                self.hidden.remove(&message.receipt);
            }
        }
        (batch.news.messages > 0 || !batch.news.events.is_empty()).then_some(batch)
    }

    /// Whether all that was received was handed out to be told.
    pub(super) fn is_told(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the oldest message of the newest receive was sent.
    pub(super) fn oldest_sent(&self) -> Option<Timestamp> {
        self.oldest_sent
    }

    /// Messages whose time runs out before `soon`; they are hidden until `until` from now on.
    pub(super) fn extend(&mut self, soon: Duration, until: Duration) -> Vec<String> {
        let due = self.hidden.iter_mut().filter(|(_, hidden)| **hidden <= soon);
        due.map(|(receipt, hidden)| {
            *hidden = until;
            receipt.clone()
        })
        .collect()
    }

    /// Messages are deleted, or come again.
    pub(super) fn forget(&mut self, receipts: &[String]) {
        for receipt in receipts {
            self.hidden.remove(receipt);
        }
    }

    /// Everything that is held.
    pub(super) fn held(&self) -> Vec<String> {
        self.hidden.keys().cloned().collect()
    }
}

/// Reads a message. `None`: there is nothing to tell of it and it is not to be deleted.
fn read(message: &Received, received: Duration, redriven: bool, now: Timestamp) -> Option<Read> {
    let receipt = message.receipt.clone();
    let waited = message.waited.or_else(|| message.sent.map(|sent| now.since(sent)));
    match event::read(&message.body) {
        Ok(said) => {
            let events = said.changes.into_iter().map(|change| ObjectEvent {
                bucket: change.bucket,
                key: change.key,
                kind: change.kind,
                sequencer: change.sequencer,
                sent: message.sent,
            });
            let (events, ignored) = (events.collect(), u64::from(said.ignored));
            Some(Read { receipt, received, waited, events, ignored, unreadable: None })
        }
        Err(problem) => {
            let removed = !redriven && message.receives >= MAX_RECEIVES_UNREADABLE;
            let unreadable = UnreadableMessage {
                reason: problem.to_string(),
                excerpt: message.body.chars().take(EXCERPT).collect(),
                receives: message.receives,
                removed,
                received: now,
            };
            // It is told of when it is seen first, and when it goes.
            (removed || message.receives <= 1).then(|| Read {
                receipt,
                received,
                waited,
                events: VecDeque::new(),
                ignored: 0,
                unreadable: Some(unreadable),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn message(receipt: &str, keys: usize) -> Received {
        let record = |n: usize| {
            json!({
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": format!("{receipt}-{n}")}},
            })
        };
        let records: Vec<_> = (0..keys).map(record).collect();
        body(receipt, json!({"Records": records}).to_string(), 1)
    }

    fn body(receipt: &str, body: String, receives: u32) -> Received {
        Received { receipt: receipt.into(), body, receives, sent: None, waited: None }
    }

    fn inbox(messages: Vec<Received>, redriven: bool) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.take(messages, NOW, Duration::from_secs(60), redriven, Timestamp::default());
        inbox
    }

    #[test]
    fn a_message_is_done_only_with_the_batch_that_tells_its_last_event() {
        let mut inbox = inbox(vec![message("a", 600), message("b", 1_000), message("c", 1)], true);
        let told: Vec<_> = std::iter::from_fn(|| inbox.next(NOW))
            .map(|batch| (batch.news.events.len(), batch.news.messages, batch.done))
            .collect();
        let done = |receipts: &[&str]| receipts.iter().map(|&one| one.to_owned()).collect();
        assert_eq!(told, [(1_000, 1, done(&["a"])), (601, 2, done(&["b", "c"]))]);
        assert_eq!(inbox.room(), MAX_HELD - 3, "held until they are deleted");
        inbox.forget(&["a".into(), "b".into()]);
        assert_eq!(inbox.room(), MAX_HELD - 1);
    }

    #[test]
    fn long_keys_fill_a_batch_by_their_bytes() {
        let long = |n: usize| {
            let key = format!("{n}{}", "k".repeat(1_000));
            let record = json!({
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": key}},
            });
            body(&format!("{n}"), json!({"Records": [record]}).to_string(), 1)
        };
        let mut inbox = inbox((0..500).map(long).collect(), true);
        let mut events = 0;
        while let Some(batch) = inbox.next(NOW) {
            let bytes: usize = batch.news.events.iter().map(|one| one.key.as_bytes().len()).sum();
            assert!(bytes <= MAX_EVENT_BYTES_PER_BATCH, "{bytes}");
            assert_eq!(batch.done.len(), batch.news.events.len());
            events += batch.news.events.len();
        }
        assert_eq!(events, 500);
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_redrive_policy_or_removed_in_the_end() {
        let junk = |receives| body("j", "no json".into(), receives);
        let told = |receives, redriven| {
            let mut inbox = inbox(vec![junk(receives)], redriven);
            let batch = inbox.next(NOW);
            assert_eq!(
                inbox.room(),
                MAX_HELD - usize::from(batch.as_ref().is_some_and(|b| !b.done.is_empty()))
            );
            batch.map(|batch| (batch.news.unreadable[0].removed, batch.done.len()))
        };
        assert_eq!(told(1, true), Some((false, 0)));
        assert_eq!(told(2, true), None, "told before");
        assert_eq!(told(50, true), None, "the policy's business");
        assert_eq!(told(1, false), Some((false, 0)));
        assert_eq!(told(4, false), None);
        assert_eq!(told(MAX_RECEIVES_UNREADABLE, false), Some((true, 1)));
    }

    #[test]
    fn the_longest_wait_is_told_by_our_clock_if_not_by_the_queues() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let waited = |receipt: &str, waited: Option<u64>, sent| Received {
            waited: waited.map(Duration::from_secs),
            sent: Some(at(sent)),
            ..message(receipt, 1)
        };
        let mut inbox = Inbox::default();
        let messages = vec![waited("a", Some(30), 0), waited("b", None, 60), message("c", 1)];
        inbox.take(messages, NOW, Duration::from_secs(60), true, at(100));
        assert_eq!(inbox.next(NOW).unwrap().news.longest_wait, Some(Duration::from_secs(40)));
        inbox.take(vec![message("d", 1)], NOW, Duration::from_secs(60), true, at(100));
        assert_eq!(inbox.next(NOW).unwrap().news.longest_wait, None);
    }

    #[test]
    fn what_is_still_to_be_told_counts_and_so_does_the_time_in_our_hands() {
        let secs = Duration::from_secs;
        let waited = |receipt: &str, keys, seconds| Received {
            waited: Some(secs(seconds)),
            ..message(receipt, keys)
        };
        let mut inbox = Inbox::default();
        let messages = vec![waited("a", 900, 5), waited("b", 1_500, 20), waited("c", 1, 10)];
        inbox.take(messages, secs(100), secs(30), true, Timestamp::default());
        let mut told = |at| {
            let news = inbox.next(secs(at)).unwrap().news;
            (news.messages, news.events.len(), news.longest_wait)
        };
        // The second message is told in three parts.
        assert_eq!(told(100), (1, 1_000, Some(secs(20))));
        assert_eq!(told(160), (0, 1_000, Some(secs(80))));
        assert_eq!(told(220), (2, 401, Some(secs(140))));
    }

    #[test]
    fn the_test_event_is_deleted_and_changes_nothing() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
        let mut inbox = inbox(vec![body("t", test.to_string(), 1)], true);
        let batch = inbox.next(NOW).unwrap();
        assert_eq!((batch.news.events.len(), batch.news.messages), (0, 1));
        assert_eq!(batch.done, ["t"]);
    }

    #[test]
    fn what_waits_is_hidden_longer_in_time() {
        let mut inbox = inbox(vec![message("a", 1), message("b", 1)], true);
        let secs = Duration::from_secs;
        assert_eq!(inbox.extend(secs(59), secs(100)), Vec::<String>::new());
        assert_eq!(inbox.extend(secs(60), secs(100)), ["a", "b"]);
        assert_eq!(inbox.extend(secs(99), secs(150)), Vec::<String>::new());
        inbox.next(NOW).unwrap();
        inbox.forget(&["a".into()]);
        assert_eq!(inbox.extend(secs(100), secs(150)), ["b"]);
        assert_eq!(inbox.held(), ["b"]);
    }
}
