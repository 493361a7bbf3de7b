//! Careful work: one key at a time, each named when all before it is reported.

use std::sync::{Arc, Mutex};

use s3sync_proto::model::{DeleteWork, Key, KeyRange, Outcome, Work};

use super::fake::Fault;
use super::{Bench, IN_PARTS, MD5, orders, pattern};
use crate::s3::{Class, Operation};

/// Some in step, some to be copied, one gone, one that is refused, one at the destination alone.
fn mixed() -> Bench {
    let mut bench = Bench::new(MD5, MD5);
    bench.careful = true;
    for n in 0..40 {
        let body = if n == 22 { pattern(n, IN_PARTS) } else { pattern(n, 50) };
        bench.source.store(&format!("from/{n:02}"), body.clone());
        if n % 3 == 0 {
            bench.destination.store(&format!("to/x/{n:02}"), body);
        }
    }
    bench.destination.store("to/x/10extra", "extra");
    bench
}

#[tokio::test(start_paused = true)]
async fn each_key_is_named_when_all_before_it_is_reported_and_worked_on_alone() {
    let mut bench = mixed();
    let key_of = |key: &Key| key.to_string().rsplit('/').next().unwrap().to_owned();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for fake in [&bench.source, &bench.destination] {
        let (seen, desk) = (Arc::clone(&seen), Arc::clone(&bench.desk));
        fake.meddle(move |_, operation, key| {
            if operation == Operation::List {
                return None;
            }
            let named = desk.with(|recorded| recorded.suspects.last().cloned());
            let (named, _) = named.expect("nothing is done before a key is named");
            assert_eq!(named.to_string(), key_of(key));
            seen.lock().unwrap().push(named.to_string());
            let bad = named == Key::from("17") && operation == Operation::Put;
            bad.then_some(Fault::Before(Class::Denied))
        });
    }
    bench.hold().await;
    let recorded = bench.desk.with(|recorded| recorded.clone());
    let named: Vec<_> = recorded.suspects.iter().map(|(key, _)| key.to_string()).collect();
    let copied: Vec<_> = (0..40).filter(|n| n % 3 != 0).map(|n| format!("{n:02}")).collect();
    assert_eq!(named, copied, "those that need something, in order");
    for (key, reported) in &recorded.suspects {
        let before: u64 = key.to_string().parse().unwrap();
        assert_eq!(*reported, before, "{key}: all before it was reported");
    }
    let worked_on = seen.lock().unwrap().clone();
    assert!(worked_on.is_sorted(), "one after the other");
    let counters = bench.finish_run();
    assert_eq!((counters.listed, counters.failed, counters.extra), (40, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn deletes_are_named_one_by_one_and_one_that_kills_is_the_last_named() {
    let mut bench = Bench::new(MD5, MD5);
    bench.source.store("from/kept", "x");
    bench.destination.store("to/x/kept", "x");
    for n in 0..40 {
        bench.destination.store(&format!("to/x/{n:02}"), "extra");
    }
    // The first holder named all of them, and died of one; it did not come to the others.
    bench.hold().await;
    bench.finish_run();
    bench.desk.with(|recorded| {
        recorded.deleting = (0..40).map(|n| Key::from(format!("{n:02}").as_str())).collect();
        recorded.named = recorded.deleting.iter().cloned().collect();
        recorded.budget = Some(40);
    });
    bench.careful = true;
    let (orders, _split) = orders();
    let lost = orders.lost.clone();
    bench.orders = Some(orders);
    let desk = Arc::clone(&bench.desk);
    bench.source.meddle(move |_, operation, key| {
        if operation == Operation::Get {
            let named = desk.with(|recorded| recorded.suspects.last().unwrap().0.to_string());
            assert_eq!(format!("from/{named}"), key.to_string(), "named before, and alone");
            if named == "17" {
                desk.with(|recorded| recorded.lost = true);
                lost.cancel();
            }
        }
        None
    });
    let work = |bench: &Bench| {
        bench.desk.with(|recorded| {
            Work::Delete(DeleteWork {
                range: recorded.range.clone(),
                cursor: recorded.cursor.clone(),
                count_only: false,
                unconditional: false,
                deleting: recorded.deleting.clone(),
            })
        })
    };
    let first = work(&bench);
    bench.hold_work(first).await;
    bench.source.leave_alone();
    let recorded = bench.desk.with(|recorded| {
        recorded.lost = false;
        recorded.clone()
    });
    let named: Vec<_> = recorded.suspects.iter().map(|(key, _)| key.to_string()).collect();
    let all: Vec<_> = (0..=17).map(|n| format!("{n:02}")).collect();
    assert_eq!((named, recorded.cursor), (all, Some(Key::from("16"))), "all before it is reported");
    // The server steps over it.
    bench.desk.with(|recorded| recorded.cursor = Some(Key::from("17")));
    bench.careful = false;
    let rest = work(&bench);
    bench.hold_work(rest).await;
    let there: Vec<_> = bench.destination.bodies("to/x/").into_keys().collect();
    assert_eq!((there, bench.finish_run().deleted), (vec!["17".into(), "kept".into()], 39));
}

#[tokio::test(start_paused = true)]
async fn after_a_while_deletes_are_given_back() {
    let mut bench = Bench::new(MD5, MD5);
    bench.source.store("from/kept", "x");
    for n in 0..300 {
        bench.destination.store(&format!("to/x/{n:03}"), "extra");
    }
    bench.careful = true;
    let work = DeleteWork {
        range: KeyRange::default(),
        cursor: None,
        count_only: false,
        unconditional: false,
        deleting: Vec::new(),
    };
    bench.hold_work(Work::Delete(work)).await;
    let recorded = bench.desk.with(|recorded| recorded.clone());
    assert_eq!(recorded.outcomes.last(), Some(&Outcome::Yielded));
    assert_eq!((recorded.suspects.len(), recorded.cursor), (256, Some(Key::from("255"))));
}

#[tokio::test(start_paused = true)]
async fn after_a_while_it_is_given_back() {
    let mut bench = Bench::new(MD5, MD5);
    bench.careful = true;
    for n in 0..300 {
        bench.source.store(&format!("from/{n:03}"), pattern(n, 20));
    }
    bench.hold().await;
    let recorded = bench.desk.with(|recorded| recorded.clone());
    assert_eq!(recorded.outcomes.last(), Some(&Outcome::Yielded));
    assert_eq!((recorded.suspects.len(), recorded.cursor), (256, Some(Key::from("255"))));
    bench.careful = false;
    bench.run().await;
    bench.assert_equal();
}

#[tokio::test(start_paused = true)]
async fn it_is_not_cut_and_goes_on_with_uploads_as_any_other() {
    let mut bench = mixed();
    let (orders, split) = orders();
    let lost = orders.lost.clone();
    bench.orders = Some(orders);
    split.try_send(()).unwrap();
    let desk = Arc::clone(&bench.desk);
    let mut parts = 0;
    bench.destination.meddle(move |_, operation, _| {
        parts += u32::from(operation == Operation::UploadPart);
        if parts == 2 {
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
        }
        None
    });
    bench.hold().await;
    bench.destination.leave_alone();
    bench.desk.with(|recorded| recorded.lost = false);
    let recorded = bench.desk.with(|recorded| recorded.clone());
    assert_eq!((recorded.split, recorded.declined.len()), (None, 1));
    assert_eq!(recorded.suspects.last().unwrap().0, Key::from("22"), "the one that killed it");
    bench.hold().await;
    assert_eq!(bench.destination.count(Operation::CreateUpload), 1);
    bench.destination.with(|c| c.objects.remove(&Key::from("to/x/10extra")));
    bench.assert_equal();
}
