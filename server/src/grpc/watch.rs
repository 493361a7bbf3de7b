//! WatchRuns: a snapshot, then changes, from the store's own order of changes. A slow watcher slows nobody: it is sent
//! the newest state of what changed when it is ready for more.

use std::time::Duration;

use s3sync_proto::model::{Name, Run, RunName};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Context;
use super::status::{refused, stopping};
use crate::store::ListedRun;

/// Changes of a run are gathered for this long: people read five lines a second at most.
const GATHER: Duration = Duration::from_millis(200);
/// Runs read at once.
const PAGE: u32 = 200;
/// Messages that wait for the watcher.
const BUFFER: usize = 16;

/// Which runs.
pub(super) enum Scope {
    /// Those of a job, or all.
    Job(Option<Name>),
    /// One, until it has ended.
    Run(RunName),
}

type Sender = mpsc::Sender<Result<pb::WatchRunsResponse, Status>>;

pub(super) fn start(
    context: Context,
    scope: Scope,
) -> ReceiverStream<Result<pb::WatchRunsResponse, Status>> {
    let (sender, receiver) = mpsc::channel(BUFFER);
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        let watch = Watch { context, scope, sender: sender.clone(), seen: 0, shown: None };
        let end = watch.serve().await;
        if let Err(status) = end {
            // The watcher may have gone; then nobody is to be told.
            drop(sender.send(Err(status)).await);
        }
    });
    ReceiverStream::new(receiver)
}

struct Watch {
    context: Context,
    scope: Scope,
    sender: Sender,
    /// Revision of the newest change that was sent.
    seen: u64,
    /// How the one run was when it was sent.
    shown: Option<Run>,
}

/// Whether there is more to watch.
enum Next {
    More,
    Ended,
}

impl Watch {
    async fn serve(mut self) -> Result<(), Status> {
        use pb::watch_runs_response::Kind;
        let mut changes = self.context.store.changes();
        if let Next::Ended = self.send_changed(Kind::Snapshot).await? {
            // A run that had ended before still gets its snapshot closed.
            self.send(Kind::SnapshotEnd, None).await;
            return Ok(());
        }
        if let Next::Ended = self.send(Kind::SnapshotEnd, None).await {
            return Ok(());
        }
        loop {
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| stopping())?,
                () = self.context.shutdown.cancelled() => return Err(stopping()),
                () = self.sender.closed() => return Ok(()),
            }
            tokio::time::sleep(GATHER).await;
            changes.mark_unchanged();
            if let Next::Ended = self.send_changed(Kind::Changed).await? {
                return Ok(());
            }
        }
    }

    /// Sends what changed since the last time.
    async fn send_changed(&mut self, kind: pb::watch_runs_response::Kind) -> Result<Next, Status> {
        match &self.scope {
            Scope::Job(job) => self.send_runs(job.clone(), kind).await,
            Scope::Run(name) => self.send_run(name.clone(), kind).await,
        }
    }

    /// The one run, if it changed. One that was deleted with its job ends the watch: nothing more would come.
    async fn send_run(
        &mut self,
        name: RunName,
        kind: pb::watch_runs_response::Kind,
    ) -> Result<Next, Status> {
        let run = self.context.store.run(&name.job, Some(name.number)).await.map_err(refused)?;
        if self.shown.as_ref() == Some(&run) {
            return Ok(Next::More);
        }
        let over = run.state.is_terminal();
        self.shown = Some(run.clone());
        let next = self.send(kind, Some(wire::run_to(run))).await;
        Ok(if over { Next::Ended } else { next })
    }

    async fn send_runs(
        &mut self,
        job: Option<Name>,
        kind: pb::watch_runs_response::Kind,
    ) -> Result<Next, Status> {
        loop {
            let changed = self.context.store.runs_changed_since(self.seen, job.as_ref(), PAGE);
            let page = changed.await.map_err(refused)?;
            let full = page.len() == PAGE as usize;
            for ListedRun { revision, run, .. } in page {
                self.seen = revision;
                if let Next::Ended = self.send(kind, Some(wire::run_to(run))).await {
                    return Ok(Next::Ended);
                }
            }
            if !full {
                return Ok(Next::More);
            }
        }
    }

    async fn send(&self, kind: pb::watch_runs_response::Kind, run: Option<pb::Run>) -> Next {
        let message = pb::WatchRunsResponse { kind: kind.into(), run };
        if self.sender.send(Ok(message)).await.is_ok() { Next::More } else { Next::Ended }
    }
}
