//! Invariant I2: no commit begins outside the write window.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3sync_proto::client::Code;
use s3sync_proto::model::ToAgent;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::harness::{HEARTBEAT, WINDOW, World, bounded, error};
use crate::work::{Desk, Lost};

/// When a worker that wants to commit ten times a second was let.
#[derive(Clone, Default)]
struct Commits(Arc<Mutex<Vec<Instant>>>);

impl Commits {
    fn begin(desk: &Arc<dyn Desk>) -> (Self, JoinHandle<Lost>) {
        let commits = Self::default();
        let (all, desk) = (commits.clone(), Arc::clone(desk));
        let worker = tokio::spawn(async move {
            loop {
                if let Err(lost) = desk.may_commit().await {
                    return lost;
                }
                assert!(desk.may_commit_now(), "nothing passed since it was let");
                all.0.lock().unwrap().push(Instant::now());
                sleep(Duration::from_millis(100)).await;
            }
        });
        (commits, worker)
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap().last().expect("it was let before")
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_agent_commits_nothing_after_its_window_and_goes_on_when_confirmed() {
    let (mut world, mut conn, works) = World::holding(1).await;
    let (commits, worker) = Commits::begin(&works[0].desk);
    conn.serve_for(HEARTBEAT * 5).await;
    let sent = conn.states.last().unwrap().1;
    world.refuse(Some(error(Code::Unavailable, "")));
    drop(conn);
    sleep(WINDOW * 4).await;
    assert!(commits.last() < sent + WINDOW, "{:?}", commits.last() - sent);
    assert!(commits.last() > sent + WINDOW - Duration::from_secs(1), "the window is used");
    assert!(!works[0].desk.may_commit_now() && !works[0].orders.lost.is_cancelled());

    world.refuse(None);
    let mut conn = world.dialled().await;
    let quiet = commits.last();
    conn.confirmed = conn.hello.held.clone();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(commits.last(), quiet, "a stream that is not answered yet opens nothing");
    conn.welcome("db-1").await;
    conn.serve_for(HEARTBEAT).await;
    assert!(commits.last() > quiet + WINDOW, "it goes on");
    assert!(!worker.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_window_counts_from_sending_however_late_the_answer() {
    let (mut world, mut conn, works) = World::holding(1).await;
    let (commits, _worker) = Commits::begin(&works[0].desk);
    conn.serve_for(HEARTBEAT * 3).await;
    conn.answering = false;
    let state = conn.state().await;
    let sent = conn.states.last().unwrap().1;
    sleep(Duration::from_secs(8)).await;
    conn.send(ToAgent::Lease(conn.lease(state.sequence))).await;
    world.refuse(Some(error(Code::Unavailable, "")));
    sleep(WINDOW * 2).await;
    let last = commits.last() - sent;
    assert!(last < WINDOW && last > WINDOW - Duration::from_secs(1), "{last:?}");

    // The same for Hello, whose answer is Welcome.
    world.refuse(None);
    let mut conn = world.dialled().await;
    let sent = Instant::now();
    conn.confirmed = conn.hello.held.clone();
    sleep(Duration::from_secs(8)).await;
    conn.welcome("db-1").await;
    world.refuse(Some(error(Code::Unavailable, "")));
    sleep(WINDOW * 2).await;
    let last = commits.last() - sent;
    assert!(last < WINDOW && last > WINDOW - Duration::from_secs(1), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn states_that_are_sent_but_not_answered_keep_nothing_open() {
    let (mut world, mut conn, works) = World::holding(1).await;
    let (commits, _worker) = Commits::begin(&works[0].desk);
    conn.serve_for(HEARTBEAT * 3).await;
    let sent = conn.states.last().unwrap().1;
    // The server hears the agent, in this session and the next ones, and the agent does not hear the server.
    conn.answering = false;
    conn.serve_for(HEARTBEAT * 2).await;
    assert!(conn.states.len() > 3, "states go on");
    let mut mute = Vec::new();
    while Instant::now() < sent + WINDOW * 3 {
        mute.push(world.dialled().await);
    }
    assert!(commits.last() < sent + WINDOW, "{:?}", commits.last() - sent);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_confirmed_after_a_reconnect_commits_nothing_more() {
    let (mut world, conn, works) = World::holding(2).await;
    let (_, first) = Commits::begin(&works[0].desk);
    let (commits, second) = Commits::begin(&works[1].desk);
    drop(conn);
    let mut conn = world.dialled().await;
    conn.confirmed = vec![works[1].assignment.held];
    conn.welcome("db-1").await;
    assert_eq!(bounded("the loss", first).await.unwrap(), Lost);
    conn.serve_for(HEARTBEAT * 10).await;
    assert!(commits.last() + Duration::from_secs(1) > Instant::now());
    assert!(!second.is_finished());
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_nothing_is_committed_until_the_next_answer() {
    let (world, mut conn, works) = World::holding(1).await;
    let (commits, _worker) = Commits::begin(&works[0].desk);
    conn.serve_for(HEARTBEAT * 3).await;
    let before = commits.last();
    world.clocks.jump(60);
    assert!(!works[0].desk.may_commit_now());
    conn.states.clear();
    conn.serve_for(HEARTBEAT * 2).await;
    let answered = conn.states[0].1;
    let resumed = commits.0.lock().unwrap().iter().copied().find(|commit| *commit > before);
    assert!(resumed.is_some_and(|resumed| resumed >= answered), "{resumed:?} {answered:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_window_ends_when_the_work_is_lost() {
    let (mut world, conn, works) = World::holding(1).await;
    world.refuse(Some(error(Code::Unavailable, "")));
    drop(conn);
    sleep(WINDOW).await;
    let desk = Arc::clone(&works[0].desk);
    let waiting = tokio::spawn(async move { desk.may_commit().await });
    world.refuse(None);
    let mut conn = world.dialled().await;
    assert!(!waiting.is_finished());
    conn.welcome("db-1").await;
    assert_eq!(bounded("the answer", waiting).await.unwrap(), Err(Lost));
}
