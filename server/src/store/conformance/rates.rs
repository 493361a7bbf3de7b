//! How fast events come and are settled.

use s3sync_proto::model::{CompareMode, JobSpec};

use super::bench::{Bench, name};
use super::events::{following, following_of, put, settle, spec_with_events, take_all, tell};

pub(super) async fn told(mut bench: Bench) {
    let (session, watch) = following(&bench).await;
    let rates = async |bench: &Bench| {
        let destinations = following_of(bench).await.destinations;
        let rates = destinations.iter().map(|one| (one.told_per_minute, one.settled_per_minute));
        rates.collect::<Vec<_>>()
    };
    tell(&bench, watch.held, &["a", "b", "c"]).await;
    let queue = bench.store.queue_status(&name("q"), bench.now).await.unwrap().unwrap();
    assert_eq!((queue.messages_per_minute, queue.messages), (3, 3));
    assert_eq!(rates(&bench).await, [(3, 0), (3, 0)]);
    let works = take_all(&bench, session).await;
    settle(&bench, &works[0]).await;
    assert_eq!(rates(&bench).await, [(3, 3), (3, 0)]);
    // Another run of events goes on with them.
    let changed = JobSpec { compare: CompareMode::Full, ..spec_with_events() };
    put(&bench, "media", changed).await;
    tell(&bench, watch.held, &["a"]).await;
    assert_eq!(rates(&bench).await, [(4, 3), (4, 0)]);
    // A bit more than a third of what happened a minute ago.
    bench.pass(std::time::Duration::from_secs(60));
    assert_eq!(rates(&bench).await, [(1, 1), (1, 0)]);
}
