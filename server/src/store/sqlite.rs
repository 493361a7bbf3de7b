//! The embedded store. One writer connection with group commit, a few for reading; everything blocking runs on
//! tokio's blocking threads, so that a paused clock in a test waits for it.

mod audit;
mod catalogue;
mod commit;
mod deletes;
mod dirty_key;
mod event_deletes;
mod events;
mod failures;
mod figures;
mod gaps;
mod keep;
mod keys;
mod lease;
mod left_uploads;
mod open;
mod paces;
mod pause;
mod reaps;
mod receivers;
mod reckon;
mod report;
mod row;
mod runs;
mod schedules;
mod sessions;
mod slices;
mod suspects;
mod view;
mod watches;
mod work;

use std::path::Path;

use async_trait::async_trait;
use rusqlite::Connection;
use s3sync_proto::model::{
    Agent, Assignment, AuditCall, AuditEntry, AuditOutcome, BucketFacts, EventBatch, Failure,
    FailureClass, FailureGroup, Following, Held, Key, Location, Name, QueueStatus, Run, RunName,
    RunReport, RunView, SplitProposal, State, Suspicion, Timestamp, UploadIntent, Verdict, Watch,
    WorkError, WorkReport,
};
use tokio::sync::watch;

pub use open::OpenError;

use super::{
    Applied, Catalogue, CatalogueChange, DirtyRow, Error, Figures, Grant, Keep, ListedRun,
    OpenSession, Opened, Pruned, RequestKey, RunPosition, SessionId, Snapshot, StartRun, Store,
};
use crate::metrics::CommitMetrics;
use commit::Committer;
use open::Readers;

/// A store in one SQLite file, or in memory.
pub struct Sqlite {
    incarnation: String,
    committer: Committer,
    readers: Readers,
    changes: watch::Sender<u64>,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Sqlite {
    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When another server has it open, when it is damaged, or newer than this program.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_counted(folder, CommitMetrics::none()).await
    }

    /// As [`Self::open`], and counts what is committed.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub async fn open_counted(folder: &Path, metrics: CommitMetrics) -> Result<Self, OpenError> {
        let folder = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || open::file(&folder))
            .await
            .map_err(open::stopped)??;
        Ok(Self::over(opened, metrics))
    }

    /// A store that is gone when it is dropped.
    ///
    /// # Errors
    /// When memory is short.
    pub async fn in_memory() -> Result<Self, OpenError> {
        let opened = tokio::task::spawn_blocking(open::memory).await.map_err(open::stopped)??;
        Ok(Self::over(opened, CommitMetrics::none()))
    }

    fn over(opened: open::Opened, metrics: CommitMetrics) -> Self {
        let open::Opened { incarnation, writer, readers } = opened;
        let changes = watch::Sender::new(0);
        let committer = Committer::start(writer, changes.clone(), metrics);
        Self { incarnation, committer, readers, changes }
    }

    /// Finishes what was accepted, and lets another server open the file. Reading goes on until the store is dropped.
    pub async fn close(&self) {
        self.committer.close().await;
    }

    /// How many transactions that changed anything were committed; for tests and measurements.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.committer.commits()
    }

    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.committer.run(change).await
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.readers.run(look).await
    }
}

#[async_trait]
impl Store for Sqlite {
    fn incarnation(&self) -> &str {
        &self.incarnation
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn ping(&self) -> Result<(), Error> {
        // The same value again still needs the write lock, room on the disk and an fsync.
        self.write(|db| Ok(db.execute("UPDATE meta SET revision = revision", []).map(drop)?)).await
    }

    async fn catalogue(&self) -> Result<Catalogue, Error> {
        self.read(catalogue::all).await
    }

    async fn change_catalogue(
        &self,
        seen: u64,
        change: CatalogueChange,
        request: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        self.write(move |db| catalogue::change(db, seen, change, request, now)).await
    }

    async fn remembered(
        &self,
        request: &RequestKey,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let request = request.clone();
        self.read(move |db| catalogue::remembered(db, &request, now)).await
    }

    async fn start_run(&self, start: StartRun, now: Timestamp) -> Result<Run, Error> {
        self.write(move |db| runs::start(db, start, now)).await
    }

    async fn run(&self, job: &Name, number: Option<u64>) -> Result<Run, Error> {
        let job = job.clone();
        self.read(move |db| runs::get(db, &job, number)).await
    }

    async fn run_view(
        &self,
        job: &Name,
        number: Option<u64>,
        now: Timestamp,
    ) -> Result<(RunView, Vec<Option<SessionId>>), Error> {
        let job = job.clone();
        self.read(move |db| view::of(db, &job, number, now)).await
    }

    async fn run_report(&self, job: &Name, number: Option<u64>) -> Result<RunReport, Error> {
        let job = job.clone();
        self.read(move |db| reckon::report(db, &job, number)).await
    }

    async fn runs(
        &self,
        job: Option<&Name>,
        before: Option<RunPosition>,
        limit: u32,
    ) -> Result<Vec<ListedRun>, Error> {
        let job = job.cloned();
        self.read(move |db| runs::list(db, job.as_ref(), before, limit)).await
    }

    async fn runs_changed_since(
        &self,
        revision: u64,
        job: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<ListedRun>, Error> {
        let job = job.cloned();
        self.read(move |db| runs::changed_since(db, revision, job.as_ref(), limit)).await
    }

    async fn cancel_run(&self, run: &RunName, now: Timestamp) -> Result<Run, Error> {
        let run = run.clone();
        self.write(move |db| runs::cancel(db, &run, now)).await
    }

    async fn begin_schedules(&self, now: Timestamp) -> Result<(), Error> {
        self.write(move |db| schedules::begin(db, now)).await
    }

    async fn start_due(&self, limit: u32, now: Timestamp) -> Result<Vec<RunName>, Error> {
        if !self.read(move |db| schedules::any_due(db, now)).await? {
            return Ok(Vec::new());
        }
        self.write(move |db| schedules::start(db, limit, now)).await
    }

    async fn trace_run(&self, run: &RunName, traceparent: &str) -> Result<(), Error> {
        let (run, traceparent) = (run.clone(), traceparent.to_owned());
        self.write(move |db| schedules::trace(db, &run, &traceparent)).await
    }

    async fn pause_run(&self, run: &RunName, why: &str) -> Result<Run, Error> {
        let (run, why) = (run.clone(), why.to_owned());
        self.write(move |db| pause::pause(db, &run, &why)).await
    }

    async fn approve_run(&self, run: &RunName, etag: &str, now: Timestamp) -> Result<Run, Error> {
        let (run, etag) = (run.clone(), etag.to_owned());
        self.write(move |db| deletes::approve(db, &run, &etag, now)).await
    }

    async fn resume_run(&self, run: &RunName, now: Timestamp) -> Result<Run, Error> {
        let run = run.clone();
        self.write(move |db| pause::resume(db, &run, now)).await
    }

    async fn failures(
        &self,
        run: &RunName,
        class: Option<FailureClass>,
        after: Option<(u32, Key)>,
        limit: u32,
    ) -> Result<(Vec<Failure>, u64), Error> {
        let run = run.clone();
        self.read(move |db| failures::list(db, &run, class, after, limit)).await
    }

    async fn failure_groups(&self, run: &RunName) -> Result<(Vec<FailureGroup>, u64), Error> {
        let run = run.clone();
        self.read(move |db| failures::groups(db, &run)).await
    }

    async fn failures_of_key(
        &self,
        job: &Name,
        key: &Key,
        runs: u32,
    ) -> Result<Vec<(RunName, Failure)>, Error> {
        let (job, key) = (job.clone(), key.clone());
        self.read(move |db| failures::of_key(db, &job, &key, runs)).await
    }

    async fn dirty_key(&self, job: &Name, key: &Key) -> Result<Vec<(Location, DirtyRow)>, Error> {
        let (job, key) = (job.clone(), key.clone());
        self.read(move |db| dirty_key::of(db, &job, &key)).await
    }

    async fn explain_runs(&self, reasons: Vec<(RunName, String)>) -> Result<(), Error> {
        self.write(move |db| runs::explain(db, &reasons)).await
    }

    async fn figures(&self) -> Result<Figures, Error> {
        self.read(figures::all).await
    }

    async fn agents(&self) -> Result<Vec<Agent>, Error> {
        self.read(sessions::agents).await
    }

    async fn begin_audit(&self, call: AuditCall, now: Timestamp) -> Result<u64, Error> {
        self.write(move |db| audit::begin(db, &call, now)).await
    }

    async fn end_audit(
        &self,
        number: u64,
        outcome: AuditOutcome,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |db| audit::end(db, number, &outcome, now)).await
    }

    async fn audit(
        &self,
        resource: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error> {
        let resource = resource.map(str::to_owned);
        self.read(move |db| audit::list(db, resource.as_deref(), before, limit)).await
    }

    async fn prune(&self, keep: &Keep, now: Timestamp) -> Result<Pruned, Error> {
        let keep = *keep;
        self.write(move |db| keep::prune(db, &keep, now)).await
    }

    async fn open_session(&self, open: OpenSession, now: Timestamp) -> Result<Opened, Error> {
        self.write(move |db| sessions::open(db, &open, now)).await
    }

    async fn renew_session(
        &self,
        session: SessionId,
        state: &State,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Held>, Error> {
        let state = state.clone();
        self.write(move |db| sessions::renew(db, session, &state, until, now)).await
    }

    async fn close_session(&self, session: SessionId, now: Timestamp) -> Result<(), Error> {
        self.write(move |db| sessions::close(db, session, now)).await
    }

    async fn expire_sessions(&self, now: Timestamp) -> Result<Vec<SessionId>, Error> {
        // Nearly always there is none, and a read does not disturb the writer.
        if self.read(move |db| sessions::due(db, now)).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |db| sessions::expire(db, now)).await
    }

    async fn extend_sessions(&self, until: Timestamp) -> Result<(), Error> {
        self.write(move |db| sessions::extend(db, until)).await
    }

    async fn snapshot(&self, limit: u32, now: Timestamp) -> Result<Snapshot, Error> {
        self.read(move |db| lease::snapshot(db, limit, now)).await
    }

    async fn lease(
        &self,
        grants: Vec<Grant>,
        now: Timestamp,
    ) -> Result<Vec<(SessionId, Assignment)>, Error> {
        self.write(move |db| lease::lease(db, &grants, now)).await
    }

    async fn report(&self, report: WorkReport, now: Timestamp) -> Result<Verdict, Error> {
        self.write(move |db| report::apply(db, report, now)).await
    }

    async fn refuse(
        &self,
        held: Held,
        agent: &Name,
        error: &WorkError,
        now: Timestamp,
    ) -> Result<Verdict, Error> {
        let (agent, error) = (agent.clone(), error.clone());
        self.write(move |db| work::refuse(db, held, &agent, &error, now)).await
    }

    async fn split(&self, proposal: SplitProposal, now: Timestamp) -> Result<Verdict, Error> {
        self.write(move |db| work::split(db, &proposal, now)).await
    }

    async fn suspect(&self, suspicion: Suspicion) -> Result<Verdict, Error> {
        self.write(move |db| suspects::named(db, &suspicion)).await
    }

    async fn upload_intent(&self, intent: UploadIntent, now: Timestamp) -> Result<Verdict, Error> {
        self.write(move |db| work::upload_intent(db, &intent, now)).await
    }

    async fn learn(&self, facts: BucketFacts) -> Result<(), Error> {
        self.write(move |db| work::learn(db, &facts)).await
    }

    async fn lease_watches(
        &self,
        grants: Vec<Grant>,
        now: Timestamp,
    ) -> Result<Vec<(SessionId, Watch)>, Error> {
        self.write(move |db| receivers::lease(db, &grants, now)).await
    }

    async fn explain_watches(&self, reasons: Vec<(Name, String)>) -> Result<(), Error> {
        self.write(move |db| receivers::explain(db, &reasons)).await
    }

    async fn take_events(&self, batch: EventBatch, now: Timestamp) -> Result<Verdict, Error> {
        self.write(move |db| events::take(db, batch, now)).await
    }

    async fn tend_events(&self, now: Timestamp) -> Result<Vec<RunName>, Error> {
        if !self.read(move |db| events::any_due(db, now)).await? {
            return Ok(Vec::new());
        }
        self.write(move |db| events::tend(db, now)).await
    }

    async fn following(&self, job: &Name, now: Timestamp) -> Result<Option<Following>, Error> {
        let job = job.clone();
        self.read(move |db| gaps::following(db, &job, now)).await
    }

    async fn queue_status(
        &self,
        queue: &Name,
        now: Timestamp,
    ) -> Result<Option<QueueStatus>, Error> {
        let queue = queue.clone();
        self.read(move |db| watches::status(db, &queue, now)).await
    }

    async fn relearn(
        &self,
        endpoint: Name,
        buckets: Vec<String>,
        facts: Vec<BucketFacts>,
    ) -> Result<(), Error> {
        self.write(move |db| work::relearn(db, &endpoint, &buckets, &facts)).await
    }
}

#[cfg(test)]
mod tests;
