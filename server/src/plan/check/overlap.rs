//! Pure. Places that get in each other's way: a copy that would feed itself, or two jobs that undo each other.

use std::collections::{BTreeMap, BTreeSet};

use s3sync_proto::model::{DeleteMode, JobSpec, Location, Name, Violation};

use crate::store::Catalogue;

/// Where bucket names are unique: one partition of AWS, or one endpoint elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Aws(&'static str),
    /// Scheme left out: a server that is spoken to with and without TLS is one.
    Url(String),
    /// Of an endpoint that is not known, which is told apart.
    Endpoint(Name),
}

pub(super) fn check(name: &Name, job: &JobSpec, catalogue: &Catalogue) -> Vec<Violation> {
    let mut problems = own(job, catalogue);
    problems.extend(mirrors(name, job, catalogue));
    // A cycle through this job alone is told as a destination in its own source.
    if problems.is_empty()
        && let Some(cycle) = cycle(name, job, catalogue)
    {
        let way: Vec<_> = cycle.iter().map(Name::as_str).collect();
        let text = format!("jobs would feed each other in a circle: {}", way.join(" -> "));
        problems.push(Violation::new("destinations", text));
    }
    problems
}

/// A job's places among themselves.
fn own(job: &JobSpec, catalogue: &Catalogue) -> Vec<Violation> {
    let mut problems = Vec::new();
    for (index, destination) in job.destinations.iter().enumerate() {
        let field = format!("destinations[{index}]");
        if overlaps(&job.source, &destination.location, catalogue) {
            problems.push(Violation::new(
                field.as_str(),
                "overlaps the job's own source; copies would be copied again, use another bucket or prefix",
            ));
        }
        for (other, earlier) in job.destinations.iter().enumerate().take(index) {
            if overlaps(&earlier.location, &destination.location, catalogue) {
                let text = format!("overlaps destinations[{other}]; use another bucket or prefix");
                problems.push(Violation::new(field.as_str(), text));
            }
        }
    }
    problems
}

/// A destination that deletes what its source does not have must be nobody else's destination.
fn mirrors(name: &Name, job: &JobSpec, catalogue: &Catalogue) -> Vec<Violation> {
    let mut problems = Vec::new();
    for other in catalogue.jobs.values().filter(|other| other.name != *name) {
        let either =
            job.deletes.mode == DeleteMode::Mirror || other.spec.deletes.mode == DeleteMode::Mirror;
        if !either {
            continue;
        }
        for (index, destination) in job.destinations.iter().enumerate() {
            let shared = |theirs: &&s3sync_proto::model::Destination| {
                overlaps(&theirs.location, &destination.location, catalogue)
            };
            if other.spec.destinations.iter().any(|theirs| shared(&theirs)) {
                let text = format!(
                    "overlaps a destination of job {other}, and one of the two mirrors deletes; {name} and {other} \
                     would delete each other's objects",
                    other = other.name
                );
                problems.push(Violation::new(format!("destinations[{index}]"), text));
            }
        }
    }
    problems
}

/// A way from this job over others back to it, where each writes into what the next one reads.
fn cycle(name: &Name, job: &JobSpec, catalogue: &Catalogue) -> Option<Vec<Name>> {
    let mut jobs: BTreeMap<&Name, &JobSpec> =
        catalogue.jobs.iter().map(|(name, job)| (name, &job.spec)).collect();
    jobs.insert(name, job);
    let feeds = |from: &JobSpec, to: &JobSpec| {
        from.destinations
            .iter()
            .any(|destination| overlaps(&destination.location, &to.source, catalogue))
    };
    let mut ways = vec![vec![name]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way[way.len() - 1];
        for (next, _) in
            jobs.iter().filter(|(next, spec)| **next != last && feeds(jobs[last], spec))
        {
            if *next == name {
                return Some(way.iter().copied().chain([name]).cloned().collect());
            }
            if seen.insert(*next) {
                ways.push(way.iter().copied().chain([*next]).collect());
            }
        }
    }
    None
}

/// Whether a key could be in both places. Prefixes are plain strings: `a` covers `ab/c`.
fn overlaps(one: &Location, other: &Location, catalogue: &Catalogue) -> bool {
    one.bucket == other.bucket
        && space(&one.endpoint, catalogue) == space(&other.endpoint, catalogue)
        && (one.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&one.prefix))
}

fn space(endpoint: &Name, catalogue: &Catalogue) -> Space {
    let Some(found) = catalogue.endpoints.get(endpoint) else {
        return Space::Endpoint(endpoint.clone());
    };
    let Some(url) = &found.spec.url else { return Space::Aws(partition(&found.spec.region)) };
    let place = place_of(url);
    let host = place.split(['/', ':']).next().unwrap_or_default();
    if host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn") {
        return Space::Aws(partition(&found.spec.region));
    }
    Space::Url(place)
}

/// What a URL names: host, port and path, written in one way.
fn place_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let rest = rest.trim_end_matches('/');
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let host = host.to_ascii_lowercase();
    let usual = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let host = host.strip_suffix(usual).unwrap_or(&host);
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// The partition of a region ("Amazon Resource Names", AWS General Reference): bucket names are unique within one.
pub(crate) fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}
