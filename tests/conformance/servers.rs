//! Real servers as child processes on free ports, and how they differ from S3.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use s3sync_tests::wait::until;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A server starts within this, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Root key of the servers.
const KEY: (&str, &str) = ("AKIATESTAAAAAAAAAAAA", "secretAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

/// A running server; its processes end with it.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) region: String,
    pub(crate) key: (String, String),
    #[expect(dead_code, reason = "kept so that they end with the server")]
    pub(crate) processes: Vec<Child>,
    #[expect(dead_code, reason = "kept so that it is removed with the server")]
    pub(crate) folder: Option<TempDir>,
}

pub(crate) const MINISTACK_DIFFERS: &[(&str, &str)] = &[
    ("a_longer_key_is_refused", "takes keys of any length"),
    ("a_wrong_secret_is_refused", "does not check the secret of its root key"),
    ("small_parts_are_refused", "takes parts of any size"),
    ("wrong_parts_are_refused", "does not look at the order of parts"),
    ("parts_are_told_by_number", "ignores the part number of a HEAD"),
    ("a_whole_checksum_is_combined_from_the_parts", "does not combine checksums of full objects"),
    ("a_checksum_is_made_where_none_is_sent", "stores a checksum only when one is sent"),
    ("a_copy_only_if_nothing_is_there", "ignores conditions on the destination of a copy"),
    ("a_copy_onto_itself_is_refused", "takes it"),
];

pub(crate) const MINISTACK_QUEUES_DIFFER: &[(&str, &str)] = &[
    ("a_deleted_message_is_gone", "refuses to delete a message a second time"),
    ("a_receive_has_limits", "waits as long as it is asked to"),
    ("a_wrong_secret_is_refused_by_queues", "does not check the secret of its root key"),
];

pub(crate) const SEAWEEDFS_DIFFERS: &[(&str, &str)] = &[
    (
        "listing_is_in_byte_order",
        "lists a folder before its siblings: such a bucket fails as unordered_listing",
    ),
    ("every_odd_key_survives", "keys are paths of a file system: no `.`, `..`, `//`"),
    ("the_longest_key_is_taken", "a segment of a key has at most 255 bytes"),
    ("a_conditional_put_needs_something_there", "answers 412 where S3 answers 404"),
    ("a_conditional_delete_needs_something_there", "answers 412 where S3 answers 404"),
    ("a_checksum_is_made_where_none_is_sent", "stores a checksum only when one is sent"),
    ("a_completion_of_another_size_is_refused", "does not look at the announced size"),
    ("uploads_are_listed_in_pages", "does not list uploads in the order of their keys"),
    ("a_redirect_is_kept", "does not keep it"),
    ("encryption_is_told", "encrypts only with a key manager, which is not set up"),
    (
        "a_stream_leaves_no_mark_on_the_object",
        "keeps aws-chunked as the object's own encoding; the agent strips it",
    ),
];

/// A program of the test servers' folder. A missing one fails the test: what is not run shows nothing.
fn program(name: &str) -> PathBuf {
    let given = std::env::var_os("S3SYNC_TEST_VENV").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = given.unwrap_or_else(|| root.join("target/test-servers")).join("bin").join(name);
    assert!(path.exists(), "{} is missing; run .ci/servers first (.ci/test does)", path.display());
    path
}

/// A port nobody listens on now, with the one 10,000 above it, which SeaweedFS takes as well.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let above = port
            .checked_add(10_000)
            .is_some_and(|above| TcpListener::bind(("127.0.0.1", above)).is_ok());
        if above && port > 10_000 {
            return port;
        }
    }
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("server.log")).unwrap();
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.kill_on_drop(true).spawn().unwrap()
}

pub(crate) async fn ministack() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(program("ministack"));
    command
        .env("GATEWAY_PORT", port.to_string())
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("BIND_HOST", "127.0.0.1")
        .env("SERVICES", "s3,sqs")
        .env("AUTH", "true")
        .env("LOG_LEVEL", "ERROR")
        .env("AWS_ACCESS_KEY_ID", KEY.0)
        .env("AWS_SECRET_ACCESS_KEY", KEY.1);
    let child = spawn(&mut command, folder.path());
    ready("ministack", port, vec![child], folder).await
}

pub(crate) async fn seaweedfs() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let identities = serde_json::json!({"identities": [{
        "name": "a",
        "credentials": [{"accessKey": KEY.0, "secretKey": KEY.1}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let config = folder.path().join("s3.json");
    std::fs::write(&config, identities.to_string()).unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
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
    let client = super::client(&url, "us-east-1", KEY.0, KEY.1);
    until("the server takes objects", PATIENCE, || async {
        // The bucket may be there from the look before.
        drop(client.create_bucket().bucket("ready").send().await);
        client.put_object().bucket("ready").key("x").send().await.map_err(super::text)
    })
    .await;
    let key = (KEY.0.to_owned(), KEY.1.to_owned());
    Server { name, url, region: "us-east-1".to_owned(), key, processes, folder: Some(folder) }
}
