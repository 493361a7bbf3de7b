//! Sessions that break: what is sent again, what is lost, how soon the agent is back.

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_proto::client::Code;
use s3sync_proto::model::{FromAgent, Key, Outcome, ToAgent, Verdict, WorkReport};
use s3sync_proto::status::reason;
use tokio::time::{Instant, sleep};

use super::harness::{HEARTBEAT, World, bounded, error, held, name, progress, reporting};
use crate::session::SessionError;
use crate::work::Lost;

/// What a store does with checkpoints: applies each once, by compare-and-set on the cursor.
#[derive(Default)]
struct Store {
    cursors: BTreeMap<u64, Option<Key>>,
    copied: u64,
}

impl Store {
    fn apply(&mut self, report: &WorkReport) -> Verdict {
        let cursor = self.cursors.entry(report.held.id).or_default();
        if *cursor == report.previous_cursor {
            cursor.clone_from(&report.cursor);
            self.copied += report.counters.copied;
            Verdict::Applied
        } else if *cursor == report.cursor {
            Verdict::Applied
        } else {
            Verdict::Stale
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reports_without_an_answer_are_sent_again_and_count_once() {
    let (mut world, mut conn, works) = World::holding(3).await;
    let mut store = Store::default();
    let reports: Vec<_> = works
        .iter()
        .map(|work| reporting(&work.desk, progress(Outcome::Checkpoint, None, Some("b"))))
        .collect();
    let first = [conn.report().await, conn.report().await, conn.report().await];
    // The first is applied and acknowledged, of the second the answer is lost, the third never arrives.
    let verdict = store.apply(&first[0]);
    conn.ack(first[0].sequence, verdict).await;
    store.apply(&first[1]);
    conn.serve_for(Duration::from_secs(1)).await;
    drop(conn);

    let mut conn = world.connected().await;
    assert_eq!(conn.hello.held.len(), 3, "all is stated");
    for (n, sent) in (1..).zip(&first[1..]) {
        let again = conn.report().await;
        assert_eq!(again, WorkReport { sequence: n, ..sent.clone() }, "the same, numbered anew");
        let verdict = store.apply(&again);
        conn.ack(again.sequence, verdict).await;
    }
    for report in reports {
        assert_eq!(bounded("the report", report).await.unwrap(), Ok(()));
    }
    assert_eq!(store.copied, 3, "each once");
    assert_eq!(conn.serve_for(HEARTBEAT * 3).await, [], "nothing a third time");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_of_work_that_is_not_confirmed() {
    let (mut world, mut conn, works) = World::holding(2).await;
    let reports: Vec<_> = works
        .iter()
        .map(|work| reporting(&work.desk, progress(Outcome::Completed, None, None)))
        .collect();
    conn.report().await;
    conn.report().await;
    drop(conn);
    let mut conn = world.dialled().await;
    conn.confirmed = vec![held(2, 1)];
    conn.welcome("db-1").await;
    let again = conn.report().await;
    assert_eq!((again.sequence, again.held), (1, held(2, 1)));
    conn.ack(1, Verdict::Applied).await;
    let mut answers = Vec::new();
    for report in reports {
        answers.push(bounded("the report", report).await.unwrap());
    }
    assert_eq!(answers, [Err(Lost), Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn another_database_voids_everything_even_where_epochs_agree() {
    let (mut world, mut conn, works) = World::holding(1).await;
    let report = reporting(&works[0].desk, progress(Outcome::Checkpoint, None, Some("b")));
    conn.report().await;
    drop(conn);
    let mut conn = world.dialled().await;
    conn.confirmed = conn.hello.held.clone();
    conn.welcome("db-2").await;
    assert_eq!(bounded("the report", report).await.unwrap(), Err(Lost));
    assert!(works[0].orders.lost.is_cancelled());
    assert_eq!(conn.serve_for(HEARTBEAT).await, [], "nothing is sent again");
    assert_eq!(conn.states.last().unwrap().0.held, []);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_noticed_within_thirty_seconds() {
    let (mut world, mut conn, _works) = World::holding(1).await;
    conn.serve_for(HEARTBEAT * 3).await;
    // Nothing comes back any more, and what is sent vanishes; the stream itself does not end.
    conn.answering = false;
    let answered = conn.states.last().unwrap().1;
    let again = world.connected().await;
    let noticed = Instant::now() - answered;
    assert!(noticed <= Duration::from_secs(30), "{noticed:?}");
    assert!(noticed > HEARTBEAT * 2, "two heartbeats may be lost");
    assert_eq!(again.hello.held, [held(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_nothing_is_noticed_too() {
    let (mut world, conn, works) = World::holding(1).await;
    // More than the connection holds, and nobody reads.
    let reports: Vec<_> = (0..200)
        .map(|_| reporting(&works[0].desk, progress(Outcome::Checkpoint, None, None)))
        .collect();
    let begun = Instant::now();
    let mut again = world.connected().await;
    assert!(Instant::now() - begun <= Duration::from_secs(31));
    drop(conn);
    assert_eq!(again.serve_for(HEARTBEAT).await.len(), reports.len(), "all are sent again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_returns_has_its_agents_back_within_thirty_seconds() {
    for away in [1, 10, 100, 1_000, 10_000] {
        let (mut world, conn, _works) = World::holding(1).await;
        world.refuse(Some(error(Code::Unavailable, "")));
        drop(conn);
        sleep(Duration::from_secs(away)).await;
        world.refuse(None);
        let returned = Instant::now();
        let conn = world.connected().await;
        let took = Instant::now() - returned;
        assert!(took <= Duration::from_secs(30), "away for {away} s, back after {took:?}");
        assert_eq!(conn.hello.held, [held(1, 1)], "with what it held");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_reconnect_after_a_good_session_is_quick() {
    for _ in 0..20 {
        let (mut world, mut conn, _works) = World::holding(1).await;
        conn.serve_for(HEARTBEAT * 2).await;
        drop(conn);
        let broken = Instant::now();
        world.dialled().await;
        assert!(Instant::now() - broken <= Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_is_dialled_again_within_the_time_it_says() {
    let (mut world, mut conn, works) = World::holding(1).await;
    conn.serve_for(HEARTBEAT).await;
    conn.send(ToAgent::Redirect(Duration::from_secs(5))).await;
    let asked = Instant::now();
    let again = world.connected().await;
    assert!(Instant::now() - asked <= Duration::from_secs(5 + 1));
    assert_eq!(again.hello.held, [held(1, 1)]);
    assert!(!works[0].orders.lost.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn of_two_agents_of_one_name_one_gives_up_and_says_why() {
    let (mut world, mut conn, works) = World::holding(1).await;
    for take_over in 1..=4 {
        assert!(!world.agent.is_finished(), "take-over {take_over}");
        conn.push(Err(error(Code::Aborted, reason::SESSION_SUPERSEDED))).await;
        if take_over < 4 {
            let broken = Instant::now();
            conn = world.dialled().await;
            assert!(!works[0].desk.may_commit_now(), "its work is the other's");
            assert!(Instant::now() - broken >= Duration::from_secs(5), "the other gets its time");
            conn.welcome("db-1").await;
        }
    }
    assert_eq!(world.ended().await, Err(SessionError::TwoAgents(name("agent-1"))));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_let_in_tries_seldom() {
    let cases = [
        (Code::FailedPrecondition, reason::AGENT_PROTOCOL_UNSUPPORTED, 600, 660),
        (Code::Unauthenticated, reason::CREDENTIALS_INVALID, 30, 90),
    ];
    for (code, reason, least, most) in cases {
        let (mut world, conn, _works) = World::holding(1).await;
        let broken = Instant::now();
        conn.push(Err(error(code, reason))).await;
        world.dialled().await;
        let pause = (Instant::now() - broken).as_secs();
        assert!((least..=most + 1).contains(&pause), "{reason}: {pause} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_not_said_for_ever() {
    let (mut world, mut conn, works) = World::holding(1).await;
    let report = reporting(&works[0].desk, progress(Outcome::Checkpoint, None, Some("b")));
    conn.report().await;
    conn.push(Err(error(Code::InvalidArgument, reason::FIELD_INVALID))).await;
    assert_eq!(bounded("the report", report).await.unwrap(), Err(Lost));
    let mut conn = world.connected().await;
    assert_eq!(conn.hello.held, []);
    assert_eq!(conn.serve_for(HEARTBEAT).await, Vec::<FromAgent>::new());
}
