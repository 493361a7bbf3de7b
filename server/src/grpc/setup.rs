//! CheckQueue: has agents look at how a queue and the source buckets of its jobs are set up. Changes nothing.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use s3sync_proto::model::{
    Answer, Ask, BucketSetup, EndpointSpec, FEATURE_ASK, FEATURE_SETUP, JobSpec, Location, Name,
    QueueSetup, Setup, SetupAsk, Verb,
};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire;
use tonic::Status;

use super::Context;
use super::status::{missing, refused};
use crate::ask::{self, Silence};
use crate::plan::Need;
use crate::plan::setup::{BucketRead, Looked, Read, check_queue};
use crate::store::{Catalogue, SessionView};

/// Buckets looked at at once: an agent answers no more than eight questions.
const AT_ONCE: usize = 4;

/// Answers CheckQueue.
pub(super) async fn queue(
    context: &Context,
    request: pb::CheckQueueRequest,
) -> Result<pb::CheckQueueResponse, Status> {
    let pb::CheckQueueRequest { name: text } = request;
    let name = wire::queue_name(&text)?;
    let catalogue = context.store.catalogue().await.map_err(refused)?;
    let spec = catalogue.queues.get(&name).ok_or_else(|| missing(&text))?.spec.clone();
    let endpoint = settings(&catalogue, &spec.endpoint)?;
    let sessions = ask::sessions(context).await.map_err(refused)?;
    let asking = Asking { context, sessions: &sessions };
    let found = asking.queue(&spec.endpoint, &endpoint, &spec.url).await;
    let sources = sources(&catalogue, &name);
    let mut buckets = Vec::with_capacity(sources.len());
    for ((at, bucket), jobs) in sources {
        let spec = settings(&catalogue, &at)?;
        buckets.push((at, bucket, spec, jobs));
    }
    let mut looked = Vec::with_capacity(buckets.len());
    for some in buckets.chunks(AT_ONCE) {
        let asked = some.iter().map(|(at, bucket, spec, jobs)| {
            let mut sources: Vec<_> = jobs.values().map(|job| job.source.clone()).collect();
            sources.dedup();
            asking.bucket(at, spec, bucket, sources)
        });
        looked.extend(join_all(asked).await);
    }
    let read = Read {
        receiving: context.store.queue_status(&name, context.clock.now()).await.map_err(refused)?,
        queue: name,
        spec,
        endpoint,
        found,
        buckets: (buckets.into_iter().zip(looked))
            .map(|((endpoint, bucket, spec, jobs), found)| BucketRead {
                bucket,
                endpoint,
                spec,
                found,
                jobs,
            })
            .collect(),
    };
    Ok(wire::queue_checked_to(check_queue(&read)))
}

fn settings(catalogue: &Catalogue, endpoint: &Name) -> Result<EndpointSpec, Status> {
    let known = catalogue.endpoints.get(endpoint);
    known.map(|known| known.spec.clone()).ok_or_else(|| missing(&wire::format_endpoint(endpoint)))
}

/// The source buckets, with endpoint, of the jobs that name a queue.
fn sources(
    catalogue: &Catalogue,
    queue: &Name,
) -> BTreeMap<(Name, String), BTreeMap<Name, JobSpec>> {
    let mut sources: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (name, job) in &catalogue.jobs {
        if job.spec.events.as_ref() == Some(queue) {
            let source = &job.spec.source;
            let jobs = sources.entry((source.endpoint.clone(), source.bucket.clone())).or_default();
            jobs.insert(name.clone(), job.spec.clone());
        }
    }
    sources
}

struct Asking<'a> {
    context: &'a Context,
    sessions: &'a [SessionView],
}

impl Asking<'_> {
    async fn queue(&self, at: &Name, spec: &EndpointSpec, url: &str) -> Looked<QueueSetup> {
        // Only a credential for the endpoint is needed, whatever it is for.
        let place = Location { endpoint: at.clone(), bucket: String::new(), prefix: String::new() };
        let ask = SetupAsk {
            endpoint: at.clone(),
            spec: spec.clone(),
            queue_url: Some(url.to_owned()),
            buckets: Vec::new(),
        };
        let (agent, setup) = self.ask(&[(&place, &[])], ask).await?;
        let queue = setup.queue.ok_or_else(|| format!("{agent} said nothing of the queue"))?;
        Ok((agent, queue))
    }

    async fn bucket(
        &self,
        at: &Name,
        spec: &EndpointSpec,
        bucket: &str,
        sources: Vec<Location>,
    ) -> Looked<BucketSetup> {
        let places: Vec<_> = sources.iter().map(|place| (place, &[Verb::List][..])).collect();
        let ask = SetupAsk {
            endpoint: at.clone(),
            spec: spec.clone(),
            queue_url: None,
            buckets: vec![bucket.to_owned()],
        };
        let (agent, setup) = self.ask(&places, ask).await?;
        let mut found = setup.buckets.into_iter().filter(|one| one.bucket == bucket);
        let found = found.next().ok_or_else(|| format!("{agent} said nothing of {bucket}"))?;
        Ok((agent, found))
    }

    async fn ask(&self, places: &[(&Location, &[Verb])], ask: SetupAsk) -> Looked<Setup> {
        let labels = BTreeMap::new();
        let features = vec![FEATURE_ASK, FEATURE_SETUP];
        let need = Need { features, labels: &labels, places: places.to_vec() };
        let ask = Ask::Setup(Box::new(ask));
        match ask::ask(self.context, self.sessions, &need, &ask).await {
            Ok((agent, Answer::SetUp(setup))) => Ok((agent, *setup)),
            Ok((agent, _)) => Err(format!("{agent} answered something else")),
            Err(Silence::Nobody(why) | Silence::Late(why)) => Err(why),
        }
    }
}
