//! What is to be said of listings: how long a slice has nothing to do but to wait for one, and that one is out of order.

use std::sync::Arc;

use s3sync_proto::model::WaitReason;
use tokio::time::Instant;

use super::{Driver, Event};
use crate::scan::merge::Lane;

impl Driver {
    /// A listing that is out of order is known of its bucket from now on.
    pub(super) fn mark_unordered(&mut self, lane: Lane) {
        let context = Arc::clone(&self.context);
        self.spawn(async move {
            let side = match lane {
                Lane::Source => &context.source,
                Lane::Destination => &context.destination,
            };
            context.learn(side, |facts| facts.unordered_listing = true).await;
            Event::Learned
        });
    }

    /// Now, when there is nothing to do but to wait for the next page of a listing.
    pub(super) fn idle(&self) -> Option<Instant> {
        let idle = self.copying == 0
            && self.named.is_none()
            && self.ending.is_none()
            && !self.merge.done();
        idle.then(Instant::now)
    }

    /// Counts how long that was so.
    pub(super) fn waited(&self, idle: Option<Instant>) {
        if let Some(began) = idle {
            self.context.meter.waited(WaitReason::Listing, began.elapsed());
        }
    }
}
