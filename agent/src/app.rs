//! Wires the parts, and says how the program ends.

mod connect;
mod workshop;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use s3sync_proto::client::ApiError;
use s3sync_telemetry::http::{self, Plain};
use s3sync_telemetry::logs::LogFormat;
use s3sync_telemetry::metrics;
use s3sync_telemetry::traces::{Detail, Traces};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::workshop::EngineWorkshop;
use crate::config::{Config, Flags, Loaded};
use crate::copy::trace::KEY as SPAN_KEY;
use crate::metrics::{Metrics, PROGRAM, observe_engine, observe_session};
use crate::s3::aws::TRACED_KEY;
use crate::session::{Dialer, Identity, Session, SessionError, SystemClocks};
use crate::stores::Stores;
use crate::worker::{Engine, Settings};

/// Exit code when the command line or the configuration cannot be used.
pub const EXIT_USAGE: u8 = 2;

/// Exit code when another agent has the same name. A supervisor should not start such an agent again.
pub const EXIT_TWO_AGENTS: u8 = 3;

/// Exit code after a second signal: the work was not let go of.
pub const EXIT_INTERRUPTED: u8 = 130;

/// How long the last traces, and the last metrics, may take to be delivered.
const TELEMETRY_LIMIT: Duration = Duration::from_secs(2);

const EXIT_CODES: &str = "\
The first SIGTERM or SIGINT lets go of all work and ends within 35 s; the second ends at once.
Exit codes: 0 ended when told to, 1 error, 2 bad configuration, 3 two agents have one name, 130 ended at once.";

/// The hands of s3sync: does the work against S3. Holds the credentials, keeps nothing on disk.
#[derive(Debug, Parser)]
#[command(name = "s3sync-agent", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// What is logged, such as `info` or `s3sync_agent=debug`.
    #[arg(long, env = "S3SYNC_AGENT_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How it is logged.
    #[arg(long, env = "S3SYNC_AGENT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    /// Share of the S3 requests that are in traces, from 0 to 1; those that fail always are
    #[arg(long, env = "S3SYNC_AGENT_TRACE_REQUESTS", default_value = "0.01", value_name = "RATIO", value_parser = ratio)]
    trace_requests: f64,
    /// Put keys of objects into traces; they may tell what nobody else should know
    #[arg(long, env = "S3SYNC_AGENT_TRACE_KEYS")]
    trace_keys: bool,
    /// S3 requests that took as long are always in traces
    #[arg(long, env = "S3SYNC_AGENT_TRACE_SLOW", default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    trace_slow: Duration,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The connection cannot be made as it is configured.
    #[error("cannot connect to the server as configured")]
    Connect(#[source] ApiError),
    /// The address of --http cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The agent must not go on.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Works until `shutdown`, then lets go of everything in an orderly way.
///
/// # Errors
/// When the agent cannot connect as it is configured, or must not go on. A server that is away is no error.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    // Fails only when another provider was installed before, which then serves as well.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    // What contradicts itself ends the program now, instead of being tried for ever.
    connect::options(&config).and_then(|options| options.channel()).map_err(RunError::Connect)?;
    let listener = match config.http {
        Some(address) => {
            let failed = |error| RunError::Listen(address, error);
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            info!(http = %listener.local_addr().map_err(failed)?, "listening");
            Some(listener)
        }
        None => None,
    };
    let metrics = Arc::new(metrics::Metrics::start(PROGRAM, Some(config.name.as_str())));
    let stores = Stores::counted(&config, Metrics::new(metrics.meter()));
    let identity = Identity {
        agent: config.name.clone(),
        instance_id: format!("{:032x}", fastrand::u128(..)),
        labels: config.labels.clone(),
        endpoints: stores.offers(),
        capacity: config.limits.assignments,
    };
    info!(agent = %config.name, server = config.server, version = env!("CARGO_PKG_VERSION"), "starting");
    let engine = Engine::new(settings(&config));
    observe_engine(metrics.meter(), &engine);
    let session = Session::new(
        identity,
        Arc::new(Dialer::new(Box::new(move || connect::options(&config)))),
        Arc::new(EngineWorkshop { stores, engine }),
        Arc::new(SystemClocks::new()),
    );
    let standing = session.standing();
    observe_session(metrics.meter(), &standing);
    let pages = Plain {
        metrics: Arc::clone(&metrics),
        ready: move || match standing.is_up() {
            true => Ok(()),
            false => Err("there is no session with the server".to_owned()),
        },
    };
    // Until the very end: it drains for a while, and is alive meanwhile.
    let ended = match listener {
        Some(listener) => tokio::select! {
            biased;
            ended = session.run(shutdown) => ended,
            () = http::serve(listener, Arc::new(pages), CancellationToken::new()) => Ok(()),
        },
        None => session.run(shutdown).await,
    };
    metrics.stop(TELEMETRY_LIMIT).await;
    Ok(ended?)
}

/// The program: parses, runs until it is told to stop.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let detail = Detail { ratio: arguments.trace_requests, slow: arguments.trace_slow };
    let private: &[&str] = if arguments.trace_keys { &[] } else { &[TRACED_KEY, SPAN_KEY] };
    let Arguments { flags, log, log_format, .. } = arguments;
    let Loaded { config, warnings } = match Config::load(&flags) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let traces = Traces::open(PROGRAM, Some(config.name.as_str()), detail, private);
    if let Err(problem) = s3sync_telemetry::logs::start(&log, log_format, traces.as_ref()) {
        eprintln!("error: {problem}");
        return ExitCode::from(EXIT_USAGE);
    }
    for warning in warnings {
        warn!("{warning}");
    }
    let code = if flags.print_config {
        print!("{}", config.shown());
        ExitCode::SUCCESS
    } else {
        work(config)
    };
    if let Some(traces) = traces {
        traces.finish(TELEMETRY_LIMIT);
    }
    code
}

fn work(config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::select! {
            biased;
            ended = run(config, shutdown.clone()) => exit_code(ended),
            () = stop_at_signals(shutdown) => ExitCode::from(EXIT_INTERRUPTED),
        }
    });
    // Nothing is waited for that cannot be interrupted, such as the look-up of a name.
    runtime.shutdown_background();
    code
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) | Err(_) => Err("must be a number from 0 to 1".to_owned()),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        requests_per_endpoint: usize::try_from(config.limits.requests_in_flight)
            .unwrap_or(usize::MAX),
        bytes: config.limits.bytes_in_flight,
        ..Settings::default()
    }
}

/// Asks for an end at the first SIGTERM or SIGINT, and returns at the second.
async fn stop_at_signals(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("signals cannot be heard; the agent will end without letting go of its work");
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    }
}

fn exit_code(ended: Result<(), RunError>) -> ExitCode {
    let Err(error) = ended else { return ExitCode::SUCCESS };
    complain(&error);
    ExitCode::from(match error {
        RunError::Connect(_) => EXIT_USAGE,
        RunError::Listen(..) => return ExitCode::FAILURE,
        RunError::Session(SessionError::TwoAgents(_)) => EXIT_TWO_AGENTS,
    })
}

/// An error and its causes, for whoever started the program.
fn complain(error: &dyn std::error::Error) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    eprintln!("{text}");
}
