//! Deletes what is not kept any longer, a little at a time.

use std::time::Duration;

use crate::grpc::Context;
use crate::store::Keep;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// Most runs of a job that are kept: a job that runs every second would have a million in two weeks.
pub(crate) const MAX_RUNS_PER_JOB: u32 = 1_000;
/// Most failures of ended runs that are kept, about 150 MB of the database.
pub(crate) const MAX_FAILURES: u64 = 500_000;
/// Most entries of the audit log that are kept, below 150 MB of the database.
pub(crate) const MAX_AUDIT_ENTRIES: u64 = 30_000;

/// The bounds, with runs kept for a time.
#[must_use]
pub(crate) fn keep(runs_for: Duration) -> Keep {
    Keep {
        runs_for,
        runs_per_job: MAX_RUNS_PER_JOB,
        failures: MAX_FAILURES,
        audit_entries: MAX_AUDIT_ENTRIES,
    }
}

/// Runs until the server stops.
pub(crate) async fn serve(context: Context, keep: Keep) {
    loop {
        match context.store.prune(&keep, context.clock.now()).await {
            // What is left is deleted at once, after others had their turn at the writer.
            Ok(pruned) if pruned.runs > 0 || pruned.audit_entries > 0 => {
                tracing::info!(
                    runs = pruned.runs,
                    audit_entries = pruned.audit_entries,
                    "old records were deleted"
                );
                if context.shutdown.is_cancelled() {
                    return;
                }
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "old records are not deleted"),
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = context.shutdown.cancelled() => return,
        }
    }
}
