//! Random histories, with shrinking.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::store::Store;
use crate::store::conformance::{Action, Fate, Step, history};
use crate::store::sqlite::Sqlite;

/// Few, since each opens a store and makes some hundred transactions.
const HISTORIES: u32 = 48;
const STEPS: usize = 120;
/// A history that fails is made shorter this often; more would take minutes.
const MAX_SHRINKS: u32 = 1_000;

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Lease),
        8 => Just(Action::Work),
        2 => Just(Action::Complete),
        2 => Just(Action::Yield),
        1 => Just(Action::Fail),
        1 => Just(Action::Refuse),
        4 => Just(Action::Cut),
        3 => Just(Action::Intend),
        4 => Just(Action::Send),
        5 => Just(Action::Renew),
        4 => Just(Action::Reconnect),
        1 => Just(Action::Crash),
        1 => Just(Action::Leave),
        2 => Just(Action::Expire),
        1 => Just(Action::Cancel),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        5 => Just(Fate::Comes),
        2 => Just(Fate::Lost),
        2 => Just(Fate::Unanswered),
        2 => Just(Fate::Twice),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (action(), any::<u8>(), any::<u8>(), fate()).prop_map(|(action, agent, pick, fate)| Step {
        action,
        agent,
        pick,
        fate,
    })
}

#[test]
fn however_it_goes_each_key_is_counted_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: MAX_SHRINKS,
        ..Config::with_cases(HISTORIES)
    };
    let ends: RefCell<BTreeMap<String, u32>> = RefCell::default();
    let steps = prop::collection::vec(step(), 1..STEPS);
    TestRunner::new(config)
        .run(&steps, |steps| {
            let end = runtime.block_on(async {
                let store: Arc<dyn Store> = Arc::new(Sqlite::in_memory().await.unwrap());
                history(store, &steps).await
            });
            *ends.borrow_mut().entry(format!("{end:?}")).or_default() += 1;
            Ok(())
        })
        .unwrap();
    // A suite whose runs all fail early would prove little.
    let ends = ends.into_inner();
    let whole = ends.get("FinishedWithFailures").copied().unwrap_or_default();
    assert!(whole * 2 > ends.values().sum(), "{ends:?}");
}
