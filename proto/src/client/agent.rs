//! An agent's side of a session.

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::{ApiError, Credentials, MAX_SESSION_MESSAGE};
use crate::model::{FromAgent, ToAgent};
use crate::pb::agent::v1 as pb;
use crate::wire::{self, UnknownMessage};

/// Messages of an agent that wait for the connection; more make the sender wait.
pub const OUTBOUND_MESSAGES: usize = 64;

/// An open stream to a server.
#[derive(Debug)]
pub struct AgentLink {
    sender: mpsc::Sender<pb::OpenSessionRequest>,
    receiver: Streaming<pb::OpenSessionResponse>,
}

/// The sending half of a link.
#[derive(Clone, Debug)]
pub struct LinkSender(mpsc::Sender<pb::OpenSessionRequest>);

impl AgentLink {
    /// Opens a stream; `hello` is its first message.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn open(
        channel: Channel,
        credentials: Credentials,
        hello: FromAgent,
    ) -> Result<Self, ApiError> {
        let mut client = pb::agent_service_client::AgentServiceClient::new(
            InterceptedService::new(channel, credentials),
        )
        .max_decoding_message_size(MAX_SESSION_MESSAGE);
        let (sender, outbound) = mpsc::channel(OUTBOUND_MESSAGES);
        // Sent before the call: the server answers the call only after it has read Hello.
        sender.try_send(wire::from_agent_to(hello)).expect("the channel is new and has room");
        let receiver = client.open_session(ReceiverStream::new(outbound)).await?.into_inner();
        Ok(Self { sender, receiver })
    }

    /// Sends a message; `false` when the stream has ended.
    pub async fn send(&self, message: FromAgent) -> bool {
        self.sender.send(wire::from_agent_to(message)).await.is_ok()
    }

    /// A handle to send with.
    #[must_use]
    pub fn sender(&self) -> LinkSender {
        LinkSender(self.sender.clone())
    }

    /// The next message; `None` when the server ended the stream in an orderly way.
    ///
    /// # Errors
    /// When the stream broke.
    pub async fn receive(&mut self) -> Result<Option<Result<ToAgent, UnknownMessage>>, ApiError> {
        match self.receiver.next().await {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(wire::to_agent(message))),
            Some(Err(status)) => Err(status.into()),
        }
    }
}

impl LinkSender {
    /// Sends a message; `false` when the stream has ended.
    pub async fn send(&self, message: FromAgent) -> bool {
        self.0.send(wire::from_agent_to(message)).await.is_ok()
    }
}
