//! How logs, traces and metrics leave a process of s3sync: nothing here knows what s3sync does.

mod environment;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod traces;
