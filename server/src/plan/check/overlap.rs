//! Pure. Places that get in each other's way: a copy that would feed itself, or two jobs that undo each other.

use std::collections::{BTreeMap, BTreeSet};

use s3sync_proto::model::{DeleteMode, JobSpec, Location, Name, Violation};

use crate::store::Catalogue;

/// Where bucket names are unique: one partition of AWS, or one endpoint elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Aws(&'static str),
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
                    "overlaps a destination of job {}, and one of the two mirrors deletes; they would delete each \
                     other's objects",
                    other.name
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
    match catalogue.endpoints.get(endpoint) {
        Some(found) if found.spec.url.is_none() => Space::Aws(partition(&found.spec.region)),
        _ => Space::Endpoint(endpoint.clone()),
    }
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
