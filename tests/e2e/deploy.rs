//! What is in `deploy`: every metric it names exists, and Prometheus' own tool takes its rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use s3sync_telemetry::metrics::page::documented;
use tokio::process::Command;

use super::metrics::program;

const PAGE: &str = include_str!("../../docs/metrics.md");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(folder().join(path)).unwrap()
}

/// The metrics that a text names, without what histograms add to a name.
fn named(text: &str, page: &BTreeSet<String>) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("s3sync_") || word.starts_with("process_"));
    let base = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let base = ends.iter().find_map(|end| word.strip_suffix(end));
        base.filter(|base| page.contains(*base)).unwrap_or(word).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn every_metric_that_is_named_exists_and_every_metric_of_ours_is_shown() {
    let page = documented(PAGE, &["Every program", "The server", "An agent"]);
    let page: BTreeSet<String> = page.into_keys().collect();
    let dashboard = read("grafana/s3sync.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel} has an id of another one");
    }
    let mut shown = BTreeSet::new();
    for text in [dashboard, read("prometheus/alerts.yaml"), read("prometheus/alerts_test.yaml")] {
        let named = named(&text, &page);
        let unknown: Vec<_> = named.difference(&page).collect();
        assert!(unknown.is_empty(), "these do not exist: {unknown:?}");
        shown.extend(named);
    }
    let unseen = page.difference(&shown).filter(|name| name.starts_with("s3sync_"));
    assert_eq!(unseen.collect::<Vec<_>>(), Vec::<&String>::new(), "nobody looks at these");
}

#[test]
fn a_made_up_metric_is_noticed() {
    let page = BTreeSet::from(["s3sync_a_seconds".to_owned()]);
    let found = named("rate(s3sync_a_seconds_bucket[5m]) + s3sync_b_count", &page);
    assert_eq!(found, BTreeSet::from(["s3sync_a_seconds", "s3sync_b_count"].map(str::to_owned)));
}

async fn promtool(arguments: &[&str]) {
    let folder = folder().join("prometheus");
    let ran = Command::new(program("promtool")).args(arguments).current_dir(folder).output();
    let ran = ran.await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "promtool {arguments:?}: {said}");
}

#[tokio::test]
async fn promtool_takes_the_rules_and_what_they_do() {
    promtool(&["check", "rules", "--lint-fatal", "alerts.yaml"]).await;
    promtool(&["check", "config", "prometheus.yaml"]).await;
    promtool(&["test", "rules", "alerts_test.yaml"]).await;
}

/// The expressions of the dashboard, as a file of rules, so that they are parsed by whom they are for.
#[tokio::test]
async fn promtool_takes_what_the_dashboard_asks() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/s3sync.json")).unwrap();
    let mut rules = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            let record = format!("dashboard:panel_{}:{}", panel["id"], rules.len());
            rules.push(serde_json::json!({ "record": record, "expr": expression }));
        }
    }
    assert!(rules.len() > 30, "{} expressions", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.json");
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]).await;
}
