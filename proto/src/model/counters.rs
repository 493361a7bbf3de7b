//! What was done with keys.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What was done with keys. Each key of the source is counted once:
/// `listed = in_step + copied + failed + vanished + archived`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Source keys looked at; those the filter leaves out are not among them.
    pub listed: u64,
    /// Found in step.
    pub in_step: u64,
    /// Copied.
    pub copied: u64,
    /// Not brought in step; each is listed as a failure.
    pub failed: u64,
    /// Gone from the source since they were listed.
    pub vanished: u64,
    /// Archived, so not readable and not in step; each is listed as a failure.
    pub archived: u64,
    /// Left out by the filter.
    pub filtered: u64,
    /// Destination keys that the source does not have.
    pub extra: u64,
    /// Deleted at the destination.
    pub deleted: u64,
    /// Bytes of the copied objects.
    pub copied_bytes: u64,
    /// Of the copied, those copied inside S3 without passing through an agent.
    pub copied_server_side: u64,
    /// Requests of a listing.
    pub list_requests: u64,
    /// Other requests that read.
    pub read_requests: u64,
    /// Requests that write.
    pub write_requests: u64,
    /// Of the copied, those that S3 refused to copy by itself, so that their bytes went through an agent.
    pub server_side_refused: u64,
    /// Of the copied, those whose bytes were in step and only what they carry was not.
    pub repaired: u64,
    /// Keys of which it is not known whether their tags are in step, since tags could not be read.
    pub tags_unread: u64,
    /// Destination keys looked at, of those the filter's patterns let through. Only a scan counts them.
    pub destination_listed: u64,
    /// Extra keys that could not be deleted; each is listed as a failure.
    pub not_deleted: u64,
    /// Of the copied, those whose bytes went through an agent in parts.
    pub copied_parts: u64,
    /// Bytes of these.
    pub copied_parts_bytes: u64,
    /// Of those copied inside S3, those copied in parts.
    pub copied_server_side_parts: u64,
    /// Bytes of these.
    pub copied_server_side_parts_bytes: u64,
    /// Bytes of all that were copied inside S3.
    pub copied_server_side_bytes: u64,
}

impl Counters {
    /// Whether each listed key was counted exactly once.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.listed == self.in_step + self.copied + self.failed + self.vanished + self.archived
    }

    /// Keys that are listed as failures: those that failed, those that are archived, and those that were not deleted.
    #[must_use]
    pub fn not_in_step(&self) -> u64 {
        self.failed + self.archived + self.not_deleted
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        // Destructured, so that a new counter cannot be forgotten.
        let Self {
            listed,
            in_step,
            copied,
            failed,
            vanished,
            archived,
            filtered,
            extra,
            deleted,
            copied_bytes,
            copied_server_side,
            list_requests,
            read_requests,
            write_requests,
            server_side_refused,
            repaired,
            tags_unread,
            destination_listed,
            not_deleted,
            copied_parts,
            copied_parts_bytes,
            copied_server_side_parts,
            copied_server_side_parts_bytes,
            copied_server_side_bytes,
        } = other;
        self.listed += listed;
        self.in_step += in_step;
        self.copied += copied;
        self.failed += failed;
        self.vanished += vanished;
        self.archived += archived;
        self.filtered += filtered;
        self.extra += extra;
        self.deleted += deleted;
        self.copied_bytes += copied_bytes;
        self.copied_server_side += copied_server_side;
        self.list_requests += list_requests;
        self.read_requests += read_requests;
        self.write_requests += write_requests;
        self.server_side_refused += server_side_refused;
        self.repaired += repaired;
        self.tags_unread += tags_unread;
        self.destination_listed += destination_listed;
        self.not_deleted += not_deleted;
        self.copied_parts += copied_parts;
        self.copied_parts_bytes += copied_parts_bytes;
        self.copied_server_side_parts += copied_server_side_parts;
        self.copied_server_side_parts_bytes += copied_server_side_parts_bytes;
        self.copied_server_side_bytes += copied_server_side_bytes;
    }
}
