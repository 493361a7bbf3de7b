//! A desk that writes down what it is told and checks what must hold of any report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::model::{
    BucketFacts, Counters, ExtraKey, Failure, Key, KeyRange, MAX_DELETING, Outcome, Timestamp,
    Upload,
};

use crate::work::{Begun, Desk, Lost, Progress};

type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Recorder {
    pub(super) state: Mutex<Recorded>,
    /// The write window is shut for so long when somebody wants to commit, and then this happens.
    pub(super) shut: Mutex<Option<(Duration, Meanwhile)>>,
}

/// What a server would have on disk of one range.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    pub(super) range: KeyRange,
    pub(super) cursor: Option<Key>,
    pub(super) done: bool,
    pub(super) counters: Counters,
    pub(super) failures: Vec<Failure>,
    pub(super) outcomes: Vec<Outcome>,
    /// As the server has them, by key and id; the id is empty where it is not known.
    pub(super) uploads: BTreeMap<(Key, String), Upload>,
    /// Time of the newest record.
    pub(super) clock: i64,
    pub(super) split: Option<(Key, Option<Key>)>,
    pub(super) declined: Vec<String>,
    pub(super) facts: Vec<BucketFacts>,
    /// Keys that are named to be deleted, and every key that ever was.
    pub(super) deleting: Vec<Key>,
    pub(super) named: BTreeSet<Key>,
    /// How many may be named in all; `None`: as many as there are.
    pub(super) budget: Option<usize>,
    /// More was to be named.
    pub(super) stopped: bool,
    pub(super) lost: bool,
    /// Keys that were named, and how many were reported before.
    pub(super) suspects: Vec<(Key, u64)>,
    /// Named keys that only the destination has.
    pub(super) gone: Vec<ExtraKey>,
}

impl Recorder {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Recorded) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    fn ask<T>(&self, f: impl FnOnce(&mut Recorded) -> T) -> Result<T, Lost> {
        self.with(|recorded| if recorded.lost { Err(Lost) } else { Ok(f(recorded)) })
    }

    /// The uploads a next holder is told of.
    pub(super) fn uploads(&self) -> Vec<Upload> {
        self.with(|recorded| recorded.uploads.values().cloned().collect())
    }
}

impl Recorded {
    /// As the server does: each key counts once, and more than were counted are refused.
    fn name(&mut self, deleting: Vec<Key>) -> Result<(), Lost> {
        assert!(deleting.is_sorted_by(|one, next| one < next) && deleting.len() <= MAX_DELETING);
        assert!(deleting.iter().all(|key| self.cursor.as_ref().is_none_or(|c| key > c)));
        let new: Vec<Key> =
            deleting.iter().filter(|key| !self.deleting.contains(key)).cloned().collect();
        if self.budget.is_some_and(|budget| self.named.len() + new.len() > budget) {
            self.stopped = true;
            return Err(Lost);
        }
        self.named.extend(new);
        self.deleting = deleting;
        Ok(())
    }
}

#[async_trait]
impl Desk for Recorder {
    async fn report(&self, progress: Progress) -> Result<(), Lost> {
        tokio::task::yield_now().await;
        self.ask(|recorded| {
            assert_eq!(progress.previous_cursor, recorded.cursor, "compare-and-set of the cursor");
            assert!(progress.counters.add_up(), "{:?}", progress.counters);
            assert_eq!(progress.counters.not_in_step(), progress.failures.len() as u64);
            let completed = progress.outcome == Outcome::Completed;
            if !completed {
                assert!(progress.cursor >= recorded.cursor, "a cursor never goes back");
            }
            // Those above a cut are the other range's; a completion without a cursor covers all.
            let covered = progress.cursor.as_ref();
            recorded.uploads.retain(|(key, _), _| covered.map_or(!completed, |to| key > to));
            recorded.done |= completed && progress.cursor == recorded.range.until;
            let told = |key: &Key| progress.cursor.as_ref().is_none_or(|cursor| key <= cursor);
            let gone = &progress.extras.gone;
            assert!(gone.iter().all(|gone| told(&gone.key)), "gone beyond the cursor");
            recorded.gone.extend(progress.extras.gone);
            recorded.cursor = progress.cursor;
            recorded.counters += progress.counters;
            recorded.failures.extend(progress.failures);
            recorded.outcomes.push(progress.outcome);
            recorded.name(progress.extras.deleting)
        })?
    }

    async fn upload_intent(&self, key: &Key, begun: Option<&Begun>) -> Result<(), Lost> {
        tokio::task::yield_now().await;
        self.ask(|recorded| {
            recorded.clock += 1;
            let intent = Timestamp::from_micros(1_000_000 + recorded.clock);
            let (upload_id, plan) = begun.cloned().map(|one| (one.upload_id, one.plan)).unzip();
            let id = upload_id.clone().unwrap_or_default();
            if upload_id.is_some() {
                recorded.uploads.remove(&(key.clone(), String::new()));
            }
            let upload = Upload { key: key.clone(), upload_id, intent, plan: plan.flatten() };
            recorded.uploads.entry((key.clone(), id)).or_insert(upload);
        })
    }

    async fn suspect(&self, key: &Key) -> Result<(), Lost> {
        tokio::task::yield_now().await;
        self.ask(|recorded| {
            assert!(recorded.cursor.as_ref() < Some(key), "it is ahead of the cursor");
            recorded.suspects.push((key.clone(), recorded.counters.listed));
        })
    }

    async fn propose_split(&self, at: &Key, until: Option<&Key>) -> Result<(), Lost> {
        self.ask(|recorded| {
            assert_eq!(until, recorded.range.until.as_ref());
            recorded.split = Some((at.clone(), until.cloned()));
            recorded.range.until = Some(at.clone());
        })
    }

    async fn decline_split(&self, reason: &str) {
        self.with(|recorded| recorded.declined.push(reason.to_owned()));
    }

    async fn learned(&self, facts: BucketFacts) {
        self.with(|recorded| recorded.facts.push(facts));
    }

    async fn may_commit(&self) -> Result<(), Lost> {
        let shut = self.shut.lock().unwrap().take();
        if let Some((time, meanwhile)) = shut {
            tokio::time::sleep(time).await;
            meanwhile();
        }
        self.ask(|_| ())
    }

    fn may_commit_now(&self) -> bool {
        !self.with(|recorded| recorded.lost)
    }
}
