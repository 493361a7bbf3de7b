//! The seam to the database, which is the only truth. Each method is one transaction, named for what happens. A
//! method that returned `Ok` is on disk: an acknowledgement sent after it survives any crash.
//!
//! Times come from the caller. Nothing here decides: decisions are pure functions of [`crate::plan`].

mod change;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod error;
mod figures;
mod keep;
pub mod sqlite;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::model::{
    Agent, AgentEndpoint, Assignment, AuditCall, AuditEntry, AuditOutcome, BucketFacts,
    Destination, EventBatch, Failure, FailureClass, FailureGroup, Following, Held, Hello, Key,
    Limits, Location, Name, QueueSpec, QueueStatus, Run, RunName, RunReport, RunView,
    SplitProposal, State, Suspicion, Timestamp, Trigger, UploadIntent, Verdict, Watch, WorkError,
    WorkReport,
};
use tokio::sync::watch;

pub use crate::plan::DirtyRow;
pub use change::{Applied, Catalogue, CatalogueChange, RequestKey};
pub use error::Error;
pub use figures::{DestinationFigures, Figures, JobFigures, QueueFigures, RangeState};
pub use keep::{Keep, Pruned};

/// Most failures a run lists; more are only counted, and the run ends incomplete (DESIGN, decision 2).
pub const MAX_FAILURES_PER_RUN: u64 = 100_000;

/// Most groups of failures that are told.
pub const MAX_FAILURE_GROUPS: u32 = 50;

/// Most ranges a run may be cut into at one destination, so that rows stay bounded.
pub const MAX_RANGES_PER_DESTINATION: u32 = 4_096;

/// Most works that look at named keys of one destination of a run at the same time.
pub const MAX_KEY_WORKS_PER_DESTINATION: usize = 8;

/// Most keys that a work of a run of events takes: one that is slow keeps few others waiting.
pub const MAX_EVENT_KEYS_PER_WORK: usize = 100;

/// Most keys of a destination that wait to be looked at for events (DESIGN, decision 2). Beyond it they are dropped, and a
/// scan looks at everything.
pub const MAX_DIRTY_KEYS_PER_DESTINATION: u64 = 250_000;

/// Most agents of a run that are told of one by one.
pub const MAX_AGENTS_SHOWN: usize = 64;

/// How long a request id is remembered.
pub const REQUEST_ID_TTL: Duration = Duration::from_secs(24 * 3600);

/// A database behind the control plane.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Names this database; differs after a restore. Epochs of another incarnation mean nothing.
    fn incarnation(&self) -> &str;

    /// Grows after every commit that changed anything a reader could show, before the change is answered. Only a wake-up:
    /// readers look again. A change that finds nothing to change does not wake.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Whether the database can be written right now.
    async fn ping(&self) -> Result<(), Error>;

    // --- endpoints and jobs ---

    /// All endpoints, queues and jobs, with the revision they were read at.
    async fn catalogue(&self) -> Result<Catalogue, Error>;

    /// Applies a change that was checked against the catalogue of revision `seen`; [`Error::Moved`] when that is no
    /// longer the newest.
    async fn change_catalogue(
        &self,
        seen: u64,
        change: CatalogueChange,
        request: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<Applied, Error>;

    /// What an earlier request of this key made, if it is still remembered. [`Error::RequestReused`] when it was a
    /// different request.
    async fn remembered(
        &self,
        request: &RequestKey,
        now: Timestamp,
    ) -> Result<Option<String>, Error>;

    // --- runs ---

    /// Starts a run of the job as it is now: with one range per destination, or cut as the last run ended; or, of a run
    /// that retries another, with the keys that failed there. [`Error::RunActive`] while one is going on,
    /// [`Error::NotNow`] when there is nothing to retry.
    async fn start_run(&self, start: StartRun, now: Timestamp) -> Result<Run, Error>;

    /// The server starts: of jobs whose last full run is not fresh a run is due ([`crate::plan::schedule::due_at_start`]).
    async fn begin_schedules(&self, now: Timestamp) -> Result<(), Error>;

    /// Starts the runs that schedules are due for, of at most `limit` jobs, and returns them. Each nominal time starts one
    /// run or is counted as skipped. Costs a read when nothing is due.
    async fn start_due(&self, limit: u32, now: Timestamp) -> Result<Vec<RunName>, Error>;

    /// Gives a run that started by itself its W3C trace context. One that has one keeps it.
    async fn trace_run(&self, run: &RunName, traceparent: &str) -> Result<(), Error>;

    /// One run; `number` `None` means the newest, and of a run of events only when there is no other.
    async fn run(&self, job: &Name, number: Option<u64>) -> Result<Run, Error>;

    /// How a run stands right now, without what its agents do, and their sessions, in their order, where these can be asked
    /// for that; `number` as of [`Store::run`].
    async fn run_view(
        &self,
        job: &Name,
        number: Option<u64>,
        now: Timestamp,
    ) -> Result<(RunView, Vec<Option<SessionId>>), Error>;

    /// What a run did, as far as it has come; `number` as of [`Store::run`].
    async fn run_report(&self, job: &Name, number: Option<u64>) -> Result<RunReport, Error>;

    /// Runs, newest first, of one job or all, after the position `before` (exclusive).
    async fn runs(
        &self,
        job: Option<&Name>,
        before: Option<RunPosition>,
        limit: u32,
    ) -> Result<Vec<ListedRun>, Error>;

    /// Runs whose row changed after `revision`, in the order of change, of one job or all.
    async fn runs_changed_since(
        &self,
        revision: u64,
        job: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<ListedRun>, Error>;

    /// Begins to cancel a run: ranges nobody holds are closed, those held are to be revoked. No effect on one that
    /// has ended.
    async fn cancel_run(&self, run: &RunName, now: Timestamp) -> Result<Run, Error>;

    /// Pauses a run that is going on: nothing new of it is leased, and holders are to let go. `why` is for people. No effect
    /// on one that is paused; [`Error::NotNow`] when it has ended or is being cancelled.
    async fn pause_run(&self, run: &RunName, why: &str) -> Result<Run, Error>;

    /// A paused run goes on where it stood. No effect on one that is going on; [`Error::NotNow`] when it has ended, is being
    /// cancelled or waits for an approval.
    async fn resume_run(&self, run: &RunName, now: Timestamp) -> Result<Run, Error>;

    /// Approves the deletes of a run that waits for it. [`Error::Outdated`] when what is shown now is not of this etag;
    /// [`Error::NotNow`] when it does not wait. The same approval again changes nothing.
    async fn approve_run(&self, run: &RunName, etag: &str, now: Timestamp) -> Result<Run, Error>;

    /// Failures of a run, of one class or of all, by destination and key, after a position, and how many keys failed in all.
    async fn failures(
        &self,
        run: &RunName,
        class: Option<FailureClass>,
        after: Option<(u32, Key)>,
        limit: u32,
    ) -> Result<(Vec<Failure>, u64), Error>;

    /// The listed failures of a run by class and code, most first, at most [`MAX_FAILURE_GROUPS`], and how many keys
    /// failed in all.
    async fn failure_groups(&self, run: &RunName) -> Result<(Vec<FailureGroup>, u64), Error>;
    /// What is recorded of one key in the newest `runs` runs of a job, newest first, at every destination.
    async fn failures_of_key(
        &self,
        job: &Name,
        key: &Key,
        runs: u32,
    ) -> Result<Vec<(RunName, Failure)>, Error>;

    /// What events left to be done about one key of a job, and where. One that is dirty in several runs is told of by the newest.
    async fn dirty_key(&self, job: &Name, key: &Key) -> Result<Vec<(Location, DirtyRow)>, Error>;

    /// Sets why runs stand where they stand (nobody can do the work), where that differs from what is recorded.
    async fn explain_runs(&self, reasons: Vec<(RunName, String)>) -> Result<(), Error>;

    // --- what is kept ---

    /// Records a call that asks for a change, before it is looked at. Returns the number of its entry.
    async fn begin_audit(&self, call: AuditCall, now: Timestamp) -> Result<u64, Error>;

    /// Records how a call ended. No effect on an entry that has ended, or is gone.
    async fn end_audit(
        &self,
        number: u64,
        outcome: AuditOutcome,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Entries, newest first, after the number `before` (exclusive); of a resource and what is below it, or of all.
    async fn audit(
        &self,
        resource: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error>;

    /// Deletes some of what is not kept any longer by these bounds: runs that ended, with all that is recorded of them, and
    /// entries of the audit log. The newest run of a job and trigger stays. Returns how much was deleted; when it is nothing,
    /// there is no more.
    async fn prune(&self, keep: &Keep, now: Timestamp) -> Result<Pruned, Error>;

    // --- agents and sessions ---

    /// What is counted, for metrics. It agrees with what the runs say.
    async fn figures(&self) -> Result<Figures, Error>;

    /// All agents, by name.
    async fn agents(&self) -> Result<Vec<Agent>, Error>;

    /// Opens a session; an earlier one of the same agent ends. What the agent still holds and what is still leased
    /// to it with that epoch is kept; the rest of its leases is released: not counted as lost when it is the same
    /// process, counted when it is another one (the earlier died). That which is counted is leased to nobody before the
    /// earlier session would have expired: what was begun in it may still be committed.
    async fn open_session(&self, open: OpenSession, now: Timestamp) -> Result<Opened, Error>;

    /// Records a state and prolongs the session. What was leased before the newest lease the agent has seen and is
    /// not held was lost on the way: it is released, not counted. Returns what is leased to the session;
    /// [`Error::SessionGone`] when it expired or was superseded.
    async fn renew_session(
        &self,
        session: SessionId,
        state: &State,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Held>, Error>;

    /// The session ended in an orderly way: what it held is released, not counted, and free once it would have expired.
    async fn close_session(&self, session: SessionId, now: Timestamp) -> Result<(), Error>;

    /// Ends sessions that were due before `now`: what they held is released and counted as lost. The epoch stays,
    /// so a late report counts until the work is leased again.
    async fn expire_sessions(&self, now: Timestamp) -> Result<Vec<SessionId>, Error>;

    /// After a start of the server: no session expires before `until` (nobody could renew while it was away).
    async fn extend_sessions(&self, until: Timestamp) -> Result<(), Error>;

    // --- work ---

    /// What a dispatch decision is made of. At most `limit` ready ranges, spread over the runs.
    async fn snapshot(&self, limit: u32, now: Timestamp) -> Result<Snapshot, Error>;

    /// Leases ranges. Grants whose row or session is no longer as it was seen are left out of the answer.
    async fn lease(
        &self,
        grants: Vec<Grant>,
        now: Timestamp,
    ) -> Result<Vec<(SessionId, Assignment)>, Error>;

    /// Applies a report, all of it or nothing, if its epoch and its previous cursor are the row's. Closes the run when it
    /// was the last one. A report by which a credential fails on everything ([`crate::plan::fails_on_keys`]) pauses the
    /// run instead, moves nothing, and is `Stale` to its holder. A checkpoint that comes again because its answer was lost is answered `Applied` and not counted
    /// again; a last report that comes again is `Stale`. [`Error::Invalid`] when it contradicts itself or the row.
    async fn report(&self, report: WorkReport, now: Timestamp) -> Result<Verdict, Error>;

    /// An assignment comes back unstarted; not counted as lost. It is not offered to the same agent again within
    /// [`crate::plan::REFUSAL_PAUSE`].
    async fn refuse(
        &self,
        held: Held,
        agent: &Name,
        error: &WorkError,
        now: Timestamp,
    ) -> Result<Verdict, Error>;

    /// Cuts a range. A proposal that comes twice is applied once and acknowledged twice. `Stale` when the destination is
    /// cut into [`MAX_RANGES_PER_DESTINATION`] already.
    async fn split(&self, proposal: SplitProposal, now: Timestamp) -> Result<Verdict, Error>;

    /// Records the one key that the holder of a careful range is about to work on. When holders die with it alone, the key
    /// becomes a failure `poison` and the cursor steps over it.
    async fn suspect(&self, suspicion: Suspicion) -> Result<Verdict, Error>;

    /// Records that an upload is about to begin, or its id.
    async fn upload_intent(&self, intent: UploadIntent, now: Timestamp) -> Result<Verdict, Error>;

    /// Merges what was learned of a bucket into what is known.
    async fn learn(&self, facts: BucketFacts) -> Result<(), Error>;

    // --- events ---

    /// Leases watch work, as [`Store::lease`] leases ranges.
    async fn lease_watches(
        &self,
        grants: Vec<Grant>,
        now: Timestamp,
    ) -> Result<Vec<(SessionId, Watch)>, Error>;

    /// Sets why nobody receives from queues, where that differs from what is recorded.
    async fn explain_watches(&self, reasons: Vec<(Name, String)>) -> Result<(), Error>;

    /// Takes what a holder of watch work tells: each key that may have changed is marked at each destination of each job it
    /// concerns. A batch that comes again marks again, which costs a look and does no harm.
    async fn take_events(&self, batch: EventBatch, now: Timestamp) -> Result<Verdict, Error>;

    /// Does what time brings to events: keys that were put off get work, runs of events are replaced daily, and where events
    /// are missing a scan begins. Returns such scans. Costs a read when nothing is due.
    async fn tend_events(&self, now: Timestamp) -> Result<Vec<RunName>, Error>;

    /// How a job's events stand; `None` when it follows none.
    async fn following(&self, job: &Name, now: Timestamp) -> Result<Option<Following>, Error>;

    /// How it stands with receiving from a queue; `None` when no job names it.
    async fn queue_status(
        &self,
        queue: &Name,
        now: Timestamp,
    ) -> Result<Option<QueueStatus>, Error>;

    /// Forgets all that is known of these buckets of an endpoint, and records `facts` of them instead.
    async fn relearn(
        &self,
        endpoint: Name,
        buckets: Vec<String>,
        facts: Vec<BucketFacts>,
    ) -> Result<(), Error>;
}

/// A run to start.
#[derive(Clone, Debug)]
pub struct StartRun {
    /// The job.
    pub job: Name,
    /// What started it.
    pub trigger: Trigger,
    /// W3C trace context; may be empty.
    pub traceparent: String,
    /// The client's request id. A repetition returns the run that was started then.
    pub request: Option<RequestKey>,
    /// Number of the run whose failures are looked at again; `None`: everything is.
    pub retries: Option<u64>,
    /// The nominal time of the schedule that starts it.
    pub nominal: Option<Timestamp>,
}

/// Where a run stands in the order of all runs; grows with each run.
pub type RunPosition = u64;

/// A run with its position and the revision of its last change.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRun {
    /// Position in the order of all runs.
    pub position: RunPosition,
    /// Revision of its last change.
    pub revision: u64,
    /// The run.
    pub run: Run,
}

/// A session, by the number the store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A session to open.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// What the agent said.
    pub hello: Hello,
    /// Features both sides know.
    pub features: Vec<String>,
    /// When it expires unless it is renewed.
    pub until: Timestamp,
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub session: SessionId,
    /// The session of the same agent that ended by it.
    pub superseded: Option<SessionId>,
    /// What is leased to it.
    pub confirmed: Vec<Held>,
}

/// What a dispatch decision is made of.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Open sessions.
    pub sessions: Vec<SessionView>,
    /// Ranges that nobody holds and that are due, in the order they became ready.
    pub ready: Vec<RangeView>,
    /// Runs that have ranges nobody may hold yet, since what their last holder had begun may still arrive, and when the
    /// first of these is free.
    pub late: Vec<(RunName, Timestamp)>,
    /// Ranges that are held, for splits and revocations.
    pub leased: Vec<LeasedView>,
    /// Receivers of queues that nobody is and that are due.
    pub watches: Vec<WatchView>,
    /// Receivers of queues, and who they are.
    pub watching: Vec<(WatchView, SessionId)>,
}

/// Watch work, as far as a decision needs it: one of the receivers of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchView {
    /// Its number, and the epoch it has now.
    pub held: Held,
    /// The queue.
    pub queue: Name,
    /// The queue's settings.
    pub spec: QueueSpec,
    /// Agent that refused it lately.
    pub refused_by: Option<Name>,
    /// Agent that gave it back with an error lately; others are preferred.
    pub failed_by: Option<Name>,
}

/// A session, as far as a dispatch decision needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionView {
    /// Its number.
    pub session: SessionId,
    /// Whose.
    pub agent: Name,
    /// The agent's labels.
    pub labels: BTreeMap<String, String>,
    /// Endpoints it has credentials for.
    pub endpoints: Vec<AgentEndpoint>,
    /// What it can do beyond the version of the protocol.
    pub features: Vec<String>,
    /// How many assignments it would hold at most.
    pub capacity: u32,
    /// How many it holds.
    pub held: u32,
    /// It takes nothing new.
    pub draining: bool,
}

/// What kind of work a row of ranges is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkKind {
    /// A slice of the key space.
    #[default]
    Range,
    /// Named keys.
    Keys,
    /// Named keys that are to be deleted.
    DeleteKeys,
    /// A slice in which what the source does not have is counted.
    Count,
    /// A slice in which it is deleted.
    Delete,
}

/// A range, as far as a dispatch decision needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeView {
    /// Its number, and the epoch it has now.
    pub held: Held,
    /// What kind of work it is.
    pub kind: WorkKind,
    /// Features an agent must know to do it.
    pub needs: Vec<&'static str>,
    /// The run it is of.
    pub run: RunName,
    /// Where objects come from.
    pub source: Location,
    /// Where they go.
    pub destination: Destination,
    /// The run is being cancelled: only left-over uploads are to be aborted.
    pub reap: bool,
    /// Agents have died of it: it is done by one that does nothing else.
    pub careful: bool,
    /// Agent that refused it lately.
    pub refused_by: Option<Name>,
    /// Bounds on what its run may use.
    pub limits: Limits,
}

/// A range that is held.
#[derive(Clone, Debug, PartialEq)]
pub struct LeasedView {
    /// The range.
    pub range: RangeView,
    /// Who holds it.
    pub session: SessionId,
    /// When it was leased.
    pub since: Timestamp,
    /// The run is being cancelled or is paused: the holder is to let go.
    pub revoke: bool,
    /// Ranges the destination has in this run, open and done.
    pub siblings: u32,
}

/// A decision to lease a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The range with the epoch it was seen with.
    pub held: Held,
    /// Who gets it.
    pub session: SessionId,
}
