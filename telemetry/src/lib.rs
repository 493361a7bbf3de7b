//! How logs, traces and metrics leave a process of s3sync: nothing here knows what s3sync does.

pub mod logs;
