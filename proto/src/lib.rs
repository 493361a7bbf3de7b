//! proto of s3sync.
