//! Named keys: looked at, or, once they may be, deleted. Which of them only the destination has is told by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3sync_proto::model::{ExtraKey, Key, Outcome};

use super::{Driver, Event};
use crate::copy::Left;
use crate::scan::frontier::{Settled, Ticket};
use crate::scan::merge::Merge;
use crate::work::{Lost, Orders};
use crate::worker::context::Context;
use crate::{copy, delete};

/// What is done about named keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// Each is brought in step; none is deleted.
    Look,
    /// Each is deleted, unless the source has it.
    Delete {
        /// Also where the bucket cannot do it conditionally.
        unconditional: bool,
    },
}

/// Looks at named keys, strictly ascending.
pub(in crate::worker) async fn look(
    context: Arc<Context>,
    keys: Vec<Key>,
    left: BTreeMap<Key, Left>,
    orders: Orders,
) -> Result<Outcome, Lost> {
    let mut driver = Driver::new(context, Merge::new(None, None));
    driver.left = left;
    driver.named = Some(keys.into());
    Box::pin(driver.run(orders)).await
}

/// Deletes named keys, strictly ascending.
pub(in crate::worker) async fn delete(
    context: Arc<Context>,
    keys: Vec<ExtraKey>,
    unconditional: bool,
    orders: Orders,
) -> Result<Outcome, Lost> {
    let mut driver = Driver::new(context, Merge::new(None, None));
    driver.how = Named::Delete { unconditional };
    driver.named = Some(keys.iter().map(|one| one.key.clone()).collect());
    driver.allowed = keys.into_iter().map(|ExtraKey { key, object }| (key, object)).collect();
    Box::pin(driver.run(orders)).await
}

impl Driver {
    pub(super) fn look_at(&mut self, key: Key) {
        let ticket = self.frontier.open(key.clone());
        let context = Arc::clone(&self.context);
        let left = self.left.remove(&key);
        let (how, allowed) = (self.how, self.allowed.remove(&key).unwrap_or_default());
        self.copying += 1;
        self.spawn(async move {
            let settled = match how {
                Named::Look => copy::named::settle(&context, key.clone(), left).await,
                Named::Delete { unconditional } => {
                    delete::named(&context, &key, &allowed, unconditional).await
                }
            };
            Event::Named(key, ticket, settled)
        });
    }

    pub(super) fn take_named(&mut self, key: Key, ticket: Ticket, settled: Option<Settled>) {
        let Some(settled) = settled else { return };
        if settled.counters.extra > 0 {
            self.gone.insert(key, settled.object.clone());
        }
        self.frontier.settle(ticket, settled);
    }

    /// Those of the keys that only the destination has that a report up to this cursor is of.
    pub(super) fn gone_up_to(&mut self, cursor: Option<&Key>) -> Vec<ExtraKey> {
        let Some(cursor) = cursor else { return Vec::new() };
        let beyond = self.gone.keys().find(|key| *key > cursor).cloned();
        let beyond = beyond.map_or_else(BTreeMap::new, |first| self.gone.split_off(&first));
        let told = std::mem::replace(&mut self.gone, beyond).into_iter();
        told.map(|(key, object)| ExtraKey { key, object }).collect()
    }
}
