//! An agent's connected life: dials the server, states what it holds, starts and stops workers, delivers what they report,
//! and dials again when the connection breaks. It knows nothing of S3: workers do the work behind [`Workshop`].

mod desk;
mod fault;
mod gate;
mod ledger;
mod link;
mod outbox;
mod pulse;
mod questions;
mod reconcile;
mod serve;
mod staff;
mod standing;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::model::{
    AgentEndpoint, Answer, Ask, Assignment, FEATURE_ACTIVITY, FEATURE_ASK, FEATURE_CAREFUL,
    FEATURE_COMPARE, FEATURE_DELETES, FEATURE_EVENT_DELETES, FEATURE_EVENTS, FEATURE_KEYS,
    FEATURE_LIMITS, FEATURE_PLAN, FEATURE_SETUP, FromAgent, Held, Hello, Name, Share, Timestamp,
    ToAgent, Watch, WorkError,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::fault::{Fault, Swaps};
use self::ledger::Ledger;
use self::pulse::Pulse;
use self::questions::Questions;
use self::staff::Staff;
use crate::backoff::{self, Backoff, Turn};
use crate::work::{Desk, Orders, WatchDesk};

pub use self::gate::{Clocks, SystemClocks};
pub use self::link::{Dial, Dialer, Link, Options, Receive, Received, Transmit};
pub use self::standing::Standing;

/// Protocol versions this agent speaks, lowest and highest.
pub const PROTOCOL: (u32, u32) = (1, 1);

/// What this agent can do beyond the version.
const FEATURES: &[&str] = &[
    "split",
    "reap",
    FEATURE_KEYS,
    FEATURE_COMPARE,
    FEATURE_ASK,
    FEATURE_PLAN,
    FEATURE_EVENTS,
    FEATURE_DELETES,
    FEATURE_CAREFUL,
    FEATURE_LIMITS,
    FEATURE_SETUP,
    FEATURE_EVENT_DELETES,
    FEATURE_ACTIVITY,
];

/// From dialling to Welcome at most. A server that returns meanwhile is reached by the next attempt.
pub const DIAL_LIMIT: Duration = Duration::from_secs(15);

/// How long workers may take to let go of their work when the agent is to end. A part of 8 MiB at 0.5 MB/s is done by then.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How long the agent waits after Goodbye for the server to end the stream, so that it is read before the socket closes.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);

/// Pause when no protocol version is in common, least and most. Somebody must upgrade something.
const UNSUPPORTED_PAUSE: (Duration, Duration) =
    (Duration::from_secs(600), Duration::from_secs(660));

/// Pause when the server does not let the agent in, least and most. Somebody must change a token or a setting.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(90));

/// Pause after another agent of the same name took over, least and most, so that the other gets something done.
const SUPERSEDED_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));

/// How often a log says again that there is no version in common.
const UNSUPPORTED_LOG_EVERY: Duration = Duration::from_secs(3600);

/// Does assignments.
#[async_trait]
pub trait Workshop: Send + Sync + 'static {
    /// Works on an assignment until its last report is acknowledged or it is lost.
    ///
    /// # Errors
    /// When it cannot be begun, for want of a credential for instance: then it is given back, and nothing may have
    /// been reported. The future is dropped a moment after the assignment was lost.
    async fn work(
        &self,
        assignment: Assignment,
        desk: Arc<dyn Desk>,
        orders: Orders,
    ) -> Result<(), WorkError>;

    /// Follows a queue until it is lost or let go of, as [`Workshop::work`] does an assignment.
    ///
    /// # Errors
    /// When it cannot be begun: then it is given back.
    async fn watch(
        &self,
        watch: Watch,
        desk: Arc<dyn WatchDesk>,
        orders: Orders,
    ) -> Result<(), WorkError>;

    /// What may be used of the limits of jobs from now on, all of it, until then.
    fn share(&self, shares: &[Share], until: Instant) {
        let _ = (shares, until);
    }

    /// Shares hold until then.
    fn keep_shares(&self, until: Instant) {
        let _ = until;
    }

    /// Looks at what the server asks about, and writes nothing. The future is dropped when nobody waits any more.
    async fn answer(&self, ask: Ask) -> Answer;
}

/// What an agent says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub agent: Name,
    /// New at each start of the process.
    pub instance_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The endpoints it has credentials for.
    pub endpoints: Vec<AgentEndpoint>,
    /// How many assignments it holds at most.
    pub capacity: u32,
}

/// Why an agent ended that was not told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Two processes take the work from each other.
    #[error(
        "two agents are called {0}: each takes over the other's session; give one of them another name"
    )]
    TwoAgents(Name),
}

/// See the module.
pub struct Session {
    identity: Identity,
    dial: Arc<dyn Dial>,
    ledger: Arc<Ledger>,
    standing: Arc<Standing>,
    staff: Staff,
    questions: Questions,
    workshop: Arc<dyn Workshop>,
    shutdown: CancellationToken,
    /// When workers that have not let go are dropped; set while draining.
    drain_until: Option<Instant>,
    /// The database of the session before.
    incarnation: Option<String>,
    backoff: Backoff,
    swaps: Swaps,
    unsupported_logged: Option<Instant>,
}

/// The agent was told to end, and has let go of everything.
struct Drained;

/// What the server answered Hello with.
struct Opened {
    link: Link,
    pulse: Pulse,
}

impl Session {
    /// An agent that has not dialled yet.
    #[must_use]
    pub fn new(
        identity: Identity,
        dial: Arc<dyn Dial>,
        workshop: Arc<dyn Workshop>,
        clocks: Arc<dyn Clocks>,
    ) -> Self {
        let ledger = Arc::new(Ledger::new(identity.capacity, clocks));
        Self {
            identity,
            dial,
            standing: Standing::new(Arc::clone(&ledger)),
            staff: Staff::new(Arc::clone(&workshop), Arc::clone(&ledger)),
            questions: Questions::new(Arc::clone(&workshop)),
            workshop,
            ledger,
            shutdown: CancellationToken::new(),
            drain_until: None,
            incarnation: None,
            backoff: Backoff::default(),
            swaps: Swaps::default(),
            unsupported_logged: None,
        }
    }

    /// How it stands, also while it is served.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Serves until `shutdown`, then lets go of everything in an orderly way.
    ///
    /// # Errors
    /// When the agent must not go on.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), SessionError> {
        self.shutdown = shutdown;
        let ended = self.live().await;
        self.ledger.lose_all();
        self.staff.dismiss().await;
        ended
    }

    async fn live(&mut self) -> Result<(), SessionError> {
        // The first attempt is made at once; a process that was just started has waited for nobody.
        let mut turn = Turn { wait: Duration::ZERO, window: backoff::FIRST_WINDOW };
        loop {
            let start = Instant::now();
            if self.meanwhile(sleep_until(start + turn.wait)).await.is_err() {
                return Ok(());
            }
            let Ok(fault) = self.one_session().await else { return Ok(()) };
            let pause = self.after(fault)?;
            // What is left of the window is waited out, unless a session went well meanwhile and lasted longer.
            let next = (start + turn.window).max(Instant::now() + pause);
            if self.meanwhile(sleep_until(next)).await.is_err() {
                return Ok(());
            }
            turn = self.backoff.turn(fastrand::f64());
        }
    }

    /// One session from dialling to its end, which is a fault unless the agent is drained.
    async fn one_session(&mut self) -> Result<Fault, Drained> {
        let mut opened = match self.open().await? {
            Ok(opened) => opened,
            Err(fault) => return Ok(fault),
        };
        self.standing.begins();
        let ended = self.serve(&mut opened.link, &mut opened.pulse).await;
        self.standing.ends();
        if let Err(Drained) = &ended {
            // Goodbye says that nothing is held: who did not let go in time must be gone by then.
            self.staff.dismiss().await;
            goodbye(opened.link).await;
            info!("drained");
        }
        ended
    }

    async fn open(&mut self) -> Result<Result<Opened, Fault>, Drained> {
        // Shares are of a session; the server deals them anew.
        self.workshop.share(&[], Instant::now());
        let held = self.ledger.begin_session();
        self.questions.begin_session();
        let sent = self.ledger.gate.read_clocks();
        let hello = self.hello(held, sent.wall);
        let pulse = Pulse::new(sent);
        let dial = Arc::clone(&self.dial);
        let dialled = timeout(DIAL_LIMIT, async move {
            let mut link = dial.dial(FromAgent::Hello(hello)).await?;
            let first = link.receiver.receive().await?;
            Ok((link, first))
        });
        let (link, first) = match self.meanwhile(dialled).await? {
            Ok(Ok(dialled)) => dialled,
            // Hello made no sense: nothing of what is held is the cause.
            Ok(Err(Fault::Senseless(reason))) => return Ok(Err(Fault::Refused(reason))),
            Ok(Err(fault)) => return Ok(Err(fault)),
            Err(_) => return Ok(Err(Fault::Broken(format!("no answer within {DIAL_LIMIT:?}")))),
        };
        let welcome = match first {
            Some(Ok(ToAgent::Welcome(welcome))) => welcome,
            Some(_) => return Ok(Err(Fault::Broken("the first answer is no Welcome".into()))),
            None => return Ok(Err(Fault::Broken("the server ended the stream at once".into()))),
        };
        if !(PROTOCOL.0..=PROTOCOL.1).contains(&welcome.protocol) {
            let message = format!("the server chose protocol version {}", welcome.protocol);
            return Ok(Err(Fault::Unsupported(message)));
        }
        if self.incarnation.as_ref().is_some_and(|before| *before != welcome.incarnation) {
            // Epochs of another database mean nothing, also where they are equal by chance.
            let lost = self.ledger.lose_all();
            warn!(incarnation = welcome.incarnation, lost, "the server works on another database");
        }
        self.incarnation = Some(welcome.incarnation);
        info!(session = welcome.session, held = welcome.lease.confirmed.len(), "session opened");
        let mut opened = Opened { link, pulse };
        self.leased(&mut opened.pulse, &welcome.lease);
        Ok(Ok(opened))
    }

    fn hello(&self, held: Vec<Held>, now: Timestamp) -> Hello {
        let Identity { agent, instance_id, labels, endpoints, .. } = self.identity.clone();
        Hello {
            protocol: PROTOCOL,
            features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
            agent,
            instance_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels,
            endpoints,
            held,
            capacity: self.ledger.capacity(),
            now,
        }
    }

    /// What follows from the end of a session: how long to pause at least.
    fn after(&mut self, fault: Fault) -> Result<Duration, SessionError> {
        let pause = |(least, most)| backoff::between(least, most, fastrand::f64());
        match fault {
            Fault::Broken(reason) => warn!(reason, "no session; dialling again"),
            Fault::Silent => warn!("the server answers no state; dialling again"),
            Fault::Expired => {
                self.ledger.gate.close();
                warn!("the session expired; dialling again");
            }
            Fault::Superseded(reason) => {
                self.ledger.gate.close();
                error!(reason, "another agent of this name took over the session");
                if self.swaps.too_many(self.ledger.gate.read_clocks().monotonic) {
                    return Err(SessionError::TwoAgents(self.identity.agent.clone()));
                }
                return Ok(pause(SUPERSEDED_PAUSE));
            }
            Fault::Unsupported(reason) => {
                let now = Instant::now();
                if self.unsupported_logged.is_none_or(|last| now - last >= UNSUPPORTED_LOG_EVERY) {
                    self.unsupported_logged = Some(now);
                    error!(reason, "server and agent speak no common version; upgrade one of them");
                }
                return Ok(pause(UNSUPPORTED_PAUSE));
            }
            Fault::Refused(reason) => {
                error!(reason, "the server does not let this agent in");
                return Ok(pause(REFUSED_PAUSE));
            }
            Fault::Senseless(reason) => {
                // What was said would be said again, for ever. Without the work there is nothing to say.
                let lost = self.ledger.lose_all();
                error!(reason, lost, "the server makes no sense of what it was sent");
                return Ok(pause(REFUSED_PAUSE));
            }
        }
        Ok(Duration::ZERO)
    }

    /// Waits for something while workers end and the agent may be told to end.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Drained> {
        let mut future = pin!(future);
        loop {
            if self.is_drained() {
                return Err(Drained);
            }
            tokio::select! {
                biased;
                value = &mut future => return Ok(value),
                () = self.upkeep() => {}
            }
        }
    }

    /// One thing that must be done whether there is a session or not.
    async fn upkeep(&mut self) {
        let draining = self.drain_until;
        tokio::select! {
            biased;
            () = self.staff.ended() => {}
            () = self.ledger.woken() => {}
            () = self.questions.answered() => {}
            () = self.shutdown.cancelled(), if draining.is_none() => {
                info!("draining");
                self.drain_until = Some(Instant::now() + DRAIN_LIMIT);
                self.ledger.drain();
            }
            () = sleep_until(draining.unwrap_or_else(Instant::now)), if draining.is_some() => {
                let lost = self.ledger.lose_all();
                warn!(lost, "these did not let go in time; others take them over");
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.drain_until.is_some() && self.ledger.is_idle()
    }
}

/// Takes leave, and waits a moment until the server has read it.
async fn goodbye(link: Link) {
    let Link { sender, mut receiver } = link;
    let leave = async {
        sender.transmit(FromAgent::Goodbye).await;
        while let Ok(Some(_)) = receiver.receive().await {}
    };
    if timeout(GOODBYE_LIMIT, leave).await.is_err() {
        info!("the server did not answer the goodbye");
    }
}

#[cfg(test)]
mod tests;
