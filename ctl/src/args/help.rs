//! Every help text, as people see it. After a change: `UPDATE_EXPECT=1 cargo test -p s3sync-ctl help`.

use clap::{Command, CommandFactory as _};
use expect_test::expect_file;

use super::Args;

/// The program as it is without an environment and on a terminal of 100 columns.
fn program() -> Command {
    fn plain(command: Command) -> Command {
        let names: Vec<String> =
            command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
        let command = command.term_width(100).mut_args(|arg| arg.hide_env_values(true));
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, plain))
    }
    let mut program = plain(Args::command());
    program.build();
    program
}

fn walk(command: &mut Command, path: &str, texts: &mut Vec<(String, String)>) {
    texts.push((path.to_owned(), command.render_long_help().to_string()));
    for one in command.get_subcommands_mut().filter(|one| one.get_name() != "help") {
        let path = format!("{path} {}", one.get_name());
        walk(one, &path, texts);
    }
}

fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    walk(&mut program(), "s3syncctl", &mut texts);
    texts
}

#[test]
fn all_help_texts_are_as_they_were_read() {
    let all: Vec<_> = texts()
        .into_iter()
        .map(|(path, help)| {
            let lines: Vec<_> = help.lines().map(str::trim_end).collect();
            format!("$ {path} --help\n{}\n", lines.join("\n").trim_end())
        })
        .collect();
    expect_file!["help.txt"].assert_eq(&all.join("\n"));
}

#[test]
fn every_command_and_flag_says_what_it_is_for() {
    fn silent(command: &Command, found: &mut Vec<String>) {
        let name = command.get_name();
        if command.get_about().is_none() {
            found.push(name.to_owned());
        }
        let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let without = arguments.filter(|arg| arg.get_help().is_none());
        found.extend(without.map(|arg| format!("{name} {}", arg.get_id())));
        command.get_subcommands().for_each(|one| silent(one, found));
    }
    let mut found = Vec::new();
    silent(&program(), &mut found);
    assert_eq!(found, [""; 0]);
}
