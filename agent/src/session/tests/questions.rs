//! Questions of the server: answered, refused, withdrawn, late; never carried into another session.

use std::time::Duration;

use s3sync_proto::model::{
    Answer, Ask, FailureClass, FromAgent, Invalid, Probe, Question, ToAgent,
};
use s3sync_proto::wire::UnknownMessage;

use super::harness::{Asking, Conn, World, bounded, name};
use crate::session::questions::MAX_QUESTIONS;

const PATIENCE: Duration = Duration::from_secs(20);

fn question(id: u64) -> ToAgent {
    let ask = Ask::Probe(Probe {
        endpoint: name(&format!("e{id}")),
        spec: Default::default(),
        places: Vec::new(),
    });
    ToAgent::Question(Question { id, patience: PATIENCE, ask })
}

fn probed() -> Answer {
    Answer::Probed { places: Vec::new(), facts: Vec::new() }
}

async fn asked(world: &mut World) -> Asking {
    bounded("a question", world.asks.recv()).await.expect("the agent lives")
}

async fn answered(conn: &mut Conn) -> (u64, Answer) {
    match conn.next().await {
        Some(FromAgent::Answer { id, answer }) => (id, answer),
        other => panic!("no answer: {other:?}"),
    }
}

fn refused(answer: &Answer) -> (FailureClass, &str) {
    let Answer::Refused(error) = answer else { panic!("answered: {answer:?}") };
    (error.class, &error.code)
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_while_work_goes_on() {
    let (mut world, mut conn, _works) = World::holding(1).await;
    assert!(conn.hello.features.iter().any(|feature| feature == "ask"));
    conn.send(question(7)).await;
    let one = asked(&mut world).await;
    assert!(matches!(&one.ask, Ask::Probe(probe) if probe.endpoint == name("e7")));
    one.answer.send(probed()).unwrap();
    assert_eq!(answered(&mut conn).await, (7, probed()));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_or_falls_over_or_takes_too_long_is_refused() {
    let mut world = World::start(1);
    let mut conn = world.connected().await;
    let problem = Invalid::one("ask", "is of a kind this version does not know");
    conn.push(Ok(Err(UnknownMessage::Question { id: 1, problem }))).await;
    let (id, answer) = answered(&mut conn).await;
    assert_eq!((id, refused(&answer)), (1, (FailureClass::Permanent, "unknown_question")));

    conn.send(question(2)).await;
    drop(asked(&mut world).await);
    let (id, answer) = answered(&mut conn).await;
    assert_eq!((id, refused(&answer).1), (2, "answer_panicked"));

    conn.send(question(3)).await;
    let _never = asked(&mut world).await;
    let (id, answer) = answered(&mut conn).await;
    assert_eq!((id, refused(&answer).1), (3, "late"));
}

#[tokio::test(start_paused = true)]
async fn one_more_than_the_limit_is_refused_until_one_is_withdrawn() {
    let mut world = World::start(1);
    let mut conn = world.connected().await;
    let most = MAX_QUESTIONS as u64;
    let mut open = Vec::new();
    for id in 1..=most {
        conn.send(question(id)).await;
        open.push(asked(&mut world).await);
    }
    conn.send(question(most + 1)).await;
    let (id, answer) = answered(&mut conn).await;
    assert_eq!((id, refused(&answer).1), (most + 1, "busy"));
    conn.send(ToAgent::Withdrawal(1)).await;
    conn.send(question(most + 2)).await;
    asked(&mut world).await.answer.send(probed()).unwrap();
    assert_eq!(answered(&mut conn).await.0, most + 2, "the withdrawn one is answered by nothing");
    // Whoever worked on it was dropped.
    assert!(open.remove(0).answer.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_question_is_lost_with_its_session() {
    let mut world = World::start(1);
    let conn = world.connected().await;
    conn.send(question(1)).await;
    let lost = asked(&mut world).await;
    drop(conn);
    let mut conn = world.connected().await;
    conn.send(question(1)).await;
    asked(&mut world).await.answer.send(probed()).unwrap();
    assert_eq!(answered(&mut conn).await, (1, probed()));
    assert!(lost.answer.is_closed());
    assert!(conn.serve_for(PATIENCE * 2).await.is_empty(), "nothing of the session before");
}
