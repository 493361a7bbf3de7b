//! The messages of one queue: which are visible when, and whose receipt still counts. Time is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// Longest time a message can be kept invisible, from its first receipt on (SQS Developer Guide, "Visibility timeout").
const MAX_INVISIBLE: Duration = Duration::from_secs(12 * 60 * 60);

/// A message of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    /// Milliseconds since 1970.
    pub(crate) sent: i64,
    /// Milliseconds since 1970.
    pub(crate) first_received: Option<i64>,
    pub(crate) receives: u32,
    /// When it was received first, for the limit on its visibility.
    first: Option<Instant>,
    /// Of the last receipt. An older one has no effect.
    nonce: u64,
    visible: Instant,
}

/// Why a receipt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not one of this queue.
    Malformed,
    /// The message is deleted, was received again, or is visible.
    NotInFlight,
    /// The message would be invisible for too long.
    TooLong,
}

/// The messages of one queue.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    all: BTreeMap<u64, Message>,
    /// Numbers of messages by when they are visible.
    due: BTreeSet<(Instant, u64)>,
    next: u64,
}

/// What a receive is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receive {
    pub(crate) limit: usize,
    pub(crate) invisible: Duration,
    /// Messages received so often before are given up.
    pub(crate) max_receives: Option<u32>,
    pub(crate) now: Instant,
    /// Milliseconds since 1970.
    pub(crate) wall: i64,
}

impl Messages {
    /// Adds a message; tells its id.
    pub(crate) fn send(&mut self, body: &str, sent: i64, visible: Instant) -> String {
        let id = format!("{:032x}", fastrand::u128(..));
        self.add(Message {
            id: id.clone(),
            body: body.to_owned(),
            sent,
            first_received: None,
            receives: 0,
            first: None,
            nonce: 0,
            visible,
        });
        id
    }

    /// Takes over a message that another queue gave up. Its age stays, its count of receipts begins anew.
    pub(crate) fn take_over(&mut self, message: Message, visible: Instant) {
        self.add(Message { first_received: None, receives: 0, first: None, visible, ..message });
    }

    fn add(&mut self, message: Message) {
        self.next += 1;
        self.due.insert((message.visible, self.next));
        self.all.insert(self.next, message);
    }

    /// Receives what is visible, with a receipt each, oldest first; second, what is given up and no more in this queue.
    pub(crate) fn receive(&mut self, ask: Receive) -> (Vec<(String, Message)>, Vec<Message>) {
        let (mut received, mut given_up) = (Vec::new(), Vec::new());
        while received.len() < ask.limit {
            let Some((visible, number)) = self.due.first().copied() else { break };
            if visible > ask.now {
                break;
            }
            self.due.pop_first();
            let Some(mut message) = self.all.remove(&number) else { continue };
            if ask.max_receives.is_some_and(|max| message.receives >= max) {
                given_up.push(message);
                continue;
            }
            message.receives += 1;
            message.first.get_or_insert(ask.now);
            message.first_received.get_or_insert(ask.wall);
            message.nonce = fastrand::u64(..);
            message.visible = ask.now + ask.invisible;
            received.push((format!("{number:016x}{:016x}", message.nonce), message.clone()));
            self.all.insert(number, message);
        }
        // Only now: a message that is not to be invisible at all must not be received twice at once.
        for (receipt, message) in &received {
            if let Some((number, _)) = parsed(receipt) {
                self.due.insert((message.visible, number));
            }
        }
        (received, given_up)
    }

    /// When the next message is visible.
    pub(crate) fn next_visible(&self) -> Option<Instant> {
        self.due.first().map(|(visible, _)| *visible)
    }

    /// Makes all messages visible.
    pub(crate) fn show(&mut self, now: Instant) {
        for message in self.all.values_mut() {
            message.visible = message.visible.min(now);
        }
        self.due = self.all.iter().map(|(number, message)| (message.visible, *number)).collect();
    }

    /// Deletes a message. An old receipt has no effect and is no error, as in SQS.
    pub(crate) fn delete(&mut self, receipt: &str) -> Result<(), Refused> {
        let (number, nonce) = parsed(receipt).ok_or(Refused::Malformed)?;
        if let Some(message) = self.all.get(&number).filter(|message| message.nonce == nonce) {
            self.due.remove(&(message.visible, number));
            self.all.remove(&number);
        }
        Ok(())
    }

    /// Makes a message that is in flight visible at another time.
    pub(crate) fn change(
        &mut self,
        receipt: &str,
        invisible: Duration,
        now: Instant,
    ) -> Result<(), Refused> {
        let (number, nonce) = parsed(receipt).ok_or(Refused::Malformed)?;
        let in_flight = |message: &&mut Message| message.nonce == nonce && message.visible > now;
        let message = self.all.get_mut(&number).filter(in_flight).ok_or(Refused::NotInFlight)?;
        let visible = now + invisible;
        if message.first.is_some_and(|first| visible > first + MAX_INVISIBLE) {
            return Err(Refused::TooLong);
        }
        self.due.remove(&(message.visible, number));
        message.visible = visible;
        self.due.insert((visible, number));
        Ok(())
    }

    /// How many are visible, and how many are not.
    pub(crate) fn counts(&self, now: Instant) -> (usize, usize) {
        let visible = self.due.range(..=(now, u64::MAX)).count();
        (visible, self.due.len() - visible)
    }

    /// All messages, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.all.values()
    }
}

impl Message {
    pub(crate) fn is_visible(&self, now: Instant) -> bool {
        self.visible <= now
    }
}

fn parsed(receipt: &str) -> Option<(u64, u64)> {
    let (number, nonce) = (receipt.get(..16)?, receipt.get(16..)?);
    let hex = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
    Some((hex(number)?, hex(nonce)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(now: Instant) -> Receive {
        Receive { limit: 10, invisible: 30 * SECOND, max_receives: None, now, wall: 0 }
    }

    fn bodies(received: &[(String, Message)]) -> Vec<&str> {
        received.iter().map(|(_, message)| message.body.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_received_message_is_invisible_until_its_time_is_over() {
        let (mut messages, now) = (Messages::default(), Instant::now());
        messages.send("a", 0, now);
        messages.send("later", 0, now + SECOND);
        let (received, _) = messages.receive(ask(now));
        assert_eq!(bodies(&received), ["a"]);
        assert_eq!(messages.counts(now), (0, 2));
        assert_eq!(bodies(&messages.receive(ask(now + 29 * SECOND)).0), ["later"]);
        let (again, _) = messages.receive(ask(now + 30 * SECOND));
        assert_eq!((bodies(&again), again[0].1.receives), (vec!["a"], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_receipt_deletes_nothing() {
        let (mut messages, now) = (Messages::default(), Instant::now());
        messages.send("a", 0, now);
        let old = messages.receive(ask(now)).0.remove(0).0;
        let new = messages.receive(ask(now + 30 * SECOND)).0.remove(0).0;
        assert_eq!(messages.delete(&old), Ok(()));
        assert_eq!(messages.iter().count(), 1);
        assert_eq!(messages.change(&old, SECOND, now + 31 * SECOND), Err(Refused::NotInFlight));
        assert_eq!(messages.delete(&new), Ok(()));
        assert_eq!(messages.iter().count(), 0);
        assert_eq!(messages.delete("not a receipt"), Err(Refused::Malformed));
    }

    #[tokio::test(start_paused = true)]
    async fn visibility_is_changed_within_twelve_hours() {
        let (mut messages, now) = (Messages::default(), Instant::now());
        messages.send("a", 0, now);
        let receipt = messages.receive(ask(now)).0.remove(0).0;
        assert_eq!(messages.change(&receipt, MAX_INVISIBLE, now), Ok(()));
        assert_eq!(messages.change(&receipt, MAX_INVISIBLE, now + SECOND), Err(Refused::TooLong));
        assert_eq!(messages.change(&receipt, Duration::ZERO, now + SECOND), Ok(()));
        assert_eq!(messages.next_visible(), Some(now + SECOND));
        assert_eq!(messages.counts(now + SECOND), (1, 0));
        assert_eq!(messages.change(&receipt, SECOND, now + SECOND), Err(Refused::NotInFlight));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_is_received_at_once_and_old_receipts_change_nothing() {
        let (mut messages, now) = (Messages::default(), Instant::now());
        messages.send("a", 0, now);
        let old = messages.receive(ask(now)).0.remove(0).0;
        messages.show(now);
        assert_eq!(messages.counts(now), (1, 0));
        assert_eq!(messages.receive(ask(now)).0.len(), 1);
        assert_eq!(messages.delete(&old), Ok(()));
        assert_eq!(messages.counts(now), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_received_too_often_is_given_up() {
        let (mut messages, now) = (Messages::default(), Instant::now());
        messages.send("poison", 5, now);
        let twice = Receive { max_receives: Some(2), invisible: Duration::ZERO, ..ask(now) };
        assert_eq!(messages.receive(twice).0.len(), 1);
        assert_eq!(messages.receive(twice).0.len(), 1);
        let (received, given_up) = messages.receive(twice);
        assert_eq!((received.len(), given_up.len(), messages.counts(now)), (0, 1, (0, 0)));
        let mut dead = Messages::default();
        dead.take_over(given_up[0].clone(), now);
        let (_, message) = dead.receive(ask(now)).0.remove(0);
        assert_eq!((message.receives, message.sent, message.body.as_str()), (1, 5, "poison"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receive_has_a_limit_and_the_oldest_first() {
        let (mut messages, now) = (Messages::default(), Instant::now());
        for body in ["a", "b", "c"] {
            messages.send(body, 0, now);
        }
        let two = Receive { limit: 2, ..ask(now) };
        assert_eq!(bodies(&messages.receive(two).0), ["a", "b"]);
        assert_eq!(bodies(&messages.receive(two).0), ["c"]);
    }
}
