//! The demo: two sides of a border, a server, two agents, real processes. It copies, proves, changes, copies again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _};
use md5::{Digest as _, Md5};
use s3sync_lab::QueueConfig;
use s3sync_proto::model::{Counters, Dirty, Name};
use tokio::time::Instant;

use crate::objects;
use crate::wait::until;
use crate::world::{
    CHINA, CHINA_DESTINATION, SOURCE, Times, WEST, WEST_DESTINATION, WEST_READ, World,
};

/// Objects of the demo.
const OBJECTS: usize = 3_000;
/// Objects that are written and overwritten while the job follows events; half of them are deleted then.
const LIVE: usize = 100;
/// Events are at the destinations within this, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// Reads at once while it proves.
const READS: usize = 32;

/// Shows s3sync at work between two local stand-ins of S3 with different keys. Needs nothing installed.
#[derive(Debug, Parser)]
#[command(name = "s3sync-demo", version, max_term_width = 110)]
struct Args {
    /// Stay up afterwards, to try things.
    #[arg(long)]
    keep: bool,
    /// Folder for its files; a fresh one, removed at the end, when left out.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// How many small objects.
    #[arg(long, default_value_t = OBJECTS)]
    objects: usize,
}

/// The program.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(show(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn show(args: Args) -> anyhow::Result<()> {
    let fresh = tempfile::Builder::new().prefix("s3sync demo ").tempdir()?;
    let folder = args.folder.as_deref().unwrap_or(fresh.path());
    std::fs::create_dir_all(folder)?;
    let program = std::env::current_exe().context("find this program")?;
    let mut world = World::new(folder, &program, Times::default_ones()).await?;

    say("Two local stand-ins of S3, each with its own keys:");
    for name in ["usw2", "cnn1"] {
        println!("    {name}  {}", world.side(name).url());
    }
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", args.objects, 1);
    println!(
        "    {} objects in usw2:{SOURCE}/srcfolder/",
        world.side("usw2").objects(SOURCE).len()
    );

    say("A server, and two agents that dial out to it:");
    world.start_server().await?;
    world.start_agent_with("us-1", &agent(&world, "us-1", "us-west-2", &[("usw2", WEST)]))?;
    let keys = [("usw2", WEST_READ), ("cnn1", CHINA)];
    world.start_agent_with("cn-1", &agent(&world, "cn-1", "cn-north-1", &keys))?;
    println!("    server  {}  (SQLite in {})", world.url(), world.folder().join("data").display());
    println!("    us-1    has keys of usw2 only");
    println!("    cn-1    has keys of both sides");
    println!("    Both may delete below destfolder/ of the destinations, and nowhere else.");

    say("The job of docs/examples/media.yaml, a destination on each side:");
    std::fs::write(folder.join("media.yaml"), world.job_file())?;
    ctl(&world, &["apply", "-f", "media.yaml"]).await?;

    say("The first run copies everything:");
    run(&world).await?;
    prove(&world).await?;

    say("Ten objects change and ten are new; the second run copies only these:");
    change(&world);
    let counters = run(&world).await?;
    ensure!(
        counters.copied == 40,
        "{} objects were copied instead of 20 to each side",
        counters.copied
    );
    prove(&world).await?;

    events(&mut world).await?;

    say("What an operator sees:");
    ctl(&world, &["run", "list"]).await?;
    println!();
    ctl(&world, &["agent", "list"]).await?;
    try_next(&world, &program);
    if args.keep {
        println!("\nEverything stays up until you press ctrl-c.");
        tokio::signal::ctrl_c().await?;
    } else {
        println!("\nWith --keep everything stays up.");
    }
    Ok(())
}

/// Configuration of an agent with these keys. Deletes are allowed by name only.
fn agent(world: &World, name: &str, region: &str, endpoints: &[(&str, (&str, &str))]) -> String {
    let head = format!(
        "server = \"{}\"\nname = \"{name}\"\nlabels = {{ region = \"{region}\" }}\n",
        world.url()
    );
    let section = |(endpoint, (key, secret)): &(&str, (&str, &str))| {
        let destination = if *endpoint == "usw2" { WEST_DESTINATION } else { CHINA_DESTINATION };
        format!(
            "\n[endpoints.{endpoint}]\naccess_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\nallow = [
  {{ bucket = \"{SOURCE}\", prefix = \"srcfolder/\", verbs = [\"list\", \"read\"] }},
  {{ bucket = \"{destination}\", prefix = \"destfolder/\", verbs = [\"list\", \"read\", \"write\", \"delete\"] }},
]\n"
        )
    };
    endpoints.iter().map(section).fold(head, |text, section| text + &section)
}

/// Objects are written, overwritten and deleted, and events bring it to the destinations.
async fn events(world: &mut World) -> anyhow::Result<()> {
    say("The source's bucket tells a queue of each change, and the job follows it, deletes too:");
    world.start_queue(QueueConfig::new("media-events")).await?;
    world.apply_job_with_events("media-events", "deletes: { policy: mirror }\n").await?;
    println!(
        "    $ s3syncctl apply -f job.yaml        # with events: {{ queue: media-events }}, deletes: {{ policy: mirror }}"
    );
    let west = client(&world.side("usw2").url(), "us-west-2", WEST);
    for (what, body) in [("written", "one"), ("overwritten", "one and two")] {
        for number in 0..LIVE {
            let (key, body) = (format!("srcfolder/live/{number}"), format!("{body} {number}"));
            let put = west.put_object().bucket(SOURCE).key(key).body(body.into_bytes().into());
            put.send().await.context("write")?;
        }
        println!("    {LIVE} objects {what}:");
        println!("        in place on both sides after {:.1?}", follow(world).await?);
    }
    for number in 0..LIVE / 2 {
        let key = format!("srcfolder/live/{number}");
        west.delete_object().bucket(SOURCE).key(key).send().await.context("delete")?;
    }
    println!("    {} of them deleted:", LIVE / 2);
    println!("        gone from both sides after {:.1?}", follow(world).await?);
    prove(world).await?;
    ctl(world, &["job", "get", "media"]).await?;
    ctl(world, &["queue", "get", "media-events"]).await
}

/// Prints the lag as the job tells it until both sides are as the source, and returns how long that took.
async fn follow(world: &World) -> anyhow::Result<Duration> {
    let name = &"media".parse::<Name>().context("a name")?;
    let (began, said) = (Instant::now(), &Mutex::new(String::new()));
    until("events bring it to both sides", PATIENCE, || async move {
        let mut client = world.client().map_err(|error| error.to_string())?;
        let job = client.get_job(name).await.map_err(|error| error.to_string())?;
        let lag = job.following.iter().flat_map(|following| &following.destinations).map(lag);
        let lag = lag.collect::<Vec<_>>().join(", ");
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != lag {
            println!("        lag: {lag}");
            said.clone_from(&lag);
        }
        let behind = behind(world);
        if behind.is_empty() { Ok(()) } else { Err(behind.join("\n")) }
    })
    .await;
    Ok(began.elapsed())
}

fn lag(of: &Dirty) -> String {
    let (endpoint, keys) = (&of.location.endpoint, of.keys);
    match of.oldest {
        Some(oldest) => {
            let told = Duration::from_micros(oldest.as_micros().try_into().unwrap_or_default());
            let age = UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(told);
            format!("{endpoint} {:.1} s ({keys} keys)", age.as_secs_f64())
        }
        None => format!("{endpoint} none"),
    }
}

/// What is not yet at the destinations as in the source, of what changes while events are followed.
fn behind(world: &World) -> Vec<String> {
    let (west, china) = (world.side("usw2"), world.side("cnn1"));
    let source = (&*west, SOURCE, "srcfolder/live/");
    [(&*west, WEST_DESTINATION), (&*china, CHINA_DESTINATION)]
        .into_iter()
        .flat_map(|(side, bucket)| objects::differences(source, (side, bucket, "destfolder/live/")))
        .collect()
}

fn say(text: &str) {
    println!("\n==> {text}");
}

/// Runs `s3syncctl` with its output on this terminal.
async fn ctl(world: &World, arguments: &[&str]) -> anyhow::Result<()> {
    println!("    $ s3syncctl {}", arguments.join(" "));
    for line in world.ctl_ok(arguments).await?.lines() {
        println!("    {line}");
    }
    Ok(())
}

/// Runs the job, with progress lines as they come, and returns what was done.
async fn run(world: &World) -> anyhow::Result<Counters> {
    let arguments = ["job", "run", "media", "--wait"];
    println!("    $ s3syncctl {}", arguments.join(" "));
    let output = world.ctl(&arguments).await?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for line in err.lines().chain(out.lines()) {
        println!("    {line}");
    }
    ensure!(
        output.status.success(),
        "the run did not succeed: {}\n{}",
        output.status,
        world.logs()
    );
    let job: Name = "media".parse().context("a name")?;
    Ok(world.client()?.get_run(&job, None).await?.totals())
}

/// Lists and reads everything on both sides through S3, and compares.
async fn prove(world: &World) -> anyhow::Result<()> {
    let west = client(&world.side("usw2").url(), "us-west-2", WEST);
    let china = client(&world.side("cnn1").url(), "cn-north-1", CHINA);
    let source = digests(&west, SOURCE, "srcfolder/").await?;
    for (name, client, bucket) in
        [("usw2", &west, WEST_DESTINATION), ("cnn1", &china, CHINA_DESTINATION)]
    {
        let copies = digests(client, bucket, "destfolder/").await?;
        ensure!(copies == source, "{name}:{bucket} is not equal to the source");
        println!(
            "    proof: {} objects of {name}:{bucket}/destfolder/ listed and read, all equal",
            copies.len()
        );
    }
    Ok(())
}

fn client(url: &str, region: &str, key: (&str, &str)) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(url)
        .force_path_style(true)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(key.0, key.1, None, None, "demo"))
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// The MD5 of every object below a prefix, by relative key.
async fn digests(
    client: &aws_sdk_s3::Client,
    bucket: &str,
    prefix: &str,
) -> anyhow::Result<BTreeMap<String, [u8; 16]>> {
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.context("list")?;
        keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
    }
    let read = |key: String| async move {
        let answer = client.get_object().bucket(bucket).key(&key).send().await.context("read")?;
        let body = answer.body.collect().await.context("read")?.into_bytes();
        let relative = key.strip_prefix(prefix).context("a key below the prefix")?.to_owned();
        anyhow::Ok((relative, <[u8; 16]>::from(Md5::digest(&body))))
    };
    futures_util::stream::iter(keys.into_iter().map(read))
        .buffer_unordered(READS)
        .try_collect()
        .await
}

fn change(world: &World) {
    let side = world.side("usw2");
    for index in 0..10 {
        side.seed(
            SOURCE,
            format!("srcfolder/{:02}/{index:06}.bin", index % 17),
            format!("changed {index}"),
        );
        side.seed(SOURCE, format!("srcfolder/new/{index:03}"), format!("new {index}"));
    }
}

fn try_next(world: &World, program: &Path) {
    say("To try next:");
    let ctl = format!("'{}' ctl --server {}", program.display(), world.url());
    for arguments in
        ["run get media", "job get media -o yaml", "endpoint get cnn1", "run watch media", "--help"]
    {
        println!("    {ctl} {arguments}");
    }
}
