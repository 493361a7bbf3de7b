//! Deletes of named keys: what events told is gone.

use std::sync::Arc;

use s3sync_proto::model::{Counters, ExtraKey, Key, Work};

use super::deletes::mirrored;
use super::fake::Fault;
use super::{Bench, MD5, pattern};
use crate::s3::{Attributes, Class, Operation};

impl Bench {
    /// One holder deletes named keys.
    async fn delete_named(&mut self, keys: &[&str]) -> Counters {
        let any = |key: &&str| ExtraKey { key: Key::from(*key), object: String::new() };
        let keys = keys.iter().map(any).collect();
        self.hold_work(Work::DeleteKeys { keys, unconditional: false }).await;
        self.finish_run()
    }

    /// One holder deletes an object and no other; what it found instead.
    async fn delete_object(
        &mut self,
        allowed: &ExtraKey,
        unconditional: bool,
    ) -> (Counters, Option<ExtraKey>) {
        let keys = vec![allowed.clone()];
        self.hold_work(Work::DeleteKeys { keys, unconditional }).await;
        let other = self.desk.with(|recorded| recorded.gone.pop());
        (self.finish_run(), other)
    }

    /// Looks at a key that only the destination has; tells which object is there.
    async fn look_at_gone(&mut self, key: &str) -> ExtraKey {
        self.hold_work(Work::Keys(vec![Key::from(key)])).await;
        let gone = self.desk.with(|recorded| recorded.gone.pop()).expect("it is gone");
        self.finish_run();
        gone
    }
}

#[tokio::test(start_paused = true)]
async fn named_keys_are_deleted_unless_the_source_has_them() {
    let mut bench = mirrored(MD5, &["kept"], &["a", "b", "z"]);
    // The bucket is learned with the first.
    assert_eq!(bench.delete_named(&["z"]).await.deleted, 1);
    bench.source.store("from/b", pattern(7, 30));
    let before = [Operation::Head, Operation::DeleteMany, Operation::Delete]
        .map(|operation| bench.destination.count(operation));
    let reads = bench.source.count(Operation::Get);
    let counters = bench.delete_named(&["a", "kept", "never"]).await;
    assert_eq!((counters.deleted, counters.in_step, counters.not_in_step()), (1, 1, 0));
    assert_eq!(bench.there(), ["b", "kept"]);
    let after = [Operation::Head, Operation::DeleteMany, Operation::Delete]
        .map(|operation| bench.destination.count(operation));
    // Of `a` one and one delete; of `kept` one and one more before it is compared; of `never` two, since it is not there.
    assert_eq!(after[0] - before[0], 5);
    assert_eq!(after[1] + after[2] - before[1] - before[2], 1);
    assert_eq!(
        bench.source.count(Operation::Get) - reads,
        5,
        "two of `a`, two of `kept`, one of `never`"
    );
    // The source has it again, with other bytes: it is brought in step.
    let counters = bench.delete_named(&["b"]).await;
    assert_eq!((counters.deleted, counters.copied), (0, 1));
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn a_named_key_that_comes_back_at_any_moment_is_there_in_the_end() {
    for operation in [Operation::Head, Operation::Delete, Operation::DeleteMany] {
        let mut bench = mirrored(MD5, &["kept"], &["z", "k"]);
        bench.delete_named(&["z"]).await;
        let source = Arc::clone(&bench.source);
        let mut once = false;
        bench.destination.meddle(move |_, asked, _| {
            if asked == operation && !std::mem::replace(&mut once, true) {
                source.store("from/k", pattern(9, 40));
            }
            None
        });
        let counters = bench.delete_named(&["k"]).await;
        assert_eq!(counters.not_in_step(), 0, "{operation}");
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_a_named_key_whose_answer_was_lost_is_done_once() {
    let mut bench = mirrored(MD5, &["kept"], &["z", "k"]);
    bench.delete_named(&["z"]).await;
    let mut once = false;
    bench.destination.meddle(move |_, asked, _| {
        let is_delete = matches!(asked, Operation::Delete | Operation::DeleteMany);
        (is_delete && !std::mem::replace(&mut once, true)).then_some(Fault::After(Class::Transient))
    });
    assert_eq!(bench.delete_named(&["k"]).await.deleted, 1);
    assert_eq!(bench.there(), ["kept"]);
    // Without permission it stays, and is listed.
    bench.destination.store("to/x/k", "again");
    bench.destination.meddle(|_, asked, _| {
        let is_delete = matches!(asked, Operation::Delete | Operation::DeleteMany);
        is_delete.then_some(Fault::Before(Class::Denied))
    });
    let counters = bench.delete_named(&["k"]).await;
    assert_eq!((counters.deleted, counters.not_deleted), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn another_object_than_the_one_that_may_be_deleted_stays_and_is_told() {
    let mut bench = mirrored(MD5, &["kept"], &["z", "k"]);
    bench.delete_named(&["z"]).await;
    let first = bench.look_at_gone("k").await;
    assert_eq!(bench.look_at_gone("k").await, first, "it is the same");
    // The same bytes again, by somebody else.
    let body = bench.destination.bodies("to/x/k").remove("").unwrap();
    bench.destination.store("to/x/k", body.clone());
    let (counters, second) = bench.delete_object(&first, false).await;
    assert_eq!((counters.deleted, counters.extra), (0, 1));
    assert_eq!(bench.there(), ["k", "kept"]);
    assert_ne!(second.expect("it is told of"), first);
    // It changes right before its delete, with other bytes.
    for unconditional in [false, true] {
        let allowed = bench.look_at_gone("k").await;
        let mut once = false;
        bench.destination.meddle(move |there, asked, key| {
            let is_delete = matches!(asked, Operation::Delete | Operation::DeleteMany);
            if is_delete && !std::mem::replace(&mut once, true) {
                let body = pattern(usize::from(unconditional), 33);
                there.store(MD5, key, body, Attributes::default());
            }
            None
        });
        let (counters, other) = bench.delete_object(&allowed, unconditional).await;
        assert_eq!((counters.deleted, counters.extra), (0, 1), "{unconditional}");
        assert_ne!(other.expect("it is told of"), allowed);
    }
    let last = bench.look_at_gone("k").await;
    bench.destination.meddle(|_, _, _| None);
    assert_eq!(bench.delete_object(&last, false).await.0.deleted, 1);
    assert_eq!(bench.there(), ["kept"]);
}
