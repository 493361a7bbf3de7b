//! The fields of log lines and their spans. What is there for traces alone is left out.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// Fields that begin so are instructions to what makes traces.
const FOR_TRACES: &str = "otel.";

/// For people.
pub(super) struct TextFields;

/// As JSON.
pub(super) struct JsonFields;

struct Text<'a> {
    writer: Writer<'a>,
    first: bool,
    result: fmt::Result,
}

struct Json(Map<String, Value>);

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = Text { writer, first: true, result: Ok(()) };
        fields.record(&mut text);
        text.result
    }
}

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // A message is said as it is, and so is a name; what has blanks in it must show where it ends.
        if field.name() == "message" || is_plain(value) {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if self.result.is_err() || name.starts_with(FOR_TRACES) {
            return;
        }
        let blank = if std::mem::take(&mut self.first) { "" } else { " " };
        self.result = match name {
            "message" => write!(self.writer, "{blank}{value:?}"),
            _ => {
                let name = name.strip_prefix("r#").unwrap_or(name);
                write!(self.writer, "{blank}{name}={value:?}")
            }
        };
    }
}

fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '='))
}

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut json = Json(Map::new());
        fields.record(&mut json);
        write!(writer, "{}", Value::Object(json.0))
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let mut json = Json(serde_json::from_str(&current.fields).unwrap_or_default());
        fields.record(&mut json);
        current.fields = Value::Object(json.0).to_string();
        Ok(())
    }
}

impl Json {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if !name.starts_with(FOR_TRACES) {
            let name = name.strip_prefix("r#").unwrap_or(name);
            self.0.insert(name.to_owned(), value.into());
        }
    }
}

impl Visit for Json {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
