//! `import`: from the original's config.js to documents and an agent's configuration. Speaks with no server.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::Terminal;
use crate::exit::{Exit, Failure};
use crate::import::{self, Note};
use crate::{manifest, render};

/// The documents.
const DOCUMENTS: &str = "s3sync.yaml";

/// The agent's configuration, with keys: only its owner may read it.
const AGENT: &str = "agent.toml";

/// Writes both files into `folder`, or neither.
pub(crate) fn run(
    file: &Path,
    folder: &Path,
    server: &str,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let text = manifest::read_text(file)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
    let imported = import::read(&text).map_err(|problems| refused(file, &problems))?;
    let documents: Vec<String> = import::documents(&imported).iter().map(render::yaml).collect();
    let agent = import::agent_toml(&imported, server);
    let files = [
        Draft::new(folder, AGENT, &agent, 0o600)?,
        Draft::new(folder, DOCUMENTS, &documents.join("---\n"), 0o644)?,
    ];
    keep(files)?;
    for note in &imported.notes {
        writeln!(terminal.err, "note: {note}")?;
    }
    let (documents, agent) = (folder.join(DOCUMENTS), folder.join(AGENT));
    writeln!(terminal.out, "{}\n{}", documents.display(), agent.display())?;
    writeln!(
        terminal.err,
        "next: s3syncctl apply -f {}, and on the agent's machine s3sync-agent --config {}",
        documents.display(),
        agent.display()
    )?;
    Ok(Exit::Done)
}

fn refused(file: &Path, problems: &[Note]) -> Failure {
    let plural = if problems.len() == 1 { "" } else { "s" };
    let mut lines = vec![format!("{} problem{plural}; nothing was written", problems.len())];
    lines.extend(problems.iter().map(|problem| format!("{}: {problem}", file.display())));
    Failure { exit: Exit::Usage, lines }
}

/// A file that is whole, but not yet under its name.
struct Draft {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Draft {
    fn new(folder: &Path, name: &str, text: &str, mode: u32) -> Result<Self, Failure> {
        let path = folder.join(name);
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Error, format!("{}: {error}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        if path.exists() {
            return Err(exists(&path));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(name);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = builder.tempfile_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        Ok(Self { path, file })
    }
}

fn exists(path: &Path) -> Failure {
    let line = format!(
        "{} exists and is not written over; move it, or name another --folder",
        path.display()
    );
    Failure::new(Exit::Conflict, line)
}

/// Gives the files their names. When one of them has been taken meanwhile, none keeps its own.
fn keep(files: [Draft; 2]) -> Result<(), Failure> {
    let mut kept: Vec<PathBuf> = Vec::new();
    for Draft { path, file } in files {
        if let Err(error) = file.persist_noclobber(&path) {
            for path in kept {
                std::fs::remove_file(path)?;
            }
            return Err(if error.error.kind() == ErrorKind::AlreadyExists {
                exists(&path)
            } else {
                Failure::new(Exit::Error, format!("{}: {}", path.display(), error.error))
            });
        }
        kept.push(path);
    }
    Ok(())
}
