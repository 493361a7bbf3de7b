//! What makes the program at home in a shell: completions and man pages, generated from the same tree as the help.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::Terminal;
use crate::args::Args;
use crate::exit::{Exit, Failure};

/// Writes the completion script of a shell.
pub(crate) fn completion(shell: Shell, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "s3syncctl", &mut script);
    terminal.out.write_all(&script)?;
    Ok(Exit::Done)
}

/// Writes a man page for each command into a folder.
pub(crate) fn man(folder: &Path, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let told =
        |error: std::io::Error| Failure::new(Exit::Error, format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(told)?;
    clap_mangen::generate_to(Args::command().disable_help_subcommand(true), folder)
        .map_err(told)?;
    writeln!(
        terminal.err,
        "man pages are in {}; try `man -l {}/s3syncctl.1`",
        folder.display(),
        folder.display()
    )?;
    Ok(Exit::Done)
}
