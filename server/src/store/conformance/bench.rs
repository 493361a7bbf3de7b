//! What the cases share: a store with two endpoints and a job, and short words for what happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::model::{
    AgentEndpoint, Assignment, Counters, Destination, EndpointSpec, FEATURE_KEYS, Failure,
    FailureClass, Held, Hello, JobSpec, Key, Location, Name, Outcome, Run, RunName, SplitProposal,
    State, Timestamp, Trigger, UploadIntent, UploadPlan, Verdict, WorkError, WorkReport,
};

use crate::store::{
    Applied, CatalogueChange, Error, Grant, OpenSession, Opened, RangeView, RequestKey, SessionId,
    StartRun, Store,
};

/// How long a session of these tests lasts.
pub(super) const TTL: Duration = Duration::from_secs(60);
/// More ready ranges than any case has.
const ALL: u32 = 100_000;

/// A store and the time.
pub(super) struct Bench {
    pub(super) store: Arc<dyn Store>,
    pub(super) now: Timestamp,
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn key(text: &str) -> Key {
    Key::from(text)
}

pub(super) fn destination(endpoint: &str, bucket: &str) -> Destination {
    Destination {
        location: Location {
            endpoint: name(endpoint),
            bucket: bucket.into(),
            prefix: "to/".into(),
        },
        storage_class: None,
        agent_labels: BTreeMap::new(),
        encryption: None,
    }
}

pub(super) fn job(destinations: Vec<Destination>) -> JobSpec {
    let source =
        Location { endpoint: name("usw2"), bucket: "source".into(), prefix: "from/".into() };
    JobSpec {
        source,
        destinations,
        filter: Default::default(),
        compare: Default::default(),
        deletes: Default::default(),
        schedule: None,
        events: None,
        limits: Default::default(),
        paused: false,
    }
}

pub(super) fn transient() -> Outcome {
    Outcome::Errored(WorkError {
        class: FailureClass::Transient,
        code: "SlowList".into(),
        message: "the listing broke".into(),
    })
}

pub(super) fn failure(key: Key) -> Failure {
    Failure {
        key,
        destination: 0,
        class: FailureClass::Permanent,
        code: "KeyTooLongError".into(),
        message: "no".into(),
        s3_request_id: "r1".into(),
        attempts: 1,
        first: Timestamp::from_micros(1),
        last: Timestamp::from_micros(2),
    }
}

/// A report over `keys` keys that are in step.
pub(super) fn report(
    held: Held,
    outcome: Outcome,
    cursors: [Option<&str>; 2],
    keys: u64,
) -> WorkReport {
    WorkReport {
        sequence: 1,
        held,
        outcome,
        previous_cursor: cursors[0].map(key),
        cursor: cursors[1].map(key),
        counters: Counters { listed: keys, in_step: keys, ..Counters::default() },
        failures: Vec::new(),
        extras: Default::default(),
    }
}

pub(super) fn stating(sequence: u64, last_lease: u64, held: Vec<Held>) -> State {
    State { sequence, capacity: 4, held, draining: false, last_lease }
}

pub(super) fn request(method: &'static str, id: &str, fingerprint: &str) -> RequestKey {
    RequestKey {
        method,
        id: id.into(),
        fingerprint: fingerprint.into(),
        resource: "endpoints/usw2".into(),
    }
}

impl Bench {
    /// A store with endpoints `usw2` and `cnn1` and the job `media`, which has one destination.
    pub(super) async fn new(store: Arc<dyn Store>) -> Self {
        let bench = Self { store, now: Timestamp::from_micros(1_800_000_000_000_000) };
        for endpoint in ["usw2", "cnn1"] {
            let spec = EndpointSpec { region: "us-west-2".into(), ..EndpointSpec::default() };
            bench
                .change(CatalogueChange::PutEndpoint { name: name(endpoint), spec })
                .await
                .unwrap();
        }
        bench.put_job("media", vec![destination("cnn1", "target")]).await;
        bench
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    pub(super) async fn change(&self, change: CatalogueChange) -> Result<Applied, Error> {
        let seen = self.store.catalogue().await.unwrap().revision;
        self.store.change_catalogue(seen, change, None, self.now).await
    }

    pub(super) async fn put_job(&self, job_name: &str, destinations: Vec<Destination>) {
        let spec = Box::new(job(destinations));
        self.change(CatalogueChange::PutJob { name: name(job_name), spec }).await.unwrap();
    }

    pub(super) fn start_of(&self, job: &str) -> StartRun {
        StartRun {
            job: name(job),
            trigger: Trigger::Manual,
            traceparent: String::new(),
            request: None,
            retries: None,
            nominal: None,
        }
    }

    pub(super) async fn start(&self) -> RunName {
        self.store.start_run(self.start_of("media"), self.now).await.unwrap().name
    }

    /// The newest run of `media`.
    pub(super) async fn run(&self) -> Run {
        self.store.run(&name("media"), None).await.unwrap()
    }

    pub(super) async fn connect(&self, agent: &str, instance: &str, held: Vec<Held>) -> Opened {
        let offer = |endpoint: &str| AgentEndpoint {
            endpoint: name(endpoint),
            credential_kind: "static".into(),
            allow: Vec::new(),
            credential_fingerprint: "f".into(),
        };
        let hello = Hello {
            protocol: (1, 1),
            features: vec!["split".into(), "odd".into()],
            agent: name(agent),
            instance_id: instance.into(),
            version: "0.1.0".into(),
            labels: BTreeMap::from([("region".into(), "us".into())]),
            endpoints: vec![offer("usw2"), offer("cnn1")],
            held,
            capacity: 4,
            now: self.now,
        };
        let open = OpenSession {
            hello,
            features: vec!["split".into(), FEATURE_KEYS.into()],
            until: self.now.plus(TTL),
        };
        self.store.open_session(open, self.now).await.unwrap()
    }

    pub(super) async fn ready(&self) -> Vec<RangeView> {
        self.store.snapshot(ALL, self.now).await.unwrap().ready
    }

    /// What is leased, with the session that holds it.
    pub(super) async fn leased(&self) -> Vec<(SessionId, Held)> {
        let leased = self.store.snapshot(ALL, self.now).await.unwrap().leased;
        leased.iter().map(|view| (view.session, view.range.held)).collect()
    }

    /// Leases the first ready range.
    pub(super) async fn take(&self, session: SessionId) -> Assignment {
        self.try_take(session).await.expect("a range is ready and is leased")
    }

    /// Leases the first range that has something to do, if any has.
    pub(super) async fn try_take(&self, session: SessionId) -> Option<Assignment> {
        while let Some(range) = self.ready().await.first() {
            let grant = Grant { held: range.held, session };
            let mut leased = self.store.lease(vec![grant], self.now).await.unwrap();
            if let Some((who, assignment)) = leased.pop() {
                assert_eq!(who, session);
                return Some(assignment);
            }
        }
        None
    }

    pub(super) async fn renew(&self, session: SessionId, state: State) -> Result<Vec<Held>, Error> {
        self.store.renew_session(session, &state, self.now.plus(TTL), self.now).await
    }

    pub(super) async fn say(&self, report: WorkReport) -> Result<Verdict, Error> {
        self.store.report(report, self.now).await
    }

    /// Reports keys in step; it must be applied.
    pub(super) async fn done(
        &self,
        held: Held,
        outcome: Outcome,
        cursors: [Option<&str>; 2],
        keys: u64,
    ) {
        assert_eq!(self.say(report(held, outcome, cursors, keys)).await.unwrap(), Verdict::Applied);
    }

    pub(super) async fn cut(
        &self,
        held: Held,
        at: &str,
        until: Option<&str>,
    ) -> Result<Verdict, Error> {
        let proposal = SplitProposal { sequence: 1, held, at: key(at), until: until.map(key) };
        self.store.split(proposal, self.now).await
    }

    pub(super) async fn intend(&self, held: Held, at: &str, id: Option<&str>) -> Verdict {
        let (key, upload_id) = (key(at), id.map(str::to_owned));
        let intent = UploadIntent { sequence: 1, held, key, upload_id, plan: None };
        self.store.upload_intent(intent, self.now).await.unwrap()
    }

    /// The same of an upload that another holder could go on with.
    pub(super) async fn intend_to_become(&self, held: Held, at: &str, id: &str) -> UploadPlan {
        let plan = UploadPlan {
            source_etag: format!("etag of {at}"),
            size: 1 << 40,
            part_size: 1 << 30,
            opened_with: "what \"it\" carries".to_owned(),
        };
        let (key, upload_id) = (key(at), Some(id.to_owned()));
        let intent = UploadIntent { sequence: 1, held, key, upload_id, plan: Some(plan.clone()) };
        assert_eq!(self.store.upload_intent(intent, self.now).await.unwrap(), Verdict::Applied);
        plan
    }
}
