//! How logs, traces and metrics leave a process of s3sync: nothing here knows what s3sync does.

mod environment;
pub mod http;
pub mod logs;
pub mod metrics;
mod otlp;
mod program;
pub mod traces;

pub use program::Program;
