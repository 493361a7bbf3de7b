//! Questions to agents and their answers.

use super::explain::{explanation_from, explanation_to};
use super::run::{work_error, work_error_to};
use super::{
    Problems, duration_to, endpoint, facts_from, facts_to, names, plan, session, session_out,
    setup, usage,
};
use crate::model::{
    AgentProbe, Answer, Ask, CheckState, EndpointProbe, Invalid, PlaceProbe, Probe, ProbeCheck,
    Question,
};
use crate::pb::{agent::v1 as agent_pb, v1 as pb};

/// What a message about a question is.
pub(super) enum Asked {
    Question(Question),
    Withdrawn(u64),
}

/// A question; the error is all that makes no sense of it.
pub(super) fn question(question: agent_pb::Question) -> Result<Asked, Invalid> {
    use agent_pb::question::Ask as Wire;
    let agent_pb::Question { id, patience, ask } = question;
    let mut problems = Problems::default();
    let patience = problems.duration("patience", patience);
    let ask = match ask {
        Some(Wire::Withdrawal(agent_pb::Withdrawal {})) => return Ok(Asked::Withdrawn(id)),
        Some(Wire::Explain(agent_pb::ExplainQuestion { work })) => problems
            .part("work", session::assignment(work.unwrap_or_default()))
            .map(|work| Ask::Explain(Box::new(work))),
        Some(Wire::Probe(probe)) => self::probe(probe, &mut problems).map(Ask::Probe),
        Some(Wire::Plan(plan)) => {
            plan::question(plan, &mut problems).map(|ask| Ask::Plan(Box::new(ask)))
        }
        Some(Wire::Setup(setup)) => {
            setup::question(setup, &mut problems).map(|ask| Ask::Setup(Box::new(ask)))
        }
        Some(Wire::Activity(agent_pb::ActivityQuestion { run })) => {
            problems.run("run", &run).map(Ask::Activity)
        }
        None => {
            problems.add("ask", "is of a kind this version does not know");
            None
        }
    };
    let patience = patience.unwrap_or_default();
    problems.finish(ask.map(|ask| Asked::Question(Question { id, patience, ask })))
}

fn probe(probe: agent_pb::ProbeQuestion, problems: &mut Problems) -> Option<Probe> {
    let agent_pb::ProbeQuestion { endpoint, settings, places } = probe;
    let name = problems.name("endpoint", &endpoint);
    let spec = endpoint::spec(settings.unwrap_or_default(), "settings", problems);
    let places = places
        .into_iter()
        .map(|agent_pb::ProbePlace { bucket, prefix }| (bucket, prefix))
        .collect();
    Some(Probe { endpoint: name?, spec, places })
}

/// A question for the wire.
pub(super) fn question_to(question: Question) -> agent_pb::Question {
    use agent_pb::question::Ask as Wire;
    let Question { id, patience, ask } = question;
    let ask = match ask {
        Ask::Explain(work) => Wire::Explain(agent_pb::ExplainQuestion {
            work: Some(session_out::assignment_to(*work)),
        }),
        Ask::Probe(Probe { endpoint, spec, places }) => Wire::Probe(agent_pb::ProbeQuestion {
            endpoint: endpoint.into(),
            settings: Some(endpoint::spec_to(spec)),
            places: places
                .into_iter()
                .map(|(bucket, prefix)| agent_pb::ProbePlace { bucket, prefix })
                .collect(),
        }),
        Ask::Plan(ask) => Wire::Plan(plan::question_to(*ask)),
        Ask::Setup(ask) => Wire::Setup(setup::question_to(*ask)),
        Ask::Activity(run) => Wire::Activity(agent_pb::ActivityQuestion { run: run.to_string() }),
    };
    agent_pb::Question { id, patience: duration_to(patience), ask: Some(ask) }
}

/// Nobody waits for an answer any more, for the wire.
pub(super) fn withdrawal_to(id: u64) -> agent_pb::Question {
    let ask = agent_pb::question::Ask::Withdrawal(agent_pb::Withdrawal {});
    agent_pb::Question { id, patience: None, ask: Some(ask) }
}

/// An answer.
pub(super) fn answer(answer: Option<agent_pb::answer::Answer>) -> Result<Answer, Invalid> {
    use agent_pb::answer::Answer as Wire;
    let mut problems = Problems::default();
    let answer = match answer {
        Some(Wire::Refusal(error)) => work_error(Some(error), &mut problems).map(Answer::Refused),
        Some(Wire::Explanation(explanation)) => problems
            .part("explanation", explanation_from(explanation))
            .map(|explained| Answer::Explained(Box::new(explained))),
        Some(Wire::Probe(agent_pb::ProbeAnswer { places, facts })) => {
            let mut learned = Vec::with_capacity(facts.len());
            for (index, one) in facts.into_iter().enumerate() {
                learned.extend(problems.part(&format!("facts[{index}]"), facts_from(one)));
            }
            Some(Answer::Probed { places: places_from(places, &mut problems), facts: learned })
        }
        Some(Wire::Plan(answer)) => {
            Some(Answer::Planned(Box::new(plan::answer(answer, &mut problems))))
        }
        Some(Wire::Setup(answer)) => {
            Some(Answer::SetUp(Box::new(setup::answer(answer, &mut problems))))
        }
        Some(Wire::Activity(answer)) => {
            let activity = usage::activity("activity", answer, &mut problems);
            Some(Answer::Active(Box::new(activity)))
        }
        None => {
            problems.add("answer", "is of a kind this version does not know");
            None
        }
    };
    problems.finish(answer)
}

/// An answer for the wire.
pub(super) fn answer_to(id: u64, answer: Answer) -> agent_pb::Answer {
    use agent_pb::answer::Answer as Wire;
    let answer = match answer {
        Answer::Refused(error) => Wire::Refusal(work_error_to(error)),
        Answer::Explained(explained) => Wire::Explanation(explanation_to(*explained)),
        Answer::Probed { places, facts } => Wire::Probe(agent_pb::ProbeAnswer {
            places: places.into_iter().map(place_to).collect(),
            facts: facts.into_iter().map(facts_to).collect(),
        }),
        Answer::Planned(part) => Wire::Plan(plan::answer_to(*part)),
        Answer::SetUp(setup) => Wire::Setup(setup::answer_to(*setup)),
        Answer::Active(activity) => Wire::Activity(usage::activity_to(*activity)),
    };
    agent_pb::Answer { id, answer: Some(answer) }
}

fn places_from(places: Vec<pb::PlaceProbe>, problems: &mut Problems) -> Vec<PlaceProbe> {
    let mut found = Vec::with_capacity(places.len());
    for (index, pb::PlaceProbe { bucket, prefix, checks }) in places.into_iter().enumerate() {
        let checks = checks_from(&format!("places[{index}]"), checks, problems);
        found.push(PlaceProbe { bucket, prefix, checks });
    }
    found
}

fn place_to(place: PlaceProbe) -> pb::PlaceProbe {
    let PlaceProbe { bucket, prefix, checks } = place;
    pb::PlaceProbe { bucket, prefix, checks: checks_to(checks) }
}

pub(super) fn checks_from(
    at: &str,
    checks: Vec<pb::ProbeCheck>,
    problems: &mut Problems,
) -> Vec<ProbeCheck> {
    let mut done = Vec::with_capacity(checks.len());
    for (nth, pb::ProbeCheck { name, state, detail }) in checks.into_iter().enumerate() {
        let state = problems.choice(&format!("{at}.checks[{nth}].state"), state, |state| {
            Some(match state {
                pb::CheckState::Unspecified => return None,
                pb::CheckState::Ok => CheckState::Ok,
                pb::CheckState::Warning => CheckState::Warning,
                pb::CheckState::Failed => CheckState::Failed,
                pb::CheckState::Unknown => CheckState::Unknown,
            })
        });
        done.extend(state.map(|state| ProbeCheck { name, state, detail }));
    }
    done
}

pub(super) fn checks_to(checks: Vec<ProbeCheck>) -> Vec<pb::ProbeCheck> {
    let check = |ProbeCheck { name, state, detail }| {
        let state = match state {
            CheckState::Ok => pb::CheckState::Ok,
            CheckState::Warning => pb::CheckState::Warning,
            CheckState::Failed => pb::CheckState::Failed,
            CheckState::Unknown => pb::CheckState::Unknown,
        };
        pb::ProbeCheck { name, state: state.into(), detail }
    };
    checks.into_iter().map(check).collect()
}

/// What agents found at an endpoint, as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn probed_from(probe: pb::ProbeEndpointResponse) -> Result<EndpointProbe, Invalid> {
    let pb::ProbeEndpointResponse { name, agents } = probe;
    let mut problems = Problems::default();
    let endpoint = problems.part("", names::endpoint_name(&name));
    let mut looked = Vec::with_capacity(agents.len());
    for (index, pb::AgentProbe { agent, unanswered, places }) in agents.into_iter().enumerate() {
        let at = format!("agents[{index}]");
        let agent = problems.part(&at, names::agent_name(&agent));
        let places = places_from(places, &mut problems);
        let found = if unanswered.is_empty() { Ok(places) } else { Err(unanswered) };
        looked.extend(agent.map(|agent| AgentProbe { agent, found }));
    }
    problems.finish(endpoint.map(|endpoint| EndpointProbe { endpoint, agents: looked }))
}

/// What agents found at an endpoint, for the wire.
#[must_use]
pub fn probed_to(probe: EndpointProbe) -> pb::ProbeEndpointResponse {
    let EndpointProbe { endpoint, agents } = probe;
    let agent = |AgentProbe { agent, found }| {
        let (unanswered, places) = match found {
            Ok(places) => (String::new(), places),
            Err(why) => (why, Vec::new()),
        };
        let places = places.into_iter().map(place_to).collect();
        pb::AgentProbe { agent: names::format_agent(&agent), unanswered, places }
    };
    pb::ProbeEndpointResponse {
        name: names::format_endpoint(&endpoint),
        agents: agents.into_iter().map(agent).collect(),
    }
}
