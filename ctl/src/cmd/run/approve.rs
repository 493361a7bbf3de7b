//! `run approve`: shows what would be deleted, asks on a terminal, and approves exactly what was shown.

use std::io::BufRead as _;

use s3sync_proto::client::ApiClient;
use s3sync_proto::model::{DeleteReview, Run, RunState, Trigger};

use super::get;
use crate::Terminal;
use crate::args::{Output, RunRef};
use crate::exit::{Exit, Failure};
use crate::render;

pub(super) async fn run(
    client: &mut ApiClient,
    run: RunRef,
    etag: Option<String>,
    yes: bool,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let shown = client.get_run(&run.job, run.number).await?;
    let review = match &shown.deletes {
        // A run of events goes on while deletes of it wait.
        Some(review)
            if shown.state == RunState::AwaitingApproval || shown.trigger == Trigger::Events =>
        {
            review
        }
        _ => {
            let text = format!(
                "{} is {}; there is nothing to approve",
                render::run_label(&shown.name),
                render::run_state(shown.state)
            );
            return Err(Failure::new(Exit::Precondition, text));
        }
    };
    for line in render::review_lines(&shown, review) {
        writeln!(terminal.err, "{line}")?;
    }
    if let Some(etag) = etag.filter(|etag| *etag != review.etag) {
        let text =
            format!("this is not what {etag} was: it is {} now; look at it again", review.etag);
        return Err(Failure::new(Exit::Conflict, text));
    }
    if !yes && !confirmed(&shown, review, terminal)? {
        return Err(Failure::new(Exit::Error, "nothing was approved"));
    }
    let name = &shown.name;
    let approved = client.approve_run(&name.job, Some(name.number), &review.etag).await?;
    get::one(&approved, output, terminal)
}

fn confirmed(
    run: &Run,
    review: &DeleteReview,
    terminal: &mut Terminal<'_>,
) -> Result<bool, Failure> {
    let keys: u64 = review.destinations.iter().map(|share| share.extra).sum();
    let label = render::run_label(&run.name);
    if !terminal.interactive {
        let text = format!("lets {label} delete {keys} keys; say --yes to do it");
        return Err(Failure::new(Exit::Usage, text));
    }
    write!(terminal.err, "Let {label} delete {keys} keys? [y/N] ")?;
    terminal.err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
