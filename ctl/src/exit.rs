//! How a command ended: exit codes, and failures written for a person.

use std::io::Write;
use std::process::ExitCode;

use s3sync_proto::client::{ApiError, Code};
use s3sync_proto::model::RunState;

/// Exit codes. They are part of the interface and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something failed.
    Error = 1,
    /// Wrong usage or bad input.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// It exists, is going on, or changed meanwhile.
    Conflict = 4,
    /// The state of things does not allow it.
    Precondition = 5,
    /// Not allowed.
    NotAllowed = 6,
    /// The server cannot be reached.
    Unreachable = 7,
    /// The run finished with failures.
    FinishedWithFailures = 9,
    /// The run failed.
    RunFailed = 10,
    /// The run was cancelled.
    RunCancelled = 11,
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its exit code.
    pub exit: Exit,
    /// What happened, a line each; the first after `error: `.
    pub lines: Vec<String>,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code of a run's end.
    pub(crate) fn of_run(state: RunState) -> Self {
        match state {
            RunState::Succeeded => Self::Done,
            RunState::FinishedWithFailures | RunState::Incomplete => Self::FinishedWithFailures,
            RunState::Failed => Self::RunFailed,
            RunState::Cancelled => Self::RunCancelled,
            RunState::Paused | RunState::AwaitingApproval => Self::Precondition,
            RunState::Pending | RunState::Running | RunState::Cancelling => Self::Error,
        }
    }
}

impl Failure {
    /// A failure told in one line.
    pub(crate) fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, lines: vec![line.into()] }
    }

    /// Writes it for a person.
    pub(crate) fn write(&self, err: &mut dyn Write) -> std::io::Result<()> {
        for (index, line) in self.lines.iter().enumerate() {
            let lead = if index == 0 { "error: " } else { "  " };
            writeln!(err, "{lead}{line}")?;
        }
        Ok(())
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        if error.unreachable() {
            let line = format!("the server cannot be reached: {}", error.message);
            let hint = "is it running, and is --server (S3SYNC_SERVER) right?".to_owned();
            return Self { exit: Exit::Unreachable, lines: vec![line, hint] };
        }
        let exit = match error.code {
            Code::InvalidArgument => Exit::Usage,
            Code::NotFound => Exit::NotFound,
            Code::AlreadyExists | Code::Aborted => Exit::Conflict,
            Code::FailedPrecondition => Exit::Precondition,
            Code::PermissionDenied | Code::Unauthenticated => Exit::NotAllowed,
            Code::Unavailable => Exit::Unreachable,
            Code::Unimplemented | Code::Cancelled | Code::Internal => Exit::Error,
        };
        let mut lines = if error.violations.is_empty() {
            vec![error.message]
        } else {
            vec!["bad input".to_owned()]
        };
        for violation in error.violations {
            lines.push(format!("{}: {}", violation.field, violation.description));
        }
        if error.code == Code::Unauthenticated {
            lines
                .push("name the file with your token: --token-file (S3SYNC_TOKEN_FILE)".to_owned());
        }
        Self { exit, lines }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Error, format!("cannot write: {error}"))
    }
}
