//! The control interface: JSON over HTTP, for tests and people in other processes.
//!
//! `GET /ENDPOINT/counts`, `DELETE /ENDPOINT/counts`, `PUT /ENDPOINT/faults` with `{"seed": 1, "rules": [...]}`,
//! `PUT /ENDPOINT/capabilities`, `GET /ENDPOINT/writes`, `GET /ENDPOINT/uploads/BUCKET`,
//! `GET /ENDPOINT/digest/BUCKET`, `PUT /ENDPOINT/generate/BUCKET`, `PUT /ENDPOINT/seed/BUCKET` with
//! `{"prefix": "p/", "count": 10, "size": 4096, "seed": 1}`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use crate::endpoint::Endpoint;
use crate::fault::{Faults, Rule};
use crate::server::plain;
use crate::text::hex;

#[derive(Deserialize)]
struct FaultsBody {
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct SeedBody {
    prefix: String,
    count: u64,
    size: usize,
    #[serde(default)]
    seed: u64,
}

pub(crate) async fn serve(
    endpoints: &BTreeMap<String, Arc<Endpoint>>,
    request: Request<Incoming>,
) -> io::Result<Response<BoxBody<Bytes, io::Error>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let Some(endpoint) = path.first().and_then(|name| endpoints.get(*name)) else {
        let names: Vec<_> =
            endpoints.values().map(|one| json!({"name": one.name(), "url": one.url()})).collect();
        return Ok(plain(StatusCode::OK, json!(names).to_string()));
    };
    Ok(match act(endpoint, parts.method.as_str(), &path[1..], &body) {
        Ok(Some(value)) => plain(StatusCode::OK, value.to_string()),
        Ok(None) => plain(StatusCode::NOT_FOUND, "there is no such call\n"),
        Err(error) => plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
    })
}

fn act(
    endpoint: &Endpoint,
    method: &str,
    path: &[&str],
    body: &Bytes,
) -> Result<Option<serde_json::Value>, serde_json::Error> {
    Ok(Some(match (method, path) {
        ("GET", ["counts"]) => {
            let counts = endpoint.counts();
            let rows: Vec<_> = counts
                .0
                .iter()
                .map(|((operation, key, bucket), count)| {
                    json!({"operation": operation, "access_key": key, "bucket": bucket, "count": count})
                })
                .collect();
            json!(rows)
        }
        ("DELETE", ["counts"]) => {
            endpoint.reset_counts();
            json!({})
        }
        ("PUT", ["faults"]) => {
            let FaultsBody { seed, rules } = serde_json::from_slice(body)?;
            endpoint.set_faults(Faults::new(seed, rules));
            json!({})
        }
        ("PUT", ["capabilities"]) => {
            endpoint.set_capabilities(serde_json::from_slice(body)?);
            json!({})
        }
        ("GET", ["writes"]) => json!(endpoint.writes()),
        ("GET", ["uploads", bucket]) => {
            let ids: Vec<_> =
                endpoint.open_uploads(bucket).into_iter().map(|upload| upload.upload_id).collect();
            json!(ids)
        }
        ("GET", ["digest", bucket]) => {
            let mut all = Vec::new();
            let objects = endpoint.objects(bucket);
            for (key, object) in &objects {
                all.extend_from_slice(key);
                all.push(0);
                all.extend_from_slice(&crate::checksum::md5(&object.body));
            }
            json!({"objects": objects.len(), "digest": hex(&crate::checksum::md5(&all))})
        }
        ("PUT", ["generate", bucket]) => {
            endpoint.generate(bucket, serde_json::from_slice(body)?);
            json!({})
        }
        ("PUT", ["seed", bucket]) => {
            let SeedBody { prefix, count, size, seed } = serde_json::from_slice(body)?;
            let mut random = fastrand::Rng::with_seed(seed);
            for index in 0..count {
                let mut bytes = vec![0; size];
                random.fill(&mut bytes);
                endpoint.seed(bucket, format!("{prefix}{index:08}"), bytes);
            }
            json!({})
        }
        _ => return Ok(None),
    }))
}
