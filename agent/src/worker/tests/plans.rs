//! A plan and the run that follows it: whatever state the buckets are in, what the one says the other does.

use std::collections::VecDeque;

use s3sync_proto::model::{CopyWay, Difference, NextStep, PlanAsk, PlanPart, PlanTally};

use super::*;
use crate::survey::survey;

const WRITES: [Operation; 7] = [
    Operation::Put,
    Operation::Copy,
    Operation::CreateUpload,
    Operation::UploadPart,
    Operation::CopyPart,
    Operation::CompleteUpload,
    Operation::AbortUpload,
];

impl Bench {
    async fn look(&self, range: KeyRange, cursor: Option<Key>, max_keys: u64) -> PlanPart {
        let work = self.assignment(Work::Range { range, cursor }, Vec::new());
        let sides = Sides {
            source: Arc::clone(&self.source) as _,
            destination: Arc::clone(&self.destination) as _,
            server_side: self.server_side,
        };
        let time = Duration::from_secs(3600);
        let ask = PlanAsk { work, max_keys, time, cut: true, differences: true };
        survey(ask, sides, Arc::clone(&self.engine)).await.unwrap()
    }

    /// A whole plan, a few keys at a time, by agents that go on where others stopped.
    async fn plan(&self, max_keys: u64) -> (PlanTally, Vec<Difference>) {
        let written = self.written();
        let (mut tally, mut differences) = (PlanTally::default(), Vec::new());
        let mut slices = VecDeque::from([(KeyRange::default(), None)]);
        while let Some((range, cursor)) = slices.pop_front() {
            let part = self.look(range.clone(), cursor, max_keys).await;
            assert!(part.tally.adds_up(), "{part:?}");
            tally += part.tally;
            differences.extend(part.differences);
            if part.completed {
                continue;
            }
            let cursor = part.cursor.expect("it gets on");
            assert!(part.cut.as_ref().is_none_or(|cut| *cut > cursor), "{cursor} {:?}", part.cut);
            if let Some(cut) = part.cut {
                slices.push_back((
                    KeyRange { after: Some(cut.clone()), until: range.until.clone() },
                    None,
                ));
                slices.push_back((KeyRange { after: range.after, until: Some(cut) }, Some(cursor)));
            } else {
                slices.push_back((range, Some(cursor)));
            }
        }
        assert_eq!(self.written(), written, "a plan writes nothing");
        (tally, differences)
    }

    fn written(&self) -> u64 {
        let of = |fake: &Fake| WRITES.iter().map(|operation| fake.count(*operation)).sum::<u64>();
        of(&self.source) + of(&self.destination)
    }
}

fn body(rng: &mut fastrand::Rng) -> Bytes {
    // Few large ones: their digests take time.
    let large = [STREAMED, 400 * 1024 + 1, IN_PARTS];
    let size =
        if rng.u32(..8) == 0 { large[rng.usize(..3)] } else { [0, 1, 99, 100][rng.usize(..4)] };
    pattern(rng.usize(..3), size)
}

fn changed(bench: &Bench, rng: &mut fastrand::Rng) {
    for n in 0..40 {
        let (from, to) = (format!("from/{n:02}"), format!("to/x/{n:02}"));
        match rng.u32(..9) {
            0 => bench.source.store(&from, body(rng)),
            1 => bench.destination.store(&to, body(rng)),
            2 => bench.source.with(|c| drop(c.objects.remove(&Key::from(from.as_str())))),
            3 => bench.destination.with(|c| drop(c.objects.remove(&Key::from(to.as_str())))),
            4 => bench.source.with(|c| {
                if let Some(object) = c.objects.get_mut(&Key::from(from.as_str())) {
                    object.attributes.content_type = Some("text/plain".into());
                }
            }),
            5 => bench.source.with(|c| {
                if let Some(object) = c.objects.get_mut(&Key::from(from.as_str())) {
                    object.attributes.storage_class = Some("GLACIER".into());
                }
            }),
            _ => {}
        }
    }
}

fn random_bench(seed: u64) -> (Bench, fastrand::Rng) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let natures = [MD5, MD5, PLAIN, KMS];
    let [source, destination] = [natures[rng.usize(..4)], natures[rng.usize(..4)]];
    let mut bench = Bench::new(source, destination);
    bench.compare = [
        CompareMode::Default,
        CompareMode::Default,
        CompareMode::Size,
        CompareMode::Etag,
        CompareMode::Checksum,
        CompareMode::Full,
    ][rng.usize(..6)];
    bench.server_side = rng.bool();
    if rng.bool() {
        bench.filter = Filter { exclude: vec!["*7".into()], min_size: 1, ..Filter::default() };
    }
    for n in 0..30 {
        bench.source.store(&format!("from/{n:02}"), body(&mut rng));
    }
    (bench, rng)
}

#[tokio::test(start_paused = true)]
async fn what_a_plan_says_is_what_the_run_does_in_fifty_states() {
    let mut ways = BTreeMap::new();
    for seed in 0..50 {
        let (mut bench, mut rng) = random_bench(seed);
        // What is planned are changes after a run, and in every fifth state everything.
        if seed % 5 > 0 {
            bench.run().await;
            changed(&bench, &mut rng);
        }
        let (tally, differences) = bench.plan(rng.u64(1..50)).await;
        let ran = bench.run().await;
        let what = format!("seed {seed}: {tally:?}\n{ran:?}");
        let copied = tally.copied();
        let planned = [
            (tally.listed, ran.listed),
            (tally.in_step, ran.in_step),
            (tally.filtered, ran.filtered),
            (tally.extra.objects, ran.extra),
            (tally.destination_in_scope, ran.destination_listed),
            (tally.archived.objects, ran.archived),
            (tally.failing.objects, ran.failed),
            (tally.vanished, ran.vanished),
            (copied.objects, ran.copied),
            (copied.bytes, ran.copied_bytes),
        ];
        for (planned, done) in planned {
            assert_eq!(planned, done, "{what}");
        }
        let of = |some: &[CopyWay]| {
            let found = some.iter().filter_map(|way| tally.copies.get(way));
            found.map(|keys| keys.objects).sum::<u64>()
        };
        assert_eq!(of(&[CopyWay::Repair]), ran.repaired, "{what}");
        let inside = [CopyWay::ServerSide, CopyWay::ServerSideParts, CopyWay::Repair];
        assert_eq!(of(&inside), ran.copied_server_side, "{what}");
        // Each difference is told once, with what becomes of it.
        let mut keys: Vec<_> = differences.iter().map(|one| &one.key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), differences.len(), "{what}");
        let told = |next| differences.iter().filter(|one| one.next == next).count() as u64;
        assert_eq!(told(NextStep::Copy), ran.copied, "{what}");
        assert_eq!(told(NextStep::Archived), ran.archived, "{what}");
        assert_eq!(told(NextStep::Delete), ran.extra, "{what}");
        for (way, keys) in tally.copies {
            *ways.entry(way).or_insert(0) += keys.objects;
        }
    }
    assert_eq!(ways.len(), 4, "the states have copies of each way but the largest: {ways:?}");
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_a_run_are_foreseen_where_everything_is_learned() {
    for server_side in [false, true] {
        let mut bench = Bench::new(MD5, MD5);
        bench.server_side = server_side;
        let sizes = [1, 1000, STREAMED, IN_PARTS];
        for (n, size) in sizes.into_iter().enumerate() {
            bench.source.store(&format!("from/{n}"), pattern(n, size));
        }
        bench.run().await;
        for n in 0..12 {
            bench.source.store(&format!("from/{n:02}"), pattern(n + 7, sizes[n % sizes.len()]));
        }
        let (tally, _) = bench.plan(1_000).await;
        let ran = bench.run().await;
        assert_eq!(ran.copied, 12);
        let foreseen = (tally.read_requests, tally.write_requests);
        assert_eq!(foreseen, (ran.read_requests, ran.write_requests), "{server_side}: {tally:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_at_is_told_and_a_listing_that_fails_is_no_plan() {
    let mut bench = Bench::new(KMS, KMS);
    for n in 0..5 {
        bench.source.store(&format!("from/{n}"), pattern(n, 100));
    }
    bench.run().await;
    bench.destination.meddle(|_, operation, key| {
        let refused = operation == Operation::Head && key.to_string().ends_with('3');
        refused.then_some(Fault::Before(Class::Denied))
    });
    let (tally, differences) = bench.plan(1_000).await;
    assert_eq!((tally.in_step, tally.failing.objects), (4, 1));
    assert_eq!(differences[0].next, NextStep::Fail);
    bench.destination.meddle(|_, operation, _| {
        (operation == Operation::List).then_some(Fault::Before(Class::Denied))
    });
    let work = bench.assignment(Work::Range { range: KeyRange::default(), cursor: None }, vec![]);
    let sides = Sides {
        source: Arc::clone(&bench.source) as _,
        destination: Arc::clone(&bench.destination) as _,
        server_side: false,
    };
    let time = Duration::from_secs(1);
    let ask = PlanAsk { work, max_keys: 10, time, cut: false, differences: false };
    let error = survey(ask, sides, Arc::clone(&bench.engine)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Permanent);
}

#[tokio::test(start_paused = true)]
async fn whoever_hangs_gives_back_how_far_it_came() {
    let mut bench = Bench::new(KMS, KMS);
    for n in 0..30 {
        bench.source.store(&format!("from/{n:02}"), pattern(n, 100));
    }
    bench.run().await;
    // Every answer takes longer than the time there is.
    bench.destination.with(|c| c.slow = Some((fastrand::Rng::with_seed(1), 20_000)));
    let work = bench.assignment(Work::Range { range: KeyRange::default(), cursor: None }, vec![]);
    let sides = Sides {
        source: Arc::clone(&bench.source) as _,
        destination: Arc::clone(&bench.destination) as _,
        server_side: false,
    };
    let time = Duration::from_secs(30);
    let ask = PlanAsk { work, max_keys: 1_000, time, cut: true, differences: false };
    let began = tokio::time::Instant::now();
    let part = survey(ask, sides, Arc::clone(&bench.engine)).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(45), "{:?}", began.elapsed());
    assert!(!part.completed && part.tally.listed < 30, "{part:?}");
    assert!(part.tally.adds_up());
}
