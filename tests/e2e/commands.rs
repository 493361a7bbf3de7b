//! Every command of `s3syncctl` against a server that is stopped, one that does not know the token, and one that has
//! nothing of what is asked for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use s3sync_tests::process::Process;
use s3sync_tests::wait::until;

use super::RUN_BOUND;

/// All help texts, which name every command.
const HELP: &str = include_str!("../../ctl/src/args/help.txt");

/// Commands that speak with no server.
const LOCAL: &[&str] = &["import", "completion", "man"];

/// A command with what it needs, and how it ends on a server that has nothing.
const COMMANDS: &[(&str, &[&str], i32)] = &[
    ("apply", &["--file", "declared.yaml"], 2),
    ("diff", &["--file", "declared.yaml"], 0),
    ("get", &["job", "none"], 3),
    ("delete", &["job", "none", "--yes"], 3),
    ("explain", &["none", "key"], 3),
    ("job create", &["none", "--source", "none:bucket/", "--destination", "none:other/"], 2),
    ("job list", &[], 0),
    ("job get", &["none"], 3),
    ("job run", &["none"], 3),
    ("job plan", &["none"], 3),
    ("job edit", &["none", "--editor", "true"], 3),
    ("job pause", &["none"], 3),
    ("job resume", &["none"], 3),
    ("job delete", &["none", "--yes"], 3),
    ("run list", &["none"], 3),
    ("run get", &["none"], 3),
    ("run watch", &["none"], 3),
    ("run wait", &["none/7"], 3),
    ("run cancel", &["none"], 3),
    ("run approve", &["none", "--yes"], 3),
    ("run pause", &["none"], 3),
    ("run resume", &["none"], 3),
    ("run retry", &["none"], 3),
    ("run failures", &["none"], 3),
    ("run report", &["none"], 3),
    ("endpoint list", &[], 0),
    ("endpoint get", &["none"], 3),
    ("endpoint probe", &["none"], 3),
    ("queue list", &[], 0),
    ("queue get", &["none"], 3),
    ("queue check", &["none"], 3),
    ("agent list", &[], 0),
    ("agent get", &["none"], 3),
    ("audit list", &[], 0),
];

/// A job whose endpoints nobody has declared.
const DECLARED: &str = "kind: Job\nname: none\nsource: { endpoint: none, bucket: bucket }\n\
                        destinations: [ { endpoint: none, bucket: other } ]\n";

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_s3sync-demo"))
}

async fn run(folder: &Path, url: &str, token: &str, command: &str, with: &[&str]) -> Output {
    tokio::process::Command::new(program())
        .arg("ctl")
        .args(["--server", url, "--token-file", token])
        .args(command.split(' '))
        .args(with)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap()
}

/// Runs every command, and tells which did not end with the code they should, or said it badly.
async fn wrong(folder: &Path, url: &str, token: &str, code: impl Fn(i32) -> i32) -> Vec<String> {
    let mut wrong = Vec::new();
    for (command, with, missing) in COMMANDS {
        let output = run(folder, url, token, command, with).await;
        let (found, expected) = (output.status.code(), code(*missing));
        let err = String::from_utf8_lossy(&output.stderr);
        let told = expected == 0 || (err.starts_with("error: ") && output.stdout.is_empty());
        if found != Some(expected) || !told {
            let out = String::from_utf8_lossy(&output.stdout);
            wrong.push(format!("{command}: {found:?} and not {expected}\n{err}{out}"));
        }
    }
    wrong
}

#[test]
fn the_list_has_every_command() {
    let names: Vec<&str> = HELP
        .lines()
        .filter_map(|line| line.strip_prefix("$ s3syncctl ")?.strip_suffix(" --help"))
        .collect();
    let leaves = names
        .iter()
        .filter(|name| !names.iter().any(|other| other.starts_with(&format!("{name} "))))
        .filter(|name| !LOCAL.contains(name));
    let listed = COMMANDS.iter().map(|(command, ..)| *command);
    assert_eq!(listed.collect::<BTreeSet<_>>(), leaves.copied().collect::<BTreeSet<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_by_its_exit_code_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("api.token", "the-token-of-people-and-programs");
    write("agent.token", "the-token-of-agents-and-nobody-else");
    write("wrong.token", "some-other-token-that-is-long");
    write("declared.yaml", DECLARED);
    let file = |flag: &str, name: &str| format!("{flag}={}", folder.path().join(name).display());
    let arguments = [
        "server".to_owned(),
        "--listen=127.0.0.1:0".to_owned(),
        "--http=127.0.0.1:0".to_owned(),
        file("--data-dir", "data"),
        file("--ready-file", "ready.json"),
        file("--api-token-file", "api.token"),
        file("--agent-token-file", "agent.token"),
    ];
    let server = Process::start("server", program(), &arguments, folder.path()).unwrap();
    let ready = until("the server is ready", RUN_BOUND, || {
        let text = std::fs::read_to_string(folder.path().join("ready.json"));
        std::future::ready(text.map_err(|error| error.to_string()))
    })
    .await;
    let value: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let url = format!("http://{}", value["grpc"].as_str().unwrap());
    let none: [String; 0] = [];
    assert_eq!(wrong(folder.path(), &url, "api.token", |missing| missing).await, none);
    assert_eq!(wrong(folder.path(), &url, "wrong.token", |_| 6).await, none);
    server.kill().await.unwrap();
    assert_eq!(wrong(folder.path(), &url, "api.token", |_| 7).await, none);
}
