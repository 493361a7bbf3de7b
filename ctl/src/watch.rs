//! A run that is watched on a terminal: one steady screen, drawn anew each second from a look at the run.

mod crew;
mod draw;
mod layout;
mod limit;
mod lines;
mod scene;
mod screen;
mod strip;
mod tone;

use std::time::Duration;

use s3sync_proto::client::{ApiClient, ApiError, Code};
use s3sync_proto::model::{FailureGroup, Run, RunName, RunView};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Terminal;
use crate::exit::{Exit, Failure};
use crate::render;
use scene::Scene;
use screen::{Input, Screen};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server that does not answer within this is gone.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// Failures are grouped at most this often: there can be many.
const GROUP_EVERY: Duration = Duration::from_secs(5);

/// How watching ended.
enum End {
    /// The run has ended.
    Ended,
    /// Somebody left.
    Left,
    /// This process was told to end.
    Told,
}

/// What one look brings.
struct Look {
    view: RunView,
    /// When they were asked for.
    failures: Option<Vec<FailureGroup>>,
}

/// Watches until the run has ended or somebody leaves; the exit code says how. A server that goes away is waited for.
pub(crate) async fn run(
    client: &ApiClient,
    name: &RunName,
    first: RunView,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let mut scene = Scene::new(first);
    let end = {
        let mut screen = Screen::take()?;
        follow(client, name, &mut scene, &mut screen).await?
    };
    let run = scene.view.run;
    let label = render::run_label(name);
    match end {
        End::Ended => {
            terminal.out.write_all(render::one(&run, crate::args::Output::Table).as_bytes())?;
            Ok(Exit::of_run(run.state))
        }
        End::Left => {
            writeln!(terminal.out, "{}", render::progress_line(&run))?;
            writeln!(terminal.err, "{label} goes on; come back with: s3syncctl run watch {label}")?;
            Ok(left(&run))
        }
        End::Told => {
            writeln!(terminal.err, "ended by a signal; {label} goes on")?;
            Ok(Exit::Error)
        }
    }
}

/// Who leaves a run that waits for a person is told so.
fn left(run: &Run) -> Exit {
    if run.state.waits_for_a_person() { Exit::Precondition } else { Exit::Done }
}

async fn follow(
    client: &ApiClient,
    name: &RunName,
    scene: &mut Scene,
    screen: &mut Screen,
) -> Result<End, Failure> {
    let palette = Screen::palette();
    let mut grouped: Option<(Instant, u64)> = None;
    let mut gone: Option<Instant> = None;
    let mut due = Instant::now();
    loop {
        let now = Instant::now();
        if let Some((since, _)) = &mut scene.gone {
            *since = gone.map_or(Duration::ZERO, |gone| now.duration_since(gone));
        }
        screen.draw(|size| draw::draw(scene, size, palette))?;
        if scene.view.run.state.is_terminal() {
            return Ok(End::Ended);
        }
        let failed = scene.view.run.totals().not_in_step();
        let group = grouped
            .is_none_or(|(at, before)| failed != before && now.duration_since(at) >= GROUP_EVERY);
        let looked = async {
            sleep_until(due).await;
            look(client.clone(), name, group && failed > 0).await
        };
        tokio::select! {
            input = screen.input() => match input {
                Input::Leave => return Ok(End::Left),
                Input::End => return Ok(End::Told),
                Input::Draw => {}
            },
            looked = looked => {
                due = Instant::now() + LOOK_EVERY;
                match looked {
                    Ok(Some(Look { view, failures })) => {
                        gone = None;
                        scene.look(view);
                        if let Some(failures) = failures {
                            scene.failures = failures;
                            grouped = Some((Instant::now(), failed));
                        }
                    }
                    // Deleted with its job, or not for this token any more: there is nothing to wait for.
                    Err(error) if !error.unreachable() && error.code != Code::Unavailable => {
                        return Err(error.into());
                    }
                    Err(error) => {
                        gone.get_or_insert_with(Instant::now);
                        scene.gone = Some((Duration::ZERO, error.message));
                    }
                    Ok(None) => {
                        gone.get_or_insert_with(Instant::now);
                        let text = format!("it does not answer within {} s", LOOK_PATIENCE.as_secs());
                        scene.gone = Some((Duration::ZERO, text));
                    }
                }
            }
        }
    }
}

/// Looks once; `None`: there was no answer in time.
async fn look(
    mut client: ApiClient,
    name: &RunName,
    group: bool,
) -> Result<Option<Look>, ApiError> {
    let looked = async {
        let view = client.get_run_view(&name.job, Some(name.number)).await?;
        let failures = if group {
            Some(client.group_failures(&name.job, Some(name.number)).await?.0)
        } else {
            None
        };
        Ok(Look { view, failures })
    };
    timeout(LOOK_PATIENCE, looked).await.ok().transpose()
}

#[cfg(test)]
mod tests;
