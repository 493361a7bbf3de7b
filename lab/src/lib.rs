//! lab of s3sync.
