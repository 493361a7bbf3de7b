//! Random histories: writers on both sides, faults, lost assignments. Never a torn or wrong object; after one quiet
//! run, everything equal.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use s3sync_proto::model::{CompareMode, Key};

use super::fake::{Contents, Fault, Nature};
use super::{Bench, IN_PARTS, KMS, MD5, OLD, PLAIN, STREAMED, WILD, orders, pattern};
use crate::s3::{Attributes, Class, Operation};

const KEYS: usize = 12;

fn size(rng: &mut fastrand::Rng) -> usize {
    *rng.choice([0, 1, 100, 100, STREAMED, IN_PARTS]).as_ref().unwrap()
}

fn random_fault(rng: &mut fastrand::Rng, operation: Operation) -> Option<Fault> {
    let classes = [Class::Throttled, Class::Transient, Class::Transient];
    let class = classes[rng.usize(..classes.len())];
    match rng.u32(..100) {
        0..=2 => Some(Fault::Before(class)),
        3..=5 => Some(Fault::After(Class::Transient)),
        6..=8 if operation == Operation::Get => Some(Fault::CutBody),
        9..=12 if operation == Operation::Get => Some(Fault::WrongByte),
        _ => None,
    }
}

/// Writes or deletes a random key below a prefix, as somebody else would.
fn somebody_writes(
    contents: &mut Contents,
    rng: &mut fastrand::Rng,
    nature: Nature,
    prefix: &str,
    deletes: bool,
) {
    let key = Key::from(format!("{prefix}{:02}", rng.usize(..KEYS)).as_str());
    if deletes && rng.u32(..4) == 0 {
        contents.objects.remove(&key);
    } else {
        let body = pattern(rng.usize(..1000), size(rng));
        contents.store(nature, &key, body, Attributes::default());
    }
}

async fn one_history(
    seed: u64,
    source: Nature,
    destination: Nature,
    server_side: bool,
    compare: CompareMode,
) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new(source, destination);
    (bench.server_side, bench.compare) = (server_side, compare);
    for n in 0..KEYS {
        bench.source.store(&format!("from/{n:02}"), pattern(n, size(&mut rng)));
    }
    for (fake, prefix, deletes) in
        [(&bench.source, "from/", true), (&bench.destination, "to/x/", false)]
    {
        let mut rng = rng.fork();
        let nature = fake.nature;
        fake.with(|contents| contents.slow = Some((rng.fork(), 50)));
        // Nothing could tell: no checksum, and an ETag that says nothing.
        let unverifiable = !source.md5_etags && !source.checksums;
        fake.meddle(move |contents, operation, _| {
            if rng.u32(..12) == 0 {
                somebody_writes(contents, &mut rng, nature, prefix, deletes);
            }
            random_fault(&mut rng, operation)
                .filter(|fault| !unverifiable || *fault != Fault::WrongByte)
        });
    }
    for _ in 0..rng.usize(..3) {
        // A holder dies, or loses its range, at a random moment.
        let (orders, _split) = orders();
        let lost = orders.lost.clone();
        bench.orders = Some(orders);
        let desk = Arc::clone(&bench.desk);
        let turns = rng.u64(1..3000);
        let killer = async move {
            tokio::time::sleep(Duration::from_millis(turns)).await;
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
        };
        tokio::join!(bench.hold(), killer);
        bench.desk.with(|recorded| recorded.lost = false);
        if bench.desk.with(|recorded| recorded.done) {
            bench.finish_run();
        }
    }
    bench.hold().await;
    bench.desk.with(std::mem::take);
    bench.source.leave_alone();
    bench.destination.leave_alone();
    assert_untorn(&bench, seed);
    // One quiet run; what nobody has at the source any more is not its business.
    let counters = bench.run().await;
    assert_eq!(counters.failed + counters.vanished + counters.archived, 0, "seed {seed}");
    let source = bench.source.bodies("from/");
    let mut copies = bench.destination.bodies("to/x/");
    copies.retain(|key, _| source.contains_key(key));
    assert!(source == copies, "seed {seed}: not equal");
    assert_untorn(&bench, seed);
    let again = bench.run().await;
    assert_eq!((again.copied, again.in_step), (0, source.len() as u64), "seed {seed}");
}

/// Every object that ever was at the destination was at the source, or is somebody else's.
fn assert_untorn(bench: &Bench, seed: u64) {
    let bodies = |history: &[(Key, Bytes)]| -> HashSet<Bytes> {
        history.iter().map(|(_, body)| body.clone()).collect()
    };
    let mut known = bench.source.with(|contents| bodies(&contents.history));
    known.extend((0..1000).flat_map(|n| {
        [0, 1, 100, STREAMED, IN_PARTS].map(|size| (n, size)).map(|(n, size)| match size > 100 {
            // Too large to make them all: the first bytes tell the seed.
            true => Bytes::new(),
            false => pattern(n, size),
        })
    }));
    bench.destination.with(|contents| {
        for (key, body) in &contents.history {
            let whole = || {
                (0..1000).any(|n| pattern(n, 64) == body[..64] && pattern(n, body.len()) == *body)
            };
            assert!(known.contains(body) || whole(), "seed {seed}: {key} is torn");
        }
    });
}

/// Two holders of one range at once, one of which should have stopped, while the source changes all the time.
async fn two_holders(seed: u64, destination: Nature, server_side: bool) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new(MD5, destination);
    bench.server_side = server_side;
    bench.engine.known(&bench.facts[&super::name("b")]).learn(|facts| {
        (facts.conditional_writes, facts.conditional_copies) = (Some(true), Some(true));
    });
    let mut version = 0;
    let mut write = move |contents: &mut Contents, rng: &mut fastrand::Rng| {
        version += 1;
        let key = Key::from(format!("from/{}", rng.usize(..3)).as_str());
        let size = [20, 20, STREAMED, IN_PARTS][rng.usize(..4)];
        let mut body = format!("{version:010}").into_bytes();
        body.resize(size, b'.');
        contents.store(MD5, &key, body.into(), Attributes::default());
    };
    bench.source.with(|contents| (0..10).for_each(|_| write(contents, &mut rng)));
    for fake in [&bench.source, &bench.destination] {
        fake.with(|contents| contents.slow = Some((rng.fork(), 50)));
    }
    let mut meddling = rng.fork();
    bench.source.meddle(move |contents, operation, _| {
        if meddling.u32(..3) == 0 {
            write(contents, &mut meddling);
        }
        random_fault(&mut meddling, operation).filter(|_| meddling.u32(..3) == 0)
    });
    let mut other = Bench {
        source: Arc::clone(&bench.source),
        destination: Arc::clone(&bench.destination),
        engine: Arc::clone(&bench.engine),
        desk: Arc::default(),
        facts: bench.facts.clone(),
        filter: bench.filter.clone(),
        orders: None,
        ..bench
    };
    for _ in 0..6 {
        tokio::join!(bench.hold(), other.hold());
        bench.desk.with(std::mem::take);
        other.desk.with(std::mem::take);
    }
    let versions = |history: &[(Key, Bytes)], key: &str| -> Vec<Bytes> {
        let of_key = history.iter().filter(|(k, _)| *k == Key::from(key));
        of_key.map(|(_, body)| body.slice(..10)).collect()
    };
    for key in ["0", "1", "2"] {
        let written = bench.destination.with(|c| versions(&c.history, &format!("to/x/{key}")));
        assert!(written.is_sorted(), "seed {seed}, {key}: older over newer: {written:?}");
    }
}

/// A few, or as many as `PROPTEST_CASES` says: 10,000 by hand.
fn few() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let cases = if usual.cases == 256 { 40 } else { usual.cases };
    ProptestConfig { cases, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn any_history_ends_equal_and_nothing_was_ever_torn(
        seed in any::<u64>(), natures in 0..8_usize, modes in 0..4_usize,
    ) {
        use CompareMode::{Checksum, Default, Full};
        let compare = [Default, Default, Checksum, Full][modes];
        let (source, destination, server_side) = [
            (MD5, MD5, false),
            (PLAIN, MD5, false),
            (KMS, MD5, false),
            (MD5, KMS, false),
            (MD5, MD5, true),
            (PLAIN, OLD, false),
            (OLD, MD5, false),
            (WILD, MD5, false),
        ][natures];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(one_history(seed, source, destination, server_side, compare));
    }

    #[test]
    fn a_late_writer_never_puts_older_bytes_over_newer_ones(
        seed in any::<u64>(), kms in any::<bool>(), server_side in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(two_holders(seed, if kms { KMS } else { MD5 }, server_side));
    }
}
