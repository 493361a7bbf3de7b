//! `job plan`: what a run would do.

use std::path::Path;

use s3sync_proto::client::ApiClient;
use s3sync_proto::model::{JobPlan, JobSpec, Name};
use tokio::time::{Duration, Instant};
use tokio_stream::StreamExt as _;

use crate::Terminal;
use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::manifest::{self, Resource};
use crate::render;

/// Progress lines come at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Plans a job as it is.
pub(crate) async fn run(
    client: &mut ApiClient,
    name: &Name,
    quiet: bool,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    one(client, name, None, quiet, output, terminal).await
}

/// Plans the jobs of files as they would be.
pub(crate) async fn of_files(
    client: &mut ApiClient,
    file: &Path,
    quiet: bool,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let documents = manifest::read(file).map_err(crate::cmd::apply::bad_input)?;
    let jobs: Vec<_> = documents
        .into_iter()
        .filter_map(|document| match document.resource {
            Resource::Job(spec) => Some((document.name, spec)),
            Resource::Endpoint(_) | Resource::Queue(_) => None,
        })
        .collect();
    if jobs.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is no job in these files"));
    }
    let mut exit = Exit::Done;
    for (name, spec) in jobs {
        if let Exit::Precondition = one(client, &name, Some(&spec), quiet, output, terminal).await?
        {
            exit = Exit::Precondition;
        }
    }
    Ok(exit)
}

/// A plan for people, without progress.
pub(crate) async fn plan_of(
    client: &mut ApiClient,
    name: &Name,
    spec: Option<&JobSpec>,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    one(client, name, spec, true, Output::Table, terminal).await
}

async fn one(
    client: &mut ApiClient,
    name: &Name,
    spec: Option<&JobSpec>,
    quiet: bool,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let every = output == Output::Jsonl;
    let mut messages = std::pin::pin!(client.plan_job(name, spec, every).await?);
    let mut shown = Instant::now();
    let mut last: Option<JobPlan> = None;
    while let Some(message) = messages.next().await {
        let (plan, differences) = message?;
        for difference in &differences {
            terminal.out.write_all(render::difference(difference).as_bytes())?;
        }
        if !quiet && !plan.complete && shown.elapsed() >= LINE_INTERVAL {
            shown = Instant::now();
            writeln!(terminal.err, "{}", render::plan_progress(&plan))?;
        }
        last = Some(plan);
    }
    let Some(plan) = last.filter(|plan| plan.complete) else {
        return Err(Failure::new(Exit::Unreachable, "the plan ended early; ask again"));
    };
    if every {
        // The differences are the data; what they add up to is for whoever looks on.
        if !quiet {
            terminal.err.write_all(render::plan(&plan, Output::Table).as_bytes())?;
        }
    } else {
        terminal.out.write_all(render::plan(&plan, output).as_bytes())?;
    }
    Ok(if plan.has_problems() { Exit::Precondition } else { Exit::Done })
}
