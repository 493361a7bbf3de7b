//! Key work: each key looked at by name, with no request too many.

use s3sync_proto::model::FailureClass;

use super::fake::Fault;
use super::{Bench, IN_PARTS, KMS, MD5, Nature, OLD, STREAMED, pattern};
use crate::s3::{Class, Operation};
use s3sync_proto::model::{Counters, Key, Work};

impl Bench {
    /// One holder looks at the keys; returns what it counted.
    pub(super) async fn look_at(&mut self, keys: &[&str]) -> Counters {
        let keys = keys.iter().map(|key| Key::from(*key)).collect();
        self.hold_work(Work::Keys(keys)).await;
        self.finish_run()
    }

    fn reads(&self) -> [u64; 4] {
        [
            self.destination.count(Operation::Head),
            self.source.count(Operation::Get),
            self.source.count(Operation::Head),
            self.source.count(Operation::List) + self.destination.count(Operation::List),
        ]
    }
}

/// What [`Bench::reads`] grew by.
fn more(before: [u64; 4], after: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|index| after[index] - before[index])
}

#[tokio::test(start_paused = true)]
async fn a_changed_key_costs_one_head_one_get_and_one_put_and_one_in_step_no_put() {
    for size in [10, STREAMED] {
        let mut bench = Bench::new(MD5, MD5);
        bench.source.store("from/warm", "learns what the bucket can");
        bench.run().await;
        bench.source.store("from/a", pattern(1, size));
        bench.source.store("from/b", pattern(2, size));
        let before = bench.reads();
        let counters = bench.look_at(&["a", "b"]).await;
        assert_eq!((counters.listed, counters.copied, counters.write_requests), (2, 2, 2));
        assert_eq!(more(before, bench.reads()), [2, 2, 0, 0], "{size}");
        bench.assert_equal();
        let before = bench.reads();
        let again = bench.look_at(&["a", "b"]).await;
        assert_eq!((again.in_step, again.write_requests), (2, 0));
        assert_eq!(more(before, bench.reads()), [2, 2, 0, 0], "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_etags_are_a_second_look_finds_it_in_step_and_an_edit_does_not() {
    for (source, destination) in [(MD5, KMS), (KMS, MD5), (KMS, KMS), (MD5, OLD), (OLD, KMS)] {
        for size in [0, 10, STREAMED, IN_PARTS] {
            let what = format!("{source:?} to {destination:?}, {size} bytes");
            let mut bench = Bench::new(source, destination);
            bench.source.store("from/a", pattern(1, size));
            assert_eq!(bench.look_at(&["a"]).await.copied, 1, "{what}");
            bench.assert_equal();
            let again = bench.look_at(&["a"]).await;
            assert_eq!((again.in_step, again.write_requests), (1, 0), "{what}: {again:?}");
            assert_eq!(bench.run().await.in_step, 1, "a scan agrees: {what}");
            bench.source.store("from/a", pattern(2, size.max(1)));
            assert_eq!(bench.look_at(&["a"]).await.copied, 1, "{what}");
            bench.assert_equal();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_gone_has_vanished_and_nothing_is_deleted() {
    let mut bench = Bench::new(MD5, MD5);
    bench.destination.store("to/x/gone", "stays");
    let counters = bench.look_at(&["gone", "never"]).await;
    assert_eq!((counters.listed, counters.vanished, counters.write_requests), (2, 2, 0));
    assert_eq!(bench.destination.bodies("to/x/").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn which_keys_only_the_destination_has_is_told_by_name() {
    let mut bench = Bench::new(MD5, MD5);
    bench.filter.exclude = vec!["*.tmp".to_owned()];
    for key in ["a", "c", "d.tmp", "e"] {
        bench.destination.store(&format!("to/x/{key}"), "stays");
    }
    bench.source.store("from/b", pattern(1, 10));
    let keys = ["a", "b", "c", "d.tmp", "e", "never"].map(Key::from).to_vec();
    bench.hold_work(Work::Keys(keys)).await;
    let gone = bench.desk.with(|recorded| recorded.gone.clone());
    let names: Vec<Key> = gone.iter().map(|gone| gone.key.clone()).collect();
    assert_eq!(names, ["a", "c", "e"].map(Key::from), "what the filter leaves out is not");
    assert!(gone.iter().all(|gone| !gone.object.is_empty()), "{gone:?}");
    let counters = bench.finish_run();
    assert_eq!((counters.listed, counters.extra, counters.copied), (6, 3, 1));
    assert_eq!(bench.destination.bodies("to/x/").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_leaves_out_is_not_copied() {
    let mut bench = Bench::new(MD5, MD5);
    bench.filter.min_size = 5;
    bench.source.store("from/large", pattern(1, 5));
    bench.source.store("from/small", pattern(1, 4));
    let counters = bench.look_at(&["large", "small"]).await;
    assert_eq!((counters.listed, counters.copied, counters.filtered), (1, 1, 1));
    assert_eq!(bench.destination.bodies("to/x/").keys().collect::<Vec<_>>(), ["large"]);
}

#[tokio::test(start_paused = true)]
async fn faults_are_tried_again_and_what_stays_refused_is_listed() {
    let mut bench = Bench::new(MD5, MD5);
    let keys: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    for (n, key) in keys.iter().enumerate() {
        bench.source.store(&format!("from/{key}"), pattern(n, 50));
    }
    let mut calls = 0;
    bench.source.meddle(move |_, operation, key| {
        calls += 1;
        if operation == Operation::Get && *key == Key::from("from/17") {
            return Some(Fault::Before(Class::Denied));
        }
        (calls % 7 == 0).then_some(Fault::Before(Class::Transient))
    });
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let all = names.iter().map(|key| Key::from(*key)).collect();
    bench.hold_work(Work::Keys(all)).await;
    let failures = bench.desk.with(|recorded| recorded.failures.clone());
    assert_eq!(failures.len(), 1);
    assert_eq!((&failures[0].key, failures[0].class), (&Key::from("17"), FailureClass::Permanent));
    let counters = bench.finish_run();
    assert_eq!((counters.listed, counters.copied, counters.failed), (40, 39, 1));
    bench.source.leave_alone();
    assert_eq!(bench.look_at(&["17"]).await.copied, 1);
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_somebody_else_writes_is_never_overwritten_unseen() {
    let natures: [Nature; 2] = [MD5, KMS];
    for nature in natures {
        let mut bench = Bench::new(MD5, nature);
        bench.source.store("from/a", pattern(1, 10));
        let mut written = false;
        let destination = std::sync::Arc::clone(&bench.destination);
        bench.source.meddle(move |_, operation, _| {
            if operation == Operation::Get && !std::mem::replace(&mut written, true) {
                destination.store("to/x/a", "somebody else's");
            }
            None
        });
        let counters = bench.look_at(&["a"]).await;
        assert_eq!((counters.copied, counters.failed), (1, 0));
        bench.assert_equal();
    }
}
