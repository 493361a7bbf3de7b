//! Real servers that speak S3 and SQS, as child processes on free ports. `.ci/servers` installs them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::wait::until;

/// A server starts within this, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Root key of the servers.
const KEY: (&str, &str) = ("AKIATESTAAAAAAAAAAAA", "secretAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

/// Starts ministack. Its queues rebuild their list of messages without a lock while threads add notifications to it: were one
/// interrupted there, an event would be lost that S3 and SQS do not lose. That is read from its code and was not seen in some
/// thousands of events; so that it cannot happen, threads are not interrupted.
const MINISTACK: &str =
    "import sys; sys.setswitchinterval(60); from ministack.app import main; main()";

/// A running server; its processes end with it.
pub struct Server {
    /// What it is called.
    pub name: &'static str,
    /// Where it speaks S3, and SQS if it does.
    pub url: String,
    /// Its region.
    pub region: String,
    /// A key that may do everything, and its secret.
    pub key: (String, String),
    /// Kept so that they end with the server.
    pub processes: Vec<Child>,
    /// Kept so that it is removed with the server.
    pub folder: Option<TempDir>,
}

/// A client of S3 that neither tries again nor adds checksums of its own.
#[must_use]
pub fn s3_client(url: &str, region: &str, key: &str, secret: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(url)
        .force_path_style(true)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(key, secret, None, None, "tests"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// A client of SQS that does not try again.
#[must_use]
pub fn sqs_client(url: &str, region: &str, key: &str, secret: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::v2026_01_12())
        .endpoint_url(url)
        .region(aws_sdk_sqs::config::Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(key, secret, None, None, "tests"))
        .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// A program of the test servers' folder. A missing one fails the test: what is not run shows nothing.
fn program(name: &str) -> PathBuf {
    let given = std::env::var_os("S3SYNC_TEST_VENV").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let path = given.unwrap_or_else(|| root.join("target/test-servers")).join("bin").join(name);
    assert!(path.exists(), "{} is missing; run .ci/servers first (.ci/test does)", path.display());
    path
}

/// A port nobody listens on now, with the one 10,000 above it, which SeaweedFS takes as well.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let above = port
            .checked_add(10_000)
            .is_some_and(|above| TcpListener::bind(("127.0.0.1", above)).is_ok());
        if above && port > 10_000 {
            return port;
        }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("server.log")).expect("a log can be made");
    let out = log.try_clone().expect("the log has another handle");
    command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(log);
    command.kill_on_drop(true).spawn().expect("the server starts")
}

/// Starts ministack, which speaks S3 and SQS and checks who may do what.
///
/// # Panics
/// When it does not start.
pub async fn ministack() -> Server {
    let folder = folder();
    let port = free_port();
    program("ministack");
    let mut command = Command::new(program("python3"));
    command
        .args(["-c", MINISTACK])
        .env("GATEWAY_PORT", port.to_string())
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("BIND_HOST", "127.0.0.1")
        .env("SERVICES", "s3,sqs,iam")
        .env("AUTH", "true")
        .env("LOG_LEVEL", "ERROR")
        .env("AWS_ACCESS_KEY_ID", KEY.0)
        .env("AWS_SECRET_ACCESS_KEY", KEY.1);
    let child = spawn(&mut command, folder.path());
    ready("ministack", port, vec![child], folder).await
}

/// Starts SeaweedFS.
///
/// # Panics
/// When it does not start.
pub async fn seaweedfs() -> Server {
    let folder = folder();
    let identities = serde_json::json!({"identities": [{
        "name": "a",
        "credentials": [{"accessKey": KEY.0, "secretKey": KEY.1}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let config = folder.path().join("s3.json");
    std::fs::write(&config, identities.to_string()).expect("it can be written");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("it can be made");
    let (master, volume, filer, s3) = (free_port(), free_port(), free_port(), free_port());
    let mut command = Command::new(program("weed"));
    command.args([
        "-v=0".to_owned(),
        "server".to_owned(),
        format!("-dir={}", data.display()),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-master.port={master}"),
        // Each bucket takes several volumes of this size, as far as the disk has room for them.
        "-master.volumeSizeLimitMB=32".to_owned(),
        format!("-volume.port={volume}"),
        "-volume.max=0".to_owned(),
        "-volume.preStopSeconds=1".to_owned(),
        "-filer".to_owned(),
        format!("-filer.port={filer}"),
        "-s3".to_owned(),
        format!("-s3.port={s3}"),
        format!("-s3.config={}", config.display()),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        "-master.telemetry=false".to_owned(),
    ]);
    let child = spawn(&mut command, folder.path());
    ready("SeaweedFS", s3, vec![child], folder).await
}

/// Waits until an object can be written: a port that answers is not enough.
async fn ready(name: &'static str, port: u16, processes: Vec<Child>, folder: TempDir) -> Server {
    let url = format!("http://127.0.0.1:{port}");
    let client = s3_client(&url, "us-east-1", KEY.0, KEY.1);
    until("the server takes objects", PATIENCE, || async {
        // The bucket may be there from the look before.
        drop(client.create_bucket().bucket("ready").send().await);
        client
            .put_object()
            .bucket("ready")
            .key("x")
            .send()
            .await
            .map_err(|error| format!("{error:?}"))
    })
    .await;
    let key = (KEY.0.to_owned(), KEY.1.to_owned());
    Server { name, url, region: "us-east-1".to_owned(), key, processes, folder: Some(folder) }
}
