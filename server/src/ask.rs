//! Finds an agent that can look at something, and asks it; the next one when it does not answer.

use std::time::Duration;

use s3sync_proto::model::{
    Answer, Ask, Assignment, BucketFacts, Destination, Held, JobSpec, Location, Name, RunName, Work,
};

use crate::grpc::Context;
use crate::plan::{Need, able};
use crate::session::{MAX_OPEN_QUESTIONS, Unanswered};
use crate::store::{Catalogue, Error, SessionView};

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

/// Work of a job that is not assigned, only asked about.
pub(crate) struct Would<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) job: &'a Name,
    /// The job's settings, or those it may come to have.
    pub(crate) spec: &'a JobSpec,
}

impl Would<'_> {
    /// The work as it would be assigned now. `None`: an endpoint does not exist.
    pub(crate) fn be_assigned(
        &self,
        destination: &Destination,
        work: Work,
        traceparent: &str,
    ) -> Option<Assignment> {
        let Self { catalogue, job, spec } = self;
        let settings = |location: &Location| {
            catalogue.endpoints.get(&location.endpoint).map(|one| one.spec.clone())
        };
        let latest = catalogue.jobs.get(job).and_then(|job| job.latest_run.as_ref());
        let number = latest.map_or(0, |run| run.number) + 1;
        Some(Assignment {
            held: Held { id: 0, epoch: 0 },
            run: RunName { job: (*job).clone(), number },
            source_endpoint: settings(&spec.source)?,
            destination_endpoint: settings(&destination.location)?,
            source_facts: self.facts(&spec.source),
            destination_facts: self.facts(&destination.location),
            source: spec.source.clone(),
            destination: destination.clone(),
            compare: spec.compare,
            filter: spec.filter.clone(),
            uploads: Vec::new(),
            careful: false,
            traceparent: traceparent.to_owned(),
            trace_links: Vec::new(),
            work,
        })
    }

    fn facts(&self, location: &Location) -> BucketFacts {
        let Location { endpoint, bucket, .. } = location;
        let known = self.catalogue.endpoints.get(endpoint);
        known
            .and_then(|known| known.buckets.iter().find(|facts| facts.bucket == *bucket))
            .cloned()
            .unwrap_or_else(|| BucketFacts::unknown(endpoint.clone(), bucket.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use s3sync_proto::model::{Probe, ToAgent};
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::clock;
    use crate::session::{Handle, LeaseTimes, Sessions};
    use crate::store::SessionId;
    use crate::store::sqlite::Sqlite;

    fn session(id: u64) -> SessionView {
        SessionView {
            session: SessionId(id),
            agent: format!("agent-{id}").parse().unwrap(),
            labels: BTreeMap::new(),
            endpoints: Vec::new(),
            features: Vec::new(),
            capacity: 1,
            held: 0,
            draining: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_followed_by_others_up_to_a_limit() {
        let context = Context {
            store: Arc::new(Sqlite::in_memory().await.unwrap()),
            clock: clock::system(),
            sessions: Arc::new(Sessions::default()),
            times: LeaseTimes::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let mut agents = Vec::new();
        let sessions: Vec<_> = (1..=4).map(session).collect();
        for one in &sessions {
            let (sender, receiver) = mpsc::channel(8);
            context.sessions.enter(one.session, Handle::new(sender));
            agents.push(receiver);
        }
        let labels = BTreeMap::new();
        let need = Need { features: Vec::new(), labels: &labels, places: Vec::new() };
        let endpoint = "usw2".parse().unwrap();
        let asked = Ask::Probe(Probe { endpoint, spec: Default::default(), places: Vec::new() });
        let began = Instant::now();
        let silence = ask(&context, &sessions, &need, &asked).await.unwrap_err();
        let Silence::Late(text) = silence else { panic!("{silence:?}") };
        assert!(text.starts_with("agent-1 did not answer within 20 s; agent-2"), "{text}");
        assert_eq!(began.elapsed(), PATIENCE * 3, "each has its time");
        let told: Vec<bool> = agents
            .iter_mut()
            .map(|agent| matches!(agent.try_recv(), Ok(ToAgent::Question(_))))
            .collect();
        assert_eq!(told, [true, true, true, false], "three are asked and no more");
        assert!(matches!(agents[0].try_recv(), Ok(ToAgent::Withdrawal(_))));
    }
}
