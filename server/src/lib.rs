//! server of s3sync.
