//! `delete` of endpoints, queues and jobs. It asks on a terminal and needs `--yes` elsewhere.

use std::io::BufRead as _;

use s3sync_proto::client::ApiClient;
use s3sync_proto::model::Name;

use crate::Terminal;
use crate::args::Kind;
use crate::exit::{Exit, Failure};

pub(crate) async fn run(
    client: &mut ApiClient,
    kind: Kind,
    name: &Name,
    yes: bool,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let (what, loss) = match kind {
        Kind::Endpoint => ("endpoint", "what was learned of its buckets"),
        Kind::Queue => ("queue", "its settings; the queue itself stays in SQS"),
        Kind::Job => ("job", "the record of its runs"),
        Kind::Agent => {
            return Err(Failure::new(
                Exit::Usage,
                "an agent is stopped where it runs, not deleted here",
            ));
        }
        Kind::Run => {
            return Err(Failure::new(
                Exit::Usage,
                "a run goes with its job; cancel it with `run cancel`",
            ));
        }
    };
    // Shows that it exists, and pins what is deleted to what was seen.
    let etag = match kind {
        Kind::Endpoint => client.get_endpoint(name).await?.etag,
        Kind::Queue => client.get_queue(name).await?.etag,
        Kind::Job | Kind::Agent | Kind::Run => client.get_job(name).await?.etag,
    };
    if !yes && !confirmed(what, name, loss, terminal)? {
        return Err(Failure::new(Exit::Error, "nothing was deleted"));
    }
    match kind {
        Kind::Endpoint => client.delete_endpoint(name, Some(etag)).await?,
        Kind::Queue => client.delete_queue(name, Some(etag)).await?,
        Kind::Job | Kind::Agent | Kind::Run => client.delete_job(name, Some(etag)).await?,
    }
    writeln!(terminal.out, "{what}/{name} deleted")?;
    Ok(Exit::Done)
}

fn confirmed(
    what: &str,
    name: &Name,
    loss: &str,
    terminal: &mut Terminal<'_>,
) -> Result<bool, Failure> {
    if !terminal.interactive {
        return Err(Failure::new(
            Exit::Usage,
            format!("deletes {what} {name} and {loss}; say --yes to do it"),
        ));
    }
    write!(
        terminal.err,
        "Delete {what} {name} and {loss}? Objects in S3 stay as they are. [y/N] "
    )?;
    terminal.err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
