//! From a tree to settings. Every problem is collected; an unknown field is one.

use std::collections::BTreeMap;
use std::path::Path;

use s3sync_proto::model::{
    CompareMode, DeleteMode, DeletePolicy, Destination, Encryption, EndpointSpec, EtagKind, Filter,
    JobSpec, Limits, Location, MAX_RECEIVERS_PER_QUEUE, Name, OverlapPolicy, QueueSpec, Schedule,
    Timestamp, Timing,
};

use super::node::{Node, Value};
use super::units::{parse_duration, parse_rate, parse_size};
use super::{Document, Problem, Resource};

const KINDS: &str = "Endpoint, Queue or Job";

/// Decodes one document.
///
/// # Errors
/// Every problem.
pub(super) fn document(file: &Path, node: &Node) -> Result<Document, Vec<Problem>> {
    let mut decoder = Decoder { file, problems: Vec::new(), lines: BTreeMap::new() };
    let decoded = decoder.document(node);
    let Decoder { problems, lines, .. } = decoder;
    match decoded {
        Some((name, resource)) if problems.is_empty() => {
            Ok(Document { file: file.to_owned(), name, resource, lines })
        }
        _ => Err(problems),
    }
}

struct Decoder<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
    lines: BTreeMap<String, u64>,
}

/// The fields of a map.
struct Fields<'a> {
    path: String,
    line: u64,
    entries: BTreeMap<&'a str, &'a Node>,
}

impl Fields<'_> {
    fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }
}

impl<'a> Decoder<'a> {
    fn problem(&mut self, line: u64, path: impl Into<String>, text: impl Into<String>) {
        let (path, text) = (path.into(), text.into());
        self.problems.push(Problem { file: self.file.to_owned(), line, path, text });
    }

    fn document(&mut self, node: &'a Node) -> Option<(Name, Resource)> {
        let Value::Map(entries) = &node.value else {
            let text = format!(
                "is {}; a document is a map that begins with kind: {KINDS}",
                node.value.kind()
            );
            self.problem(node.referenced.line(), "", text);
            return None;
        };
        let kind = entries.iter().find(|(key, _)| key.value == "kind").map(|(_, node)| node);
        let line = node.referenced.line();
        match kind.map(|node| &node.value) {
            Some(Value::Text(kind)) if kind == "Endpoint" => self.endpoint(node),
            Some(Value::Text(kind)) if kind == "Job" => self.job(node),
            Some(Value::Text(kind)) if kind == "Queue" => self.queue(node),
            Some(Value::Text(other)) => {
                self.problem(line, "kind", format!("{other:?} is not known; use {KINDS}"));
                None
            }
            Some(_) | None => {
                self.problem(line, "kind", format!("is missing; use {KINDS}"));
                None
            }
        }
    }

    fn endpoint(&mut self, node: &'a Node) -> Option<(Name, Resource)> {
        let allowed = ["kind", "name", "region", "url", "path_style", "etags", "max_object_size"];
        let fields = self.map("", node, &allowed)?;
        let name = self.name(&fields, "name");
        let etags = self.word(
            &fields,
            "etags",
            &[("auto", None), ("md5", Some(EtagKind::Md5)), ("opaque", Some(EtagKind::Opaque))],
        );
        let spec = EndpointSpec {
            region: self.text(&fields, "region").unwrap_or_default(),
            url: self.text(&fields, "url"),
            path_style: self.flag(&fields, "path_style").unwrap_or_default(),
            etags: etags.flatten(),
            max_object_size: self.parsed(&fields, "max_object_size", parse_size),
        };
        Some((name?, Resource::Endpoint(spec)))
    }

    fn queue(&mut self, node: &'a Node) -> Option<(Name, Resource)> {
        let fields = self.map("", node, &["kind", "name", "url", "endpoint", "receivers"])?;
        let name = self.name(&fields, "name");
        let url = self.text(&fields, "url");
        if url.is_none() && !fields.entries.contains_key("url") {
            self.missing(&fields, "url");
        }
        let endpoint = self.name(&fields, "endpoint");
        let receivers = self.parsed(&fields, "receivers", receivers).unwrap_or(1);
        Some((name?, Resource::Queue(QueueSpec { url: url?, endpoint: endpoint?, receivers })))
    }

    fn job(&mut self, node: &'a Node) -> Option<(Name, Resource)> {
        let allowed = [
            "kind",
            "name",
            "source",
            "destinations",
            "filter",
            "compare",
            "deletes",
            "schedule",
            "events",
            "limits",
            "paused",
        ];
        let fields = self.map("", node, &allowed)?;
        let name = self.name(&fields, "name");
        let source = match fields.entries.get("source") {
            Some(node) => {
                let inner = self.map("source", node, &["endpoint", "bucket", "prefix"]);
                inner.and_then(|inner| self.location(&inner))
            }
            None => {
                self.missing(&fields, "source");
                None
            }
        };
        let destinations = self.destinations(&fields);
        let compare = self.word(
            &fields,
            "compare",
            &[
                ("default", CompareMode::Default),
                ("size", CompareMode::Size),
                ("etag", CompareMode::Etag),
                ("checksum", CompareMode::Checksum),
                ("full", CompareMode::Full),
            ],
        );
        let spec = JobSpec {
            filter: self.filter(&fields).unwrap_or_default(),
            compare: compare.unwrap_or_default(),
            deletes: self.deletes(&fields).unwrap_or_default(),
            schedule: self.schedule(&fields),
            events: self.events(&fields),
            limits: self.limits(&fields).unwrap_or_default(),
            paused: self.flag(&fields, "paused").unwrap_or_default(),
            source: source?,
            destinations: destinations?,
        };
        Some((name?, Resource::Job(Box::new(spec))))
    }

    fn destinations(&mut self, fields: &Fields<'a>) -> Option<Vec<Destination>> {
        let Some(node) = fields.entries.get("destinations") else {
            self.missing(fields, "destinations");
            return None;
        };
        let Value::List(items) = &node.value else {
            let text = format!("is {}; write a list of places", node.value.kind());
            self.problem(node.referenced.line(), "destinations", text);
            return None;
        };
        let mut destinations = Vec::new();
        for (index, item) in items.iter().enumerate() {
            destinations.push(self.destination(&format!("destinations[{index}]"), item));
        }
        destinations.into_iter().collect()
    }

    fn destination(&mut self, path: &str, node: &'a Node) -> Option<Destination> {
        let allowed = ["endpoint", "bucket", "prefix", "storage_class", "agents", "encryption"];
        let fields = self.map(path, node, &allowed)?;
        let encryption =
            self.section(&fields, "encryption", &["algorithm", "kms_key_id"]).map(|inner| {
                Encryption {
                    algorithm: self.text(&inner, "algorithm").unwrap_or_default(),
                    kms_key_id: self.text(&inner, "kms_key_id"),
                }
            });
        let agent_labels = self.labels(&fields, "agents");
        Some(Destination {
            storage_class: self.text(&fields, "storage_class"),
            agent_labels,
            encryption,
            location: self.location(&fields)?,
        })
    }

    fn location(&mut self, fields: &Fields<'a>) -> Option<Location> {
        let endpoint = self.name(fields, "endpoint");
        // An empty bucket name is the server's to refuse; a missing one is seen here, with its line.
        let bucket = self.text(fields, "bucket");
        if bucket.is_none() {
            self.missing(fields, "bucket");
        }
        let prefix = self.text(fields, "prefix").unwrap_or_default();
        Some(Location { endpoint: endpoint?, bucket: bucket?, prefix })
    }

    fn filter(&mut self, fields: &Fields<'a>) -> Option<Filter> {
        let allowed =
            ["include", "exclude", "min_size", "max_size", "modified_after", "modified_before"];
        let inner = self.section(fields, "filter", &allowed)?;
        let time = |text: &str| {
            text.parse::<Timestamp>()
                .map_err(|_| format!("{text:?} is not a time; write 2026-01-01T00:00:00Z"))
        };
        Some(Filter {
            include: self.texts(&inner, "include"),
            exclude: self.texts(&inner, "exclude"),
            min_size: self.parsed(&inner, "min_size", parse_size).unwrap_or_default(),
            max_size: self.parsed(&inner, "max_size", parse_size),
            modified_after: self.parsed(&inner, "modified_after", time),
            modified_before: self.parsed(&inner, "modified_before", time),
        })
    }

    fn deletes(&mut self, fields: &Fields<'a>) -> Option<DeletePolicy> {
        let inner = self.section(
            fields,
            "deletes",
            &["policy", "max_percent", "max_count", "max_per_hour", "unconditional"],
        )?;
        let mode = self.word(
            &inner,
            "policy",
            &[("keep", DeleteMode::Keep), ("mirror", DeleteMode::Mirror)],
        );
        let percent =
            |text: &str| text.parse::<f64>().map_err(|_| format!("{text:?} is not a number"));
        Some(DeletePolicy {
            mode: mode.unwrap_or_default(),
            max_percent: self.parsed(&inner, "max_percent", percent),
            max_count: self.parsed(&inner, "max_count", whole_number),
            max_per_hour: self.parsed(&inner, "max_per_hour", whole_number),
            unconditional: self.flag(&inner, "unconditional").unwrap_or_default(),
        })
    }

    fn schedule(&mut self, fields: &Fields<'a>) -> Option<Schedule> {
        let allowed = ["every", "cron", "timezone", "at_start", "jitter", "overlap"];
        let inner = self.section(fields, "schedule", &allowed)?;
        let every = self.parsed(&inner, "every", parse_duration);
        let cron = self.text(&inner, "cron");
        let timezone = self.text(&inner, "timezone");
        if every.is_some() && cron.is_some() {
            self.problem(
                inner.line,
                inner.path("cron"),
                "goes not together with every; use one of them",
            );
        }
        let cron = cron.map(|expression| Timing::Cron {
            expression,
            timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
        });
        let words = [("skip", OverlapPolicy::Skip), ("queue_one", OverlapPolicy::QueueOne)];
        Some(Schedule {
            timing: every.map(Timing::Every).or(cron),
            at_start: self.flag(&inner, "at_start").unwrap_or(true),
            jitter: self.parsed(&inner, "jitter", parse_duration).unwrap_or_default(),
            overlap: self.word(&inner, "overlap", &words).unwrap_or_default(),
        })
    }

    fn events(&mut self, fields: &Fields<'a>) -> Option<Name> {
        let inner = self.section(fields, "events", &["queue"])?;
        self.name(&inner, "queue")
    }

    fn limits(&mut self, fields: &Fields<'a>) -> Option<Limits> {
        let inner = self.section(fields, "limits", &["bandwidth", "requests_per_second"])?;
        Some(Limits {
            bandwidth: self.parsed(&inner, "bandwidth", parse_rate),
            requests_per_second: self.parsed(&inner, "requests_per_second", whole_number),
        })
    }

    // --- the parts every resource is made of ---

    /// The fields of a map; unknown ones are problems.
    fn map(&mut self, path: &str, node: &'a Node, allowed: &[&str]) -> Option<Fields<'a>> {
        let line = node.referenced.line();
        self.lines.insert(path.to_owned(), line);
        let Value::Map(found) = &node.value else {
            self.problem(
                line,
                path,
                format!("is {}; write a map with {}", node.value.kind(), allowed.join(", ")),
            );
            return None;
        };
        let mut fields = Fields { path: path.to_owned(), line, entries: BTreeMap::new() };
        for (key, value) in found {
            let at = fields.path(&key.value);
            self.lines.insert(at.clone(), key.referenced.line());
            if !allowed.contains(&key.value.as_str()) {
                let text = format!("is not a field here; allowed are {}", allowed.join(", "));
                self.problem(key.referenced.line(), at, text);
            } else if fields.entries.insert(&key.value, value).is_some() {
                self.problem(key.referenced.line(), at, "is there twice");
            }
        }
        Some(fields)
    }

    fn section(
        &mut self,
        fields: &Fields<'a>,
        field: &str,
        allowed: &[&str],
    ) -> Option<Fields<'a>> {
        let node = *fields.entries.get(field)?;
        self.map(&fields.path(field), node, allowed)
    }

    fn missing(&mut self, fields: &Fields<'_>, field: &str) {
        self.problem(fields.line, fields.path(field), "is missing");
    }

    /// A text; numbers and flags are taken as they were written.
    fn text(&mut self, fields: &Fields<'a>, field: &str) -> Option<String> {
        let node = fields.entries.get(field)?;
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                let text = format!("is {}; write a text", node.value.kind());
                self.problem(node.referenced.line(), fields.path(field), text);
                None
            }
        }
    }

    fn name(&mut self, fields: &Fields<'a>, field: &str) -> Option<Name> {
        if !fields.entries.contains_key(field) {
            self.missing(fields, field);
            return None;
        }
        self.parsed(fields, field, |text| text.parse::<Name>().map_err(|error| error.to_string()))
    }

    fn parsed<T>(
        &mut self,
        fields: &Fields<'a>,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(fields, field)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                let line = fields.entries[field].referenced.line();
                self.problem(line, fields.path(field), problem);
                None
            }
        }
    }

    fn word<T: Clone>(
        &mut self,
        fields: &Fields<'a>,
        field: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.parsed(fields, field, |text| match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(value.clone()),
            None => {
                let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Err(format!("{text:?} is not known; use {}", allowed.join(", ")))
            }
        })
    }

    fn flag(&mut self, fields: &Fields<'a>, field: &str) -> Option<bool> {
        self.parsed(fields, field, |text| {
            text.parse().map_err(|_| format!("{text:?} is not true or false"))
        })
    }

    fn texts(&mut self, fields: &Fields<'a>, field: &str) -> Vec<String> {
        let Some(node) = fields.entries.get(field) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            let text = format!("is {}; write a list of texts", node.value.kind());
            self.problem(node.referenced.line(), fields.path(field), text);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::Text(text) | Value::Number(text) => texts.push(text.clone()),
                other @ (Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_)) => {
                    let text = format!("is {}; write a text", other.kind());
                    self.problem(
                        item.referenced.line(),
                        format!("{}[{index}]", fields.path(field)),
                        text,
                    );
                }
            }
        }
        texts
    }

    fn labels(&mut self, fields: &Fields<'a>, field: &str) -> BTreeMap<String, String> {
        let Some(node) = fields.entries.get(field) else { return BTreeMap::new() };
        let Value::Map(entries) = &node.value else {
            let text = format!(
                "is {}; write a map of labels, such as {{ region: cn-north-1 }}",
                node.value.kind()
            );
            self.problem(node.referenced.line(), fields.path(field), text);
            return BTreeMap::new();
        };
        let mut labels = BTreeMap::new();
        for (key, value) in entries {
            match &value.value {
                Value::Text(text) | Value::Number(text) => {
                    labels.insert(key.value.clone(), text.clone());
                }
                other @ (Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_)) => {
                    let text = format!("is {}; write a text", other.kind());
                    self.problem(
                        value.referenced.line(),
                        format!("{}.{}", fields.path(field), key.value),
                        text,
                    );
                }
            }
        }
        labels
    }
}

fn receivers(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_RECEIVERS_PER_QUEUE).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number from 1 to {MAX_RECEIVERS_PER_QUEUE}"))
}

fn whole_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number of 0 or more"))
}
