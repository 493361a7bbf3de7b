//! The seam between a session, which speaks with the server, and a worker, which does one assignment.

use async_trait::async_trait;
use s3sync_proto::model::{
    BucketFacts, Counters, Extras, Failure, Key, News, Outcome, UploadPlan, WorkError,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::meter::Meter;

/// The assignment is no longer this agent's: stop, begin no commit, report nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the assignment is no longer ours")]
pub struct Lost;

/// What a worker may ask of the session it works under. One desk per assignment.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Reports progress; returns when it is on the server's disk. Waits while the server is away.
    async fn report(&self, progress: Progress) -> Result<(), Lost>;

    /// Has an upload recorded before it is begun (`begun` is `None`) or once its id is known; returns when it is on the
    /// server's disk.
    async fn upload_intent(&self, key: &Key, begun: Option<&Begun>) -> Result<(), Lost>;

    /// Has the one key recorded that is worked on; returns when it is on the server's disk. All before it is reported.
    async fn suspect(&self, key: &Key) -> Result<(), Lost>;

    /// Proposes to end the range at `at` instead of `until`; returns when the rest is somebody else's. The worker has
    /// stopped beyond `at` before it calls.
    async fn propose_split(&self, at: &Key, until: Option<&Key>) -> Result<(), Lost>;

    /// Tells that a split that was asked for is not made.
    async fn decline_split(&self, reason: &str);

    /// Tells what was learned of a bucket. Need not arrive.
    async fn learned(&self, facts: BucketFacts);

    /// Waits until a destination commit may begin: the write window is open and this assignment is confirmed. To be
    /// called right before the request (PutObject's last bytes, CompleteMultipartUpload, CopyObject, DeleteObject).
    async fn may_commit(&self) -> Result<(), Lost>;

    /// Whether a commit may begin at this very moment, without waiting.
    fn may_commit_now(&self) -> bool;
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// S3's id.
    pub upload_id: String,
    /// What it is to become, when another holder could go on with it.
    pub plan: Option<UploadPlan>,
}

/// What one who follows a queue may ask of the session it works under.
#[async_trait]
pub trait WatchDesk: Send + Sync + 'static {
    /// Tells what the queue says; returns when it is on the server's disk. Waits while the server is away.
    async fn tell(&self, news: News) -> Result<(), Lost>;

    /// Lets go of the queue, because it was told to or because of an error.
    async fn leave(&self, error: Option<WorkError>) -> Result<(), Lost>;
}

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How the assignment stands.
    pub outcome: Outcome,
    /// The cursor of the report before.
    pub previous_cursor: Option<Key>,
    /// Everything up to and including this key is done.
    pub cursor: Option<Key>,
    /// What was done since the report before.
    pub counters: Counters,
    /// Keys that could not be brought in step since the report before.
    pub failures: Vec<Failure>,
    /// Of extra keys: which are about to be deleted, and some to be shown.
    pub extras: Extras,
}

// === impl Progress ===

impl Progress {
    /// A report of requests alone.
    #[must_use]
    pub fn without_keys(outcome: Outcome, meter: &Meter) -> Self {
        let (counters, usage) = meter.take();
        let extras = Extras { usage, ..Extras::default() };
        let (failures, previous_cursor, cursor) = (Vec::new(), None, None);
        Self { outcome, previous_cursor, cursor, counters, failures, extras }
    }
}

/// What a session tells a worker.
pub struct Orders {
    /// The assignment is lost: drop everything at once, without a word. Uploads stay open; their intents are on the
    /// server, and the next holder aborts or resumes them.
    pub lost: CancellationToken,
    /// Let go in an orderly way: finish what is in flight if that is soon, report `Yielded`. Uploads stay open for the
    /// next holder.
    pub stop: CancellationToken,
    /// The server asks to cut the range.
    pub split: mpsc::Receiver<()>,
}

/// A desk at which nothing can be written or reported.
#[derive(Debug)]
pub struct NoDesk;

#[async_trait]
impl Desk for NoDesk {
    async fn report(&self, _progress: Progress) -> Result<(), Lost> {
        Err(Lost)
    }

    async fn upload_intent(&self, _key: &Key, _begun: Option<&Begun>) -> Result<(), Lost> {
        Err(Lost)
    }

    async fn suspect(&self, _key: &Key) -> Result<(), Lost> {
        Err(Lost)
    }

    async fn propose_split(&self, _at: &Key, _until: Option<&Key>) -> Result<(), Lost> {
        Err(Lost)
    }

    async fn decline_split(&self, _reason: &str) {}

    async fn learned(&self, _facts: BucketFacts) {}

    async fn may_commit(&self) -> Result<(), Lost> {
        Err(Lost)
    }

    fn may_commit_now(&self) -> bool {
        false
    }
}
