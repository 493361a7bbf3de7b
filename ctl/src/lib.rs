//! `s3syncctl`, the hand tool of s3sync: declares what should be, shows what is, and waits for it. Data goes to
//! stdout, everything else to stderr.

mod args;
mod cmd;
mod connect;
mod exit;
mod import;
mod manifest;
mod render;
mod trace;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use tracing::Instrument as _;

pub use args::Args;
pub use exit::{Exit, Failure};

/// Where a command writes, and what it may ask.
pub struct Terminal<'a> {
    /// Data.
    pub out: &'a mut dyn std::io::Write,
    /// Everything else.
    pub err: &'a mut dyn std::io::Write,
    /// Whether a person can be asked.
    pub interactive: bool,
    /// Whether what is written to `out` is seen by a person.
    pub shown: bool,
}

/// The program: parses, runs, says how it ended. Exit codes are those of the README.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = Args::command().try_get_matches_from(arguments);
    let parsed = matches.and_then(|matches| {
        Args::from_arg_matches(&matches).map(|args| (command_of(&matches), args))
    });
    let (command, args) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are data and no failure; clap knows which is which.
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return if error.print().is_ok() { code.into() } else { Exit::Error.into() };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Error.into();
        }
    };
    let interactive = std::io::IsTerminal::is_terminal(&std::io::stdin());
    let shown = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let terminal = Terminal { out: &mut out, err: &mut err, interactive, shown };
    let parent = args.connection.traceparent.clone();
    trace::traced(&command, parent, || runtime.block_on(run(args, terminal).in_current_span()))
        .into()
}

/// The words of a command, without what it is about.
fn command_of(matches: &ArgMatches) -> String {
    let mut words = vec!["s3syncctl"];
    let mut matches = matches;
    while let Some((word, below)) = matches.subcommand() {
        words.push(word);
        matches = below;
    }
    words.join(" ")
}

/// Runs one command; failures are written to `terminal.err`.
pub async fn run(args: Args, mut terminal: Terminal<'_>) -> Exit {
    match cmd::run(args, &mut terminal).await {
        Ok(exit) => exit,
        Err(failure) => {
            // When even stderr is gone, the exit code is all that is left to say.
            let written = failure.write(terminal.err);
            if written.is_ok() { failure.exit } else { Exit::Error }
        }
    }
}
