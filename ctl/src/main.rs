//! `s3syncctl`.

fn main() -> std::process::ExitCode {
    s3sync_ctl::main_with(std::env::args_os())
}
