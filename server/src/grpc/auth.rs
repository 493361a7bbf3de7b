//! Tokens. People and programs have one, agents another; neither opens the other's door.

use s3sync_proto::client::Secret;
use s3sync_proto::status::{reason, status};
use sha2::{Digest as _, Sha256};
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};

/// The tokens that open the doors. `None` leaves a door open, which only a loopback listener or `--insecure` allows.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// For people and programs.
    pub api: Option<Secret>,
    /// For agents.
    pub agent: Option<Secret>,
}

/// One door.
#[derive(Clone)]
pub(super) struct Door {
    /// Digests of the tokens that open it; empty when it is open.
    keys: Vec<[u8; 32]>,
    /// Whose token is asked for, for the message.
    whose: &'static str,
}

impl Tokens {
    pub(super) fn api(&self) -> Door {
        Door::new(&[&self.api], "API")
    }

    pub(super) fn agent(&self) -> Door {
        Door::new(&[&self.agent], "agent")
    }

    /// Health and reflection: whoever has any token.
    pub(super) fn any(&self) -> Door {
        match (&self.api, &self.agent) {
            (Some(_), Some(_)) => Door::new(&[&self.api, &self.agent], "API or agent"),
            _ => Door::new(&[], "API or agent"),
        }
    }
}

impl Door {
    fn new(tokens: &[&Option<Secret>], whose: &'static str) -> Self {
        let keys = tokens
            .iter()
            .filter_map(|token| token.as_ref())
            .map(|token| digest(token.reveal()))
            .collect();
        Self { keys, whose }
    }
}

/// Digests are compared, so that the time a comparison takes says nothing about a token.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Interceptor for Door {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.keys.is_empty() {
            return Ok(request);
        }
        let shown = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(digest);
        let refuse = |what: &str| {
            let message = format!("the {} token is {what}", self.whose);
            Err(status(Code::Unauthenticated, reason::CREDENTIALS_INVALID, message))
        };
        match shown {
            None => refuse("missing"),
            Some(shown) if self.keys.contains(&shown) => Ok(request),
            Some(_) => refuse("not right"),
        }
    }
}
