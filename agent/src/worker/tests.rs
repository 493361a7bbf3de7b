//! Workers against buckets in memory: whatever fails and whoever writes in between, destinations end equal.

mod careful;
mod changes;
mod compare;
mod deletes;
mod desk;
mod event_deletes;
mod events;
mod fake;
mod filtered;
mod history;
mod keys;
mod named;
mod plans;
mod requests;
mod resume;
mod sockets;
mod sweep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use s3sync_proto::model::{
    Assignment, BucketFacts, CompareMode, Counters, Destination, EndpointSpec, EtagKind,
    FailureClass, Filter, Held, Key, KeyRange, Location, Name, Outcome, RunName, Upload, Work,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Engine, Settings, Sides, run};
use crate::compare::STAMP;
use crate::s3::{Attributes, Class, Operation};
use crate::work::Orders;
use desk::Recorder;
use fake::{Fake, Fault, Nature};

const MD5: Nature = Nature { md5_etags: true, conditions: true, checksums: true };
const PLAIN: Nature = Nature { checksums: false, ..MD5 };
const KMS: Nature = Nature { md5_etags: false, conditions: true, checksums: true };
const OLD: Nature = Nature { md5_etags: true, conditions: false, checksums: false };

/// ETags that say nothing, no checksums, and reads that cannot be pinned.
const WILD: Nature = Nature { md5_etags: false, conditions: false, checksums: false };

/// Larger than what is read before it is written, smaller than what goes in parts.
const STREAMED: usize = 300 * 1024;

/// Goes in three parts.
const IN_PARTS: usize = 500 * 1024;

struct Bench {
    source: Arc<Fake>,
    destination: Arc<Fake>,
    engine: Arc<Engine>,
    desk: Arc<Recorder>,
    facts: BTreeMap<Name, BucketFacts>,
    server_side: bool,
    compare: CompareMode,
    filter: Filter,
    orders: Option<Orders>,
    careful: bool,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn engine() -> Arc<Engine> {
    Engine::new(Settings {
        checkpoint_keys: 10,
        copies_per_worker: 8,
        requests_per_endpoint: 6,
        single_up_to: 400 * 1024,
        usual_part: 200 * 1024,
        parts_per_object: 3,
        ..Settings::default()
    })
}

fn orders() -> (Orders, mpsc::Sender<()>) {
    let (sender, split) = mpsc::channel(1);
    let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
    (Orders { lost, stop, split }, sender)
}

impl Bench {
    fn new(source: Nature, destination: Nature) -> Self {
        let (source, destination) = (Fake::new(source), Fake::new(destination));
        destination.copies_from(&source);
        let unknown = |endpoint: &str| {
            (name(endpoint), BucketFacts::unknown(name(endpoint), "bucket".into()))
        };
        Self {
            source,
            destination,
            engine: engine(),
            desk: Arc::default(),
            facts: BTreeMap::from([unknown("a"), unknown("b")]),
            server_side: false,
            compare: CompareMode::Default,
            filter: Filter::default(),
            orders: None,
            careful: false,
        }
    }

    fn assignment(&self, work: Work, uploads: Vec<Upload>) -> Assignment {
        let location = |endpoint: &str, prefix: &str| Location {
            endpoint: name(endpoint),
            bucket: "bucket".into(),
            prefix: prefix.into(),
        };
        Assignment {
            held: Held { id: 1, epoch: 1 },
            run: RunName { job: name("job"), number: 1 },
            source: location("a", "from/"),
            destination: Destination {
                location: location("b", "to/x/"),
                storage_class: None,
                agent_labels: BTreeMap::new(),
                encryption: None,
            },
            source_endpoint: EndpointSpec::default(),
            destination_endpoint: EndpointSpec::default(),
            source_facts: self.facts[&name("a")].clone(),
            destination_facts: self.facts[&name("b")].clone(),
            compare: self.compare,
            filter: self.filter.clone(),
            uploads,
            careful: self.careful,
            traceparent: String::new(),
            trace_links: Vec::new(),
            work,
        }
    }

    /// One holder works on what the desk has recorded of the range.
    async fn hold(&mut self) {
        let recorded = self.desk.with(|recorded| recorded.clone());
        self.hold_work(Work::Range { range: recorded.range, cursor: recorded.cursor }).await;
    }

    /// One holder does this work.
    async fn hold_work(&mut self, work: Work) {
        let assignment = self.assignment(work, self.desk.uploads());
        let orders = self.orders.take().unwrap_or_else(|| orders().0);
        let sides = Sides {
            source: Arc::clone(&self.source) as _,
            destination: Arc::clone(&self.destination) as _,
            server_side: self.server_side,
        };
        let work =
            run(assignment, sides, Arc::clone(&self.desk) as _, orders, Arc::clone(&self.engine));
        tokio::time::timeout(Duration::from_secs(24 * 3600), work).await.expect("it ends");
    }

    /// A whole run; returns what it counted. The next one begins anew, with what was learned.
    async fn run(&mut self) -> Counters {
        self.hold().await;
        self.finish_run()
    }

    fn finish_run(&mut self) -> Counters {
        let recorded = self.desk.with(std::mem::take);
        assert!(recorded.done, "{:?}", recorded.outcomes);
        for failure in &recorded.failures {
            println!("{failure:?}");
        }
        for facts in recorded.facts {
            self.facts.get_mut(&facts.endpoint).unwrap().merge(&facts);
        }
        recorded.counters
    }

    fn assert_equal(&self) {
        let (source, destination) = (self.source.bodies("from/"), self.destination.bodies("to/x/"));
        let keys = |bodies: &BTreeMap<String, Bytes>| bodies.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&source), keys(&destination));
        assert!(source == destination, "same keys, other bodies");
        self.destination
            .with(|contents| assert_eq!(contents.uploads.len(), 0, "uploads left open"));
    }
}

fn pattern(seed: usize, length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 + n / 251 + seed * 7 + 1).to_le_bytes()[0]).collect()
}

const ODD_KEYS: [&str; 12] = [
    "from/",
    "from/a",
    "from/a/",
    "from/a//b",
    "from/a b",
    "from/a+b%2F",
    "from/é",
    "from/e\u{301}",
    "from/\u{1f600}",
    "from/./..",
    "from/z?#&",
    "from//",
];

#[tokio::test(start_paused = true)]
async fn every_key_arrives_under_the_other_prefix_and_a_second_run_copies_nothing() {
    let mut bench = Bench::new(MD5, MD5);
    for (n, key) in ODD_KEYS.iter().enumerate() {
        bench.source.store(key, pattern(n, n * 100));
    }
    for key in ["from", "fro", "from0", "g"] {
        bench.source.store(key, "not below the prefix");
    }
    bench.destination.store("to/x/extra", "stays");
    bench.destination.store("to/y", "not below the prefix");
    let first = bench.run().await;
    assert_eq!((first.listed, first.copied, first.extra), (12, 12, 1));
    bench.destination.with(|c| c.objects.remove(&Key::from("to/x/extra")));
    bench.assert_equal();
    let reads = bench.source.count(Operation::Get);
    let second = bench.run().await;
    assert_eq!(
        (second.in_step, second.copied, second.read_requests, second.write_requests),
        (12, 0, 0, 0)
    );
    assert_eq!(bench.source.count(Operation::Get), reads);
}

#[tokio::test(start_paused = true)]
async fn a_copy_costs_one_get_and_one_put_and_learning_one_put_more() {
    let mut bench = Bench::new(MD5, MD5);
    for n in 0..50 {
        bench.source.store(&format!("from/{n:03}"), pattern(n, 100));
    }
    let counters = bench.run().await;
    assert_eq!((counters.read_requests, counters.write_requests), (50, 51));
    let learned = &bench.facts[&name("b")];
    assert_eq!((learned.conditional_writes, learned.etags), (Some(true), Some(EtagKind::Md5)));
    for n in 0..50 {
        bench.source.store(&format!("from/{n:03}"), pattern(n + 1, 100));
    }
    let counters = bench.run().await;
    assert_eq!((counters.read_requests, counters.write_requests), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn every_size_and_kind_of_bucket_ends_in_step_and_stays_so() {
    for (source, destination) in
        [(MD5, MD5), (PLAIN, MD5), (MD5, KMS), (KMS, MD5), (KMS, KMS), (PLAIN, OLD), (OLD, KMS)]
    {
        let mut bench = Bench::new(source, destination);
        let sizes = [0, 1, STREAMED, 400 * 1024, 400 * 1024 + 1, IN_PARTS, 600 * 1024];
        for (n, size) in sizes.into_iter().enumerate() {
            bench.source.store(&format!("from/{n}"), pattern(n, size));
        }
        let what = format!("{source:?} to {destination:?}");
        assert_eq!(bench.run().await.copied, 7, "{what}");
        bench.assert_equal();
        let again = bench.run().await;
        assert_eq!((again.in_step, again.copied, again.write_requests), (7, 0, 0), "{what}");
        // An edit of the same size is noticed.
        bench.source.store("from/1", "x");
        bench.source.store("from/2", pattern(9, STREAMED));
        assert_eq!(bench.run().await.copied, 2, "{what}");
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_the_source_are_reproduced_so_that_etags_stay_comparable() {
    let mut first = Bench::new(PLAIN, MD5);
    first.source.store("from/warm", "learn");
    first.source.store("from/x", pattern(1, IN_PARTS));
    // Make a source that was written in parts: copy it once from a bucket with opaque ETags.
    let mut made = Bench::new(KMS, MD5);
    made.source.store("from/x", pattern(1, IN_PARTS));
    made.run().await;
    let stored = made.destination.with(|c| c.objects[&Key::from("to/x/x")].clone());
    assert_eq!(stored.parts.len(), 3);
    first.source.with(|c| c.objects.insert(Key::from("from/x"), stored.clone()));
    first.run().await;
    // The kinds are known now; a fresh copy carries no stamp.
    first.destination.with(|c| c.objects.clear());
    first.run().await;
    let copy = first.destination.with(|c| c.objects[&Key::from("to/x/x")].clone());
    assert_eq!((copy.etag, copy.parts), (stored.etag, stored.parts));
    assert!(!copy.attributes.metadata.contains_key(STAMP));
}

#[tokio::test(start_paused = true)]
async fn attributes_and_tags_travel_on_every_route() {
    for (server_side, size) in [(false, 10), (false, STREAMED), (false, IN_PARTS), (true, 10)] {
        let mut bench = Bench::new(MD5, MD5);
        bench.server_side = server_side;
        let attributes = Attributes {
            content_type: Some("text/x".into()),
            cache_control: Some("no-store".into()),
            metadata: BTreeMap::from([("who".into(), "me".into()), (STAMP.into(), "old".into())]),
            storage_class: Some("STANDARD_IA".into()),
            ..Attributes::default()
        };
        let tags = vec![("k".to_owned(), "v".to_owned())];
        bench.source.with(|c| {
            let key = Key::from("from/k");
            c.store(MD5, &key, pattern(1, size), attributes.clone());
            c.objects.get_mut(&key).unwrap().tags = tags.clone();
        });
        let counters = bench.run().await;
        assert_eq!(counters.copied_server_side, u64::from(server_side));
        let copy = bench.destination.with(|c| c.objects[&Key::from("to/x/k")].clone());
        let mut metadata = copy.attributes.metadata.clone();
        let stamp = metadata.remove(STAMP);
        assert_eq!(metadata, BTreeMap::from([("who".into(), "me".into())]));
        assert!(server_side || stamp.as_deref() != Some("old"), "the stamp of another pair");
        let of_copy = Attributes { metadata: attributes.metadata.clone(), ..copy.attributes };
        assert_eq!(of_copy, attributes);
        assert_eq!(copy.tags, tags);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_server_side_copy_falls_back_to_streaming() {
    let mut bench = Bench::new(MD5, MD5);
    bench.server_side = true;
    for n in 0..20 {
        bench.source.store(&format!("from/{n:02}"), pattern(n, 50));
    }
    bench.destination.meddle(|_, operation, _| {
        (operation == Operation::Copy).then_some(Fault::Before(Class::Denied))
    });
    let counters = bench.run().await;
    assert_eq!((counters.copied, counters.copied_server_side), (20, 0));
    assert_eq!(counters.server_side_refused, 20, "each is said");
    bench.assert_equal();
    let asked = bench.destination.count(Operation::Copy);
    assert!(asked <= 8, "asked by those in flight only");
    // Remembered by the agent for the two buckets: the next assignment does not ask, and still says it.
    bench.source.store("from/new", "new");
    let counters = bench.run().await;
    assert_eq!((counters.copied, counters.server_side_refused), (1, 1));
    assert_eq!(bench.destination.count(Operation::Copy), asked);
    // Not for ever: a policy may have been changed.
    tokio::time::advance(super::engine::REFUSAL_LASTS).await;
    bench.destination.leave_alone();
    bench.source.store("from/later", "later");
    let counters = bench.run().await;
    assert_eq!((counters.copied_server_side, counters.server_side_refused), (1, 0));
    assert_eq!(bench.facts[&name("b")].conditional_copies, Some(true));
}

#[tokio::test(start_paused = true)]
async fn tags_that_cannot_be_read_are_said_of_each_copy() {
    let mut bench = Bench::new(MD5, MD5);
    bench.source.with(|c| c.silent_of_tags = true);
    bench.source.store("from/a", "a");
    bench.source.store("from/b", pattern(1, IN_PARTS));
    bench
        .source
        .meddle(|_, op, _| (op == Operation::GetTags).then_some(Fault::Before(Class::Denied)));
    let counters = bench.run().await;
    assert_eq!((counters.copied, counters.tags_unread, counters.failed), (2, 2, 0));
    assert_eq!(bench.source.count(Operation::GetTags), 1);
    assert_eq!(bench.facts[&name("a")].tags, Some(false));
}

#[tokio::test(start_paused = true)]
async fn what_stays_refused_is_one_failure_and_stops_nothing_else() {
    let mut bench = Bench::new(MD5, MD5);
    for n in 0..30 {
        bench.source.store(&format!("from/{n:02}"), pattern(n, 50));
    }
    bench.destination.meddle(|_, operation, key| {
        let bad = operation == Operation::Put && *key == Key::from("to/x/17");
        bad.then_some(Fault::Before(Class::Denied))
    });
    bench.hold().await;
    let failures = bench.desk.with(|recorded| recorded.failures.clone());
    assert_eq!(failures.len(), 1);
    let failure = &failures[0];
    assert_eq!((failure.key.clone(), failure.class), (Key::from("17"), FailureClass::Permanent));
    assert_eq!((failure.code.as_str(), failure.s3_request_id.as_str()), ("Denied", "r1"));
    assert_eq!(failure.attempts, 1);
    let counters = bench.finish_run();
    assert_eq!((counters.copied, counters.failed), (29, 1));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_cannot_be_read_or_trusted_fails_the_range() {
    let mut bench = Bench::new(MD5, MD5);
    bench.source.store("from/a", "a");
    bench.source.meddle(|_, op, _| (op == Operation::List).then_some(Fault::Before(Class::Denied)));
    bench.hold().await;
    let outcomes = bench.desk.with(|recorded| recorded.outcomes.clone());
    assert!(matches!(&outcomes[..], [Outcome::Errored(e)] if e.class == FailureClass::Permanent));
}

#[tokio::test(start_paused = true)]
async fn archived_and_vanished_objects_are_counted_apart() {
    let mut bench = Bench::new(MD5, MD5);
    let cold = Attributes { storage_class: Some("GLACIER".into()), ..Attributes::default() };
    bench.source.with(|c| c.store(MD5, &Key::from("from/cold"), "c".into(), cold));
    bench.source.store("from/gone", "g");
    bench.source.store("from/here", "h");
    bench.source.meddle(|contents, operation, _| {
        if operation == Operation::Get {
            contents.objects.remove(&Key::from("from/gone"));
        }
        None
    });
    bench.hold().await;
    let failures = bench.desk.with(|recorded| recorded.failures.clone());
    let listed: Vec<_> = failures.iter().map(|f| (f.key.clone(), f.class, f.attempts)).collect();
    assert_eq!(listed, [(Key::from("cold"), FailureClass::Archived, 0)]);
    let counters = bench.finish_run();
    assert_eq!((counters.archived, counters.vanished, counters.copied), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cut_range_is_done_up_to_the_cut_and_the_rest_by_another() {
    let mut bench = Bench::new(MD5, MD5);
    for n in 0..200 {
        bench.source.store(&format!("from/{n:03}"), pattern(n, 20));
    }
    let (orders, split) = orders();
    bench.orders = Some(orders);
    split.try_send(()).unwrap();
    let split_sender = split.clone();
    bench.source.meddle(move |_, operation, _| {
        if operation == Operation::Get {
            // Asked again and again, also while a cut is being made; a full channel is fine.
            split_sender.try_send(()).ok();
        }
        None
    });
    bench.hold().await;
    bench.source.leave_alone();
    let recorded = bench.desk.with(|recorded| recorded.clone());
    assert!(recorded.done);
    let (at, _) = recorded.split.expect("there was enough left to cut");
    let listed = recorded.counters.listed;
    assert!(listed < 200, "the rest is left to another");
    bench.desk.with(|fresh| {
        *fresh = desk::Recorded {
            range: KeyRange { after: Some(at), until: None },
            ..desk::Recorded::default()
        };
    });
    bench.hold().await;
    // With several cuts the rest of the earlier ones is nobody's in this test; the last begins where ours ended.
    let rest = bench.desk.with(|recorded| recorded.counters);
    assert_eq!(listed + rest.listed, 200);
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn a_worker_told_to_stop_gives_back_what_it_has_not_done() {
    let mut bench = Bench::new(MD5, MD5);
    for n in 0..100 {
        bench.source.store(&format!("from/{n:03}"), pattern(n, 20));
    }
    bench.source.store("from/050", pattern(5, IN_PARTS));
    let (orders, _split) = orders();
    let stop = orders.stop.clone();
    bench.orders = Some(orders);
    // The large one never gets its parts.
    bench.destination.meddle(move |_, operation, _| {
        if operation == Operation::UploadPart {
            stop.cancel();
            return Some(Fault::Before(Class::Throttled));
        }
        None
    });
    bench.hold().await;
    let recorded = bench.desk.with(|recorded| recorded.clone());
    assert_eq!(recorded.outcomes.last(), Some(&Outcome::Yielded));
    assert!(recorded.cursor < Some(Key::from("050")));
    bench.destination.with(|contents| assert_eq!(contents.uploads.len(), 1, "for the next holder"));
    bench.destination.leave_alone();
    bench.hold().await;
    let counters = bench.finish_run();
    assert_eq!((counters.listed, counters.failed), (100, 0));
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn left_open_uploads_are_aborted_and_foreign_ones_are_not() {
    let mut bench = Bench::new(MD5, MD5);
    let early = crate::clock::now();
    let intent = early.plus(Duration::from_secs(3600));
    let (ours, foreign_key, older) = bench.destination.with(|c| {
        let ours = [c.open_upload("to/x/a", intent), c.open_upload("to/x/b", intent)];
        (ours, c.open_upload("to/x/ab", intent), c.open_upload("to/x/b", early))
    });
    let uploads = vec![
        Upload { key: Key::from("a"), upload_id: Some(ours[0].clone()), intent, plan: None },
        Upload { key: Key::from("b"), upload_id: None, intent, plan: None },
    ];
    let assignment = bench.assignment(Work::Reap, uploads);
    let sides = Sides {
        source: Arc::clone(&bench.source) as _,
        destination: Arc::clone(&bench.destination) as _,
        server_side: false,
    };
    run(assignment, sides, Arc::clone(&bench.desk) as _, orders().0, Arc::clone(&bench.engine))
        .await;
    let left: Vec<_> = bench.destination.with(|c| c.uploads.keys().cloned().collect());
    let mut expected = vec![foreign_key, older];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(bench.run().await.listed, 0);
}
