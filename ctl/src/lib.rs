//! ctl of s3sync.
