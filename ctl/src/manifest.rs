//! Resource files: YAML in, settings out, with every problem at once, each with its file, line and path.

mod decode;
mod node;
mod units;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use s3sync_proto::model::{EndpointSpec, JobSpec, Name, QueueSpec, Violation};

pub(crate) use units::{parse_duration, parse_location};
pub(crate) use write::{endpoint_document, job_document, queue_document};

/// Largest file that is read; a job is a few hundred bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// One document of a file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) file: PathBuf,
    pub(crate) name: Name,
    pub(crate) resource: Resource,
    /// Line of each path, to show where a problem is that the server found.
    lines: BTreeMap<String, u64>,
}

/// What a document declares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resource {
    Endpoint(EndpointSpec),
    Queue(QueueSpec),
    Job(Box<JobSpec>),
}

/// Something wrong at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) file: PathBuf,
    pub(crate) line: u64,
    pub(crate) path: String,
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, path, text } = self;
        write!(f, "{}:{line}: ", file.display())?;
        if path.is_empty() { write!(f, "{text}") } else { write!(f, "{path}: {text}") }
    }
}

impl Document {
    /// Kind and name, as output shows them.
    pub(crate) fn label(&self) -> String {
        match self.resource {
            Resource::Endpoint(_) => format!("endpoint/{}", self.name),
            Resource::Queue(_) => format!("queue/{}", self.name),
            Resource::Job(_) => format!("job/{}", self.name),
        }
    }

    /// A violation that the server found, at its place in the file.
    pub(crate) fn locate(&self, violation: &Violation) -> Problem {
        // The field itself may be missing; then the nearest one around it is shown.
        let mut path = violation.field.as_str();
        let line = loop {
            if let Some(line) = self.lines.get(path) {
                break *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => break self.lines.get("").copied().unwrap_or(1),
            }
        };
        Problem {
            file: self.file.clone(),
            line,
            path: violation.field.clone(),
            text: violation.description.clone(),
        }
    }
}

/// Reads the documents of a file, or of all `.yaml` and `.yml` files of a folder by name.
///
/// # Errors
/// Every problem of every file.
pub(crate) fn read(path: &Path) -> Result<Vec<Document>, Vec<Problem>> {
    let problem = |file: &Path, text: String| Problem {
        file: file.to_owned(),
        line: 1,
        path: String::new(),
        text,
    };
    let files = files_of(path).map_err(|error| vec![problem(path, error)])?;
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match read_text(&file) {
            Ok(text) => match parse(&file, &text) {
                Ok(found) => documents.extend(found),
                Err(found) => problems.extend(found),
            },
            Err(error) => problems.push(problem(&file, error)),
        }
    }
    problems.extend(repeated(&documents));
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

/// Parses the documents of one text.
///
/// # Errors
/// Every problem.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    let nodes = match node::documents(text) {
        Ok(nodes) => nodes,
        Err((line, text)) => {
            return Err(vec![Problem { file: file.to_owned(), line, path: String::new(), text }]);
        }
    };
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for node in nodes {
        match decode::document(file, &node) {
            Ok(document) => documents.push(document),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| {
            file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
        })
        .collect();
    files.sort();
    if files.is_empty() {
        Err("the folder has no .yaml or .yml file".to_owned())
    } else {
        Ok(files)
    }
}

pub(crate) fn read_text(file: &Path) -> Result<String, String> {
    if file == Path::new("-") {
        return std::io::read_to_string(std::io::stdin()).map_err(|error| error.to_string());
    }
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("has {size} bytes; at most {MAX_FILE_BYTES} are read"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// The same resource declared twice: which one would count is anybody's guess.
fn repeated(documents: &[Document]) -> Vec<Problem> {
    let mut seen: BTreeMap<String, &Document> = BTreeMap::new();
    let mut problems = Vec::new();
    for document in documents {
        let Some(first) = seen.insert(document.label(), document) else { continue };
        let text = format!(
            "{} is declared a second time; first in {}:{}",
            document.label(),
            first.file.display(),
            first.lines.get("").copied().unwrap_or(1),
        );
        problems.push(Problem {
            file: document.file.clone(),
            line: document.lines.get("name").copied().unwrap_or(1),
            path: "name".to_owned(),
            text,
        });
    }
    problems
}

#[cfg(test)]
mod tests;
