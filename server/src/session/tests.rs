//! Questions to sessions, in simulated time.

use std::sync::Arc;

use s3sync_proto::model::Probe;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const SESSION: SessionId = SessionId(1);

fn ask() -> Ask {
    let endpoint = "usw2".parse().unwrap();
    Ask::Probe(Probe { endpoint, spec: Default::default(), places: Vec::new() })
}

fn probed() -> Answer {
    Answer::Probed { places: Vec::new(), facts: Vec::new() }
}

/// Sessions with one of an agent that reads what comes.
fn connected() -> (Arc<Sessions>, mpsc::Receiver<ToAgent>) {
    let sessions = Arc::new(Sessions::default());
    let (sender, receiver) = mpsc::channel(32);
    sessions.enter(SESSION, Handle::new(sender));
    (sessions, receiver)
}

type Asking = tokio::task::JoinHandle<Result<Answer, Unanswered>>;

fn asking(sessions: &Arc<Sessions>) -> Asking {
    let sessions = Arc::clone(sessions);
    tokio::spawn(async move { sessions.ask(SESSION, ask(), PATIENCE).await })
}

async fn question(agent: &mut mpsc::Receiver<ToAgent>) -> u64 {
    match agent.recv().await {
        Some(ToAgent::Question(question)) => {
            assert_eq!((question.patience, question.ask), (PATIENCE, ask()));
            question.id
        }
        other => panic!("no question: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_who_asked_and_nobody_else() {
    let (sessions, mut agent) = connected();
    let first = asking(&sessions);
    let one = question(&mut agent).await;
    let second = asking(&sessions);
    let two = question(&mut agent).await;
    sessions.answered(SessionId(2), one, Answer::Probed { places: Vec::new(), facts: Vec::new() });
    assert!(!first.is_finished(), "an answer of another session counts for nothing");
    sessions.answered(SESSION, two, probed());
    assert_eq!(second.await.unwrap(), Ok(probed()));
    sessions.answered(SESSION, two, probed());
    sessions.answered(SESSION, one, probed());
    assert_eq!(first.await.unwrap(), Ok(probed()));
    assert!(agent.try_recv().is_err(), "what was answered is not withdrawn");
}

#[tokio::test(start_paused = true)]
async fn who_waits_learns_that_the_session_ended_or_that_it_took_too_long() {
    let (sessions, mut agent) = connected();
    let late = asking(&sessions);
    let id = question(&mut agent).await;
    assert_eq!(late.await.unwrap(), Err(Unanswered::Late));
    assert_eq!(agent.recv().await, Some(ToAgent::Withdrawal(id)));
    let gone = asking(&sessions);
    question(&mut agent).await;
    sessions.leave(SESSION);
    assert_eq!(gone.await.unwrap(), Err(Unanswered::Gone));
    assert_eq!(sessions.ask(SESSION, ask(), PATIENCE).await, Err(Unanswered::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_session_has_so_many_open_questions_and_no_more() {
    let (sessions, mut agent) = connected();
    let mut open = Vec::new();
    for _ in 0..MAX_OPEN_QUESTIONS {
        open.push(asking(&sessions));
        question(&mut agent).await;
    }
    assert_eq!(sessions.ask(SESSION, ask(), PATIENCE).await, Err(Unanswered::Busy));
    // Whoever asked first leaves.
    let left = open.remove(0);
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(agent.recv().await, Some(ToAgent::Withdrawal(1)), "and the agent is told");
    let again = asking(&sessions);
    let id = question(&mut agent).await;
    sessions.answered(SESSION, id, probed());
    assert_eq!(again.await.unwrap(), Ok(probed()));
}
