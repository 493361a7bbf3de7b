//! The modes that ask both sides: stored checksums, and what objects carry.

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_proto::model::{CompareMode, Counters, FailureClass, Key};

use super::fake::{Fault, Nature, Stored};
use super::{Bench, Engine, IN_PARTS, KMS, MD5, OLD, PLAIN, STREAMED, Settings, name, pattern};
use crate::compare::STAMP;
use crate::copy::digest::Crc;
use crate::s3::{Algorithm, Attributes, Class, Operation};

fn bench(compare: CompareMode, source: Nature, destination: Nature) -> Bench {
    Bench { compare, ..Bench::new(source, destination) }
}

/// Changes what an object carries without touching its bytes.
fn carries(bench: &Bench, key: &str, who: &str, tag: &str) {
    bench.source.with(|contents| {
        let object = contents.objects.get_mut(&Key::from(key)).unwrap();
        object.attributes.metadata.insert("who".to_owned(), who.to_owned());
        object.tags = vec![("tag".to_owned(), tag.to_owned())];
    });
}

fn at_destination(bench: &Bench, key: &str) -> Stored {
    bench.destination.with(|contents| contents.objects[&Key::from(key)].clone())
}

fn assert_carries(bench: &Bench, key: &str, who: &str, tag: &str) {
    let copy = at_destination(bench, &format!("to/x/{key}"));
    let mut metadata = copy.attributes.metadata;
    metadata.remove(STAMP);
    assert_eq!(metadata, BTreeMap::from([("who".to_owned(), who.to_owned())]), "{key}");
    assert_eq!(copy.tags, [("tag".to_owned(), tag.to_owned())], "{key}");
}

/// Of three objects, one that travels in each way.
async fn in_step(compare: CompareMode, source: Nature, destination: Nature) -> Bench {
    let mut bench = bench(compare, source, destination);
    for (key, size) in [("from/a", 10), ("from/b", STREAMED), ("from/c", IN_PARTS)] {
        bench.source.store(key, pattern(1, size));
        carries(&bench, key, "me", "1");
    }
    assert_eq!(bench.run().await.copied, 3);
    bench
}

#[tokio::test(start_paused = true)]
async fn what_is_carried_is_compared_by_two_heads_and_the_tags() {
    let mut bench = in_step(CompareMode::Full, MD5, MD5).await;
    let counters = bench.run().await;
    assert_eq!((counters.in_step, counters.write_requests), (3, 0));
    assert_eq!(counters.read_requests, 3 * 4, "a HEAD and a reading of tags on each side");
    bench.source.with(|c| c.objects.values_mut().for_each(|object| object.tags.clear()));
    bench.destination.with(|c| c.objects.values_mut().for_each(|object| object.tags.clear()));
    assert_eq!(bench.run().await.read_requests, 3 * 2, "without tags, a HEAD on each side");
}

#[tokio::test(start_paused = true)]
async fn drift_is_repaired_without_moving_a_byte() {
    for (source, destination) in [(MD5, MD5), (MD5, KMS), (KMS, MD5)] {
        let mut bench = in_step(CompareMode::Full, source, destination).await;
        carries(&bench, "from/a", "you", "1");
        carries(&bench, "from/b", "me", "2");
        carries(&bench, "from/c", "you", "2");
        let reads = bench.source.count(Operation::Get);
        let what = format!("{source:?} to {destination:?}");
        let counters = bench.run().await;
        let done = (counters.copied, counters.repaired, counters.copied_server_side);
        assert_eq!(done, (3, 3, 3), "{what}");
        assert_eq!(bench.source.count(Operation::Get), reads, "{what}");
        assert_eq!(bench.destination.count(Operation::Copy), 4, "one more to learn");
        assert_carries(&bench, "a", "you", "1");
        assert_carries(&bench, "b", "me", "2");
        assert_carries(&bench, "c", "you", "2");
        bench.assert_equal();
        let again = bench.run().await;
        assert_eq!((again.in_step, again.write_requests), (3, 0), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn drift_at_the_destination_is_repaired_as_well() {
    let mut bench = in_step(CompareMode::Full, MD5, MD5).await;
    bench.destination.with(|contents| {
        let object = contents.objects.get_mut(&Key::from("to/x/b")).unwrap();
        object.attributes.content_type = Some("text/x".into());
        object.tags.push(("more".to_owned(), "x".to_owned()));
    });
    assert_eq!(bench.run().await.repaired, 1);
    assert_carries(&bench, "b", "me", "1");
    assert_eq!(at_destination(&bench, "to/x/b").attributes.content_type, None);
}

#[tokio::test(start_paused = true)]
async fn where_an_object_cannot_be_copied_onto_itself_its_bytes_travel_again() {
    for (destination, refuses) in [(MD5, true), (OLD, false)] {
        let mut bench = in_step(CompareMode::Full, MD5, destination).await;
        if refuses {
            bench.destination.meddle(|_, operation, _| {
                (operation == Operation::Copy).then_some(Fault::Before(Class::Denied))
            });
        }
        for round in ["you", "they"] {
            for key in ["from/a", "from/b", "from/c"] {
                carries(&bench, key, round, "1");
            }
            let counters = bench.run().await;
            assert_eq!((counters.copied, counters.repaired), (3, 3), "{destination:?} {round}");
        }
        // Those of the first round that were under way; and one more to learn.
        let asked = bench.destination.count(Operation::Copy);
        assert!(asked <= 4, "{asked} of {destination:?}");
        assert_carries(&bench, "c", "they", "1");
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_destination_does_not_keep_is_a_failure_that_names_it() {
    let mut bench = bench(CompareMode::Full, MD5, MD5);
    bench.destination.with(|contents| contents.forgets_redirects = true);
    let redirect = Attributes { website_redirect: Some("/b".into()), ..Attributes::default() };
    bench.source.with(|c| c.store(MD5, &Key::from("from/a"), "a".into(), redirect));
    bench.source.store("from/b", "b");
    assert_eq!(bench.run().await.copied, 2);
    bench.hold().await;
    let failures = bench.desk.with(|recorded| recorded.failures.clone());
    assert_eq!((failures.len(), failures[0].code.as_str()), (1, "not_kept"));
    assert!(failures[0].message.ends_with("does not keep: website redirect"), "{failures:?}");
    let counters = bench.finish_run();
    assert_eq!((counters.in_step, counters.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn tags_that_an_upload_lost_are_given_to_the_object_or_are_a_failure() {
    for (refuses, outcome) in [(false, (1, 0)), (true, (0, 1))] {
        let mut bench = Bench::new(MD5, MD5);
        bench.destination.with(|contents| contents.forgets_tags_of_uploads = true);
        if refuses {
            bench.destination.meddle(|_, operation, _| {
                (operation == Operation::Copy).then_some(Fault::Before(Class::Denied))
            });
        }
        bench.source.store("from/k", pattern(1, IN_PARTS));
        carries(&bench, "from/k", "me", "1");
        bench.hold().await;
        let failures = bench.desk.with(|recorded| recorded.failures.clone());
        let codes: Vec<_> = failures.iter().map(|failure| failure.code.as_str()).collect();
        let counters = bench.finish_run();
        assert_eq!((counters.copied, counters.failed), outcome);
        if refuses {
            assert_eq!(codes, ["not_kept"]);
        } else {
            assert_carries(&bench, "k", "me", "1");
            let again = bench.run().await;
            assert_eq!((again.in_step, again.write_requests), (1, 0));
        }
        bench.assert_equal();
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_read_is_a_failure_on_every_way_that_would_lose_it() {
    for (server_side, size) in [(false, 10), (false, STREAMED), (false, IN_PARTS), (true, 10)] {
        let mut bench = Bench::new(MD5, MD5);
        bench.server_side = server_side;
        let attributes = Attributes { missing_metadata: 2, ..Attributes::default() };
        let key = Key::from("from/k");
        bench.source.with(|c| c.store(MD5, &key, pattern(1, size), attributes));
        bench.hold().await;
        let failures = bench.desk.with(|recorded| recorded.failures.clone());
        let counters = bench.finish_run();
        if server_side {
            // S3 carries by itself what it cannot show.
            assert_eq!((counters.copied, counters.failed), (1, 0));
        } else {
            let failure = (failures[0].class, failures[0].code.as_str(), failures[0].attempts);
            assert_eq!(failure, (FailureClass::Permanent, "metadata_unreadable", 1), "{size}");
            bench.destination.with(|c| assert!(c.objects.is_empty() && c.uploads.is_empty()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_without_bytes_survives_a_copy_inside_s3() {
    let mut bench = Bench::new(MD5, MD5);
    bench.server_side = true;
    let redirect = Attributes { website_redirect: Some("/b".into()), ..Attributes::default() };
    bench.source.with(|c| c.store(MD5, &Key::from("from/a"), "".into(), redirect.clone()));
    bench.source.store("from/b", "");
    let counters = bench.run().await;
    assert_eq!((counters.copied_server_side, counters.read_requests), (2, 2));
    assert_eq!(at_destination(&bench, "to/x/a").attributes, redirect);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_compares_in_full_carries_a_redirect_with_bytes_inside_s3() {
    let mut bench = Bench::new(MD5, MD5);
    (bench.server_side, bench.compare) = (true, CompareMode::Full);
    let redirect = Attributes {
        website_redirect: Some("/b".into()),
        content_type: Some("text/html".into()),
        ..Attributes::default()
    };
    bench
        .source
        .with(|c| c.store(MD5, &Key::from("from/a"), "some bytes".into(), redirect.clone()));
    let counters = bench.run().await;
    assert_eq!((counters.copied_server_side, counters.repaired), (1, 0));
    assert_eq!(at_destination(&bench, "to/x/a").attributes, redirect);
    assert_eq!(bench.run().await.in_step, 1);
}

/// A run in which nothing but HEADs is asked for.
async fn by_heads(bench: &mut Bench, keys: u64) -> Counters {
    let counters = bench.run().await;
    assert_eq!(counters.listed, keys);
    assert_eq!((counters.in_step, counters.read_requests), (keys, 2 * keys));
    counters
}

#[tokio::test(start_paused = true)]
async fn stored_checksums_decide_whatever_the_etags_and_times_are() {
    let mut bench = in_step(CompareMode::Checksum, MD5, KMS).await;
    // No stamp may help.
    bench.destination.with(|contents| {
        contents.objects.values_mut().for_each(|object| object.attributes.metadata.clear());
    });
    bench.destination.with(|contents| contents.objects.remove(&Key::from("to/x/c")));
    bench.source.with(|contents| contents.objects.remove(&Key::from("from/c")));
    by_heads(&mut bench, 2).await;
    // Bytes of the same size, put there long after: time proves nothing.
    bench.destination.with(|contents| {
        contents.pass(Duration::from_secs(99 * 24 * 3600));
        contents.store(KMS, &Key::from("to/x/b"), pattern(2, STREAMED), Attributes::default());
    });
    let counters = bench.run().await;
    assert_eq!((counters.in_step, counters.copied), (1, 1));
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn without_comparable_checksums_a_stamp_decides_and_never_the_time() {
    let mut bench = bench(CompareMode::Checksum, PLAIN, KMS);
    bench.source.store("from/a", "a");
    bench.source.store("from/b", "b");
    bench.destination.with(|contents| {
        contents.pass(Duration::from_secs(99 * 24 * 3600));
        contents.store(KMS, &Key::from("to/x/a"), "x".into(), Attributes::default());
    });
    assert_eq!(bench.run().await.copied, 2);
    bench.assert_equal();
    by_heads(&mut bench, 2).await;
    assert_eq!(bench.facts[&name("a")].checksums, None);
}

#[tokio::test(start_paused = true)]
async fn keys_looked_at_by_name_are_compared_in_the_same_ways() {
    for compare in [CompareMode::Full, CompareMode::Checksum] {
        for (source, destination) in [(MD5, MD5), (MD5, KMS), (PLAIN, KMS)] {
            let what = format!("{compare:?}, {source:?} to {destination:?}");
            let mut bench = in_step(compare, source, destination).await;
            let counters = bench.look_at(&["a", "b", "c"]).await;
            assert_eq!((counters.in_step, counters.write_requests), (3, 0), "{what}");
            carries(&bench, "from/b", "you", "2");
            let counters = bench.look_at(&["a", "b", "c"]).await;
            if compare == CompareMode::Full {
                assert_eq!((counters.in_step, counters.repaired), (2, 1), "{what}");
                assert_carries(&bench, "b", "you", "2");
            } else {
                assert_eq!(counters.in_step, 3, "{what}");
            }
            bench.source.store("from/a", pattern(2, 10));
            assert_eq!(bench.look_at(&["a", "b", "c"]).await.copied, 1, "{what}");
            bench.assert_equal();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whether_copies_hold_conditions_is_not_learned_from_what_they_read() {
    let mut bench = bench(CompareMode::Full, MD5, OLD);
    bench.source.store("from/k", pattern(1, IN_PARTS));
    bench.run().await;
    // Of parts now; copied onto itself it gets another ETag.
    assert!(at_destination(&bench, "to/x/k").etag.contains('-'));
    carries(&bench, "from/k", "you", "1");
    assert_eq!(bench.run().await.repaired, 1);
    assert_eq!(bench.facts[&name("b")].conditional_copies, Some(false));
}

#[tokio::test(start_paused = true)]
async fn copies_of_parts_are_completed_with_the_checksum_of_the_source() {
    let mut bench = Bench::new(MD5, MD5);
    bench.server_side = true;
    let settings = bench.engine.settings;
    bench.engine = Engine::new(Settings { copy_up_to: settings.single_up_to, ..settings });
    bench.source.store("from/k", pattern(1, IN_PARTS));
    let counters = bench.run().await;
    assert_eq!((counters.copied_server_side, bench.source.count(Operation::Get)), (1, 0));
    let source = Crc::of(Algorithm::Crc64Nvme, &pattern(1, IN_PARTS)).encode();
    bench.destination.with(|contents| assert_eq!(contents.completed_with, [Some(source)]));
}
