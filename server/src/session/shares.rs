//! What sessions may use of the limits of jobs, as far as this process has told them. In memory: a session begins without
//! any share and its agent uses none before it is told. Of sessions of an earlier process nothing is known; they may be using
//! all of a limit until they are gone or have come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use s3sync_proto::model::{Limits, RunName, Share, Shares};

use crate::plan::shares::{Holding, Holdings, applied, deal};
use crate::store::SessionId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Dealt(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    runs: BTreeMap<RunName, Run>,
    /// What each session was told last.
    told: BTreeMap<SessionId, Shares>,
}

#[derive(Debug, Default)]
struct Run {
    limits: Limits,
    requests: Holdings,
    bandwidth: Holdings,
}

/// Works of a run with limits, by who holds them.
pub type Works = BTreeMap<RunName, (Limits, BTreeMap<SessionId, u32>)>;

impl Dealt {
    /// Deals anew; what is to be told to whom. `open` are all open sessions, `here` those whose agents this process has
    /// heard from their beginning.
    pub(super) fn deal(
        &self,
        works: &Works,
        open: &BTreeSet<SessionId>,
        here: &BTreeSet<SessionId>,
    ) -> Vec<(SessionId, Shares)> {
        let mut book = self.book();
        book.told.retain(|session, _| open.contains(session));
        for (run, (limits, holders)) in works {
            let one = book.runs.entry(run.clone()).or_default();
            one.limits = *limits;
            for session in holders.keys() {
                for (limit, holdings) in one.each() {
                    if let Some(bound) = limit.filter(|_| !here.contains(session)) {
                        holdings.entry(*session).or_insert(Holding { told: 0, bound });
                    }
                }
            }
        }
        let none = BTreeMap::new();
        for (run, one) in &mut book.runs {
            let holders = works.get(run).map_or(&none, |(_, holders)| holders);
            for (limit, holdings) in one.each() {
                holdings.retain(|session, _| open.contains(session));
                if let Some(limit) = limit {
                    deal(limit, holders, holdings);
                }
            }
        }
        book.runs.retain(|run, one| {
            let used = |holdings: &Holdings| holdings.values().any(|holding| holding.bound > 0);
            works.contains_key(run) || used(&one.requests) || used(&one.bandwidth)
        });
        let mut news = Vec::new();
        for session in here {
            let shares = book.of(*session, works);
            let told = book.told.entry(*session).or_default();
            if told.shares != shares {
                *told = Shares { version: told.version + 1, shares };
                news.push((*session, told.clone()));
            }
        }
        news
    }

    /// What a session was told last, if anything.
    pub(super) fn told(&self, session: SessionId) -> Option<Shares> {
        self.book().told.get(&session).filter(|told| told.version > 0).cloned()
    }

    /// A session uses no more than what it was told with this version.
    pub(super) fn applied(&self, session: SessionId, version: u64) {
        let mut book = self.book();
        if book.told.get(&session).is_none_or(|told| told.version != version) {
            // It has been told something else meanwhile, and will say so of that.
            return;
        }
        for run in book.runs.values_mut() {
            applied(session, &mut run.requests);
            applied(session, &mut run.bandwidth);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn of(&self, session: SessionId, works: &Works) -> Vec<Share> {
        let holds = |run: &RunName| works.get(run).is_some_and(|(_, it)| it.contains_key(&session));
        let mut shares = Vec::new();
        for (run, one) in self.runs.iter().filter(|(run, _)| holds(run)) {
            let told = |limit: Option<u64>, holdings: &Holdings| {
                limit.map(|_| holdings.get(&session).map_or(0, |holding| holding.told))
            };
            shares.push(Share {
                run: run.clone(),
                bandwidth: told(one.limits.bandwidth, &one.bandwidth),
                requests: told(one.limits.requests_per_second, &one.requests),
            });
        }
        shares
    }
}

impl Run {
    /// Each limit in thousandths a second, and who has what of it.
    fn each(&mut self) -> [(Option<u64>, &mut Holdings); 2] {
        let Limits { bandwidth, requests_per_second } = self.limits;
        let thousandths = |limit: Option<u64>| limit.map(|limit| limit.saturating_mul(1000));
        [
            (thousandths(requests_per_second), &mut self.requests),
            (thousandths(bandwidth), &mut self.bandwidth),
        ]
    }
}
