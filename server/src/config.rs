//! The server's settings: flags, or the environment. The only reader of both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use s3sync_proto::client::Secret;

use crate::grpc::{Tls, Tokens};
use crate::session::LeaseTimes;

/// Shortest token: 16 characters of base64 are 96 bits, beyond guessing.
const MIN_TOKEN_CHARS: usize = 16;

const EXAMPLES: &str = "\
Examples:
  s3sync-server --data-dir /var/lib/s3sync
      for trying out: plain, without tokens, on this machine only
  s3sync-server --data-dir /var/lib/s3sync --listen 0.0.0.0:7400 --tls-cert tls.crt --tls-key tls.key \\
      --api-token-file api.token --agent-token-file agent.token
      for the network; make a token with: head -c 24 /dev/urandom | base64";

/// The control plane of s3sync: holds jobs and runs, leases work to agents. Holds no AWS secret.
#[derive(Clone, Debug, Parser)]
#[command(name = "s3sync-server", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Config {
    /// Folder of the database; made if it is not there.
    #[arg(long, env = "S3SYNC_SERVER_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where gRPC listens.
    #[arg(
        long,
        env = "S3SYNC_SERVER_LISTEN",
        default_value = "127.0.0.1:7400",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// Where HTTP listens (/healthz, /readyz).
    #[arg(long, env = "S3SYNC_SERVER_HTTP", default_value = "127.0.0.1:7401", value_name = "ADDR")]
    pub http: SocketAddr,
    /// Certificate chain of the gRPC listener (PEM).
    #[arg(long, env = "S3SYNC_SERVER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of that certificate (PEM).
    #[arg(long, env = "S3SYNC_SERVER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Clients and agents must show a certificate of this authority (PEM).
    #[arg(long, env = "S3SYNC_SERVER_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// File with the token of people and programs.
    #[arg(long, env = "S3SYNC_SERVER_API_TOKEN_FILE", value_name = "FILE")]
    pub api_token_file: Option<PathBuf>,
    /// File with the token of agents; a different one.
    #[arg(long, env = "S3SYNC_SERVER_AGENT_TOKEN_FILE", value_name = "FILE")]
    pub agent_token_file: Option<PathBuf>,
    /// Listen beyond this machine without TLS or without tokens.
    #[arg(long, env = "S3SYNC_SERVER_INSECURE")]
    pub insecure: bool,
    /// How often agents state what they hold.
    #[arg(long, env = "S3SYNC_SERVER_HEARTBEAT_INTERVAL", default_value = "10s", value_parser = humantime::parse_duration)]
    pub heartbeat_interval: Duration,
    /// How long after sending an answered heartbeat an agent may begin commits.
    #[arg(long, env = "S3SYNC_SERVER_WRITE_WINDOW", default_value = "35s", value_parser = humantime::parse_duration)]
    pub write_window: Duration,
    /// How long after its last heartbeat an agent's work goes to others.
    #[arg(long, env = "S3SYNC_SERVER_SESSION_TTL", default_value = "60s", value_parser = humantime::parse_duration)]
    pub session_ttl: Duration,
    /// What is logged, such as `info` or `s3sync_server=debug`.
    #[arg(long, env = "S3SYNC_SERVER_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How it is logged.
    #[arg(long, env = "S3SYNC_SERVER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Write the addresses in use to this file, as JSON, once the server is ready.
    #[arg(long, env = "S3SYNC_SERVER_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// How it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What the files say that the settings name.
#[derive(Debug)]
pub struct Secrets {
    /// Tokens that open the doors.
    pub tokens: Tokens,
    /// TLS of the listener.
    pub tls: Option<Tls>,
}

impl Config {
    /// Timing of leases.
    #[must_use]
    pub fn times(&self) -> LeaseTimes {
        LeaseTimes {
            heartbeat_interval: self.heartbeat_interval,
            write_window: self.write_window,
            session_ttl: self.session_ttl,
        }
    }

    /// Checks everything and reads the files.
    ///
    /// # Errors
    /// All problems, a line each.
    pub fn check(&self) -> Result<Secrets, Vec<String>> {
        let mut problems = Vec::new();
        self.check_times(&mut problems);
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            problems.push("--tls-cert and --tls-key go together".to_owned());
        }
        if self.tls_client_ca.is_some() && self.tls_cert.is_none() {
            problems.push("--tls-client-ca needs --tls-cert and --tls-key".to_owned());
        }
        let mut read = |flag: &str, path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            match std::fs::read(path) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    problems.push(format!("{flag}: cannot read {}: {error}", path.display()));
                    None
                }
            }
        };
        let certificate = read("--tls-cert", &self.tls_cert);
        let key = read("--tls-key", &self.tls_key);
        let client_ca = read("--tls-client-ca", &self.tls_client_ca);
        let api = token("--api-token-file", self.api_token_file.as_deref(), &mut problems);
        let agent = token("--agent-token-file", self.agent_token_file.as_deref(), &mut problems);
        if api.is_some() && api == agent {
            problems.push(
                "--api-token-file and --agent-token-file hold the same token; use different ones"
                    .to_owned(),
            );
        }
        self.check_doors(&mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let tls = certificate.zip(key).map(|identity| Tls { identity, client_ca });
        Ok(Secrets { tokens: Tokens { api, agent }, tls })
    }

    fn check_times(&self, problems: &mut Vec<String>) {
        if self.heartbeat_interval.is_zero() {
            problems.push("--heartbeat-interval must be more than 0".to_owned());
        }
        if self.write_window <= self.heartbeat_interval {
            problems.push("--write-window must be longer than --heartbeat-interval, or agents could never write".to_owned());
        }
        if self.session_ttl <= self.write_window {
            problems.push(
                "--session-ttl must be longer than --write-window, or work would go to others while it is written"
                    .to_owned(),
            );
        }
    }

    /// Beyond this machine: TLS and both tokens, unless the operator insists.
    fn check_doors(&self, problems: &mut Vec<String>) {
        if self.insecure {
            return;
        }
        if !self.listen.ip().is_loopback() {
            let mut need = |there: bool, what: &str| {
                if !there {
                    problems.push(format!(
                        "--listen {} is open to the network; give {what}, or --insecure",
                        self.listen
                    ));
                }
            };
            need(self.tls_cert.is_some(), "--tls-cert and --tls-key");
            need(self.api_token_file.is_some(), "--api-token-file");
            need(self.agent_token_file.is_some(), "--agent-token-file");
        }
        if !self.http.ip().is_loopback() {
            problems.push(format!(
                "--http {} is open to the network and has neither TLS nor tokens; use a loopback address, or --insecure",
                self.http
            ));
        }
    }
}

fn token(flag: &str, path: Option<&Path>, problems: &mut Vec<String>) -> Option<Secret> {
    let path = path?;
    match std::fs::read_to_string(path) {
        Err(error) => problems.push(format!("{flag}: cannot read {}: {error}", path.display())),
        Ok(text) if text.trim().len() < MIN_TOKEN_CHARS => problems.push(format!(
            "{flag}: {} has fewer than {MIN_TOKEN_CHARS} characters; make one with: head -c 24 /dev/urandom | base64",
            path.display()
        )),
        Ok(text) if text.trim().contains(|c: char| !c.is_ascii_graphic()) => {
            problems.push(format!("{flag}: {} has blanks or other characters that cannot be sent", path.display()));
        }
        Ok(text) => return Some(Secret::new(text.trim())),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Config {
        Config::parse_from(["s3sync-server", "--data-dir", "x"].iter().chain(arguments))
    }

    #[test]
    fn loopback_may_be_plain_and_the_network_may_not() {
        assert!(config(&[]).check().is_ok());
        assert!(config(&["--listen", "[::1]:0"]).check().is_ok());
        let open =
            config(&["--listen", "0.0.0.0:7400", "--http", "0.0.0.0:7401"]).check().unwrap_err();
        assert_eq!(open.len(), 4, "{open:?}");
        assert!(
            config(&["--listen", "0.0.0.0:7400", "--http", "0.0.0.0:7401", "--insecure"])
                .check()
                .is_ok()
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let short = folder.path().join("short");
        std::fs::write(&short, "123456789012345\n").unwrap();
        let short = short.to_str().unwrap();
        let arguments = [
            "--tls-cert",
            "/nonexistent/cert",
            "--api-token-file",
            short,
            "--write-window",
            "5s",
            "--session-ttl",
            "5s",
        ];
        let problems = config(&arguments).check().unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        std::fs::write(short, "1234567890123456\n").unwrap();
        let secrets = config(&["--api-token-file", short]).check().unwrap();
        assert_eq!(secrets.tokens.api, Some(Secret::new("1234567890123456")));
        let same =
            config(&["--api-token-file", short, "--agent-token-file", short]).check().unwrap_err();
        assert_eq!(same.len(), 1, "{same:?}");
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets = Secrets {
            tokens: Tokens { api: Some(Secret::new("very-secret-token")), agent: None },
            tls: None,
        };
        assert!(!format!("{secrets:?}").contains("very-secret"));
    }
}
