//! What people ask about: the failures of one key, and facts that are learned anew.

use s3sync_proto::model::{
    BucketFacts, Counters, EtagKind, Failure, FailureClass, Outcome, RunName, Timestamp, Verdict,
};

use super::bench::{Bench, destination, failure, key, name};
use super::events::{following, tell};

/// A run of two destinations in which these keys failed at one of them.
async fn failed(bench: &Bench, index: usize, keys: &[&str]) -> RunName {
    let run = bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    for turn in 0..2 {
        let work = bench.take(session).await;
        let here = if turn == index { keys } else { &[] };
        let mut report = super::bench::report(work.held, Outcome::Completed, [None, None], 0);
        report.failures = here.iter().map(|text| failure(key(text))).collect();
        let failed = here.len() as u64;
        report.counters = Counters { listed: failed, failed, ..Counters::default() };
        assert_eq!(bench.store.report(report, bench.now).await.unwrap(), Verdict::Applied);
    }
    bench.store.close_session(session, bench.now).await.unwrap();
    run
}

pub(super) async fn failures_of_key(bench: Bench) {
    bench.put_job("media", vec![destination("usw2", "new"), destination("cnn1", "target")]).await;
    let first = failed(&bench, 1, &["a", "b"]).await;
    let second = failed(&bench, 0, &["b", "b\0"]).await;
    let third = failed(&bench, 0, &[]).await;
    let of = async |text: &str, runs| {
        let found = bench.store.failures_of_key(&first.job, &key(text), runs).await.unwrap();
        found
            .into_iter()
            .map(|(run, failure)| {
                assert_eq!(
                    failure,
                    Failure {
                        destination: failure.destination,
                        ..super::bench::failure(key(text))
                    }
                );
                (run.number, failure.destination)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(of("b", 10).await, [(second.number, 0), (first.number, 1)], "newest first");
    assert_eq!(of("b", 2).await, [(second.number, 0)], "of the newest two runs");
    assert_eq!(of("b", 1).await, []);
    assert_eq!(of("b\0", 10).await, [(second.number, 0)], "of exactly this key");
    assert_eq!(of("c", 10).await, []);
    assert_eq!(third.number, second.number + 1);
    let other = bench.store.failures_of_key(&name("other"), &key("b"), 10).await.unwrap();
    assert_eq!(other, [], "of this job alone");
}

pub(super) async fn dirty_key(bench: Bench) {
    let (session, watch) = following(&bench).await;
    let of = async |text: &str| {
        let found = bench.store.dirty_key(&name("media"), &key(text)).await.unwrap();
        found.into_iter().map(|(place, row)| (place.bucket, row)).collect::<Vec<_>>()
    };
    assert_eq!(of("a").await, []);
    tell(&bench, watch.held, &["a", "a", "b"]).await;
    let found = of("a").await;
    let places: Vec<_> = found.iter().map(|(bucket, _)| bucket.as_str()).collect();
    assert_eq!(places, ["target", "near"]);
    let row = found[0].1.clone();
    assert_eq!((row.since, row.latest, row.reasons, row.looks), (bench.now, bench.now, 1, 0));
    assert_eq!((row.sequencer.as_str(), row.again, row.is_gone), ("00A1", false, false));
    assert_eq!((row.holder.as_deref(), row.paused.as_deref()), (None, None));
    assert_eq!(of("a\0").await, [], "of exactly this key");
    // Somebody works on it, and it changes again.
    let work = bench.take(session).await;
    tell(&bench, watch.held, &["a"]).await;
    let [(_, held), (_, other)] = of("a").await.try_into().unwrap();
    assert_eq!((held.holder.as_deref(), held.again, held.reasons), (Some("a"), true, 2));
    assert_eq!((other.holder, other.again, other.reasons), (None, false, 2));
    // Its look fails and may pass.
    let mut last = super::bench::report(work.held, Outcome::Completed, [None, None], 1);
    last.failures =
        vec![Failure { class: FailureClass::Transient, ..super::bench::failure(key("a")) }];
    last.counters = Counters { listed: 2, in_step: 1, failed: 1, ..Counters::default() };
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    let (_, put_off) = of("a").await.remove(0);
    assert_eq!((put_off.holder, put_off.looks), (None, 1));
    assert!(put_off.not_before > bench.now);
    assert_eq!(of("b").await.len(), 1, "done at one of the two");
    let run = put_off.run;
    bench.store.pause_run(&run, "a person looks").await.unwrap();
    assert_eq!(of("a").await[0].1.paused.as_deref(), Some("a person looks"));
}

pub(super) async fn relearned(bench: Bench) {
    let facts = |bucket: &str| BucketFacts {
        conditional_writes: Some(true),
        unordered_listing: true,
        learned: Timestamp::from_micros(1),
        ..BucketFacts::unknown(name("cnn1"), bucket.into())
    };
    for bucket in ["one", "two", "three"] {
        bench.store.learn(facts(bucket)).await.unwrap();
    }
    let anew = BucketFacts {
        etags: Some(EtagKind::Opaque),
        learned: Timestamp::from_micros(2),
        ..BucketFacts::unknown(name("cnn1"), "two".into())
    };
    let buckets = vec!["one".to_owned(), "two".to_owned(), "unheard-of".to_owned()];
    bench.store.relearn(name("cnn1"), buckets, vec![anew.clone()]).await.unwrap();
    let known = bench.store.catalogue().await.unwrap().endpoints[&name("cnn1")].buckets.clone();
    assert_eq!(known, [facts("three"), anew], "the others keep what is known of them");
    let here = vec!["three".to_owned()];
    bench.store.relearn(name("usw2"), here, Vec::new()).await.unwrap();
    let known = bench.store.catalogue().await.unwrap().endpoints[&name("cnn1")].buckets.clone();
    assert_eq!(known.len(), 2, "a bucket of another endpoint is another bucket");
}
