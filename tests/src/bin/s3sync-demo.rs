//! All programs of s3sync in one: `s3sync-demo` shows them at work, and becomes one of them by its first argument
//! (`server`, `agent`, `ctl`, `lab`). Tests and the demo start it as their processes.

use std::ffi::OsString;
use std::process::ExitCode;

/// As the agent has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let first =
        arguments.get(1).and_then(|argument| argument.to_str()).unwrap_or_default().to_owned();
    if matches!(first.as_str(), "server" | "agent" | "ctl" | "lab") {
        arguments.remove(1);
    }
    match first.as_str() {
        "server" => s3sync_server::app::main_with(arguments),
        "agent" => s3sync_agent::app::main_with(arguments),
        "ctl" => s3sync_ctl::main_with(arguments),
        "lab" => s3sync_lab::main_with(arguments),
        _ => s3sync_tests::demo::main_with(arguments),
    }
}
