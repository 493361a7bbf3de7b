//! ExplainKey: one question for each destination, to an agent that reaches both sides; and what is recorded of the key.

use futures_util::future::join_all;
use s3sync_proto::model::{
    Answer, Ask, DeleteMode, Destination, DestinationExplanation, Explanation, FEATURE_ASK,
    FEATURE_KEYS, Job, Key, KeyExplanation, Name, NextStep, Verb, Work,
};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::status::{reason, status};
use s3sync_proto::wire;
use tonic::{Code, Status};

use super::Context;
use super::status::{missing, refused};
use crate::ask::{self, Silence, Would};
use crate::plan::{self, Need, needs, relative_key};
use crate::session::MAX_OPEN_QUESTIONS;
use crate::store::{Catalogue, SessionView};

/// Runs whose failures are looked through, the newest.
const RUNS: u32 = 10;
/// Destinations asked about at once: one agent may have to answer for all of them, and has few questions open at a time.
const AT_ONCE: usize = MAX_OPEN_QUESTIONS / 2;
/// What an agent must be allowed to do on both sides.
const LOOK: &[Verb] = &[Verb::List, Verb::Read];

/// Answers ExplainKey.
pub(super) async fn key(
    context: &Context,
    request: pb::ExplainKeyRequest,
    traceparent: String,
) -> Result<pb::ExplainKeyResponse, Status> {
    let pb::ExplainKeyRequest { name: text, key, bucket } = request;
    let name = wire::job_name(&text)?;
    let catalogue = context.store.catalogue().await.map_err(refused)?;
    let job = catalogue.jobs.get(&name).ok_or_else(|| missing(&text))?;
    let key = relative_key(&job.spec, &Key::new(key), &bucket)?;
    let sessions = ask::sessions(context).await.map_err(refused)?;
    let asking = Asking { context, catalogue: &catalogue, job, key: &key, sessions, traceparent };
    let mut looked = Vec::with_capacity(job.spec.destinations.len());
    for some in job.spec.destinations.chunks(AT_ONCE) {
        looked.extend(join_all(some.iter().map(|one| asking.destination(one))).await);
    }
    let mut destinations = Vec::with_capacity(looked.len());
    let mut late = false;
    let dirty = context.store.dirty_key(&name, &key).await.map_err(refused)?;
    let now = context.clock.now();
    for (index, (destination, found)) in job.spec.destinations.iter().zip(looked).enumerate() {
        let found = found.map_err(|silence| match silence {
            Silence::Nobody(why) => why,
            Silence::Late(why) => {
                late = true;
                why
            }
        });
        let location = destination.location.clone();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let waits = dirty.iter().find(|(place, _)| *place == location);
        let dirty = waits.map(|(_, row)| plan::dirty(row.clone(), now));
        destinations.push(DestinationExplanation { index, location, found, dirty });
    }
    // What is recorded is told also while nobody is there to look.
    if dirty.is_empty() && destinations.iter().all(|one| one.found.is_err()) {
        return Err(silent(&destinations, late));
    }
    let failures = context.store.failures_of_key(&name, &key, RUNS).await.map_err(refused)?;
    let latest_run = match &job.latest_run {
        None => None,
        Some(run) => {
            let run = context.store.run(&name, Some(run.number)).await.map_err(refused)?;
            Some((run.name, run.state, run.ended))
        }
    };
    let explanation = Explanation { job: name, key, destinations, failures, latest_run };
    Ok(wire::key_explained_to(explanation))
}

/// Nobody looked anywhere.
fn silent(destinations: &[DestinationExplanation], late: bool) -> Status {
    let mut whys: Vec<_> =
        destinations.iter().filter_map(|one| one.found.as_ref().err().cloned()).collect();
    whys.sort();
    whys.dedup();
    let (code, reason) = if late {
        (Code::DeadlineExceeded, reason::NO_ANSWER)
    } else {
        (Code::FailedPrecondition, reason::NO_ELIGIBLE_AGENT)
    };
    status(code, reason, whys.join("; "))
}

/// What is asked of whom.
struct Asking<'a> {
    context: &'a Context,
    catalogue: &'a Catalogue,
    job: &'a Job,
    key: &'a Key,
    sessions: Vec<SessionView>,
    traceparent: String,
}

impl Asking<'_> {
    async fn destination(
        &self,
        destination: &Destination,
    ) -> Result<(Name, KeyExplanation), Silence> {
        let spec = &self.job.spec;
        let mut features = needs(spec);
        features.extend([FEATURE_ASK, FEATURE_KEYS]);
        let need = Need {
            features,
            labels: &destination.agent_labels,
            places: vec![(&spec.source, LOOK), (&destination.location, LOOK)],
        };
        let work = Work::Keys(vec![self.key.clone()]);
        let would = Would { catalogue: self.catalogue, job: &self.job.name, spec };
        let Some(work) = would.be_assigned(destination, work, &self.traceparent) else {
            // The catalogue is checked: an endpoint that is used cannot be deleted.
            return Err(Silence::Nobody("an endpoint of the job does not exist".to_owned()));
        };
        let ask = Ask::Explain(Box::new(work));
        match ask::ask(self.context, &self.sessions, &need, &ask).await? {
            (agent, Answer::Explained(explained)) => {
                Ok((agent, by_policy(*explained, spec.deletes.mode)))
            }
            (
                agent,
                Answer::Refused(_)
                | Answer::Probed { .. }
                | Answer::Planned(_)
                | Answer::SetUp(_)
                | Answer::Active(_),
            ) => Err(Silence::Nobody(format!("{agent} answered something else"))),
        }
    }
}

/// What becomes of a key that only the destination has is up to the job.
fn by_policy(explained: KeyExplanation, mode: DeleteMode) -> KeyExplanation {
    if !explained.is_up_to_the_delete_policy() {
        return explained;
    }
    let (next, text) = match mode {
        DeleteMode::Keep => (NextStep::Nothing, "it stays: the job deletes nothing"),
        DeleteMode::Mirror => (
            NextStep::Delete,
            "it would be deleted, once the source is proven not to have it and the guards of the job allow it",
        ),
    };
    KeyExplanation { next, next_reason: text.to_owned(), ..explained }
}
