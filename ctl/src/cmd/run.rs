//! `run`.

mod approve;
mod failures;

use s3sync_proto::client::{ApiClient, WatchEvent};
use s3sync_proto::model::RunName;
use tokio_stream::StreamExt as _;

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
        RunCommand::Watch { run } => watch(client, run, output, terminal).await,
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

async fn watch(
    client: &mut ApiClient,
    run: Option<RunRef>,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let mut show = |event: WatchEvent, only_live: bool| -> Result<(), Failure> {
        let (WatchEvent::Snapshot(run) | WatchEvent::Changed(run)) = &event else { return Ok(()) };
        if only_live && matches!(event, WatchEvent::Snapshot(_)) && run.state.is_terminal() {
            return Ok(());
        }
        match output {
            Output::Table | Output::Wide => {
                writeln!(terminal.out, "{}", render::progress_line(run))?
            }
            Output::Json | Output::Jsonl => {
                terminal.out.write_all(render::one(run, Output::Jsonl).as_bytes())?
            }
            Output::Yaml => {
                terminal.out.write_all(format!("---\n{}", render::one(run, output)).as_bytes())?
            }
        }
        if !only_live && run.state.is_terminal() {
            exit = Exit::of_run(run.state);
        }
        Ok(())
    };
    match run {
        Some(run) => {
            let name = resolve(client, run).await?;
            let mut events = std::pin::pin!(client.watch_run(&name.job, name.number).await?);
            while let Some(event) = events.next().await {
                show(event?, false)?;
            }
        }
        None => {
            let mut events = std::pin::pin!(client.watch_runs(None).await?);
            while let Some(event) = events.next().await {
                show(event?, true)?;
            }
        }
    }
    Ok(exit)
}
