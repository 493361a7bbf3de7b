//! Random histories: agents that take, work, cut, crash and reconnect, and messages that are lost, late or repeated.
//! However it goes, each key is counted once.

mod agent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::model::{
    Assignment, Key, Outcome, RunState, SplitProposal, UploadIntent, Verdict, Work,
};

use super::bench::{Bench, TTL, stating, transient};
use crate::store::{Error, Grant, Store};
use agent::{Agent, KEYS, Message, Tenure, counted, key_at};

/// Agents.
const AGENTS: usize = 3;
/// More turns than any history needs to end once all messages come through.
const TURNS: usize = 200;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What.
    pub action: Action,
    /// To which agent, modulo their number.
    pub agent: u8,
    /// Which of the things it could be, modulo their number.
    pub pick: u8,
    /// What becomes of the message.
    pub fate: Fate,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A ready range is leased to the agent.
    Lease,
    /// The agent does some keys and reports.
    Work,
    /// It says that it is done.
    Complete,
    /// It lets go.
    Yield,
    /// It meets an error that may pass.
    Fail,
    /// It refuses what it was given.
    Refuse,
    /// It stops at a key and proposes a cut there.
    Cut,
    /// It says that it begins an upload.
    Intend,
    /// The next message that waits is sent.
    Send,
    /// It states what it holds.
    Renew,
    /// It connects anew, with what it holds.
    Reconnect,
    /// It dies, and another process takes its name.
    Crash,
    /// It leaves.
    Leave,
    /// Sessions that nobody renewed expire.
    Expire,
    /// The run is cancelled. Rare, or nothing else would happen.
    Cancel,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes, and so does its answer.
    Comes,
    /// It is lost.
    Lost,
    /// It comes, its answer is lost.
    Unanswered,
    /// It comes twice.
    Twice,
}

struct World {
    bench: Bench,
    agents: Vec<Agent>,
    /// Newest epoch seen of each range.
    epochs: BTreeMap<u64, u64>,
    /// Keys that uploads were recorded of.
    uploads: BTreeSet<Key>,
    cancelled: bool,
}

/// Plays a history, ends it in peace, and looks at what came out. Returns how the run ended.
///
/// # Panics
/// When a key was missed or counted twice, a range was leased twice, or an epoch went back.
pub async fn history(store: Arc<dyn Store>, steps: &[Step]) -> RunState {
    let bench = Bench::new(store).await;
    bench.start().await;
    let agents = (0..AGENTS).map(|_| Agent::default()).collect();
    let (epochs, uploads) = (BTreeMap::new(), BTreeSet::new());
    let mut world = World { bench, agents, epochs, uploads, cancelled: false };
    for step in steps {
        world.play(*step).await;
        world.look().await;
    }
    world.end_in_peace().await;
    world.judge().await
}

impl World {
    async fn play(&mut self, step: Step) {
        let who = usize::from(step.agent) % AGENTS;
        match step.action {
            Action::Lease => self.lease(who, step.pick, step.fate).await,
            Action::Work => self.work(who, Outcome::Checkpoint, step).await,
            Action::Complete => self.work(who, Outcome::Completed, step).await,
            Action::Yield => self.work(who, Outcome::Yielded, step).await,
            Action::Fail => self.work(who, transient(), step).await,
            Action::Refuse => self.refuse(who, step).await,
            Action::Cut => self.cut(who, step).await,
            Action::Intend => self.intend(who, step).await,
            Action::Send => self.send(who, step.fate).await,
            Action::Renew => self.renew(who, step.fate).await,
            Action::Reconnect => self.connect(who).await,
            Action::Crash => {
                let agent = &mut self.agents[who];
                agent.process += 1;
                agent.tenures.clear();
                agent.outbox.clear();
                self.connect(who).await;
            }
            Action::Leave => self.leave(who).await,
            Action::Expire => {
                self.bench.pass(TTL * u32::from(step.pick % 2) + Duration::from_secs(1));
                self.bench.store.expire_sessions(self.bench.now).await.unwrap();
            }
            Action::Cancel => {
                if step.pick.is_multiple_of(16) {
                    let run = self.bench.run().await.name;
                    self.bench.store.cancel_run(&run, self.bench.now).await.unwrap();
                    self.cancelled = true;
                }
            }
        }
    }

    async fn lease(&mut self, who: usize, pick: u8, fate: Fate) {
        let Some(session) = self.agents[who].session else { return };
        let ready = self.bench.ready().await;
        if ready.is_empty() {
            return;
        }
        let held = ready[usize::from(pick) % ready.len()].held;
        let grants = vec![Grant { held, session }; if fate == Fate::Twice { 2 } else { 1 }];
        for (_, assignment) in self.bench.store.lease(grants, self.bench.now).await.unwrap() {
            assert!(assignment.held.epoch > held.epoch);
            self.check_uploads(&assignment);
            if fate != Fate::Lost {
                let tenure = Tenure::begin(&assignment);
                self.agents[who].tenures.insert(assignment.held.id, tenure);
            }
        }
    }

    /// What is handed over is what was recorded and is not settled, in the slice.
    fn check_uploads(&self, assignment: &Assignment) {
        let handed: BTreeSet<_> = assignment.uploads.iter().map(|one| one.key.clone()).collect();
        if let Work::Range { range, cursor } = &assignment.work {
            let left = |key: &&Key| range.contains(key) && Some(*key) > cursor.as_ref();
            let expected: BTreeSet<_> = self.uploads.iter().filter(left).cloned().collect();
            assert_eq!(handed, expected);
        }
        assert!(handed.is_subset(&self.uploads));
    }

    /// The assignment an action is about.
    fn picked(&mut self, who: usize, pick: u8) -> Option<&mut Tenure> {
        let open = self.agents[who].tenures.values_mut().filter(|one| !one.over);
        let mut open: Vec<_> = open.collect();
        let index = usize::from(pick) % open.len().max(1);
        (index < open.len()).then(|| open.swap_remove(index))
    }

    async fn work(&mut self, who: usize, outcome: Outcome, step: Step) {
        let Some(tenure) = self.picked(who, step.pick) else { return };
        let some = tenure.done_to() + i32::from(step.pick % 7);
        let some = some.min(tenure.last()).max(tenure.done_to());
        if outcome == Outcome::Checkpoint && (tenure.reap || some == tenure.done_to()) {
            return;
        }
        let to = if outcome == Outcome::Completed { tenure.last() } else { some };
        let report = tenure.report(outcome, to);
        self.agents[who].outbox.push_back((Message::Report(report), None));
        self.send(who, step.fate).await;
    }

    async fn refuse(&mut self, who: usize, step: Step) {
        let Some(tenure) = self.picked(who, step.pick) else { return };
        let held = tenure.held;
        self.agents[who].tenures.remove(&held.id);
        let Outcome::Errored(error) = transient() else { unreachable!("it is an error") };
        let agent = super::bench::name(&format!("agent-{who}"));
        if step.fate != Fate::Lost {
            self.bench.store.refuse(held, &agent, &error, self.bench.now).await.unwrap();
        }
    }

    async fn cut(&mut self, who: usize, step: Step) {
        let Some(tenure) = self.picked(who, step.pick) else { return };
        let room = tenure.last() - tenure.done_to();
        if tenure.reap || room < 2 {
            return;
        }
        let at = key_at(tenure.done_to() + 1 + i32::from(step.pick) % (room - 1));
        let until = tenure.until.replace(at.clone());
        let proposal = SplitProposal { sequence: 1, held: tenure.held, at, until };
        if step.fate == Fate::Lost {
            // Never proposed, though the agent stops there: its completion must count as a cursor.
            return;
        }
        self.agents[who].outbox.push_back((Message::Cut(proposal), None));
        self.send(who, step.fate).await;
    }

    async fn intend(&mut self, who: usize, step: Step) {
        let Some(tenure) = self.picked(who, step.pick) else { return };
        if tenure.reap || tenure.done_to() >= tenure.last() {
            return;
        }
        let room = tenure.last() - tenure.done_to();
        let key = key_at(tenure.done_to() + 1 + i32::from(step.pick) % room);
        let upload_id = step.pick.is_multiple_of(2).then(|| format!("u{}", step.pick));
        let intent = UploadIntent { sequence: 1, held: tenure.held, key, upload_id, plan: None };
        self.agents[who].outbox.push_back((Message::Intent(intent), None));
        self.send(who, step.fate).await;
    }

    /// Sends the next message of the outbox.
    async fn send(&mut self, who: usize, fate: Fate) {
        let waits = self.agents[who].outbox.iter().position(|(_, verdict)| verdict.is_none());
        let Some(index) = waits.filter(|_| fate != Fate::Lost) else { return };
        let message = self.agents[who].outbox[index].0.clone();
        let verdict = self.deliver(message.clone()).await;
        if fate == Fate::Twice {
            self.deliver(message).await;
        }
        self.agents[who].outbox[index].1 = Some(verdict);
        if fate != Fate::Unanswered {
            self.agents[who].acknowledge();
        }
    }

    async fn deliver(&mut self, message: Message) -> Verdict {
        let (store, now) = (self.bench.store.clone(), self.bench.now);
        let held = message.held();
        let verdict = match message {
            Message::Report(report) => store.report(report, now).await.unwrap(),
            Message::Cut(proposal) => store.split(proposal, now).await.unwrap(),
            Message::Intent(intent) => {
                let key = intent.key.clone();
                let verdict = store.upload_intent(intent, now).await.unwrap();
                if verdict == Verdict::Applied {
                    self.uploads.insert(key);
                }
                verdict
            }
        };
        let taken_since = self.epochs.get(&held.id).is_some_and(|newest| held.epoch < *newest);
        assert!(
            !taken_since || verdict == Verdict::Stale,
            "{held:?} was applied, and is another's"
        );
        verdict
    }

    async fn renew(&mut self, who: usize, fate: Fate) {
        let Some(session) = self.agents[who].session else { return };
        let agent = &mut self.agents[who];
        agent.sequence += 1;
        let state = stating(agent.sequence, agent.last_lease, agent.held());
        if fate == Fate::Lost {
            return;
        }
        let answer = self.bench.renew(session, state).await;
        let agent = &mut self.agents[who];
        match answer {
            Ok(_) if fate == Fate::Unanswered => {}
            Ok(confirmed) => {
                agent.last_lease = agent.sequence;
                agent.keep(&confirmed);
            }
            Err(Error::SessionGone) => agent.session = None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn connect(&mut self, who: usize) {
        let agent = &self.agents[who];
        let (name, process) = (format!("agent-{who}"), agent.process.to_string());
        let opened = self.bench.connect(&name, &process, agent.held()).await;
        let agent = &mut self.agents[who];
        agent.session = Some(opened.session);
        (agent.sequence, agent.last_lease) = (0, 0);
        agent.keep(&opened.confirmed);
        for (_, verdict) in &mut agent.outbox {
            *verdict = None;
        }
    }

    async fn leave(&mut self, who: usize) {
        let agent = &mut self.agents[who];
        if let Some(session) = agent.session.take() {
            agent.tenures.clear();
            agent.outbox.clear();
            self.bench.store.close_session(session, self.bench.now).await.unwrap();
        }
    }

    /// What holds at every moment.
    async fn look(&mut self) {
        let snapshot = self.bench.store.snapshot(1_000, self.bench.now).await.unwrap();
        let open: BTreeSet<_> = snapshot.sessions.iter().map(|one| one.session).collect();
        assert!(snapshot.leased.iter().all(|one| open.contains(&one.session)), "held by nobody");
        let leased = snapshot.leased.iter().map(|one| one.range.held);
        let all: Vec<_> = snapshot.ready.iter().map(|one| one.held).chain(leased).collect();
        let ids: BTreeSet<_> = all.iter().map(|held| held.id).collect();
        assert_eq!(ids.len(), all.len(), "a range is there twice");
        for held in all {
            let newest = self.epochs.entry(held.id).or_default();
            assert!(held.epoch >= *newest, "an epoch went back");
            *newest = held.epoch;
        }
    }

    /// From here on all messages come through, and all agents do their work to the end.
    async fn end_in_peace(&mut self) {
        for _ in 0..TURNS {
            if self.bench.run().await.state.is_terminal() {
                return;
            }
            // Longer than any pause before a range is tried again.
            self.bench.pass(Duration::from_secs(30));
            for who in 0..AGENTS {
                if self.agents[who].session.is_none() {
                    self.connect(who).await;
                }
                self.renew(who, Fate::Comes).await;
                self.lease(who, 0, Fate::Comes).await;
                let step = Step { action: Action::Complete, agent: 0, pick: 0, fate: Fate::Comes };
                self.work(who, Outcome::Completed, step).await;
                while self.agents[who].outbox.iter().any(|(_, verdict)| verdict.is_none()) {
                    self.send(who, Fate::Comes).await;
                }
            }
            self.bench.store.expire_sessions(self.bench.now).await.unwrap();
            self.look().await;
        }
        panic!("the run did not end: {:?}", self.bench.run().await);
    }

    async fn judge(&self) -> RunState {
        let run = self.bench.run().await;
        let totals = run.totals();
        let (all, failures) = counted(-1, i32::from(KEYS) - 1);
        assert_eq!(
            u64::from(totals.copied_bytes.count_ones()),
            totals.listed,
            "a key was counted twice"
        );
        let (listed, failed) =
            self.bench.store.failures(&run.name, None, None, 1_000).await.unwrap();
        assert_eq!((listed.len() as u64, failed), (totals.not_in_step(), totals.not_in_step()));
        if run.state == RunState::FinishedWithFailures {
            assert_eq!(totals, all, "a key was missed");
            assert_eq!(listed, failures);
        } else {
            // Failed: one range did so as often as is tried.
            let cancelled = run.state == RunState::Cancelled && self.cancelled;
            assert!(cancelled || run.state == RunState::Failed, "it ended {:?}", run.state);
        }
        run.state
    }
}
