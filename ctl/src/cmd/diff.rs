//! `diff`: what `apply` would change, field by field.

use std::path::Path;

use s3sync_proto::client::ApiClient;
use serde_json::Value;

use super::apply::{bad_input, found};
use crate::Terminal;
use crate::exit::{Exit, Failure};
use crate::manifest::{self, Resource, endpoint_document, job_document, queue_document};

pub(crate) async fn run(
    client: &mut ApiClient,
    file: &Path,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    for document in manifest::read(file).map_err(bad_input)? {
        let name = &document.name;
        let (there, here) = match &document.resource {
            Resource::Endpoint(spec) => (
                found(client.get_endpoint(name).await)?
                    .map(|found| endpoint_document(name, &found.spec)),
                endpoint_document(name, spec),
            ),
            Resource::Queue(spec) => (
                found(client.get_queue(name).await)?.map(|found| queue_document(name, &found.spec)),
                queue_document(name, spec),
            ),
            Resource::Job(spec) => (
                found(client.get_job(name).await)?.map(|found| job_document(name, &found.spec)),
                job_document(name, spec),
            ),
        };
        let Some(there) = there else {
            writeln!(terminal.out, "{}: would be created", document.label())?;
            continue;
        };
        let mut changes = Vec::new();
        compare("", Some(&there), Some(&here), &mut changes);
        if changes.is_empty() {
            writeln!(terminal.out, "{}: unchanged", document.label())?;
        } else {
            writeln!(terminal.out, "{}: would be updated", document.label())?;
            for change in changes {
                writeln!(terminal.out, "  {change}")?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Lists the paths that differ, with both values.
fn compare(path: &str, there: Option<&Value>, here: Option<&Value>, changes: &mut Vec<String>) {
    match (there, here) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&inner, old.get(key), new.get(key), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                compare(&format!("{path}[{index}]"), old.get(index), new.get(index), changes);
            }
        }
        (old, new) if old == new => {}
        (Some(old), Some(new)) => changes.push(format!("{path}: {old} -> {new}")),
        (None, Some(new)) => changes.push(format!("{path}: + {new}")),
        (Some(old), None) => changes.push(format!("{path}: - {old}")),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_changed_path_is_told_with_both_values() {
        let old = json!({"a": 1, "b": {"c": "x", "d": "y"}, "l": [1, 2]});
        let new = json!({"a": 1, "b": {"c": "z"}, "l": [1, 3, 4], "n": true});
        let mut changes = Vec::new();
        compare("", Some(&old), Some(&new), &mut changes);
        assert_eq!(
            changes,
            ["b.c: \"x\" -> \"z\"", "b.d: - \"y\"", "l[1]: 2 -> 3", "l[2]: + 4", "n: + true"]
        );
    }
}
