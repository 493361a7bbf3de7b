//! Keys of ranges that kill agents.

use s3sync_proto::model::{
    Counters, DeleteMode, DeletePolicy, Extras, Failure, FailureClass, Held, JobSpec, Key, Outcome,
    RunState, Suspicion, Verdict, Work,
};

use super::bench::{Bench, TTL, destination, failure, job, key, name as name_of, report};
use crate::store::{CatalogueChange, SessionId};

/// An agent takes the range, does something with it, and dies. Whether the range was given out carefully.
async fn dies(bench: &mut Bench, agent: &str, tells: &[(Option<&str>, Option<&str>)]) -> bool {
    let session = bench.connect(agent, "1", Vec::new()).await.session;
    let next = bench.take(session).await;
    let cursor = match &next.work {
        Work::Range { cursor, .. } => cursor,
        Work::Delete(work) => &work.cursor,
        Work::Reap | Work::Keys(_) | Work::DeleteKeys { .. } => panic!("not a slice"),
    };
    let mut cursor = cursor.as_ref().map(Key::to_string);
    for (to, suspect) in tells {
        if let Some(to) = to {
            bench.done(next.held, Outcome::Checkpoint, [cursor.as_deref(), Some(to)], 1).await;
            cursor = Some((*to).to_owned());
        }
        if let Some(suspect) = suspect {
            assert_eq!(name(bench, next.held, suspect).await, Verdict::Applied);
        }
    }
    expire(bench, session).await;
    next.careful
}

async fn failures(bench: &Bench) -> Vec<Failure> {
    let run = bench.run().await.name;
    bench.store.failures(&run, None, None, 9).await.unwrap().0
}

async fn name(bench: &Bench, held: Held, suspect: &str) -> Verdict {
    let suspicion = Suspicion { sequence: 1, held, key: key(suspect) };
    bench.store.suspect(suspicion).await.unwrap()
}

async fn expire(bench: &mut Bench, session: SessionId) {
    bench.pass(TTL * 2);
    assert_eq!(bench.store.expire_sessions(bench.now).await.unwrap(), [session]);
}

pub(super) async fn poison(mut bench: Bench) {
    bench.put_job("media", vec![destination("usw2", "one")]).await;
    bench.start().await;
    for agent in ["a", "b", "c"] {
        assert!(!dies(&mut bench, agent, &[]).await, "{agent}");
    }
    assert!(bench.ready().await[0].careful);
    assert!(dies(&mut bench, "d", &[(Some("e"), Some("g"))]).await);
    assert!(bench.ready().await[0].careful, "one may have died of something else");
    assert_eq!(bench.run().await.totals().failed, 0);
    // Named again: nothing new is told. An upload of it is left open.
    let session = bench.connect("e", "1", Vec::new()).await.session;
    let next = bench.take(session).await;
    assert_eq!(name(&bench, next.held, "g").await, Verdict::Applied);
    bench.intend(next.held, "g", Some("u1")).await;
    expire(&mut bench, session).await;
    let run = bench.run().await;
    let (failures, _) = bench.store.failures(&run.name, None, None, 9).await.unwrap();
    let told: Vec<_> =
        failures.iter().map(|one| (one.key.clone(), one.class, one.code.as_str())).collect();
    assert_eq!(told, [(key("g"), FailureClass::Poison, "agents_died")]);
    assert_eq!(name(&bench, next.held, "h").await, Verdict::Stale, "of the one that died");

    // It goes on behind the key as any other.
    assert!(!bench.ready().await[0].careful);
    let session = bench.connect("f", "1", Vec::new()).await.session;
    let last = bench.take(session).await;
    let Work::Range { cursor, .. } = &last.work else { panic!("not a range") };
    assert_eq!((cursor, last.careful), (&Some(key("g")), false));
    assert_eq!(last.uploads.len(), 1, "to be aborted");
    bench.done(last.held, Outcome::Completed, [Some("g"), None], 1).await;
    let run = bench.run().await;
    let totals = run.totals();
    assert_eq!((run.state, totals.listed, totals.failed), (RunState::FinishedWithFailures, 3, 1));
}

pub(super) async fn other_reasons(mut bench: Bench) {
    bench.put_job("media", vec![destination("usw2", "one")]).await;
    bench.start().await;
    // Each moves on before it dies, so nothing here kills.
    for (agent, to) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")] {
        assert!(!dies(&mut bench, agent, &[(Some(to), None)]).await, "{agent}");
    }
    for agent in ["e", "f"] {
        assert!(!dies(&mut bench, agent, &[]).await, "{agent}");
    }
    // The third without a step. Then with another key each time, and between two keys.
    let careful = [
        ("g", Some("f"), Some("h")),
        ("h", Some("h"), Some("k")),
        ("i", Some("k"), None),
        ("j", None, Some("m")),
        ("k", Some("m"), Some("n")),
    ];
    for (agent, to, suspect) in careful {
        assert!(dies(&mut bench, agent, &[(to, suspect)]).await, "{agent}");
    }
    assert_eq!(bench.run().await.totals().failed, 0, "no key was there twice");
    // Given back in order, it is as any other again.
    let session = bench.connect("z", "1", Vec::new()).await.session;
    let next = bench.take(session).await;
    assert!(next.careful);
    bench.done(next.held, Outcome::Yielded, [Some("m"), Some("m")], 0).await;
    let next = bench.take(session).await;
    assert!(!next.careful);
    bench.done(next.held, Outcome::Completed, [Some("m"), None], 1).await;
    assert_eq!(bench.run().await.state, RunState::Succeeded);
}

pub(super) async fn named_late(bench: Bench) {
    bench.put_job("media", vec![destination("usw2", "one")]).await;
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let next = bench.take(session).await;
    bench.done(next.held, Outcome::Checkpoint, [None, Some("e")], 2).await;
    for settled in ["a", "e"] {
        // The acknowledgement was lost, and it comes again.
        assert_eq!(name(&bench, next.held, settled).await, Verdict::Applied);
    }
    let stale = Held { epoch: next.held.epoch + 1, ..next.held };
    assert_eq!(name(&bench, stale, "f").await, Verdict::Stale);
    let mut said = report(next.held, Outcome::Completed, [Some("e"), None], 1);
    said.counters.failed = 1;
    said.counters.listed += 1;
    said.failures = vec![failure(key("k"))];
    assert_eq!(bench.say(said).await.unwrap(), Verdict::Applied);
    assert_eq!(name(&bench, next.held, "f").await, Verdict::Stale);
}

pub(super) async fn listing(mut bench: Bench) {
    bench.put_job("media", vec![destination("usw2", "one")]).await;
    bench.start().await;
    // Two ranges, of which the first kills whoever lists it. In the end the other is looked at.
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let first = bench.take(session).await.held;
    assert_eq!(bench.cut(first, "m", None).await.unwrap(), Verdict::Applied);
    bench.done(first, Outcome::Checkpoint, [None, Some("c")], 3).await;
    expire(&mut bench, session).await;
    for agent in ["b", "c"] {
        assert!(!dies(&mut bench, agent, &[]).await, "{agent}");
    }
    // With a step, and with a key that is named once, it begins anew; so it does when the range was given back.
    assert!(dies(&mut bench, "d", &[(Some("d"), None)]).await);
    assert!(dies(&mut bench, "e", &[]).await);
    assert!(dies(&mut bench, "f", &[(Some("e"), Some("g"))]).await);
    for agent in ["g", "h"] {
        assert!(dies(&mut bench, agent, &[]).await, "{agent}");
    }
    assert_eq!(failures(&bench).await, [], "of the key that was named once nobody died again");
    assert!(dies(&mut bench, "i", &[]).await);
    let told = failures(&bench).await;
    let [range] = &told[..] else { panic!("{told:?}") };
    assert_eq!((range.key.clone(), range.class), (key("e\0"), FailureClass::Poison));
    let message = "9 agents died while they listed the keys after \"e\" up to \"m\"; these were not looked at";
    assert_eq!((range.code.as_str(), range.message.as_str()), ("agents_died_listing", message));
    let session = bench.connect("z", "1", Vec::new()).await.session;
    let rest = bench.take(session).await;
    assert!(!rest.careful);
    bench.done(rest.held, Outcome::Completed, [None, None], 1).await;
    let run = bench.run().await;
    let totals = run.totals();
    assert_eq!((run.state, totals.listed, totals.failed), (RunState::Incomplete, 7, 1));
    // Not all was looked at, so a retry looks at everything.
    let retry = bench.store.start_run(
        crate::store::StartRun { retries: Some(run.name.number), ..bench.start_of("media") },
        bench.now,
    );
    retry.await.unwrap();
    assert!(matches!(bench.take(session).await.work, Work::Range { .. }));
}

pub(super) async fn deletes(mut bench: Bench) {
    let deletes = DeletePolicy {
        mode: DeleteMode::Mirror,
        max_percent: Some(100.0),
        ..DeletePolicy::default()
    };
    let spec = Box::new(JobSpec { deletes, ..job(vec![destination("usw2", "one")]) });
    bench.change(CatalogueChange::PutJob { name: name_of("media"), spec }).await.unwrap();
    bench.start().await;
    let session = bench.connect("a", "1", Vec::new()).await.session;
    let scan = bench.take(session).await.held;
    let mut scanned = report(scan, Outcome::Completed, [None, None], 9);
    scanned.counters.extra = 3;
    scanned.counters.destination_listed = 12;
    assert_eq!(bench.say(scanned).await.unwrap(), Verdict::Applied);
    // All are named together, and then each alone.
    let work = bench.take(session).await;
    assert!(!work.careful);
    let mut named = report(work.held, Outcome::Checkpoint, [None, None], 0);
    named.extras = Extras { deleting: ["d", "e", "f"].map(key).into(), ..Extras::default() };
    assert_eq!(bench.say(named).await.unwrap(), Verdict::Applied);
    expire(&mut bench, session).await;
    for agent in ["b", "c"] {
        assert!(!dies(&mut bench, agent, &[]).await, "{agent}");
    }
    for agent in ["d", "e"] {
        assert!(dies(&mut bench, agent, &[(None, Some("e"))]).await, "{agent}");
    }
    let told: Vec<_> = failures(&bench).await.into_iter().map(|one| (one.key, one.class)).collect();
    assert_eq!(told, [(key("e"), FailureClass::Poison)]);
    let session = bench.connect("z", "1", Vec::new()).await.session;
    let rest = bench.take(session).await;
    let Work::Delete(work) = &rest.work else { panic!("{:?}", rest.work) };
    assert_eq!((work.cursor.clone(), rest.careful), (Some(key("e")), false));
    let mut last = report(rest.held, Outcome::Completed, [Some("e"), None], 0);
    last.counters = Counters { deleted: 1, ..Counters::default() };
    assert_eq!(bench.say(last).await.unwrap(), Verdict::Applied);
    let run = bench.run().await;
    let totals = run.totals();
    assert_eq!((run.state, totals.not_deleted), (RunState::FinishedWithFailures, 1));
    assert_eq!((totals.listed, totals.failed, totals.deleted), (9, 0, 1));
}
