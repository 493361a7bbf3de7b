//! Pure. Who can answer a question, and which key of a job is meant.

use std::collections::{BTreeMap, BTreeSet};

use s3sync_proto::model::{Invalid, JobSpec, Key, Location, MAX_KEY_BYTES, Verb};

use super::place::{lack, nobody};
use crate::store::SessionView;

/// What an agent must have to answer.
#[derive(Clone, Debug)]
pub struct Need<'a> {
    /// Features.
    pub features: Vec<&'a str>,
    /// Labels.
    pub labels: &'a BTreeMap<String, String>,
    /// What it must be allowed to do where.
    pub places: Vec<(&'a Location, &'a [Verb])>,
}

/// Who can answer, the least loaded first; or why nobody can.
///
/// # Errors
/// Why nobody can, for a person.
pub fn able<'s>(
    sessions: &'s [SessionView],
    need: &Need<'_>,
) -> Result<Vec<&'s SessionView>, String> {
    let mut able = Vec::new();
    let mut lacks = Vec::new();
    for session in sessions {
        let lack = lack(session, need.features.iter().copied(), need.labels, &need.places);
        let lack = lack.or_else(|| session.draining.then(|| "is about to leave".to_owned()));
        match lack {
            Some(lack) => lacks.push(format!("{} {lack}", session.agent)),
            None => able.push(session),
        }
    }
    if able.is_empty() {
        return Err(nobody("look", lacks));
    }
    able.sort_by_key(|session| (session.held, session.session));
    Ok(able)
}

/// The key without prefix that is meant by a key of a job, or, with a bucket, by a full key there.
///
/// # Errors
/// What is wrong with it.
pub fn relative_key(spec: &JobSpec, key: &Key, bucket: &str) -> Result<Key, Invalid> {
    let length = key.as_bytes().len();
    if length > MAX_KEY_BYTES {
        let text = format!("has {length} bytes; at most {MAX_KEY_BYTES} are allowed");
        return Err(Invalid::one("key", text));
    }
    let places = || {
        let destinations = spec.destinations.iter().map(|destination| &destination.location);
        std::iter::once(&spec.source).chain(destinations)
    };
    let key = if bucket.is_empty() {
        key.clone()
    } else {
        let below: BTreeSet<Key> = places()
            .filter(|place| place.bucket == bucket)
            .filter_map(|place| key.as_bytes().strip_prefix(place.prefix.as_bytes()))
            .map(|rest| Key::from(rest.to_vec()))
            .collect();
        let mut below = below.into_iter();
        match (below.next(), below.next()) {
            (Some(one), None) => one,
            (None, _) => {
                let known: Vec<_> = places()
                    .map(|place| format!("s3://{}/{}", place.bucket, place.prefix))
                    .collect();
                let text = format!("is in none of the job's places: {}", known.join(", "));
                return Err(Invalid::one("key", text));
            }
            (Some(_), Some(_)) => {
                let text = "is in several of the job's places; give it without prefix and bucket";
                return Err(Invalid::one("key", text));
            }
        }
    };
    if key.as_bytes().is_empty() && spec.source.prefix.is_empty() {
        return Err(Invalid::one("key", "is empty; S3 has no such object"));
    }
    Ok(key)
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
