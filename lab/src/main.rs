//! `s3sync-lab`.

fn main() -> std::process::ExitCode {
    s3sync_lab::main_with(std::env::args_os())
}
