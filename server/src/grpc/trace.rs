//! W3C trace context: taken from a call's metadata, carried into runs and assignments.

use tonic::metadata::MetadataMap;

/// Longest trace context that is taken: version 00 has 55 characters.
const TRACEPARENT_CHARS: usize = 55;

/// The span of a call.
pub(super) fn span(request: &http::Request<()>) -> tracing::Span {
    let traceparent = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    tracing::info_span!("rpc", method = request.uri().path(), traceparent)
}

/// The call's trace context, or a new one when it has none or a malformed one
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub(super) fn traceparent(metadata: &MetadataMap) -> String {
    let given = metadata.get("traceparent").and_then(|value| value.to_str().ok());
    match given.filter(|text| is_valid(text)) {
        Some(text) => text.to_owned(),
        None => format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..)),
    }
}

fn is_valid(text: &str) -> bool {
    let hex = |part: &str, chars: usize| {
        part.len() == chars
            && part.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            && (chars == 2 || part.chars().any(|c| c != '0'))
    };
    let parts: Vec<&str> = text.split('-').collect();
    text.len() == TRACEPARENT_CHARS
        && matches!(parts[..], ["00", trace, span, flags] if hex(trace, 32) && hex(span, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_context_is_kept_and_a_bad_one_replaced() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut metadata = MetadataMap::new();
        metadata.insert("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&metadata), good);
        for bad in [
            "",
            "00-0-0-01",
            &good.replace('a', "G"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            metadata.insert("traceparent", bad.parse().unwrap());
            let made = traceparent(&metadata);
            assert_ne!(made, bad);
            assert!(is_valid(&made), "{made}");
        }
    }
}
