//! Looks for secrets where none may be: logs, databases, and whatever else programs have written.

use std::path::Path;

/// Files that hold secrets because somebody wrote them there: configurations of agents, and of the original s3sync.
const MAY_HOLD: [&str; 2] = ["toml", "js"];

/// Whether `bytes` have one of the secrets in them.
#[must_use]
pub fn holds(bytes: &[u8], secrets: &[String]) -> bool {
    secrets.iter().any(|secret| {
        let secret = secret.as_bytes();
        !secret.is_empty() && bytes.windows(secret.len()).any(|window| window == secret)
    })
}

/// Files below `folder` that hold a secret.
///
/// # Errors
/// When a folder cannot be read.
pub fn found(folder: &Path, secrets: &[String]) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(self::found(&path, secrets)?);
        } else if path.extension().is_none_or(|kind| !MAY_HOLD.iter().any(|may| kind == *may)) {
            // A file may be gone meanwhile: drafts are renamed.
            let bytes = std::fs::read(&path).unwrap_or_default();
            if holds(&bytes, secrets) {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}
