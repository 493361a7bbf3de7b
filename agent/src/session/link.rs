//! The seam to the connection: what a session needs of it, and the real one.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use s3sync_proto::client::{AgentLink, ApiError, ConnectOptions};
use s3sync_proto::model::{FromAgent, ToAgent};
use s3sync_proto::wire::UnknownMessage;

/// A message of the server, as far as it was understood.
pub type Received = Result<ToAgent, UnknownMessage>;

/// Opens connections.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream whose first message is `hello`. Each call makes a connection of its own.
    async fn dial(&self, hello: FromAgent) -> Result<Link, ApiError>;
}

/// An open stream. Dropping it ends it.
pub struct Link {
    /// What goes out.
    pub sender: Box<dyn Transmit>,
    /// What comes in.
    pub receiver: Box<dyn Receive>,
}

/// The sending half. Both halves may be abandoned at any await without losing or repeating a message.
#[async_trait]
pub trait Transmit: Send + Sync {
    /// Sends a message; `false` when the stream has ended.
    async fn transmit(&self, message: FromAgent) -> bool;
}

/// The receiving half.
#[async_trait]
pub trait Receive: Send {
    /// The next message; `None` when the server ended the stream in an orderly way.
    async fn receive(&mut self) -> Result<Option<Received>, ApiError>;
}

/// Makes the settings of a connection anew for each dial, so that a token that was exchanged is seen.
pub type Options = Box<dyn Fn() -> Result<ConnectOptions, ApiError> + Send + Sync>;

/// Dials a server over gRPC.
pub struct Dialer {
    options: Options,
}

/// The sending half of an [`AgentLink`], whose type has no public name.
struct Transmitter<F>(F);

impl Dialer {
    /// Dials with these settings.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self, hello: FromAgent) -> Result<Link, ApiError> {
        let options = (self.options)()?;
        // A new channel each time: one that is half open would be used again.
        let link = AgentLink::open(options.channel()?, options.credentials(), hello).await?;
        let sender = link.sender();
        let transmit = Transmitter(move |message| {
            let sender = sender.clone();
            Box::pin(async move { sender.send(message).await }) as BoxFuture<'static, bool>
        });
        Ok(Link { sender: Box::new(transmit), receiver: Box::new(link) })
    }
}

#[async_trait]
impl<F> Transmit for Transmitter<F>
where
    F: Fn(FromAgent) -> BoxFuture<'static, bool> + Send + Sync,
{
    async fn transmit(&self, message: FromAgent) -> bool {
        (self.0)(message).await
    }
}

#[async_trait]
impl Receive for AgentLink {
    async fn receive(&mut self) -> Result<Option<Received>, ApiError> {
        Self::receive(self).await
    }
}
