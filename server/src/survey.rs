//! Makes a plan: has agents look at slice after slice, and passes on what they find. All of it is in memory and ends with
//! whoever asked; agents are asked for no more than the reader takes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use s3sync_proto::model::{
    Answer, Ask, Difference, FEATURE_ASK, FEATURE_PLAN, JobPlan, JobSpec, Name, PlanAsk, Verb, Work,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ask::{self, Would};
use crate::grpc::Context;
use crate::plan::{Need, Slice, Survey, able, needs};
use crate::session::Unanswered;
use crate::store::{Catalogue, Error, SessionId, SessionView};

/// How long one agent looks before it says how far it came. Short at first: then there is something to share out.
const FIRST_TIME: Duration = Duration::from_millis(500);
const TIME: Duration = Duration::from_secs(5);
/// Keys one agent looks at before it says how far it came.
const MAX_KEYS: u64 = 200_000;
/// How long an answer is waited for: the agent's time, its patience with what hangs, a search for a cut, and some more.
const PATIENCE: Duration = Duration::from_secs(45);
/// Slices of one plan that one agent looks at together. It answers few questions at once, and others may have some.
const PER_AGENT: usize = 2;
/// Slices looked at together. Each answer has up to half a MiB.
const AT_ONCE: usize = 16;
/// How long is waited for an agent when all that could look have left.
const AGENT_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for agents that are free, or that came.
const INTERVAL: Duration = Duration::from_millis(500);
/// What an agent must be allowed to do on both sides.
const LOOK: &[Verb] = &[Verb::List, Verb::Read];

/// A plan as far as it got, and what was found since it was told last.
pub(crate) type News = (JobPlan, Vec<Difference>);

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum NoPlan {
    /// No agent can look at any destination. For a person.
    Nobody(String),
    /// The server stops.
    Stopping,
    Store(Error),
}

/// What is planned.
pub(crate) struct Planning {
    pub(crate) context: Context,
    pub(crate) catalogue: Catalogue,
    pub(crate) job: Name,
    pub(crate) spec: JobSpec,
    pub(crate) traceparent: String,
    /// Every difference is wanted.
    pub(crate) differences: bool,
}

type Looked = (Slice, SessionId, Result<Answer, Unanswered>);

/// Who may be asked.
struct Crew {
    sessions: Vec<SessionView>,
    /// Slices each agent looks at.
    load: BTreeMap<SessionId, usize>,
    /// Who is asked as much as may be by others; asked again after a while.
    busy: BTreeMap<SessionId, Instant>,
}

struct Surveying<'a> {
    planning: &'a Planning,
    survey: Survey,
    crew: Crew,
    looking: FuturesUnordered<BoxFuture<'a, Looked>>,
    /// Since when nobody can look at a destination.
    deserted: BTreeMap<usize, Instant>,
}

impl Planning {
    /// Looks until everything was looked at or the reader has gone.
    pub(crate) async fn run(&self, news: mpsc::Sender<News>) -> Result<(), NoPlan> {
        let ended = self.look(news).await;
        // Sessions end with the server: that nobody is there to look says nothing of the agents then.
        if ended.is_err() && self.context.shutdown.is_cancelled() {
            return Err(NoPlan::Stopping);
        }
        ended
    }

    async fn look(&self, news: mpsc::Sender<News>) -> Result<(), NoPlan> {
        let mut surveying = Surveying {
            planning: self,
            survey: Survey::new(&self.job, &self.spec),
            crew: Crew {
                sessions: ask::sessions(&self.context).await.map_err(NoPlan::Store)?,
                load: BTreeMap::new(),
                busy: BTreeMap::new(),
            },
            looking: FuturesUnordered::new(),
            deserted: BTreeMap::new(),
        };
        surveying.begin()?;
        surveying.run(&news).await
    }

    /// Who can look at a destination, the least loaded first, or why nobody can.
    fn able<'s>(
        &self,
        sessions: &'s [SessionView],
        destination: usize,
    ) -> Result<Vec<&'s SessionView>, String> {
        let spec = &self.spec;
        let destination = &spec.destinations[destination];
        let mut features = needs(spec);
        features.extend([FEATURE_ASK, FEATURE_PLAN]);
        let need = Need {
            features,
            labels: &destination.agent_labels,
            places: vec![(&spec.source, LOOK), (&destination.location, LOOK)],
        };
        able(sessions, &need)
    }
}

impl Surveying<'_> {
    /// Where nobody can look at the beginning, nobody is waited for.
    fn begin(&mut self) -> Result<(), NoPlan> {
        let mut whys = Vec::new();
        for destination in 0..self.planning.spec.destinations.len() {
            if let Err(why) = self.planning.able(&self.crew.sessions, destination) {
                self.survey.give_up(destination, why.clone());
                whys.push(why);
            }
        }
        if self.survey.is_done() {
            whys.sort();
            whys.dedup();
            return Err(NoPlan::Nobody(whys.join("; ")));
        }
        Ok(())
    }

    async fn run(mut self, news: &mpsc::Sender<News>) -> Result<(), NoPlan> {
        let shutdown = &self.planning.context.shutdown;
        let mut refreshed = Instant::now();
        loop {
            self.hand_out();
            if self.survey.is_done() {
                // The reader may have gone in this very moment.
                news.send((self.survey.plan(), Vec::new())).await.ok();
                return Ok(());
            }
            tokio::select! {
                biased;
                () = news.closed() => return Ok(()),
                () = shutdown.cancelled() => return Err(NoPlan::Stopping),
                Some(looked) = self.looking.next() => {
                    let found = self.take(looked);
                    // Waits for the reader: nothing further is asked meanwhile.
                    if news.send((self.survey.plan(), found)).await.is_err() {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(refreshed + INTERVAL), if self.survey.waiting() > 0 => {
                    let context = &self.planning.context;
                    self.crew.sessions = ask::sessions(context).await.map_err(NoPlan::Store)?;
                    refreshed = Instant::now();
                    self.desert();
                }
            }
        }
    }

    /// Gives up destinations that nobody could look at for too long.
    fn desert(&mut self) {
        let now = Instant::now();
        let waits_for = self.survey.waits_for();
        self.deserted.retain(|destination, _| waits_for.contains(destination));
        self.crew.busy.retain(|_, since| now.duration_since(*since) < INTERVAL);
        for destination in waits_for {
            let Err(why) = self.planning.able(&self.crew.sessions, destination) else {
                self.deserted.remove(&destination);
                continue;
            };
            let since = *self.deserted.entry(destination).or_insert(now);
            if now.duration_since(since) >= AGENT_PATIENCE {
                self.survey.give_up(destination, why);
            }
        }
    }

    fn hand_out(&mut self) {
        while self.looking.len() < AT_ONCE {
            let Self { planning, crew, .. } = self;
            let slice = self.survey.take(|slice| crew.free(planning, slice).is_some());
            let Some(slice) = slice else { return };
            match self.crew.free(self.planning, &slice) {
                Some(session) => self.look(slice, session),
                None => return self.survey.put_back(slice),
            }
        }
    }

    fn look(&mut self, slice: Slice, session: SessionId) {
        let planning = self.planning;
        let destination = &planning.spec.destinations[slice.destination];
        let work = Work::Range { range: slice.range.clone(), cursor: slice.cursor.clone() };
        let would =
            Would { catalogue: &planning.catalogue, job: &planning.job, spec: &planning.spec };
        let Some(work) = would.be_assigned(destination, work, &planning.traceparent) else {
            let why = "an endpoint of the job does not exist".to_owned();
            let destination = slice.destination;
            self.survey.put_back(slice);
            return self.survey.give_up(destination, why);
        };
        let first = slice.cursor.is_none() && slice.range.after.is_none();
        let idle =
            self.looking.len() + self.survey.waiting() < self.crew.sessions.len() * PER_AGENT;
        let ask = Ask::Plan(Box::new(PlanAsk {
            work,
            max_keys: MAX_KEYS,
            time: if first { FIRST_TIME } else { TIME },
            cut: idle,
            differences: planning.differences,
        }));
        *self.crew.load.entry(session).or_default() += 1;
        self.looking.push(Box::pin(async move {
            let answer = planning.context.sessions.ask(session, ask, PATIENCE).await;
            (slice, session, answer)
        }));
    }

    /// Takes what came of a slice; the differences that were found.
    fn take(&mut self, (slice, session, answer): Looked) -> Vec<Difference> {
        if let Some(load) = self.crew.load.get_mut(&session) {
            *load = load.saturating_sub(1);
        }
        match answer {
            Ok(Answer::Planned(part)) => return self.survey.looked(slice, *part),
            Ok(Answer::Refused(error)) => {
                let why = format!("{}: {}", error.code, error.message);
                self.survey.failed(slice, Some(session), why);
            }
            Ok(
                Answer::Explained(_) | Answer::Probed { .. } | Answer::SetUp(_) | Answer::Active(_),
            ) => {
                let why = "an agent answered something else".to_owned();
                self.survey.failed(slice, Some(session), why);
            }
            Err(Unanswered::Late) => {
                let why = format!("an agent did not answer within {} s", PATIENCE.as_secs());
                self.survey.failed(slice, Some(session), why);
            }
            Err(Unanswered::Busy) => {
                self.crew.busy.insert(session, Instant::now());
                self.survey.put_back(slice);
            }
            Err(Unanswered::Gone) => {
                self.crew.sessions.retain(|one| one.session != session);
                self.survey.put_back(slice);
            }
        }
        Vec::new()
    }
}

impl Crew {
    /// Who could look at a slice now, the least loaded.
    fn free(&self, planning: &Planning, slice: &Slice) -> Option<SessionId> {
        let able = planning.able(&self.sessions, slice.destination).ok()?;
        let ids = || able.iter().map(|session| session.session);
        let load = |id: &SessionId| self.load.get(id).copied().unwrap_or_default();
        // Who failed at it is asked again only when there is nobody else.
        let all_failed = ids().all(|id| slice.avoid.contains(&id));
        ids()
            .filter(|id| all_failed || !slice.avoid.contains(id))
            .filter(|id| load(id) < PER_AGENT && !self.busy.contains_key(id))
            .min_by_key(load)
    }
}
