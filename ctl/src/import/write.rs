//! Pure. The texts of the files an import writes.

use s3sync_proto::model::{AllowRule, Verb};
use serde_json::Value;

use super::{Imported, ImportedEndpoint};
use crate::manifest::{endpoint_document, job_document, queue_document};

/// Endpoints, the queue and jobs, in the order in which they name each other.
pub(crate) fn documents(imported: &Imported) -> Vec<Value> {
    let endpoints = imported.endpoints.iter().map(|one| endpoint_document(&one.name, &one.spec));
    let queue = imported.queue.iter().map(|(name, spec)| queue_document(name, spec));
    let jobs = imported.jobs.iter().map(|(name, spec)| job_document(name, spec));
    endpoints.chain(queue).chain(jobs).collect()
}

/// The configuration of one agent for everything.
pub(crate) fn agent_toml(imported: &Imported, server: &str) -> String {
    let mut text = format!(
        "# An agent that serves all endpoints. To keep keys on their side of a border, run one agent on each side, and give\n\
         # each only the tables of the endpoints it may sign for; who copies needs both sides of its copies.\n\
         server = {}\n\
         # token_file = \"agent.token\"\n\
         name = \"agent-1\"\n",
        quoted(server)
    );
    for endpoint in &imported.endpoints {
        endpoint_table(&mut text, endpoint);
    }
    text
}

fn endpoint_table(text: &mut String, endpoint: &ImportedEndpoint) {
    let ImportedEndpoint { name, spec: _, keys, allow } = endpoint;
    text.push_str(&format!("\n[endpoints.{name}]\n"));
    match keys {
        Some(keys) => {
            text.push_str(&format!("access_key_id = {}\n", quoted(&keys.access_key_id)));
            let secret = quoted(keys.secret_access_key.reveal());
            text.push_str(&format!(
                "secret_access_key = {secret}
"
            ));
            if let Some(token) = &keys.session_token {
                text.push_str(&format!("session_token = {}\n", quoted(token.reveal())));
            }
        }
        None => text.push_str(
            "# Signs with what the SDK finds: environment, profile, role of the machine.\n",
        ),
    }
    if allow.is_empty() {
        text.push_str("# Reads the queue.\n");
        return;
    }
    text.push_str("allow = [\n");
    for AllowRule { bucket, prefix, verbs } in allow {
        let bucket = quoted(bucket.as_deref().unwrap_or_default());
        let verbs: Vec<String> = verbs.iter().map(|verb| quoted(word(*verb))).collect();
        let (prefix, verbs) = (quoted(prefix), verbs.join(", "));
        text.push_str(&format!(
            "  {{ bucket = {bucket}, prefix = {prefix}, verbs = [{verbs}] }},\n"
        ));
    }
    text.push_str("]\n");
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::List => "list",
        Verb::Read => "read",
        Verb::Write => "write",
        Verb::Delete => "delete",
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
