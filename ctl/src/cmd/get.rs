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

/// The first items of a list, up to `limit`, by as many pages as that takes, and whether there are more.
pub(super) async fn first<T>(
    limit: u32,
    page_size: u32,
    mut page: impl AsyncFnMut(u32, String) -> Result<Page<T>, ApiError>,
) -> Result<(Vec<T>, bool), Failure> {
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let room = limit as usize - items.len();
        let Some(wanted) = u32::try_from(room).ok().filter(|room| *room > 0) else {
            return Ok((items, true));
        };
        let Page { items: found, next } = page(wanted.min(page_size), token).await?;
        items.extend(found.into_iter().take(room));
        match next {
            Some(next) => token = next,
            None => return Ok((items, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of ten numbers, and what was asked for.
    async fn of_ten(limit: u32) -> (Vec<usize>, bool, Vec<(u32, String)>) {
        let mut asked = Vec::new();
        let page = async |size: u32, token: String| {
            asked.push((size, token.clone()));
            let from: usize = token.parse().unwrap_or_default();
            let until = (from + size as usize).min(10);
            let next = (until < 10).then(|| until.to_string());
            Ok(Page { items: (from..until).collect(), next })
        };
        let (items, more) = first(limit, 4, page).await.unwrap();
        (items, more, asked)
    }

    #[tokio::test]
    async fn no_more_is_asked_for_than_is_wanted() {
        for limit in 0..12 {
            let (items, more, asked) = of_ten(limit).await;
            assert_eq!(items, (0..limit.min(10) as usize).collect::<Vec<_>>(), "{limit}");
            assert_eq!(more, limit < 10, "{limit}");
            assert_eq!(asked.len(), (limit.min(10) as usize).div_ceil(4), "{limit}: {asked:?}");
        }
        let asked = of_ten(6).await.2;
        assert_eq!(asked, [(4, String::new()), (2, "4".to_owned())]);
    }
}
