//! Settings as a document that can be applied again.

use s3sync_proto::model::{
    CompareMode, DeleteMode, DeletePolicy, Destination, EndpointSpec, EtagKind, Filter, JobSpec,
    Limits, Location, Name, OverlapPolicy, QueueSpec, Schedule, Timing,
};
use serde_json::{Map, Value, json};

/// An endpoint as a document.
pub(crate) fn endpoint_document(name: &Name, spec: &EndpointSpec) -> Value {
    let EndpointSpec { region, url, path_style, etags, max_object_size } = spec;
    let mut fields = head("Endpoint", name);
    fields.insert("region".into(), json!(region));
    put(&mut fields, "url", url.as_ref().map(|url| json!(url)));
    put(&mut fields, "path_style", path_style.then_some(json!(true)));
    let kind = etags.map(|kind| match kind {
        EtagKind::Md5 => json!("md5"),
        EtagKind::Opaque => json!("opaque"),
    });
    put(&mut fields, "etags", kind);
    put(&mut fields, "max_object_size", max_object_size.map(|size| json!(size)));
    Value::Object(fields)
}

/// A queue as a document.
pub(crate) fn queue_document(name: &Name, spec: &QueueSpec) -> Value {
    let QueueSpec { url, endpoint, receivers } = spec;
    let mut fields = head("Queue", name);
    fields.insert("url".into(), json!(url));
    fields.insert("endpoint".into(), json!(endpoint));
    put(&mut fields, "receivers", (*receivers != 1).then_some(json!(receivers)));
    Value::Object(fields)
}

/// A job as a document.
pub(crate) fn job_document(name: &Name, spec: &JobSpec) -> Value {
    let JobSpec {
        source,
        destinations,
        filter,
        compare,
        deletes,
        schedule,
        events,
        limits,
        paused,
    } = spec;
    let mut fields = head("Job", name);
    fields.insert("source".into(), Value::Object(location(source)));
    fields.insert("destinations".into(), destinations.iter().map(destination).collect());
    put(&mut fields, "filter", (*filter != Filter::default()).then(|| self::filter(filter)));
    let mode = match compare {
        CompareMode::Default => None,
        CompareMode::Size => Some("size"),
        CompareMode::Etag => Some("etag"),
        CompareMode::Checksum => Some("checksum"),
        CompareMode::Full => Some("full"),
    };
    put(&mut fields, "compare", mode.map(|mode| json!(mode)));
    put(
        &mut fields,
        "deletes",
        (*deletes != DeletePolicy::default()).then(|| self::deletes(deletes)),
    );
    put(&mut fields, "schedule", schedule.as_ref().map(self::schedule));
    put(&mut fields, "events", events.as_ref().map(|queue| json!({ "queue": queue })));
    put(&mut fields, "limits", (*limits != Limits::default()).then(|| self::limits(limits)));
    put(&mut fields, "paused", paused.then_some(json!(true)));
    Value::Object(fields)
}

fn head(kind: &str, name: &Name) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("kind".into(), json!(kind));
    fields.insert("name".into(), json!(name));
    fields
}

fn put(fields: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(field.to_owned(), value);
    }
}

fn location(location: &Location) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("endpoint".into(), json!(location.endpoint));
    fields.insert("bucket".into(), json!(location.bucket));
    put(&mut fields, "prefix", (!location.prefix.is_empty()).then(|| json!(location.prefix)));
    fields
}

fn destination(destination: &Destination) -> Value {
    let Destination { location, storage_class, agent_labels, encryption } = destination;
    let mut fields = self::location(location);
    put(&mut fields, "storage_class", storage_class.as_ref().map(|class| json!(class)));
    put(&mut fields, "agents", (!agent_labels.is_empty()).then(|| json!(agent_labels)));
    let encryption = encryption.as_ref().map(|encryption| {
        let mut inner = Map::new();
        inner.insert("algorithm".into(), json!(encryption.algorithm));
        put(&mut inner, "kms_key_id", encryption.kms_key_id.as_ref().map(|id| json!(id)));
        Value::Object(inner)
    });
    put(&mut fields, "encryption", encryption);
    Value::Object(fields)
}

fn filter(filter: &Filter) -> Value {
    let Filter { include, exclude, min_size, max_size, modified_after, modified_before } = filter;
    let mut fields = Map::new();
    put(&mut fields, "include", (!include.is_empty()).then(|| json!(include)));
    put(&mut fields, "exclude", (!exclude.is_empty()).then(|| json!(exclude)));
    put(&mut fields, "min_size", (*min_size > 0).then(|| json!(min_size)));
    put(&mut fields, "max_size", max_size.map(|size| json!(size)));
    put(&mut fields, "modified_after", modified_after.map(|time| json!(time.to_string())));
    put(&mut fields, "modified_before", modified_before.map(|time| json!(time.to_string())));
    Value::Object(fields)
}

fn deletes(deletes: &DeletePolicy) -> Value {
    let DeletePolicy { mode, max_percent, max_count, max_per_hour, unconditional } = deletes;
    let mut fields = Map::new();
    let policy = match mode {
        DeleteMode::Keep => "keep",
        DeleteMode::Mirror => "mirror",
    };
    fields.insert("policy".into(), json!(policy));
    put(&mut fields, "max_percent", max_percent.map(|percent| json!(percent)));
    put(&mut fields, "max_count", max_count.map(|count| json!(count)));
    put(&mut fields, "max_per_hour", max_per_hour.map(|count| json!(count)));
    put(&mut fields, "unconditional", unconditional.then_some(json!(true)));
    Value::Object(fields)
}

fn schedule(schedule: &Schedule) -> Value {
    let Schedule { timing, at_start, jitter, overlap } = schedule;
    let mut fields = Map::new();
    match timing {
        None => {}
        Some(Timing::Every(every)) => {
            fields.insert("every".into(), json!(humantime::format_duration(*every).to_string()));
        }
        Some(Timing::Cron { expression, timezone }) => {
            fields.insert("cron".into(), json!(expression));
            fields.insert("timezone".into(), json!(timezone));
        }
    }
    put(&mut fields, "at_start", (!at_start).then_some(json!(false)));
    put(
        &mut fields,
        "jitter",
        (!jitter.is_zero()).then(|| json!(humantime::format_duration(*jitter).to_string())),
    );
    put(
        &mut fields,
        "overlap",
        (*overlap == OverlapPolicy::QueueOne).then_some(json!("queue_one")),
    );
    Value::Object(fields)
}

fn limits(limits: &Limits) -> Value {
    let Limits { bandwidth, requests_per_second } = limits;
    let mut fields = Map::new();
    put(&mut fields, "bandwidth", bandwidth.map(|rate| json!(format!("{rate}B/s"))));
    put(&mut fields, "requests_per_second", requests_per_second.map(|rate| json!(rate)));
    Value::Object(fields)
}
