//! From flags to a client.

use std::path::Path;

use s3sync_proto::client::{ApiClient, ConnectOptions, Secret};

use crate::args::Connection;
use crate::exit::{Exit, Failure};

/// A client as the flags say; nothing is sent yet.
pub(crate) fn client(connection: &Connection) -> Result<ApiClient, Failure> {
    let read = |flag: &str, path: &Path| {
        std::fs::read(path).map_err(|error| {
            Failure::new(Exit::Usage, format!("{flag}: cannot read {}: {error}", path.display()))
        })
    };
    let text = |flag: &str, path: &Path| {
        let bytes = read(flag, path)?;
        String::from_utf8(bytes).map_err(|_| {
            Failure::new(Exit::Usage, format!("{flag}: {} is not a text", path.display()))
        })
    };
    let token =
        connection.token_file.as_ref().map(|path| text("--token-file", path)).transpose()?;
    let ca = connection.ca_file.as_ref().map(|path| read("--ca-file", path)).transpose()?;
    let identity = match (&connection.client_cert, &connection.client_key) {
        (Some(cert), Some(key)) => {
            Some((read("--client-cert", cert)?, Secret::new(text("--client-key", key)?)))
        }
        _ => None,
    };
    let options = ConnectOptions {
        url: connection.server.clone(),
        token: token.map(|token| Secret::new(token.trim())),
        ca,
        identity,
        insecure: connection.insecure,
    };
    // Fails only when another provider was installed before, which then serves as well.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    // The server carries it into runs and assignments.
    let traceparent = s3sync_telemetry::traces::traceparent(&tracing::Span::current());
    let traceparent = traceparent.or_else(|| connection.traceparent.clone());
    let credentials = options.credentials().with_traceparent(traceparent);
    Ok(ApiClient::over(options.channel()?, credentials))
}

/// A random UUID (version 4, RFC 9562), for requests that may be repeated.
pub(crate) fn new_request_id() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let (one, two) = (new_request_id(), new_request_id());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{one}");
    }
}
