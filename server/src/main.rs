//! `s3sync-server`.

fn main() -> std::process::ExitCode {
    s3sync_server::app::main_with(std::env::args_os())
}
