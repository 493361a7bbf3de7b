//! `get` and `list` of every kind.

use s3sync_proto::client::{ApiClient, ApiError, Page};
use s3sync_proto::model::Name;

use crate::Terminal;
use crate::args::{Kind, Output};
use crate::exit::{Exit, Failure};
use crate::render::{self, Show};

/// Asked for at once.
const PAGE_SIZE: u32 = 500;

pub(crate) async fn run(
    client: &mut ApiClient,
    kind: Kind,
    name: Option<&Name>,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    match (kind, name) {
        (Kind::Endpoint, Some(name)) => one(&client.get_endpoint(name).await?, output, terminal),
        (Kind::Queue, Some(name)) => one(&client.get_queue(name).await?, output, terminal),
        (Kind::Job, Some(name)) => one(&client.get_job(name).await?, output, terminal),
        (Kind::Agent, Some(name)) => one(&client.get_agent(name).await?, output, terminal),
        (Kind::Run, Some(name)) => one(&client.get_run(name, None).await?, output, terminal),
        (Kind::Endpoint, None) => {
            let items = all(async |token| client.list_endpoints(PAGE_SIZE, &token).await).await?;
            many(&items, output, terminal)
        }
        (Kind::Queue, None) => {
            let items = all(async |token| client.list_queues(PAGE_SIZE, &token).await).await?;
            many(&items, output, terminal)
        }
        (Kind::Job, None) => {
            let items = all(async |token| client.list_jobs(PAGE_SIZE, &token).await).await?;
            many(&items, output, terminal)
        }
        (Kind::Agent, None) => {
            let items = all(async |token| client.list_agents(PAGE_SIZE, &token).await).await?;
            many(&items, output, terminal)
        }
        (Kind::Run, None) => {
            let page = client.list_runs(None, PAGE_SIZE, "").await?;
            many(&page.items, output, terminal)
        }
    }
}

/// Prints one resource.
pub(super) fn one<T: Show>(
    item: &T,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    terminal.out.write_all(render::one(item, output).as_bytes())?;
    Ok(Exit::Done)
}

/// Prints a list.
pub(super) fn many<T: Show>(
    items: &[T],
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    if items.is_empty() && matches!(output, Output::Table | Output::Wide) {
        writeln!(terminal.err, "no {}", T::PLURAL)?;
        return Ok(Exit::Done);
    }
    terminal.out.write_all(render::many(items, output).as_bytes())?;
    Ok(Exit::Done)
}

/// All pages of a list.
pub(super) async fn all<T>(
    mut page: impl AsyncFnMut(String) -> Result<Page<T>, ApiError>,
) -> Result<Vec<T>, Failure> {
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let Page { items: found, next } = page(token).await?;
        items.extend(found);
        match next {
            Some(next) => token = next,
            None => return Ok(items),
        }
    }
}
