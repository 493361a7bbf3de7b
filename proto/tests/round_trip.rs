//! What is written to the wire is read back as it was, through the encoded bytes.

use proptest::prelude::*;
use prost::Message;
use s3sync_proto::{json::Resource as _, pb, wire};

use crate::values;

/// Encodes and decodes.
fn bytes<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn endpoints(endpoint in values::endpoint()) {
        let there = bytes(&wire::endpoint_to(endpoint.clone()));
        prop_assert_eq!(wire::endpoint_spec(there.clone()), Ok(endpoint.spec.clone()));
        prop_assert_eq!(wire::endpoint_from(there), Ok(endpoint));
    }

    #[test]
    fn facts(facts in values::facts()) {
        prop_assert_eq!(wire::facts_from(bytes(&wire::facts_to(facts.clone()))), Ok(facts));
    }

    #[test]
    fn audit_entries(entry in values::audit_entry()) {
        let there = bytes(&wire::audit_entry_to(entry.clone()));
        prop_assert_eq!(wire::audit_entry_from(there), Ok(entry));
    }

    #[test]
    fn queues(queue in values::queue()) {
        let there = bytes(&wire::queue_to(queue.clone()));
        prop_assert_eq!(wire::queue_spec(there.clone()), Ok(queue.spec.clone()));
        prop_assert_eq!(wire::queue_from(there), Ok(queue));
    }

    #[test]
    fn jobs(job in values::job()) {
        let there = bytes(&wire::job_to(job.clone()));
        prop_assert_eq!(wire::job_spec(there.clone()), Ok(job.spec.clone()));
        prop_assert_eq!(wire::job_from(there), Ok(job));
    }

    #[test]
    fn runs(run in values::run()) {
        let there: pb::v1::Run = bytes(&wire::run_to(run.clone()));
        prop_assert_eq!(there.totals, Some(wire::counters_to(run.totals())));
        prop_assert_eq!(wire::run_from(there), Ok(run));
    }

    #[test]
    fn views_of_runs(view in values::run_view()) {
        prop_assert!(view.to_json().is_object());
        prop_assert_eq!(wire::run_view_from(bytes(&wire::run_view_to(view.clone()))), Ok(view));
    }

    #[test]
    fn reports_of_runs(report in values::run_report()) {
        prop_assert!(report.to_json().is_object());
        let there = bytes(&wire::run_report_to(report.clone()));
        prop_assert_eq!(wire::run_report_from(there), Ok(report));
    }

    #[test]
    fn counters(counters in values::counters()) {
        prop_assert_eq!(wire::counters_from(bytes(&wire::counters_to(counters))), Ok(counters));
    }

    #[test]
    fn failures(failure in values::failure()) {
        prop_assert_eq!(wire::failure_from(bytes(&wire::failure_to(failure.clone()))), Ok(failure));
    }

    #[test]
    fn agents(agent in values::agent()) {
        prop_assert_eq!(wire::agent_from(bytes(&wire::agent_to(agent.clone()))), Ok(agent));
    }

    #[test]
    fn explanations(explanation in values::explanation()) {
        let there = bytes(&wire::key_explained_to(explanation.clone()));
        prop_assert!(explanation.to_json().is_object());
        prop_assert_eq!(wire::key_explained_from(there), Ok(explanation));
    }

    #[test]
    fn probes(probe in values::endpoint_probe()) {
        prop_assert!(probe.to_json().is_object());
        prop_assert_eq!(wire::probed_from(bytes(&wire::probed_to(probe.clone()))), Ok(probe));
    }

    #[test]
    fn queue_checks(check in values::queue_check()) {
        prop_assert!(check.to_json().is_object());
        let there = bytes(&wire::queue_checked_to(check.clone()));
        prop_assert_eq!(wire::queue_checked_from(there), Ok(check));
    }

    #[test]
    fn plans(plan in values::job_plan(), differences in proptest::collection::vec(values::difference(), 0..3)) {
        prop_assert!(plan.to_json().is_object());
        prop_assert!(differences.iter().all(|one| one.to_json().is_object()));
        let there = bytes(&wire::planned_to(plan.clone(), differences.clone()));
        prop_assert_eq!(wire::planned_from(there), Ok((plan, differences)));
    }

    #[test]
    fn messages_of_agents(message in values::from_agent()) {
        prop_assert_eq!(wire::from_agent(bytes(&wire::from_agent_to(message.clone()))), Ok(message));
    }

    #[test]
    fn messages_to_agents(message in values::to_agent()) {
        prop_assert_eq!(wire::to_agent(bytes(&wire::to_agent_to(message.clone()))), Ok(message));
    }

    #[test]
    fn everything_has_a_json_form(
        resources in (values::endpoint(), values::job(), values::run(), values::failure(), values::agent())
    ) {
        let (endpoint, job, run, failure, agent) = resources;
        for json in [endpoint.to_json(), job.to_json(), run.to_json(), failure.to_json(), agent.to_json()] {
            prop_assert!(json.is_object());
        }
    }

    /// Whatever bytes come in are taken or refused; nothing panics.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = pb::v1::Job::decode(bytes.as_slice()) {
            drop(wire::job_from(message));
        }
        if let Ok(message) = pb::agent::v1::OpenSessionRequest::decode(bytes.as_slice()) {
            drop(wire::from_agent(message));
        }
        if let Ok(message) = pb::agent::v1::OpenSessionResponse::decode(bytes.as_slice()) {
            drop(wire::to_agent(message));
        }
    }
}
