//! The configuration of the original s3sync, imported and at work: two jobs over four regions, one of them with keys of its
//! own, driven by scans and events, with deletes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use s3sync_lab::{EndpointConfig, Lab, Notification, Object, QueueConfig, Queues, QueuesConfig};
use s3sync_tests::wait::until;
use s3sync_tests::world::{Times, World};

use super::RUN_BOUND;

const CONFIG: &str = include_str!("../../docs/examples/config.js");
const BASE: (&str, &str) = ("AKIDGLOBAL", "global-secret");
const CHINA: (&str, &str) = ("AKIDCHINA", "china-secret");

/// Source, and the destination of each region: endpoint, bucket, prefix.
type Place = (&'static str, &'static str, &'static str);
const JOBS: [(Place, &[Place]); 2] = [
    (
        ("us-west-2", "srcbucket", "srcfolder/"),
        &[
            ("us-west-2", "destbucket_prefix.usw2", "destfolder/"),
            ("eu-west-1", "destbucket_prefix.euw1", "destfolder/"),
            ("cn-north-1", "destbucket_prefix.cnn1", "destfolder/"),
        ],
    ),
    (
        ("us-east-1", "srcbucket2", "srcfolder2/"),
        &[
            ("us-east-1", "destbucket_prefix.use1", "destfolder2/"),
            ("eu-west-1", "destbucket_prefix.euw1", "destfolder2/"),
        ],
    ),
];

fn sides() -> Vec<EndpointConfig> {
    let side =
        |region: &str, key: (&str, &str)| EndpointConfig::new(region, region).key(key.0, key.1);
    vec![
        side("us-east-1", BASE).bucket("srcbucket2").bucket("destbucket_prefix.use1"),
        side("us-west-2", BASE).bucket("srcbucket").bucket("destbucket_prefix.usw2"),
        side("eu-west-1", BASE).bucket("destbucket_prefix.euw1"),
        side("cn-north-1", CHINA).bucket("destbucket_prefix.cnn1"),
    ]
}

fn bodies(world: &World, (side, bucket, prefix): Place) -> BTreeMap<String, Vec<u8>> {
    let objects = world.side(side).objects(bucket).into_iter();
    objects
        .filter_map(|(key, object)| {
            let key = String::from_utf8(key.to_vec()).unwrap();
            Some((key.strip_prefix(prefix)?.to_owned(), object.body.to_vec()))
        })
        .collect()
}

async fn in_step(world: &World, what: &str) {
    until(what, RUN_BOUND, || {
        let unequal: Vec<_> = JOBS
            .iter()
            .flat_map(|(source, destinations)| destinations.iter().map(move |to| (source, to)))
            .filter(|(source, to)| bodies(world, **source) != bodies(world, **to))
            .collect();
        std::future::ready(if unequal.is_empty() { Ok(()) } else { Err(format!("{unequal:?}")) })
    })
    .await;
}

/// Imports the example, and points what came of it to the lab.
async fn import(world: &World, queues: &Queues) -> String {
    let folder = world.folder();
    std::fs::write(folder.join("config.js"), CONFIG).unwrap();
    world.ctl_ok(&["import", "config.js", "--folder", "new"]).await.unwrap();
    let yaml = folder.join("new/s3sync.yaml");
    let mut text = std::fs::read_to_string(&yaml).unwrap();
    for region in ["us-east-1", "us-west-2", "eu-west-1", "cn-north-1"] {
        let declared = format!("region: {region}\n");
        let here = format!("{declared}url: {}\npath_style: true\n", world.side(region).url());
        text = text.replacen(&declared, &here, 1);
    }
    let there = "https://sqs.us-west-2.amazonaws.com/123456789012/s3sync";
    assert!(text.contains(there), "{text}");
    text = text.replacen(there, &queues.queue_url("s3sync"), 1);
    std::fs::write(&yaml, text).unwrap();
    let agent = folder.join("new/agent.toml");
    let mode = std::fs::metadata(&agent).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::read_to_string(agent).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_example_is_imported_and_kept_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let mut world = World::over(folder.path(), program, Times::short(), sides()).await.unwrap();
    world.start_server().await.unwrap();
    let mut lab = Lab::start(Vec::new()).await.unwrap();
    let config = QueuesConfig::new("sqs", "us-west-2").key(BASE.0, BASE.1);
    let queues = lab.start_queues(config.queue(QueueConfig::new("s3sync"))).await.unwrap();
    for (source, _) in &JOBS {
        let side = world.side(source.0);
        for n in 0..100 {
            side.seed(source.1, format!("{}{:02}/{n}", source.2, n % 7), format!("{source:?} {n}"));
        }
        side.seed(source.1, format!("{}a b+c", source.2), "an odd key");
        // Of another folder whose name begins alike: the / that the import adds leaves it out.
        side.seed(source.1, format!("{}2/x", source.2.trim_end_matches('/')), "not of the job");
        side.notify(Notification {
            bucket: source.1.to_owned(),
            prefix: String::new(),
            queues: queues.clone(),
            queue: "s3sync".to_owned(),
        });
    }
    let agent = import(&world, &queues).await;
    world.ctl_ok(&["apply", "-f", "new/s3sync.yaml"]).await.unwrap();
    world.start_agent_with("agent-1", &agent).unwrap();

    in_step(&world, "the sync at the start has copied everything").await;
    for job in ["srcbucket-srcfolder", "srcbucket2-srcfolder2"] {
        world.ctl_ok(&["run", "wait", job, "--quiet"]).await.unwrap();
    }
    // Keys are compared without their prefixes: a second sync neither copies nor deletes, as the original did.
    let output = world.ctl_ok(&["job", "run", "srcbucket-srcfolder", "--wait", "--quiet"]).await;
    let shown = output.unwrap();
    assert!(shown.contains("303 listed, 303 in step"), "{shown}");

    let (west, east) = (world.side("us-west-2"), world.side("us-east-1"));
    west.change("srcbucket", "srcfolder/a b+c", Some(Object::new("changed")));
    east.change("srcbucket2", "srcfolder2/new/ä", Some(Object::new("new")));
    in_step(&world, "writes follow by events").await;
    west.change("srcbucket", "srcfolder/03/3", None);
    world.ctl_ok(&["job", "run", "srcbucket-srcfolder", "--wait", "--quiet"]).await.unwrap();
    in_step(&world, "deletes follow with a scan").await;
    assert_eq!(west.objects("srcbucket").len(), 101, "the source is only read");
}
