//! Finds an agent that can look at something, and asks it; the next one when it does not answer.

use std::time::Duration;

use s3sync_proto::model::{Answer, Ask, Name};

use crate::grpc::Context;
use crate::plan::{Need, able};
use crate::session::{MAX_OPEN_QUESTIONS, Unanswered};
use crate::store::{Error, SessionView};

/// How long one agent may take. It makes a few requests, each of which may be tried again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Agents asked at most, one after the other.
const MAX_ASKED: usize = 3;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Silence {
    /// Nobody can look, or all who can refused. For a person.
    Nobody(String),
    /// Who was asked did not answer in time. For a person.
    Late(String),
}

/// The sessions of agents that are connected to this process.
pub(crate) async fn sessions(context: &Context) -> Result<Vec<SessionView>, Error> {
    let mut sessions = context.store.snapshot(0, context.clock.now()).await?.sessions;
    sessions.retain(|one| context.sessions.is_here(one.session));
    Ok(sessions)
}

/// Asks the least loaded agent that has what is needed, then the next ones.
pub(crate) async fn ask(
    context: &Context,
    sessions: &[SessionView],
    need: &Need<'_>,
    ask: &Ask,
) -> Result<(Name, Answer), Silence> {
    let able = able(sessions, need).map_err(Silence::Nobody)?;
    let mut silent = Vec::new();
    let mut late = false;
    for session in able.into_iter().take(MAX_ASKED) {
        match ask_one(context, session, ask).await {
            Ok(answer) => return Ok((session.agent.clone(), answer)),
            Err(Unheard { why, late: too_late }) => {
                late |= too_late;
                silent.push(format!("{} {why}", session.agent));
            }
        }
    }
    let text = silent.join("; ");
    Err(if late { Silence::Late(text) } else { Silence::Nobody(text) })
}

/// Why one agent did not answer.
pub(crate) struct Unheard {
    pub(crate) why: String,
    late: bool,
}

/// Asks one agent. A refusal is no answer.
pub(crate) async fn ask_one(
    context: &Context,
    session: &SessionView,
    ask: &Ask,
) -> Result<Answer, Unheard> {
    let unheard = |why: String| Unheard { why, late: false };
    match context.sessions.ask(session.session, ask.clone(), PATIENCE).await {
        Ok(Answer::Refused(error)) => {
            Err(unheard(format!("refused: {}: {}", error.code, error.message)))
        }
        Ok(answer) => Ok(answer),
        Err(Unanswered::Busy) => {
            Err(unheard(format!("is asked {MAX_OPEN_QUESTIONS} things already; try again")))
        }
        Err(Unanswered::Gone) => Err(unheard("left before it answered".to_owned())),
        Err(Unanswered::Late) => {
            let why = format!("did not answer within {} s", PATIENCE.as_secs());
            Err(Unheard { why, late: true })
        }
    }
}
