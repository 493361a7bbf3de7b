//! Wires the parts, owns the tasks, and says in which order they stop.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use s3sync_telemetry::http;
use s3sync_telemetry::metrics::Metrics;
use s3sync_telemetry::traces::{Detail, Traces};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::grpc::{self, Context};
use crate::metrics::{CommitMetrics, PROGRAM, ServerPages};
use crate::session::Sessions;
use crate::store::Store;
use crate::store::sqlite::{OpenError, Sqlite};
use crate::{clock, keep, reconcile};

/// Streams have this long to end after a stop was asked for; tonic itself would wait for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last traces, and the last metrics, may take to be delivered.
const TELEMETRY_LIMIT: Duration = Duration::from_secs(2);

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings are wrong.
    #[error("{}", .0.join("\n  "))]
    Config(Vec<String>),
    /// The store cannot be opened.
    #[error("cannot open the store in {folder}")]
    Store {
        /// Where.
        folder: String,
        /// Why.
        source: OpenError,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// gRPC does not serve.
    #[error("cannot serve gRPC")]
    Grpc(#[from] tonic::transport::Error),
    /// The ready file cannot be written.
    #[error("cannot write --ready-file")]
    ReadyFile(#[source] std::io::Error),
}

/// The program: parses, runs until it is told to stop. The first SIGTERM or SIGINT stops in order, the second at once.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let config = match Config::try_parse_from(arguments) {
        Ok(config) => config,
        Err(error) => error.exit(),
    };
    let traces = Traces::open(PROGRAM, None, Detail::ALL, &[]);
    if let Err(problem) =
        s3sync_telemetry::logs::start(&config.log, config.log_format, traces.as_ref())
    {
        eprintln!("error: {problem}");
        return ExitCode::from(2);
    }
    let code = serve(config);
    if let Some(traces) = traces {
        traces.finish(TELEMETRY_LIMIT);
    }
    code
}

fn serve(config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::select! {
            result = run(config, shutdown.clone()) => result,
            () = stop_at_signals(shutdown) => Ok(()),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", grpc::Chain(&error));
            ExitCode::from(if matches!(error, RunError::Config(_)) { 2 } else { 1 })
        }
    }
}

/// Asks for a stop at the first signal, and returns at the second.
async fn stop_at_signals(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; the server will end without a stop in order");
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    }
}

/// Runs until `shutdown` is cancelled.
///
/// # Errors
/// Why it does not run.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    // Fails only when another provider was installed before, which then serves as well.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let secrets = config.check().map_err(RunError::Config)?;
    let folder = config.data_dir.display().to_string();
    let metrics = Arc::new(Metrics::start(PROGRAM, None));
    let sqlite = Sqlite::open_counted(&config.data_dir, CommitMetrics::new(metrics.meter()))
        .await
        .map_err(|source| RunError::Store { folder, source })?;
    let sqlite = Arc::new(sqlite);
    let store: Arc<dyn Store> = sqlite.clone();
    let context = Context {
        store: Arc::clone(&store),
        clock: clock::system(),
        sessions: Arc::new(Sessions::default()),
        times: config.times(),
        shutdown: shutdown.clone(),
        tasks: TaskTracker::new(),
    };
    let (grpc_listener, grpc_address) = listen(config.listen).await?;
    let (http_listener, http_address) = listen(config.http).await?;
    let router = grpc::router(&context, &secrets.tokens, secrets.tls)?;
    context.tasks.spawn(reconcile::serve(context.clone()));
    context.tasks.spawn(keep::serve(context.clone(), keep::keep(config.keep_runs)));
    let pages = ServerPages::new(Arc::clone(&metrics), Arc::clone(&store), clock::system());
    context.tasks.spawn(Arc::clone(&pages).keep_fresh(shutdown.clone()));
    context.tasks.spawn(http::serve(http_listener, Arc::clone(&pages) as _, shutdown.clone()));
    if let Some(file) = &config.ready_file {
        write_ready(file, grpc_address, http_address).map_err(RunError::ReadyFile)?;
    }
    tracing::info!(grpc = %grpc_address, http = %http_address, version = env!("CARGO_PKG_VERSION"), "listening");
    let incoming = TcpListenerStream::new(grpc_listener);
    let serve = router.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        tracing::info!("stopping");
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    let served = tokio::select! {
        served = serve => served,
        () = drained => {
            tracing::warn!("some streams did not end in time");
            Ok(())
        }
    };
    // Reached also when serving failed by itself; then the tasks must stop as well.
    shutdown.cancel();
    context.tasks.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, context.tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    sqlite.close().await;
    pages.finish(TELEMETRY_LIMIT).await;
    tracing::info!("stopped");
    Ok(served?)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

/// Written beside it first and then renamed, so that who waits for it reads all of it.
fn write_ready(file: &Path, grpc: SocketAddr, http: SocketAddr) -> std::io::Result<()> {
    let text =
        serde_json::json!({ "grpc": grpc.to_string(), "http": http.to_string() }).to_string();
    let draft = file.with_extension("draft");
    std::fs::File::create(&draft)?.write_all(text.as_bytes())?;
    std::fs::rename(draft, file)
}
