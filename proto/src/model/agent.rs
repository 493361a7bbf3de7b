//! Agents as the server knows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Name, Timestamp};

/// A process that does the work against S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: Name,
    /// Whether it can be given work.
    pub state: AgentState,
    /// What it said of itself.
    pub labels: BTreeMap<String, String>,
    /// The endpoints it has credentials for.
    pub endpoints: Vec<AgentEndpoint>,
    /// Version of its program.
    pub version: String,
    /// Ranges it holds.
    pub held: u32,
    /// How many it would hold at most.
    pub capacity: u32,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When its session began.
    pub connected: Timestamp,
    /// Features both sides know.
    pub features: Vec<String>,
}

/// Whether an agent can be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// Connected, takes work.
    Online,
    /// Connected, takes nothing new.
    Draining,
    /// Not connected.
    Offline,
}

/// An endpoint an agent has credentials for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEndpoint {
    /// The endpoint, as the agent's own configuration names it.
    pub endpoint: Name,
    /// How it signs, such as `profile` or `static`; never a secret.
    pub credential_kind: String,
    /// What its configuration allows; empty means everything but `delete`.
    pub allow: Vec<AllowRule>,
    /// Endpoints with equal fingerprints are signed with the same credential.
    pub credential_fingerprint: String,
}

/// One thing an agent's configuration allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// The bucket; `None` means any.
    #[serde(default)]
    pub bucket: Option<String>,
    /// What keys begin with; empty means any.
    #[serde(default)]
    pub prefix: String,
    /// What may be done.
    pub verbs: Vec<Verb>,
}

/// What may be done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// List keys, and uploads that are open.
    List,
    /// Read objects, their metadata and tags.
    Read,
    /// Write objects, and abort uploads.
    Write,
    /// Delete objects.
    Delete,
}

impl AgentEndpoint {
    /// Whether the agent's configuration lets it do `verb` on every key of `bucket` that begins with `prefix`.
    #[must_use]
    pub fn allows(&self, bucket: &str, prefix: &str, verb: Verb) -> bool {
        if self.allow.is_empty() {
            return verb != Verb::Delete;
        }
        self.allow.iter().any(|rule| {
            rule.bucket.as_deref().is_none_or(|allowed| allowed == bucket)
                && prefix.starts_with(&rule.prefix)
                && rule.verbs.contains(&verb)
        })
    }
}
