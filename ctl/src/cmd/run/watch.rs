//! `run watch`: one screen on a terminal, else a line for each change. A server that goes away is waited for.

use std::time::Duration;

use s3sync_proto::client::{ApiClient, ApiError, Code, WatchEvent};
use s3sync_proto::model::{Run, RunName};
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt as _;

use super::resolve;
use crate::args::{Output, RunRef};
use crate::exit::{Exit, Failure};
use crate::{Terminal, render, watch};

/// How long a server that went away is tried again, where nobody looks who could decide that.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(
    client: &mut ApiClient,
    run: Option<RunRef>,
    lines: bool,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let Some(run) = run else { return all(client, output, terminal).await };
    let people = matches!(output, Output::Table | Output::Wide);
    if people && !lines && terminal.shown && terminal.interactive {
        match client.get_run_view(&run.job, run.number).await {
            Ok(first) => {
                let name = first.run.name.clone();
                return watch::run(client, &name, first, terminal).await;
            }
            // An older server; lines it has.
            Err(error) if error.code == Code::Unimplemented => {}
            Err(error) => return Err(error.into()),
        }
    }
    let name = resolve(client, run).await?;
    one(client, &name, output, terminal).await
}

/// A line for each change of one run, until it has ended.
async fn one(
    client: &mut ApiClient,
    name: &RunName,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let mut shown: Option<Run> = None;
    let mut heard = Instant::now();
    loop {
        let error = match follow(client, name, &mut shown, output, terminal).await {
            Ok(Some(exit)) => return Ok(exit),
            // The stream ended early: the server is stopping.
            Ok(None) => None,
            Err(Watch::Local(failure)) => return Err(failure),
            Err(Watch::Server(error, _)) if error.code != Code::Unavailable => {
                return Err(error.into());
            }
            Err(Watch::Server(error, at)) => {
                heard = at.unwrap_or(heard);
                Some(error)
            }
        };
        if let Some(error) = error.filter(|_| heard.elapsed() >= SERVER_PATIENCE) {
            return Err(error.into());
        }
        sleep(RETRY_PAUSE).await;
    }
}

enum Watch {
    /// The server, and when it was heard last in this try.
    Server(ApiError, Option<Instant>),
    Local(Failure),
}

/// Follows until the run has ended or the stream does. What was shown before the stream broke is not shown again.
async fn follow(
    client: &mut ApiClient,
    name: &RunName,
    shown: &mut Option<Run>,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Option<Exit>, Watch> {
    let events = client.watch_run(&name.job, name.number).await;
    let mut events = std::pin::pin!(events.map_err(|error| Watch::Server(error, None))?);
    let mut heard = None;
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| Watch::Server(error, heard))?;
        heard = Some(Instant::now());
        let (WatchEvent::Snapshot(run) | WatchEvent::Changed(run)) = event else { continue };
        if shown.as_ref() != Some(&run) {
            show(&run, output, terminal).map_err(Watch::Local)?;
        }
        let state = run.state;
        *shown = Some(run);
        if state.is_terminal() {
            return Ok(Some(Exit::of_run(state)));
        }
    }
    Ok(None)
}

/// A line for each change of any run, until interrupted.
async fn all(
    client: &mut ApiClient,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let mut events = std::pin::pin!(client.watch_runs(None).await?);
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Snapshot(run) if run.state.is_terminal() => {}
            WatchEvent::Snapshot(run) | WatchEvent::Changed(run) => show(&run, output, terminal)?,
            WatchEvent::SnapshotEnd => {}
        }
    }
    Ok(Exit::Done)
}

fn show(run: &Run, output: Output, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match output {
        Output::Table | Output::Wide => writeln!(terminal.out, "{}", render::progress_line(run))?,
        Output::Json | Output::Jsonl => {
            terminal.out.write_all(render::one(run, Output::Jsonl).as_bytes())?;
        }
        Output::Yaml => {
            terminal.out.write_all(format!("---\n{}", render::one(run, output)).as_bytes())?;
        }
    }
    Ok(())
}
