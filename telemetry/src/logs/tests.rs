//! What a line looks like.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::traces;

#[test]
fn libraries_are_quiet_unless_they_are_named() {
    let debug = filter("debug").unwrap().to_string();
    assert!(debug.contains("hyper=warn") && debug.contains("debug"), "{debug}");
    let named = filter("info,hyper=trace").unwrap().to_string();
    assert!(named.contains("hyper=trace") && !named.contains("hyper=warn"), "{named}");
    assert!(filter("=").is_err());
}

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged in `format` by `work`.
fn logged(format: LogFormat, terminal: bool, color: bool, work: impl FnOnce()) -> String {
    let written = Written::default();
    let writer = written.clone();
    let lines = lines(format, terminal, color, move || writer.clone());
    let spans: Option<BoxedSpans> = None;
    let subscriber = tracing_subscriber::registry().with(spans).with(lines);
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
}

/// What `work` logs, for people.
pub(crate) fn logged_as_text(work: impl FnOnce()) -> String {
    logged(LogFormat::Text, false, false, work)
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn work() {
    let span = tracing::info_span!(
        "assignment",
        otel.kind = "internal",
        id = 7,
        code = tracing::field::Empty
    );
    traces::adopt(&span, &format!("00-{TRACE}-b7ad6b7169203331-01"));
    span.record("code", "x y");
    let _entered = span.entered();
    tracing::info!(keys = 3, name = "a", "it went on");
}

#[test]
fn a_terminal_gets_lines_for_people_and_all_else_json() {
    let text = logged(LogFormat::Auto, true, false, work);
    assert!(text.contains("it went on keys=3 name=a"), "{text}");
    assert!(text.contains("assignment{id=7 code=\"x y\"}"), "{text}");
    assert!(text.ends_with(&format!(" trace_id={TRACE}\n")), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("otel"), "{text}");
    assert!(logged(LogFormat::Text, true, true, work).contains('\u{1b}'), "colour");

    for format in [LogFormat::Auto, LogFormat::Json] {
        let json = logged(format, false, false, work);
        let line: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line["fields"]["message"], "it went on", "{json}");
        assert_eq!(line["fields"]["keys"], 3, "{json}");
        assert_eq!(line["span"]["id"], 7, "{json}");
        assert_eq!(line["span"]["code"], "x y", "{json}");
        assert_eq!(line["trace_id"], TRACE, "{json}");
        assert_eq!(line["span"]["otel.kind"], Value::Null, "{json}");
    }
    assert!(!logged(LogFormat::Text, false, false, work).starts_with('{'));
}

#[test]
fn a_line_of_no_trace_names_none() {
    let json = logged(LogFormat::Json, false, false, || tracing::warn!("alone"));
    let line: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&line["level"], &line["trace_id"]), (&Value::from("WARN"), &Value::Null));
}
