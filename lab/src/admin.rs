//! The control interface: JSON over HTTP, for tests and people in other processes.
//!
//! | of an endpoint or a server of queues | |
//! |---|---|
//! | `GET` or `DELETE /NAME/counts` | what was asked, by operation, access key and bucket or queue; forget it |
//! | `GET`, `PUT` or `DELETE /NAME/faults` | faults: `{"seed": 1, "rules": [{"fault": "slow_down", "when": {"rate": 0.01}}]}` |
//!
//! | of an endpoint | |
//! |---|---|
//! | `PUT /NAME/capabilities` | what it can do, such as `{"ignore_conditions": true}` |
//! | `GET /NAME/writes` | requests that changed objects, or tried to |
//! | `PUT /NAME/buckets/BUCKET` | make a bucket |
//! | `GET /NAME/uploads/BUCKET` | ids of open uploads |
//! | `GET /NAME/digest/BUCKET` | number of stored objects, and a digest of all keys and bytes |
//! | `GET /NAME/objects/BUCKET` | key, size, ETag, MD5 and checksum of each stored object |
//! | `PUT /NAME/objects/BUCKET` | store one: `{"key": "a b", "text": "hello"}`, or with `"base64"` for other bytes |
//! | `PUT /NAME/seed/BUCKET` | store many: `{"prefix": "p/", "count": 10, "size": 4096, "seed": 1}` |
//! | `PUT /NAME/giants/BUCKET` | store some whose bytes are made when they are read: `{"prefix": "g/", "count": 64, "size": 1073741824}` |
//! | `PUT /NAME/sink/BUCKET` | verify what is written below a prefix, and do not store it: `{"prefix": "copies/"}` |
//! | `PUT /NAME/generate/BUCKET` | declare a key space: `{"prefix": "d/", "count": 1000000, "size": 16, "modified": 0}` |
//!
//! | of a server of queues | |
//! |---|---|
//! | `GET /NAME/messages/QUEUE` | messages, oldest first |
//! | `PUT /NAME/messages/QUEUE` | send one: the request's body |

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::checksum::md5;
use crate::endpoint::Endpoint;
use crate::fault::{Faults, Rule};
use crate::queue::Queues;
use crate::record::Counts;
use crate::server::{Body, plain};
use crate::storage::Object;
use crate::text::hex;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsBody {
    #[serde(default)]
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedBody {
    prefix: String,
    count: u64,
    size: usize,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GiantsBody {
    prefix: String,
    count: u64,
    size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkBody {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectBody {
    key: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    base64: Option<String>,
}

/// Why a call is not done.
enum Refused {
    Unknown(&'static str),
    Malformed(String),
}

type Answer = Result<Value, Refused>;

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

pub(crate) async fn serve(
    endpoints: &BTreeMap<String, Arc<Endpoint>>,
    queues: &BTreeMap<String, Arc<Queues>>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path: Vec<&str> =
        parts.uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let method = parts.method.as_str();
    let answer = match path.as_slice() {
        [] => Ok(names(endpoints, queues)),
        [name, rest @ ..] => match (endpoints.get(*name), queues.get(*name)) {
            (Some(endpoint), _) => of_endpoint(endpoint, method, rest, &body),
            (None, Some(queues)) => of_queues(queues, method, rest, &body),
            (None, None) => Err(Refused::Unknown("there is nothing of that name")),
        },
    };
    Ok(match answer {
        Ok(value) => plain(StatusCode::OK, value.to_string()),
        Err(Refused::Unknown(what)) => plain(StatusCode::NOT_FOUND, format!("{what}\n")),
        Err(Refused::Malformed(what)) => plain(StatusCode::BAD_REQUEST, format!("{what}\n")),
    })
}

fn names(
    endpoints: &BTreeMap<String, Arc<Endpoint>>,
    queues: &BTreeMap<String, Arc<Queues>>,
) -> Value {
    let endpoints = endpoints.values().map(|one| json!({"name": one.name(), "url": one.url()}));
    let queues = queues.values().map(|one| json!({"name": one.name(), "url": one.url()}));
    endpoints.chain(queues).collect()
}

fn of_endpoint(endpoint: &Endpoint, method: &str, path: &[&str], body: &Bytes) -> Answer {
    match (method, path) {
        ("GET", ["counts"]) => return Ok(rows(&endpoint.counts(), "bucket")),
        ("DELETE", ["counts"]) => endpoint.reset_counts(),
        ("GET", ["faults"]) => {
            return Ok(endpoint.faults().rules().map(|rule| json!(rule)).collect());
        }
        ("PUT", ["faults"]) => endpoint.set_faults(faults(body)?),
        ("DELETE", ["faults"]) => endpoint.set_faults(Faults::default()),
        ("PUT", ["capabilities"]) => endpoint.set_capabilities(serde_json::from_slice(body)?),
        ("GET", ["writes"]) => return Ok(json!(endpoint.writes())),
        ("PUT", ["buckets", bucket]) => endpoint.create_bucket(bucket),
        (_, [_, bucket]) if endpoint.has_bucket(bucket) => {
            return of_bucket(endpoint, bucket, (method, path[0]), body);
        }
        _ => return Err(Refused::Unknown("there is no such call, or no such bucket")),
    }
    Ok(json!({}))
}

fn of_bucket(endpoint: &Endpoint, bucket: &str, call: (&str, &str), body: &Bytes) -> Answer {
    match call {
        ("GET", "uploads") => {
            let uploads = endpoint.open_uploads(bucket);
            return Ok(uploads.into_iter().map(|upload| json!(upload.upload_id)).collect());
        }
        ("GET", "digest") => return Ok(digest(endpoint, bucket)),
        ("GET", "objects") => {
            let objects = endpoint.objects(bucket).into_iter();
            let shown = objects.map(|(key, object)| {
                let key = String::from_utf8_lossy(&key).into_owned();
                let stored = object.unstored.is_none();
                let md5 = if stored { hex(&md5(&object.body)) } else { String::new() };
                let (size, etag) = (object.size(), &object.etag);
                json!({"key": key, "size": size, "etag": etag, "md5": md5, "checksum": object.checksum()})
            });
            return Ok(shown.collect());
        }
        ("PUT", "objects") => {
            let ObjectBody { key, text, base64 } = serde_json::from_slice(body)?;
            let decoded = base64.map_or(Ok(text.into_bytes()), |base64| STANDARD.decode(base64));
            let bytes = decoded.map_err(|error| Refused::Malformed(error.to_string()))?;
            endpoint.seed(bucket, key, bytes);
        }
        ("PUT", "giants") => {
            let GiantsBody { prefix, count, size } = serde_json::from_slice(body)?;
            for index in 0..count {
                endpoint.seed_object(
                    bucket,
                    format!("{prefix}{index:08}"),
                    Object::giant(size, index),
                );
            }
        }
        ("PUT", "sink") => {
            let SinkBody { prefix } = serde_json::from_slice(body)?;
            endpoint.sink(bucket, prefix);
        }
        ("PUT", "generate") => endpoint.generate(bucket, serde_json::from_slice(body)?),
        ("PUT", "seed") => {
            let SeedBody { prefix, count, size, seed } = serde_json::from_slice(body)?;
            let mut random = fastrand::Rng::with_seed(seed);
            for index in 0..count {
                let mut bytes = vec![0; size];
                random.fill(&mut bytes);
                endpoint.seed(bucket, format!("{prefix}{index:08}"), bytes);
            }
        }
        _ => return Err(Refused::Unknown("there is no such call")),
    }
    Ok(json!({}))
}

fn of_queues(queues: &Queues, method: &str, path: &[&str], body: &Bytes) -> Answer {
    match (method, path) {
        ("GET", ["counts"]) => return Ok(rows(&queues.counts(), "queue")),
        ("DELETE", ["counts"]) => queues.reset_counts(),
        ("GET", ["faults"]) => {
            return Ok(queues.faults().rules().map(|rule| json!(rule)).collect());
        }
        ("PUT", ["faults"]) => queues.set_faults(faults(body)?),
        ("DELETE", ["faults"]) => queues.set_faults(Faults::default()),
        ("GET", ["messages", queue]) if queues.has_queue(queue) => {
            return Ok(json!(queues.messages(queue)));
        }
        ("PUT", ["messages", queue]) if queues.has_queue(queue) => {
            queues.send(queue, &String::from_utf8_lossy(body));
        }
        _ => return Err(Refused::Unknown("there is no such call, or no such queue")),
    }
    Ok(json!({}))
}

fn faults(body: &Bytes) -> Result<Faults, Refused> {
    let FaultsBody { seed, rules } = serde_json::from_slice(body)?;
    Ok(Faults::new(seed, rules))
}

fn rows(counts: &Counts, place: &str) -> Value {
    let row = |((operation, key, name), count): (&(String, String, String), &u64)| json!({"operation": operation, "access_key": key, place: name, "count": count});
    counts.0.iter().map(row).collect()
}

fn digest(endpoint: &Endpoint, bucket: &str) -> Value {
    let mut all = Vec::new();
    let objects = endpoint.objects(bucket);
    for (key, object) in &objects {
        all.extend_from_slice(key);
        all.push(0);
        all.extend_from_slice(&md5(&object.body));
    }
    json!({"objects": objects.len(), "digest": hex(&md5(&all))})
}
