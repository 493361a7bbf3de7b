//! The fault sweep of deletes: whichever call fails, and how, nothing that the source has is missing in the end, nothing
//! beside the prefix is touched, and what was not deleted is listed as a failure, or the range goes on.

use s3sync_proto::model::DeleteWork;

use super::*;

/// How the bucket deletes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Batch,
    /// Batches ignore their ETags.
    Single,
    /// Conditions are ignored, and the job allows it.
    Unconditional,
}

const KEPT: [&str; 2] = ["a", "kept"];
const EXTRA: [&str; 3] = ["e1", "e2", "e3"];
/// By a dead holder, who deleted two of them; the source has one of these again.
const NAMED: [&str; 3] = ["back", "c", "e1"];
const BESIDE: [&str; 3] = ["to/x0", "to/y/a", "to/"];

async fn mirrored(way: Way, learned: bool) -> Sockets {
    let plain = Capabilities::default();
    let destination = Capabilities {
        ignore_conditions: matches!(way, Way::Unconditional),
        ignore_batch_etags: matches!(way, Way::Single),
        ..plain.clone()
    };
    let mut sockets = Sockets::new(plain, destination).await;
    for key in KEPT {
        for (endpoint, prefix) in [("a", "from/"), ("b", "to/x/")] {
            sockets.lab.endpoint(endpoint).seed(BUCKET, format!("{prefix}{key}"), "same");
        }
    }
    // A dead holder deleted it, and the source has it again.
    sockets.lab.endpoint("a").seed(BUCKET, "from/back", "it came back");
    for key in EXTRA {
        sockets.lab.endpoint("b").seed(BUCKET, format!("to/x/{key}"), "extra");
    }
    for key in BESIDE {
        sockets.lab.endpoint("b").seed(BUCKET, key, "not below the prefix");
    }
    let facts = sockets.bench.facts.get_mut(&name("b")).unwrap();
    if learned {
        let conditional = !matches!(way, Way::Unconditional);
        facts.conditional_deletes = Some(conditional);
        facts.batch_deletes = Some(matches!(way, Way::Batch));
    }
    sockets.bench.desk.with(|recorded| {
        recorded.deleting = NAMED.map(Key::from).into();
        recorded.named = recorded.deleting.iter().cloned().collect();
        recorded.budget = Some(NAMED.len() + EXTRA.len() - 1);
    });
    sockets
}

async fn delete(sockets: &Sockets, way: Way) -> (Outcome, Vec<Failure>) {
    let (cursor, deleting) =
        sockets.bench.desk.with(|recorded| (recorded.cursor.clone(), recorded.deleting.clone()));
    let work = DeleteWork {
        range: KeyRange::default(),
        cursor,
        count_only: false,
        unconditional: matches!(way, Way::Unconditional),
        deleting,
    };
    let (orders, _split) = orders();
    sockets.hold_work(Work::Delete(work), orders).await;
    sockets.bench.desk.with(|recorded| {
        (recorded.outcomes.last().unwrap().clone(), std::mem::take(&mut recorded.failures))
    })
}

fn there(sockets: &Sockets) -> Vec<String> {
    let keys = sockets.bodies("b", "to/x/").into_keys();
    keys.map(|key| String::from_utf8_lossy(&key).into_owned()).collect()
}

async fn play(way: Way, learned: bool, at: (&'static str, &'static str, u64), fault: Fault) {
    let (endpoint, operation, nth) = at;
    let what = format!("{way:?} {learned} {at:?} {fault:?}");
    let sockets = mirrored(way, learned).await;
    sockets.fail(endpoint, operation, nth, fault);
    let (outcome, failed) = delete(&sockets, way).await;
    let left = there(&sockets);
    let wanted = |key: &str| KEPT.contains(&key) || key == "back";
    let listed = |key: &String| failed.iter().any(|failure| failure.key.to_string() == *key);
    for key in KEPT {
        assert!(left.iter().any(|one| one == key), "{what}: {key} is at the source");
    }
    for key in BESIDE {
        let object = sockets.lab.endpoint("b").object(BUCKET, key);
        assert!(object.is_some(), "{what}: {key} is beside the prefix");
    }
    match outcome {
        Outcome::Completed => {
            let back = "back".to_owned();
            assert!(left.contains(&back) || listed(&back), "{what}: it came back, {left:?}");
            for key in left.iter().filter(|key| !wanted(key)) {
                let ours = key.starts_with(".s3sync-probe-");
                // A 404 to a look right before a delete: nothing is deleted, and the next run sees the key again.
                let missed = operation == "HeadObject";
                assert!(listed(key) || ours || missed, "{what}: {key} is there and not listed");
            }
        }
        // The range goes on, or the run fails and says why.
        Outcome::Errored(_) => {}
        Outcome::Checkpoint | Outcome::Yielded => panic!("{what} ended with {outcome:?}"),
    }
    sockets.lab.endpoint(endpoint).set_faults(Faults::default());
    // The next pass, or the next holder.
    sockets.bench.desk.with(|recorded| {
        (recorded.done, recorded.budget) = (false, None);
        if outcome == Outcome::Completed {
            (recorded.cursor, recorded.deleting) = (None, Vec::new());
        }
    });
    let (outcome, failed) = delete(&sockets, way).await;
    assert_eq!((outcome, failed.len()), (Outcome::Completed, 0), "{what}");
    let left: Vec<_> = there(&sockets).into_iter().filter(|key| key != "back").collect();
    let probes = |key: &&String| !key.starts_with(".s3sync-probe-");
    assert_eq!(left.iter().filter(probes).collect::<Vec<_>>(), KEPT, "{what}");
}

async fn sweep(way: Way, learned: bool, operations: &[&str]) {
    let sockets = mirrored(way, learned).await;
    let (outcome, failed) = delete(&sockets, way).await;
    assert_eq!((outcome, failed.len()), (Outcome::Completed, 0), "{way:?} {learned}");
    assert_eq!(there(&sockets), ["a", "back", "kept"], "{way:?} {learned}");
    let made = sockets.calls();
    for operation in operations {
        assert!(made.iter().any(|(_, name, _)| name == operation), "{operation} is not made");
    }
    let calls = made.into_iter().flat_map(|(endpoint, operation, count)| {
        (1..=count).map(move |nth| (endpoint, operation, nth))
    });
    let cases = calls.flat_map(|at| {
        FAULTS.into_iter().filter(move |fault| strikes(*fault, at.1)).map(move |fault| (at, fault))
    });
    futures_util::stream::iter(cases)
        .for_each_concurrent(AT_ONCE, |(at, fault)| {
            Box::pin(super::deletes::play(way, learned, at, fault))
        })
        .await;
}

#[tokio::test]
async fn each_call_of_deletes_in_batches_fails_in_each_way() {
    for learned in [true, false] {
        sweep(Way::Batch, learned, &["ListObjectsV2", "GetObject", "PutObject", "DeleteObjects"])
            .await;
    }
}

#[tokio::test]
async fn each_call_of_single_deletes_fails_in_each_way() {
    for learned in [true, false] {
        sweep(Way::Single, learned, &["GetObject", "DeleteObject"]).await;
    }
}

#[tokio::test]
async fn each_call_of_deletes_without_conditions_fails_in_each_way() {
    for learned in [true, false] {
        sweep(Way::Unconditional, learned, &["HeadObject", "DeleteObject"]).await;
    }
}
