//! What people ask of agents: who is asked, what happens when nobody answers, and what is withdrawn.

use s3sync_proto::model::{
    Answer, Ask, CheckState, Failure, FailureClass, Key, KeyExplanation, KeyVerdict, NextStep,
    ObjectState, PlaceProbe, Presence, ProbeCheck, Question, Work, WorkError,
};

use super::*;

/// An agent that answers questions.
async fn able(server: &Server, agent: &str) -> AgentLink {
    let hello = Hello { features: vec!["ask".into(), "keys".into()], ..hello(agent, "1") };
    let mut link = server.dial(FromAgent::Hello(hello)).await.unwrap();
    assert!(matches!(next(&mut link).await, ToAgent::Welcome(_)));
    link
}

/// The next question; what an agent with work gets besides is passed over.
async fn question(link: &mut AgentLink) -> Question {
    loop {
        if let ToAgent::Question(question) = next(link).await {
            return question;
        }
    }
}

fn object(presence: Presence) -> ObjectState {
    ObjectState {
        bucket: "from".into(),
        key: Key::from("p/k"),
        presence,
        problem: None,
        size: 1,
        etag: "e".into(),
        etag_kind: None,
        modified: None,
        storage_class: String::new(),
        archived: false,
        encryption: String::new(),
        version_id: String::new(),
        stamp: String::new(),
        checksums: Vec::new(),
        tags: None,
        content_type: String::new(),
    }
}

fn explained(verdict: KeyVerdict) -> Answer {
    Answer::Explained(Box::new(KeyExplanation {
        source: object(Presence::Absent),
        destination: object(Presence::Present),
        passes_filter: true,
        filter_reason: String::new(),
        verdict,
        reason: "because".into(),
        next: NextStep::Nothing,
        next_reason: "a run leaves it where it is".into(),
        way: None,
    }))
}

fn refusal() -> Answer {
    let (class, code) = (FailureClass::Permanent, "no_credential".to_owned());
    Answer::Refused(WorkError { class, code, message: "not mine".into() })
}

fn asking(
    client: &ApiClient,
    key: &str,
) -> tokio::task::JoinHandle<Result<s3sync_proto::model::Explanation, s3sync_proto::client::ApiError>>
{
    let (mut client, key) = (client.clone(), Key::from(key));
    tokio::spawn(async move { client.explain_key(&name("media"), &key, None).await })
}

#[tokio::test]
async fn a_key_is_explained_by_who_can_look_and_by_the_next_when_one_refuses_or_leaves() {
    let (server, client) = with_job().await;
    let (mut a, mut b) = (able(&server, "a").await, able(&server, "b").await);
    let mut c = able(&server, "c").await;
    let asked = asking(&client, "k");
    let Question { id, ask, .. } = question(&mut a).await;
    let Ask::Explain(work) = ask else { panic!("another question") };
    assert_eq!(work.work, Work::Keys(vec![Key::from("k")]));
    assert_eq!((work.source.bucket.as_str(), work.held.id), ("from", 0));
    // An answer to a question that was never asked counts for nothing.
    assert!(a.send(FromAgent::Answer { id: id + 7, answer: explained(KeyVerdict::InStep) }).await);
    assert!(a.send(FromAgent::Answer { id, answer: refusal() }).await);
    question(&mut b).await;
    drop(b);
    let id = question(&mut c).await.id;
    assert!(c.send(FromAgent::Answer { id, answer: explained(KeyVerdict::Extra) }).await);
    let explanation = asked.await.unwrap().unwrap();
    assert_eq!((explanation.key, explanation.latest_run), (Key::from("k"), None));
    let (agent, found) = explanation.destinations[0].found.clone().unwrap();
    assert_eq!((agent, found.verdict), (name("c"), KeyVerdict::Extra));
    // What becomes of what only the destination has is up to the job.
    assert_eq!(found.next_reason, "it stays: the job deletes nothing");
}

#[tokio::test]
async fn one_agent_answers_for_as_many_destinations_as_a_job_may_have() {
    use s3sync_proto::model::MAX_DESTINATIONS;
    let (server, mut client) = with_job().await;
    let mut spec = job();
    let one = spec.destinations[0].clone();
    spec.destinations = (0..MAX_DESTINATIONS)
        .map(|n| {
            let mut destination = one.clone();
            destination.location.bucket = format!("into-{n:02}");
            destination
        })
        .collect();
    client
        .put_job(&name("media"), &spec, Precondition::Exists(None), WriteOptions::default())
        .await
        .unwrap();
    let mut a = able(&server, "a").await;
    let asked = asking(&client, "k");
    for _ in 0..MAX_DESTINATIONS {
        let id = question(&mut a).await.id;
        assert!(a.send(FromAgent::Answer { id, answer: explained(KeyVerdict::InStep) }).await);
    }
    let explanation = asked.await.unwrap().unwrap();
    assert_eq!(explanation.destinations.len(), MAX_DESTINATIONS);
    for (n, one) in explanation.destinations.iter().enumerate() {
        assert_eq!(one.location.bucket, format!("into-{n:02}"), "in the order of the job");
        assert!(one.found.is_ok(), "{:?}", one.found);
    }
}

#[tokio::test]
async fn when_nobody_can_look_it_is_said_why() {
    let (server, mut client) = with_job().await;
    let mut nobody =
        async || client.explain_key(&name("media"), &Key::from("k"), None).await.unwrap_err();
    let told = nobody().await;
    assert_eq!(
        (told.code, told.reason.as_str()),
        (Code::FailedPrecondition, reason::NO_ELIGIBLE_AGENT)
    );
    assert_eq!(told.message, "no agent is connected");
    let mut old = server.dial(FromAgent::Hello(hello("old", "1"))).await.unwrap();
    next(&mut old).await;
    let told = nobody().await;
    assert_eq!(told.reason, reason::NO_ELIGIBLE_AGENT);
    assert!(told.message.contains("old does not know the feature ask"), "{}", told.message);
    let mut a = able(&server, "a").await;
    let asked = asking(&client, "k");
    let id = question(&mut a).await.id;
    assert!(a.send(FromAgent::Answer { id, answer: refusal() }).await);
    let told = asked.await.unwrap().unwrap_err();
    assert_eq!(told.reason, reason::NO_ELIGIBLE_AGENT);
    assert_eq!(told.message, "a refused: no_credential: not mine");
    let asked = asking(&client, "k");
    let id = question(&mut a).await.id;
    let other = Answer::Probed { places: Vec::new(), facts: Vec::new() };
    assert!(a.send(FromAgent::Answer { id, answer: other }).await);
    let told = asked.await.unwrap().unwrap_err();
    assert_eq!(told.message, "a answered something else");
}

#[tokio::test]
async fn a_question_is_withdrawn_when_who_asked_leaves() {
    let (server, client) = with_job().await;
    let mut a = able(&server, "a").await;
    let asked = asking(&client, "k");
    let id = question(&mut a).await.id;
    asked.abort();
    assert_eq!(next(&mut a).await, ToAgent::Withdrawal(id));
    // The late answer hurts nobody, and the session goes on.
    assert!(a.send(FromAgent::Answer { id, answer: explained(KeyVerdict::InStep) }).await);
    let asked = asking(&client, "k");
    let id = question(&mut a).await.id;
    assert!(a.send(FromAgent::Answer { id, answer: explained(KeyVerdict::InStep) }).await);
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_recorded_of_a_key_comes_with_its_explanation() {
    let (server, mut client) = with_job().await;
    let mut a = able(&server, "a").await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut a).await.held;
    let failure = Failure {
        key: Key::from("k"),
        destination: 0,
        class: FailureClass::Permanent,
        code: "AccessDenied".into(),
        message: "no".into(),
        s3_request_id: String::new(),
        attempts: 1,
        first: Timestamp::from_micros(1),
        last: Timestamp::from_micros(2),
    };
    let report = WorkReport {
        sequence: 1,
        held,
        outcome: Outcome::Completed,
        previous_cursor: None,
        cursor: None,
        counters: Counters { listed: 1, failed: 1, ..Counters::default() },
        failures: vec![failure.clone()],
        extras: Default::default(),
    };
    assert!(a.send(FromAgent::Report(report)).await);
    while !matches!(next(&mut a).await, ToAgent::Ack(_)) {}
    for (key, bucket, failures) in [("p/k", "from", 1), ("p/other", "into", 0)] {
        let mut client = client.clone();
        let asked = tokio::spawn(async move {
            client.explain_key(&name("media"), &Key::from(key), Some(bucket)).await
        });
        let id = question(&mut a).await.id;
        assert!(a.send(FromAgent::Answer { id, answer: explained(KeyVerdict::InStep) }).await);
        let explanation = asked.await.unwrap().unwrap();
        assert_eq!(explanation.failures.len(), failures, "{key}");
        if failures > 0 {
            assert_eq!(explanation.failures[0].1, failure);
        }
        let (run, state, ended) = explanation.latest_run.unwrap();
        assert_eq!((run.number, state), (1, RunState::FinishedWithFailures));
        assert!(ended.is_some());
    }
}

#[tokio::test]
async fn a_key_that_is_not_of_the_job_is_refused_before_anybody_is_asked() {
    let (_server, mut client) = with_job().await;
    let long = "k".repeat(1025);
    for (key, bucket) in [("p/k", Some("other")), ("q/k", Some("from")), (long.as_str(), None)] {
        let told = client.explain_key(&name("media"), &Key::from(key), bucket).await.unwrap_err();
        assert_eq!(told.code, Code::InvalidArgument, "{key}");
        assert_eq!(told.violations[0].field, "key");
    }
    let told = client.explain_key(&name("none"), &Key::from("k"), None).await.unwrap_err();
    assert_eq!(told.code, Code::NotFound);
}

fn found(bucket: &str) -> PlaceProbe {
    let check =
        ProbeCheck { name: "reachable".into(), state: CheckState::Ok, detail: "it answers".into() };
    PlaceProbe { bucket: bucket.into(), prefix: "p/".into(), checks: vec![check] }
}

#[tokio::test]
async fn a_probe_forgets_asks_everybody_and_keeps_what_they_agree_on() {
    use s3sync_proto::model::{BucketFacts, EtagKind};
    let (server, mut client) = with_job().await;
    let facts = |bucket: &str| BucketFacts::unknown(name("usw2"), bucket.into());
    for bucket in ["from", "into", "unused"] {
        let old = BucketFacts { conditional_writes: Some(true), tags: Some(true), ..facts(bucket) };
        server.store.learn(old).await.unwrap();
    }
    let told = client.probe_endpoint(&name("usw2"), None).await.unwrap_err();
    assert_eq!(
        (told.code, told.reason.as_str()),
        (Code::FailedPrecondition, reason::NO_ELIGIBLE_AGENT)
    );
    let known = client.get_endpoint(&name("usw2")).await.unwrap().buckets;
    assert_eq!(known.len(), 3, "nothing is forgotten when nobody can look");

    let (mut a, mut b) = (able(&server, "a").await, able(&server, "b").await);
    let mut old = server.dial(FromAgent::Hello(hello("old", "1"))).await.unwrap();
    next(&mut old).await;
    let probing = {
        let mut client = client.clone();
        tokio::spawn(async move { client.probe_endpoint(&name("usw2"), None).await })
    };
    for (link, tags) in [(&mut a, true), (&mut b, false)] {
        let Question { id, ask, .. } = question(link).await;
        let Ask::Probe(probe) = ask else { panic!("another question") };
        let places: Vec<_> = probe.places.iter().map(|(b, p)| (b.as_str(), p.as_str())).collect();
        assert_eq!(places, [("from", "p/"), ("into", "p/"), ("unused", "")]);
        let known = client.get_endpoint(&name("usw2")).await.unwrap().buckets;
        assert_eq!(known, [], "no agent is told the old facts any more");
        let learned = BucketFacts { etags: Some(EtagKind::Md5), tags: Some(tags), ..facts("from") };
        let answer = Answer::Probed { places: vec![found("from")], facts: vec![learned] };
        assert!(link.send(FromAgent::Answer { id, answer }).await);
    }
    let probe = probing.await.unwrap().unwrap();
    let agents: Vec<_> =
        probe.agents.iter().map(|one| (one.agent.as_str(), one.found.is_ok())).collect();
    assert_eq!(agents, [("a", true), ("b", true), ("old", false)]);
    let known = client.get_endpoint(&name("usw2")).await.unwrap().buckets;
    // Where they differ about tags, each finds out for itself.
    assert_eq!(known, [BucketFacts { etags: Some(EtagKind::Md5), ..facts("from") }]);

    // A bucket that is named is all that is looked at, and forgotten.
    server.store.learn(BucketFacts { tags: Some(true), ..facts("into") }).await.unwrap();
    let probing = {
        let mut client = client.clone();
        tokio::spawn(async move { client.probe_endpoint(&name("usw2"), Some("new")).await })
    };
    for link in [&mut a, &mut b] {
        let Question { id, ask, .. } = question(link).await;
        assert!(
            matches!(ask, Ask::Probe(probe) if probe.places == [("new".to_owned(), String::new())])
        );
        assert!(link.send(FromAgent::Answer { id, answer: refusal() }).await);
    }
    let probe = probing.await.unwrap().unwrap();
    assert_eq!(probe.agents[0].found, Err("refused: no_credential: not mine".to_owned()));
    let known = client.get_endpoint(&name("usw2")).await.unwrap().buckets;
    assert_eq!(known.len(), 2, "the others stay");
}

#[tokio::test]
async fn a_probe_without_a_bucket_or_with_too_many_says_so() {
    use s3sync_proto::model::BucketFacts;
    let server = server(Tokens::default()).await;
    let mut client = server.client();
    let told = client.probe_endpoint(&name("usw2"), None).await.unwrap_err();
    assert_eq!(told.code, Code::NotFound);
    let options = WriteOptions::default();
    client.put_endpoint(&name("usw2"), &endpoint(), Precondition::Absent, options).await.unwrap();
    let told = client.probe_endpoint(&name("usw2"), None).await.unwrap_err();
    assert_eq!((told.code, told.violations[0].field.as_str()), (Code::InvalidArgument, "bucket"));
    for n in 0..=16 {
        // With one more than the limit, one must be named.
        let told = client.probe_endpoint(&name("usw2"), None).await.unwrap_err();
        let expected = if n == 0 { Code::InvalidArgument } else { Code::FailedPrecondition };
        assert_eq!(told.code, expected, "{n} buckets");
        let facts = BucketFacts::unknown(name("usw2"), format!("bucket-{n}"));
        server.store.learn(facts).await.unwrap();
    }
    let told = client.probe_endpoint(&name("usw2"), None).await.unwrap_err();
    assert_eq!(told.code, Code::InvalidArgument);
    assert!(told.violations[0].description.contains("at most 16"), "{told:?}");
}

#[tokio::test]
async fn who_waits_for_an_agent_that_leaves_with_the_server_is_told_that_it_stops() {
    let (server, client) = with_job().await;
    let mut a = able(&server, "a").await;
    let asked = asking(&client, "k");
    question(&mut a).await;
    server.shutdown.cancel();
    drop(a);
    let told = asked.await.unwrap().unwrap_err();
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, reason::SERVER_STOPPING));
}
