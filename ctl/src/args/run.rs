//! `run` on the command line.

use clap::Subcommand;
use s3sync_proto::model::Name;

use super::{Class, Patience, RunRef};

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first.
    List {
        /// Only those of this job.
        job: Option<Name>,
    },
    /// Show one.
    Get {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
    },
    /// Watch a run until it ends, or all runs until interrupted.
    #[command(after_help = "\
Examples:
  s3syncctl run watch media                    on a terminal: one screen; q leaves it, and the run goes on
  s3syncctl run watch media | tee log          else: a line for each change
  s3syncctl run watch media -o jsonl           the run as JSON, for each change
  s3syncctl run watch                          a line for each change of any run

The exit code says how the run ended; who leaves while it waits for a person gets 5. Colour is left out where NO_COLOR
is set.")]
    Watch {
        /// JOB/NUMBER, or JOB for its newest; all runs of all jobs when left out.
        run: Option<RunRef>,
        /// A line for each change, also on a terminal.
        #[arg(long)]
        lines: bool,
        /// What the terminal can do.
        #[arg(long, env = "TERM", hide = true)]
        term: Option<String>,
    },
    /// Report what a run did: totals, ways of copying, requests by kind, what was waited for, its timeline, its failures.
    #[command(after_help = "\
Examples:
  s3syncctl run report media                   the newest run, also one that is going on
  s3syncctl run report media/12 -o json        for a program")]
    Report {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
    },
    /// Wait until a run has ended; the exit code says how.
    Wait {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
        #[command(flatten)]
        patience: Patience,
    },
    /// Cancel a run. Writes in flight finish or are aborted; what is copied stays.
    Cancel {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
    },
    /// Pause a run: agents let go of its work; it still blocks other runs of its job.
    Pause {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
    },
    /// Let a paused run go on where it stood.
    Resume {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
    },
    /// Approve the deletes of a run that waits for it, as they are shown.
    #[command(after_help = "\
Examples:
  s3syncctl run get media                              what it would delete, and why that needs an approval
  s3syncctl run approve media                          show it, and ask
  s3syncctl run approve media/12 --etag 5f0c… --yes    only if it is still what was looked at

A run that is not approved is cancelled with `run cancel`; until then no other run of the job begins.")]
    Approve {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
        /// Only what has this etag, as `run get` shows it.
        #[arg(long)]
        etag: Option<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Look again at the keys that failed in a run, and at nothing else.
    #[command(after_help = "\
Example:
  s3syncctl run retry media --wait             after what stood in the way was removed

Of a run that is incomplete or failed, everything is looked at.")]
    Retry {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
        /// Wait until the new run has ended; the exit code says how.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Show what a run could not bring in step, and why: grouped, or key by key.
    #[command(after_help = "\
Examples:
  s3syncctl run failures media                      by class and code, with what to do about each
  s3syncctl run failures media --class permanent    the keys of one class
  s3syncctl run failures media -o jsonl             every key, for a program")]
    Failures {
        /// JOB/NUMBER, or JOB for its newest.
        run: RunRef,
        /// List the keys of this class.
        #[arg(long, value_enum)]
        class: Option<Class>,
        /// List all keys instead of groups; so do the outputs wide, json, jsonl and yaml.
        #[arg(long)]
        keys: bool,
        /// At most this many keys.
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
}
