//! Counts the requests a worker makes, by what they cost: listings, other reads, writes.

use std::sync::atomic::{AtomicU64, Ordering};

use s3sync_proto::model::Counters;

use crate::s3::Operation;

/// Requests since they were last taken.
#[derive(Debug, Default)]
pub struct Meter {
    list: AtomicU64,
    read: AtomicU64,
    write: AtomicU64,
}

impl Meter {
    /// Counts one request.
    pub fn count(&self, operation: Operation) {
        let counter = match operation {
            Operation::List | Operation::ListUploads | Operation::ListParts => &self.list,
            Operation::Head | Operation::Get | Operation::GetTags | Operation::GetNotifications => {
                &self.read
            }
            Operation::Put
            | Operation::Copy
            | Operation::CreateUpload
            | Operation::UploadPart
            | Operation::CopyPart
            | Operation::CompleteUpload
            | Operation::AbortUpload
            | Operation::Delete
            | Operation::DeleteMany => &self.write,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The requests since the last call, as counters.
    pub fn take(&self) -> Counters {
        Counters {
            list_requests: self.list.swap(0, Ordering::Relaxed),
            read_requests: self.read.swap(0, Ordering::Relaxed),
            write_requests: self.write.swap(0, Ordering::Relaxed),
            ..Counters::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_taken_once_and_by_its_kind() {
        let meter = Meter::default();
        for operation in [Operation::List, Operation::Get, Operation::Head, Operation::Put] {
            meter.count(operation);
        }
        let taken = meter.take();
        assert_eq!((taken.list_requests, taken.read_requests, taken.write_requests), (1, 2, 1));
        assert_eq!(meter.take(), Counters::default());
    }
}
