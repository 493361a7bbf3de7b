//! GetRunView: how a run stands by the store, and what its agents say that they do.

use std::time::Duration;

use futures_util::future::join_all;
use s3sync_proto::model::{Activity, Answer, Ask, Name, RunView};

use super::Context;
use crate::session::Unanswered;
use crate::store::{Error, SessionId};

/// An agent answers from memory. Whoever watches looks every second, so one that does not is not waited for longer.
const PATIENCE: Duration = Duration::from_millis(800);

pub(super) async fn of_run(
    context: &Context,
    job: &Name,
    number: Option<u64>,
) -> Result<RunView, Error> {
    let now = context.clock.now();
    let (mut view, sessions) = context.store.run_view(job, number, now).await?;
    let ask = Ask::Activity(view.run.name.clone());
    let answers = join_all(sessions.into_iter().map(|session| one(context, session, ask.clone())));
    for (agent, activity) in view.agents.iter_mut().zip(answers.await) {
        agent.activity = activity;
    }
    Ok(view)
}

async fn one(context: &Context, session: Option<SessionId>, ask: Ask) -> Result<Activity, String> {
    let silent = |why: &str| Err(why.to_owned());
    let Some(session) = session else {
        return silent("it is of a version that does not tell what it does");
    };
    match context.sessions.ask(session, ask, PATIENCE).await {
        Ok(Answer::Active(activity)) => Ok(*activity),
        Ok(Answer::Refused(error)) => Err(error.message),
        Ok(
            Answer::Explained(_) | Answer::Probed { .. } | Answer::Planned(_) | Answer::SetUp(_),
        ) => silent("it answered something else"),
        Err(Unanswered::Busy) => silent("it is asked too many things at once"),
        Err(Unanswered::Gone) => silent("it is not connected"),
        Err(Unanswered::Late) => silent("it does not answer"),
    }
}
