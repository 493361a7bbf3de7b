//! agent of s3sync.
