//! How the server is reached, from the configuration. Files are read at each dial, so that a token or a certificate can be
//! exchanged while the agent runs.

use std::collections::BTreeMap;
use std::path::Path;

use s3sync_proto::client::{ApiError, Code, ConnectOptions, Secret};

use crate::config::Config;

/// The settings of a connection, as of now.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn options(config: &Config) -> Result<ConnectOptions, ApiError> {
    let token = config.token_file.as_deref().map(secret).transpose()?;
    let ca = config.tls.ca_file.as_deref().map(read).transpose()?;
    let identity = match &config.tls.identity {
        Some((certificate, key)) => Some((read(certificate)?, secret(key)?)),
        None => None,
    };
    let (url, insecure) = (config.server.clone(), config.insecure);
    Ok(ConnectOptions { url, token, ca, identity, insecure })
}

fn secret(path: &Path) -> Result<Secret, ApiError> {
    let text = String::from_utf8(read(path)?).map_err(|_| unusable(path, "it is not text"))?;
    match text.trim() {
        "" => Err(unusable(path, "it is empty")),
        text => Ok(Secret::new(text)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ApiError> {
    std::fs::read(path).map_err(|error| unusable(path, &error.to_string()))
}

/// Counts as not being let in: it is tried again slowly, and passes when somebody repairs the file.
fn unusable(path: &Path, why: &str) -> ApiError {
    ApiError {
        code: Code::Unauthenticated,
        reason: String::new(),
        message: format!("cannot use {}: {why}", path.display()),
        violations: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Limits, Tls};

    use super::*;

    #[test]
    fn a_token_is_read_anew_at_each_dial_and_a_bad_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.token");
        let config = Config {
            server: "http://127.0.0.1:7400".into(),
            token_file: Some(file.clone()),
            name: "agent-1".parse().unwrap(),
            labels: BTreeMap::new(),
            tls: Tls::default(),
            http: None,
            insecure: false,
            limits: Limits::default(),
            endpoints: BTreeMap::new(),
        };
        for token in ["first", "second"] {
            std::fs::write(&file, format!("{token}\n")).unwrap();
            assert_eq!(options(&config).unwrap().token, Some(Secret::new(token)));
        }
        for bad in [&b" \n"[..], &[0xff]] {
            std::fs::write(&file, bad).unwrap();
            let error = options(&config).unwrap_err();
            assert_eq!(error.code, Code::Unauthenticated);
            assert!(error.message.contains("agent.token"), "{}", error.message);
        }
        std::fs::remove_file(&file).unwrap();
        assert!(options(&config).is_err());
    }
}
