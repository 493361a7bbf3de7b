//! What people see: `s3syncctl` as a process, its output and exit codes.

use s3sync_tests::objects;
use s3sync_tests::rounds::{assert_equal, assert_no_upload, copied};
use s3sync_tests::wait::until;
use s3sync_tests::world::{SOURCE, Times};

use super::{RUN_BOUND, media, world};

#[tokio::test(flavor = "multi_thread")]
async fn the_way_of_a_new_user() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 30, 9);
    std::fs::write(world.folder().join("job.yaml"), world.job_file()).unwrap();

    let dry = world.ctl_ok(&["apply", "-f", "job.yaml", "--dry-run"]).await.unwrap();
    assert_eq!(
        dry,
        "endpoint/usw2 would be created\nendpoint/cnn1 would be created\njob/media would be created\n"
    );
    assert_eq!(
        world.ctl(&["job", "get", "media"]).await.unwrap().status.code(),
        Some(3),
        "nothing was created"
    );
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    let again = world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    assert_eq!(again, "endpoint/usw2 unchanged\nendpoint/cnn1 unchanged\njob/media unchanged\n");

    // Without an agent the run waits and says why; with one that cannot, it says what that one lacks.
    world.ctl_ok(&["job", "run", "media"]).await.unwrap();
    wait_for(&world, "no agent is connected").await;
    world.start_west("us-1").unwrap();
    wait_for(&world, "us-1").await;
    let busy = world.ctl(&["job", "run", "media"]).await.unwrap();
    assert_eq!(busy.status.code(), Some(4), "a run is going on");
    let delete = world.ctl(&["delete", "job", "media", "--yes"]).await.unwrap();
    assert_eq!(delete.status.code(), Some(5), "{}", String::from_utf8_lossy(&delete.stderr));

    world.start_china("cn-1").unwrap();
    let waited = world.ctl(&["run", "wait", "media", "--quiet"]).await.unwrap();
    assert_eq!(waited.status.code(), Some(0), "{}", String::from_utf8_lossy(&waited.stdout));
    let json = world.ctl_ok(&["run", "get", "media/1", "-o", "json"]).await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["state"], "RUN_STATE_SUCCEEDED");

    let yaml = world.ctl_ok(&["job", "get", "media", "-o", "yaml"]).await.unwrap();
    std::fs::write(world.folder().join("again.yaml"), yaml).unwrap();
    let same = world.ctl_ok(&["diff", "-f", "again.yaml"]).await.unwrap();
    assert_eq!(same, "job/media: unchanged\n");
    let agents = world.ctl_ok(&["agent", "list"]).await.unwrap();
    assert!(agents.contains("cn-1") && agents.contains("online"), "{agents}");
    let used = world.ctl(&["delete", "endpoint", "cnn1", "--yes"]).await.unwrap();
    assert_eq!(used.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&used.stderr).contains("media"), "the error names the user");
    world.ctl_ok(&["delete", "job", "media", "--yes"]).await.unwrap();
    world.ctl_ok(&["delete", "endpoint", "cnn1", "--yes"]).await.unwrap();
}

async fn wait_for(world: &s3sync_tests::world::World, text: &str) {
    until("the run says why it waits", RUN_BOUND, || async {
        let shown = world.ctl_ok(&["run", "get", "media"]).await.unwrap();
        if shown.contains(text) { Ok(()) } else { Err(shown) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_get_all_their_problems_and_change_nothing() {
    let (world, folder) = world(Times::short()).await;
    let file = folder.path().join("bad.yaml");
    let text = "\
kind: Endpoint
name: usw2
region: us-west-2
---
kind: Job
name: media
source: { endpoint: usw2, bucket: src, prefix: a/ }
destinations:
  - { endpoint: usw2, bucket: src, prefix: a/b/ }
  - { endpoint: nowhere, bucket: '', prefix: x }
deletes: { policy: mirror }
";
    std::fs::write(&file, text).unwrap();
    let output = world.ctl(&["apply", "-f", "bad.yaml"]).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8_lossy(&output.stderr);
    for part in ["nothing was changed", "bad.yaml:10", "destinations[1].bucket"] {
        assert!(err.contains(part), "{part} is not in:\n{err}");
    }
    assert_eq!(
        world.ctl_ok(&["endpoint", "list", "-o", "json"]).await.unwrap().trim(),
        "[]",
        "{err}"
    );

    std::fs::write(&file, text.replace("bucket: ''", "bucket: dst")).unwrap();
    let output = world.ctl(&["apply", "-f", "bad.yaml"]).await.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    for part in ["bad.yaml:9: destinations[0]", "bad.yaml:10: destinations[1].endpoint"] {
        assert!(err.contains(part), "{part} is not in:\n{err}");
    }
    assert_eq!(world.ctl_ok(&["endpoint", "list", "-o", "json"]).await.unwrap().trim(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_listed_with_their_reason() {
    use s3sync_lab::{Fault, Faults, Rule, When};
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 40, 10);
    world.apply_job().await.unwrap();
    let mut rule = Rule::of("PutObject", Fault::AccessDenied, When::Always);
    rule.prefix = "destfolder/00/".to_owned();
    world.side("cnn1").set_faults(Faults::new(1, vec![rule]));
    world.start_china("cn-1").unwrap();
    let output = world.ctl(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stdout));
    let shown = world.ctl_ok(&["run", "failures", "media"]).await.unwrap();
    assert!(shown.contains("00/000000.bin") && shown.contains("AccessDenied"), "{shown}");
    let keys = world.ctl_ok(&["run", "failures", "media", "--class", "permanent"]).await.unwrap();
    assert_eq!(keys.lines().count(), 4, "a head and three keys:\n{keys}");
    let others = world.ctl_ok(&["run", "failures", "media", "--class", "archived"]).await.unwrap();
    assert_eq!(others, "");
    let json = world.ctl_ok(&["run", "failures", "media", "-o", "jsonl"]).await.unwrap();
    assert_eq!(json.lines().count(), 3, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_fails_on_everything_pauses_the_run() {
    use s3sync_lab::{Fault, Faults, Rule, When};
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 1_500, 10);
    world.apply_job().await.unwrap();
    let refused = Rule::of("PutObject", Fault::AccessDenied, When::Always);
    world.side("cnn1").set_faults(Faults::new(1, vec![refused]));
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    let output = world.ctl(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{err}");
    assert!(err.contains("AccessDenied") && err.contains("run resume media/1"), "{err}");
    let asked = world.side("cnn1").counts().of("PutObject");
    assert!(asked < 1_000, "{asked} requests were burnt");
    world.side("cnn1").set_faults(Faults::default());
    world.ctl_ok(&["run", "resume", "media"]).await.unwrap();
    let output = world.ctl(&["run", "wait", "media", "--quiet"]).await.unwrap();
    match output.status.code() {
        Some(0) => {}
        // The few keys that were reported before there were enough to tell.
        Some(9) => {
            drop(world.ctl_ok(&["run", "retry", "media", "--wait", "--quiet"]).await.unwrap())
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
    assert_equal(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_stands_still_and_goes_on() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 1_000, 10);
    world.apply_job().await.unwrap();
    world.ctl_ok(&["job", "run", "media"]).await.unwrap();
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    until("something is copied", RUN_BOUND, || async {
        if copied(&world) > 0 { Ok(()) } else { Err("nothing yet") }
    })
    .await;
    world.ctl_ok(&["run", "pause", "media"]).await.unwrap();
    let client = world.client().unwrap();
    until("everything is let go", RUN_BOUND, || async {
        let run =
            client.clone().get_run(&media(), None).await.map_err(|error| error.to_string())?;
        let held: u32 = run.destinations.iter().map(|one| one.leased_ranges).sum();
        if held == 0 { Ok(()) } else { Err(format!("{run:?}")) }
    })
    .await;
    assert_no_upload(&world);
    let second = world.ctl(&["job", "run", "media"]).await.unwrap();
    assert_eq!(second.status.code(), Some(4), "{}", String::from_utf8_lossy(&second.stderr));
    world.ctl_ok(&["run", "resume", "media"]).await.unwrap();
    world.ctl_ok(&["run", "wait", "media", "--quiet"]).await.unwrap();
    assert_equal(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_works_off_what_failed_and_lists_nothing() {
    use s3sync_lab::{Fault, Faults, Rule, When};
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 40, 10);
    world.apply_job().await.unwrap();
    let mut rule = Rule::of("PutObject", Fault::AccessDenied, When::Always);
    rule.prefix = "destfolder/00/".to_owned();
    world.side("cnn1").set_faults(Faults::new(1, vec![rule]));
    world.start_china("cn-1").unwrap();
    world.start_west("us-1").unwrap();
    let output = world.ctl(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stdout));
    world.side("cnn1").set_faults(Faults::default());
    world.side("cnn1").reset_counts();
    world.side("usw2").reset_counts();
    let retried =
        world.ctl_ok(&["run", "retry", "media", "--wait", "--quiet", "-o", "json"]).await.unwrap();
    let run: serde_json::Value = serde_json::from_str(&retried).unwrap();
    assert_eq!(
        (&run["state"], &run["trigger"]),
        (&"RUN_STATE_SUCCEEDED".into(), &"TRIGGER_RETRY".into())
    );
    assert_eq!(run["totals"]["copied"], "3", "{retried}");
    assert_equal(&world);
    let (west, china) = (world.side("usw2").counts(), world.side("cnn1").counts());
    assert_eq!((west.of("ListObjectsV2"), china.of("ListObjectsV2")), (0, 0));
    assert_eq!((china.of("HeadObject"), west.of("GetObject"), china.of("PutObject")), (3, 3, 3));
    let again = world.ctl(&["run", "retry", "media"]).await.unwrap();
    assert_eq!(again.status.code(), Some(5), "{}", String::from_utf8_lossy(&again.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_edited_and_one_that_runs_is_deleted_only_by_force() {
    let (world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 3, 1);
    world.apply_job().await.unwrap();
    // Nobody works on it, so the run stays.
    world.ctl_ok(&["job", "run", "media"]).await.unwrap();
    let edit = async |editor: &str| {
        let output = world.ctl(&["job", "edit", "media", "--editor", editor]).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(edit("true").await, (Some(0), "job/media unchanged\n".into(), String::new()));
    let (code, out, err) = edit("sed -i s/^paused.*//;echo paused: true >> ").await;
    assert_eq!((code, out.as_str()), (Some(0), "job/media updated\n"), "{err}");
    assert!(err.contains("media/1 is going on and keeps the settings"), "{err}");
    let (code, _, err) = edit("sed -i s/endpoint/endpiont/").await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("endpiont") && err.contains("your text is in"), "{err}");
    assert_eq!(edit("false").await.0, Some(1));
    let refused = world.ctl(&["job", "delete", "media", "--yes"]).await.unwrap();
    assert_eq!(refused.status.code(), Some(5));
    world.ctl_ok(&["job", "delete", "media", "--force", "--yes"]).await.unwrap();
    let gone = world.ctl(&["job", "get", "media"]).await.unwrap();
    assert_eq!(gone.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_man_pages_need_no_server() {
    let (mut world, folder) = world(Times::short()).await;
    world.stop_server().await.unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = world.ctl_ok(&["completion", shell]).await.unwrap();
        assert!(script.contains("s3syncctl") && script.contains("failures"), "{shell}");
    }
    world.ctl_ok(&["man", "pages"]).await.unwrap();
    let page = std::fs::read_to_string(folder.path().join("pages/s3syncctl-run-failures.1"));
    assert!(page.unwrap().contains("what to do about each"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_has_its_own_exit_code() {
    let (mut world, _folder) = world(Times::short()).await;
    world.stop_server().await.unwrap();
    let output = world.ctl(&["job", "list"]).await.unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
}
