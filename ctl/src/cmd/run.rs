//! `run`.

mod approve;
mod failures;
mod watch;

pub(crate) use failures::advice;
use s3sync_proto::client::ApiClient;
use s3sync_proto::json::Resource as _;
use s3sync_proto::model::RunName;

use super::{get, wait};
use crate::Terminal;
use crate::args::{Output, RunCommand, RunRef};
use crate::connect::new_request_id;
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs shown by `run list`.
const LISTED_RUNS: u32 = 50;

pub(crate) async fn run(
    client: &mut ApiClient,
    command: RunCommand,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    match command {
        RunCommand::List { job } => {
            let page = client.list_runs(job.as_ref(), LISTED_RUNS, "").await?;
            get::many(&page.items, output, terminal)
        }
        RunCommand::Get { run } => {
            get::one(&client.get_run(&run.job, run.number).await?, output, terminal)
        }
        RunCommand::Watch { run, lines, term } => {
            // A terminal that cannot place a text says so by its name (terminfo(5), "dumb").
            let lines = lines || term.is_none_or(|term| term.is_empty() || term == "dumb");
            watch::run(client, run, lines, output, terminal).await
        }
        RunCommand::Report { run } => {
            let report = client.get_run_report(&run.job, run.number).await?;
            let text = match output {
                Output::Table | Output::Wide => render::report(&report),
                Output::Json | Output::Jsonl | Output::Yaml => {
                    render::value(&report.to_json(), output)
                }
            };
            terminal.out.write_all(text.as_bytes())?;
            Ok(Exit::Done)
        }
        RunCommand::Wait { run, patience } => {
            // A server that goes away is waited for, but not one that was never there.
            let name = client.get_run(&run.job, run.number).await?.name;
            wait::run(client, &name, patience, output, terminal).await
        }
        RunCommand::Cancel { run } => {
            let run = client.cancel_run(&run.job, run.number).await?;
            get::one(&run, output, terminal)
        }
        RunCommand::Pause { run } => {
            get::one(&client.pause_run(&run.job, run.number).await?, output, terminal)
        }
        RunCommand::Resume { run } => {
            get::one(&client.resume_run(&run.job, run.number).await?, output, terminal)
        }
        RunCommand::Approve { run, etag, yes } => {
            approve::run(client, run, etag, yes, output, terminal).await
        }
        RunCommand::Retry { run, wait, patience } => {
            let id = Some(new_request_id());
            let run = client.retry_run_failures(&run.job, run.number, id).await?;
            if !wait {
                return get::one(&run, output, terminal);
            }
            wait::run(client, &run.name, patience, output, terminal).await
        }
        RunCommand::Failures { run, class, keys, limit } => {
            let grouped = output == Output::Table && class.is_none() && !keys;
            if grouped {
                return failures::groups(client, &run, terminal).await;
            }
            failures::keys(client, &run, class, limit, output, terminal).await
        }
    }
}

/// The full name of a run, also when only its job was named.
async fn resolve(client: &mut ApiClient, run: RunRef) -> Result<RunName, Failure> {
    match run.number {
        Some(number) => Ok(RunName { job: run.job, number }),
        None => Ok(client.get_run(&run.job, None).await?.name),
    }
}
