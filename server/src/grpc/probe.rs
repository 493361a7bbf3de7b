//! ProbeEndpoint: what was learned of buckets is forgotten, here and by every agent, and what reading can teach is learned
//! anew.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use s3sync_proto::model::{
    AgentProbe, Answer, Ask, BucketFacts, EndpointProbe, FEATURE_ASK, Invalid, Name, Probe,
};
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::status::{reason, status};
use s3sync_proto::wire;
use tonic::{Code, Status};

use super::Context;
use super::status::{missing, refused};
use crate::ask;
use crate::plan::{Need, able};
use crate::store::{Catalogue, SessionView};

/// Buckets looked at in one probe.
const MAX_BUCKETS: usize = 16;
/// Prefixes looked at in one bucket: facts are of buckets, but what a credential may do can differ.
const MAX_PREFIXES: usize = 4;

/// Answers ProbeEndpoint.
pub(super) async fn endpoint(
    context: &Context,
    request: pb::ProbeEndpointRequest,
) -> Result<pb::ProbeEndpointResponse, Status> {
    let pb::ProbeEndpointRequest { name: text, bucket } = request;
    let name = wire::endpoint_name(&text)?;
    let catalogue = context.store.catalogue().await.map_err(refused)?;
    let known = catalogue.endpoints.get(&name).ok_or_else(|| missing(&text))?;
    let places = places(&catalogue, &name, &bucket)?;
    let buckets: Vec<String> = places.keys().cloned().collect();
    let probe = Probe {
        endpoint: name.clone(),
        spec: known.spec.clone(),
        places: places
            .into_iter()
            .flat_map(|(bucket, prefixes)| prefixes.into_iter().map(move |p| (bucket.clone(), p)))
            .collect(),
    };
    let asked = asked(context, &name).await?;
    // Before, so that no agent is told the old facts with new work; and after, so that what an agent still said of them
    // before it forgot is gone too.
    let forget = |facts| context.store.relearn(name.clone(), buckets.clone(), facts);
    forget(Vec::new()).await.map_err(refused)?;
    let ask = Ask::Probe(probe);
    let answers = join_all(asked.iter().map(async |(agent, session)| {
        let answer = match session {
            Ok(session) => ask::ask_one(context, session, &ask).await.map_err(|it| it.why),
            Err(why) => Err(why.clone()),
        };
        (agent.clone(), answer)
    }));
    let mut agents = Vec::new();
    let mut learned: Vec<Vec<BucketFacts>> = Vec::new();
    for (agent, answer) in answers.await {
        let found = match answer {
            Ok(Answer::Probed { places, facts }) => {
                learned.push(facts);
                Ok(places)
            }
            Ok(
                Answer::Explained(_)
                | Answer::Refused(_)
                | Answer::Planned(_)
                | Answer::SetUp(_)
                | Answer::Active(_),
            ) => Err("answered something else".to_owned()),
            Err(why) => Err(why),
        };
        agents.push(AgentProbe { agent, found });
    }
    forget(together(&name, &buckets, &learned)).await.map_err(refused)?;
    tracing::info!(endpoint = %name, ?buckets, agents = agents.len(), "an endpoint was probed");
    Ok(wire::probed_to(EndpointProbe { endpoint: name, agents }))
}

/// Each bucket to look at, with prefixes.
fn places(
    catalogue: &Catalogue,
    endpoint: &Name,
    bucket: &str,
) -> Result<BTreeMap<String, BTreeSet<String>>, Invalid> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for job in catalogue.jobs.values() {
        let destinations = job.spec.destinations.iter().map(|destination| &destination.location);
        for place in std::iter::once(&job.spec.source).chain(destinations) {
            if place.endpoint == *endpoint {
                let prefixes = places.entry(place.bucket.clone()).or_default();
                prefixes.insert(place.prefix.clone());
            }
        }
    }
    let known = catalogue.endpoints.get(endpoint).into_iter().flat_map(|known| &known.buckets);
    let named = Some(bucket).filter(|bucket| !bucket.is_empty());
    for bucket in known.map(|facts| facts.bucket.as_str()).chain(named) {
        if !places.contains_key(bucket) {
            places.insert(bucket.to_owned(), BTreeSet::from([String::new()]));
        }
    }
    if let Some(named) = named {
        places.retain(|bucket, _| bucket == named);
    }
    if places.is_empty() {
        let text =
            format!("is missing: no job names a bucket of {endpoint}, so say which to look at");
        return Err(Invalid::one("bucket", text));
    }
    let buckets = places.len();
    if buckets > MAX_BUCKETS {
        let text = format!(
            "is missing: {buckets} buckets of {endpoint} are known, and at most {MAX_BUCKETS} are looked at together"
        );
        return Err(Invalid::one("bucket", text));
    }
    for prefixes in places.values_mut() {
        *prefixes = std::mem::take(prefixes).into_iter().take(MAX_PREFIXES).collect();
    }
    Ok(places)
}

/// Every agent with a credential for the endpoint, with its session or why it cannot be asked.
async fn asked(
    context: &Context,
    endpoint: &Name,
) -> Result<Vec<(Name, Result<SessionView, String>)>, Status> {
    let sessions = ask::sessions(context).await.map_err(refused)?;
    let agents = context.store.agents().await.map_err(refused)?;
    let labels = BTreeMap::new();
    let need = Need { features: vec![FEATURE_ASK], labels: &labels, places: Vec::new() };
    let mut asked = Vec::new();
    for agent in agents {
        if !agent.endpoints.iter().any(|offer| offer.endpoint == *endpoint) {
            continue;
        }
        let session = sessions.iter().find(|session| session.agent == agent.name);
        let session = match session {
            None => Err("is not connected".to_owned()),
            Some(session) => match able(std::slice::from_ref(session), &need) {
                Ok(_) => Ok(session.clone()),
                Err(why) => Err(why),
            },
        };
        asked.push((agent.name, session));
    }
    if asked.iter().any(|(_, session)| session.is_ok()) {
        return Ok(asked);
    }
    let whys: Vec<_> = asked
        .iter()
        .filter_map(|(agent, session)| Some(format!("{agent}: {}", session.as_ref().err()?)))
        .collect();
    let text = if whys.is_empty() {
        format!("no agent has a credential for {endpoint}")
    } else {
        format!("no agent with a credential for {endpoint} can look: {}", whys.join("; "))
    };
    Err(status(Code::FailedPrecondition, reason::NO_ELIGIBLE_AGENT, text))
}

/// What all agents learned of the buckets. Where some can read tags and others cannot, that stays open: each then finds
/// out for itself.
fn together(endpoint: &Name, buckets: &[String], learned: &[Vec<BucketFacts>]) -> Vec<BucketFacts> {
    let mut all = Vec::new();
    for bucket in buckets {
        let of_bucket = || {
            let mine =
                move |facts: &&BucketFacts| facts.bucket == *bucket && facts.endpoint == *endpoint;
            learned.iter().flatten().filter(mine)
        };
        let mut merged = BucketFacts::unknown(endpoint.clone(), bucket.clone());
        for facts in of_bucket() {
            merged.merge(facts);
        }
        let tags: BTreeSet<_> = of_bucket().filter_map(|facts| facts.tags).collect();
        if tags.len() > 1 {
            merged.tags = None;
        }
        if of_bucket().next().is_some() {
            all.push(merged);
        }
    }
    all
}
