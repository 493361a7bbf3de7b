//! What an agent says of single keys and of buckets when people ask.

use s3sync_lab::{Fault, Faults, Object, QueueConfig, Rule, When};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, CHINA_DESTINATION, SOURCE, Times, WEST, WEST_DESTINATION, World};
use serde_json::Value;

use super::events::QUEUE;
use super::{RUN_BOUND, world};

/// A job with both agents, a few objects in place, and nothing else to do.
async fn prepared() -> (World, super::Folder) {
    let (mut world, folder) = world(Times::short()).await;
    let west = world.side("usw2");
    for key in ["same", "changed", "gone", "a b/\u{fc}\n\u{202e}%2B+"] {
        west.seed(SOURCE, format!("srcfolder/{key}"), key);
    }
    let filter = "filter: { exclude: ['tmp/**'] }\n";
    std::fs::write(world.folder().join("job.yaml"), format!("{}{filter}", world.job_file()))
        .unwrap();
    world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    world.ctl_ok(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    west.seed(SOURCE, "srcfolder/changed", "other bytes");
    west.seed(SOURCE, "srcfolder/new", "new");
    west.seed(SOURCE, "srcfolder/tmp/x", "left out");
    west.remove(SOURCE, "srcfolder/gone");
    (world, folder)
}

async fn explained(world: &World, arguments: &[&str]) -> Value {
    let all = [&["explain", "media", "-o", "json"], arguments].concat();
    serde_json::from_str(&world.ctl_ok(&all).await.unwrap()).unwrap()
}

/// Verdict, next step and way at each destination.
fn verdicts(explained: &Value) -> Vec<[&str; 3]> {
    let destinations = explained["destinations"].as_array().unwrap();
    destinations
        .iter()
        .map(|one| {
            let found = &one["explanation"];
            let text = |field: &str| found[field].as_str().unwrap_or_default();
            [
                text("verdict").trim_start_matches("KEY_VERDICT_"),
                text("next").trim_start_matches("NEXT_STEP_"),
                text("way").trim_start_matches("COPY_WAY_"),
            ]
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_a_key_is_told_with_its_reason_and_nothing_is_written() {
    let (world, _folder) = prepared().await;
    let writes = || ["usw2", "cnn1"].map(|side| world.side(side).writes().len());
    let before = writes();
    let in_step = ["IN_STEP", "NOTHING", ""];
    let cases = [
        ("same", [in_step, in_step]),
        ("changed", [["DIFFERS", "COPY", "SERVER_SIDE"], ["DIFFERS", "COPY", "SINGLE"]]),
        ("new", [["DIFFERS", "COPY", "SERVER_SIDE"], ["DIFFERS", "COPY", "SINGLE"]]),
        ("gone", [["EXTRA", "NOTHING", ""]; 2]),
        ("tmp/x", [["FILTERED", "NOTHING", ""]; 2]),
        ("never", [["ABSENT", "NOTHING", ""]; 2]),
        ("a b/\u{fc}\n\u{202e}%2B+", [in_step, in_step]),
    ];
    for (key, expected) in cases {
        let told = explained(&world, &[key]).await;
        assert_eq!(verdicts(&told), expected, "{key}: {told:#}");
        assert_eq!(told["latestRunState"], "RUN_STATE_SUCCEEDED");
    }
    let told = explained(&world, &["changed"]).await;
    let found = &told["destinations"][1]["explanation"];
    assert_eq!(told["destinations"][1]["agent"], "agents/cn-1", "who has both credentials");
    assert_eq!(found["reason"], "not in step: their sizes differ");
    assert_eq!(
        (&found["source"]["size"], &found["destination"]["size"]),
        (&"11".into(), &"7".into())
    );
    let told = explained(&world, &["tmp/x"]).await;
    let reason = &told["destinations"][0]["explanation"]["filterReason"];
    assert_eq!(reason, "it matches the exclude pattern \"tmp/**\"");
    assert_eq!(writes(), before, "only looked");

    // The key in full on either side, and encoded, is the same key.
    for form in [
        &["s3://srcbucket/srcfolder/changed"][..],
        &["s3://destbucket-cnn1/destfolder/changed"],
        &["--encoded", "chang%65d"],
    ] {
        let told = explained(&world, form).await;
        assert_eq!(verdicts(&told)[1][0], "DIFFERS", "{form:?}");
    }
    let table = world
        .ctl_ok(&["explain", "media", "--encoded", "a%20b/%C3%BC%0A%E2%80%AE%252B+"])
        .await
        .unwrap();
    assert!(table.contains("in step: their ETags are equal"), "{table}");
    assert!(!table.contains('\u{202e}'), "nothing turns the text around");
    assert!(table.contains("a%20b/%C3%BC%0A%E2%80%AE%252B%2B"), "how to ask for it again: {table}");
    let refused = world.ctl(&["explain", "media", "s3://other/k"]).await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let refused = world.ctl(&["explain", "media", "--encoded", "%"]).await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agents_rules_forbid_is_not_looked_at_and_said() {
    let (mut world, _folder) = world(Times::short()).await;
    world.side("usw2").seed(SOURCE, "srcfolder/k", "k");
    world.apply_job().await.unwrap();
    let nobody = world.ctl(&["explain", "media", "k"]).await.unwrap();
    assert_eq!(nobody.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no agent is connected"));
    // It may write to the destination in China and list it, but not read there.
    let text = format!(
        "server = \"{}\"\nname = \"narrow\"\nlabels = {{ region = \"cn-north-1\" }}\n\
         [endpoints.usw2]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
         [endpoints.cnn1]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
         allow = [{{ bucket = \"{CHINA_DESTINATION}\", prefix = \"destfolder/\", verbs = [\"list\", \"write\"] }}]\n",
        world.url(),
        WEST.0,
        WEST.1,
        CHINA.0,
        CHINA.1
    );
    world.start_agent_with("narrow", &text).unwrap();
    let told = s3sync_tests::wait::until("an agent looks", super::RUN_BOUND, || async {
        let told = world.ctl(&["explain", "media", "k", "-o", "json"]).await.unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let value: Result<Value, _> = serde_json::from_str(&text);
        // One of the two destinations was looked at.
        match (told.status.code(), value) {
            (Some(5), Ok(value)) => Ok(value),
            _ => Err(format!("{text}{}", String::from_utf8_lossy(&told.stderr))),
        }
    })
    .await;
    assert_eq!(told["destinations"][0]["explanation"]["verdict"], "KEY_VERDICT_DIFFERS");
    let why = told["destinations"][1]["unanswered"].as_str().unwrap();
    assert!(
        why.contains("narrow does not allow read in cnn1:destbucket-cnn1/destfolder/"),
        "{why}"
    );
    assert_eq!(world.side("cnn1").counts().total(), 0, "no request left the agent");
    assert!(world.side("usw2").object(WEST_DESTINATION, "destfolder/k").is_none());
}

/// What is said of a key that an event told of, at the first destination.
async fn dirty(world: &World, key: &str) -> Value {
    let told = world.ctl(&["explain", "media", key, "-o", "json"]).await.unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
    told["destinations"][0]["dirty"].clone()
}

/// Waits until the key is no longer dirty; then both sides have the same.
async fn in_place(world: &World) {
    until("it is in place and no longer dirty", RUN_BOUND, || async {
        let found = dirty(world, "k").await;
        let copy = world.side("usw2").object(WEST_DESTINATION, "destfolder/k");
        let equal = copy.map(|copy| copy.body.clone())
            == world.side("usw2").object(SOURCE, "srcfolder/k").map(|object| object.body.clone());
        if found.is_null() && equal { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn until_dirty(world: &World, key: &str, state: &str) -> Value {
    until(&format!("{key} is {state}"), RUN_BOUND, || async {
        let found = dirty(world, key).await;
        if found["state"] == state { Ok(found) } else { Err(found) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_event_told_of_is_dirty_until_it_is_in_place() {
    let (mut world, _folder) = world(Times::short()).await;
    let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
    let west = world.side("usw2");
    for key in ["srcfolder/k", "srcfolder/gone"] {
        west.seed(SOURCE, key, "first");
    }
    let mirror = "deletes: { policy: mirror, max_percent: 1 }\n";
    world.apply_job_with_events(QUEUE, mirror).await.unwrap();
    let text = super::event_deletes::agent_of("one", &world.url());
    world.start_agent_with("one", &text).unwrap();
    world.ctl_ok(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    assert_eq!(dirty(&world, "k").await, Value::Null);
    // An agent is at its look.
    let held = Rule::of("GetObject", Fault::Hold, When::Always).at(SOURCE, "srcfolder/k");
    west.set_faults(Faults::new(1, vec![held]));
    west.change(SOURCE, "srcfolder/k", Some(Object::new("second")));
    let found = until_dirty(&world, "k", "DIRTY_STATE_WORKED_ON").await;
    assert_eq!(found["reason"], "one works on it");
    assert!(found["sequencer"].as_str().unwrap().starts_with("00"), "{found:#}");
    west.set_faults(Faults::default());
    in_place(&world).await;
    // A pause keeps what is told of.
    world.ctl_ok(&["job", "pause", "media"]).await.unwrap();
    west.change(SOURCE, "srcfolder/k", Some(Object::new("third")));
    let found = until_dirty(&world, "k", "DIRTY_STATE_PAUSED").await;
    assert!(found["reason"].as_str().unwrap().contains("the job is paused"), "{found:#}");
    let table = world.ctl_ok(&["explain", "media", "k"]).await.unwrap();
    assert!(table.contains("dirty     paused: its run is paused"), "{table}");
    world.ctl_ok(&["job", "resume", "media"]).await.unwrap();
    in_place(&world).await;
    // What is gone waits behind the guard.
    west.change(SOURCE, "srcfolder/gone", None);
    let found = until_dirty(&world, "gone", "DIRTY_STATE_AWAITING_APPROVAL").await;
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.contains("s3syncctl run approve media/"), "{reason}");
    world.stop_agent("one").await.unwrap();
    let nobody = world.ctl(&["explain", "media", "gone"]).await.unwrap();
    let shown = String::from_utf8_lossy(&nobody.stdout).into_owned();
    assert_eq!(nobody.status.code(), Some(5), "{shown}");
    assert!(shown.contains("awaiting approval: only the destination has it"), "{shown}");
    drop(queues);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_learns_by_reading_and_forgets_the_rest() {
    let (world, _folder) = prepared().await;
    let endpoint = async || -> Value {
        let text = world.ctl_ok(&["endpoint", "get", "cnn1", "-o", "json"]).await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let facts = endpoint().await["buckets"][0].clone();
    assert_eq!(facts["conditionalWrites"], "LEARNED_YES", "learned by the first copy");
    let writes = world.side("cnn1").writes().len();
    let text = world.ctl_ok(&["endpoint", "probe", "cnn1"]).await.unwrap();
    for line in ["agent", "cn-1", "reachable", "credential", "clock", "order", "etags", "writes"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
    assert_eq!(world.side("cnn1").writes().len(), writes, "nothing was written");
    let facts = endpoint().await["buckets"][0].clone();
    assert_eq!(facts.get("conditionalWrites"), None, "only a write can teach it: {facts:#}");
    assert_eq!(facts["etags"], "ETAG_KIND_MD5", "{facts:#}");
    assert_eq!(facts["tags"], "LEARNED_YES", "{facts:#}");
    // Both agents have a credential for the other side.
    let json = world.ctl_ok(&["endpoint", "probe", "usw2", "--bucket", SOURCE, "-o", "json"]).await;
    let probe: Value = serde_json::from_str(&json.unwrap()).unwrap();
    let agents: Vec<_> =
        probe["agents"].as_array().unwrap().iter().map(|one| one["agent"].clone()).collect();
    assert_eq!(agents, ["agents/cn-1", "agents/us-1"]);
    // The next real copy learns it again.
    world.ctl_ok(&["job", "run", "media", "--wait", "--quiet"]).await.unwrap();
    let facts = endpoint().await["buckets"][0].clone();
    assert_eq!(facts["conditionalWrites"], "LEARNED_YES");
}
