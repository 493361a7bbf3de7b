//! `job edit`: the settings in an editor, and back, unless somebody else changed them meanwhile.

use std::path::Path;
use std::process::Command;

use s3sync_proto::client::{ApiClient, Precondition, WriteOptions};
use s3sync_proto::model::{Job, Name};

use crate::Terminal;
use crate::cmd::apply::bad_input;
use crate::exit::{Exit, Failure};
use crate::manifest::{self, Resource};
use crate::render::{self, run_label};

const HEAD: &str =
    "# Change what is to be changed, save and leave. Leave without a change to change nothing.\n";

pub(super) async fn run(
    client: &mut ApiClient,
    name: &Name,
    editor: &str,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let job = client.get_job(name).await?;
    // Readable by nobody else, and gone with this value unless the text is still of use.
    let folder = tempfile::Builder::new().prefix("s3syncctl-").tempdir()?;
    let file = folder.path().join(format!("{name}.yaml"));
    std::fs::write(&file, format!("{HEAD}{}", render::document(&job)))?;
    open(editor, &file)?;
    let changed = async { change(client, &job, &file).await }.await;
    match changed {
        Ok(None) => {
            writeln!(terminal.out, "job/{name} unchanged")?;
            Ok(Exit::Done)
        }
        Ok(Some(changed)) => {
            writeln!(terminal.out, "job/{name} updated")?;
            for warning in &changed.warnings {
                writeln!(terminal.err, "warning: {}: {}", warning.field, warning.description)?;
            }
            going_on(client, &changed, terminal).await?;
            Ok(Exit::Done)
        }
        Err(mut failure) => {
            let kept = folder.keep().join(format!("{name}.yaml"));
            let kept = kept.display();
            failure
                .lines
                .push(format!("your text is in {kept}; mend it and `s3syncctl apply -f {kept}`"));
            Err(failure)
        }
    }
}

fn open(editor: &str, file: &Path) -> Result<(), Failure> {
    // Through a shell, since an editor may be given with arguments.
    let status =
        Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file).status()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Error,
        format!("the editor `{editor}` ended with {status}; nothing was changed"),
    ))
}

/// Writes the edited settings. `None`: they are as they were.
async fn change(client: &mut ApiClient, job: &Job, file: &Path) -> Result<Option<Job>, Failure> {
    let mut documents = manifest::read(file).map_err(bad_input)?;
    let only_one = || {
        Failure::new(Exit::Usage, format!("the text must be the one document of job {}", job.name))
    };
    let document = documents.pop().filter(|_| documents.is_empty()).ok_or_else(only_one)?;
    let Resource::Job(spec) = &document.resource else { return Err(only_one()) };
    if document.name != job.name {
        return Err(Failure::new(Exit::Usage, "a job cannot be renamed; create another one"));
    }
    if **spec == job.spec {
        return Ok(None);
    }
    let seen = Precondition::Exists(Some(job.etag.clone()));
    let written = client.put_job(&job.name, spec, seen, WriteOptions::default()).await;
    match written {
        Ok(changed) => Ok(Some(changed)),
        Err(error) if !error.violations.is_empty() => {
            let located = error.violations.iter().map(|violation| document.locate(violation));
            Err(bad_input(located.collect()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says that a run that is going on keeps what it started with.
async fn going_on(
    client: &mut ApiClient,
    job: &Job,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let Some(latest) = &job.latest_run else { return Ok(()) };
    let run = client.get_run(&latest.job, Some(latest.number)).await?;
    if !run.state.is_terminal() {
        let label = run_label(&run.name);
        writeln!(terminal.err, "{label} is going on and keeps the settings it started with")?;
    }
    Ok(())
}
