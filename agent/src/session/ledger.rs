//! What the agent holds and what it still has to say: shared by the session, which speaks with the server, and the desks of
//! the workers. Nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3sync_proto::model::{
    Ack, Assignment, BucketFacts, FailureClass, FromAgent, Held, Key, Lease, Outcome,
    SPARE_KEY_WORKS, Verdict, Work, WorkError,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::gate::{Clocks, Gate};
use super::outbox::{Durable, Outbox};
use super::reconcile::{self, Arrival, Stated};
use crate::window::Reading;
use crate::work::{Lost, Orders, Progress};

/// Durable messages in memory at most; whoever has one more waits. A worker has few at a time, a report is at most a few
/// hundred KiB.
pub(crate) const MAX_DURABLE: usize = 256;

/// Other messages in memory at most. The oldest give way: what they say shows in the next state, too.
pub(crate) const MAX_NOTES: usize = 64;

/// See the module.
pub(crate) struct Ledger {
    book: Mutex<Book>,
    pub(crate) gate: Gate,
    /// Room for durable messages.
    room: Arc<Semaphore>,
    /// There is something new to send.
    wake: Notify,
}

/// Who waits for an acknowledgement, if anybody does, and the room the message takes.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) answer: Option<oneshot::Sender<()>>,
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

struct Book {
    /// Assignments held at most; 0 while draining.
    capacity: u32,
    draining: bool,
    tenures: BTreeMap<u64, Tenure>,
    outbox: Outbox<Waiter>,
    notes: VecDeque<FromAgent>,
    /// The server does not know yet what is held.
    changed: bool,
}

/// An assignment that is held: from its arrival until its last report is acknowledged or it is lost.
struct Tenure {
    held: Held,
    since: Option<u64>,
    lost: CancellationToken,
    stop: CancellationToken,
    split: mpsc::Sender<()>,
    /// Cursor of the newest report.
    cursor: Option<Key>,
    /// Its last report is in the outbox.
    ending: bool,
    /// It takes none of the capacity.
    watch: bool,
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(capacity: u32, clocks: Arc<dyn Clocks>) -> Self {
        Self {
            book: Mutex::new(Book {
                capacity,
                draining: false,
                tenures: BTreeMap::new(),
                outbox: Outbox::new(),
                notes: VecDeque::new(),
                changed: false,
            }),
            gate: Gate::new(clocks),
            room: Arc::new(Semaphore::new(MAX_DURABLE)),
            wake: Notify::new(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something new to send.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    // --- for workers ---

    /// Puts a durable message of an assignment in the outbox.
    pub(crate) fn say(&self, held: Held, message: Durable, waiter: Waiter) -> Result<(), Lost> {
        let mut book = self.book();
        let tenure = book.tenure(held).ok_or(Lost)?;
        if let Durable::Report(progress) = &message {
            tenure.cursor.clone_from(&progress.cursor);
        }
        tenure.ending |= message.is_last();
        book.outbox.push(Some(held), message, waiter);
        drop(book);
        self.wake.notify_one();
        Ok(())
    }

    /// Puts facts in the outbox, if there is room.
    pub(crate) fn say_facts(&self, facts: BucketFacts) {
        let Ok(room) = self.room().try_acquire_owned() else { return };
        let waiter = Waiter { answer: None, _room: Some(room) };
        self.book().outbox.push(None, Durable::Facts(facts), waiter);
        self.wake.notify_one();
    }

    pub(crate) fn decline_split(&self, held: Held, reason: &str) {
        let mut book = self.book();
        if book.tenure(held).is_some() {
            book.note(FromAgent::SplitDecline { held, reason: reason.to_owned() });
            self.wake.notify_one();
        }
    }

    // --- for the session ---

    /// A new session is about to open; what Hello states as held.
    pub(crate) fn begin_session(&self) -> Vec<Held> {
        let mut book = self.book();
        book.outbox.begin_session();
        // They were of the session before; Hello says what is held.
        book.notes.clear();
        for tenure in book.tenures.values_mut() {
            tenure.since = None;
        }
        book.state(0)
    }

    /// What state number `sequence` says: held, capacity, draining.
    pub(crate) fn state(&self, sequence: u64) -> (Vec<Held>, u32, bool) {
        let mut book = self.book();
        (book.state(sequence), book.capacity, book.draining)
    }

    /// Assignments that are held, those that take none of the capacity left out.
    pub(crate) fn holds(&self) -> u32 {
        let book = self.book();
        let held = book.tenures.values().filter(|tenure| !tenure.watch).count();
        u32::try_from(held).unwrap_or(u32::MAX)
    }

    /// Durable messages that are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        (MAX_DURABLE - self.room.available_permits().min(MAX_DURABLE)) as u64
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.book().capacity
    }

    /// Whether the server should hear a state early.
    pub(crate) fn changed(&self) -> bool {
        self.book().changed
    }

    /// A lease came, which answers the state sent at `sent`. First what is not confirmed is dropped, then the window
    /// opens. Returns what was dropped.
    pub(crate) fn confirm(&self, lease: &Lease, sent: Option<Reading>) -> Vec<Held> {
        let mut book = self.book();
        let stated =
            book.tenures.values().map(|tenure| Stated { held: tenure.held, since: tenure.since });
        let dropped = reconcile::unconfirmed(stated, lease);
        for held in &dropped {
            book.lose(*held);
        }
        drop(book);
        if let Some(sent) = sent {
            self.gate.extend(sent, lease.write_window);
        }
        dropped
    }

    /// An assignment came. What is to be done; the orders for its worker when it is to start.
    pub(crate) fn admit(&self, assignment: &Assignment) -> (Arrival, Option<Orders>) {
        let (spare, cursor) = match &assignment.work {
            Work::Range { cursor, .. } => (0, cursor.clone()),
            Work::Delete(work) => (0, work.cursor.clone()),
            Work::Reap => (0, None),
            // Events do not wait until a scan makes room.
            Work::Keys(_) | Work::DeleteKeys { .. } => (SPARE_KEY_WORKS, None),
        };
        self.admit_as(assignment.held, |book| book.room(spare), |tenure| tenure.cursor = cursor)
    }

    /// A queue to follow came.
    pub(crate) fn admit_watch(&self, held: Held) -> (Arrival, Option<Orders>) {
        let room = |book: &Book| if book.draining { (0, 0) } else { (0, 1) };
        self.admit_as(held, room, |tenure| tenure.watch = true)
    }

    /// `room` says how many count as held, and how many may be.
    fn admit_as(
        &self,
        held: Held,
        room: impl Fn(&Book) -> (usize, u32),
        adjust: impl FnOnce(&mut Tenure),
    ) -> (Arrival, Option<Orders>) {
        let mut book = self.book();
        let same = book.tenures.get(&held.id).map(|tenure| tenure.held);
        let (count, most) = room(&book);
        let mut arrival = reconcile::arrival(held, same, count, most);
        if let Arrival::Replace(old) = arrival {
            book.lose(old);
            let (count, most) = room(&book);
            arrival = reconcile::arrival(held, None, count, most);
        }
        let orders = match &arrival {
            Arrival::Start => Some(book.begin(held, adjust)),
            Arrival::Replace(_) | Arrival::Ignore => None,
            Arrival::Refuse(error) => {
                book.note(FromAgent::Refusal { held, error: error.clone() });
                None
            }
        };
        drop(book);
        self.wake.notify_one();
        (arrival, orders)
    }

    /// Gives an assignment back unstarted.
    pub(crate) fn refuse(&self, held: Held, error: WorkError) {
        let mut book = self.book();
        book.lose(held);
        book.note(FromAgent::Refusal { held, error });
        drop(book);
        self.wake.notify_one();
    }

    /// A worker ended without a last report. If the assignment is still ours the server is told, and decides.
    pub(crate) fn left(&self, held: Held, code: &str, message: &str) {
        let mut book = self.book();
        let Some(tenure) = book.tenure(held) else { return };
        if tenure.ending {
            return;
        }
        tenure.ending = true;
        let cursor = tenure.cursor.clone();
        let error = WorkError {
            class: FailureClass::Transient,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let report = Durable::Report(Progress {
            outcome: Outcome::Errored(error),
            previous_cursor: cursor.clone(),
            cursor,
            counters: Default::default(),
            failures: Vec::new(),
            extras: Default::default(),
        });
        // One more than the limit for each worker at most.
        book.outbox.push(Some(held), report, Waiter { answer: None, _room: None });
        drop(book);
        self.wake.notify_one();
    }

    /// A durable message was handled.
    pub(crate) fn acknowledge(&self, ack: Ack) {
        let mut book = self.book();
        let Some(done) = book.outbox.acknowledge(ack.sequence) else { return };
        match (ack.verdict, done.held) {
            (Verdict::Applied, held) => {
                if let Some(held) = held.filter(|_| done.last) {
                    book.tenures.remove(&held.id);
                    book.changed = true;
                }
                if let Some(answer) = done.waiter.answer {
                    // Nobody waits any more when the worker was dropped.
                    answer.send(()).ok();
                }
            }
            (Verdict::Stale, Some(held)) => book.lose(held),
            (Verdict::Stale, None) => {}
        }
    }

    /// Lets go of an assignment in an orderly way.
    pub(crate) fn revoke(&self, held: Held) {
        if let Some(tenure) = self.book().tenure(held) {
            tenure.stop.cancel();
        }
    }

    /// Passes on that the server asks for a cut, or declines it when the worker has no ear for it.
    pub(crate) fn ask_split(&self, held: Held) {
        let mut book = self.book();
        let Some(tenure) = book.tenure(held) else { return };
        if tenure.ending || tenure.split.try_send(()).is_err() {
            book.note(FromAgent::SplitDecline { held, reason: "busy".to_owned() });
            drop(book);
            self.wake.notify_one();
        }
    }

    /// Shares are applied; the server may give others what was taken away.
    pub(crate) fn applied_shares(&self, version: u64) {
        self.book().note(FromAgent::SharesApplied(version));
        self.wake.notify_one();
    }

    /// Takes nothing new and lets go of everything in an orderly way.
    pub(crate) fn drain(&self) {
        let mut book = self.book();
        book.capacity = 0;
        book.draining = true;
        book.changed = true;
        for tenure in book.tenures.values() {
            tenure.stop.cancel();
        }
        drop(book);
        self.wake.notify_one();
    }

    /// Nothing that is held is ours any more. Returns how many they were.
    pub(crate) fn lose_all(&self) -> usize {
        let mut book = self.book();
        let all: Vec<_> = book.tenures.values().map(|tenure| tenure.held).collect();
        for held in &all {
            book.lose(*held);
        }
        all.len()
    }

    /// Whether nothing is held and nothing of an assignment waits to be said.
    pub(crate) fn is_idle(&self) -> bool {
        let book = self.book();
        book.tenures.is_empty() && !book.outbox.has_any_of_assignments()
    }

    /// The next message to send.
    pub(crate) fn next(&self) -> Option<FromAgent> {
        let mut book = self.book();
        book.notes.pop_front().or_else(|| book.outbox.next())
    }
}

// === impl Book ===

impl Book {
    fn tenure(&mut self, held: Held) -> Option<&mut Tenure> {
        self.tenures.get_mut(&held.id).filter(|tenure| tenure.held == held)
    }

    fn state(&mut self, sequence: u64) -> Vec<Held> {
        self.changed = false;
        self.tenures
            .values_mut()
            .map(|tenure| {
                tenure.since.get_or_insert(sequence);
                tenure.held
            })
            .collect()
    }

    /// How many assignments count as held, and how many may be with so many to spare.
    fn room(&self, spare: u32) -> (usize, u32) {
        let held = self.tenures.values().filter(|tenure| !tenure.watch).count();
        let spare = if self.capacity > 0 { spare } else { 0 };
        (held, self.capacity.saturating_add(spare))
    }

    fn begin(&mut self, held: Held, adjust: impl FnOnce(&mut Tenure)) -> Orders {
        // One: a second request while one is being worked on is declined.
        let (split, split_orders) = mpsc::channel(1);
        let mut tenure = Tenure {
            held,
            since: None,
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
            split,
            cursor: None,
            ending: false,
            watch: false,
        };
        adjust(&mut tenure);
        let orders =
            Orders { lost: tenure.lost.clone(), stop: tenure.stop.clone(), split: split_orders };
        self.tenures.insert(held.id, tenure);
        self.changed = true;
        orders
    }

    fn lose(&mut self, held: Held) {
        if self.tenure(held).is_none() {
            return;
        }
        if let Some(tenure) = self.tenures.remove(&held.id) {
            tenure.lost.cancel();
        }
        // Whoever waits for an acknowledgement learns by the end of its channel that it is lost.
        self.outbox.forget(held);
        self.changed = true;
    }

    fn note(&mut self, note: FromAgent) {
        if self.notes.len() == MAX_NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }
}
