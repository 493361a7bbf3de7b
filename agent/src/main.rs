//! `s3sync-agent`.

fn main() -> std::process::ExitCode {
    s3sync_agent::app::main_with(std::env::args_os())
}
