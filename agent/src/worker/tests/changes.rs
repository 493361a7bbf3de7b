//! What happens when objects change, or answers are lost, at the worst moment.

use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::model::FailureClass;

use super::fake::Fault;
use super::{Bench, IN_PARTS, KMS, MD5, OLD, STREAMED, WILD, name, pattern};
use crate::s3::{Attributes, Class, Operation};

#[tokio::test(start_paused = true)]
async fn an_object_overwritten_between_its_parts_is_never_mixed() {
    for nature in [MD5, KMS, WILD] {
        for at in 1..=4 {
            let mut bench = Bench::new(nature, MD5);
            bench.source.store("from/k", pattern(1, IN_PARTS));
            let mut gets = 0;
            bench.source.meddle(move |contents, operation, key| {
                gets += u32::from(operation == Operation::Get);
                if gets == at {
                    gets += 1;
                    contents.store(nature, key, pattern(2, IN_PARTS), Attributes::default());
                }
                None
            });
            let counters = bench.run().await;
            assert_eq!((counters.copied, counters.failed), (1, 0), "{nature:?}, {at}");
            bench.destination.with(|contents| {
                let whole = [pattern(1, IN_PARTS), pattern(2, IN_PARTS)];
                let torn = contents.history.iter().any(|(_, body)| !whole.contains(body));
                assert!(!torn, "{nature:?}: overwritten at GET {at}");
            });
        }
    }
}

/// Runs with a source that changes right while its copy is written.
async fn changed_while_written(mut bench: Bench, size: usize) {
    bench.source.store("from/k", pattern(1, size));
    let source = Arc::clone(&bench.source);
    let mut changed = false;
    bench.destination.meddle(move |_, operation, _| {
        let write = matches!(operation, Operation::Put | Operation::CompleteUpload);
        if write && !std::mem::replace(&mut changed, true) {
            source.store("from/k", pattern(2, size));
        }
        None
    });
    assert_eq!(bench.run().await.copied, 1);
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn without_conditions_the_source_is_looked_at_again_after_each_write() {
    for size in [10, STREAMED, IN_PARTS] {
        changed_while_written(Bench::new(MD5, OLD), size).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_write_that_stalled_the_source_is_looked_at_again() {
    for size in [10, STREAMED, IN_PARTS] {
        let mut bench = Bench::new(MD5, MD5);
        bench.facts.get_mut(&name("b")).unwrap().conditional_writes = Some(true);
        bench.destination.with(|c| c.slow = Some((fastrand::Rng::with_seed(3), 10 * 60_000)));
        changed_while_written(bench, size).await;
    }
}

/// What is copied was read before the server was away for a while. Meanwhile the source is again what the destination has,
/// and somebody who looked found both in step: the condition of the write holds, and nobody else would look again.
#[tokio::test(start_paused = true)]
async fn after_a_write_that_had_to_wait_the_source_is_looked_at_again() {
    for size in [10, STREAMED, IN_PARTS] {
        let mut bench = Bench::new(MD5, MD5);
        bench.source.store("from/k", pattern(1, size));
        bench.destination.store("to/k", pattern(2, size));
        let source = Arc::clone(&bench.source);
        let back = move || source.store("from/k", pattern(2, size));
        *bench.desk.shut.lock().unwrap() = Some((Duration::from_secs(11), Box::new(back)));
        bench.run().await;
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_recognized_and_counted_once() {
    for (nature, size) in
        [(MD5, 10), (MD5, STREAMED), (MD5, IN_PARTS), (KMS, 10), (KMS, IN_PARTS), (OLD, IN_PARTS)]
    {
        let mut bench = Bench::new(MD5, nature);
        bench.source.store("from/k", pattern(1, size));
        let mut lost = false;
        bench.destination.meddle(move |_, operation, _| {
            let write = matches!(operation, Operation::Put | Operation::CompleteUpload);
            let first = write && !std::mem::replace(&mut lost, true);
            first.then_some(Fault::After(Class::Transient))
        });
        let counters = bench.run().await;
        let expected = (1, 1, size as u64);
        assert_eq!((counters.listed, counters.copied, counters.copied_bytes), expected);
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn what_keeps_changing_ends_as_a_failure_of_its_own_class() {
    let mut bench = Bench::new(MD5, MD5);
    bench.source.store("from/k", "k");
    let mut n = 0;
    bench.source.meddle(move |contents, operation, key| {
        if operation == Operation::Get {
            n += 1;
            contents.store(MD5, key, pattern(n, 20), Attributes::default());
        }
        None
    });
    bench.hold().await;
    let failures = bench.desk.with(|recorded| recorded.failures.clone());
    assert_eq!(failures.iter().map(|f| f.class).collect::<Vec<_>>(), [FailureClass::Changed]);
}
