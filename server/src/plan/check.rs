//! Pure. Rules that need more than one resource: does the endpoint exist, do jobs get in each other's way. All problems
//! come back at once.

mod overlap;
mod unsupported;

use s3sync_proto::model::{Invalid, JobSpec, Location, Name, Violation, Warning};

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
    problems.extend(unsupported::check(job));
    problems.extend(overlap::check(name, job, catalogue));
    Invalid::check(problems)?;
    Ok(warnings(job))
}

/// The jobs that name an endpoint.
#[must_use]
pub fn users_of(endpoint: &Name, catalogue: &Catalogue) -> Vec<Name> {
    let uses = |job: &JobSpec| places(job).any(|(_, place)| place.endpoint == *endpoint);
    catalogue.jobs.values().filter(|job| uses(&job.spec)).map(|job| job.name.clone()).collect()
}

/// Every place a job names, with the path of it.
fn places(job: &JobSpec) -> impl Iterator<Item = (String, &Location)> {
    let destinations = job.destinations.iter().enumerate();
    let source = std::iter::once(("source".to_owned(), &job.source));
    source.chain(destinations.map(|(index, one)| (format!("destinations[{index}]"), &one.location)))
}

fn unknown_endpoints(job: &JobSpec, catalogue: &Catalogue) -> Vec<Violation> {
    let known: Vec<_> = catalogue.endpoints.keys().map(Name::as_str).collect();
    let hint = if known.is_empty() {
        "none exists yet".to_owned()
    } else {
        format!("known are {}", known.join(", "))
    };
    places(job)
        .filter(|(_, place)| !catalogue.endpoints.contains_key(&place.endpoint))
        .map(|(path, place)| {
            Violation::new(
                format!("{path}.endpoint"),
                format!("there is no endpoint {}; {hint}", place.endpoint),
            )
        })
        .collect()
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
