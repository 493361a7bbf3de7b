//! Cuts of ranges, and where the next run begins.

use s3sync_proto::model::{Held, KeyRange, Outcome, RunState, Verdict, Work};

use super::bench::{Bench, key, report};
use crate::store::{Error, MAX_RANGES_PER_DESTINATION, SessionId};

async fn begun(bench: &Bench) -> (SessionId, Held) {
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    (session, bench.take(session).await.held)
}

fn slice(after: Option<&str>, until: Option<&str>) -> KeyRange {
    KeyRange { after: after.map(key), until: until.map(key) }
}

pub(super) async fn twice(bench: Bench) {
    let (session, held) = begun(&bench).await;
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied, "it comes again");
    assert_eq!(bench.run().await.destinations[0].open_ranges, 2);
    // By what the row was before: the cut is made already, elsewhere.
    assert_eq!(bench.cut(held, "k", None).await.unwrap(), Verdict::Stale);
    assert_eq!(bench.cut(held, "g", Some("m")).await.unwrap(), Verdict::Applied);
    assert_eq!(bench.store.snapshot(9, bench.now).await.unwrap().leased[0].siblings, 3);
    let (last, middle) = (bench.take(session).await, bench.take(session).await);
    let fresh = |range| Work::Range { range, cursor: None };
    assert_eq!(last.work, fresh(slice(Some("m"), None)));
    assert_eq!(middle.work, fresh(slice(Some("g"), Some("m"))));
    bench.done(held, Outcome::Completed, [None, Some("g")], 1).await;
    bench.done(middle.held, Outcome::Completed, [None, Some("m")], 2).await;
    assert_eq!(bench.run().await.state, RunState::Running);
    bench.done(last.held, Outcome::Completed, [None, None], 4).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().listed), (RunState::Succeeded, 7));
    assert_eq!(run.destinations[0].done_ranges, 3);
}

pub(super) async fn lost(bench: Bench) {
    let (session, held) = begun(&bench).await;
    // The holder stopped at "m"; its proposal never came.
    bench.done(held, Outcome::Completed, [None, Some("m")], 5).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.destinations[0].done_ranges), (RunState::Running, 0));
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Stale, "it comes too late");
    let rest = bench.take(session).await;
    assert!(rest.held.epoch > held.epoch);
    assert_eq!(rest.work, Work::Range { range: slice(None, None), cursor: Some(key("m")) });
    bench.done(rest.held, Outcome::Completed, [Some("m"), None], 2).await;
    let run = bench.run().await;
    assert_eq!((run.state, run.totals().listed), (RunState::Succeeded, 7));
}

pub(super) async fn outside(bench: Bench) {
    let (_, held) = begun(&bench).await;
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied);
    bench.done(held, Outcome::Checkpoint, [None, Some("c")], 1).await;
    for at in ["b", "c", "n"] {
        let cut = bench.cut(held, at, Some("m")).await;
        assert!(matches!(cut, Err(Error::Invalid(_))), "{at}: {cut:?}");
    }
    assert_eq!(bench.run().await.destinations[0].open_ranges, 2);
}

pub(super) async fn uploads(bench: Bench) {
    let (session, held) = begun(&bench).await;
    for at in ["c", "m", "n"] {
        bench.intend(held, at, Some("u")).await;
    }
    assert_eq!(bench.cut(held, "m", None).await.unwrap(), Verdict::Applied);
    // It comes again, when the cut has taken the first along.
    assert_eq!(bench.intend(held, "n", Some("u")).await, Verdict::Applied);
    let rest = bench.take(session).await;
    assert_eq!(rest.uploads.iter().map(|one| &one.key).collect::<Vec<_>>(), [&key("n")]);
    bench.done(held, Outcome::Yielded, [None, None], 0).await;
    let first = bench.take(session).await;
    assert_eq!(
        first.uploads.iter().map(|one| &one.key).collect::<Vec<_>>(),
        [&key("c"), &key("m")]
    );
}

pub(super) async fn limit(bench: Bench) {
    let (_, held) = begun(&bench).await;
    let at = |number: u32| format!("{:06}", 900_000 - number);
    let mut until: Option<String> = None;
    for number in 1..MAX_RANGES_PER_DESTINATION {
        let cut = bench.cut(held, &at(number), until.as_deref()).await.unwrap();
        assert_eq!(cut, Verdict::Applied);
        until = Some(at(number));
    }
    let ranges = bench.run().await.destinations[0].open_ranges;
    assert_eq!(ranges, MAX_RANGES_PER_DESTINATION);
    let over = at(MAX_RANGES_PER_DESTINATION);
    assert_eq!(bench.cut(held, &over, until.as_deref()).await.unwrap(), Verdict::Stale);
    // The last one made can still be told again.
    assert_eq!(bench.cut(held, until.as_deref().unwrap(), None).await.unwrap(), Verdict::Applied);
    // The holder has stopped there all the same, and the rest goes on.
    bench.done(held, Outcome::Completed, [None, Some(&over)], 1).await;
    let run = bench.run().await.destinations.remove(0);
    assert_eq!((run.open_ranges, run.done_ranges), (MAX_RANGES_PER_DESTINATION, 0));
}

pub(super) async fn boundaries(bench: Bench) {
    let (session, held) = begun(&bench).await;
    let mut until: Option<String> = None;
    for number in (0..200).rev() {
        let at = format!("{number:03}");
        bench.cut(held, &at, until.as_deref()).await.unwrap();
        until = Some(at);
    }
    bench.done(held, Outcome::Completed, [None, Some("000")], 10_000).await;
    while !bench.ready().await.is_empty() {
        let next = bench.take(session).await;
        let Work::Range { range, .. } = next.work else { panic!("not a range") };
        let mut said = report(next.held, Outcome::Completed, [None, None], 10_000);
        said.cursor = range.until;
        assert_eq!(bench.say(said).await.unwrap(), Verdict::Applied);
    }
    assert_eq!(bench.run().await.state, RunState::Succeeded);
    let run = bench.start().await;
    let ranges = bench.run().await.destinations[0].open_ranges;
    assert!((2..=65).contains(&ranges), "{ranges} ranges from 200 cuts");
    // They meet without a gap.
    let mut after = None;
    for _ in 0..ranges {
        let Work::Range { range, cursor: None } = bench.take(session).await.work else {
            panic!("not a fresh range")
        };
        assert_eq!(range.after, after);
        after = range.until;
    }
    assert_eq!(after, None, "the last ends with the key space");
    // A run that is cancelled says nothing of where to cut.
    bench.store.cancel_run(&run, bench.now).await.unwrap();
    for (_, held) in bench.leased().await {
        bench.done(held, Outcome::Yielded, [None, None], 0).await;
    }
    assert_eq!(bench.run().await.state, RunState::Cancelled);
    bench.start().await;
    assert_eq!(bench.run().await.destinations[0].open_ranges, ranges);
}
