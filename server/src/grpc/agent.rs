//! AgentService: one stream is one session. Durable messages are taken in order, each acknowledged after it is on disk.

use std::time::Duration;

use s3sync_proto::model::{
    Ack, Answer, FEATURE_ACTIVITY, FEATURE_ASK, FEATURE_CAREFUL, FEATURE_COMPARE, FEATURE_DELETES,
    FEATURE_EVENT_DELETES, FEATURE_EVENTS, FEATURE_KEYS, FEATURE_LIMITS, FEATURE_PLAN,
    FEATURE_SETUP, FailureClass, FromAgent, Held, Hello, Invalid, Lease, Name, State, ToAgent,
    Verdict, Welcome, WorkError,
};
use s3sync_proto::pb::agent::v1 as pb;
use s3sync_proto::pb::agent::v1::agent_service_server::AgentService;
use s3sync_proto::status::{reason, status, status_with};
use s3sync_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::status::{refused, stopping};
use super::{Context, trace};
use crate::session::{End, Handle};
use crate::store::{Error, OpenSession, SessionId};

/// Versions of the protocol this server speaks.
const PROTOCOL: (u32, u32) = (1, 1);
/// What this server can do beyond the version.
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
/// The first message comes within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that wait for an agent. One that lets more pile up does not read its stream.
const OUTBOUND: usize = 256;
/// An agent that misses this many heartbeats is behind a broken connection; its work is kept until the session expires.
const MISSED_HEARTBEATS: u32 = 3;
/// Agents dial again within this after a stop.
const REDIRECT_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct AgentApi(pub(super) Context);

type Outgoing = Result<pb::OpenSessionResponse, Status>;

#[tonic::async_trait]
impl AgentService for AgentApi {
    type OpenSessionStream = std::pin::Pin<Box<dyn Stream<Item = Outgoing> + Send>>;

    async fn open_session(
        &self,
        request: Request<Streaming<pb::OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        if self.0.shutdown.is_cancelled() {
            return Err(stopping());
        }
        let mut incoming = request.into_inner();
        let hello = first_message(&mut incoming).await?;
        let span =
            tracing::info_span!("session", agent = %hello.agent, session = tracing::field::Empty);
        let session =
            Session::open(self.0.clone(), hello, incoming).instrument(span.clone()).await?;
        span.record("session", session.0.id.0);
        let (session, receiver) = session;
        let (errors, error) = mpsc::channel(1);
        self.0.tasks.spawn(
            async move {
                if let Err(status) = session.serve().await {
                    tracing::info!(status = status.message(), "the session ended");
                    // The agent may have gone; then nobody is to be told.
                    drop(errors.send(status).await);
                }
            }
            .instrument(span),
        );
        let messages = ReceiverStream::new(receiver).map(|message| Ok(wire::to_agent_to(message)));
        let end = ReceiverStream::new(error).map(Err);
        Ok(Response::new(Box::pin(messages.chain(end))))
    }
}

async fn first_message(incoming: &mut Streaming<pb::OpenSessionRequest>) -> Result<Hello, Status> {
    let refuse = |text: &str| status(Code::InvalidArgument, reason::FIELD_INVALID, text);
    let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message())
        .await
        .map_err(|_| refuse("no Hello came"))??
        .ok_or_else(|| refuse("no Hello came"))?;
    match wire::from_agent(first) {
        Ok(FromAgent::Hello(hello)) => Ok(hello),
        Ok(_) => Err(refuse("the first message must be Hello")),
        Err(error) => Err(refuse(&error.to_string())),
    }
}

/// A session as the server sees it.
struct Session {
    context: Context,
    id: SessionId,
    agent: Name,
    incoming: Streaming<pb::OpenSessionRequest>,
    sender: mpsc::Sender<ToAgent>,
    handle: Handle,
}

impl Session {
    async fn open(
        context: Context,
        hello: Hello,
        incoming: Streaming<pb::OpenSessionRequest>,
    ) -> Result<(Self, mpsc::Receiver<ToAgent>), Status> {
        let protocol = negotiate(&hello)?;
        let features: Vec<String> = hello
            .features
            .iter()
            .filter(|theirs| FEATURES.contains(&theirs.as_str()))
            .cloned()
            .collect();
        let agent = hello.agent.clone();
        let now = context.clock.now();
        let until = now.plus(context.times.session_ttl);
        let open = OpenSession { hello, features: features.clone(), until };
        let opened = context.store.open_session(open, now).await.map_err(refused)?;
        if let Some(earlier) = opened.superseded {
            context.sessions.end(earlier, End::Superseded);
        }
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        let handle = Handle::new(sender.clone());
        let welcome = Welcome {
            protocol,
            features,
            session: format!("s-{}", opened.session.0),
            incarnation: context.store.incarnation().to_owned(),
            lease: lease(&context, 0, opened.confirmed),
        };
        // Welcome is the first message, before any push can come.
        if !handle.push(ToAgent::Welcome(welcome)) {
            return Err(stopping());
        }
        context.sessions.enter(opened.session, handle.clone());
        tracing::info!(session = opened.session.0, %agent, "an agent connected");
        Ok((Self { context, id: opened.session, agent, incoming, sender, handle }, receiver))
    }

    async fn serve(mut self) -> Result<(), Status> {
        let end = self.exchange().await;
        self.context.sessions.leave(self.id);
        end
    }

    async fn exchange(&mut self) -> Result<(), Status> {
        let patience = self.context.times.heartbeat_interval * MISSED_HEARTBEATS;
        let mut heard = tokio::time::Instant::now();
        loop {
            let message = tokio::select! {
                message = self.incoming.message() => message?,
                ended = self.handle.ended() => return Err(end_status(ended)),
                () = tokio::time::sleep_until(heard + patience) => {
                    let text = format!("nothing was heard of the agent for {patience:?}");
                    return Err(status(Code::Unavailable, reason::SESSION_EXPIRED, text));
                }
                () = self.context.shutdown.cancelled() => {
                    self.send(ToAgent::Redirect(REDIRECT_WITHIN)).await;
                    return Ok(());
                }
            };
            let Some(message) = message else {
                // The stream is over, the session is not: the agent may dial again.
                return Ok(());
            };
            heard = tokio::time::Instant::now();
            match wire::from_agent(message) {
                Ok(FromAgent::Goodbye) => {
                    let now = self.context.clock.now();
                    self.context.store.close_session(self.id, now).await.map_err(refused)?;
                    tracing::info!("the agent left");
                    return Ok(());
                }
                Ok(message) => self.take(message).await?,
                Err(wire::UnknownMessage::Answer { id, problem }) => {
                    // Whoever waits gets to know at once, and asks somebody else.
                    let answer = Answer::Refused(senseless(&problem));
                    self.context.sessions.answered(self.id, id, answer);
                }
                // A kind of message this version does not know is of a newer agent and may be ignored.
                Err(wire::UnknownMessage::Kind) => tracing::debug!("a message of an unknown kind"),
                Err(error) => {
                    return Err(status(
                        Code::InvalidArgument,
                        reason::FIELD_INVALID,
                        error.to_string(),
                    ));
                }
            }
        }
    }

    async fn take(&self, message: FromAgent) -> Result<(), Status> {
        let now = self.context.clock.now();
        let store = &self.context.store;
        match message {
            FromAgent::State(state) => self.renew(&state).await,
            FromAgent::Report(report) => {
                let sequence = report.sequence;
                self.answer(sequence, store.report(report, now).await).await
            }
            FromAgent::SplitProposal(proposal) => {
                let sequence = proposal.sequence;
                self.answer(sequence, store.split(proposal, now).await).await
            }
            FromAgent::UploadIntent(intent) => {
                let sequence = intent.sequence;
                self.answer(sequence, store.upload_intent(intent, now).await).await
            }
            FromAgent::Suspicion(suspicion) => {
                let sequence = suspicion.sequence;
                self.answer(sequence, store.suspect(suspicion).await).await
            }
            FromAgent::Facts { sequence, facts } => {
                let learned = store.learn(facts).await.map(|()| Verdict::Applied);
                self.answer(sequence, learned).await
            }
            FromAgent::Events(mut batch) => {
                let sequence = batch.sequence;
                let span = trace::events(&mut batch.news);
                let taken = store.take_events(batch, now).instrument(span).await;
                self.answer(sequence, taken).await
            }
            FromAgent::Refusal { held, error } => {
                store.refuse(held, &self.agent, &error, now).await.map(drop).map_err(refused)
            }
            FromAgent::SharesApplied(version) => {
                self.context.sessions.shares_applied(self.id, version);
                Ok(())
            }
            FromAgent::Answer { id, answer } => {
                self.context.sessions.answered(self.id, id, answer);
                Ok(())
            }
            FromAgent::SplitDecline { held, reason } => {
                tracing::debug!(range = held.id, reason, "a range is not cut");
                Ok(())
            }
            FromAgent::Hello(_) | FromAgent::Goodbye => Err(status(
                Code::InvalidArgument,
                reason::FIELD_INVALID,
                "Hello comes once, as the first message",
            )),
        }
    }

    /// Answers a state, if the store could record it. Without an answer the agent's write window runs out.
    async fn renew(&self, state: &State) -> Result<(), Status> {
        let now = self.context.clock.now();
        let until = now.plus(self.context.times.session_ttl);
        match self.context.store.renew_session(self.id, state, until, now).await {
            Ok(confirmed) => {
                let lease = lease(&self.context, state.sequence, confirmed);
                self.send(ToAgent::Lease(lease)).await;
                // Also when nothing changed: what was said of it may have been lost.
                if let Some(shares) = self.context.sessions.shares(self.id) {
                    self.send(ToAgent::Shares(shares)).await;
                }
                Ok(())
            }
            Err(Error::Unavailable(error)) => {
                tracing::error!(%error, "a session was not renewed");
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn answer(&self, sequence: u64, verdict: Result<Verdict, Error>) -> Result<(), Status> {
        let verdict = verdict.map_err(refused)?;
        self.send(ToAgent::Ack(Ack { sequence, verdict })).await;
        Ok(())
    }

    /// Sends to the agent; one that does not read for a while is slow, and its stream is ended.
    async fn send(&self, message: ToAgent) {
        /// How long a full queue is waited for.
        const PATIENCE: Duration = Duration::from_secs(5);
        if tokio::time::timeout(PATIENCE, self.sender.send(message)).await.is_err() {
            self.handle.end(End::Slow);
        }
    }
}

/// An answer that makes no sense is none.
fn senseless(problem: &Invalid) -> WorkError {
    let message = format!("its answer makes no sense to this server: {problem}");
    let (class, code) = (FailureClass::Permanent, "unknown_answer".to_owned());
    WorkError { class, code, message }
}

fn lease(context: &Context, sequence: u64, confirmed: Vec<Held>) -> Lease {
    let times = context.times;
    Lease {
        sequence,
        write_window: times.write_window,
        heartbeat_interval: times.heartbeat_interval,
        confirmed,
    }
}

fn negotiate(hello: &Hello) -> Result<u32, Status> {
    let highest = hello.protocol.1.min(PROTOCOL.1);
    if highest >= hello.protocol.0.max(PROTOCOL.0) {
        return Ok(highest);
    }
    let metadata = [
        ("min_version".to_owned(), PROTOCOL.0.to_string()),
        ("max_version".to_owned(), PROTOCOL.1.to_string()),
        ("server_version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let text = format!(
        "the agent speaks protocol {} to {}, this server {} to {}; use an agent of version {}",
        hello.protocol.0,
        hello.protocol.1,
        PROTOCOL.0,
        PROTOCOL.1,
        env!("CARGO_PKG_VERSION")
    );
    Err(status_with(
        Code::FailedPrecondition,
        reason::AGENT_PROTOCOL_UNSUPPORTED,
        text,
        metadata.into(),
    ))
}

fn end_status(end: Option<End>) -> Status {
    match end {
        Some(End::Superseded) => status(
            Code::Aborted,
            reason::SESSION_SUPERSEDED,
            "another agent of the same name connected; names must be unique",
        ),
        Some(End::Expired) | None => {
            status(Code::Aborted, reason::SESSION_EXPIRED, "the session expired")
        }
        Some(End::Slow) => {
            status(Code::Aborted, reason::SESSION_SLOW, "the agent does not read its stream")
        }
    }
}
