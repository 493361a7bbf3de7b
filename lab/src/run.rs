//! The program `s3sync-lab`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use tokio::net::TcpListener;

use crate::endpoint::EndpointConfig;
use crate::server::Lab;

const EXAMPLES: &str = "\
Example: two sides of a border, each with its own key
  s3sync-lab --endpoint usw2=us-west-2@127.0.0.1:9001 --key usw2=AKIAWEST:west-secret --bucket usw2=media \\
             --endpoint cnn1=cn-north-1@127.0.0.1:9002 --key cnn1=AKIACHINA:china-secret --bucket cnn1=media-cn
Faults, counts and seeds over the control interface (--admin):
  curl -X PUT localhost:9000/usw2/faults -d '{\"seed\": 1, \"rules\": [{\"fault\": \"slow_down\", \"when\": {\"rate\": 0.01}}]}'
  curl localhost:9000/usw2/counts";

/// Local stand-ins of S3: objects live in memory, signatures are verified, faults can be switched on.
#[derive(Clone, Debug, Parser)]
#[command(name = "s3sync-lab", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// An endpoint: NAME=REGION or NAME=REGION@ADDRESS; without an address any port is taken.
    #[arg(long = "endpoint", required = true, value_name = "NAME=REGION[@ADDR]")]
    pub endpoints: Vec<String>,
    /// An access key of an endpoint.
    #[arg(long = "key", value_name = "NAME=ACCESS_KEY:SECRET")]
    pub keys: Vec<String>,
    /// A bucket of an endpoint.
    #[arg(long = "bucket", value_name = "NAME=BUCKET")]
    pub buckets: Vec<String>,
    /// Where the control interface listens.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub admin: SocketAddr,
}

/// The program: prints one JSON line with the addresses in use, and serves until it is told to stop.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let admin = TcpListener::bind(args.admin).await?;
    let admin_address = admin.local_addr()?;
    let lab = Lab::start(configs(&args)?).await?;
    lab.serve_admin(admin);
    let urls: BTreeMap<_, _> =
        lab.endpoints().map(|one| (one.name().to_owned(), one.url())).collect();
    println!(
        "{}",
        serde_json::json!({"admin": format!("http://{admin_address}"), "endpoints": urls})
    );
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}

fn configs(args: &Args) -> anyhow::Result<Vec<EndpointConfig>> {
    let mut configs: BTreeMap<String, EndpointConfig> = BTreeMap::new();
    let pair = |flag: &str, text: &str| {
        text.split_once('=')
            .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
            .ok_or_else(|| anyhow::anyhow!("{flag} {text}: NAME=... is expected"))
    };
    for text in &args.endpoints {
        let (name, rest) = pair("--endpoint", text)?;
        let (region, address) =
            rest.split_once('@').map_or((rest.as_str(), None), |(r, a)| (r, Some(a)));
        let mut config = EndpointConfig::new(&name, region);
        if let Some(address) = address {
            config.listen = address.parse()?;
        }
        configs.insert(name, config);
    }
    let unknown = |name: &str| anyhow::anyhow!("there is no --endpoint {name}");
    for text in &args.keys {
        let (name, rest) = pair("--key", text)?;
        let (key, secret) = rest
            .split_once(':')
            .ok_or_else(|| anyhow::anyhow!("--key: ACCESS_KEY:SECRET is expected"))?;
        configs
            .get_mut(&name)
            .ok_or_else(|| unknown(&name))?
            .keys
            .insert(key.to_owned(), secret.to_owned());
    }
    for text in &args.buckets {
        let (name, bucket) = pair("--bucket", text)?;
        configs.get_mut(&name).ok_or_else(|| unknown(&name))?.buckets.push(bucket);
    }
    Ok(configs.into_values().collect())
}
