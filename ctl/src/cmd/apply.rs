//! `apply`: what files declare becomes so. Everything is checked before anything is changed.

use std::collections::BTreeSet;
use std::path::Path;

use s3sync_proto::client::{ApiClient, ApiError, Code, Precondition, WriteOptions};
use s3sync_proto::model::{Name, Violation, Warning};

use super::job::plan::plan_of;
use crate::Terminal;
use crate::exit::{Exit, Failure};
use crate::manifest::{self, Document, Problem, Resource};

/// What is to be done with a document.
struct Step {
    document: Document,
    /// The etag of what exists; `None` when nothing does.
    existing: Option<String>,
    action: Action,
}

/// How far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is done.
    Write,
    /// It is only checked.
    Check,
    /// And what runs of jobs that would change would do is said, too.
    Plan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    Update,
    Nothing,
}

pub(crate) async fn run(
    client: &mut ApiClient,
    file: &Path,
    mode: Mode,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let dry_run = mode != Mode::Write;
    let mut exit = Exit::Done;
    let mut documents = manifest::read(file).map_err(bad_input)?;
    // Queues name endpoints, and jobs name both.
    documents.sort_by_key(|document| match document.resource {
        Resource::Endpoint(_) => 0,
        Resource::Queue(_) => 1,
        Resource::Job(_) => 2,
    });
    let steps = plan(client, documents).await?;
    for step in steps {
        if !dry_run && step.action != Action::Nothing {
            write(client, &step, false).await?;
        }
        let done = match (step.action, dry_run) {
            (Action::Create, false) => "created",
            (Action::Update, false) => "updated",
            (Action::Create, true) => "would be created",
            (Action::Update, true) => "would be updated",
            (Action::Nothing, _) => "unchanged",
        };
        writeln!(terminal.out, "{} {done}", step.document.label())?;
        for warning in warnings(client, &step, dry_run).await? {
            writeln!(terminal.err, "warning: {}: {}", warning.field, warning.description)?;
        }
        if let (Mode::Plan, Resource::Job(spec)) = (mode, &step.document.resource)
            && step.action != Action::Nothing
            && plan_of(client, &step.document.name, Some(spec), terminal).await? != Exit::Done
        {
            exit = Exit::Precondition;
        }
    }
    Ok(exit)
}

/// Decides what is to be done, and has the server check all of it; fails with every problem of every document.
async fn plan(client: &mut ApiClient, documents: Vec<Document>) -> Result<Vec<Step>, Failure> {
    let declared: BTreeSet<String> = documents.iter().map(Document::label).collect();
    let (mut steps, mut problems) = (Vec::new(), Vec::new());
    for document in documents {
        let step = look(client, document).await?;
        if step.action != Action::Nothing
            && let Err(error) = write(client, &step, true).await
        {
            let (found, other) = sort_out(&step.document, &declared, error);
            problems.extend(found);
            if let Some(error) = other {
                return Err(error.into());
            }
        }
        steps.push(step);
    }
    if problems.is_empty() { Ok(steps) } else { Err(bad_input(problems)) }
}

/// What the server says of a document: problems at their lines, or an error of another kind. That an endpoint or a queue
/// does not exist yet is no problem when the same files declare it.
fn sort_out(
    document: &Document,
    declared: &BTreeSet<String>,
    error: ApiError,
) -> (Vec<Problem>, Option<ApiError>) {
    if error.code != Code::InvalidArgument || error.violations.is_empty() {
        return (Vec::new(), Some(error));
    }
    let will_exist = |violation: &&Violation| {
        !named_at(document, &violation.field).is_some_and(|label| declared.contains(&label))
    };
    let problems = error
        .violations
        .iter()
        .filter(will_exist)
        .map(|violation| document.locate(violation))
        .collect();
    (problems, None)
}

/// What a path of a document names, as its own document would be labelled.
fn named_at(document: &Document, path: &str) -> Option<String> {
    let endpoint = |name: &Name| Some(format!("endpoint/{name}"));
    let job = match &document.resource {
        Resource::Endpoint(_) => return None,
        Resource::Queue(queue) if path == "endpoint" => return endpoint(&queue.endpoint),
        Resource::Queue(_) => return None,
        Resource::Job(job) => job,
    };
    if path == "events.queue" {
        return job.events.as_ref().map(|name| format!("queue/{name}"));
    }
    let place = path.strip_suffix(".endpoint")?;
    if place == "source" {
        return endpoint(&job.source.endpoint);
    }
    let index: usize = place.strip_prefix("destinations[")?.strip_suffix(']')?.parse().ok()?;
    endpoint(&job.destinations.get(index)?.location.endpoint)
}

/// Compares a document with what exists.
async fn look(client: &mut ApiClient, document: Document) -> Result<Step, Failure> {
    let found = match &document.resource {
        Resource::Endpoint(spec) => found(client.get_endpoint(&document.name).await)?
            .map(|found| (found.spec == *spec, found.etag)),
        Resource::Queue(spec) => found(client.get_queue(&document.name).await)?
            .map(|found| (found.spec == *spec, found.etag)),
        Resource::Job(spec) => found(client.get_job(&document.name).await)?
            .map(|found| (found.spec == **spec, found.etag)),
    };
    let (existing, action) = match found {
        None => (None, Action::Create),
        Some((true, etag)) => (Some(etag), Action::Nothing),
        Some((false, etag)) => (Some(etag), Action::Update),
    };
    Ok(Step { document, existing, action })
}

/// What was found, or `None` when there is nothing of that name.
pub(super) fn found<T>(answer: Result<T, ApiError>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(resource) => Ok(Some(resource)),
        Err(error) if error.code == Code::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn write(client: &mut ApiClient, step: &Step, validate_only: bool) -> Result<(), ApiError> {
    let precondition = match &step.existing {
        None => Precondition::Absent,
        Some(etag) => Precondition::Exists(Some(etag.clone())),
    };
    let options = WriteOptions { validate_only, request_id: None };
    let name = &step.document.name;
    match &step.document.resource {
        Resource::Endpoint(spec) => {
            client.put_endpoint(name, spec, precondition, options).await.map(drop)
        }
        Resource::Queue(spec) => {
            client.put_queue(name, spec, precondition, options).await.map(drop)
        }
        Resource::Job(spec) => client.put_job(name, spec, precondition, options).await.map(drop),
    }
}

async fn warnings(
    client: &mut ApiClient,
    step: &Step,
    dry_run: bool,
) -> Result<Vec<Warning>, Failure> {
    if dry_run || !matches!(step.document.resource, Resource::Job(_)) {
        return Ok(Vec::new());
    }
    Ok(client.get_job(&step.document.name).await?.warnings)
}

pub(crate) fn bad_input(problems: Vec<Problem>) -> Failure {
    let count = problems.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut lines = vec![format!("{count} problem{plural}; nothing was changed")];
    lines.extend(problems.iter().map(ToString::to_string));
    Failure { exit: Exit::Usage, lines }
}
