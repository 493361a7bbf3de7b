//! Waiting for a run's end, with progress lines. A server that goes away is waited for as well.

use std::time::Duration;

use s3sync_proto::client::{ApiClient, ApiError, Code, WatchEvent};
use s3sync_proto::model::{Run, RunName, RunState};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use super::get;
use crate::Terminal;
use crate::args::{Output, Patience};
use crate::exit::{Exit, Failure};
use crate::render;

/// Progress lines come at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
/// How long a server that went away is tried again.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Waits, prints the run as it ended, or as it waits for a person; the exit code says how.
pub(crate) async fn run(
    client: &mut ApiClient,
    name: &RunName,
    patience: Patience,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let ended = async {
        let mut lines = Lines { quiet: patience.quiet, last: None, text: String::new() };
        let mut gone_since: Option<Instant> = None;
        loop {
            match follow(client, name, &mut lines, terminal).await {
                Ok(Some(run)) => return Ok(run),
                // The stream ended early: the server is stopping; it is watched again.
                Ok(None) => {}
                Err(Watch::Local(failure)) => return Err(failure),
                Err(Watch::Server(error)) if error.code != Code::Unavailable => {
                    return Err(error.into());
                }
                Err(Watch::Server(error)) => {
                    let since = *gone_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= SERVER_PATIENCE {
                        return Err(error.into());
                    }
                }
            }
            if lines.last.is_some_and(|last| gone_since.is_some_and(|since| last > since)) {
                gone_since = None;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    };
    let run: Run = match patience.timeout {
        None => ended.await?,
        Some(timeout) => tokio::time::timeout(timeout, ended).await.map_err(|_| {
            let span = humantime::format_duration(timeout);
            Failure::new(
                Exit::Error,
                format!("{} has not ended within {span}; it goes on", render::run_label(name)),
            )
        })??,
    };
    get::one(&run, output, terminal)?;
    if run.state == RunState::Paused {
        let resume = format!("s3syncctl run resume {}", render::run_label(name));
        writeln!(terminal.err, "it is paused: {}; go on with `{resume}`", run.reason)?;
    }
    if run.state == RunState::AwaitingApproval {
        let approve = format!("s3syncctl run approve {}", render::run_label(name));
        writeln!(
            terminal.err,
            "it waits for an approval; look at it and approve it with `{approve}`"
        )?;
    }
    Ok(Exit::of_run(run.state))
}

enum Watch {
    Server(ApiError),
    Local(Failure),
}

/// Watches until the run has ended or the stream does.
async fn follow(
    client: &mut ApiClient,
    name: &RunName,
    lines: &mut Lines,
    terminal: &mut Terminal<'_>,
) -> Result<Option<Run>, Watch> {
    let mut events =
        std::pin::pin!(client.watch_run(&name.job, name.number).await.map_err(Watch::Server)?);
    while let Some(event) = events.next().await {
        let (WatchEvent::Snapshot(run) | WatchEvent::Changed(run)) =
            event.map_err(Watch::Server)?
        else {
            continue;
        };
        if run.state.is_terminal() || run.state.waits_for_a_person() {
            return Ok(Some(run));
        }
        lines.show(&run, terminal).map_err(Watch::Local)?;
    }
    Ok(None)
}

/// Progress lines: only what changed, and not too often.
struct Lines {
    quiet: bool,
    last: Option<Instant>,
    text: String,
}

impl Lines {
    fn show(&mut self, run: &Run, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let text = render::progress_line(run);
        let due = self.last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if due && text != self.text {
            self.last = Some(Instant::now());
            if !self.quiet {
                writeln!(terminal.err, "{text}")?;
            }
            self.text = text;
        }
        Ok(())
    }
}
