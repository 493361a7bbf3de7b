//! Pure. What is known of a run that is watched: the newest look at it, and what the looks before tell of its speed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use s3sync_proto::model::{
    Activity, Counters, FailureGroup, Name, RunAgent, RunStage, RunState, RunView, Timestamp,
};

use super::limit::{Since, between};

/// Rates are of this long at most.
const WINDOW: Duration = Duration::from_secs(60);
/// What agents do lately is of this long.
const LATELY: Duration = Duration::from_secs(10);
/// Agents report every few seconds; over less than this a rate says nothing.
const LEAST_WINDOW: Duration = Duration::from_secs(10);

/// Everything that is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) view: RunView,
    /// Groups of failures, most keys first.
    pub(crate) failures: Vec<FailureGroup>,
    /// Why the server does not answer, and since when.
    pub(crate) gone: Option<(Duration, String)>,
    /// Counters at earlier looks, oldest first.
    earlier: VecDeque<(Timestamp, Counters)>,
    /// What agents told lately, oldest first.
    told: BTreeMap<Name, VecDeque<Activity>>,
}

/// What is done in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    pub(crate) listed: f64,
    pub(crate) in_step: f64,
    pub(crate) copied: f64,
    pub(crate) failed: f64,
    pub(crate) bytes: f64,
    /// Over how long.
    pub(crate) over: Over,
}

/// Over how long a rate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Since the run began.
    Run,
    /// So much, up to now.
    Last(Duration),
}

/// How long a run will still take.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Left {
    /// Nobody can know, and why.
    Unknown(&'static str),
    /// About so long, for so many keys.
    About { time: Duration, keys: u64, over: Over },
}

impl Scene {
    pub(crate) fn new(view: RunView) -> Self {
        let mut scene = Self {
            view: view.clone(),
            failures: Vec::new(),
            gone: None,
            earlier: VecDeque::new(),
            told: BTreeMap::new(),
        };
        scene.look(view);
        scene
    }

    /// A newer look.
    pub(crate) fn look(&mut self, view: RunView) {
        let now = view.time;
        self.earlier.push_back((now, view.run.totals()));
        // One that is older than the window stays, so that the rate is over the whole of it.
        while self.earlier.get(1).is_some_and(|(time, _)| now.since(*time) >= WINDOW) {
            self.earlier.pop_front();
        }
        self.told.retain(|name, _| view.agents.iter().any(|agent| agent.agent == *name));
        for agent in &view.agents {
            if let Ok(activity) = &agent.activity {
                let told = self.told.entry(agent.agent.clone()).or_default();
                if told.back().is_some_and(|last| between(last, activity).is_none()) {
                    told.clear();
                }
                told.push_back(activity.clone());
                // As above: the oldest is of the beginning of the time.
                while told
                    .get(1)
                    .is_some_and(|one| activity.time.saturating_sub(one.time) >= LATELY)
                {
                    told.pop_front();
                }
            }
        }
        self.view = view;
        self.gone = None;
    }

    /// What an agent did lately; `None`: that is not known.
    pub(crate) fn lately(&self, agent: &Name) -> Option<Activity> {
        let silent = |one: &&RunAgent| one.agent == *agent && one.activity.is_err();
        if self.view.agents.iter().any(|one| silent(&one)) {
            return None;
        }
        let told = self.told.get(agent)?;
        let lately = between(told.front()?, told.back()?)?;
        (lately.time >= Duration::from_secs(1)).then_some(lately)
    }

    /// What all agents did lately.
    pub(crate) fn since(&self) -> Since {
        let mut since = Since::default();
        for lately in self.told.keys().filter_map(|agent| self.lately(agent)) {
            since.time = since.time.max(lately.time);
            since.usage += lately.usage;
        }
        since
    }

    /// How fast it goes; `None`: that cannot be told yet, or it stands still by intent.
    pub(crate) fn rates(&self) -> Option<Rates> {
        if self.view.run.state != RunState::Running {
            return None;
        }
        let (time, before) = self.earlier.front()?;
        let window = self.view.time.since(*time);
        if window >= LEAST_WINDOW {
            return Some(self.rates_since(*before, window, Over::Last(window)));
        }
        let since = self.view.time.since(self.view.run.started?);
        let long_enough = since >= LEAST_WINDOW / 2;
        long_enough.then(|| self.rates_since(Counters::default(), since, Over::Run))
    }

    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn rates_since(&self, before: Counters, window: Duration, over: Over) -> Rates {
        let now = self.view.run.totals();
        // Counters can go down: keys that failed and are looked at again.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / window.as_secs_f64();
        Rates {
            listed: rate(now.listed, before.listed),
            in_step: rate(now.in_step, before.in_step),
            copied: rate(now.copied, before.copied),
            failed: rate(now.not_in_step(), before.not_in_step()),
            bytes: rate(now.copied_bytes, before.copied_bytes),
            over,
        }
    }

    /// How long it will still take, as far as that can be reckoned: the keys that are left, at the present rate.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub(crate) fn left(&self) -> Left {
        let RunView { run, stage, strips, .. } = &self.view;
        match (run.state, stage) {
            (RunState::Running, RunStage::Scan | RunStage::Keys) => {}
            (RunState::Running, _) => return Left::Unknown("it is about deletes now"),
            (RunState::Pending, _) => return Left::Unknown("no agent has begun"),
            (RunState::Paused | RunState::AwaitingApproval, _) => {
                return Left::Unknown("it waits for a person");
            }
            (RunState::Cancelling, _) => return Left::Unknown("agents let go of it"),
            _ => return Left::Unknown("it has ended"),
        }
        let expected: Option<u64> = strips.iter().map(|strip| strip.expected_keys).sum();
        let Some(expected) = expected.filter(|_| !strips.is_empty()) else {
            return Left::Unknown("no earlier run tells how many keys there are");
        };
        if expected < run.totals().listed {
            return Left::Unknown("there are more keys than an earlier run listed");
        }
        let Some(rates) = self.rates() else { return Left::Unknown("it has only begun") };
        if rates.listed <= 0.0 {
            return Left::Unknown("nothing moved lately");
        }
        let keys = expected.saturating_sub(run.totals().listed);
        let time = Duration::from_secs((keys as f64 / rates.listed).round() as u64);
        Left::About { time, keys, over: rates.over }
    }
}
