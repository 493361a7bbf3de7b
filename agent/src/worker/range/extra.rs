//! Keys that only the destination has: counted for the guard of deletes, and some told by name.

use s3sync_proto::model::{Counters, Key};

use super::Driver;

/// Extra keys of one piece of work that are told by name, as samples.
pub(in crate::worker) const MAX_SAMPLES: usize = 10;

impl Driver {
    /// Passes by an extra key.
    pub(super) fn count_extra(&mut self, key: Key) {
        let extra = u64::from(self.context.filter.lets_key(&key));
        if extra > 0 && self.sampled < MAX_SAMPLES {
            self.sampled += 1;
            self.samples.push(key.clone());
        }
        let counters = Counters { extra, destination_listed: extra, ..Counters::default() };
        self.pass_by(key, counters);
    }
}
