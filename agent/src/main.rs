//! `s3sync-agent`.

/// Requests of an SDK are many small allocations: with the system's allocator an agent takes a tenth more CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    s3sync_agent::app::main_with(std::env::args_os())
}
