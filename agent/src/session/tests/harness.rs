//! A server and workers under the hand of a test: the server's end of each stream, and the desk of each worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::client::{ApiError, Code};
use s3sync_proto::model::{
    Ack, Answer, Ask, Assignment, BucketFacts, CompareMode, Counters, Destination, EndpointSpec,
    Filter, FromAgent, Held, Hello, Key, KeyRange, Lease, Location, Name, Outcome, RunName, State,
    Timestamp, ToAgent, Verdict, Watch, Welcome, Work, WorkError, WorkReport,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::session::{
    Clocks, Dial, Identity, Link, Receive, Received, Session, SessionError, Transmit, Workshop,
};
use crate::window::Reading;
use crate::work::{Desk, Orders, Progress, WatchDesk};

pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
pub(super) const WINDOW: Duration = Duration::from_secs(35);
/// Longer than anything takes that a test waits for, in simulated time.
const BOUND: Duration = Duration::from_secs(3600);

/// An agent with everything around it.
pub(super) struct World {
    pub(super) dials: mpsc::Receiver<Conn>,
    pub(super) works: mpsc::Receiver<Working>,
    pub(super) asks: mpsc::Receiver<Asking>,
    pub(super) watches: mpsc::Receiver<Watching>,
    pub(super) clocks: Arc<PausedClocks>,
    pub(super) shutdown: CancellationToken,
    pub(super) refuse_with: Arc<Mutex<Option<ApiError>>>,
    pub(super) agent: JoinHandle<Result<(), SessionError>>,
}

/// The server's end of a stream.
pub(super) struct Conn {
    pub(super) hello: Hello,
    pub(super) from_agent: mpsc::Receiver<FromAgent>,
    to_agent: mpsc::Sender<Result<Received, ApiError>>,
    /// What leases confirm.
    pub(super) confirmed: Vec<Held>,
    /// States that came.
    pub(super) states: Vec<(State, Instant)>,
    /// States are answered.
    pub(super) answering: bool,
}

/// A worker that does what the test says.
pub(super) struct Working {
    pub(super) assignment: Assignment,
    pub(super) desk: Arc<dyn Desk>,
    pub(super) orders: Orders,
    pub(super) end: oneshot::Sender<End>,
}

/// One who follows a queue and does what the test says.
pub(super) struct Watching {
    pub(super) watch: Watch,
    pub(super) desk: Arc<dyn WatchDesk>,
    pub(super) orders: Orders,
}

/// A question that the test answers. Dropped: the agent panics over it.
pub(super) struct Asking {
    pub(super) ask: Ask,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) enum End {
    Left,
    Refuse(WorkError),
    Panic,
}

/// Both clocks follow tokio's; the wall clock can be set.
pub(super) struct PausedClocks {
    start: Instant,
    ahead_seconds: AtomicI64,
}

struct FakeDial {
    conns: mpsc::Sender<Conn>,
    refuse_with: Arc<Mutex<Option<ApiError>>>,
}

struct FakeWorkshop {
    works: mpsc::Sender<Working>,
    asks: mpsc::Sender<Asking>,
    watches: mpsc::Sender<Watching>,
}

struct Sender(mpsc::Sender<FromAgent>);
struct Receiver(mpsc::Receiver<Result<Received, ApiError>>);

// === impl World ===

impl World {
    pub(super) fn start(capacity: u32) -> Self {
        let (conns, dials) = mpsc::channel(1);
        let (working, works) = mpsc::channel(64);
        let (asking, asks) = mpsc::channel(64);
        let (watching, watches) = mpsc::channel(64);
        let clocks = Arc::new(PausedClocks {
            start: Instant::now(),
            ahead_seconds: AtomicI64::new(1_000_000_000),
        });
        let refuse_with = Arc::new(Mutex::new(None));
        let identity = Identity {
            agent: name("agent-1"),
            instance_id: "i-1".into(),
            labels: Default::default(),
            endpoints: Vec::new(),
            capacity,
        };
        let dial = FakeDial { conns, refuse_with: Arc::clone(&refuse_with) };
        let session = Session::new(
            identity,
            Arc::new(dial),
            Arc::new(FakeWorkshop { works: working, asks: asking, watches: watching }),
            Arc::clone(&clocks) as Arc<dyn Clocks>,
        );
        let shutdown = CancellationToken::new();
        let agent = tokio::spawn(session.run(shutdown.clone()));
        Self { dials, works, asks, watches, clocks, shutdown, refuse_with, agent }
    }

    /// The next stream the agent opens.
    pub(super) async fn dialled(&mut self) -> Conn {
        bounded("a dial", self.dials.recv()).await.expect("the agent lives")
    }

    /// The next stream, answered with a Welcome that confirms all that Hello states.
    pub(super) async fn connected(&mut self) -> Conn {
        let mut conn = self.dialled().await;
        conn.confirmed = conn.hello.held.clone();
        conn.welcome("db-1").await;
        conn
    }

    /// An agent that holds assignments `1..=n`, all of epoch 1.
    pub(super) async fn holding(n: u64) -> (Self, Conn, Vec<Working>) {
        let mut world = Self::start(u32::try_from(n).unwrap() + 1);
        let mut conn = world.connected().await;
        let mut works = Vec::new();
        for id in 1..=n {
            works.push(world.assigned(&mut conn, held(id, 1)).await);
        }
        (world, conn, works)
    }

    pub(super) async fn assigned(&mut self, conn: &mut Conn, held: Held) -> Working {
        conn.confirmed.retain(|confirmed| confirmed.id != held.id);
        conn.confirmed.push(held);
        conn.send(ToAgent::Assignment(Box::new(assignment(held)))).await;
        let work = bounded("a worker", self.works.recv()).await.expect("the agent lives");
        assert_eq!(work.assignment.held, held);
        work
    }

    pub(super) fn refuse(&self, error: Option<ApiError>) {
        *self.refuse_with.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(super) async fn ended(self) -> Result<(), SessionError> {
        bounded("the agent's end", self.agent).await.expect("the agent does not panic")
    }
}

// === impl Conn ===

impl Conn {
    pub(super) async fn send(&self, message: ToAgent) {
        self.push(Ok(Ok(message))).await;
    }

    pub(super) async fn push(&self, message: Result<Received, ApiError>) {
        self.to_agent.send(message).await.expect("the agent listens");
    }

    pub(super) async fn welcome(&mut self, incarnation: &str) {
        let welcome = Welcome {
            protocol: 1,
            features: Vec::new(),
            session: "sessions/1".into(),
            incarnation: incarnation.into(),
            lease: self.lease(0),
        };
        self.send(ToAgent::Welcome(welcome)).await;
    }

    pub(super) fn lease(&self, sequence: u64) -> Lease {
        Lease {
            sequence,
            write_window: WINDOW,
            heartbeat_interval: HEARTBEAT,
            confirmed: self.confirmed.clone(),
        }
    }

    /// The next message that is no state; states are answered, if the test does not forbid it.
    pub(super) async fn next(&mut self) -> Option<FromAgent> {
        loop {
            let message = bounded("a message", self.from_agent.recv()).await?;
            let FromAgent::State(state) = message else { return Some(message) };
            self.stated(state).await;
        }
    }

    async fn stated(&mut self, state: State) {
        let lease = self.lease(state.sequence);
        self.states.push((state, Instant::now()));
        if self.answering {
            // The agent may have left.
            drop(self.to_agent.send(Ok(Ok(ToAgent::Lease(lease)))).await);
        }
    }

    pub(super) async fn report(&mut self) -> WorkReport {
        match self.next().await {
            Some(FromAgent::Report(report)) => report,
            other => panic!("no report: {other:?}"),
        }
    }

    /// The next state, and answers it.
    pub(super) async fn state(&mut self) -> State {
        match bounded("a state", self.from_agent.recv()).await {
            Some(FromAgent::State(state)) => {
                self.stated(state.clone()).await;
                state
            }
            other => panic!("no state: {other:?}"),
        }
    }

    pub(super) async fn ack(&self, sequence: u64, verdict: Verdict) {
        self.send(ToAgent::Ack(Ack { sequence, verdict })).await;
    }

    /// Serves states for a while; what else came in that time.
    pub(super) async fn serve_for(&mut self, time: Duration) -> Vec<FromAgent> {
        let until = Instant::now() + time;
        let mut others = Vec::new();
        while let Ok(message) = tokio::time::timeout_at(until, self.from_agent.recv()).await {
            match message {
                Some(FromAgent::State(state)) => self.stated(state).await,
                Some(other) => others.push(other),
                None => {
                    tokio::time::sleep_until(until).await;
                    break;
                }
            }
        }
        others
    }
}

// === the other ends ===

#[async_trait]
impl Dial for FakeDial {
    async fn dial(&self, hello: FromAgent) -> Result<Link, ApiError> {
        let refusal = self.refuse_with.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(error) = refusal {
            return Err(error);
        }
        let FromAgent::Hello(hello) = hello else { panic!("not Hello: {hello:?}") };
        let (sender, from_agent) = mpsc::channel(64);
        let (to_agent, receiver) = mpsc::channel(64);
        let conn = Conn {
            hello,
            from_agent,
            to_agent,
            confirmed: Vec::new(),
            states: Vec::new(),
            answering: true,
        };
        self.conns.send(conn).await.expect("the test lives");
        Ok(Link { sender: Box::new(Sender(sender)), receiver: Box::new(Receiver(receiver)) })
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
        self.0.recv().await.transpose()
    }
}

#[async_trait]
impl Workshop for FakeWorkshop {
    async fn work(
        &self,
        assignment: Assignment,
        desk: Arc<dyn Desk>,
        orders: Orders,
    ) -> Result<(), WorkError> {
        let (end, ended) = oneshot::channel();
        let working = Working { assignment, desk, orders, end };
        self.works.send(working).await.map_err(|_| "the test ended").unwrap();
        match ended.await {
            Ok(End::Left) => Ok(()),
            Ok(End::Refuse(error)) => Err(error),
            Ok(End::Panic) => panic!("the worker fell over"),
            Err(_) => std::future::pending().await,
        }
    }

    async fn watch(
        &self,
        watch: Watch,
        desk: Arc<dyn WatchDesk>,
        orders: Orders,
    ) -> Result<(), WorkError> {
        let watching = Watching { watch, desk, orders };
        self.watches.send(watching).await.map_err(|_| "the test ended").unwrap();
        std::future::pending().await
    }

    async fn answer(&self, ask: Ask) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Asking { ask, answer }).await.map_err(|_| "the test ended").unwrap();
        answered.await.expect("the test answers")
    }
}

impl PausedClocks {
    /// Sets the wall clock ahead, as after a suspend.
    pub(super) fn jump(&self, seconds: i64) {
        self.ahead_seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clocks for PausedClocks {
    fn read(&self) -> Reading {
        let monotonic = self.start.elapsed();
        let ahead = self.ahead_seconds.load(Ordering::Relaxed) * 1_000_000;
        Reading { monotonic, wall: Timestamp::from_micros(ahead).plus(monotonic) }
    }
}

// === values ===

pub(super) async fn bounded<F: Future>(what: &str, future: F) -> F::Output {
    timeout(BOUND, future).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

pub(super) const fn held(id: u64, epoch: u64) -> Held {
    Held { id, epoch }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn error(code: Code, reason: &str) -> ApiError {
    ApiError {
        code,
        reason: reason.into(),
        message: "said the test".into(),
        violations: Vec::new(),
        metadata: Default::default(),
    }
}

pub(super) fn assignment(held: Held) -> Assignment {
    let location =
        Location { endpoint: name("usw2"), bucket: "bucket".into(), prefix: String::new() };
    Assignment {
        held,
        run: RunName { job: name("media"), number: 1 },
        source: location.clone(),
        destination: Destination {
            location,
            storage_class: None,
            agent_labels: Default::default(),
            encryption: None,
        },
        source_endpoint: EndpointSpec::default(),
        destination_endpoint: EndpointSpec::default(),
        source_facts: BucketFacts::unknown(name("usw2"), "bucket".into()),
        destination_facts: BucketFacts::unknown(name("usw2"), "bucket".into()),
        compare: CompareMode::default(),
        filter: Filter::default(),
        uploads: Vec::new(),
        careful: false,
        traceparent: String::new(),
        trace_links: Vec::new(),
        work: Work::Range { range: KeyRange { after: None, until: None }, cursor: None },
    }
}

pub(super) fn key(text: &str) -> Key {
    text.into()
}

pub(super) fn progress(outcome: Outcome, from: Option<&str>, to: Option<&str>) -> Progress {
    Progress {
        outcome,
        previous_cursor: from.map(key),
        cursor: to.map(key),
        counters: Counters { listed: 1, copied: 1, ..Counters::default() },
        failures: Vec::new(),
        extras: Default::default(),
    }
}

/// Reports in a task of its own, as a worker does while the test plays the server.
pub(super) fn reporting(
    desk: &Arc<dyn Desk>,
    progress: Progress,
) -> JoinHandle<Result<(), crate::work::Lost>> {
    let desk = Arc::clone(desk);
    tokio::spawn(async move { desk.report(progress).await })
}
