//! Filters: what is copied, what is listed, what counts as extra.

use s3sync_proto::model::{Key, Timestamp};

use super::{Bench, MD5, pattern};
use crate::s3::Operation;

impl Bench {
    fn filtered(include: &[&str], exclude: &[&str]) -> Self {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        let mut bench = Self::new(MD5, MD5);
        (bench.filter.include, bench.filter.exclude) = (own(include), own(exclude));
        bench
    }

    fn copied(&self) -> Vec<String> {
        self.destination.bodies("to/x/").into_keys().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_let_through_is_copied_and_the_rest_is_counted_apart() {
    let mut bench = Bench::filtered(&["**/*.jpg"], &["tmp/**"]);
    for key in ["a.jpg", "b/c.jpg", "b/c.png", "tmp/d.jpg"] {
        bench.source.store(&format!("from/{key}"), key);
    }
    bench.filter.max_size = Some(10);
    bench.source.store("from/large.jpg", pattern(1, 11));
    let counters = bench.run().await;
    assert_eq!((counters.listed, counters.copied, counters.filtered), (2, 2, 3));
    assert_eq!(bench.copied(), ["a.jpg", "b/c.jpg"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_patterns_decide_what_is_extra() {
    let mut bench = Bench::filtered(&["**/*.jpg"], &["tmp/**"]);
    bench.filter.min_size = 100;
    bench.filter.modified_before = Some(Timestamp::from_micros(1));
    for key in ["gone.jpg", "gone.png", "tmp/gone.jpg"] {
        bench.destination.store(&format!("to/x/{key}"), "small");
    }
    // It is at the source, if left out by its size: so it is not extra at the destination.
    bench.source.store("from/small.jpg", "x");
    bench.destination.store("to/x/small.jpg", "older");
    let counters = bench.run().await;
    assert_eq!((counters.extra, counters.filtered, counters.listed), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_all_includes_begin_with_narrows_both_listings() {
    let store = |bench: &Bench| {
        for n in 0..3_000 {
            bench.source.store(&format!("from/a/{n:04}"), "x");
            bench.source.store(&format!("from/z/{n:04}"), "x");
        }
        bench.source.store("from/raw/2026/x", "x");
    };
    let mut wide = Bench::filtered(&["**/x"], &[]);
    store(&wide);
    wide.run().await;
    let mut narrow = Bench::filtered(&["raw/2026/**", "raw/2025/**"], &[]);
    store(&narrow);
    narrow.destination.store("to/x/a/elsewhere", "stays");
    let counters = narrow.run().await;
    assert_eq!((counters.copied, counters.filtered, counters.extra), (1, 0, 0));
    assert_eq!(narrow.copied(), ["a/elsewhere", "raw/2026/x"]);
    let lists = |bench: &Bench| {
        (bench.source.count(Operation::List), bench.destination.count(Operation::List))
    };
    assert!(lists(&wide).0 > 100, "pages of the whole source");
    assert_eq!(lists(&narrow), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_range_beside_what_is_listed_is_done_at_once() {
    for (after, until) in [(None, Some("b")), (Some("x"), None), (Some("a"), Some("z"))] {
        let mut bench = Bench::filtered(&["raw/**"], &[]);
        for key in ["a", "raw/1", "raw/2", "z"] {
            bench.source.store(&format!("from/{key}"), key);
        }
        bench.desk.with(|recorded| {
            recorded.range.after = after.map(Key::from);
            recorded.range.until = until.map(Key::from);
        });
        let counters = bench.run().await;
        let inside = if after == Some("a") { 2 } else { 0 };
        assert_eq!((counters.copied, counters.filtered), (inside, 0), "{after:?} {until:?}");
    }
}
