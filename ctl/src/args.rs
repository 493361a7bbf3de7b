//! The command line.

mod run;
mod run_ref;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use s3sync_proto::model::Name;

pub(crate) use run::RunCommand;
pub(crate) use run_ref::RunRef;

use crate::manifest::parse_duration;

const EXAMPLES: &str = "\
Examples:
  s3syncctl apply -f media.yaml                declare endpoints and jobs
  s3syncctl job run media --wait               bring the buckets in step and wait for it
  s3syncctl run watch                          see what is going on
  s3syncctl run failures media                 what could not be brought in step, and why

Exit codes: 0 done, 1 error, 2 usage or bad input, 3 not found, 4 conflict, 5 precondition, 6 not allowed,
7 server not reachable, 9 finished with failures, 10 run failed, 11 run cancelled.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  s3syncctl explain media a/b.jpg                       the key without the prefix
  s3syncctl explain media s3://srcbucket/in/a/b.jpg     the key in full, on any side
  s3syncctl explain media --encoded 'a%20b%0A%FF'       bytes that cannot be typed; % itself is %25

The command ends with 5 when no agent can look at some destination.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  s3syncctl import config.js --folder new      writes new/s3sync.yaml and new/agent.toml
  s3syncctl apply -f new/s3sync.yaml --dry-run

Keys go into agent.toml alone, which only its owner can read.";

/// Declares what s3sync keeps in step, and shows how it stands.
#[derive(Debug, Parser)]
#[command(name = "s3syncctl", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How to print.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// URL of the server.
    #[arg(
        long,
        global = true,
        env = "S3SYNC_SERVER",
        default_value = "http://127.0.0.1:7400",
        value_name = "URL"
    )]
    pub(crate) server: String,
    /// File with the API token.
    #[arg(long, global = true, env = "S3SYNC_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authorities to trust instead of the system's (PEM).
    #[arg(long, global = true, env = "S3SYNC_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Certificate to show the server (PEM).
    #[arg(
        long,
        global = true,
        env = "S3SYNC_CLIENT_CERT",
        value_name = "FILE",
        requires = "client_key"
    )]
    pub(crate) client_cert: Option<PathBuf>,
    /// Key of that certificate (PEM).
    #[arg(
        long,
        global = true,
        env = "S3SYNC_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_cert"
    )]
    pub(crate) client_key: Option<PathBuf>,
    /// Allow http:// to another machine; a token would travel in the clear.
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// W3C trace context of what calls this program; commands are steps of that trace.
    #[arg(long, global = true, env = "TRACEPARENT", hide = true)]
    pub(crate) traceparent: Option<String>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For people with wide windows.
    Wide,
    /// One JSON value; of a single resource, the JSON form of its proto message.
    Json,
    /// One JSON value a line.
    Jsonl,
    /// For people and for `apply`.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create or change what files declare; other resources stay as they are.
    Apply {
        /// A file, `-`, or a folder of .yaml files.
        #[arg(short, long, value_name = "FILE|DIR")]
        file: PathBuf,
        /// Check and say what would happen; change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Also say what a run of each job that would change would do then, as `job plan` does.
        #[arg(long, requires = "dry_run")]
        plan: bool,
    },
    /// Show what `apply` would change, field by field.
    Diff {
        /// A file, `-`, or a folder of .yaml files.
        #[arg(short, long, value_name = "FILE|DIR")]
        file: PathBuf,
    },
    /// Show one resource, or all of a kind.
    Get {
        /// What kind.
        kind: Kind,
        /// Its name.
        name: Option<Name>,
    },
    /// Delete an endpoint, a queue or a job. Objects in S3 stay as they are.
    Delete {
        /// What kind.
        kind: Kind,
        /// Its name.
        name: Name,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Have an agent look at one key on both sides now: how it stands, why, and what a run would do next.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        /// The job.
        job: Name,
        /// The key without the job's prefix, or in full as s3://BUCKET/KEY.
        key: OsString,
        /// Take %XX in KEY for the byte it stands for.
        #[arg(long)]
        encoded: bool,
    },
    /// Jobs: what to keep in step.
    #[command(subcommand)]
    Job(JobCommand),
    /// Runs: executions of jobs. A run is named JOB/NUMBER, or JOB for its newest run.
    #[command(subcommand)]
    Run(RunCommand),
    /// Endpoints: where S3 is spoken.
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Queues: SQS queues that carry events of source buckets.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Agents: what does the work.
    #[command(subcommand)]
    Agent(ReadCommand),
    /// The audit log: who asked for which change.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Turn the config.js of the original s3sync into documents and an agent's configuration. The file is read, not run;
    /// what is changed or cannot be carried over is said.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// The config.js, or the same settings as JSON; `-` for stdin.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where s3sync.yaml and agent.toml are written; files that exist are not written over.
        #[arg(long, value_name = "DIR", default_value = ".")]
        folder: PathBuf,
    },
    /// Print the completion script of a shell.
    #[command(after_help = "\
Example:
  s3syncctl completion bash > /etc/bash_completion.d/s3syncctl")]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder.
    Man {
        /// Where to.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Where S3 is spoken.
    #[value(alias = "endpoints")]
    Endpoint,
    /// What carries events of a source.
    #[value(alias = "queues")]
    Queue,
    /// What to keep in step.
    #[value(alias = "jobs")]
    Job,
    /// What does the work.
    #[value(alias = "agents")]
    Agent,
    /// An execution of a job.
    #[value(alias = "runs")]
    Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReadCommand {
    /// List all.
    List,
    /// Show one.
    Get {
        /// Its name.
        name: Name,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List all.
    List,
    /// Show one, and how it stands with receiving from it.
    Get {
        /// Its name.
        name: Name,
    },
    /// Have agents look at how it and the source buckets of its jobs are set up, and print what to add: documents and
    /// commands of the AWS CLI. Changes nothing.
    #[command(after_help = "\
Examples:
  s3syncctl queue check media-events                     what is in order, what is not, and what to add
  s3syncctl queue check media-events --folder setup      also write the documents, for the commands to be run there

The command ends with 5 when something is not in order, or could not be looked at.")]
    Check {
        /// Its name.
        name: Name,
        /// Write the documents here; files that exist are written over.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List calls that asked for a change, newest first.
    #[command(after_help = "\
Examples:
  s3syncctl audit list                              the newest changes of anything
  s3syncctl audit list --resource jobs/media        of one job and its runs
  s3syncctl audit list -o wide                      with the requests")]
    List {
        /// Only those about this resource and what is below it, such as jobs/media or endpoints/usw2.
        #[arg(long, default_value = "", hide_default_value = true)]
        resource: String,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// List all.
    List,
    /// Show one, with what was learned of its buckets.
    Get {
        /// Its name.
        name: Name,
    },
    /// Forget what was learned of its buckets, and have every agent with a credential for it look again. Only reads: what
    /// a write alone can teach is learned at the next copy.
    Probe {
        /// Its name.
        name: Name,
        /// Only this bucket; needed when no job names one.
        #[arg(long)]
        bucket: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Create a job from flags.
    #[command(after_help = "\
Example:
  s3syncctl job create media --source usw2:srcbucket/srcfolder/ --destination cnn1:destbucket/destfolder/")]
    Create(Box<CreateJob>),
    /// List all.
    List,
    /// Show one.
    Get {
        /// Its name.
        name: Name,
    },
    /// Start a run.
    Run {
        /// The job.
        name: Name,
        /// Wait until it has ended; the exit code says how.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Say what a run would do now, without doing any of it: how much it would copy in which way, what is extra, archived or
    /// would fail, and what it costs in requests. Nothing is written.
    #[command(after_help = "\
Examples:
  s3syncctl job plan media                  what a run would do
  s3syncctl job plan -f media.yaml          the same with the settings of a file, which are not applied
  s3syncctl job plan media -o jsonl         every difference, a line each; what they add up to goes to stderr

A run that goes on is neither held up nor waited for. The command ends with 5 when no agent can look at some destination, or
not every key could be looked at.")]
    Plan {
        /// The job.
        #[arg(required_unless_present = "file")]
        name: Option<Name>,
        /// Plan the jobs of a file, `-`, or a folder of .yaml files, as they would be.
        #[arg(short, long, value_name = "FILE|DIR", conflicts_with = "name")]
        file: Option<PathBuf>,
        /// No progress lines, and with jsonl no sum.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Change a job's settings in an editor. Refused when somebody else changed them meanwhile.
    #[command(after_help = "\
Examples:
  s3syncctl job edit media
  s3syncctl job edit media --editor 'code --wait'")]
    Edit {
        /// Its name.
        name: Name,
        /// The editor, with arguments if need be.
        #[arg(long, env = "EDITOR", default_value = "vi", value_name = "COMMAND")]
        editor: String,
    },
    /// Pause a job: it starts no run by itself. A run that is going on goes on.
    Pause {
        /// Its name.
        name: Name,
    },
    /// Let a paused job go on: one run makes up for the starts it missed.
    Resume {
        /// Its name.
        name: Name,
    },
    /// Delete a job and the record of its runs. Objects in S3 stay as they are.
    Delete {
        /// Its name.
        name: Name,
        /// Cancel a run that is going on, and wait for it, before.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// A job from flags.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateJob {
    /// Its name.
    pub(crate) name: Name,
    /// Where objects come from: ENDPOINT:BUCKET/PREFIX.
    #[arg(long, value_name = "PLACE")]
    pub(crate) source: String,
    /// Where they go: ENDPOINT:BUCKET/PREFIX; may be given several times.
    #[arg(long = "destination", required = true, value_name = "PLACE")]
    pub(crate) destinations: Vec<String>,
    /// How to compare: default, size, etag, checksum or full.
    #[arg(long)]
    pub(crate) compare: Option<String>,
    /// Run every so often, such as 6h.
    #[arg(long, value_parser = parse_duration)]
    pub(crate) every: Option<Duration>,
    /// Queue of the source's events.
    #[arg(long)]
    pub(crate) queue: Option<Name>,
    /// What happens to objects the source does not have: keep or mirror.
    #[arg(long)]
    pub(crate) deletes: Option<String>,
    /// Check and say what would happen; create nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Class {
    /// The endpoint kept asking to slow down.
    Throttled,
    /// Failed in a way that may pass.
    Transient,
    /// The object kept changing.
    Changed,
    /// Refused.
    Permanent,
    /// Must be restored before it can be read.
    Archived,
    /// Agents died on it.
    Poison,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Patience {
    /// Give up waiting after this time; the run goes on.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// No progress lines.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod help;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
