//! Counts the requests a worker makes and what it waits for: for the reports of one assignment, and for whoever asks what
//! the agent does for a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use s3sync_proto::model::{
    Activity, Counters, Operation, RequestSide, RequestUsage, Usage, WaitReason, WaitUsage,
};
use tokio::time::Instant;

const OPERATIONS: usize = Operation::ALL.len();
const WAITS: usize = WaitReason::ALL.len();

/// What one assignment does. What its run does at this agent grows with it.
#[derive(Debug, Default)]
pub struct Meter {
    since: Cells,
    run: Arc<Tally>,
}

/// What the agent has done for a run.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    cells: Cells,
    listed: AtomicU64,
    copied: AtomicU64,
    moved_bytes: AtomicU64,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// As it should be, or by a condition that was not met.
    Well,
    /// By a wish to slow down.
    SlowDown,
    /// By another failure, or not at all.
    Badly,
}

/// A counter for everything.
#[derive(Debug, Default)]
struct Cells {
    requests: [[Cell; OPERATIONS]; 2],
    waits: [AtomicU64; WAITS],
}

#[derive(Debug, Default)]
struct Cell {
    made: AtomicU64,
    slowed: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

// === impl Meter ===

impl Meter {
    /// What it counts is also counted for a run.
    #[must_use]
    pub fn of_run(run: Arc<Tally>) -> Self {
        Self { since: Cells::default(), run }
    }

    /// A request is made.
    pub fn made(&self, side: RequestSide, operation: Operation) {
        for cells in self.both() {
            add(&cells.of(side, operation).made, 1);
        }
    }

    /// A request was answered after so long.
    pub fn answered(&self, side: RequestSide, operation: Operation, took: Duration, how: Answered) {
        for cells in self.both() {
            let cell = cells.of(side, operation);
            add(&cell.micros, micros(took));
            match how {
                Answered::Well => {}
                Answered::SlowDown => add(&cell.slowed, 1),
                Answered::Badly => add(&cell.failed, 1),
            }
        }
    }

    /// Something was waited for.
    pub fn waited(&self, reason: WaitReason, time: Duration) {
        for cells in self.both() {
            add(&cells.waits[reason as usize], micros(time));
        }
    }

    /// Waits for what is given, and counts how long that took.
    pub async fn wait<T>(&self, reason: WaitReason, what: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = what.await;
        self.waited(reason, began.elapsed());
        done
    }

    /// A listing of the source told of keys.
    pub fn listed(&self, keys: usize) {
        add(&self.run.listed, keys as u64);
    }

    /// An object was copied.
    pub fn copied(&self) {
        add(&self.run.copied, 1);
    }

    /// Bytes went through this agent.
    pub fn moved(&self, bytes: u64) {
        add(&self.run.moved_bytes, bytes);
    }

    /// The requests and waits since the last call: as counters by what they cost, and in full.
    pub fn take(&self) -> (Counters, Usage) {
        let usage = self.since.usage(|counter| counter.swap(0, Ordering::Relaxed));
        let mut counters = Counters::default();
        for RequestUsage { operation, made, .. } in &usage.requests {
            *match operation {
                Operation::List | Operation::ListUploads | Operation::ListParts => {
                    &mut counters.list_requests
                }
                Operation::Head
                | Operation::Get
                | Operation::GetTags
                | Operation::GetNotifications => &mut counters.read_requests,
                Operation::Put
                | Operation::Copy
                | Operation::CreateUpload
                | Operation::UploadPart
                | Operation::CopyPart
                | Operation::CompleteUpload
                | Operation::AbortUpload
                | Operation::Delete
                | Operation::DeleteMany => &mut counters.write_requests,
            } += made;
        }
        (counters, usage)
    }

    fn both(&self) -> [&Cells; 2] {
        [&self.since, &self.run.cells]
    }
}

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            cells: Cells::default(),
            listed: AtomicU64::default(),
            copied: AtomicU64::default(),
            moved_bytes: AtomicU64::default(),
        }
    }
}

impl Tally {
    /// All of it, without what is in flight.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Activity {
            time: self.began.elapsed(),
            listed: load(&self.listed),
            copied: load(&self.copied),
            moved_bytes: load(&self.moved_bytes),
            usage: self.cells.usage(load),
            loads: Vec::new(),
        }
    }
}

// === impl Cells ===

impl Cells {
    const fn of(&self, side: RequestSide, operation: Operation) -> &Cell {
        &self.requests[side as usize][operation as usize]
    }

    fn usage(&self, read: impl Fn(&AtomicU64) -> u64) -> Usage {
        let mut usage = Usage::default();
        for side in RequestSide::ALL {
            for operation in Operation::ALL {
                let Cell { made, slowed, failed, micros } = self.of(side, operation);
                let time = Duration::from_micros(read(micros));
                let (made, slowed, failed) = (read(made), read(slowed), read(failed));
                // A request may be made in one report and answered in the next.
                if made + slowed + failed > 0 || time > Duration::ZERO {
                    let one = RequestUsage { side, operation, made, slowed, failed, time };
                    usage.requests.push(one);
                }
            }
        }
        for reason in WaitReason::ALL {
            let time = Duration::from_micros(read(&self.waits[reason as usize]));
            if time > Duration::ZERO {
                usage.waits.push(WaitUsage { reason, time });
            }
        }
        usage
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_taken_once_and_by_its_kind() {
        let run = Arc::new(Tally::default());
        let (one, other) = (Meter::of_run(Arc::clone(&run)), Meter::of_run(Arc::clone(&run)));
        for operation in [Operation::List, Operation::Get, Operation::Head, Operation::Put] {
            one.made(RequestSide::Source, operation);
        }
        one.answered(
            RequestSide::Source,
            Operation::Get,
            Duration::from_millis(3),
            Answered::SlowDown,
        );
        other.made(RequestSide::Destination, Operation::Get);
        let (counters, usage) = one.take();
        let costs = (counters.list_requests, counters.read_requests, counters.write_requests);
        assert_eq!(costs, (1, 2, 1));
        let get = usage.requests.iter().find(|one| one.operation == Operation::Get).unwrap();
        assert_eq!(
            (get.made, get.slowed, get.failed, get.time),
            (1, 1, 0, Duration::from_millis(3))
        );
        assert_eq!(one.take(), (Counters::default(), Usage::default()));
        let all: u64 = run.activity().usage.requests.iter().map(|one| one.made).sum();
        assert_eq!(all, 5, "what the run did is not taken, and is that of both");
    }

    #[test]
    fn positions_are_those_of_the_lists() {
        assert!(Operation::ALL.into_iter().enumerate().all(|(at, one)| one as usize == at));
        assert!(WaitReason::ALL.into_iter().enumerate().all(|(at, one)| one as usize == at));
        assert!(RequestSide::ALL.into_iter().enumerate().all(|(at, one)| one as usize == at));
    }
}
