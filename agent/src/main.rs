//! `s3sync-agent`.

/// A tenth of an agent's time went into the system's allocator: requests of an SDK are many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    s3sync_agent::app::main_with(std::env::args_os())
}
