//! The contract of s3sync: the generated code of the .proto files, the domain types that server, agents and tools
//! share, the checked conversions between the two, and typed clients.
//!
//! Generated types ([`pb`]) are named here, in the server's gRPC layer and in tests, and nowhere else.

pub mod client;
pub mod json;
pub mod model;
pub mod status;
pub mod wire;

/// Generated code. Only the wire's edge names it.
#[allow(
    missing_docs,
    unreachable_pub,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "generated from the commented .proto files"
)]
pub mod pb {
    /// Package `s3sync.v1`: what people and other services call.
    pub mod v1 {
        tonic::include_proto!("s3sync.v1");
    }
    /// Package `s3sync.agent`.
    pub mod agent {
        /// Package `s3sync.agent.v1`: what agents call.
        pub mod v1 {
            tonic::include_proto!("s3sync.agent.v1");
        }
    }
    /// The encoded descriptors of all packages, for reflection and the JSON form.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}
