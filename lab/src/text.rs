//! Percent-encoding, XML and times, as S3 writes and reads them.

use std::fmt::Write as _;

/// Percent-encodes as SigV4 does: everything but unreserved characters, and `/` where it is a path.
pub(crate) fn uri_encode(bytes: &[u8], keep_slash: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if plain || (*byte == b'/' && keep_slash) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("a text takes everything");
        }
    }
    text
}

/// A key as listings have it with `encoding-type=url`: like a form, so a space is `+`.
pub(crate) fn form_encode(bytes: &[u8]) -> String {
    uri_encode(bytes, true).replace("%20", "+")
}

/// Undoes percent-encoding; `+` stays `+`, as in a path.
pub(crate) fn uri_decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// Text for XML 1.0. Characters it cannot carry are written as references, as S3 does.
pub(crate) fn xml_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {
                write!(out, "&#x{:x};", u32::from(c)).expect("a text takes everything")
            }
            c => out.push(c),
        }
    }
    out
}

/// An ETag as headers and XML have it.
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// One element.
pub(crate) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", xml_escape(text))
}

/// The texts of every element of that name, unescaped. Enough for the bodies that clients send, which are flat.
pub(crate) fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find(&open) {
        let inner = &rest[start + open.len()..];
        let Some(end) = inner.find(&close) else { break };
        found.push(&inner[..end]);
        rest = &inner[end + close.len()..];
    }
    found
}

/// Undoes XML escapes.
pub(crate) fn xml_unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find(';') else {
            out.push_str(&rest[start..]);
            return out;
        };
        let name = &rest[start + 1..start + end];
        let code =
            |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        match name {
            "amp" => out.push('&'),
            "lt" => out.push('<'),
            "gt" => out.push('>'),
            "quot" => out.push('"'),
            "apos" => out.push('\''),
            _ => {
                let hex = name.strip_prefix("#x").and_then(|digits| code(digits, 16));
                let decimal = name.strip_prefix('#').and_then(|digits| code(digits, 10));
                out.extend(hex.or(decimal));
            }
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    out
}

/// A time in headers (RFC 9110, section 5.6.7).
pub(crate) fn http_date(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A time in XML. S3 keeps whole seconds and still writes the fraction.
pub(crate) fn xml_date(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_their_encodings() {
        let odd = "a b/ü+%&<>\"'\u{1}\r\n?#";
        assert_eq!(xml_unescape(&xml_escape(odd)), odd);
        assert_eq!(uri_decode(&uri_encode(odd.as_bytes(), true)), odd.as_bytes());
        assert_eq!(form_encode(b"a b+c/d"), "a+b%2Bc/d");
        assert_eq!(elements("<a><k>1</k><k>2&amp;</k></a>", "k"), ["1", "2&amp;"]);
    }

    #[test]
    fn times_have_the_shape_clients_expect() {
        assert_eq!(http_date(1_700_000_000_123_000), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(xml_date(1_700_000_000_123_000), "2023-11-14T22:13:20.000Z");
    }
}
