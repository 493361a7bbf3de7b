//! The agent's own configuration: `agent.toml`, the environment and flags. It alone decides which credential signs
//! for which endpoint, and what that credential may be used for.

mod credential;
mod parse;
mod problem;
mod show;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3sync_proto::model::{AllowRule, Name};

use crate::limits;

pub use credential::Credential;
pub use problem::{ConfigError, Problem};

/// Assignments held at once, unless configured otherwise.
const ASSIGNMENTS: u32 = 4;

/// Largest configuration file in bytes. A larger one is some other file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What the agent is told on its command line. Each flag has an environment variable; both win over the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file
    #[arg(long, env = "S3SYNC_AGENT_CONFIG", value_name = "FILE", default_value = "agent.toml")]
    pub config: PathBuf,
    /// Server to work for, such as `https://control.example:7400`
    #[arg(long, env = "S3SYNC_AGENT_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// Name of this agent
    #[arg(long, env = "S3SYNC_AGENT_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// File with the token that lets agents in
    #[arg(long, env = "S3SYNC_AGENT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where HTTP listens (/healthz, /readyz, /metrics), such as `127.0.0.1:7402`; nowhere unless it is given
    #[arg(long, env = "S3SYNC_AGENT_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Allow plain http:// to a server that is not on this machine, and an --http address beyond it
    #[arg(long, env = "S3SYNC_AGENT_INSECURE")]
    pub insecure: bool,
    /// Print the configuration that results, without secrets, and end
    #[arg(long)]
    pub print_config: bool,
}

/// What an agent is configured to be and to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Server to work for.
    pub server: String,
    /// File with the token; read at each connect, so that it can be exchanged.
    pub token_file: Option<PathBuf>,
    /// Name of the agent.
    pub name: Name,
    /// What jobs choose agents by.
    pub labels: BTreeMap<String, String>,
    /// How the server is known.
    pub tls: Tls,
    /// Where HTTP listens, if it does.
    pub http: Option<SocketAddr>,
    /// Allow plain `http://` to a server that is not on this machine, and HTTP beyond it.
    pub insecure: bool,
    /// How much is done at once.
    pub limits: Limits,
    /// The endpoints there are credentials for.
    pub endpoints: BTreeMap<Name, EndpointConfig>,
}

/// Files for TLS with the server; read at each connect, so that they can be exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show the server.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How much is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight to one endpoint.
    pub requests_in_flight: u32,
    /// Bytes of bodies in memory.
    pub bytes_in_flight: u64,
    /// Assignments held.
    pub assignments: u32,
}

/// How to sign for an endpoint, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// What signs.
    pub credential: Credential,
    /// What it may be used for; empty for everything but to delete.
    pub allow: Vec<AllowRule>,
    /// URLs of the queues it may be used for; `None` for any.
    pub queues: Option<Vec<String>>,
    /// Certificates to trust beside the system's, in PEM.
    pub ca: Option<Vec<u8>>,
}

/// A configuration that can be used, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What to tell whoever runs the agent.
    pub warnings: Vec<String>,
}

/// What the configuration refers to and is not in it.
trait Outside {
    /// Bytes of a file.
    fn file(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine the agent runs on.
struct Machine;

impl Config {
    /// Reads the file that the flags name, and puts the flags over it.
    ///
    /// # Errors
    /// All problems at once, with their lines.
    pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
        let path = &flags.config;
        let bytes = Machine
            .file(path)
            .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| ConfigError::Unreadable {
            path: path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let parsed = parse::parse(&text, folder, flags, &Machine);
        let parsed =
            parsed.map_err(|problems| ConfigError::Invalid { path: path.clone(), problems })?;
        let mut warnings = parsed.warnings;
        if parsed.has_secrets && others_can_read(path) {
            warnings.push(format!(
                "{} holds secret keys and can be read by other users; chmod 600 it, or name a file or a profile instead",
                path.display()
            ));
        }
        Ok(Loaded { config: parsed.config, warnings })
    }

    /// The configuration as a file that would say the same, with secrets left out.
    #[must_use]
    pub fn shown(&self) -> String {
        show::shown(self)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_in_flight: u32::try_from(limits::MAX_REQUESTS).unwrap_or(u32::MAX),
            bytes_in_flight: limits::MAX_BYTES,
            assignments: ASSIGNMENTS,
        }
    }
}

impl Outside for Machine {
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let length = std::fs::metadata(path)?.len();
        if length > MAX_FILE_BYTES {
            let message = format!("it is {length} bytes long, more than {MAX_FILE_BYTES}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        std::fs::read(path)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the configuration is what reads the environment"
    )]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Whether users other than the owner can read a file.
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    /// Read by group and by others.
    const READ_BY_OTHERS: u32 = 0o044;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READ_BY_OTHERS != 0)
}

#[cfg(test)]
mod tests;
