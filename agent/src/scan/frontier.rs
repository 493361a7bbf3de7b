//! Pure. Keeps a range's cursor behind everything that is not settled, and the counters and failures of a report to
//! exactly the keys up to its cursor: those beyond are done again by the next holder, and counted by it.

use std::collections::VecDeque;

use s3sync_proto::model::{Counters, Failure, Key};

/// Keys beyond the cursor at most. One giant object holds the cursor; what was done beyond it is compared again after
/// a crash, so this bounds the repeated listing to 250 pages.
pub const MAX_BEYOND: u64 = 250_000;

/// Failures in one report at most: a failure takes up to 2.5 KB, a message 4 MiB.
pub const MAX_REPORT_FAILURES: usize = 500;

/// Failures that wait beyond those of a report at most: archives list millions of keys at once.
pub const MAX_WAITING_FAILURES: usize = 10_000;

/// What became of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What it adds to the counters.
    pub counters: Counters,
    /// Why it is not in step.
    pub failure: Option<Failure>,
    /// Of a key that only the destination has, which object that is: `ExtraKey::object`.
    pub object: String,
}

/// A key that is not settled yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// What may be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// All keys up to and including this one are settled.
    pub cursor: Key,
    /// What they add up to since the last report.
    pub counters: Counters,
    /// Those that failed.
    pub failures: Vec<Failure>,
}

/// The keys between the cursor and the listing.
#[derive(Debug, Default)]
pub struct Frontier {
    /// In order of keys. Neighbours that are settled without failure share a slot, so memory follows what is not.
    slots: VecDeque<Slot>,
    /// Number of the first slot.
    first: u64,
    /// Keys in the slots.
    beyond: u64,
    /// Open keys.
    open: usize,
    /// Failures in the slots.
    failures: usize,
    ready: Option<Settlement>,
    ready_keys: u64,
}

#[derive(Debug)]
struct Slot {
    last: Key,
    keys: u64,
    settled: Option<Settled>,
}

// === impl Frontier ===

impl Frontier {
    /// Adds a key, which must be above all before, that is to be settled later.
    pub fn open(&mut self, key: Key) -> Ticket {
        debug_assert!(self.slots.back().is_none_or(|slot| slot.last < key));
        let ticket = Ticket(self.first + self.slots.len() as u64);
        self.slots.push_back(Slot { last: key, keys: 1, settled: None });
        self.beyond += 1;
        self.open += 1;
        ticket
    }

    /// Adds a key, above all before, that is settled at once.
    pub fn add(&mut self, key: Key, counters: Counters) {
        self.beyond += 1;
        if let Some(Slot { last, keys, settled: Some(settled) }) = self.slots.back_mut()
            && settled.failure.is_none()
        {
            *last = key;
            *keys += 1;
            settled.counters += counters;
        } else {
            let settled = Some(Settled { counters, ..Settled::default() });
            self.slots.push_back(Slot { last: key, keys: 1, settled });
        }
        self.advance();
    }

    /// Adds a key, above all before, that is settled at once and perhaps listed as a failure.
    pub fn add_settled(&mut self, key: Key, settled: Settled) {
        let ticket = self.open(key);
        self.settle(ticket, settled);
    }

    /// Settles an open key.
    pub fn settle(&mut self, ticket: Ticket, settled: Settled) {
        let index = ticket.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.slots.get_mut(index));
        let slot = slot.expect("an open key keeps the cursor before it");
        assert!(slot.settled.is_none(), "a key is settled once");
        self.failures += usize::from(settled.failure.is_some());
        slot.settled = Some(settled);
        self.open -= 1;
        self.advance();
    }

    /// Keys that are open.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.open
    }

    /// Whether no more keys should be added now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.beyond >= MAX_BEYOND || self.failures >= MAX_WAITING_FAILURES
    }

    /// Keys a report would cover now.
    #[must_use]
    pub fn reportable(&self) -> u64 {
        self.ready_keys
    }

    /// Whether a report is full, so that the cursor waits for it to be taken.
    #[must_use]
    pub fn report_is_full(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.failures.len() >= MAX_REPORT_FAILURES)
    }

    /// Takes what may be reported. To be called until there is nothing when a range ends.
    pub fn take(&mut self) -> Option<Settlement> {
        let taken = self.ready.take();
        self.ready_keys = 0;
        self.advance();
        taken
    }

    fn advance(&mut self) {
        while !self.report_is_full()
            && let Some(slot) = self.slots.pop_front_if(|slot| slot.settled.is_some())
        {
            let Settled { counters, failure, object: _ } = slot.settled.unwrap_or_default();
            self.first += 1;
            self.failures -= usize::from(failure.is_some());
            self.beyond -= slot.keys;
            self.ready_keys += slot.keys;
            let ready = self.ready.get_or_insert_with(|| Settlement {
                cursor: slot.last.clone(),
                counters: Counters::default(),
                failures: Vec::new(),
            });
            ready.cursor = slot.last;
            ready.counters += counters;
            ready.failures.extend(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s3sync_proto::model::{FailureClass, Timestamp};

    use super::*;

    fn failure(key: &Key) -> Failure {
        Failure {
            key: key.clone(),
            destination: 0,
            class: FailureClass::Permanent,
            code: "X".into(),
            message: String::new(),
            s3_request_id: String::new(),
            attempts: 1,
            first: Timestamp::default(),
            last: Timestamp::default(),
        }
    }

    fn key(n: u32) -> Key {
        Key::from(format!("{n:08}").into_bytes())
    }

    fn one() -> Counters {
        Counters { listed: 1, in_step: 1, ..Counters::default() }
    }

    fn failed(n: u32) -> Settled {
        let counters = Counters { listed: 1, failed: 1, ..Counters::default() };
        Settled { counters, failure: Some(failure(&key(n))), ..Settled::default() }
    }

    #[test]
    fn an_open_key_holds_the_cursor_and_the_counters_behind_it() {
        let mut frontier = Frontier::default();
        frontier.add(key(1), one());
        let ticket = frontier.open(key(2));
        frontier.add(key(3), one());
        let report = frontier.take().unwrap();
        assert_eq!((report.cursor, report.counters.listed), (key(1), 1));
        assert_eq!(frontier.take(), None);
        frontier.settle(ticket, failed(2));
        let report = frontier.take().unwrap();
        assert_eq!((report.cursor, report.counters.listed), (key(3), 2));
        assert_eq!(report.failures, [failure(&key(2))]);
    }

    #[test]
    fn a_report_is_bounded_by_its_failures() {
        let mut frontier = Frontier::default();
        for n in 0..=u32::try_from(MAX_REPORT_FAILURES).unwrap() {
            let ticket = frontier.open(key(n));
            frontier.settle(ticket, failed(n));
        }
        let first = frontier.take().unwrap();
        assert_eq!(first.failures.len(), MAX_REPORT_FAILURES);
        assert_eq!(first.cursor, first.failures.last().unwrap().key);
        assert_eq!(frontier.take().unwrap().failures.len(), 1);
    }

    #[test]
    fn the_listing_stops_while_too_many_failures_wait_to_be_reported() {
        let mut frontier = Frontier::default();
        let mut n = 0;
        while !frontier.is_full() {
            frontier.add_settled(key(n), failed(n));
            n += 1;
        }
        assert_eq!(n as usize, MAX_REPORT_FAILURES + MAX_WAITING_FAILURES);
        assert_eq!(frontier.take().unwrap().failures.len(), MAX_REPORT_FAILURES);
        assert!(!frontier.is_full());
    }

    #[test]
    fn memory_follows_open_keys_and_the_listing_stops_at_the_bound() {
        let mut frontier = Frontier::default();
        let ticket = frontier.open(key(0));
        let mut n = 0;
        while !frontier.is_full() {
            n += 1;
            frontier.add(key(n), one());
        }
        assert_eq!(u64::from(n) + 1, MAX_BEYOND);
        assert_eq!(frontier.slots.len(), 2);
        frontier.settle(ticket, Settled { counters: one(), ..Settled::default() });
        assert_eq!(frontier.take().unwrap().counters.listed, MAX_BEYOND);
    }

    proptest! {
        /// Whatever order keys are settled in: each report counts exactly the keys between two cursors, and in the end all.
        #[test]
        fn reports_count_exactly_the_keys_up_to_their_cursor(
            kinds in prop::collection::vec(0..3_u8, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 60),
            take_every in 1..5_usize,
        ) {
            let mut frontier = Frontier::default();
            let mut open = Vec::new();
            let mut reported = 0;
            let mut cursor = None;
            let mut check = |frontier: &mut Frontier, open: &[(Ticket, u32)]| {
                let Some(report) = frontier.take() else { return Ok(()) };
                let end: u64 = report.cursor.to_string().parse().unwrap();
                prop_assert_eq!(report.counters.listed, end + 1 - reported);
                prop_assert!(cursor.as_ref().is_none_or(|before| *before < report.cursor));
                prop_assert!(open.iter().all(|(_, n)| u64::from(*n) > end));
                prop_assert!(report.counters.add_up());
                prop_assert_eq!(report.counters.failed, report.failures.len() as u64);
                reported = end + 1;
                cursor = Some(report.cursor);
                Ok(())
            };
            for (n, kind) in kinds.iter().enumerate() {
                let n32 = u32::try_from(n).unwrap();
                if *kind == 0 {
                    frontier.add(key(n32), one());
                } else {
                    open.push((frontier.open(key(n32)), n32));
                }
                if n % take_every == 0 && !open.is_empty() {
                    let (ticket, n) = open.swap_remove(order[n % order.len()].index(open.len()));
                    frontier.settle(ticket, if *kind == 1 { failed(n) } else { Settled { counters: one(), ..Settled::default() } });
                    check(&mut frontier, &open)?;
                }
            }
            while let Some((ticket, n)) = open.pop() {
                frontier.settle(ticket, failed(n));
                check(&mut frontier, &open)?;
            }
            check(&mut frontier, &open)?;
            prop_assert_eq!(reported, kinds.len() as u64);
            prop_assert_eq!(frontier.pending(), 0);
        }
    }
}
