//! The server's settings: flags, or the environment. The only reader of both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use s3sync_proto::client::Secret;
use s3sync_proto::model::Name;
use s3sync_telemetry::logs::LogFormat;

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
    /// Where HTTP listens (/healthz, /readyz, /metrics).
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
    /// File with the token of people and programs; or several, a line each: a name, which the audit log shows, a blank,
    /// and the token.
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
    /// How long runs that ended are kept, with their failures; the newest of a job stays.
    #[arg(long, env = "S3SYNC_SERVER_KEEP_RUNS", default_value = "90d", value_parser = humantime::parse_duration)]
    pub keep_runs: Duration,
    /// What is logged, such as `info` or `s3sync_server=debug`.
    #[arg(long, env = "S3SYNC_SERVER_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How it is logged.
    #[arg(long, env = "S3SYNC_SERVER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// Write the addresses in use to this file, as JSON, once the server is ready.
    #[arg(long, env = "S3SYNC_SERVER_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
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
        let api = api_tokens(self.api_token_file.as_deref(), &mut problems);
        let agent = token("--agent-token-file", self.agent_token_file.as_deref(), &mut problems);
        if agent.as_ref().is_some_and(|agent| api.iter().any(|(_, token)| token == agent)) {
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

/// The only token of a file.
fn token(flag: &str, path: Option<&Path>, problems: &mut Vec<String>) -> Option<Secret> {
    let text = text_of(flag, path?, problems)?;
    checked(&format!("{flag}: {}", path?.display()), text.trim(), problems)
}

/// The tokens of people and programs. A lone one may stand there without a name.
fn api_tokens(path: Option<&Path>, problems: &mut Vec<String>) -> Vec<(Name, Secret)> {
    let flag = "--api-token-file";
    let Some(path) = path else { return Vec::new() };
    let Some(text) = text_of(flag, path, problems) else { return Vec::new() };
    let lines: Vec<(usize, &str)> = (1..)
        .zip(text.lines().map(str::trim))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() {
        problems.push(format!("{flag}: {} holds no token", path.display()));
    }
    let mut tokens: Vec<(Name, Secret)> = Vec::new();
    for (number, line) in &lines {
        let place = format!("{flag}: {}:{number}", path.display());
        let (name, token) = match line.split_once(|c: char| c.is_ascii_whitespace()) {
            Some((name, token)) => (name, token.trim_start()),
            None if lines.len() == 1 => ("api", *line),
            None => {
                problems.push(format!("{place} has no name; where there are several tokens, a line is a name, a blank and a token"));
                continue;
            }
        };
        let Ok(name) = name.parse::<Name>() else {
            // Not said back: it may be a piece of a token.
            problems.push(format!(
                "{place} begins with what is no name; use 1 to 63 of a-z, 0-9 and '-'"
            ));
            continue;
        };
        let Some(token) = checked(&place, token, problems) else { continue };
        if tokens.iter().any(|(other, known)| *other == name || *known == token) {
            problems.push(format!("{place} has a name or a token that stands there before"));
        }
        tokens.push((name, token));
    }
    tokens
}

fn text_of(flag: &str, path: &Path, problems: &mut Vec<String>) -> Option<String> {
    let read = std::fs::read_to_string(path);
    read.map_err(|error| problems.push(format!("{flag}: cannot read {}: {error}", path.display())))
        .ok()
}

fn checked(place: &str, token: &str, problems: &mut Vec<String>) -> Option<Secret> {
    if token.len() < MIN_TOKEN_CHARS {
        problems.push(format!(
            "{place} has a token of fewer than {MIN_TOKEN_CHARS} characters; make one with: head -c 24 /dev/urandom | base64"
        ));
        return None;
    }
    if token.contains(|c: char| !c.is_ascii_graphic()) {
        problems.push(format!(
            "{place} has a token with blanks or other characters that cannot be sent"
        ));
        return None;
    }
    Some(Secret::new(token))
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
        let lone = (name("api"), Secret::new("1234567890123456"));
        assert_eq!(secrets.tokens.api, [lone]);
        let same =
            config(&["--api-token-file", short, "--agent-token-file", short]).check().unwrap_err();
        assert_eq!(same.len(), 1, "{same:?}");
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn several_tokens_have_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let tokens = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let checked = config(&["--api-token-file", file.to_str().unwrap()]).check();
            checked.map(|secrets| secrets.tokens.api)
        };
        let (one, two) = ("1234567890123456", "abcdefghijklmnop");
        let both = [(name("ci"), Secret::new(one)), (name("alice"), Secret::new(two))];
        assert_eq!(tokens(&format!("# who may\nci {one}\n\nalice\t{two}\n")).unwrap(), both);
        let wrong = format!("{one}\nCI {two}\nci short\nci {one}\nci {two}x\nb {two} x\n");
        let problems = tokens(&wrong).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(!problems.concat().contains(one), "{problems:?}");
        assert_eq!(tokens("# none\n").unwrap_err().len(), 1);
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets = Secrets {
            tokens: Tokens {
                api: vec![(name("a"), Secret::new("very-secret-token"))],
                agent: None,
            },
            tls: None,
        };
        assert!(!format!("{secrets:?}").contains("very-secret"));
    }
}
