//! tests of s3sync.
