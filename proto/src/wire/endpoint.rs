//! Endpoints and what is learned of buckets.

use super::problems::path;
use super::{Problems, int64, names, time_from, time_to};
use crate::model::{BucketFacts, Endpoint, EndpointSpec, EtagKind, Invalid};
use crate::pb::v1 as pb;

/// An endpoint's settings from a request; what is output only is ignored.
///
/// # Errors
/// Every problem of the fields.
pub fn endpoint_spec(endpoint: pb::Endpoint) -> Result<EndpointSpec, Invalid> {
    let mut problems = Problems::default();
    let spec = spec(endpoint, "", &mut problems);
    problems.finish(Some(spec))
}

/// An endpoint as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn endpoint_from(endpoint: pb::Endpoint) -> Result<Endpoint, Invalid> {
    let mut problems = Problems::default();
    let name = names::endpoint_name(&endpoint.name)?;
    let buckets = endpoint.buckets.clone().into_iter().map(facts_from).collect::<Result<_, _>>()?;
    let (etag, created, updated) =
        (endpoint.etag.clone(), endpoint.create_time, endpoint.update_time);
    let spec = spec(endpoint, "", &mut problems);
    problems.finish(Some(Endpoint {
        name,
        spec,
        buckets,
        etag,
        created: time_from(created).unwrap_or_default(),
        updated: time_from(updated).unwrap_or_default(),
    }))
}

/// An endpoint for the wire.
#[must_use]
pub fn endpoint_to(endpoint: Endpoint) -> pb::Endpoint {
    let Endpoint { name, spec, buckets, etag, created, updated } = endpoint;
    pb::Endpoint {
        name: names::format_endpoint(&name),
        buckets: buckets.into_iter().map(facts_to).collect(),
        etag,
        create_time: time_to(created),
        update_time: time_to(updated),
        ..spec_to(spec)
    }
}

/// Only the settings of an endpoint, for an assignment.
pub(super) fn spec_to(spec: EndpointSpec) -> pb::Endpoint {
    let EndpointSpec { region, url, path_style, etags, max_object_size } = spec;
    pb::Endpoint {
        region,
        url: url.unwrap_or_default(),
        path_style,
        etags: kind_to(etags),
        max_object_size: int64(max_object_size.unwrap_or_default()),
        ..pb::Endpoint::default()
    }
}

pub(super) fn spec(endpoint: pb::Endpoint, at: &str, problems: &mut Problems) -> EndpointSpec {
    let pb::Endpoint {
        name: _,
        region,
        url,
        path_style,
        etags,
        max_object_size,
        buckets: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = endpoint;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.is_empty() {
        problems.add(
            path(at, "region"),
            "is missing; name the region requests are signed for, such as us-west-2",
        );
    } else if !region.chars().all(fits) {
        problems
            .add(path(at, "region"), format!("{region:?} is not a region; use a-z, 0-9 and '-'"));
    }
    if let Some(problem) = url_problem(&url) {
        problems.add(path(at, "url"), problem);
    }
    let etags = kind(&path(at, "etags"), etags, problems);
    let max_object_size = problems.optional_count(&path(at, "max_object_size"), max_object_size);
    EndpointSpec {
        region,
        url: Some(url).filter(|url| !url.is_empty()),
        path_style,
        etags,
        max_object_size,
    }
}

/// What is wrong with an endpoint's URL, if anything.
fn url_problem(url: &str) -> Option<String> {
    if url.is_empty() {
        return None;
    }
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some(format!("{url:?} must begin with https:// or http://"));
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let odd = host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) || host.starts_with(':');
    odd.then(|| {
        format!("{url:?} must be a scheme and a host, with a port if needed, and nothing more")
    })
}

fn kind(field: &str, number: i32, problems: &mut Problems) -> Option<EtagKind> {
    problems
        .choice(field, number, |kind| {
            Some(match kind {
                pb::EtagKind::Unspecified => None,
                pb::EtagKind::Md5 => Some(EtagKind::Md5),
                pb::EtagKind::Opaque => Some(EtagKind::Opaque),
            })
        })
        .flatten()
}

fn kind_to(kind: Option<EtagKind>) -> i32 {
    match kind {
        None => pb::EtagKind::Unspecified,
        Some(EtagKind::Md5) => pb::EtagKind::Md5,
        Some(EtagKind::Opaque) => pb::EtagKind::Opaque,
    }
    .into()
}

/// What was learned of a bucket.
///
/// # Errors
/// Every problem of the fields.
pub fn facts_from(facts: pb::BucketFacts) -> Result<BucketFacts, Invalid> {
    let pb::BucketFacts {
        endpoint,
        bucket,
        conditional_writes,
        etags,
        tags,
        trailers,
        unordered_listing,
        learn_time,
    } = facts;
    let mut problems = Problems::default();
    let endpoint = problems.name("endpoint", &endpoint);
    if bucket.is_empty() {
        problems.add("bucket", "is missing");
    }
    let mut learned = |field: &str, number: i32| {
        problems
            .choice(field, number, |learned| {
                Some(match learned {
                    pb::Learned::Unspecified => None,
                    pb::Learned::Yes => Some(true),
                    pb::Learned::No => Some(false),
                })
            })
            .flatten()
    };
    let conditional_writes = learned("conditional_writes", conditional_writes);
    let tags = learned("tags", tags);
    let trailers = learned("trailers", trailers);
    let etags = kind("etags", etags, &mut problems);
    let learned = time_from(learn_time).unwrap_or_default();
    problems.finish(endpoint.map(|endpoint| BucketFacts {
        endpoint,
        bucket,
        conditional_writes,
        etags,
        tags,
        trailers,
        unordered_listing,
        learned,
    }))
}

/// What was learned of a bucket, for the wire.
#[must_use]
pub fn facts_to(facts: BucketFacts) -> pb::BucketFacts {
    let BucketFacts {
        endpoint,
        bucket,
        conditional_writes,
        etags,
        tags,
        trailers,
        unordered_listing,
        learned,
    } = facts;
    let to = |learned: Option<bool>| {
        i32::from(match learned {
            None => pb::Learned::Unspecified,
            Some(true) => pb::Learned::Yes,
            Some(false) => pb::Learned::No,
        })
    };
    pb::BucketFacts {
        endpoint: endpoint.into(),
        bucket,
        conditional_writes: to(conditional_writes),
        etags: kind_to(etags),
        tags: to(tags),
        trailers: to(trailers),
        unordered_listing,
        learn_time: time_to(learned),
    }
}
