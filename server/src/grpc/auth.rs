//! Tokens. People and programs have one, agents another; neither opens the other's door.

use std::sync::Arc;

use s3sync_proto::client::Secret;
use s3sync_proto::model::Name;
use s3sync_proto::status::{reason, status};
use sha2::{Digest as _, Sha256};
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};

/// The tokens that open the doors. A door without one is open, which only a loopback listener or `--insecure` allows.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// For people and programs, each with the name that the audit log knows it by; none leaves the door open.
    pub api: Vec<(Name, Secret)>,
    /// For agents.
    pub agent: Option<Secret>,
}

/// One door.
#[derive(Clone)]
pub(super) struct Door {
    /// Digests of the tokens that open it, and their names; empty when it is open.
    keys: Vec<([u8; 32], Caller)>,
    /// Whose token is asked for, for the message.
    whose: &'static str,
}

/// Name of the token a call was made with.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Arc<str>);

impl Tokens {
    pub(super) fn api(&self) -> Door {
        Door { keys: self.api_keys().collect(), whose: "API" }
    }

    pub(super) fn agent(&self) -> Door {
        Door { keys: self.agent_keys().collect(), whose: "agent" }
    }

    /// Health and reflection: whoever has any token.
    pub(super) fn any(&self) -> Door {
        let closed = !self.api.is_empty() && self.agent.is_some();
        let keys = self.api_keys().chain(self.agent_keys()).filter(|_| closed);
        Door { keys: keys.collect(), whose: "API or agent" }
    }

    fn api_keys(&self) -> impl Iterator<Item = ([u8; 32], Caller)> {
        self.api.iter().map(|(name, token)| (digest(token.reveal()), Caller(name.as_str().into())))
    }

    fn agent_keys(&self) -> impl Iterator<Item = ([u8; 32], Caller)> {
        self.agent.iter().map(|token| (digest(token.reveal()), Caller("agent".into())))
    }
}

/// Digests are compared, so that the time a comparison takes says nothing about a token.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Interceptor for Door {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
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
            Some(shown) => match self.keys.iter().find(|(key, _)| *key == shown) {
                Some((_, caller)) => {
                    request.extensions_mut().insert(caller.clone());
                    Ok(request)
                }
                None => refuse("not right"),
            },
        }
    }
}
