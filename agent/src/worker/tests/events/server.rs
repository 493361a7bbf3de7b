//! A server in this process: the product's store and decisions, and a wire on which messages are late and lost. It dies at
//! any moment; only what the store has committed is there when it begins again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::client::{ApiError, Code};
use s3sync_proto::model::{
    Ack, FromAgent, Held, Hello, Lease, Name, Timestamp, ToAgent, Verdict, Welcome,
};
use s3sync_proto::status::reason;
use s3sync_server::plan;
use s3sync_server::store::sqlite::Sqlite;
use s3sync_server::store::{Error, OpenSession, SessionId, Store};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::session::{Dial, Link, Receive, Received, Transmit};

/// Times of the product.
const HEARTBEAT: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(35);
const TTL: Duration = Duration::from_secs(60);
/// How often the loop looks without being woken. The product's is shorter; that costs time here and shows nothing.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often it looks at what time brings.
const TEND_EVERY: Duration = Duration::from_secs(4);

/// What the store lives in. The simulated world stands still while it works, so that time has nothing to do with it.
static STORE: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

type Down = Result<Received, ApiError>;

pub(super) struct Server {
    store: Arc<dyn Store>,
    begin: Instant,
    inside: Mutex<Inside>,
    poke: Notify,
}

struct Inside {
    rng: fastrand::Rng,
    /// Everything the process does; none when there is no process.
    process: Option<JoinSet<()>>,
    lines: BTreeMap<SessionId, mpsc::Sender<Down>>,
    /// Sequencers of events that are on disk.
    kept: BTreeSet<String>,
    revoked: BTreeMap<Held, Instant>,
    peace: bool,
}

impl Server {
    pub(super) fn new(rng: fastrand::Rng) -> Arc<Self> {
        let store: Arc<dyn Store> =
            Arc::new(blocking(async { Sqlite::in_memory().await.unwrap() }));
        let inside = Inside {
            rng,
            process: None,
            lines: BTreeMap::new(),
            kept: BTreeSet::new(),
            revoked: BTreeMap::new(),
            peace: false,
        };
        let (begin, poke) = (Instant::now(), Notify::new());
        Arc::new(Self { store, begin, inside: Mutex::new(inside), poke })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000).plus(self.begin.elapsed())
    }

    /// One transaction. Nothing else happens meanwhile.
    pub(super) fn ask<T, F>(&self, act: impl FnOnce(Arc<dyn Store>, Timestamp) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        blocking(act(Arc::clone(&self.store), self.now()))
    }

    pub(super) fn has_kept(&self, sequencer: &str) -> bool {
        self.inside().kept.contains(sequencer)
    }

    pub(super) fn peace(&self) {
        self.inside().peace = true;
    }

    /// Begins, unless it runs.
    pub(super) fn start(self: &Arc<Self>) {
        let mut inside = self.inside();
        if inside.process.is_none() {
            let mut process = JoinSet::new();
            process.spawn(Arc::clone(self).reconcile());
            inside.process = Some(process);
        }
    }

    /// Ends where it stands.
    pub(super) fn kill(&self) {
        let (process, lines) = {
            let mut inside = self.inside();
            inside.revoked.clear();
            (inside.process.take(), std::mem::take(&mut inside.lines))
        };
        // Dropped outside of the lock.
        drop((process, lines));
    }

    /// None of its tasks has panicked.
    pub(super) fn check(&self) {
        let mut inside = self.inside();
        while let Some(ended) = inside.process.as_mut().and_then(JoinSet::try_join_next) {
            ended.expect("the server goes on");
        }
    }

    async fn reconcile(self: Arc<Self>) {
        let until = self.now().plus(TTL);
        self.ask(|store, _| async move { store.extend_sessions(until).await }).unwrap();
        let mut tended = None::<Instant>;
        loop {
            if tended.is_none_or(|at| at.elapsed() > TEND_EVERY) {
                tended = Some(Instant::now());
                self.tend();
            }
            self.turn();
            // Woken or not.
            drop(timeout(INTERVAL, self.poke.notified()).await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What time brings.
    fn tend(&self) {
        let expired = self.ask(|store, now| async move { store.expire_sessions(now).await });
        for session in expired.unwrap() {
            self.end(session, reason::SESSION_EXPIRED);
        }
        self.ask(|store, now| async move { store.tend_events(now).await }).unwrap();
    }

    /// As the server's own loop does.
    fn turn(&self) {
        let mut snapshot =
            self.ask(|store, now| async move { store.snapshot(100, now).await }).unwrap();
        snapshot.sessions.retain(|one| self.inside().lines.contains_key(&one.session));
        let grants = plan::place(&snapshot, &BTreeSet::new()).grants;
        if !grants.is_empty() {
            let leased = self.ask(|store, now| async move { store.lease(grants, now).await });
            for (session, assignment) in leased.unwrap() {
                self.push(session, ToAgent::Assignment(Box::new(assignment)));
            }
        }
        let watches = plan::watches(&snapshot);
        let (grants, moves) = (watches.grants, watches.moves);
        if !grants.is_empty() {
            let leased =
                self.ask(|store, now| async move { store.lease_watches(grants, now).await });
            for (session, watch) in leased.unwrap() {
                self.push(session, ToAgent::Watch(Box::new(watch)));
            }
        }
        let revoked = snapshot.leased.iter().filter(|leased| leased.revoke);
        let revoked = revoked.map(|leased| (leased.session, leased.range.held));
        for (session, held) in revoked.chain(moves) {
            let last = self.inside().revoked.insert(held, Instant::now());
            if last.is_none_or(|last| last.elapsed() > Duration::from_secs(5)) {
                self.push(session, ToAgent::Revocation { held, reason: "let go".into() });
            }
        }
    }

    fn push(&self, session: SessionId, message: ToAgent) {
        let mut inside = self.inside();
        let lost = !inside.peace && inside.rng.u32(..30) == 0;
        if let Some(line) = inside.lines.get(&session).filter(|_| !lost) {
            drop(line.try_send(Ok(Ok(message))));
        }
    }

    fn end(&self, session: SessionId, why: &str) {
        if let Some(line) = self.inside().lines.remove(&session) {
            drop(line.try_send(Err(error(Code::Aborted, why))));
        }
    }

    /// One stream, until it breaks.
    async fn converse(
        self: Arc<Self>,
        session: SessionId,
        agent: Name,
        mut from_agent: mpsc::Receiver<FromAgent>,
    ) {
        while let Some(message) = from_agent.recv().await {
            let (before, after, breaks) = {
                let inside = &mut *self.inside();
                let mut millis = || Duration::from_millis(inside.rng.u64(..30));
                let times = (millis(), millis());
                (times.0, times.1, !inside.peace && inside.rng.u32(..60) == 0)
            };
            sleep(before).await;
            let moves = !matches!(message, FromAgent::State(_));
            let answer = self.take(session, &agent, message);
            if moves {
                self.poke.notify_one();
            }
            // It is on disk, and whoever waits does not know.
            sleep(after).await;
            if breaks {
                break;
            }
            match answer {
                Ok(Some(answer)) => {
                    let line = self.inside().lines.get(&session).cloned();
                    let Some(line) = line else { return };
                    if line.send(Ok(Ok(answer))).await.is_err() {
                        break;
                    }
                }
                Ok(None) => {}
                Err(Error::SessionGone) => return self.end(session, reason::SESSION_EXPIRED),
                Err(error) => panic!("{error}"),
            }
        }
        self.inside().lines.remove(&session);
    }

    fn take(
        &self,
        session: SessionId,
        agent: &Name,
        message: FromAgent,
    ) -> Result<Option<ToAgent>, Error> {
        let (sequence, verdict): (u64, Verdict) = match message {
            FromAgent::State(state) => {
                let sequence = state.sequence;
                let confirmed = self.ask(|store, now| async move {
                    store.renew_session(session, &state, now.plus(TTL), now).await
                })?;
                return Ok(Some(ToAgent::Lease(lease(sequence, confirmed))));
            }
            FromAgent::Report(report) => (
                report.sequence,
                self.ask(|store, now| async move { store.report(report, now).await })?,
            ),
            FromAgent::UploadIntent(intent) => {
                let sequence = intent.sequence;
                (
                    sequence,
                    self.ask(|store, now| async move { store.upload_intent(intent, now).await })?,
                )
            }
            FromAgent::Suspicion(suspicion) => {
                let sequence = suspicion.sequence;
                (sequence, self.ask(|store, _| async move { store.suspect(suspicion).await })?)
            }
            FromAgent::Facts { sequence, facts } => {
                self.ask(|store, _| async move { store.learn(facts).await })?;
                (sequence, Verdict::Applied)
            }
            FromAgent::Events(batch) => {
                let sequence = batch.sequence;
                let events: Vec<_> =
                    batch.news.events.iter().map(|event| event.sequencer.clone()).collect();
                let verdict =
                    self.ask(|store, now| async move { store.take_events(batch, now).await })?;
                if verdict == Verdict::Applied {
                    self.inside().kept.extend(events);
                }
                (sequence, verdict)
            }
            FromAgent::Refusal { held, error } => {
                let agent = agent.clone();
                self.ask(
                    |store, now| async move { store.refuse(held, &agent, &error, now).await },
                )?;
                return Ok(None);
            }
            other @ (FromAgent::Hello(_)
            | FromAgent::SplitProposal(_)
            | FromAgent::SplitDecline { .. }
            | FromAgent::Goodbye
            | FromAgent::SharesApplied(_)
            | FromAgent::Answer { .. }) => panic!("not of this world: {other:?}"),
        };
        Ok(Some(ToAgent::Ack(Ack { sequence, verdict })))
    }

    fn open(self: &Arc<Self>, hello: Hello) -> Result<Link, ApiError> {
        let away = || error(Code::Unavailable, "");
        if self.inside().process.is_none() {
            return Err(away());
        }
        let agent = hello.agent.clone();
        let features = hello.features.clone();
        let opened = self
            .ask(|store, now| async move {
                let open = OpenSession { hello, features, until: now.plus(TTL) };
                store.open_session(open, now).await
            })
            .unwrap();
        if let Some(earlier) = opened.superseded {
            self.end(earlier, reason::SESSION_SUPERSEDED);
        }
        let (to_agent, receiver) = mpsc::channel(256);
        let (sender, from_agent) = mpsc::channel(64);
        let welcome = Welcome {
            protocol: 1,
            features: Vec::new(),
            session: String::new(),
            incarnation: "db".into(),
            lease: lease(0, opened.confirmed),
        };
        drop(to_agent.try_send(Ok(Ok(ToAgent::Welcome(welcome)))));
        let mut inside = self.inside();
        inside.lines.insert(opened.session, to_agent);
        let talk = Arc::clone(self).converse(opened.session, agent, from_agent);
        inside.process.as_mut().ok_or_else(away)?.spawn(talk);
        drop(inside);
        self.poke.notify_one();
        Ok(Link { sender: Box::new(Sender(sender)), receiver: Box::new(Receiver(receiver)) })
    }
}

/// Has the store do something, and waits for it without letting time pass.
fn blocking<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    STORE.spawn(async move { drop(sender.send(work.await)) });
    receiver.recv().expect("the store answers")
}

fn lease(sequence: u64, confirmed: Vec<Held>) -> Lease {
    Lease { sequence, write_window: WINDOW, heartbeat_interval: HEARTBEAT, confirmed }
}

fn error(code: Code, reason: &str) -> ApiError {
    ApiError {
        code,
        reason: reason.into(),
        message: "of the model".into(),
        violations: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

/// How agents reach the server.
pub(super) struct Wire(pub(super) Arc<Server>);
struct Sender(mpsc::Sender<FromAgent>);
struct Receiver(mpsc::Receiver<Down>);

#[async_trait]
impl Dial for Wire {
    async fn dial(&self, hello: FromAgent) -> Result<Link, ApiError> {
        let FromAgent::Hello(hello) = hello else { panic!("not Hello: {hello:?}") };
        sleep(Duration::from_millis(10)).await;
        self.0.open(hello)
    }
}

#[async_trait]
impl Transmit for Sender {
    async fn transmit(&self, message: FromAgent) -> bool {
        self.0.send(message).await.is_ok()
    }
}

#[async_trait]
impl Receive for Receiver {
    async fn receive(&mut self) -> Result<Option<Received>, ApiError> {
        match self.0.recv().await {
            Some(message) => message.map(Some),
            None => Err(error(Code::Unavailable, "")),
        }
    }
}
