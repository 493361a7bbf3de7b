//! The configuration of the original s3sync, a Node script, as documents and an agent's configuration. What that script
//! meant is kept where it is sane; what is changed or left out is said. Its file is parsed, never run.

mod convert;
mod js;
mod old;
mod write;

use s3sync_proto::client::Secret;
use s3sync_proto::model::{AllowRule, EndpointSpec, JobSpec, Name, QueueSpec};

pub(crate) use write::{agent_toml, documents};

/// Something to tell about a line of the file; 0 when it is about none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) line: u64,
    /// Path of the setting, such as `s3sync.regions[1].suffix`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// What becomes of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    pub(crate) endpoints: Vec<ImportedEndpoint>,
    pub(crate) queue: Option<(Name, QueueSpec)>,
    pub(crate) jobs: Vec<(Name, JobSpec)>,
    /// What was changed or is not carried over.
    pub(crate) notes: Vec<Note>,
}

/// An endpoint, and how an agent signs for it.
#[derive(Debug)]
pub(crate) struct ImportedEndpoint {
    pub(crate) name: Name,
    pub(crate) spec: EndpointSpec,
    pub(crate) keys: Option<Keys>,
    /// What the jobs need of it; empty: only the queue is read with it.
    pub(crate) allow: Vec<AllowRule>,
}

/// Keys that the file holds.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

/// Reads a configuration, as JavaScript or JSON.
///
/// # Errors
/// Every problem.
pub(crate) fn read(text: &str) -> Result<Imported, Vec<Note>> {
    let exported = js::exported(text)?;
    let (config, mut notes) = old::read(&exported.value)?;
    notes.splice(0..0, exported.notes);
    let mut imported = convert::convert(config)?;
    imported.notes.splice(0..0, notes);
    Ok(imported)
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, path, text } = self;
        if *line > 0 {
            write!(f, "line {line}: ")?;
        }
        if path.is_empty() { write!(f, "{text}") } else { write!(f, "{path}: {text}") }
    }
}

#[cfg(test)]
mod tests;
