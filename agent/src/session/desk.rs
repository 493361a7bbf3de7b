//! A worker's way to speak with the server: puts messages in the outbox and waits for their acknowledgements.

use std::sync::Arc;

use async_trait::async_trait;
use s3sync_proto::model::{BucketFacts, Counters, Held, Key, News, Outcome, WorkError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Waiter};
use super::outbox::Durable;
use crate::work::{Begun, Desk, Lost, Progress, WatchDesk};

/// The desk of one assignment.
pub(crate) struct SessionDesk {
    pub(crate) held: Held,
    pub(crate) lost: CancellationToken,
    pub(crate) ledger: Arc<Ledger>,
}

impl SessionDesk {
    /// Returns when the message is on the server's disk, over as many sessions as that takes.
    async fn say(&self, message: Durable) -> Result<(), Lost> {
        let room = tokio::select! {
            biased;
            () = self.lost.cancelled() => return Err(Lost),
            room = self.ledger.room().acquire_owned() => room.map_err(|_| Lost)?,
        };
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { answer: Some(answer), _room: Some(room) };
        self.ledger.say(self.held, message, waiter)?;
        answered.await.map_err(|_| Lost)
    }
}

#[async_trait]
impl Desk for SessionDesk {
    async fn report(&self, progress: Progress) -> Result<(), Lost> {
        self.say(Durable::Report(progress)).await
    }

    async fn upload_intent(&self, key: &Key, begun: Option<&Begun>) -> Result<(), Lost> {
        self.say(Durable::UploadIntent { key: key.clone(), begun: begun.cloned() }).await
    }

    async fn suspect(&self, key: &Key) -> Result<(), Lost> {
        self.say(Durable::Suspicion(key.clone())).await
    }

    async fn propose_split(&self, at: &Key, until: Option<&Key>) -> Result<(), Lost> {
        self.say(Durable::Split { at: at.clone(), until: until.cloned() }).await
    }

    async fn decline_split(&self, reason: &str) {
        self.ledger.decline_split(self.held, reason);
    }

    async fn learned(&self, facts: BucketFacts) {
        self.ledger.say_facts(facts);
    }

    async fn may_commit(&self) -> Result<(), Lost> {
        self.ledger.gate.opened(&self.lost).await
    }

    fn may_commit_now(&self) -> bool {
        !self.lost.is_cancelled() && self.ledger.gate.is_open()
    }
}

#[async_trait]
impl WatchDesk for SessionDesk {
    async fn tell(&self, news: News) -> Result<(), Lost> {
        self.say(Durable::News(news)).await
    }

    async fn leave(&self, error: Option<WorkError>) -> Result<(), Lost> {
        let outcome = error.map_or(Outcome::Yielded, Outcome::Errored);
        let progress = Progress {
            outcome,
            previous_cursor: None,
            cursor: None,
            counters: Counters::default(),
            failures: Vec::new(),
            extras: Default::default(),
        };
        self.say(Durable::Report(progress)).await
    }
}
