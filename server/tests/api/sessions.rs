//! What agents and the server do with each other beyond the good way.

use s3sync_proto::model::{BucketFacts, FailureClass, Key, SplitProposal, Work, WorkError};
use s3sync_server::store::SessionId;

use super::*;

/// A connected agent that was welcomed, with what was confirmed to it and its session.
async fn agent(server: &Server, hello: Hello) -> (AgentLink, Vec<Held>, SessionId) {
    let mut link = server.dial(FromAgent::Hello(hello)).await.unwrap();
    let ToAgent::Welcome(welcome) = next(&mut link).await else { panic!("Welcome comes first") };
    let id = welcome.session.strip_prefix("s-").unwrap().parse().unwrap();
    (link, welcome.lease.confirmed, SessionId(id))
}

async fn next_ack(link: &mut AgentLink) -> (u64, Verdict) {
    loop {
        if let ToAgent::Ack(ack) = next(link).await {
            return (ack.sequence, ack.verdict);
        }
    }
}

/// How the server ended the stream.
async fn end(link: &mut AgentLink) -> s3sync_proto::client::ApiError {
    loop {
        match tokio::time::timeout(BOUND, link.receive()).await.expect("an end in time") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end has no reason"),
            Err(error) => return error,
        }
    }
}

/// Waits until the newest run of `media` is so.
async fn until(client: &mut ApiClient, holds: impl Fn(&s3sync_proto::model::Run) -> bool) {
    let run = client.get_run(&name("media"), None).await.unwrap().name;
    let mut events = std::pin::pin!(client.watch_run(&run.job, run.number).await.unwrap());
    loop {
        let event = tokio::time::timeout(BOUND, events.next()).await.expect("a change in time");
        match event.expect("the run goes on").unwrap() {
            WatchEvent::Snapshot(run) | WatchEvent::Changed(run) if holds(&run) => return,
            WatchEvent::Snapshot(_) | WatchEvent::SnapshotEnd | WatchEvent::Changed(_) => {}
        }
    }
}

fn report(held: Held, outcome: Outcome, cursor: Option<&str>, keys: u64) -> FromAgent {
    FromAgent::Report(WorkReport {
        sequence: 1,
        held,
        outcome,
        previous_cursor: None,
        cursor: cursor.map(Key::from),
        counters: Counters { listed: keys, in_step: keys, ..Counters::default() },
        failures: Vec::new(),
        extras: Default::default(),
    })
}

#[tokio::test]
async fn hello_comes_once() {
    let server = server(Tokens::default()).await;
    let (mut link, ..) = agent(&server, hello("a", "1")).await;
    assert!(link.send(FromAgent::Hello(hello("a", "1"))).await);
    let told = end(&mut link).await;
    assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, reason::FIELD_INVALID));
}

#[tokio::test]
async fn a_run_says_why_nobody_works_on_it_until_somebody_does() {
    let (server, mut client) = with_job().await;
    client.run_job(&name("media"), None).await.unwrap();
    until(&mut client, |run| run.reason == "no agent is connected").await;
    let mut lacking = hello("b", "1");
    lacking.endpoints[0].endpoint = name("cnn1");
    let _b = agent(&server, lacking).await;
    until(&mut client, |run| {
        run.reason == "no agent can do this work: b lacks a credential for usw2"
    })
    .await;
    let (mut a, ..) = agent(&server, hello("a", "1")).await;
    next_assignment(&mut a).await;
    until(&mut client, |run| run.reason.is_empty() && run.state == RunState::Running).await;
}

#[tokio::test]
async fn an_idle_agent_gets_the_part_that_the_holder_cuts_off() {
    let (server, mut client) = with_job().await;
    let (mut a, ..) = agent(&server, hello("a", "1")).await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut a).await.held;
    let (mut b, ..) = agent(&server, hello("b", "1")).await;
    loop {
        if let ToAgent::SplitRequest(asked) = next(&mut a).await {
            assert_eq!(asked, held);
            break;
        }
    }
    // The holder has one place left; with less to do, it leaves the rest to the other.
    let full = State { sequence: 1, capacity: 1, held: vec![held], draining: false, last_lease: 0 };
    assert!(a.send(FromAgent::State(full)).await);
    let cut = SplitProposal { sequence: 1, held, at: Key::from("m"), until: None };
    assert!(a.send(FromAgent::SplitProposal(cut)).await);
    assert_eq!(next_ack(&mut a).await, (1, Verdict::Applied));
    let rest = next_assignment(&mut b).await;
    let Work::Range { range, cursor: None } = rest.work else { panic!("a fresh range") };
    assert_eq!((range.after, range.until), (Some(Key::from("m")), None));
    for (link, done) in [
        (&mut a, report(held, Outcome::Completed, Some("m"), 4)),
        (&mut b, report(rest.held, Outcome::Completed, None, 5)),
    ] {
        assert!(link.send(done).await);
        assert_eq!(next_ack(link).await.1, Verdict::Applied);
    }
    let run = client.get_run(&name("media"), None).await.unwrap();
    assert_eq!((run.state, run.totals().listed), (RunState::Succeeded, 9));
}

#[tokio::test]
async fn who_dials_again_keeps_what_it_holds_and_its_report_counts() {
    let (server, mut client) = with_job().await;
    let (mut link, ..) = agent(&server, hello("a", "1")).await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut link).await.held;
    drop(link);
    let again = Hello { held: vec![held, Held { id: held.id, epoch: 9 }], ..hello("a", "1") };
    let (mut link, confirmed, _) = agent(&server, again).await;
    assert_eq!(confirmed, [held], "and not what it never held");
    assert!(link.send(report(held, Outcome::Completed, None, 3)).await);
    assert_eq!(next_ack(&mut link).await, (1, Verdict::Applied));
    assert_eq!(client.get_run(&name("media"), None).await.unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn work_of_who_leaves_or_refuses_goes_to_another_at_once() {
    let (server, mut client) = with_job().await;
    let (mut a, ..) = agent(&server, hello("a", "1")).await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut a).await.held;
    let error = WorkError {
        class: FailureClass::Permanent,
        code: "NotAllowed".into(),
        message: "no".into(),
    };
    assert!(a.send(FromAgent::Refusal { held, error }).await);
    let (mut b, ..) = agent(&server, hello("b", "1")).await;
    let second = next_assignment(&mut b).await.held;
    assert_eq!((second.id, second.epoch > held.epoch), (held.id, true));
    // It gives back what it has before it leaves.
    assert!(b.send(report(second, Outcome::Yielded, None, 0)).await);
    assert!(b.send(FromAgent::Goodbye).await);
    let (mut c, ..) = agent(&server, hello("c", "1")).await;
    let third = next_assignment(&mut c).await.held;
    assert_eq!((third.id, third.epoch > second.epoch), (held.id, true));
}

#[tokio::test]
async fn nothing_new_is_given_to_an_agent_whose_stream_has_broken() {
    let (server, mut client) = with_job().await;
    let (link, _, session) = agent(&server, hello("a", "1")).await;
    drop(link);
    let gone = async {
        while server.sessions.is_here(session) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, gone).await.expect("the server sees that the stream is over");
    client.run_job(&name("media"), None).await.unwrap();
    // Its session goes on, so without this the range would be leased to it and wait for the expiry.
    until(&mut client, |run| run.reason == "no agent is connected").await;
    assert_eq!(client.get_run(&name("media"), None).await.unwrap().state, RunState::Pending);
    let (mut back, ..) = agent(&server, hello("a", "1")).await;
    next_assignment(&mut back).await;
}

#[tokio::test]
async fn a_silent_agent_is_cut_off_and_its_work_goes_on_elsewhere() {
    let times = LeaseTimes {
        // Long enough for the assignment to arrive on a busy machine before the silence is noticed.
        heartbeat_interval: Duration::from_secs(1),
        write_window: Duration::from_secs(2),
        session_ttl: Duration::from_secs(4),
    };
    let (server, mut client) = with_job_at(times).await;
    client.run_job(&name("media"), None).await.unwrap();
    let (mut a, ..) = agent(&server, hello("a", "1")).await;
    let held = next_assignment(&mut a).await.held;
    let told = end(&mut a).await;
    assert_eq!(told.reason, reason::SESSION_EXPIRED);
    let (mut b, ..) = agent(&server, hello("b", "1")).await;
    let taken = next_assignment(&mut b).await.held;
    assert_eq!((taken.id, taken.epoch), (held.id, held.epoch + 1));
}

#[tokio::test]
async fn a_report_that_contradicts_itself_ends_the_session_and_changes_nothing() {
    let (server, mut client) = with_job().await;
    let (mut link, ..) = agent(&server, hello("a", "1")).await;
    client.run_job(&name("media"), None).await.unwrap();
    let held = next_assignment(&mut link).await.held;
    let FromAgent::Report(mut bad) = report(held, Outcome::Checkpoint, Some("c"), 3) else {
        unreachable!("it is a report")
    };
    bad.counters.copied = 1;
    assert!(link.send(FromAgent::Report(bad)).await);
    assert_eq!(end(&mut link).await.code, Code::InvalidArgument);
    assert_eq!(client.get_run(&name("media"), None).await.unwrap().totals().listed, 0);
}

#[tokio::test]
async fn what_an_agent_learned_of_a_bucket_is_kept() {
    let (server, mut client) = with_job().await;
    let (mut link, ..) = agent(&server, hello("a", "1")).await;
    let facts = BucketFacts {
        conditional_writes: Some(true),
        ..BucketFacts::unknown(name("usw2"), "into".into())
    };
    assert!(link.send(FromAgent::Facts { sequence: 1, facts }).await);
    assert_eq!(next_ack(&mut link).await, (1, Verdict::Applied));
    let known = client.get_endpoint(&name("usw2")).await.unwrap().buckets;
    assert_eq!((known.len(), known[0].conditional_writes), (1, Some(true)));
    client.run_job(&name("media"), None).await.unwrap();
    let assignment = next_assignment(&mut link).await;
    assert_eq!(assignment.destination_facts.conditional_writes, Some(true));
}
