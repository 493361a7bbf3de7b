//! Queues that are followed: beside any work, over reconnects, let go of in order.

use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::model::{
    Assignment, EventBatch, FromAgent, Held, Key, News, Outcome, QueueSpec, SPARE_KEY_WORKS,
    ToAgent, Verdict, Watch, Work,
};
use tokio::task::JoinHandle;

use super::harness::{Conn, Watching, World, assignment, bounded, held, name};
use crate::work::{Lost, WatchDesk};

const WATCH: Held = held(1 << 53, 4);

async fn watching(world: &mut World, conn: &mut Conn) -> Watching {
    conn.confirmed.push(WATCH);
    let watch = Watch {
        held: WATCH,
        queue: name("q"),
        spec: QueueSpec { url: "https://sqs/1/q".into(), endpoint: name("usw2"), receivers: 1 },
        endpoint: Default::default(),
    };
    conn.send(ToAgent::Watch(Box::new(watch.clone()))).await;
    let watching = bounded("a follower", world.watches.recv()).await.expect("the agent lives");
    assert_eq!(watching.watch, watch);
    watching
}

fn telling(desk: &Arc<dyn WatchDesk>, messages: u64) -> JoinHandle<Result<(), Lost>> {
    let desk = Arc::clone(desk);
    tokio::spawn(async move { desk.tell(News { messages, ..News::default() }).await })
}

async fn told(conn: &mut Conn) -> EventBatch {
    match conn.next().await {
        Some(FromAgent::Events(batch)) => batch,
        other => panic!("no events: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_told_again_until_it_is_acknowledged() {
    let (mut world, mut conn, _works) = World::holding(1).await;
    let follower = watching(&mut world, &mut conn).await;
    let told_of = telling(&follower.desk, 7);
    let first = told(&mut conn).await;
    assert_eq!((first.held, first.news.messages), (WATCH, 7));
    drop(conn);

    let mut conn = world.connected().await;
    assert!(conn.hello.held.contains(&WATCH), "it is stated as what is held");
    let again = told(&mut conn).await;
    assert_eq!((again.sequence, again.news), (1, first.news));
    assert!(!told_of.is_finished(), "not before it is on the server's disk");
    conn.ack(again.sequence, Verdict::Applied).await;
    assert_eq!(told_of.await.unwrap(), Ok(()));

    // Somebody else has the queue.
    let late = telling(&follower.desk, 1);
    let batch = told(&mut conn).await;
    conn.ack(batch.sequence, Verdict::Stale).await;
    assert_eq!(late.await.unwrap(), Err(Lost));
    assert!(follower.orders.lost.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_queue_takes_no_room_and_key_works_have_some_to_spare() {
    let mut world = World::start(1);
    let mut conn = world.connected().await;
    let _follower = watching(&mut world, &mut conn).await;
    let _scan = world.assigned(&mut conn, held(1, 1)).await;
    let keys =
        |id: u64| Assignment { work: Work::Keys(vec![Key::from("k")]), ..assignment(held(id, 1)) };
    let spare = u64::from(SPARE_KEY_WORKS);
    for id in 2..2 + spare {
        conn.send(ToAgent::Assignment(Box::new(keys(id)))).await;
        let work = bounded("a worker", world.works.recv()).await.unwrap();
        assert_eq!(work.assignment.held.id, id);
        conn.confirmed.push(held(id, 1));
    }
    for one_more in [keys(90), assignment(held(91, 1))] {
        conn.send(ToAgent::Assignment(Box::new(one_more.clone()))).await;
        let Some(FromAgent::Refusal { held, error }) = conn.next().await else {
            panic!("one more must be refused")
        };
        assert_eq!((held, error.code.as_str()), (one_more.held, "over_capacity"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_lets_go_of_its_queue() {
    let mut world = World::start(1);
    let mut conn = world.connected().await;
    let follower = watching(&mut world, &mut conn).await;
    world.shutdown.cancel();
    bounded("the order to stop", follower.orders.stop.cancelled()).await;
    let desk = Arc::clone(&follower.desk);
    let left = tokio::spawn(async move { desk.leave(None).await });
    let report = conn.report().await;
    assert_eq!((report.held, report.outcome), (WATCH, Outcome::Yielded));
    conn.ack(report.sequence, Verdict::Applied).await;
    assert_eq!(left.await.unwrap(), Ok(()));
    let others = conn.serve_for(Duration::from_secs(1)).await;
    assert_eq!(others, [FromAgent::Goodbye]);
    drop(conn);
    world.ended().await.unwrap();
}
