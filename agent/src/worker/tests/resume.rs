//! Uploads whose holder died: the next one goes on with them, and sends again at most what was in flight. If anything is
//! not what it was, it begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use s3sync_proto::model::{Counters, EtagKind, Filter, Key, KeyRange, Work};

use super::fake::{Fault, Nature};
use super::{Bench, KMS, MD5, OLD, PLAIN, orders, pattern};
use crate::copy::digest::{hex, multipart_etag};
use crate::s3::{Attributes, Class, Operation};
use crate::worker::{Engine, Settings};

/// Of 200 KiB; the last is smaller.
const PARTS: u64 = 10;
const LARGE: usize = 1_900 * 1024;
/// Parts in flight, as the engine of these tests has it.
const IN_FLIGHT: u64 = 3;

/// What happens while nobody holds the work.
type Change = (&'static str, fn(&mut Bench));

fn bench(source: Nature, destination: Nature, server_side: bool) -> Bench {
    let mut bench = Bench::new(source, destination);
    bench.server_side = server_side;
    bench.engine = Engine::new(Settings { copy_up_to: 400 * 1024, ..bench.engine.settings });
    bench
}

/// A holder works until `operation` begins for the `nth` time, and dies.
async fn dies(bench: &mut Bench, operation: Operation, nth: u64) {
    dies_at(bench, operation, nth, None).await;
}

/// As [`dies`], of this work.
async fn dies_at(bench: &mut Bench, operation: Operation, nth: u64, work: Option<Work>) {
    dies_by(bench, (operation, nth), Fault::Before(Class::Transient), work).await;
}

/// A holder works, and dies when an upload is completed; it is, and the answer does not arrive.
async fn dies_before_the_answer(bench: &mut Bench) {
    dies_by(bench, (Operation::CompleteUpload, 1), Fault::After(Class::Transient), None).await;
}

async fn dies_by(
    bench: &mut Bench,
    (operation, nth): (Operation, u64),
    fault: Fault,
    work: Option<Work>,
) {
    let (orders, _split) = orders();
    let lost = orders.lost.clone();
    bench.orders = Some(orders);
    let desk = Arc::clone(&bench.desk);
    let mut seen = 0;
    bench.destination.meddle(move |_, found, _| {
        seen += u64::from(found == operation);
        if found == operation && seen == nth {
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
            return Some(fault);
        }
        None
    });
    match work {
        Some(work) => bench.hold_work(work).await,
        None => bench.hold().await,
    }
    bench.destination.leave_alone();
    bench.desk.with(|recorded| recorded.lost = false);
}

/// Parts that arrive, also those that S3 copies: the fake counts both as one operation.
fn parts_sent(bench: &Bench) -> u64 {
    bench.destination.count(Operation::UploadPart)
}

fn open(bench: &Bench) -> usize {
    bench.destination.with(|contents| contents.uploads.len())
}

/// An object that was written in the parts that it is to be copied in.
fn store_in_parts(bench: &Bench) {
    bench.source.store("from/large", pattern(1, LARGE));
    bench.source.with(|contents| {
        let object = contents.objects.get_mut(&Key::from("from/large")).unwrap();
        let parts: Vec<&[u8]> = object.bytes.chunks(200 * 1024).collect();
        let etags: Vec<_> = parts.iter().map(|part| hex(&Md5::digest(part))).collect();
        object.parts = parts.iter().map(|part| part.len() as u64).collect();
        object.etag = multipart_etag(etags.iter().map(String::as_str)).unwrap();
    });
}

/// Kills, then lets another finish; how many parts were sent in all.
async fn killed_once(bench: &mut Bench) -> (u64, Counters) {
    dies(bench, Operation::UploadPart, 7).await;
    assert_eq!(open(bench), 1, "the upload outlives its holder");
    let counters = bench.run().await;
    bench.assert_equal();
    (parts_sent(bench), counters)
}

#[tokio::test(start_paused = true)]
async fn at_most_the_parts_in_flight_are_sent_again() {
    for server_side in [false, true] {
        for (source, destination) in [(MD5, MD5), (MD5, KMS), (KMS, KMS), (KMS, MD5)] {
            let mut bench = bench(source, destination, server_side);
            if server_side {
                store_in_parts(&bench);
            } else {
                bench.source.store("from/large", pattern(1, LARGE));
            }
            let (sent, counters) = killed_once(&mut bench).await;
            let what = format!("{server_side} {source:?} {destination:?}");
            assert!(sent <= PARTS + IN_FLIGHT, "{what}: {sent}");
            assert_eq!(bench.destination.count(Operation::CreateUpload), 1, "{what}");
            assert_eq!(counters.copied, 1, "{what}");
            let again = bench.run().await;
            assert_eq!((again.in_step, again.copied), (1, 0), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_holders_in_turn_send_each_part_about_once() {
    let mut bench = bench(MD5, MD5, false);
    bench.source.store("from/large", pattern(1, LARGE));
    for _ in 0..4 {
        dies(&mut bench, Operation::UploadPart, 4).await;
    }
    bench.run().await;
    bench.assert_equal();
    let sent = parts_sent(&bench);
    assert!(sent <= PARTS + 4 * IN_FLIGHT, "{sent}");
    assert_eq!(bench.destination.count(Operation::CreateUpload), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_with_all_parts_is_only_completed() {
    let mut bench = bench(MD5, MD5, false);
    bench.source.store("from/large", pattern(1, LARGE));
    dies(&mut bench, Operation::CompleteUpload, 1).await;
    bench.run().await;
    bench.assert_equal();
    assert_eq!(parts_sent(&bench), PARTS);
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_holder_died_before_the_answer_is_found_in_step() {
    for destination in [MD5, KMS] {
        let mut bench = bench(MD5, destination, false);
        bench.source.store("from/large", pattern(1, LARGE));
        dies_before_the_answer(&mut bench).await;
        bench.run().await;
        bench.assert_equal();
        assert_eq!(parts_sent(&bench), PARTS, "{destination:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_a_listing_does_not_show_yet_is_looked_for_before_anything_is_sent() {
    for destination in [MD5, KMS] {
        let mut bench = bench(MD5, destination, false);
        bench.source.store("from/large", pattern(1, LARGE));
        // It has its effect when the next holder has listed: the listing leaves it out.
        dies_before_the_answer(&mut bench).await;
        bench.destination.with(|contents| contents.unlisted = vec![Key::from("to/x/large")]);
        let counters = bench.run().await;
        bench.assert_equal();
        let sent = (parts_sent(&bench), bench.destination.count(Operation::CreateUpload));
        assert_eq!(sent, (PARTS, 1), "{destination:?}");
        assert_eq!((counters.in_step, counters.failed), (1, 0), "{destination:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn parts_that_cannot_be_verified_are_sent_again() {
    // No checksum of parts, but one of the source's to compare with; MD5s of parts that make no ETag to compare with.
    for (source, destination) in [(MD5, PLAIN), (MD5, OLD)] {
        let mut bench = bench(source, destination, false);
        bench.source.store("from/large", pattern(1, LARGE));
        let (sent, _) = killed_once(&mut bench).await;
        assert!(sent > PARTS + IN_FLIGHT, "{source:?} {destination:?}: {sent}");
    }
    // ETags of parts that are not known to be MD5s, which the source's ETag is made of; and such that are.
    for (etags, again) in [(None, true), (Some(EtagKind::Md5), false)] {
        let mut bench = bench(MD5, MD5, false);
        let known = bench.engine.known(&bench.facts[&super::name("b")]);
        known.learn(|facts| facts.etags = etags);
        store_in_parts(&bench);
        let (sent, _) = killed_once(&mut bench).await;
        assert_eq!(sent > PARTS + IN_FLIGHT, again, "{etags:?}: {sent}");
    }
    // Nothing is compared as a whole, and each part came with its MD5.
    let mut bench = bench(OPAQUE, PLAIN, false);
    let known = bench.engine.known(&bench.facts[&super::name("b")]);
    known.learn(|facts| facts.checksums = Some(false));
    bench.source.store("from/large", pattern(1, LARGE));
    let (sent, _) = killed_once(&mut bench).await;
    assert!(sent <= PARTS + IN_FLIGHT, "{sent}");
}

/// ETags that say nothing, and no checksums.
const OPAQUE: Nature = Nature { md5_etags: false, conditions: true, checksums: false };

#[tokio::test(start_paused = true)]
async fn the_parts_are_those_of_the_upload_whatever_would_be_planned_now() {
    let mut bench = bench(MD5, MD5, false);
    bench.source.store("from/large", pattern(1, LARGE));
    dies(&mut bench, Operation::UploadPart, 7).await;
    // As on a longer way.
    bench.engine = Engine::new(Settings { usual_part: 100 * 1024, ..bench.engine.settings });
    bench.run().await;
    bench.assert_equal();
    let sent = parts_sent(&bench);
    assert!(sent <= PARTS + IN_FLIGHT, "{sent}");
    let copy = bench.destination.with(|c| c.objects[&Key::from("to/x/large")].clone());
    assert_eq!(copy.parts[0], 200 * 1024);
}

#[tokio::test(start_paused = true)]
async fn whatever_changed_meanwhile_the_copy_is_begun_anew() {
    let key = || Key::from("from/large");
    let changes: [Change; 9] = [
        ("other bytes of the same size", |b| b.source.store("from/large", pattern(2, LARGE))),
        ("another size", |b| b.source.store("from/large", pattern(1, LARGE - 1))),
        ("now small", |b| b.source.store("from/large", "small")),
        ("metadata", |b| {
            b.source.with(|c| {
                let object = c.objects.get_mut(&Key::from("from/large")).unwrap();
                object.attributes.metadata = BTreeMap::from([("new".into(), "one".into())]);
            });
        }),
        ("tags", |b| {
            b.source.with(|c| {
                let object = c.objects.get_mut(&Key::from("from/large")).unwrap();
                object.tags = vec![("new".into(), "one".into())];
            });
        }),
        ("the upload is gone", |b| b.destination.with(|c| c.uploads.clear())),
        ("a part of another size", |b| {
            b.destination.with(|c| {
                let open = c.uploads.values_mut().next().unwrap();
                let part = open.parts.values_mut().next().unwrap();
                part.0 = part.0.slice(1..);
            });
        }),
        ("a part that nobody planned", |b| {
            b.destination.with(|c| {
                let open = c.uploads.values_mut().next().unwrap();
                open.parts.insert(99, (pattern(1, 10), "etag".into()));
            });
        }),
        ("wrong bytes in a part", |b| {
            b.destination.with(|c| {
                let open = c.uploads.values_mut().next().unwrap();
                let part = open.parts.values_mut().next().unwrap();
                part.0 = pattern(9, part.0.len());
            });
        }),
    ];
    for (what, change) in changes {
        let mut bench = bench(MD5, MD5, false);
        bench.source.store("from/large", pattern(1, LARGE));
        dies(&mut bench, Operation::UploadPart, 7).await;
        change(&mut bench);
        let counters = bench.run().await;
        assert_eq!((counters.copied, counters.failed), (1, 0), "{what}");
        bench.assert_equal();
        let of = |fake: &super::Fake, key: &Key| {
            let object = fake.with(|c| c.objects[key].clone());
            let mut metadata = object.attributes.metadata;
            metadata.remove(crate::compare::STAMP);
            (metadata, object.tags)
        };
        let copy = of(&bench.destination, &Key::from("to/x/large"));
        assert_eq!(copy, of(&bench.source, &key()), "{what}");
        assert_eq!(bench.run().await.in_step, 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn parts_cannot_be_listed_so_the_copy_is_begun_anew() {
    for class in [Class::Denied, Class::Unsupported, Class::Transient] {
        let mut bench = bench(MD5, MD5, false);
        bench.source.store("from/large", pattern(1, LARGE));
        dies(&mut bench, Operation::UploadPart, 7).await;
        bench.destination.meddle(move |_, operation, _| {
            (operation == Operation::ListParts).then_some(Fault::Before(class))
        });
        assert_eq!(bench.run().await.copied, 1, "{class:?}");
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn uploads_at_keys_that_are_not_copied_any_more_are_aborted() {
    let cases: [Change; 6] = [
        ("gone", |b| drop(b.source.with(|c| c.objects.remove(&Key::from("from/large"))))),
        ("gone, and something is at the destination", |b| {
            b.source.with(|c| c.objects.remove(&Key::from("from/large")));
            b.destination.store("to/x/large", "extra");
        }),
        ("filtered", |b| b.filter = Filter { max_size: Some(1_000), ..Filter::default() }),
        ("in step by now", |b| {
            let object = b.source.with(|c| c.objects[&Key::from("from/large")].clone());
            b.destination.with(|c| c.objects.insert(Key::from("to/x/large"), object));
        }),
        ("archived", |b| {
            b.source.with(|c| {
                let cold =
                    Attributes { storage_class: Some("GLACIER".into()), ..Attributes::default() };
                c.objects.get_mut(&Key::from("from/large")).unwrap().attributes = cold;
            });
        }),
        ("gone, and nothing is listed behind it", |b| {
            b.source.with(|c| c.objects.retain(|key, _| *key < Key::from("from/large")));
            b.destination.with(|c| c.objects.retain(|key, _| *key < Key::from("to/x/large")));
        }),
    ];
    for (what, change) in cases {
        let mut bench = bench(MD5, MD5, false);
        for key in ["from/a", "from/large", "from/z"] {
            bench
                .source
                .store(key, if key == "from/large" { pattern(1, LARGE) } else { "s".into() });
        }
        dies(&mut bench, Operation::UploadPart, 7).await;
        assert_eq!(open(&bench), 1, "{what}");
        change(&mut bench);
        bench.hold().await;
        let left = bench.desk.with(|recorded| recorded.uploads.clone());
        assert_eq!((open(&bench), left.len()), (0, 0), "{what}");
        let sent = parts_sent(&bench);
        assert!(sent <= 7 + IN_FLIGHT, "{what}: {sent}");
        bench.finish_run();
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_by_name_is_gone_on_with_and_one_that_is_not_named_any_more_is_aborted() {
    let mut bench = bench(MD5, MD5, false);
    bench.source.store("from/large", pattern(1, LARGE));
    let work = |key: &str| Work::Keys(vec![Key::from(key)]);
    dies_at(&mut bench, Operation::UploadPart, 7, Some(work("large"))).await;
    bench.hold_work(work("large")).await;
    bench.assert_equal();
    let sent = parts_sent(&bench);
    assert!(sent <= PARTS + IN_FLIGHT, "{sent}");

    bench.desk.with(std::mem::take);
    bench.source.store("from/large", pattern(2, LARGE));
    dies_at(&mut bench, Operation::UploadPart, 7, Some(work("large"))).await;
    assert_eq!(open(&bench), 1);
    bench.hold_work(work("other")).await;
    assert_eq!(open(&bench), 0);
}

#[tokio::test(start_paused = true)]
async fn uploads_above_a_cut_are_left_to_whoever_has_the_rest() {
    let mut bench = bench(MD5, MD5, false);
    for n in 0..200 {
        bench.source.store(&format!("from/{n:03}"), pattern(n, 20));
    }
    bench.source.store("from/199", pattern(1, LARGE));
    dies(&mut bench, Operation::UploadPart, 7).await;
    assert_eq!(open(&bench), 1);
    let (orders, split) = orders();
    bench.orders = Some(orders);
    let desk = Arc::clone(&bench.desk);
    bench.source.meddle(move |_, operation, _| {
        if operation == Operation::List && desk.with(|recorded| recorded.split.is_none()) {
            // Until there is something to cut; a full channel is fine.
            split.try_send(()).ok();
        }
        None
    });
    // All again.
    bench.desk.with(|recorded| recorded.cursor = None);
    bench.hold().await;
    bench.source.leave_alone();
    let recorded = bench.desk.with(|recorded| recorded.clone());
    let (at, _) = recorded.split.expect("there was enough left to cut");
    assert!(recorded.done && at < Key::from("199"));
    assert_eq!(open(&bench), 1, "it is not this holder's any more");
    let uploads = BTreeMap::from_iter(recorded.uploads);
    bench.desk.with(|rest| {
        *rest = super::desk::Recorded {
            // All that was cut off, if it was asked twice.
            range: KeyRange { after: Some(at), until: None },
            uploads,
            ..super::desk::Recorded::default()
        };
    });
    bench.hold().await;
    bench.assert_equal();
    let sent = parts_sent(&bench);
    assert!(sent <= PARTS + IN_FLIGHT, "{sent}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_opened_twice_is_gone_on_with_once() {
    let mut bench = bench(MD5, MD5, false);
    bench.source.store("from/large", pattern(1, LARGE));
    let (orders, _split) = orders();
    let lost = orders.lost.clone();
    bench.orders = Some(orders);
    let desk = Arc::clone(&bench.desk);
    let (mut opened, mut parts) = (0, 0);
    bench.destination.meddle(move |_, operation, _| {
        opened += u32::from(operation == Operation::CreateUpload);
        parts += u32::from(operation == Operation::UploadPart);
        if operation == Operation::UploadPart && parts == 7 {
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
        }
        (operation == Operation::CreateUpload && opened == 1)
            .then_some(Fault::After(Class::Transient))
    });
    bench.hold().await;
    bench.destination.leave_alone();
    bench.desk.with(|recorded| recorded.lost = false);
    assert_eq!(open(&bench), 2);
    bench.run().await;
    bench.assert_equal();
    let sent = parts_sent(&bench);
    assert!(sent <= PARTS + IN_FLIGHT, "{sent}");
}
