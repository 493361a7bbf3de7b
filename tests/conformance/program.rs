//! `s3sync-lab` as a process: what it prints, what its control interface does, how it ends.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use s3sync_tests::process::Process;
use s3sync_tests::wait::until;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::code;

/// A process starts or ends within this, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
[[endpoint]]
name = "usw2"
region = "us-west-2"
keys = { AKIAWEST = "west-secret" }
buckets = ["media", "big"]
generate = { big = { prefix = "d/", count = 1000000, size = 4096, modified = 0 } }
notify = [{ bucket = "media", queue = "sqs:events" }]

[[queues]]
name = "sqs"
region = "us-west-2"
keys = { AKIAWEST = "west-secret" }
queue = [{ name = "events" }]
"#;

struct Program {
    process: Process,
    addresses: Value,
}

impl Program {
    async fn start(folder: &Path) -> Self {
        std::fs::write(folder.join("lab.toml"), CONFIG).unwrap();
        let config = format!("--config={}", folder.join("lab.toml").display());
        let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
        let process = Process::start("lab", program, &["lab".into(), config], folder).unwrap();
        let addresses = until("the lab prints its addresses", PATIENCE, || {
            let log = process.log();
            std::future::ready(serde_json::from_str::<Value>(&log).map_err(|_| log))
        })
        .await;
        Self { process, addresses }
    }

    /// Status and body of a call of the control interface.
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let address = self.addresses["admin"].as_str().unwrap().replace("http://", "");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    /// The answer of a call that must be understood.
    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, value) = self.call(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {value}");
        value
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_is_controlled_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Program::start(folder.path()).await;
    let url = lab.addresses["endpoints"]["usw2"].as_str().unwrap();
    let client = super::client(url, "us-west-2", "AKIAWEST", "west-secret");
    let rule = json!({"operation": "PutObject", "fault": "slow_down", "when": {"nth": 1}});
    lab.ok("PUT", "/usw2/faults", json!({"seed": 1, "rules": [rule]})).await;
    let put = || {
        let put = client.put_object().bucket("media").key("a b");
        put.body(ByteStream::from_static(b"hello")).send()
    };
    assert_eq!([code(put().await), code(put().await)], ["SlowDown", "success"]);
    assert_eq!(lab.ok("GET", "/usw2/faults", Value::Null).await[0]["when"], json!({"nth": 1}));
    lab.ok("DELETE", "/usw2/faults", Value::Null).await;
    assert_eq!(lab.ok("GET", "/usw2/faults", Value::Null).await, json!([]));
    let count = json!([{"operation": "PutObject", "access_key": "AKIAWEST", "bucket": "media", "count": 2}]);
    assert_eq!(lab.ok("GET", "/usw2/counts", Value::Null).await, count);
    lab.ok("DELETE", "/usw2/counts", Value::Null).await;
    assert_eq!(lab.ok("GET", "/usw2/counts", Value::Null).await, json!([]));
    let writes = lab.ok("GET", "/usw2/writes", Value::Null).await;
    let shown: Vec<_> = writes
        .as_array()
        .unwrap()
        .iter()
        .map(|write| (&write["status"], &write["effect"]))
        .collect();
    assert_eq!(shown, [(&json!(503), &json!(false)), (&json!(200), &json!(true))]);
    let events = lab.ok("GET", "/sqs/messages/events", Value::Null).await;
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{events}");
    lab.ok("PUT", "/usw2/objects/media", json!({"key": "c", "base64": "/wA="})).await;
    lab.ok("PUT", "/usw2/seed/media", json!({"prefix": "s/", "count": 3, "size": 10})).await;
    let objects = lab.ok("GET", "/usw2/objects/media", Value::Null).await;
    let shown: Vec<_> = objects
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["key"].as_str(), one["size"].as_u64()))
        .collect();
    let seeded = |key| (Some(key), Some(10));
    assert_eq!(
        shown,
        [
            (Some("a b"), Some(5)),
            (Some("c"), Some(2)),
            seeded("s/00000000"),
            seeded("s/00000001"),
            seeded("s/00000002"),
        ]
    );
    client.create_multipart_upload().bucket("media").key("open").send().await.unwrap();
    let uploads = lab.ok("GET", "/usw2/uploads/media", Value::Null).await;
    assert_eq!(uploads.as_array().map(Vec::len), Some(1));
    let page = client.list_objects_v2().bucket("big").max_keys(1).send().await.unwrap();
    assert_eq!(page.contents()[0].size(), Some(4_096));
    let ended = lab.process.terminate(PATIENCE).await.unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_control_interface_does_not_understand_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Program::start(folder.path()).await;
    let misspelt =
        json!({"rules": [{"operaton": "PutObject", "fault": "slow_down", "when": "always"}]});
    for (method, path, body, expected) in [
        ("GET", "/usw3/counts", Value::Null, 404),
        ("GET", "/usw2/count", Value::Null, 404),
        ("PUT", "/usw2/seed/no-such-bucket", json!({"prefix": "", "count": 1, "size": 1}), 404),
        ("GET", "/sqs/messages/no-such-queue", Value::Null, 404),
        ("PUT", "/usw2/faults", misspelt, 400),
        ("PUT", "/usw2/capabilities", json!({"ignore_condition": true}), 400),
        ("PUT", "/usw2/objects/media", json!({"key": "k", "base64": "?"}), 400),
    ] {
        let (status, said) = lab.call(method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {said}");
    }
}
