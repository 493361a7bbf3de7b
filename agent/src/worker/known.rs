//! What this process knows of one bucket. Shared by all workers, so that each thing is learned once; told to the
//! server, so that other agents need not learn it.

use std::sync::{Mutex, PoisonError};

use s3sync_proto::model::{BucketFacts, EtagKind};

use crate::clock;

/// How often it is tried to learn whether conditional writes are honoured. After that they count as not honoured, so
/// that each write is followed by a look at the source.
const LEARNING_ATTEMPTS: u32 = 3;

/// Facts of one bucket behind one endpoint.
#[derive(Debug)]
pub(crate) struct Known {
    facts: Mutex<BucketFacts>,
    /// Held by the first small copy into the bucket; counts the attempts to learn from it.
    first_write: tokio::sync::Mutex<u32>,
    /// The same of the first copy inside S3: servers that honour conditions of a PUT may ignore those of a CopyObject.
    first_copy: tokio::sync::Mutex<u32>,
    /// Held by the first delete, which learns how the bucket deletes.
    pub(crate) first_delete: tokio::sync::Mutex<()>,
    /// Held by the first that reads tags although S3 did not say whether there are any.
    pub(crate) first_tags: tokio::sync::Mutex<()>,
}

/// The first small copy into a bucket goes alone, and learns.
pub(crate) type FirstWrite<'a> = tokio::sync::MutexGuard<'a, u32>;

// === impl Known ===

impl Known {
    pub(crate) fn new(facts: BucketFacts) -> Self {
        Self {
            facts: Mutex::new(facts),
            first_write: tokio::sync::Mutex::new(0),
            first_copy: tokio::sync::Mutex::new(0),
            first_delete: tokio::sync::Mutex::new(()),
            first_tags: tokio::sync::Mutex::new(()),
        }
    }

    /// Takes over what the server knows.
    pub(crate) fn merge(&self, newer: &BucketFacts) {
        self.lock().merge(newer);
    }

    /// Nothing is known any more, and everything is to be learned again.
    pub(crate) fn forget(&self) {
        let mut facts = self.lock();
        *facts = BucketFacts::unknown(facts.endpoint.clone(), facts.bucket.clone());
        drop(facts);
        for attempts in [&self.first_write, &self.first_copy] {
            // Where somebody is learning right now, that attempt counts.
            if let Ok(mut attempts) = attempts.try_lock() {
                *attempts = 0;
            }
        }
    }

    pub(crate) fn etags(&self) -> Option<EtagKind> {
        self.lock().etags
    }

    pub(crate) fn tags(&self) -> Option<bool> {
        self.lock().tags
    }

    pub(crate) fn trailers(&self) -> Option<bool> {
        self.lock().trailers
    }

    pub(crate) fn checksums(&self) -> Option<bool> {
        self.lock().checksums
    }

    /// Whether bodies are to be verified by MD5: checksums are refused, or not known to be looked at.
    pub(crate) fn plain(&self) -> bool {
        let facts = self.lock();
        facts.checksums == Some(false) || facts.trailers == Some(false)
    }

    pub(crate) fn conditional_writes(&self) -> Option<bool> {
        self.lock().conditional_writes
    }

    pub(crate) fn conditional_copies(&self) -> Option<bool> {
        self.lock().conditional_copies
    }

    /// Whether deletes honour conditions: single ones, and those of a batch.
    pub(crate) fn deletes(&self) -> Option<(bool, bool)> {
        let facts = self.lock();
        facts.conditional_deletes.zip(facts.batch_deletes)
    }

    /// Changes the facts; returns them when that made a difference.
    pub(crate) fn learn(&self, change: impl FnOnce(&mut BucketFacts)) -> Option<BucketFacts> {
        let mut facts = self.lock();
        let before = facts.clone();
        change(&mut facts);
        if *facts == before {
            return None;
        }
        facts.learned = clock::now();
        Some(facts.clone())
    }

    /// Waits while another copy learns whether conditions are honoured. `Some`: this copy is to learn it.
    pub(crate) async fn first_write(&self) -> Option<FirstWrite<'_>> {
        self.first(&self.first_write, Self::conditional_writes).await
    }

    /// The same for a copy inside S3.
    pub(crate) async fn first_copy(&self) -> Option<FirstWrite<'_>> {
        self.first(&self.first_copy, Self::conditional_copies).await
    }

    async fn first<'a>(
        &self,
        mutex: &'a tokio::sync::Mutex<u32>,
        learned: impl Fn(&Self) -> Option<bool>,
    ) -> Option<FirstWrite<'a>> {
        if learned(self).is_some() {
            return None;
        }
        let mut attempts = mutex.lock().await;
        if learned(self).is_some() || *attempts >= LEARNING_ATTEMPTS {
            return None;
        }
        *attempts += 1;
        Some(attempts)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BucketFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
