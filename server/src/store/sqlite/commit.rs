//! Group commit: changes that arrive together share one transaction and one fsync, and each is answered only after it.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::metrics::CommitMetrics;
use crate::store::Error;

/// Most changes in one transaction. Measured: beyond it a transaction gets longer and nothing cheaper.
const MAX_GROUP: usize = 64;
/// How long a group is collected while others are arriving. A lone change does not wait.
const GROUP_WAIT: Duration = Duration::from_millis(10);
/// Changes that wait for the committer; more make their callers wait.
const QUEUE: usize = 1_024;

/// Answers a change's caller, once it is known whether the transaction was committed.
type Answer = Box<dyn FnOnce(bool) + Send>;
/// A change: runs inside the transaction, and leaves how to answer.
type Change = Box<dyn FnOnce(&Connection) -> Answer + Send>;

/// Runs changes, in the order they arrive.
pub(super) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Change>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
}

/// The connection that writes.
pub(super) struct Writer {
    pub(super) db: Connection,
    /// Held until the last transaction is over, so that no second server opens the file before.
    pub(super) _lock: Option<File>,
}

#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the store is closed")]
    Closed,
    #[error("the transaction was not committed")]
    NotCommitted,
}

impl Committer {
    pub(super) fn start(
        writer: Writer,
        changes: watch::Sender<u64>,
        metrics: CommitMetrics,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let writer = Arc::new(Mutex::new(writer));
        let counts = Counts { commits: Arc::clone(&commits), metrics };
        let task = tokio::spawn(serve(writer, waiting, changes, counts));
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)), commits }
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Runs one change; returns after it is on disk.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = || Error::Unavailable(Box::new(Stopped::Closed));
        let queue =
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        let change: Change = Box::new(move |db| {
            let result = in_savepoint(db, change);
            Box::new(move |committed| {
                let result = if committed {
                    result
                } else {
                    Err(Error::Unavailable(Box::new(Stopped::NotCommitted)))
                };
                // The caller may have gone; what was committed stays committed.
                drop(answer.send(result));
            })
        });
        queue.send(change).await.map_err(|_| closed())?;
        // Dropped without an answer: the transaction could not begin.
        answered.await.map_err(|_| Error::Unavailable(Box::new(Stopped::NotCommitted)))?
    }

    /// Finishes what was accepted and closes the connection.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // It panics only when a change did, which was logged where it happened.
            drop(task.await);
        }
    }
}

/// What is counted of transactions.
struct Counts {
    commits: Arc<AtomicU64>,
    metrics: CommitMetrics,
}

async fn serve(
    writer: Arc<Mutex<Writer>>,
    mut waiting: mpsc::Receiver<Change>,
    changes: watch::Sender<u64>,
    counts: Counts,
) {
    while let Some(first) = waiting.recv().await {
        let began = tokio::time::Instant::now();
        let group = collect(first, &mut waiting).await;
        let changed = group.len();
        let writer = Arc::clone(&writer);
        let done = tokio::task::spawn_blocking(move || {
            commit(&writer.lock().unwrap_or_else(PoisonError::into_inner).db, group)
        });
        // On a panic or at the end of the runtime the answers are gone, and the callers know nothing.
        let Ok((committed, answers)) = done.await else { continue };
        counts.metrics.committed(began.elapsed(), changed);
        if committed == Committed::Changes {
            counts.commits.fetch_add(1, Ordering::Relaxed);
            // Before the answers: who made a change and then waits for one is not woken by its own.
            changes.send_modify(|count| *count += 1);
        }
        for answer in answers {
            answer(committed != Committed::Not);
        }
    }
}

/// The first change and those that arrive with it.
async fn collect(first: Change, waiting: &mut mpsc::Receiver<Change>) -> Vec<Change> {
    let mut group = vec![first];
    while group.len() < MAX_GROUP
        && let Ok(next) = waiting.try_recv()
    {
        group.push(next);
    }
    if group.len() == 1 {
        return group;
    }
    let deadline = tokio::time::Instant::now() + GROUP_WAIT;
    while group.len() < MAX_GROUP
        && let Ok(Some(next)) = tokio::time::timeout_at(deadline, waiting.recv()).await
    {
        group.push(next);
    }
    group
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Committed {
    /// It is on disk.
    Changes,
    /// None of it changed a row: nobody is woken, or a loop that looks after each change would wake itself.
    Nothing,
    /// It was undone.
    Not,
}

/// One transaction, and how to answer its changes.
fn commit(db: &Connection, group: Vec<Change>) -> (Committed, Vec<Answer>) {
    let before = db.total_changes();
    if let Err(error) = db.execute_batch("BEGIN IMMEDIATE") {
        tracing::error!(%error, "the database cannot be written");
        return (Committed::Not, Vec::new());
    }
    let answers: Vec<Answer> = group.into_iter().map(|change| change(db)).collect();
    let committed = match db.execute_batch("COMMIT") {
        Ok(()) if db.total_changes() > before => Committed::Changes,
        Ok(()) => Committed::Nothing,
        Err(error) => {
            tracing::error!(%error, "a transaction was not committed");
            if !db.is_autocommit()
                && let Err(error) = db.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "a transaction was not rolled back");
            }
            Committed::Not
        }
    };
    (committed, answers)
}

/// Runs one change so that its failure, or its panic, undoes nothing but itself.
fn in_savepoint<T>(
    db: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    if db.is_autocommit() {
        // An earlier change met a full disk, and SQLite undid the whole transaction. A savepoint would now commit alone.
        return Err(Error::Unavailable(Box::new(Stopped::NotCommitted)));
    }
    db.execute_batch("SAVEPOINT change")?;
    let result = catch_unwind(AssertUnwindSafe(|| change(db))).unwrap_or_else(|_| {
        tracing::error!("a change of the store panicked");
        Err(Error::Invalid("the change makes no sense to the store".to_owned()))
    });
    match result {
        Ok(value) => {
            db.execute_batch("RELEASE change")?;
            Ok(value)
        }
        Err(error) => {
            db.execute_batch("ROLLBACK TO change; RELEASE change")?;
            Err(error)
        }
    }
}
