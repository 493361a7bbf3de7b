//! Assignments within one session: arrival, refusal, revocation, splits, stale work, drain.

use s3sync_proto::client::Code;
use s3sync_proto::model::{FailureClass, FromAgent, Invalid, Outcome, ToAgent, Verdict, WorkError};
use s3sync_proto::wire::UnknownMessage;
use tokio::time::Instant;

use super::harness::{
    Conn, End, HEARTBEAT, World, assignment, bounded, error, held, key, progress, reporting,
};
use crate::session::DRAIN_LIMIT;
use crate::session::ledger::MAX_DURABLE;
use crate::work::Lost;

async fn refused(conn: &mut Conn) -> (u64, String) {
    match conn.next().await {
        Some(FromAgent::Refusal { held, error }) => (held.id, error.code),
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_returns_when_it_is_on_the_servers_disk() {
    let (_world, mut conn, works) = World::holding(1).await;
    let report = reporting(&works[0].desk, progress(Outcome::Checkpoint, None, Some("b")));
    let sent = conn.report().await;
    assert_eq!((sent.sequence, sent.held, sent.cursor), (1, held(1, 1), Some(key("b"))));
    conn.serve_for(HEARTBEAT * 3).await;
    assert!(!report.is_finished(), "not acknowledged yet");
    conn.ack(1, Verdict::Applied).await;
    assert_eq!(bounded("the report", report).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn work_whose_report_was_stale_is_lost() {
    let (_world, mut conn, works) = World::holding(2).await;
    let report = reporting(&works[0].desk, progress(Outcome::Checkpoint, None, Some("b")));
    let late = reporting(&works[0].desk, progress(Outcome::Yielded, Some("b"), Some("c")));
    let sent = conn.report().await;
    conn.report().await;
    conn.ack(sent.sequence, Verdict::Stale).await;
    assert_eq!(bounded("the report", report).await.unwrap(), Err(Lost));
    assert_eq!(bounded("the next report", late).await.unwrap(), Err(Lost));
    assert!(works[0].orders.lost.is_cancelled() && !works[1].orders.lost.is_cancelled());
    assert!(!works[0].desk.may_commit_now() && works[1].desk.may_commit_now());
    assert_eq!(works[0].desk.may_commit().await, Err(Lost));
    let after = progress(Outcome::Checkpoint, None, None);
    assert_eq!(works[0].desk.report(after).await, Err(Lost), "nothing more is said of it");
    conn.states.clear();
    conn.serve_for(HEARTBEAT).await;
    assert_eq!(conn.states.last().unwrap().0.held, [held(2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_lease_does_not_confirm_is_dropped_but_not_what_overtook_it() {
    let (mut world, mut conn, works) = World::holding(1).await;
    conn.serve_for(HEARTBEAT).await;
    // The lease answers a state that was sent before the second assignment came.
    conn.answering = false;
    let state = conn.state().await;
    let second = world.assigned(&mut conn, held(2, 1)).await;
    conn.confirmed = vec![held(1, 2)];
    let lease = conn.lease(state.sequence);
    conn.send(ToAgent::Lease(lease)).await;
    bounded("the loss", works[0].orders.lost.cancelled()).await;
    assert!(!second.orders.lost.is_cancelled());
    // The next state names it, so the next lease judges it.
    conn.answering = true;
    conn.confirmed = vec![];
    conn.serve_for(HEARTBEAT).await;
    bounded("the loss", second.orders.lost.cancelled()).await;
}

#[tokio::test(start_paused = true)]
async fn revoked_work_is_let_go_of_in_an_orderly_way() {
    let (_world, mut conn, works) = World::holding(1).await;
    let revocation = |epoch| ToAgent::Revocation { held: held(1, epoch), reason: "test".into() };
    conn.send(revocation(2)).await;
    conn.serve_for(HEARTBEAT).await;
    assert!(!works[0].orders.stop.is_cancelled(), "another epoch is not meant");
    conn.send(revocation(1)).await;
    bounded("the order", works[0].orders.stop.cancelled()).await;
    assert!(!works[0].orders.lost.is_cancelled(), "it is still ours until it yields");
    let report = reporting(&works[0].desk, progress(Outcome::Yielded, None, Some("b")));
    let sent = conn.report().await;
    conn.serve_for(HEARTBEAT).await;
    assert_eq!(conn.states.last().unwrap().0.held, [held(1, 1)], "held until it is acknowledged");
    conn.ack(sent.sequence, Verdict::Applied).await;
    assert_eq!(bounded("the report", report).await.unwrap(), Ok(()));
    conn.serve_for(HEARTBEAT).await;
    assert_eq!(conn.states.last().unwrap().0.held, [], "then no more");
    assert!(!works[0].orders.lost.is_cancelled(), "it ended; it was not lost");
}

#[tokio::test(start_paused = true)]
async fn an_assignment_that_comes_twice_is_begun_once() {
    let (mut world, mut conn, works) = World::holding(1).await;
    conn.send(ToAgent::Assignment(Box::new(assignment(held(1, 1))))).await;
    assert_eq!(conn.serve_for(HEARTBEAT).await, [], "neither refused nor reported");
    assert!(world.works.try_recv().is_err(), "no second worker");
    assert!(works[0].desk.may_commit_now());
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_takes_the_place_of_an_older_one() {
    let (mut world, mut conn, works) = World::holding(1).await;
    let newer = world.assigned(&mut conn, held(1, 2)).await;
    assert!(works[0].orders.lost.is_cancelled());
    assert!(newer.desk.may_commit_now() && !works[0].desk.may_commit_now());
    let report = works[0].desk.report(progress(Outcome::Completed, None, None)).await;
    assert_eq!(report, Err(Lost));
    drop(works);
    conn.serve_for(HEARTBEAT).await;
    assert!(!newer.orders.lost.is_cancelled(), "the end of the old worker does not end the new");
    assert_eq!(conn.states.last().unwrap().0.held, [held(1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_cut_is_declined_while_one_is_worked_on() {
    let (_world, mut conn, mut works) = World::holding(1).await;
    conn.send(ToAgent::SplitRequest(held(1, 1))).await;
    conn.send(ToAgent::SplitRequest(held(1, 1))).await;
    conn.send(ToAgent::SplitRequest(held(1, 7))).await;
    let declined = conn.serve_for(HEARTBEAT).await;
    let expected = FromAgent::SplitDecline { held: held(1, 1), reason: "busy".into() };
    assert_eq!(declined, [expected], "the second, and nothing for another epoch");
    assert_eq!(works[0].orders.split.recv().await, Some(()));
    let desk = std::sync::Arc::clone(&works[0].desk);
    let proposal = tokio::spawn(async move { desk.propose_split(&key("m"), None).await });
    let Some(FromAgent::SplitProposal(sent)) = conn.next().await else { panic!("no proposal") };
    assert_eq!((sent.at, sent.until), (key("m"), None));
    conn.ack(sent.sequence, Verdict::Applied).await;
    assert_eq!(bounded("the proposal", proposal).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused() {
    let (mut world, mut conn, mut works) = World::holding(1).await;
    let invalid = Invalid::one("work", "is of a kind this version does not know");
    let unknown = UnknownMessage::Assignment { held: held(7, 1), problem: invalid };
    conn.push(Ok(Err(unknown))).await;
    assert_eq!(refused(&mut conn).await, (7, "unknown_work".into()));

    let second = world.assigned(&mut conn, held(2, 1)).await;
    conn.send(ToAgent::Assignment(Box::new(assignment(held(3, 1))))).await;
    assert_eq!(refused(&mut conn).await, (3, "over_capacity".into()));

    let class = FailureClass::Permanent;
    let error = WorkError { class, code: "no_credential".into(), message: "none".into() };
    second.end.send(End::Refuse(error)).ok().unwrap();
    assert_eq!(refused(&mut conn).await, (2, "no_credential".into()));

    world.shutdown.cancel();
    bounded("the order", works.remove(0).orders.stop.cancelled()).await;
    conn.send(ToAgent::Assignment(Box::new(assignment(held(4, 1))))).await;
    assert_eq!(refused(&mut conn).await, (4, "draining".into()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_over_costs_its_work_one_attempt() {
    let (_world, mut conn, mut works) = World::holding(2).await;
    let first = works.remove(0);
    let report = reporting(&first.desk, progress(Outcome::Checkpoint, None, Some("b")));
    let sent = conn.report().await;
    conn.ack(sent.sequence, Verdict::Applied).await;
    bounded("the report", report).await.unwrap().unwrap();
    first.end.send(End::Panic).ok().unwrap();
    let last = conn.report().await;
    assert_eq!((last.previous_cursor, last.cursor), (Some(key("b")), Some(key("b"))));
    let Outcome::Errored(error) = last.outcome else { panic!("{:?}", last.outcome) };
    assert_eq!((error.class, error.code.as_str()), (FailureClass::Transient, "worker_panicked"));
    assert_eq!(error.message, "the worker fell over");
    works.remove(0).end.send(End::Left).ok().unwrap();
    let Outcome::Errored(error) = conn.report().await.outcome else { panic!("no error") };
    assert_eq!(error.code, "worker_left");
}

#[tokio::test(start_paused = true)]
async fn durable_messages_in_memory_are_bounded() {
    let (_world, mut conn, works) = World::holding(1).await;
    let reports: Vec<_> = (0..=MAX_DURABLE)
        .map(|_| reporting(&works[0].desk, progress(Outcome::Checkpoint, None, None)))
        .collect();
    assert_eq!(conn.serve_for(HEARTBEAT).await.len(), MAX_DURABLE, "one more waits");
    conn.ack(1, Verdict::Applied).await;
    assert_eq!(conn.report().await.sequence, MAX_DURABLE as u64 + 1);
    assert_eq!(reports.iter().filter(|report| report.is_finished()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_to_end_yields_and_says_goodbye() {
    let (world, mut conn, works) = World::holding(2).await;
    world.shutdown.cancel();
    for work in &works {
        bounded("the order", work.orders.stop.cancelled()).await;
    }
    conn.states.clear();
    let reports: Vec<_> = works
        .iter()
        .map(|work| reporting(&work.desk, progress(Outcome::Yielded, None, Some("b"))))
        .collect();
    let sent = [conn.report().await.sequence, conn.report().await.sequence];
    assert_eq!(conn.serve_for(HEARTBEAT).await, [], "no goodbye while a report is on its way");
    for sequence in sent {
        conn.ack(sequence, Verdict::Applied).await;
    }
    for report in reports {
        assert_eq!(bounded("the report", report).await.unwrap(), Ok(()));
    }
    let done = Instant::now();
    assert_eq!(conn.next().await, Some(FromAgent::Goodbye));
    assert!(Instant::now() - done < HEARTBEAT, "as soon as all is said");
    let (state, _) = &conn.states[0];
    assert!(state.draining && state.capacity == 0, "told at once");
    drop(conn);
    assert_eq!(world.ended().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_let_go_does_not_hold_up_the_end() {
    let (world, mut conn, works) = World::holding(1).await;
    let begun = Instant::now();
    world.shutdown.cancel();
    assert_eq!(conn.next().await, Some(FromAgent::Goodbye));
    assert_eq!(Instant::now() - begun, DRAIN_LIMIT);
    assert!(works[0].orders.lost.is_cancelled());
    assert_eq!(world.ended().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_a_server_ends_when_it_is_told_to() {
    let world = World::start(1);
    world.refuse(Some(error(Code::Unavailable, "")));
    world.shutdown.cancel();
    assert_eq!(world.ended().await, Ok(()));

    let (world, conn, _works) = World::holding(1).await;
    world.refuse(Some(error(Code::Unavailable, "")));
    drop(conn);
    let begun = Instant::now();
    world.shutdown.cancel();
    assert_eq!(world.ended().await, Ok(()));
    assert!(Instant::now() - begun <= DRAIN_LIMIT);
}
