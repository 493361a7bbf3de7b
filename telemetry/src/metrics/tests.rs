//! What is read of metrics.

use std::sync::{Arc, Mutex};

use opentelemetry::KeyValue;

use super::*;

const PROGRAM: Program = Program { name: "a-program", version: "1.2.3" };

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.text()).unwrap()
}

#[test]
fn a_process_tells_of_itself() {
    let metrics = Metrics::start(PROGRAM, None);
    let text = text(&metrics);
    assert!(
        text.contains("s3sync_build_info{program=\"a-program\",version=\"1.2.3\"} 1"),
        "{text}"
    );
    for name in [
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_open_fds",
    ] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {text}");
    }
    assert!(!text.contains("otel_scope") && !text.contains("target_info"), "{text}");
}

#[test]
fn what_is_gone_is_not_told_any_more() {
    let metrics = Metrics::start(PROGRAM, None);
    let there = Arc::new(Mutex::new(vec!["a", "b"]));
    let seen = Arc::clone(&there);
    let _held = metrics
        .meter()
        .i64_observable_up_down_counter("things")
        .with_callback(move |observer| {
            for name in seen.lock().unwrap().iter() {
                observer.observe(7, &[KeyValue::new("name", *name)]);
            }
        })
        .build();
    let lines = || {
        let text = text(&metrics);
        text.lines()
            .filter(|line| line.starts_with("things{"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines().len(), 2);
    there.lock().unwrap().retain(|name| *name == "b");
    assert_eq!(lines(), ["things{name=\"b\"} 7"]);
    there.lock().unwrap().clear();
    assert_eq!(lines(), [""; 0]);
    there.lock().unwrap().push("c");
    assert_eq!(lines(), ["things{name=\"c\"} 7"], "and reading went on meanwhile");
}

#[test]
fn names_have_units_and_histograms_their_bounds() {
    let metrics = Metrics::start(PROGRAM, None);
    let meter = metrics.meter();
    meter.u64_counter("s3sync.s3.requests").build().add(3, &[KeyValue::new("endpoint", "e")]);
    let histogram =
        meter.f64_histogram("a.duration").with_unit("s").with_boundaries(SECONDS.to_vec()).build();
    histogram.record(0.002, &[]);
    let text = text(&metrics);
    assert!(text.contains("s3sync_s3_requests_total{endpoint=\"e\"} 3"), "{text}");
    assert!(text.contains("a_duration_seconds_bucket{le=\"0.001\"} 0"), "{text}");
    assert!(text.contains("a_duration_seconds_bucket{le=\"0.0025\"} 1"), "{text}");
    assert!(text.contains("a_duration_seconds_count 1"), "{text}");
}

#[test]
fn a_metric_has_a_bounded_number_of_series() {
    let metrics = Metrics::start(PROGRAM, None);
    let counter = metrics.meter().u64_counter("c").build();
    for n in 0..MAX_SERIES + 10 {
        counter.add(1, &[KeyValue::new("n", i64::try_from(n).unwrap())]);
    }
    let text = text(&metrics);
    assert!(text.contains("c_total{otel_metric_overflow=\"true\"} 10"));
    let series = text.lines().filter(|line| line.starts_with("c_total{")).count();
    assert_eq!(series, MAX_SERIES + 1);
}

#[test]
fn no_instrument_counts_without_metrics() {
    none().u64_counter("nothing").build().add(1, &[]);
}
