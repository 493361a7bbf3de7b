//! Closed by default: TLS, client certificates and tokens, with the real programs.

use std::path::{Path, PathBuf};
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use s3sync_lab::Lab;
use s3sync_tests::process::Process;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, WEST_READ, sides};
use tempfile::TempDir;

use super::RUN_BOUND;

const API_TOKEN: &str = "the-token-of-people-and-programs";
const AGENT_TOKEN: &str = "the-token-of-agents-and-nobody-else";

/// A folder with an authority, certificates of it for the server and for clients, and the two tokens.
fn prepare() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", &authority.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        write(&format!("{name}.pem"), &params.signed_by(&key, &authority).unwrap().pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
    write("api.token", API_TOKEN);
    write("agent.token", AGENT_TOKEN);
    write("wrong.token", "some-other-token-that-is-long");
    folder
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_s3sync-demo"))
}

/// Starts the server behind all its doors; where it listens.
async fn start_server(folder: &Path) -> (Process, String) {
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "server".to_owned(),
        format!("--data-dir={}", path("data")),
        "--listen=127.0.0.1:0".to_owned(),
        "--http=127.0.0.1:0".to_owned(),
        format!("--ready-file={}", path("ready.json")),
        format!("--tls-cert={}", path("server.pem")),
        format!("--tls-key={}", path("server.key")),
        format!("--tls-client-ca={}", path("ca.pem")),
        format!("--api-token-file={}", path("api.token")),
        format!("--agent-token-file={}", path("agent.token")),
    ];
    let server = Process::start("server", program(), &arguments, folder).unwrap();
    let ready = until("the server is ready", RUN_BOUND, || {
        std::future::ready(
            std::fs::read_to_string(path("ready.json")).map_err(|error| error.to_string()),
        )
    })
    .await;
    let value: serde_json::Value = serde_json::from_str(&ready).unwrap();
    (server, format!("https://{}", value["grpc"].as_str().unwrap()))
}

/// Runs `s3syncctl` with these files of the folder.
async fn ctl(folder: &Path, url: &str, files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program());
    command
        .arg("ctl")
        .arg("--server")
        .arg(url)
        .current_dir(folder)
        .stdin(std::process::Stdio::null());
    for (flag, file) in files {
        command.arg(flag).arg(file);
    }
    command.args(arguments).output().await.unwrap()
}

fn exit(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const CA: (&str, &str) = ("--ca-file", "ca.pem");
const CERT: (&str, &str) = ("--client-cert", "client.pem");
const KEY: (&str, &str) = ("--client-key", "client.key");

#[tokio::test(flavor = "multi_thread")]
async fn every_door_wants_its_own_key() {
    let folder = prepare();
    let (_server, url) = start_server(folder.path()).await;
    let list = &["job", "list", "-o", "json"];
    let token = |file: &'static str| ("--token-file", file);
    let good = ctl(folder.path(), &url, &[CA, CERT, KEY, token("api.token")], list).await;
    assert_eq!(exit(&good), (0, String::new()));
    for file in ["wrong.token", "agent.token"] {
        let (code, err) =
            exit(&ctl(folder.path(), &url, &[CA, CERT, KEY, token(file)], list).await);
        assert_eq!(code, 6, "{file}: {err}");
        assert!(err.contains("token is not right") && !err.contains(AGENT_TOKEN), "{err}");
    }
    let (code, err) = exit(&ctl(folder.path(), &url, &[CA, CERT, KEY], list).await);
    assert_eq!(code, 6, "without a token: {err}");
    // Without a certificate, without its authority, or without TLS the connection is not made.
    for files in [&[CA, token("api.token")][..], &[CERT, KEY, token("api.token")]] {
        let (code, err) = exit(&ctl(folder.path(), &url, files, list).await);
        assert_eq!(code, 7, "{files:?}: {err}");
    }
    let plain = url.replace("https:", "http:");
    let (code, err) = exit(&ctl(folder.path(), &plain, &[token("api.token")], list).await);
    assert_eq!(code, 7, "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_works_through_tls_with_its_token_and_certificate() {
    let folder = prepare();
    let (_server, url) = start_server(folder.path()).await;
    let lab = Lab::start(sides()).await.unwrap();
    let west = lab.endpoint("usw2");
    west.seed("srcbucket", "srcfolder/hello", "hello");
    let files = &[CA, CERT, KEY, ("--token-file", "api.token")];
    let job = format!(
        "kind: Endpoint\nname: usw2\nregion: us-west-2\nurl: {}\npath_style: true\n---\n\
         kind: Endpoint\nname: cnn1\nregion: cn-north-1\nurl: {}\npath_style: true\n---\n\
         kind: Job\nname: media\nsource: {{ endpoint: usw2, bucket: srcbucket, prefix: srcfolder/ }}\n\
         destinations: [ {{ endpoint: cnn1, bucket: destbucket-cnn1, prefix: destfolder/ }} ]\n",
        west.url(),
        lab.endpoint("cnn1").url()
    );
    std::fs::write(folder.path().join("job.yaml"), job).unwrap();
    let applied = ctl(folder.path(), &url, files, &["apply", "-f", "job.yaml"]).await;
    assert_eq!(exit(&applied), (0, String::new()));
    let agent = |name: &str, token: &str| {
        let text = format!(
            "server = \"{url}\"\nname = \"{name}\"\ntoken_file = \"{token}\"\n\
             [tls]\nca_file = \"ca.pem\"\ncert_file = \"client.pem\"\nkey_file = \"client.key\"\n\
             [endpoints.usw2]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
             allow = [ {{ bucket = \"srcbucket\", prefix = \"srcfolder/\", verbs = [\"list\", \"read\"] }} ]\n\
             [endpoints.cnn1]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
            WEST_READ.0, WEST_READ.1, CHINA.0, CHINA.1
        );
        let file: PathBuf = folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        let arguments = ["agent".to_owned(), format!("--config={}", file.display())];
        Process::start(name, program(), &arguments, folder.path()).unwrap()
    };
    // People's token does not make an agent.
    let stranger = agent("stranger", "api.token");
    until("the stranger is refused", RUN_BOUND, || {
        let log = stranger.log();
        std::future::ready(if log.contains("token is not right") { Ok(()) } else { Err(log) })
    })
    .await;
    let _agent = agent("cn-1", "agent.token");
    let run = ctl(folder.path(), &url, files, &["job", "run", "media", "--wait", "--quiet"]).await;
    assert_eq!(exit(&run), (0, String::new()));
    assert_eq!(
        lab.endpoint("cnn1").object("destbucket-cnn1", "destfolder/hello").unwrap().body,
        "hello"
    );
    let agents = ctl(folder.path(), &url, files, &["agent", "list"]).await;
    let shown = String::from_utf8_lossy(&agents.stdout).into_owned();
    assert!(shown.contains("cn-1") && !shown.contains("stranger"), "{shown}");
}
