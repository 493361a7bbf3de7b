//! Resource names, as they stand in requests.

use crate::model::{Invalid, Name, RunName};

/// Name of an endpoint for the wire.
#[must_use]
pub fn format_endpoint(name: &Name) -> String {
    format!("endpoints/{name}")
}

/// Name of a job for the wire.
#[must_use]
pub fn format_job(name: &Name) -> String {
    format!("jobs/{name}")
}

/// Name of an agent for the wire.
#[must_use]
pub fn format_agent(name: &Name) -> String {
    format!("agents/{name}")
}

/// `endpoints/{endpoint}`.
///
/// # Errors
/// When it is not of that form.
pub fn endpoint_name(text: &str) -> Result<Name, Invalid> {
    in_collection("endpoints", text)
}

/// `jobs/{job}`.
///
/// # Errors
/// When it is not of that form.
pub fn job_name(text: &str) -> Result<Name, Invalid> {
    in_collection("jobs", text)
}

/// `agents/{agent}`.
///
/// # Errors
/// When it is not of that form.
pub fn agent_name(text: &str) -> Result<Name, Invalid> {
    in_collection("agents", text)
}

/// `jobs/{job}`, or `jobs/-` for all jobs (`None`).
///
/// # Errors
/// When it is neither.
pub fn parse_job_parent(text: &str) -> Result<Option<Name>, Invalid> {
    if text == "jobs/-" { Ok(None) } else { job_name(text).map(Some) }
}

/// `jobs/{job}/runs/{number}`, or `jobs/{job}/runs/-` for the newest (`None`).
///
/// # Errors
/// When it is neither.
pub fn parse_run(text: &str) -> Result<(Name, Option<u64>), Invalid> {
    if let Some(job) = text.strip_suffix("/runs/-") {
        return Ok((job_name(job)?, None));
    }
    let run: RunName = text
        .parse()
        .map_err(|_| Invalid::one("name", format!("{text:?} is not jobs/JOB/runs/NUMBER")))?;
    Ok((run.job, Some(run.number)))
}

fn in_collection(collection: &str, text: &str) -> Result<Name, Invalid> {
    let id = text
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| Invalid::one("name", format!("{text:?} is not {collection}/NAME")))?;
    id.parse().map_err(|error: crate::model::NotAName| Invalid::one("name", error.to_string()))
}
