//! Work that agents have died of: keys one at a time, each named before. After a while it is given back, and is as any
//! other again: what killed was among the keys that were in flight, or nothing here kills.

use s3sync_proto::model::Counters;

use crate::copy::Task;

/// Keys worked on carefully before the work is given back: twice as many as a worker has in flight.
pub(super) const ENOUGH: u32 = 256;

/// Which key is next.
#[derive(Debug, Default)]
pub(super) struct Careful {
    next: Option<(Box<Task>, Counters)>,
    worked_on: u32,
}

/// What careful work comes to.
#[derive(Debug)]
pub(super) enum Next {
    Key(Box<Task>, Counters),
    /// It is to be given back, and this key with it.
    Enough,
}

impl Careful {
    /// Whether no key waits.
    pub(super) fn is_free(&self) -> bool {
        self.next.is_none()
    }

    /// A key that waits until all before it is reported, and what is to be counted of the destination.
    pub(super) fn come_to(&mut self, task: Task, there: Counters) {
        assert!(self.next.is_none(), "one key at a time");
        self.next = Some((Box::new(task), there));
    }

    /// The key that waits.
    pub(super) fn next(&mut self) -> Option<Next> {
        let (task, there) = self.next.take()?;
        self.worked_on += 1;
        Some(if self.worked_on > ENOUGH { Next::Enough } else { Next::Key(task, there) })
    }
}
