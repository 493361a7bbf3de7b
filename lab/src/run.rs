//! The program `s3sync-lab`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;

const EXAMPLES: &str = "\
Example: two sides of a border, each with its own key, and a queue that is told of changes
  s3sync-lab --endpoint usw2=us-west-2@127.0.0.1:9001 --key usw2=AKIAWEST:west-secret --bucket usw2=media \\
             --endpoint cnn1=cn-north-1@127.0.0.1:9002 --key cnn1=AKIACHINA:china-secret --bucket cnn1=media-cn \\
             --queues sqs=us-west-2@127.0.0.1:9003 --key sqs=AKIAWEST:west-secret --queue sqs=events \\
             --notify usw2:media=sqs:events --admin 127.0.0.1:9000

The same and more in a file (--config):
  [[endpoint]]
  name = \"usw2\"
  region = \"us-west-2\"
  listen = \"127.0.0.1:9001\"                     # any free port when left out
  keys = { AKIAWEST = \"west-secret\" }
  buckets = [\"media\", \"big\"]
  capabilities = { min_part_size = 1, ignore_conditions = true, list_delay_ms = 30 }
  generate = { big = { prefix = \"d/\", count = 1000000, size = 4096, differs_every = 100, modified = 0 } }
  notify = [{ bucket = \"media\", prefix = \"\", queue = \"sqs:events\" }]
  [[queues]]
  name = \"sqs\"
  region = \"us-west-2\"
  listen = \"127.0.0.1:9003\"
  keys = { AKIAWEST = \"west-secret\" }
  queue = [{ name = \"events\", visibility_timeout_s = 30, dead_letters = \"dead\", max_receives = 3 }, { name = \"dead\" }]

Faults, counts, the write log and seeds over the control interface (--admin):
  curl -X PUT localhost:9000/usw2/faults -d '{\"seed\": 1, \"rules\": [{\"fault\": \"slow_down\", \"when\": {\"rate\": 0.01}}]}'
  curl localhost:9000/usw2/counts
  curl localhost:9000/usw2/writes
  curl -X PUT localhost:9000/usw2/objects/media -d '{\"key\": \"a b\", \"text\": \"hello\"}'";

/// Local stand-ins of S3 and SQS: all lives in memory, signatures are verified, faults can be switched on.
#[derive(Clone, Debug, Parser)]
#[command(name = "s3sync-lab", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// An endpoint: NAME=REGION or NAME=REGION@ADDRESS; without an address any port is taken.
    #[arg(
        long = "endpoint",
        required_unless_present = "config",
        value_name = "NAME=REGION[@ADDR]"
    )]
    pub endpoints: Vec<String>,
    /// An access key of an endpoint or of a server of queues.
    #[arg(long = "key", value_name = "NAME=ACCESS_KEY:SECRET")]
    pub keys: Vec<String>,
    /// A bucket of an endpoint.
    #[arg(long = "bucket", value_name = "NAME=BUCKET")]
    pub buckets: Vec<String>,
    /// A server of queues.
    #[arg(long, value_name = "NAME=REGION[@ADDR]")]
    pub queues: Vec<String>,
    /// A queue of a server of queues.
    #[arg(long, value_name = "NAME=QUEUE")]
    pub queue: Vec<String>,
    /// A queue that is told of changes of a bucket's objects.
    #[arg(long, value_name = "NAME:BUCKET=QUEUES:QUEUE")]
    pub notify: Vec<String>,
    /// A TOML file with all of that and more; see the example. Flags add to it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the control interface listens.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub admin: SocketAddr,
}

/// The program as a process: parses arguments, and runs until it is told to stop.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The program: prints one JSON line with the addresses in use, and serves until SIGTERM or ctrl-c.
///
/// # Errors
/// When the arguments or the file they name are wrong, or an address cannot be listened on.
pub async fn run(args: Args) -> anyhow::Result<()> {
    // Before the line is printed: who reads it may stop us at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let config = Config::of(&args)?;
    let admin = TcpListener::bind(args.admin).await?;
    let admin_address = admin.local_addr()?;
    let lab = config.start().await?;
    lab.serve_admin(admin);
    let endpoints: BTreeMap<_, _> =
        lab.endpoints().map(|one| (one.name().to_owned(), one.url())).collect();
    let queues: BTreeMap<_, _> =
        lab.all_queues().map(|one| (one.name().to_owned(), one.url())).collect();
    let addresses = serde_json::json!({
        "admin": format!("http://{admin_address}"),
        "endpoints": endpoints,
        "queues": queues,
    });
    println!("{addresses}");
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}
