//! Agents.

use super::problems::quoted;
use super::{Problems, int32, names, time_to};
use crate::model::{Agent, AgentEndpoint, AgentState, AllowRule, Invalid, Verb};
use crate::pb::v1 as pb;

/// An agent as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn agent_from(agent: pb::Agent) -> Result<Agent, Invalid> {
    let pb::Agent {
        name,
        state,
        labels,
        endpoints,
        version,
        held,
        capacity,
        last_seen_time,
        connect_time,
        features,
    } = agent;
    let mut problems = Problems::default();
    let name = problems.part("", names::agent_name(&name));
    let state = problems.choice("state", state, |state| {
        Some(match state {
            pb::AgentState::Unspecified => return None,
            pb::AgentState::Online => AgentState::Online,
            pb::AgentState::Draining => AgentState::Draining,
            pb::AgentState::Offline => AgentState::Offline,
        })
    });
    let endpoints = endpoints_from(endpoints, &mut problems);
    let held = problems.small_count("held", held);
    let capacity = problems.small_count("capacity", capacity);
    let last_seen = problems.time("last_seen_time", last_seen_time).unwrap_or_default();
    let connected = problems.time("connect_time", connect_time).unwrap_or_default();
    problems.finish(name.zip(state).map(|(name, state)| Agent {
        name,
        state,
        labels: labels.into_iter().collect(),
        endpoints,
        version,
        held,
        capacity,
        last_seen,
        connected,
        features,
    }))
}

/// An agent for the wire.
#[must_use]
pub fn agent_to(agent: Agent) -> pb::Agent {
    let Agent {
        name,
        state,
        labels,
        endpoints,
        version,
        held,
        capacity,
        last_seen,
        connected,
        features,
    } = agent;
    let state = match state {
        AgentState::Online => pb::AgentState::Online,
        AgentState::Draining => pb::AgentState::Draining,
        AgentState::Offline => pb::AgentState::Offline,
    };
    pb::Agent {
        name: names::format_agent(&name),
        state: state.into(),
        labels: labels.into_iter().collect(),
        endpoints: endpoints_to(endpoints),
        version,
        held: int32(held),
        capacity: int32(capacity),
        last_seen_time: time_to(last_seen),
        connect_time: time_to(connected),
        features,
    }
}

pub(super) fn endpoints_from(
    endpoints: Vec<pb::AgentEndpoint>,
    problems: &mut Problems,
) -> Vec<AgentEndpoint> {
    let mut found = Vec::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        let pb::AgentEndpoint { endpoint, credential_kind, allow, credential_fingerprint } =
            endpoint;
        let endpoint = problems.name(&format!("endpoints[{index}].endpoint"), &endpoint);
        let allow = allow.into_iter().map(|rule| rule_from(index, rule, problems)).collect();
        if let Some(endpoint) = endpoint {
            found.push(AgentEndpoint { endpoint, credential_kind, allow, credential_fingerprint });
        }
    }
    found
}

fn rule_from(index: usize, rule: pb::AllowRule, problems: &mut Problems) -> AllowRule {
    let pb::AllowRule { bucket, prefix, verbs } = rule;
    let mut known = Vec::new();
    for verb in verbs {
        match verb.as_str() {
            "list" => known.push(Verb::List),
            "read" => known.push(Verb::Read),
            "write" => known.push(Verb::Write),
            "delete" => known.push(Verb::Delete),
            _ => problems.add(
                format!("endpoints[{index}].allow"),
                format!("{} is not a verb; use list, read, write or delete", quoted(&verb)),
            ),
        }
    }
    AllowRule { bucket: Some(bucket).filter(|bucket| !bucket.is_empty()), prefix, verbs: known }
}

pub(super) fn endpoints_to(endpoints: Vec<AgentEndpoint>) -> Vec<pb::AgentEndpoint> {
    let verb = |verb: Verb| match verb {
        Verb::List => "list".to_owned(),
        Verb::Read => "read".to_owned(),
        Verb::Write => "write".to_owned(),
        Verb::Delete => "delete".to_owned(),
    };
    let rule = |AllowRule { bucket, prefix, verbs }: AllowRule| pb::AllowRule {
        bucket: bucket.unwrap_or_default(),
        prefix,
        verbs: verbs.into_iter().map(verb).collect(),
    };
    let one = |AgentEndpoint { endpoint, credential_kind, allow, credential_fingerprint }| {
        pb::AgentEndpoint {
            endpoint: String::from(endpoint),
            credential_kind,
            allow: allow.into_iter().map(rule).collect(),
            credential_fingerprint,
        }
    };
    endpoints.into_iter().map(one).collect()
}
