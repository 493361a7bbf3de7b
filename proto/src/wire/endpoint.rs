//! Endpoints and what is learned of buckets.

use std::mem;

use tonic::transport::Uri;

use super::problems::{path, quoted};
use super::{Problems, int64, names, time_to};
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
pub fn endpoint_from(mut endpoint: pb::Endpoint) -> Result<Endpoint, Invalid> {
    let mut problems = Problems::default();
    let name = problems.part("", names::endpoint_name(&endpoint.name));
    let mut buckets = Vec::new();
    for (index, facts) in mem::take(&mut endpoint.buckets).into_iter().enumerate() {
        buckets.extend(problems.part(&format!("buckets[{index}]"), facts_from(facts)));
    }
    let etag = mem::take(&mut endpoint.etag);
    let created = problems.time("create_time", endpoint.create_time).unwrap_or_default();
    let updated = problems.time("update_time", endpoint.update_time).unwrap_or_default();
    let spec = spec(endpoint, "", &mut problems);
    problems.finish(name.map(|name| Endpoint { name, spec, buckets, etag, created, updated }))
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
    // AWS has a-z, 0-9 and '-' only; other servers sign for names such as `RegionOne`. A `/` would end the scope
    // of a signature early (SigV4, "credential scope").
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if region.is_empty() {
        problems.add(
            path(at, "region"),
            "is missing; name the region requests are signed for, such as us-west-2",
        );
    } else if !region.chars().all(fits) {
        problems.add(
            path(at, "region"),
            format!("{} is not a region; use letters, digits, '-' and '_'", quoted(&region)),
        );
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

/// What is wrong with an endpoint's URL, if anything. A URL with a user in it is not said back: it may hold a password.
fn url_problem(url: &str) -> Option<String> {
    if url.is_empty() {
        return None;
    }
    if url.contains('@') {
        return Some("has a user in it; agents hold the credentials, leave it out".to_owned());
    }
    let form = "is not a base URL; use https:// or http:// and a host, with a port if needed, and nothing more";
    let fits = url.parse::<Uri>().is_ok_and(|uri| {
        let port = uri.authority().and_then(|a| a.as_str().rsplit_once(':')).map(|(_, port)| port);
        // `Uri` takes any digits for a port; an IPv6 address ends with a bracket.
        let port_fits =
            port.is_none_or(|port| port.ends_with(']') || port.parse::<u16>().is_ok_and(|p| p > 0));
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && port_fits
            && uri.path() == "/"
            && !url.contains(['?', '#'])
    });
    (!fits).then(|| format!("{} {form}", quoted(url)))
}

pub(super) fn kind(field: &str, number: i32, problems: &mut Problems) -> Option<EtagKind> {
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

pub(super) fn kind_to(kind: Option<EtagKind>) -> i32 {
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
        checksums,
        conditional_copies,
        conditional_deletes,
        batch_deletes,
    } = facts;
    let mut problems = Problems::default();
    let endpoint = problems.name("endpoint", &endpoint);
    if bucket.is_empty() {
        problems.add("bucket", "is missing");
    }
    let when = problems.time("learn_time", learn_time).unwrap_or_default();
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
    let checksums = learned("checksums", checksums);
    let conditional_copies = learned("conditional_copies", conditional_copies);
    let conditional_deletes = learned("conditional_deletes", conditional_deletes);
    let batch_deletes = learned("batch_deletes", batch_deletes);
    let etags = kind("etags", etags, &mut problems);
    problems.finish(endpoint.map(|endpoint| BucketFacts {
        endpoint,
        bucket,
        conditional_writes,
        etags,
        tags,
        trailers,
        unordered_listing,
        checksums,
        conditional_copies,
        conditional_deletes,
        batch_deletes,
        learned: when,
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
        checksums,
        conditional_copies,
        conditional_deletes,
        batch_deletes,
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
        checksums: to(checksums),
        conditional_copies: to(conditional_copies),
        conditional_deletes: to(conditional_deletes),
        batch_deletes: to(batch_deletes),
    }
}
