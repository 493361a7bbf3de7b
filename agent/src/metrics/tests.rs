//! The page of metrics against what the agent exports, and requests against what the other side saw.

use s3sync_lab::{EndpointConfig as LabEndpoint, Fault, Faults, Lab, Rule, When};
use s3sync_proto::client::Secret;
use s3sync_proto::model::EndpointSpec;
use s3sync_telemetry::metrics::Metrics as Exported;
use s3sync_telemetry::metrics::page::{documented, samples, shapes};

use super::*;
use crate::config::Credential;
use crate::s3::aws::{AwsClient, AwsStore};
use crate::s3::{GetRequest, HeadRequest, ObjectStore as _, PutBody, PutRequest};
use crate::worker::Settings;

const PAGE: &str = include_str!("../../../docs/metrics.md");

fn text(exported: &Exported) -> String {
    String::from_utf8(exported.text()).unwrap()
}

/// The sum of the series of a metric that have these labels.
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let all = samples(text).into_iter().filter(|one| {
        one.name == name
            && labels.iter().all(|(key, value)| one.labels.get(*key).is_some_and(|v| v == value))
    });
    all.map(|one| one.value).sum()
}

#[test]
fn the_page_lists_what_the_agent_exports_and_nothing_else() {
    let exported = Exported::start(PROGRAM, None);
    let metrics = Metrics::new(exported.meter());
    let engine = Engine::new(Settings::default());
    let name: Name = "usw2".parse().unwrap();
    engine.limiter(&name).failed(Class::Throttled);
    observe_engine(exported.meter(), &engine);
    observe_session(exported.meter(), &Standing::idle(4));
    let requests = metrics.requests(&name);
    requests.sent();
    requests.ended(operation("GetObject"), Some(200), Duration::from_millis(7));
    requests.body(Direction::Received, 9);
    let text = text(&exported);
    assert_eq!(shapes(&text), documented(PAGE, &["Every program", "An agent"]));
    assert_eq!(sum(&text, "s3sync_s3_failures_total", &[("class", "throttled")]), 1.0);
    assert_eq!(sum(&text, "s3sync_assignments", &[("state", "credits")]), 4.0);
    assert_eq!(sum(&text, "s3sync_session_up", &[]), 0.0);
}

#[test]
fn classes_have_places_of_their_own() {
    for (index, class) in Class::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, index, "{class:?}");
    }
    assert_eq!(operation("GetObject"), 0);
    assert_eq!(OPERATIONS[operation("NewInALaterSdk")], "other");
}

#[tokio::test]
async fn requests_are_counted_as_the_other_side_saw_them() {
    let endpoint = LabEndpoint::new("lab", "us-east-1").key("AKIA1", "lab-secret-1").bucket("b");
    let lab = Lab::start(vec![endpoint]).await.unwrap();
    let spec = EndpointSpec {
        region: "us-east-1".into(),
        url: Some(lab.endpoint("lab").url()),
        path_style: true,
        ..EndpointSpec::default()
    };
    let credential = Credential::Keys {
        access_key_id: "AKIA1".into(),
        secret_access_key: Secret::new("lab-secret-1"),
        session_token: None,
    };
    let exported = Exported::start(PROGRAM, None);
    let metrics = Metrics::new(exported.meter());
    let requests = metrics.requests(&"usw2".parse().unwrap());
    let client = AwsClient::counted(&spec, &credential, None, requests).unwrap();
    let store = AwsStore::new(Arc::new(client), "b");
    let put = |length: usize| {
        let body = PutBody::Bytes(bytes::Bytes::from(vec![7; length]));
        store.put(PutRequest { key: "k".into(), ..PutRequest::default() }, body)
    };
    put(1_000).await.unwrap();
    let get = || store.get(GetRequest { key: "k".into(), ..GetRequest::default() });
    drop(get().await.unwrap());
    store.head(HeadRequest { key: "none".into(), ..HeadRequest::default() }).await.unwrap_err();
    let faults = [Fault::SlowDown, Fault::ResetBefore];
    for fault in faults {
        let rule = Rule::of("GetObject", fault, When::Nth(1));
        lab.endpoint("lab").set_faults(Faults::new(1, vec![rule]));
        assert!(get().await.is_err());
    }
    // Nobody waits for this one.
    lab.endpoint("lab").set_faults(Faults::default());
    drop(tokio::time::timeout(Duration::ZERO, put(5)).await);

    let text = text(&exported);
    let of = |operation, status| {
        sum(&text, "s3sync_s3_requests_total", &[("operation", operation), ("status", status)])
    };
    assert_eq!(of("GetObject", "2xx"), 1.0, "{text}");
    assert_eq!(of("GetObject", "5xx"), 1.0, "{text}");
    assert_eq!(of("GetObject", "none"), 1.0, "{text}");
    assert_eq!(of("HeadObject", "4xx"), 1.0, "{text}");
    assert_eq!(of("PutObject", "2xx"), 1.0, "{text}");
    assert_eq!(sum(&text, "s3sync_s3_requests_in_flight", &[("endpoint", "usw2")]), 0.0, "{text}");
    assert_eq!(sum(&text, "s3sync_s3_body_bytes_total", &[("direction", "received")]), 1_000.0);
    let timed = sum(&text, "s3sync_s3_request_duration_seconds_count", &[]);
    assert_eq!(timed, sum(&text, "s3sync_s3_requests_total", &[]), "{text}");
}
