//! Uploads that earlier holders left open, at keys that are not copied any more: aborted when the slice comes by.

use std::sync::Arc;

use s3sync_proto::model::{Counters, Key};

use super::{Driver, Event};
use crate::copy::{self, Left};
use crate::scan::frontier::Settled;

impl Driver {
    /// Settles a key that is not copied. An upload that was left open at it is aborted before.
    pub(super) fn pass_by(&mut self, key: Key, counters: Counters) {
        if self.left.is_empty() {
            return self.frontier.add(key, counters);
        }
        self.abandon_before(Some(&key));
        match self.left.remove(&key) {
            Some(left) => self.abandon(key, left, counters),
            None => self.frontier.add(key, counters),
        }
    }

    /// Aborts uploads that were left open at keys that neither side lists, below a key or to the end. The cursor waits
    /// for that: their records go when it passes them.
    pub(super) fn abandon_before(&mut self, key: Option<&Key>) {
        while let Some((below, left)) = self.left.pop_first() {
            if key.is_some_and(|key| below >= *key) {
                self.left.insert(below, left);
                return;
            }
            self.abandon(below, left, Counters::default());
        }
    }

    fn abandon(&mut self, key: Key, left: Left, counters: Counters) {
        let ticket = self.frontier.open(key.clone());
        let context = Arc::clone(&self.context);
        self.copying += 1;
        self.spawn(async move {
            copy::abandon(&context, &key, &left).await;
            Event::Key(ticket, Some(Settled { counters, ..Settled::default() }))
        });
    }
}
