//! The hands of s3sync: an agent dials out to the server, takes assignments, does the work against S3 and reports.
//! It keeps nothing on disk; it can die at any moment.

pub mod app;
pub mod backoff;
pub mod clock;
pub mod compare;
pub mod config;
pub mod copy;
mod delete;
mod explain;
pub mod limits;
pub mod meter;
pub mod metrics;
mod probe;
pub mod queue;
pub mod retry;
pub mod s3;
pub mod scan;
pub mod session;
mod setup;
pub mod stores;
mod survey;
pub mod watch;
pub mod window;
pub mod work;
pub mod worker;
