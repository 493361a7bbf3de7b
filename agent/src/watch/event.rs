//! Pure. What a message of a queue says: the objects that may have changed. Reads S3's notifications (any 2.x), the same
//! wrapped by SNS, and EventBridge's form. Forms and names: S3 User Guide, "Event message structure" and "EventBridge
//! event message structure". Unknown fields are ignored, unknown names counted; a message is never half read.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use s3sync_proto::model::{EventKind as Kind, Key, MAX_KEY_BYTES};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message that SNS wraps holds the notification as a text; a wrapped one inside a wrapped one is not S3's doing.
const MAX_WRAPPERS: u32 = 1;

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Objects that may have changed.
    pub changes: Vec<Change>,
    /// Events of kinds that change nothing we keep in step, or that are unknown.
    pub ignored: u32,
    /// S3's test event: sent once when a notification is set up.
    pub test: bool,
}

/// An object that may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its bucket.
    pub bucket: String,
    /// Its full key.
    pub key: Key,
    /// What is said to have happened. Only a hint of where to look.
    pub kind: Kind,
    /// S3's order of events of one key, as it was written; for diagnosis only.
    pub sequencer: String,
    /// When it happened, as it was written; for diagnosis only.
    pub time: String,
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// It is none of the known forms.
    #[error("is none of S3's forms: {0}")]
    UnknownForm(&'static str),
    /// A record lacks what names its object, or names it wrongly.
    #[error("record {index}: {problem}")]
    Record {
        /// Which record, from 0.
        index: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Reads a message's body.
///
/// # Errors
/// Why it cannot be read. Then nothing of it counts: what could be a lost event must not be deleted as if it were read.
pub fn read(body: &str) -> Result<Message, Unreadable> {
    read_wrapped(body, 0)
}

/// The fields that tell the forms apart; no form has those of another.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
    #[serde(rename = "Event")]
    event: Option<Value>,
    #[serde(rename = "Type")]
    r#type: Option<Value>,
    #[serde(rename = "Message")]
    message: Option<Value>,
    source: Option<Value>,
    #[serde(rename = "detail-type")]
    detail_type: Option<Value>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(default)]
    time: Value,
}

fn read_wrapped(body: &str, wrappers: u32) -> Result<Message, Unreadable> {
    let not_json = |error: serde_json::Error| Unreadable::NotJson(error.to_string());
    if !body.trim_start().starts_with('{') {
        // Tells "not JSON" from "JSON, but no message".
        serde_json::from_str::<serde::de::IgnoredAny>(body).map_err(not_json)?;
        return Err(Unreadable::UnknownForm("it is not an object"));
    }
    let envelope: Envelope<'_> = serde_json::from_str(body).map_err(not_json)?;
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    if let Some(records) = envelope.records {
        return notification(records.get());
    }
    if text(&envelope.event).as_deref() == Some("s3:TestEvent") {
        return Ok(Message { test: true, ..Message::default() });
    }
    match (text(&envelope.r#type).as_deref(), text(&envelope.message)) {
        (Some("Notification"), Some(inner)) if wrappers < MAX_WRAPPERS => {
            return read_wrapped(&inner, wrappers + 1);
        }
        (Some("Notification"), Some(_)) => {
            return Err(Unreadable::UnknownForm("SNS wrapped it twice"));
        }
        (Some("SubscriptionConfirmation"), _) => {
            return Err(Unreadable::UnknownForm("it asks to confirm a subscription of SNS"));
        }
        _ => {}
    }
    match (text(&envelope.source).as_deref(), text(&envelope.detail_type), envelope.detail) {
        (Some("aws.s3"), Some(detail_type), Some(detail)) => {
            let time = envelope.time.as_str().unwrap_or_default();
            bridged(&detail_type, detail.get(), time)
        }
        (Some(_), Some(_), _) => Err(Unreadable::UnknownForm("it is EventBridge's, not of S3")),
        _ => Err(Unreadable::UnknownForm("it has neither Records nor detail")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    event_name: String,
    #[serde(default)]
    event_time: String,
    s3: Option<S3>,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Option<Bucket>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Bucket {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
}

fn notification(records: &str) -> Result<Message, Unreadable> {
    let records: Vec<&RawValue> = serde_json::from_str(records)
        .map_err(|_| Unreadable::UnknownForm("its Records are not a list"))?;
    let mut message = Message::default();
    for (index, record) in records.into_iter().enumerate() {
        let wrong = |problem| Unreadable::Record { index, problem };
        let record: Record = serde_json::from_str(record.get())
            .map_err(|_| wrong("has fields of other types than S3's"))?;
        let Some(kind) = kind_of(&record.event_name) else {
            if record.event_name.is_empty() {
                return Err(wrong("has no eventName"));
            }
            message.ignored += 1;
            continue;
        };
        let s3 = record.s3.ok_or_else(|| wrong("has no s3"))?;
        let (bucket, object) = named(s3.bucket, s3.object).map_err(wrong)?;
        let key = decoded(&object.key.unwrap_or_default())
            .ok_or_else(|| wrong("has a key longer than 1,024 bytes"))?;
        let sequencer = object.sequencer.unwrap_or_default();
        message.changes.push(Change { bucket, key, kind, sequencer, time: record.event_time });
    }
    Ok(message)
}

/// Kinds by the event's name. Some servers write the name with `s3:` before it, as it stands in a configuration.
fn kind_of(name: &str) -> Option<Kind> {
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let (group, what) = name.split_once(':').unwrap_or((name, ""));
    match (group, what) {
        ("ObjectCreated", _) => Some(Kind::Written),
        ("ObjectRemoved" | "LifecycleExpiration", _) => Some(Kind::Removed),
        ("ObjectRestore", "Completed") => Some(Kind::Restored),
        ("ObjectTagging", _) => Some(Kind::Tagged),
        ("ReducedRedundancyLostObject", _) => Some(Kind::Lost),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Detail {
    bucket: Option<Bucket>,
    object: Option<Object>,
}

fn bridged(detail_type: &str, detail: &str, time: &str) -> Result<Message, Unreadable> {
    let kind = match detail_type {
        "Object Created" => Kind::Written,
        "Object Deleted" => Kind::Removed,
        "Object Restore Completed" => Kind::Restored,
        "Object Tags Added" | "Object Tags Deleted" => Kind::Tagged,
        _ => return Ok(Message { ignored: 1, ..Message::default() }),
    };
    let wrong = |problem| Unreadable::Record { index: 0, problem };
    let detail: Detail =
        serde_json::from_str(detail).map_err(|_| wrong("has fields of other types than S3's"))?;
    let (bucket, object) = named(detail.bucket, detail.object).map_err(wrong)?;
    let text = object.key.unwrap_or_default();
    let sequencer = object.sequencer.unwrap_or_default();
    let change = |key| Change {
        bucket: bucket.clone(),
        key,
        kind,
        sequencer: sequencer.clone(),
        time: time.to_owned(),
    };
    if text.len() > MAX_KEY_BYTES {
        return Err(wrong("has a key longer than 1,024 bytes"));
    }
    let plain = Key::from(text.as_str());
    let mut changes = vec![change(plain.clone())];
    // No page of AWS says that EventBridge leaves keys as they are. A hint more costs one look at a key that is not
    // there; a hint less would lose a change.
    if let Some(other) =
        decoded(&text).filter(|other| *other != plain && !other.as_bytes().is_empty())
    {
        changes.push(change(other));
    }
    Ok(Message { changes, ..Message::default() })
}

fn named(bucket: Option<Bucket>, object: Option<Object>) -> Result<(String, Object), &'static str> {
    let bucket = bucket.map(|bucket| bucket.name).filter(|name| !name.is_empty());
    let bucket = bucket.ok_or("names no bucket")?;
    let object = object.filter(|object| object.key.as_ref().is_some_and(|key| !key.is_empty()));
    Ok((bucket, object.ok_or("names no key")?))
}

/// A key as the forms of a notification write it (`application/x-www-form-urlencoded`). `None`: longer than a key is.
fn decoded(text: &str) -> Option<Key> {
    let spaced: Cow<'_, str> =
        if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let bytes: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
    (bytes.len() <= MAX_KEY_BYTES).then(|| Key::from(bytes))
}

#[cfg(test)]
mod tests;
