//! Other services integrate: a Python client made from the .proto files creates a job, runs it, watches it and reads
//! its failures.

use std::path::{Path, PathBuf};
use std::process::Command;

use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_tests::objects;
use s3sync_tests::world::{SOURCE, Times, World};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

/// The Python of the test servers' folder. A missing one fails the test: what is not run shows nothing.
fn python() -> PathBuf {
    let given = std::env::var_os("S3SYNC_TEST_VENV").map(PathBuf::from);
    let path = given.unwrap_or_else(|| root().join("target/test-servers")).join("bin/python");
    assert!(path.exists(), "{} is missing; run .ci/servers first (.ci/test does)", path.display());
    path
}

/// Runs a program that must succeed; its output.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{err}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_runs_a_job_and_reads_its_failures() {
    let folder = tempfile::tempdir().unwrap();
    let mut world =
        World::new(folder.path(), Path::new(env!("CARGO_BIN_EXE_s3sync-demo")), Times::short())
            .await
            .unwrap();
    world.start_server().await.unwrap();
    world.start_china("cn-1").unwrap();
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 60, 1);
    let total = world.side("usw2").objects(SOURCE).len();
    let mut denied = Rule::of("PutObject", Fault::AccessDenied, When::Always);
    denied.prefix = "destfolder/00/000017.bin".to_owned();
    world.side("cnn1").set_faults(Faults::new(1, vec![denied]));

    let stubs = folder.path().join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let proto = root().join("proto");
    let mut generate = Command::new(python());
    generate.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
    generate
        .arg(format!("--python_out={}", stubs.display()))
        .arg(format!("--grpc_python_out={}", stubs.display()));
    for file in std::fs::read_dir(proto.join("s3sync/v1")).unwrap() {
        generate.arg(file.unwrap().path());
    }
    output(&mut generate);
    let mut client = Command::new(python());
    client.arg(root().join("tests/python/client.py")).env("PYTHONPATH", &stubs);
    client.arg(world.url().trim_start_matches("http://"));
    client.args([world.side("usw2").url(), world.side("cnn1").url()]);
    let printed = tokio::task::spawn_blocking(move || output(&mut client)).await.unwrap();

    let seen: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let expected = serde_json::json!({
        "refused": "INVALID_ARGUMENT",
        "same_run": true,
        "kinds": ["KIND_SNAPSHOT", "KIND_SNAPSHOT_END", "KIND_CHANGED"],
        "state": "RUN_STATE_FINISHED_WITH_FAILURES",
        "copied": total - 1,
        "failed": 1,
        "failures": [["00/000017.bin", "AccessDenied", "FAILURE_CLASS_PERMANENT"]],
        "services": ["s3sync.v1.EndpointService", "s3sync.v1.JobService", "s3sync.v1.AgentAdminService"],
    });
    assert_eq!(seen, expected, "{}", world.logs());
}
