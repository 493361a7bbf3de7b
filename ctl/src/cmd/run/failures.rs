//! `run failures`: what could not be brought in step, why, and what to do about it.

use std::collections::BTreeSet;

use s3sync_proto::client::ApiClient;
use s3sync_proto::model::FailureClass;

use crate::Terminal;
use crate::args::{Class, Output, RunRef};
use crate::cmd::get;
use crate::exit::{Exit, Failure};
use crate::render;

/// Failures asked for at once.
const PAGE_SIZE: u32 = 1_000;

/// By class and code, with a line of advice for each class.
pub(super) async fn groups(
    client: &mut ApiClient,
    run: &RunRef,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let (groups, total) = client.group_failures(&run.job, run.number).await?;
    get::many(&groups, Output::Table, terminal)?;
    if groups.is_empty() {
        return Ok(Exit::Done);
    }
    let label = match run.number {
        Some(number) => format!("{}/{number}", run.job),
        None => run.job.to_string(),
    };
    let mut text = String::from("\n");
    let classes: BTreeSet<_> = groups.iter().map(|group| group.sample.class).collect();
    for class in classes {
        text.push_str(&format!("{}: {}\n", render::class(class), advice(class)));
    }
    text.push_str(&render::next_steps(&label));
    let listed: u64 = groups.iter().map(|group| group.size).sum();
    if listed < total {
        text.push_str(&format!(
            "{listed} of {total} failures are listed; a retry looks at everything\n"
        ));
    }
    terminal.err.write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// Key by key.
pub(super) async fn keys(
    client: &mut ApiClient,
    run: &RunRef,
    class: Option<Class>,
    limit: u32,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let class = class.map(FailureClass::from);
    let mut total = 0;
    let page = async |size, token: String| {
        let (page, all) = client.list_failures(&run.job, run.number, class, size, &token).await?;
        total = all;
        Ok(page)
    };
    let (items, cut_off) = get::first(limit, PAGE_SIZE, page).await?;
    get::many(&items, output, terminal)?;
    if cut_off || class.is_none() && (items.len() as u64) < total {
        writeln!(terminal.err, "{} of {total} failures are shown", items.len())?;
    }
    Ok(Exit::Done)
}

/// What to do about failures of a class.
pub(crate) fn advice(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Throttled => {
            "the endpoint kept asking to slow down; try again when it is less busy, or limit the job"
        }
        FailureClass::Transient => "failed in a way that may pass; try again",
        FailureClass::Changed => {
            "the object kept changing while it was copied; try again when it is quiet"
        }
        FailureClass::Permanent => {
            "refused, and trying again changes nothing; mend the cause (the code and message say it) first"
        }
        FailureClass::Archived => {
            "must be restored at the source (RestoreObject) before it can be read"
        }
        FailureClass::Poison => {
            "agents died whenever they worked on it; look at their logs and report it"
        }
    }
}

impl From<Class> for FailureClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Throttled => Self::Throttled,
            Class::Transient => Self::Transient,
            Class::Changed => Self::Changed,
            Class::Permanent => Self::Permanent,
            Class::Archived => Self::Archived,
            Class::Poison => Self::Poison,
        }
    }
}
