//! The one loop that moves work: it looks at what is, decides, records, and pushes. It takes no input, so every way in
//! (a timer, a request, a restart) leads to the same idempotent turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use s3sync_proto::model::{Assignment, Held, Limits, RunName, ToAgent};
use s3sync_telemetry::traces;
use tokio::time::Instant;

use crate::grpc::Context;
use crate::plan;
use crate::session::{End, Works};
use crate::store::{Error, SessionId, Snapshot};

/// How often it looks without being woken. Wake-ups may be lost; this may not.
const INTERVAL: Duration = Duration::from_secs(1);
/// Changes are gathered for this long before a turn.
const GATHER: Duration = Duration::from_millis(20);
/// Ready ranges looked at in one turn.
const MAX_READY: u32 = 1_000;
/// Jobs whose schedules are looked at in one turn.
const MAX_STARTS: u32 = 100;
/// A holder is asked to cut its range at most this often.
const SPLIT_PAUSE: Duration = Duration::from_secs(2);
/// A holder is told to let go at most this often.
const REVOKE_PAUSE: Duration = Duration::from_secs(5);
/// What is under way at a holder that lets go has ended within this (20 s for it to end, 5 s to be given up).
const YIELD_PAUSE: Duration = Duration::from_secs(30);

/// Runs until the server stops.
pub async fn serve(context: Context) {
    let mut reconcile = Reconcile {
        context,
        asked: BTreeMap::new(),
        revoked: BTreeMap::new(),
        yielding: BTreeMap::new(),
        gave_way: BTreeMap::new(),
    };
    reconcile.begin().await;
    let mut changes = reconcile.context.store.changes();
    let shutdown = reconcile.context.shutdown.clone();
    while !shutdown.is_cancelled() {
        if let Err(error) = reconcile.turn().await {
            tracing::error!(%error, "work is not being moved");
        }
        tokio::select! {
            _ = changes.changed() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
        changes.mark_unchanged();
    }
}

struct Reconcile {
    context: Context,
    /// When holders were asked to cut a range. Only against asking too often.
    asked: BTreeMap<Held, Instant>,
    /// When holders were told to let go. Only against telling too often.
    revoked: BTreeMap<Held, Instant>,
    /// When holders were told to let go so that another run has its turn. Only against telling too many.
    yielding: BTreeMap<Held, Instant>,
    /// When runs gave way. Only so that it is not them who get the place.
    gave_way: BTreeMap<RunName, Instant>,
}

impl Reconcile {
    /// While the server was away nobody could renew: no session expires for that. And no schedule fired.
    async fn begin(&self) {
        let until = self.context.clock.now().plus(self.context.times.session_ttl);
        if let Err(error) = self.context.store.extend_sessions(until).await {
            tracing::error!(%error, "sessions were not extended after the start");
        }
        if let Err(error) = self.context.store.begin_schedules(self.context.clock.now()).await {
            tracing::error!(%error, "schedules were not looked at after the start");
        }
    }

    async fn turn(&mut self) -> Result<(), Error> {
        let now = self.context.clock.now();
        let store = self.context.store.clone();
        for session in store.expire_sessions(now).await? {
            tracing::warn!(session = session.0, "a session expired; its work goes to others");
            self.context.sessions.end(session, End::Expired);
        }
        for run in store.start_due(MAX_STARTS, now).await? {
            self.trace(&run, "a run was started by its schedule").await?;
        }
        for run in store.tend_events(now).await? {
            self.trace(&run, "a run was started, since events are missing").await?;
        }
        let mut snapshot = store.snapshot(MAX_READY, now).await?;
        // An agent whose stream has broken keeps what it holds until it dials again or its session expires, but new work
        // would wait there for as long.
        let open: BTreeSet<_> = snapshot.sessions.iter().map(|one| one.session).collect();
        snapshot.sessions.retain(|one| self.context.sessions.is_here(one.session));
        let lately = Self::due(&mut self.gave_way, plan::TURN);
        let placement = plan::place(&snapshot, &lately);
        let told = Self::due(&mut self.yielding, YIELD_PAUSE);
        let yields = plan::yields(&snapshot, &placement.grants, &lately, &told, now);
        if !placement.reasons.is_empty() {
            store.explain_runs(placement.reasons).await?;
        }
        let leased = match placement.grants.is_empty() {
            true => Vec::new(),
            false => store.lease(placement.grants, now).await?,
        };
        // Before any work of it: who has not been told a share knows of no limit.
        self.context.sessions.deal(&works(&snapshot, &leased), &open);
        for (session, mut assignment) in leased {
            let held = assignment.held;
            let span = tracing::info_span!(
                parent: None,
                "lease",
                session = session.0,
                run = %assignment.run,
                range = held.id,
                epoch = held.epoch,
            );
            traces::adopt(&span, &assignment.traceparent);
            let _entered = span.enter();
            if let Some(own) = traces::traceparent(&span) {
                assignment.traceparent = own;
            }
            tracing::debug!("leased");
            if !self.context.sessions.push(session, ToAgent::Assignment(Box::new(assignment))) {
                let (session, range) = (session.0, held.id);
                tracing::debug!(session, range, "the session is not here any more");
            }
        }
        self.watch(&snapshot).await?;
        self.revoke(&snapshot);
        self.give_way(&snapshot, yields);
        self.split(&snapshot);
        Ok(())
    }

    /// A run that started by itself is a trace of its own.
    async fn trace(&self, run: &RunName, why: &'static str) -> Result<(), Error> {
        let span = tracing::info_span!(parent: None, "start", %run);
        let own = traces::traceparent(&span).unwrap_or_else(|| {
            let made = traces::new_traceparent();
            traces::adopt(&span, &made);
            made
        });
        span.in_scope(|| tracing::info!("{why}"));
        self.context.store.trace_run(run, &own).await
    }

    /// Has agents receive from queues that too few receive from, and spreads those who do.
    async fn watch(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        if snapshot.watches.is_empty() && snapshot.watching.is_empty() {
            return Ok(());
        }
        let store = &self.context.store;
        let decided = plan::watches(snapshot);
        if !decided.reasons.is_empty() {
            store.explain_watches(decided.reasons).await?;
        }
        let due = Self::due(&mut self.revoked, REVOKE_PAUSE);
        for (session, held) in decided.moves.into_iter().filter(|(_, held)| !due.contains(held)) {
            let reason = "another agent can receive from the queue as well".to_owned();
            if self.context.sessions.push(session, ToAgent::Revocation { held, reason }) {
                self.revoked.insert(held, Instant::now());
            }
        }
        if decided.grants.is_empty() {
            return Ok(());
        }
        for (session, watch) in
            store.lease_watches(decided.grants, self.context.clock.now()).await?
        {
            tracing::info!(session = session.0, queue = %watch.queue, "a queue is received from");
            if !self.context.sessions.push(session, ToAgent::Watch(Box::new(watch))) {
                tracing::debug!(session = session.0, "the session is not here any more");
            }
        }
        Ok(())
    }

    fn give_way(&mut self, snapshot: &Snapshot, yields: Vec<(SessionId, Held)>) {
        for (session, held) in yields {
            let Some(leased) = snapshot.leased.iter().find(|leased| leased.range.held == held)
            else {
                continue;
            };
            let run = leased.range.run.clone();
            let reason = "another run has its turn".to_owned();
            if self.context.sessions.push(session, ToAgent::Revocation { held, reason }) {
                tracing::info!(%run, range = held.id, session = session.0, "gives way to another run");
                self.yielding.insert(held, Instant::now());
                self.gave_way.insert(run, Instant::now());
            }
        }
    }

    fn revoke(&mut self, snapshot: &Snapshot) {
        let due = Self::due(&mut self.revoked, REVOKE_PAUSE);
        for leased in snapshot
            .leased
            .iter()
            .filter(|leased| leased.revoke && !due.contains(&leased.range.held))
        {
            let held = leased.range.held;
            let reason = "the run is paused or being cancelled".to_owned();
            if self.context.sessions.push(leased.session, ToAgent::Revocation { held, reason }) {
                self.revoked.insert(held, Instant::now());
            }
        }
    }

    fn split(&mut self, snapshot: &Snapshot) {
        let quiet = Self::due(&mut self.asked, SPLIT_PAUSE);
        for (session, held) in plan::splits(snapshot, &quiet) {
            if self.context.sessions.push(session, ToAgent::SplitRequest(held)) {
                self.asked.insert(held, Instant::now());
            }
        }
    }

    /// Those told within the pause; older ones are forgotten.
    fn due<K: Ord + Clone>(told: &mut BTreeMap<K, Instant>, pause: Duration) -> BTreeSet<K> {
        told.retain(|_, at| at.elapsed() < pause);
        told.keys().cloned().collect()
    }
}

/// Who holds how much work of the runs that have limits.
fn works(snapshot: &Snapshot, leased: &[(SessionId, Assignment)]) -> Works {
    let fresh = leased.iter().filter_map(|(session, assignment)| {
        let range = snapshot.ready.iter().find(|range| range.held.id == assignment.held.id)?;
        Some((*session, range))
    });
    let held = snapshot.leased.iter().map(|leased| (leased.session, &leased.range));
    let mut works = Works::new();
    for (session, range) in held.chain(fresh).filter(|(_, one)| one.limits != Limits::default()) {
        let (_, holders) =
            works.entry(range.run.clone()).or_insert_with(|| (range.limits, BTreeMap::new()));
        *holders.entry(session).or_default() += 1;
    }
    works
}
