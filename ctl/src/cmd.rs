//! The commands, a file for each noun or verb.

pub(crate) mod apply;
mod audit;
mod delete;
mod diff;
mod endpoint;
pub(crate) mod explain;
mod get;
mod import;
mod job;
mod queue;
mod run;
mod shell;
mod wait;

pub(crate) use run::advice;

use crate::args::{Args, Command, Kind, ReadCommand};
use crate::exit::{Exit, Failure};
use crate::{Terminal, connect};

/// Runs one command.
pub(crate) async fn run(args: Args, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let Args { connection, output, command } = args;
    // Nothing of these is known to the server alone.
    if let Command::Completion { shell } = command {
        return shell::completion(shell, terminal);
    }
    if let Command::Man { folder } = &command {
        return shell::man(folder, terminal);
    }
    if let Command::Import { file, folder } = &command {
        return import::run(file, folder, &connection.server, terminal);
    }
    let mut client = connect::client(&connection)?;
    let client = &mut client;
    match command {
        Command::Apply { file, dry_run, plan } => {
            let mode = match (dry_run, plan) {
                (false, _) => apply::Mode::Write,
                (true, false) => apply::Mode::Check,
                (true, true) => apply::Mode::Plan,
            };
            apply::run(client, &file, mode, terminal).await
        }
        Command::Diff { file } => diff::run(client, &file, terminal).await,
        Command::Get { kind, name } => {
            get::run(client, kind, name.as_ref(), output, terminal).await
        }
        Command::Delete { kind, name, yes } => {
            delete::run(client, kind, &name, yes, terminal).await
        }
        Command::Explain { job, key, encoded } => {
            explain::run(client, &job, &key, encoded, output, terminal).await
        }
        Command::Job(command) => job::run(client, command, output, terminal).await,
        Command::Run(command) => run::run(client, command, output, terminal).await,
        Command::Endpoint(command) => endpoint::run(client, command, output, terminal).await,
        Command::Queue(command) => queue::run(client, command, output, terminal).await,
        Command::Audit(command) => audit::run(client, command, output, terminal).await,
        Command::Completion { .. } | Command::Man { .. } | Command::Import { .. } => {
            unreachable!("they were done before")
        }
        Command::Agent(command) => read(client, Kind::Agent, command, output, terminal).await,
    }
}

async fn read(
    client: &mut s3sync_proto::client::ApiClient,
    kind: Kind,
    command: ReadCommand,
    output: crate::args::Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let name = match command {
        ReadCommand::List => None,
        ReadCommand::Get { name } => Some(name),
    };
    get::run(client, kind, name.as_ref(), output, terminal).await
}
