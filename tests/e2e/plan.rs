//! Plans with real processes: what they say is what a run does, nothing is written, and whoever dies does not matter.

use std::time::Duration;

use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::client::Code;
use s3sync_proto::model::{CopyWay, Counters, Difference, JobPlan, NextStep, Run, RunState};
use s3sync_tests::objects;
use s3sync_tests::rounds::assert_equal;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, World};
use tokio_stream::StreamExt as _;

use super::{RUN_BOUND, ended, media, start_run, world};

/// A whole plan, and every difference.
async fn planned(world: &World) -> (JobPlan, Vec<Difference>) {
    let mut client = world.client().unwrap();
    let plan = async {
        let mut messages = std::pin::pin!(client.plan_job(&media(), None, true).await.unwrap());
        let (mut last, mut all) = (None, Vec::new());
        while let Some(message) = messages.next().await {
            let (plan, differences) = message.unwrap();
            all.extend(differences);
            last = Some(plan);
        }
        (last.unwrap(), all)
    };
    let (plan, differences) = tokio::time::timeout(RUN_BOUND, plan).await.expect("it ends");
    assert!(plan.complete && !plan.has_problems(), "{plan:?}");
    (plan, differences)
}

fn writes(world: &World) -> [usize; 2] {
    ["usw2", "cnn1"].map(|side| world.side(side).writes().len())
}

/// What the plan says is what the run did.
fn assert_foretold(plan: &JobPlan, run: &Run) {
    for (planned, done) in plan.destinations.iter().zip(&run.destinations) {
        let (tally, counters) = (&planned.tally, &done.counters);
        let copied = tally.copied();
        let ways = |some: &[CopyWay]| {
            let of = tally.copies.iter().filter(|(way, _)| some.contains(way));
            of.fold((0, 0), |(objects, bytes), (_, keys)| {
                (objects + keys.objects, bytes + keys.bytes)
            })
        };
        let server_side = ways(&[CopyWay::ServerSide, CopyWay::ServerSideParts]);
        let server_side_parts = ways(&[CopyWay::ServerSideParts]);
        let parts = ways(&[CopyWay::Parts]);
        let foretold = Counters {
            listed: tally.listed,
            in_step: tally.in_step,
            copied: copied.objects,
            copied_bytes: copied.bytes,
            failed: tally.failing.objects,
            archived: tally.archived.objects,
            vanished: tally.vanished,
            filtered: tally.filtered,
            extra: tally.extra.objects,
            copied_server_side: server_side.0,
            copied_server_side_bytes: server_side.1,
            copied_server_side_parts: server_side_parts.0,
            copied_server_side_parts_bytes: server_side_parts.1,
            copied_parts: parts.0,
            copied_parts_bytes: parts.1,
            list_requests: planned.list_requests,
            destination_listed: tally.destination_in_scope,
            ..Counters::default()
        };
        let (read_requests, write_requests) = (counters.read_requests, counters.write_requests);
        let tags_unread = counters.tags_unread;
        let foretold = Counters { read_requests, write_requests, tags_unread, ..foretold };
        assert_eq!(foretold, *counters, "{plan:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_says_is_what_the_run_does_and_it_writes_nothing() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    objects::seed(&west, SOURCE, "srcfolder/", 300, 3);
    world.apply_job().await.unwrap();
    let nobody = world.ctl(&["job", "plan", "media"]).await.unwrap();
    let text = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert_eq!(nobody.status.code(), Some(5), "{text}");
    assert!(text.contains("no agent is connected"), "{text}");
    world.start_west("us-1").unwrap();
    world.start_china("cn-1").unwrap();
    until("both agents are there", RUN_BOUND, || async {
        let plan = world.ctl(&["job", "plan", "media", "--quiet"]).await.unwrap();
        if plan.status.success() { Ok(()) } else { Err(format!("{plan:?}")) }
    })
    .await;

    let mut random = fastrand::Rng::with_seed(7);
    for state in 0..6 {
        let (before, objects) = (writes(&world), west.objects(SOURCE).len());
        let (plan, differences) = planned(&world).await;
        assert_eq!(writes(&world), before, "state {state}: nothing is written");
        assert_eq!(west.objects(SOURCE).len(), objects);
        let copies: u64 = plan.destinations.iter().map(|one| one.tally.copied().objects).sum();
        let told = differences.iter().filter(|one| one.next == NextStep::Copy).count();
        assert_eq!(told as u64, copies, "state {state}");
        let run = start_run(&world).await;
        let run = ended(&world, &run).await;
        assert_eq!(run.state, RunState::Succeeded, "{run:?}");
        assert_foretold(&plan, &run);
        let again = planned(&world).await.0;
        assert!(again.destinations.iter().all(|one| one.tally.copied().objects == 0), "{again:?}");
        // The next state.
        for n in 0..40 {
            let key = format!("srcfolder/{:02}", random.u32(..60));
            match random.u32(..4) {
                0 => west.remove(SOURCE, &key),
                1 => world.side("cnn1").seed(
                    CHINA_DESTINATION,
                    format!("destfolder/{}", random.u32(..9)),
                    "theirs",
                ),
                _ => west.seed(SOURCE, &key, format!("{state} {n}")),
            }
        }
    }
    // The runs are the only ones there are: a plan is none.
    let runs = world.client().unwrap().list_runs(None, 100, "").await.unwrap().items;
    assert_eq!(runs.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_read_by_people_and_programs_also_of_settings_that_are_not_applied() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    for key in ["a", "b", "tmp/c"] {
        west.seed(SOURCE, format!("srcfolder/{key}"), key);
    }
    world.side("cnn1").seed(CHINA_DESTINATION, "destfolder/extra", "extra");
    world.apply_job().await.unwrap();
    world.start_china("cn-1").unwrap();
    let table = until("an agent is there", RUN_BOUND, || async {
        let plan = world.ctl(&["job", "plan", "media"]).await.unwrap();
        if plan.status.success() { Ok(plan.stdout) } else { Err(format!("{plan:?}")) }
    })
    .await;
    let table = String::from_utf8_lossy(&table).into_owned();
    for line in [
        "to copy             3 objects, 7 B",
        "one GET, one PUT  3 objects, 7 B: a, b, tmp/c",
        "extra               1 object, 5 B: extra; they stay: the job deletes nothing",
        "requests            about 2 that list, 3 that read, 3 that write",
        "not carried         access control lists",
    ] {
        assert!(table.contains(line), "{line}: {table}");
    }
    let lines = world.ctl_ok(&["job", "plan", "media", "-o", "jsonl", "-q"]).await.unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert!(lines.iter().all(|line| line["next"].is_string() && line["reason"].is_string()));
    let json = world.ctl_ok(&["job", "plan", "media", "-o", "json"]).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["destinations"][1]["tally"]["copies"][0]["keys"]["objects"], "3");

    // The same with other settings, which nothing else gets to know.
    let filter = "filter: { exclude: ['tmp/**'] }\n";
    std::fs::write(world.folder().join("other.yaml"), format!("{}{filter}", world.job_file()))
        .unwrap();
    for arguments in [
        &["job", "plan", "-f", "other.yaml"][..],
        &["apply", "-f", "other.yaml", "--dry-run", "--plan"],
    ] {
        let table = world.ctl_ok(arguments).await.unwrap();
        assert!(table.contains("to copy             2 objects, 2 B"), "{table}");
        assert!(table.contains("filtered            1"), "{table}");
    }
    let job = world.client().unwrap().get_job(&media()).await.unwrap();
    assert_eq!((job.generation, job.latest_run), (1, None));
    let bad = world
        .job_file()
        .replace("destbucket-cnn1", "srcbucket")
        .replace("cnn1, bucket", "nowhere, bucket");
    std::fs::write(world.folder().join("bad.yaml"), bad).unwrap();
    let bad = world.ctl(&["job", "plan", "-f", "bad.yaml"]).await.unwrap();
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let missing = world.ctl(&["job", "plan", "never"]).await.unwrap();
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_survives_its_agents_and_goes_on_beside_a_run() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    for n in 0..3_000 {
        west.seed(SOURCE, format!("srcfolder/{:02}/{n:05}", n % 7), "x");
    }
    world.apply_job().await.unwrap();
    let slow = |what: &str, millis| vec![Rule::of(what, Fault::Delay(millis), When::Always)];
    west.set_faults(Faults::new(1, slow("ListObjectsV2", 400)));
    world.start_china("cn-1").unwrap();
    world.start_china("cn-2").unwrap();
    until("both agents are there", RUN_BOUND, || async {
        let agents = world.client().unwrap().list_agents(10, "").await.unwrap().items;
        if agents.len() == 2 { Ok(()) } else { Err(agents) }
    })
    .await;
    let mut client = world.client().unwrap();
    let mut messages = std::pin::pin!(client.plan_job(&media(), None, true).await.unwrap());
    let mut keys = Vec::new();
    let mut take = |(plan, differences): (JobPlan, Vec<Difference>)| {
        keys.extend(differences.into_iter().map(|one| (one.destination, one.key)));
        plan
    };
    let plan = take(messages.next().await.unwrap().unwrap());
    assert!(!plan.complete, "there is time to die");
    world.kill_agent("cn-1").await.unwrap();
    let plan = tokio::time::timeout(RUN_BOUND, async {
        loop {
            let plan = take(messages.next().await.expect("it goes on").unwrap());
            if plan.complete {
                return plan;
            }
        }
    })
    .await
    .expect("it ends");
    assert!(!plan.has_problems(), "{plan:?}");
    for destination in &plan.destinations {
        assert_eq!(destination.tally.copied().objects, 3_000);
    }
    assert_eq!(keys.len(), 6_000);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6_000, "each difference once");
    assert_eq!(writes(&world), [0, 0]);

    // A run that goes on is not in its way, nor the other way round.
    west.set_faults(Faults::new(1, slow("GetObject", 3_000)));
    let run = start_run(&world).await;
    until("the run copies", RUN_BOUND, || {
        let copied = world.side("cnn1").counts().of("PutObject");
        std::future::ready(if copied > 0 { Ok(()) } else { Err("nothing is copied") })
    })
    .await;
    let (plan, _) = planned(&world).await;
    let tally = &plan.destinations[1].tally;
    assert_eq!(tally.listed, 3_000);
    let still = world.client().unwrap().get_run(&media(), None).await.unwrap();
    assert_eq!((still.name, still.state), (run.name.clone(), RunState::Running));
    west.set_faults(Faults::default());
    let run = ended(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_equal(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_ends_with_its_reader_and_with_the_server() {
    let (mut world, _folder) = world(Times::short()).await;
    let west = world.side("usw2");
    for n in 0..50 {
        west.seed(SOURCE, format!("srcfolder/{n}"), "x");
    }
    world.apply_job().await.unwrap();
    world.start_china("cn-1").unwrap();
    until("an agent is there", RUN_BOUND, || async {
        let plan = world.ctl(&["job", "plan", "media", "--quiet"]).await.unwrap();
        if plan.status.success() { Ok(()) } else { Err(format!("{plan:?}")) }
    })
    .await;
    west.set_faults(Faults::new(
        1,
        vec![Rule::of("ListObjectsV2", Fault::Delay(3_000), When::Always)],
    ));
    let mut client = world.client().unwrap();
    // Eight of them would take all the places an agent has for questions.
    for _ in 0..8 {
        drop(client.plan_job(&media(), None, false).await.unwrap());
    }
    west.set_faults(Faults::default());
    tokio::time::timeout(Duration::from_secs(20), planned(&world))
        .await
        .expect("nobody is in the way");
    west.set_faults(Faults::new(
        1,
        vec![Rule::of("ListObjectsV2", Fault::Delay(3_000), When::Always)],
    ));
    let mut messages = std::pin::pin!(client.plan_job(&media(), None, false).await.unwrap());
    world.stop_server().await.unwrap();
    let error = loop {
        match messages.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it ends as if it were complete"),
        }
    };
    assert_eq!(error.code, Code::Unavailable, "{error:?}");
}
