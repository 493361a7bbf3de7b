//! Resource names, as they stand in requests. A problem is reported for the field `name`; where a request calls the
//! field otherwise, [`Invalid::at`] says so.

use super::problems::quoted;
use crate::model::{Invalid, Name, NotAName, RunName};

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

/// Name of a queue for the wire.
#[must_use]
pub fn format_queue(name: &Name) -> String {
    format!("queues/{name}")
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

/// `queues/{queue}`.
///
/// # Errors
/// When it is not of that form.
pub fn queue_name(text: &str) -> Result<Name, Invalid> {
    in_collection("queues", text)
}

/// `agents/{agent}`.
///
/// # Errors
/// When it is not of that form.
pub fn agent_name(text: &str) -> Result<Name, Invalid> {
    in_collection("agents", text)
}

/// The field `parent`: `jobs/{job}`, or `jobs/-` for all jobs (`None`).
///
/// # Errors
/// When it is neither.
pub fn parse_job_parent(text: &str) -> Result<Option<Name>, Invalid> {
    if text == "jobs/-" {
        return Ok(None);
    }
    job_name(text).map(Some).map_err(|invalid| invalid.at("parent"))
}

/// `jobs/{job}/runs/{number}`, or `jobs/{job}/runs/-` for the newest (`None`).
///
/// # Errors
/// When it is neither.
pub fn parse_run(text: &str) -> Result<(Name, Option<u64>), Invalid> {
    if let Some(job) = text.strip_suffix("/runs/-") {
        return Ok((job_name(job)?, None));
    }
    let run: RunName = text.parse().map_err(|_| {
        Invalid::one("name", problem(text, "jobs/JOB/runs/NUMBER or jobs/JOB/runs/-"))
    })?;
    Ok((run.job, Some(run.number)))
}

fn in_collection(collection: &str, text: &str) -> Result<Name, Invalid> {
    let id = text
        .strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| Invalid::one("name", problem(text, &format!("{collection}/NAME"))))?;
    id.parse().map_err(|error: NotAName| Invalid::one("name", error.to_string()))
}

fn problem(text: &str, form: &str) -> String {
    if text.is_empty() {
        format!("is missing; use {form}")
    } else {
        format!("{} is not {form}", quoted(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_written() {
        let name: Name = "a-1".parse().unwrap();
        assert_eq!(endpoint_name(&format_endpoint(&name)), Ok(name.clone()));
        assert_eq!(job_name(&format_job(&name)), Ok(name.clone()));
        assert_eq!(agent_name(&format_agent(&name)), Ok(name.clone()));
        assert_eq!(parse_job_parent("jobs/a-1"), Ok(Some(name.clone())));
        assert_eq!(parse_job_parent("jobs/-"), Ok(None));
        assert_eq!(parse_run("jobs/a-1/runs/7"), Ok((name.clone(), Some(7))));
        assert_eq!(parse_run("jobs/a-1/runs/-"), Ok((name, None)));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "a", "endpoints/a", "jobs/", "jobs/-", "jobs/A", "jobs/a/b", "/jobs/a"] {
            assert!(job_name(text).is_err(), "{text:?}");
        }
        // A run has one name only, so that a name can be compared as text.
        for text in
            ["", "jobs/a", "jobs/a/runs/", "jobs/a/runs/0", "jobs/a/runs/01", "jobs/a/runs/+1"]
        {
            assert!(parse_run(text).is_err(), "{text:?}");
        }
        for text in ["jobs/-/runs/-", "jobs/-/runs/1", "jobs/a/runs/-/runs/-"] {
            assert!(parse_run(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_problem_names_the_field_of_the_request() {
        let field = |invalid: Invalid| invalid.violations[0].field.clone();
        assert_eq!(parse_run("x").map_err(field), Err("name".to_owned()));
        assert_eq!(parse_job_parent("x").map_err(field), Err("parent".to_owned()));
    }
}
