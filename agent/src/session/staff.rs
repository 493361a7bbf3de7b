//! The workers: one task each, watched. A worker that panics costs its assignment one attempt, not the agent.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use s3sync_proto::model::{Assignment, Held, Watch, WorkError};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::Workshop;
use super::desk::SessionDesk;
use super::ledger::Ledger;
use crate::work::Orders;

/// How long a worker may tidy up after its assignment was lost. Then it is dropped where it stands.
const LOST_GRACE: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Staff {
    workshop: Arc<dyn Workshop>,
    ledger: Arc<Ledger>,
    workers: JoinSet<(Held, Ended)>,
}

enum Ended {
    /// It said all it had to say, or lost its assignment.
    Left,
    /// It gives the assignment back unstarted.
    Refused(WorkError),
    Panicked(String),
}

impl Staff {
    pub(crate) fn new(workshop: Arc<dyn Workshop>, ledger: Arc<Ledger>) -> Self {
        Self { workshop, ledger, workers: JoinSet::new() }
    }

    /// Starts a worker.
    pub(crate) fn start(&mut self, assignment: Assignment, orders: Orders) {
        let (held, lost) = (assignment.held, orders.lost.clone());
        let desk = self.desk(held, &orders);
        let workshop = Arc::clone(&self.workshop);
        let work = async move { workshop.work(assignment, desk, orders).await };
        self.workers.spawn(tend(held, lost, work));
    }

    /// Starts to follow a queue.
    pub(crate) fn start_watch(&mut self, watch: Watch, orders: Orders) {
        let (held, lost) = (watch.held, orders.lost.clone());
        let desk = self.desk(held, &orders);
        let workshop = Arc::clone(&self.workshop);
        let work = async move { workshop.watch(watch, desk, orders).await };
        self.workers.spawn(tend(held, lost, work));
    }

    fn desk(&self, held: Held, orders: &Orders) -> Arc<SessionDesk> {
        let (lost, ledger) = (orders.lost.clone(), Arc::clone(&self.ledger));
        Arc::new(SessionDesk { held, lost, ledger })
    }

    /// Waits until a worker ended, and does what follows. Waits for ever when there are none.
    pub(crate) async fn ended(&mut self) {
        let Some(joined) = self.workers.join_next().await else {
            return std::future::pending().await;
        };
        // Panics are caught inside, and nobody aborts workers but `dismiss`.
        let Ok((held, ended)) = joined else { return };
        match ended {
            Ended::Left => {
                self.ledger.left(held, "worker_left", "the worker ended without a last report");
            }
            Ended::Refused(error) => {
                warn!(assignment = held.id, code = error.code, reason = error.message, "refused");
                self.ledger.refuse(held, error);
            }
            Ended::Panicked(message) => {
                error!(assignment = held.id, epoch = held.epoch, message, "a worker panicked");
                self.ledger.left(held, "worker_panicked", &message);
            }
        }
    }

    /// Ends all workers where they stand.
    pub(crate) async fn dismiss(&mut self) {
        self.workers.shutdown().await;
    }
}

async fn tend(
    held: Held,
    lost: CancellationToken,
    work: impl Future<Output = Result<(), WorkError>> + Send,
) -> (Held, Ended) {
    let work = AssertUnwindSafe(work).catch_unwind();
    let overdue = async {
        lost.cancelled().await;
        sleep(LOST_GRACE).await;
    };
    let ended = tokio::select! {
        biased;
        ended = work => ended,
        () = overdue => {
            debug!("the worker of a lost assignment was dropped");
            return (held, Ended::Left);
        }
    };
    match ended {
        Ok(Ok(())) => (held, Ended::Left),
        Ok(Err(error)) => (held, Ended::Refused(error)),
        Err(panic) => (held, Ended::Panicked(text_of(&*panic))),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
