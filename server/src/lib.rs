//! The control plane: a gRPC server that holds jobs, runs and ranges, and leases work to agents. It holds no secret
//! of AWS and opens no connection to S3; its database is the only truth.

pub mod clock;
pub mod plan;
pub mod store;
