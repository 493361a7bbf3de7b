//! Follows queues of S3 events: receives, reads, hands what changed to the server, and deletes a message only when its
//! events are on the server's disk. Events are hints: nothing here looks at an object.

pub mod event;
mod follow;
mod inbox;

pub use follow::follow;

#[cfg(test)]
mod tests;
