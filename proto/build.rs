//! Compiles the .proto files with a compiler written in Rust, so that no machine needs `protoc`, and keeps the
//! descriptors for server reflection and the JSON form.

const FILES: &[&str] = &[
    "s3sync/v1/probe.proto",
    "s3sync/v1/setup.proto",
    "s3sync/v1/endpoint.proto",
    "s3sync/v1/explain.proto",
    "s3sync/v1/plan.proto",
    "s3sync/v1/queue.proto",
    "s3sync/v1/run.proto",
    "s3sync/v1/run_view.proto",
    "s3sync/v1/job.proto",
    "s3sync/v1/agent_admin.proto",
    "s3sync/v1/audit.proto",
    "s3sync/agent/v1/agent.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=s3sync");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(
        std::path::Path::new(&out).join("descriptor.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
