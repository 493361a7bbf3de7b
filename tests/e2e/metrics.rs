//! Metrics of a faulty run: they agree with the run's own numbers to the object and with what the other side saw, a real
//! Prometheus takes them, and a collector gets them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use s3sync_lab::{Fault, Faults, Rule, When};
use s3sync_proto::model::{Counters, Run, RunState};
use s3sync_telemetry::metrics::page::{Sample, documented, samples, shapes};
use s3sync_tests::collector::{Collector, Protocol};
use s3sync_tests::objects;
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA, CHINA_DESTINATION, SOURCE, Times, WEST_READ, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{RUN_BOUND, ended, start_run, world, world_with};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// A program of the test servers' folder. A missing one fails the test: what is not run shows nothing.
pub(crate) fn program(name: &str) -> PathBuf {
    let given = std::env::var_os("S3SYNC_TEST_VENV").map(PathBuf::from);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = given.unwrap_or_else(|| root.join("target/test-servers")).join("bin").join(name);
    assert!(path.exists(), "{} is missing; run .ci/servers first (.ci/test does)", path.display());
    path
}

/// A port nobody listens on now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = ask.await.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("{head}\n{body}")),
    }
}

/// Starts an agent whose pages are at this address, and waits until it is ready.
async fn start_agent(world: &mut World, address: SocketAddr) {
    let both = [("usw2", WEST_READ), ("cnn1", CHINA)];
    let more = format!("http = \"{address}\"");
    world.start_agent("cn-1", "cn-north-1", &both, &more).unwrap();
    until("the agent is ready", RUN_BOUND, || get(address, "/readyz")).await;
}

fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let all = samples.iter().filter(|one| {
        one.name == name
            && labels.iter().all(|(key, value)| one.labels.get(*key).is_some_and(|v| v == value))
    });
    all.map(|one| one.value).sum()
}

/// The counters of a destination of the job, as metrics tell them.
fn told(samples: &[Sample], place: &str) -> BTreeMap<&'static str, f64> {
    let at = |name: &str, label: &'static str, value: &'static str| {
        sum(samples, name, &[("job_name", "media"), ("destination", place), (label, value)])
    };
    let results = ["in_step", "copied", "failed", "vanished", "archived"];
    let mut all: BTreeMap<_, _> =
        results.into_iter().map(|one| (one, at("s3sync_objects_total", "result", one))).collect();
    all.insert("streamed", at("s3sync_copies_total", "way", "streamed"));
    all.insert("bytes", at("s3sync_copied_bytes_total", "job_name", "media"));
    for kind in ["list", "read", "write"] {
        all.insert(kind, at("s3sync_job_requests_total", "kind", kind));
    }
    all
}

/// The same as the runs tell them.
#[expect(clippy::cast_precision_loss, reason = "tests have few objects")]
fn counted(runs: &[&Run], destination: usize) -> BTreeMap<&'static str, f64> {
    let mut all = Counters::default();
    for run in runs {
        all += run.destinations[destination].counters;
    }
    let numbers = [
        ("in_step", all.in_step),
        ("copied", all.copied),
        ("failed", all.failed),
        ("vanished", all.vanished),
        ("archived", all.archived),
        ("streamed", all.copied - all.copied_server_side),
        ("bytes", all.copied_bytes),
        ("list", all.list_requests),
        ("read", all.read_requests),
        ("write", all.write_requests),
    ];
    numbers.into_iter().map(|(name, number)| (name, number as f64)).collect()
}

/// Places of the two destinations of the example.
const PLACES: [&str; 2] = ["usw2:destbucket-usw2/destfolder/", "cnn1:destbucket-cnn1/destfolder/"];

async fn agrees(world: &World, runs: &[&Run]) -> String {
    let text = get(world.pages().unwrap(), "/metrics").await.unwrap();
    let all = samples(&text);
    for (index, place) in PLACES.into_iter().enumerate() {
        assert_eq!(told(&all, place), counted(runs, index), "{place}\n{text}");
    }
    text
}

/// What the lab was asked is what the agent says it asked, by endpoint and operation.
fn as_the_lab_saw_it(world: &World, agent: &[Sample]) {
    for side in ["usw2", "cnn1"] {
        let mut seen = BTreeMap::<String, f64>::new();
        for ((operation, _, _), count) in world.side(side).counts().0 {
            *seen.entry(operation).or_default() += f64::from(u32::try_from(count).unwrap());
        }
        let of_side = agent
            .iter()
            .filter(|one| one.name == "s3sync_s3_requests_total" && one.labels["endpoint"] == side);
        let mut asked = BTreeMap::<String, f64>::new();
        for one in of_side {
            *asked.entry(one.labels["operation"].clone()).or_default() += one.value;
        }
        assert_eq!(asked, seen, "{side}");
    }
}

fn misbehave(world: &World) {
    for (index, side) in ["usw2", "cnn1"].into_iter().enumerate() {
        let rules = vec![
            Rule::of("PutObject", Fault::AccessDenied, When::Always)
                .at(CHINA_DESTINATION, "destfolder/05/"),
            Rule::every(Fault::SlowDown, When::Rate(0.02)),
            Rule::every(Fault::InternalError, When::Rate(0.01)),
            Rule::every(Fault::CutBody, When::Rate(0.01)),
            Rule::of("PutObject", Fault::DelayAnswer(2), When::Rate(0.05)),
        ];
        world.side(side).set_faults(Faults::new(7 + index as u64, rules));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_a_faulty_run_agree_with_it_to_the_object() {
    let (mut world, _folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 600, 3);
    misbehave(&world);
    world.apply_job().await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    start_agent(&mut world, address).await;
    let first = start_run(&world).await;
    let first = ended(&world, &first).await;
    assert_eq!(first.state, RunState::FinishedWithFailures, "{first:?}\n{}", world.logs());
    let failed = first.destinations[1].counters.failed;
    assert!(failed > 0, "{first:?}");
    agrees(&world, &[&first]).await;

    let text = get(address, "/metrics").await.unwrap();
    assert!(!world.holds_secret(&text), "{text}");
    let agent = samples(&text);
    as_the_lab_saw_it(&world, &agent);
    let failures = |class| sum(&agent, "s3sync_s3_failures_total", &[("class", class)]);
    assert!(failures("throttled") > 0.0 && failures("transient") > 0.0, "{text}");
    let denied =
        sum(&agent, "s3sync_s3_failures_total", &[("class", "denied"), ("endpoint", "cnn1")]);
    assert!(
        (denied - f64::from(u32::try_from(failed).unwrap())).abs() < 0.5,
        "{denied} of {failed}"
    );
    assert!(sum(&agent, "s3sync_s3_retries_total", &[]) > 0.0, "{text}");
    assert!(sum(&agent, "s3sync_s3_requests_in_flight", &[]).abs() < 0.5, "{text}");

    // A server that dies forgets nothing, and the next run adds to it.
    world.kill_server().await.unwrap();
    world.start_server().await.unwrap();
    agrees(&world, &[&first]).await;
    until("the agent is ready again", RUN_BOUND, || get(address, "/readyz")).await;
    for side in ["usw2", "cnn1"] {
        world.side(side).set_faults(Faults::default());
    }
    let second = start_run(&world).await;
    let second = ended(&world, &second).await;
    assert_eq!(second.state, RunState::Succeeded, "{second:?}");
    let text = agrees(&world, &[&first, &second]).await;
    let server = samples(&text);
    assert_eq!(sum(&server, "s3sync_runs_ended_total", &[("job_name", "media")]), 2.0, "{text}");
    assert_eq!(sum(&server, "s3sync_sessions", &[]), 1.0, "{text}");

    // Nothing is told that the page does not list.
    let page = documented(PAGE, &["Every program", "The server", "An agent"]);
    for text in [text, get(address, "/metrics").await.unwrap()] {
        for (name, shape) in shapes(&text) {
            assert_eq!(page.get(&name), Some(&shape), "{name}");
        }
    }
    scraped(&world, address, &[&first, &second]).await;
}

/// Debian's Prometheus, scraping server and agent by the example's rules; ended when it is dropped.
fn prometheus(world: &World, agent: SocketAddr) -> (Child, SocketAddr) {
    let folder = world.folder().join("prometheus");
    std::fs::create_dir_all(&folder).unwrap();
    let alerts = include_str!("../../deploy/prometheus/alerts.yaml");
    std::fs::write(folder.join("alerts.yaml"), alerts).unwrap();
    let example = include_str!("../../deploy/prometheus/prometheus.yaml");
    let config = example
        .replace("127.0.0.1:7401", &world.pages().unwrap().to_string())
        .replace("127.0.0.1:7402", &agent.to_string())
        .replace("15s", "1s");
    std::fs::write(folder.join("prometheus.yaml"), config).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let log = std::fs::File::create(world.folder().join("prometheus.log")).unwrap();
    let child = Command::new(program("prometheus"))
        .current_dir(&folder)
        .arg("--config.file=prometheus.yaml")
        .arg("--storage.tsdb.path=data")
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=warn")
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    (child, address)
}

async fn scraped(world: &World, agent: SocketAddr, runs: &[&Run]) {
    let (_prometheus, address) = prometheus(world, agent);
    let query = async |query: &str| {
        let answer = get(address, &format!("/api/v1/query?query={query}")).await?;
        let start = answer.find('{').ok_or("no JSON")?;
        let end = answer.rfind('}').ok_or("no JSON")?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer[start..=end]).map_err(|error| error.to_string())?;
        Ok::<_, String>(answer["data"]["result"].clone())
    };
    let results = until("both are scraped", Duration::from_secs(60), || async {
        let up = query("sum(up)").await?;
        if up[0]["value"][1] != "2" {
            return Err(format!("{up} are up"));
        }
        query("sum%20by%20(result)%20(s3sync_objects_total%7Bjob_name=%22media%22%7D)").await
    })
    .await;
    let mut all = Counters::default();
    for destination in runs.iter().flat_map(|run| &run.destinations) {
        all += destination.counters;
    }
    let of = |result: &str| {
        let rows = results.as_array().unwrap();
        let row = rows.iter().find(|row| row["metric"]["result"] == result).unwrap();
        row["value"][1].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((of("copied"), of("in_step"), of("failed")), (all.copied, all.in_step, all.failed));
    // Every expression of the rules was evaluated without an error.
    let rules = until("the rules were evaluated", Duration::from_secs(60), || async {
        let rules = get(address, "/api/v1/rules").await?;
        if rules.contains("\"health\":\"unknown\"") { Err(rules) } else { Ok(rules) }
    })
    .await;
    assert!(
        rules.contains("\"health\":\"ok\"") && !rules.contains("\"health\":\"err\""),
        "{rules}"
    );
}

async fn are_sent(protocol: Protocol) {
    let collector = Collector::start(protocol).await.unwrap();
    let mut environment = collector.environment();
    environment.push(("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "200".to_owned()));
    let (mut world, _folder) = world_with(Times::short(), environment).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 20, 3);
    world.apply_job().await.unwrap();
    world.start_china("cn-1").unwrap();
    let run = start_run(&world).await;
    assert_eq!(ended(&world, &run).await.state, RunState::Succeeded);
    // What was counted last is sent when they stop.
    world.stop_agent("cn-1").await.unwrap();
    world.stop_server().await.unwrap();
    let sent = collector.metrics();
    assert!(!world.holds_secret(&format!("{sent:?}")), "{sent:?}");
    let has = |service: &str, name: &str| {
        sent.iter().any(|one| one.service == service && one.name == name)
    };
    for name in ["s3sync.lag", "s3sync.objects", "s3sync.store.commit.duration"] {
        assert!(has("s3sync-server", name), "{name}: {sent:#?}\n{}", world.logs());
    }
    for name in ["s3sync.s3.requests", "s3sync.s3.request.duration", "s3sync.session.up"] {
        assert!(has("s3sync-agent", name), "{name}: {sent:#?}\n{}", world.logs());
    }
    let agents: Vec<_> = sent.iter().filter(|one| one.service == "s3sync-agent").collect();
    assert!(agents.iter().all(|one| one.process == "cn-1"), "{agents:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_sent_over_grpc() {
    are_sent(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_sent_over_http() {
    are_sent(Protocol::Http).await;
}
