//! Pure. Rules that need more than one resource: does the endpoint exist, do jobs get in each other's way. All problems
//! come back at once.

mod overlap;

pub(crate) use overlap::partition;

use s3sync_proto::model::{
    EndpointSpec, Invalid, JobSpec, Location, Name, QueueSpec, Violation, Warning,
};

use crate::store::Catalogue;

/// Whether a job may be as it says, beside all others. Returns what is odd but allowed.
///
/// # Errors
/// Every problem, with the path of its field.
pub fn check_job(
    name: &Name,
    job: &JobSpec,
    catalogue: &Catalogue,
) -> Result<Vec<Warning>, Invalid> {
    let mut problems = unknown_endpoints(job, catalogue);
    problems.extend(unknown_queue(job, catalogue));
    problems.extend(job.schedule.iter().flat_map(super::schedule::problems));
    problems.extend(overlap::check(name, job, catalogue));
    Invalid::check(problems)?;
    Ok(warnings(job))
}

/// Whether an endpoint may become what is said: at another place, jobs that were apart may get in each other's way.
/// A job that had a problem before is no reason to refuse.
///
/// # Errors
/// Every problem that jobs would have, at the field that says where the endpoint is.
pub fn check_endpoint(
    name: &Name,
    spec: &EndpointSpec,
    catalogue: &Catalogue,
) -> Result<(), Invalid> {
    let mut changed = catalogue.clone();
    let Some(endpoint) = changed.endpoints.get_mut(name) else { return Ok(()) };
    let field = if endpoint.spec.url == spec.url { "region" } else { "url" };
    endpoint.spec = spec.clone();
    let mut problems = Vec::new();
    for job in catalogue.jobs.values() {
        let before = overlap::check(&job.name, &job.spec, catalogue);
        let after = overlap::check(&job.name, &job.spec, &changed);
        let new = after.into_iter().filter(|problem| !before.contains(problem));
        problems.extend(new.map(|Violation { field: of, description }| {
            Violation::new(field, format!("of jobs/{}, {of} {description}", job.name))
        }));
    }
    Invalid::check(problems)
}

/// Whether a queue may be as it says, beside everything else.
///
/// # Errors
/// Every problem, with the path of its field.
pub fn check_queue(queue: &QueueSpec, catalogue: &Catalogue) -> Result<(), Invalid> {
    Invalid::check(unknown_endpoint("endpoint", &queue.endpoint, catalogue).into_iter().collect())
}

/// The jobs and queues that name an endpoint.
#[must_use]
pub fn users_of_endpoint(endpoint: &Name, catalogue: &Catalogue) -> Vec<String> {
    let uses = |job: &JobSpec| places(job).any(|(_, place)| place.endpoint == *endpoint);
    let jobs = catalogue.jobs.values().filter(|job| uses(&job.spec));
    let queues = catalogue.queues.values().filter(|queue| queue.spec.endpoint == *endpoint);
    let jobs = jobs.map(|job| format!("jobs/{}", job.name));
    jobs.chain(queues.map(|queue| format!("queues/{}", queue.name))).collect()
}

/// The jobs that name a queue.
#[must_use]
pub fn users_of_queue(queue: &Name, catalogue: &Catalogue) -> Vec<String> {
    let jobs = catalogue.jobs.values().filter(|job| job.spec.events.as_ref() == Some(queue));
    jobs.map(|job| format!("jobs/{}", job.name)).collect()
}

/// Every place a job names, with the path of it.
fn places(job: &JobSpec) -> impl Iterator<Item = (String, &Location)> {
    let destinations = job.destinations.iter().enumerate();
    let source = std::iter::once(("source".to_owned(), &job.source));
    source.chain(destinations.map(|(index, one)| (format!("destinations[{index}]"), &one.location)))
}

fn unknown_endpoints(job: &JobSpec, catalogue: &Catalogue) -> Vec<Violation> {
    let unknown = |(path, place): (String, &Location)| {
        unknown_endpoint(&format!("{path}.endpoint"), &place.endpoint, catalogue)
    };
    places(job).filter_map(unknown).collect()
}

fn unknown_endpoint(path: &str, name: &Name, catalogue: &Catalogue) -> Option<Violation> {
    unknown(path, "endpoint", name, catalogue.endpoints.keys())
}

fn unknown_queue(job: &JobSpec, catalogue: &Catalogue) -> Option<Violation> {
    unknown("events.queue", "queue", job.events.as_ref()?, catalogue.queues.keys())
}

fn unknown<'a>(
    path: &str,
    kind: &str,
    name: &Name,
    known: impl Iterator<Item = &'a Name>,
) -> Option<Violation> {
    let known: Vec<_> = known.map(Name::as_str).collect();
    if known.contains(&name.as_str()) {
        return None;
    }
    let hint = if known.is_empty() {
        "none exists yet".to_owned()
    } else {
        format!("known are {}", known.join(", "))
    };
    Some(Violation::new(path, format!("there is no {kind} {name}; {hint}")))
}

fn warnings(job: &JobSpec) -> Vec<Warning> {
    places(job)
        .filter(|(_, place)| !place.prefix.is_empty() && !place.prefix.ends_with('/'))
        .map(|(path, place)| Warning {
            field: format!("{path}.prefix"),
            description: format!(
                "{:?} does not end with '/', so it also covers keys such as {:?}; add a '/' if a folder is meant",
                place.prefix,
                format!("{}-other/x", place.prefix)
            ),
        })
        .collect()
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
