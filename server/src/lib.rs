//! The control plane: a gRPC server that holds jobs, runs and ranges, and leases work to agents. It holds no secret
//! of AWS and opens no connection to S3; its database is the only truth.

pub mod app;
mod ask;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod grpc;
mod keep;
mod metrics;
pub mod plan;
pub mod reconcile;
pub mod session;
pub mod store;
mod survey;
