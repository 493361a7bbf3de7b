//! Pure. A configuration as text, with secrets left out.

use std::path::Path;

use s3sync_proto::model::{AllowRule, Verb};
use toml::{Table, Value};

use super::{Config, Credential, EndpointConfig};

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";

pub(super) fn shown(config: &Config) -> String {
    let Config { server, token_file, name, labels, tls, http, insecure, limits, endpoints } =
        config;
    let mut root = Table::new();
    root.insert("server".into(), server.clone().into());
    put_path(&mut root, "token_file", token_file.as_deref());
    root.insert("name".into(), name.to_string().into());
    if let Some(http) = http {
        root.insert("http".into(), http.to_string().into());
    }
    root.insert("insecure".into(), (*insecure).into());
    let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    root.insert("labels".into(), labels.collect::<Table>().into());
    let mut shown = Table::new();
    put_path(&mut shown, "ca_file", tls.ca_file.as_deref());
    put_path(&mut shown, "cert_file", tls.identity.as_ref().map(|(cert, _)| cert.as_path()));
    put_path(&mut shown, "key_file", tls.identity.as_ref().map(|(_, key)| key.as_path()));
    root.insert("tls".into(), shown.into());
    let mut shown = Table::new();
    shown.insert("requests_in_flight".into(), i64::from(limits.requests_in_flight).into());
    shown.insert("bytes_in_flight".into(), format!("{}B", limits.bytes_in_flight).into());
    shown.insert("assignments".into(), i64::from(limits.assignments).into());
    root.insert("limits".into(), shown.into());
    let endpoints = endpoints.iter().map(|(name, one)| (name.to_string(), endpoint(one).into()));
    root.insert("endpoints".into(), endpoints.collect::<Table>().into());
    root.to_string()
}

fn endpoint(endpoint: &EndpointConfig) -> Table {
    let EndpointConfig { credential, allow, queues, ca } = endpoint;
    let mut shown = Table::new();
    let mut put = |name: &str, value: &str| {
        shown.insert(name.to_owned(), value.into());
    };
    match credential {
        Credential::Profile(profile) => put("profile", profile),
        Credential::Keys { access_key_id, secret_access_key: _, session_token } => {
            put("access_key_id", access_key_id);
            put("secret_access_key", HIDDEN);
            if session_token.is_some() {
                put("session_token", HIDDEN);
            }
        }
        Credential::Role { arn, external_id, session_name } => {
            put("role_arn", arn);
            if let Some(external_id) = external_id {
                put("external_id", external_id);
            }
            if let Some(session_name) = session_name {
                put("session_name", session_name);
            }
        }
        Credential::Chain => {}
    }
    if let Some(ca) = ca {
        put("ca_file", &format!("({} bytes)", ca.len()));
    }
    if !allow.is_empty() {
        let rules: Vec<Value> = allow.iter().map(|one| rule(one).into()).collect();
        shown.insert("allow".into(), rules.into());
    }
    if let Some(queues) = queues {
        let queues: Vec<Value> = queues.iter().map(|url| url.as_str().into()).collect();
        shown.insert("queues".into(), queues.into());
    }
    shown
}

fn rule(rule: &AllowRule) -> Table {
    let AllowRule { bucket, prefix, verbs } = rule;
    let mut shown = Table::new();
    if let Some(bucket) = bucket {
        shown.insert("bucket".into(), bucket.clone().into());
    }
    shown.insert("prefix".into(), prefix.clone().into());
    let name = |verb: &Verb| match verb {
        Verb::List => "list",
        Verb::Read => "read",
        Verb::Write => "write",
        Verb::Delete => "delete",
    };
    let verbs: Vec<Value> = verbs.iter().map(|verb| name(verb).into()).collect();
    shown.insert("verbs".into(), verbs.into());
    shown
}

fn put_path(table: &mut Table, name: &str, path: Option<&Path>) {
    if let Some(path) = path {
        table.insert(name.to_owned(), path.display().to_string().into());
    }
}
