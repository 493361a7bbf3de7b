//! `job`.

mod edit;
pub(crate) mod plan;

use s3sync_proto::client::{ApiClient, Precondition, WriteOptions};
use s3sync_proto::model::{
    CompareMode, DeleteMode, DeletePolicy, Destination, Filter, JobSpec, Limits, Name,
    OverlapPolicy, Schedule, Timing,
};

use tokio_stream::StreamExt as _;

use super::{delete, get, wait};
use crate::Terminal;
use crate::args::{CreateJob, JobCommand, Kind, Output};
use crate::connect::new_request_id;
use crate::exit::{Exit, Failure};
use crate::manifest::parse_location;
use crate::render;

pub(crate) async fn run(
    client: &mut ApiClient,
    command: JobCommand,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    match command {
        JobCommand::Create(create) => self::create(client, *create, output, terminal).await,
        JobCommand::List => get::run(client, Kind::Job, None, output, terminal).await,
        JobCommand::Get { name } => {
            get::run(client, Kind::Job, Some(&name), output, terminal).await
        }
        JobCommand::Pause { name } => {
            get::one(&client.set_job_paused(&name, true).await?, output, terminal)
        }
        JobCommand::Resume { name } => {
            get::one(&client.set_job_paused(&name, false).await?, output, terminal)
        }
        JobCommand::Edit { name, editor } => edit::run(client, &name, &editor, terminal).await,
        JobCommand::Delete { name, force, yes } => {
            if force {
                cancel(client, &name, yes, terminal).await?;
            }
            delete::run(client, Kind::Job, &name, yes, terminal).await
        }
        JobCommand::Plan { name, file, quiet } => match (name, file) {
            (Some(name), _) => plan::run(client, &name, quiet, output, terminal).await,
            (None, Some(file)) => plan::of_files(client, &file, quiet, output, terminal).await,
            (None, None) => Err(Failure::new(Exit::Usage, "name a job, or files with -f")),
        },
        JobCommand::Run { name, wait, patience } => {
            let run = client.run_job(&name, Some(new_request_id())).await?;
            if !wait {
                return get::one(&run, output, terminal);
            }
            wait::run(client, &run.name, patience, output, terminal).await
        }
    }
}

/// Cancels the run of a job that is going on, and waits for its end.
async fn cancel(
    client: &mut ApiClient,
    job: &Name,
    yes: bool,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let Some(latest) = client.get_job(job).await?.latest_run else { return Ok(()) };
    let run = client.get_run(job, Some(latest.number)).await?;
    if run.state.is_terminal() {
        return Ok(());
    }
    if !yes && !terminal.interactive {
        let label = render::run_label(&run.name);
        return Err(Failure::new(
            Exit::Usage,
            format!("cancels {label} and deletes job {job}; say --yes to do it"),
        ));
    }
    client.cancel_run(job, Some(latest.number)).await?;
    let mut events = std::pin::pin!(client.watch_run(job, latest.number).await?);
    while let Some(event) = events.next().await {
        event?;
    }
    writeln!(terminal.err, "{} is cancelled", render::run_label(&latest))?;
    Ok(())
}

async fn create(
    client: &mut ApiClient,
    create: CreateJob,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let dry_run = create.dry_run;
    let (name, spec) = spec_of(create).map_err(|lines| Failure { exit: Exit::Usage, lines })?;
    let options = WriteOptions { validate_only: dry_run, request_id: Some(new_request_id()) };
    let job = client.put_job(&name, &spec, Precondition::Absent, options).await?;
    for warning in &job.warnings {
        writeln!(terminal.err, "warning: {}: {}", warning.field, warning.description)?;
    }
    match output {
        Output::Table | Output::Wide => {
            let done = if dry_run { "would be created" } else { "created" };
            writeln!(terminal.out, "job/{name} {done}")?;
            Ok(Exit::Done)
        }
        Output::Json | Output::Jsonl | Output::Yaml => get::one(&job, output, terminal),
    }
}

/// The settings the flags stand for, or every problem of them.
fn spec_of(create: CreateJob) -> Result<(s3sync_proto::model::Name, JobSpec), Vec<String>> {
    let CreateJob { name, source, destinations, compare, every, queue, deletes, dry_run: _ } =
        create;
    let mut problems = Vec::new();
    let mut keep = |flag: &str, problem: String| problems.push(format!("{flag}: {problem}"));
    let source = parse_location(&source).map_err(|problem| keep("--source", problem)).ok();
    let destinations: Vec<_> = destinations
        .iter()
        .filter_map(|text| {
            parse_location(text).map_err(|problem| keep("--destination", problem)).ok()
        })
        .map(|location| Destination {
            location,
            storage_class: None,
            agent_labels: std::collections::BTreeMap::new(),
            encryption: None,
        })
        .collect();
    let compare = match compare.as_deref() {
        None | Some("default") => CompareMode::Default,
        Some("size") => CompareMode::Size,
        Some("etag") => CompareMode::Etag,
        Some("checksum") => CompareMode::Checksum,
        Some("full") => CompareMode::Full,
        Some(other) => {
            keep(
                "--compare",
                format!("{other:?} is not known; use default, size, etag, checksum or full"),
            );
            CompareMode::Default
        }
    };
    let mode = match deletes.as_deref() {
        None | Some("keep") => DeleteMode::Keep,
        Some("mirror") => DeleteMode::Mirror,
        Some(other) => {
            keep("--deletes", format!("{other:?} is not known; use keep or mirror"));
            DeleteMode::Keep
        }
    };
    let schedule = every.map(|every| Schedule {
        timing: Some(Timing::Every(every)),
        at_start: true,
        jitter: std::time::Duration::ZERO,
        overlap: OverlapPolicy::Skip,
    });
    match source {
        Some(source) if problems.is_empty() => Ok((
            name,
            JobSpec {
                source,
                destinations,
                filter: Filter::default(),
                compare,
                deletes: DeletePolicy { mode, ..DeletePolicy::default() },
                schedule,
                events: queue,
                limits: Limits::default(),
                paused: false,
            },
        )),
        _ => Err(problems),
    }
}
