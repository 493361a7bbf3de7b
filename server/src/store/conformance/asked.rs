//! What people ask about: the failures of one key, and facts that are learned anew.

use s3sync_proto::model::{
    BucketFacts, Counters, EtagKind, Failure, Outcome, RunName, Timestamp, Verdict,
};

use super::bench::{Bench, destination, failure, key, name};

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
