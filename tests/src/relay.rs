//! Stands between agents and a server, message by message, and can hold one: so that a test kills a program between two
//! steps that it chose.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use s3sync_proto::client::{ConnectOptions, MAX_SESSION_MESSAGE};
use s3sync_proto::pb::agent::v1 as pb;
use s3sync_proto::pb::agent::v1::agent_service_client::AgentServiceClient;
use s3sync_proto::pb::agent::v1::agent_service_server::{AgentService, AgentServiceServer};
use s3sync_proto::pb::agent::v1::open_session_request::Message as Up;
use s3sync_proto::pb::agent::v1::open_session_response::Message as Down;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

/// Messages that a test may want to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// An agent tells of messages of a queue.
    Events,
    /// The server has them on its disk.
    EventsKept,
    /// An agent reports what it did.
    Report,
    /// The server has it on its disk.
    ReportKept,
    /// The server hands out work.
    Assignment,
    /// The server has an agent receive from a queue.
    Watch,
    /// Anything else.
    Other,
}

/// See the module. Ends when it is dropped.
pub struct Relay {
    address: SocketAddr,
    gate: Arc<Gate>,
    _running: DropGuard,
}

#[derive(Default)]
struct Gate {
    rule: Mutex<Rule>,
    opened: watch::Sender<()>,
}

/// Which message is held: the `nth` of its kind from now on, if it came already.
#[derive(Default)]
struct Rule {
    wanted: Option<(Said, u64)>,
    seen: u64,
    held: bool,
}

/// Relays sessions to a server.
struct Post {
    server: String,
    gate: Arc<Gate>,
}

/// What a session's messages were, by their number.
#[derive(Default)]
struct Numbers(Mutex<BTreeMap<u64, Said>>);

impl Relay {
    /// Listens on a free port. `server` is the URL of the server, which may come and go.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(server: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (gate, stop) = (Arc::<Gate>::default(), CancellationToken::new());
        let post = AgentServiceServer::new(Post { server, gate: Arc::clone(&gate) })
            .max_decoding_message_size(MAX_SESSION_MESSAGE);
        let served = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(post)
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                stop.clone().cancelled_owned(),
            );
        tokio::spawn(served);
        Ok(Self { address, gate, _running: stop.drop_guard() })
    }

    /// Its URL, for agents.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds the `nth` message of a kind from now on, with all that come behind it the same way.
    pub fn hold(&self, said: Said, nth: u64) {
        *self.gate.rule() = Rule { wanted: Some((said, nth)), seen: 0, held: false };
    }

    /// Whether a message is held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.gate.rule().held
    }

    /// Lets what is held go on; it comes late, whoever has died meanwhile. Nothing more is held.
    pub fn open(&self) {
        let mut rule = self.gate.rule();
        *rule = Rule::default();
        self.gate.opened.send_replace(());
    }
}

impl Gate {
    fn rule(&self) -> std::sync::MutexGuard<'_, Rule> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, said: Said) {
        let mut opened = {
            let mut rule = self.rule();
            let Some((wanted, nth)) = rule.wanted else { return };
            rule.seen += u64::from(wanted == said);
            if wanted != said || rule.seen != nth {
                return;
            }
            rule.held = true;
            self.opened.subscribe()
        };
        // An error: the relay is gone.
        drop(opened.changed().await);
    }
}

impl Numbers {
    fn up(&self, message: &pb::OpenSessionRequest) -> Said {
        let (number, said) = match &message.message {
            // One that only tells how the queue stands is not of interest.
            Some(Up::Events(batch)) if batch.messages > 0 => (batch.sequence, Said::Events),
            Some(Up::Report(report)) => (report.sequence, Said::Report),
            _ => return Said::Other,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, said);
        said
    }

    fn down(&self, message: &pb::OpenSessionResponse) -> Said {
        match &message.message {
            Some(Down::Ack(ack)) => {
                let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                match known.get(&ack.sequence) {
                    Some(Said::Events) => Said::EventsKept,
                    Some(Said::Report) => Said::ReportKept,
                    _ => Said::Other,
                }
            }
            Some(Down::Assignment(_)) => Said::Assignment,
            Some(Down::Watch(_)) => Said::Watch,
            _ => Said::Other,
        }
    }
}

type Answers = Result<pb::OpenSessionResponse, Status>;

#[tonic::async_trait]
impl AgentService for Post {
    type OpenSessionStream = ReceiverStream<Answers>;

    async fn open_session(
        &self,
        request: Request<Streaming<pb::OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let mut agent = request.into_inner();
        // The server answers only after it has read the first message.
        let first = agent.message().await?.ok_or_else(|| Status::cancelled("no message"))?;
        let (to_server, outbound) = mpsc::channel(1);
        to_server.try_send(first).map_err(|_| Status::internal("the channel is new"))?;
        let options = ConnectOptions { url: self.server.clone(), ..ConnectOptions::default() };
        let channel = options.channel().map_err(|error| Status::internal(error.to_string()))?;
        let mut client =
            AgentServiceClient::new(channel).max_decoding_message_size(MAX_SESSION_MESSAGE);
        let mut server = client.open_session(ReceiverStream::new(outbound)).await?.into_inner();
        let (to_agent, answers) = mpsc::channel(1);
        let numbers = Arc::<Numbers>::default();
        let (gate, known) = (Arc::clone(&self.gate), Arc::clone(&numbers));
        tokio::spawn(async move {
            while let Ok(Some(message)) = agent.message().await {
                gate.pass(known.up(&message)).await;
                if to_server.send(message).await.is_err() {
                    return;
                }
            }
        });
        let gate = Arc::clone(&self.gate);
        tokio::spawn(async move {
            loop {
                let message = server.message().await;
                let ended = !matches!(message, Ok(Some(_)));
                if let Ok(Some(message)) = &message {
                    gate.pass(numbers.down(message)).await;
                }
                let Some(message) = message.transpose() else { return };
                if to_agent.send(message).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
