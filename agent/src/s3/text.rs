//! Pure. How S3 writes keys, ETags and metadata where they are not plain bytes: in listings, headers and copy sources.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use s3sync_proto::model::Key;

/// What `x-amz-copy-source` carries as it is: the unreserved characters of RFC 3986 and the separator.
const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Longest encoded word (RFC 2047, section 2) without its frame `=?UTF-8?B??=`, in bytes before base64.
const WORD_BYTES: usize = 45;

/// A key as a listing with `encoding-type=url` writes it: as in a form, so `+` is a space.
pub(super) fn listed_key(text: &str) -> Key {
    let spaced = text.replace('+', " ");
    Key::from(percent_decode(spaced.as_bytes()).collect::<Vec<u8>>())
}

/// The value of `x-amz-copy-source`.
pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", utf8_percent_encode(key, COPY_SOURCE))
}

/// An ETag without its quotes.
pub(super) fn bare_etag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// An ETag as conditions carry it.
pub(super) fn quoted_etag(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// Whether `x-amz-restore` says that a restored copy can be read.
pub(super) fn is_restored(value: &str) -> bool {
    value.contains("ongoing-request=\"false\"")
}

/// `Content-Encoding` without `aws-chunked`, which is about the request that wrote the object and which some servers
/// store all the same. `None` when nothing is left.
pub(super) fn stored_encoding(value: &str) -> Option<String> {
    let kept: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// A metadata value as a header carries it. S3 decodes what is encoded as in RFC 2047 before it stores it (User
/// Guide, "User-defined object metadata").
pub(super) fn metadata_to_header(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(WORD_BYTES);
        let (word, after) = rest.split_at(end);
        words.push(format!("=?UTF-8?B?{}?=", BASE64.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// A metadata value from a header. S3 encodes only what is not ASCII, so a text that merely looks encoded stays.
pub(super) fn metadata_from_header(value: &str) -> String {
    let decoded = decode_words(value);
    match decoded {
        Some(decoded) if !decoded.is_ascii() => decoded,
        _ => value.to_owned(),
    }
}

/// The text with all encoded words decoded; white space between two of them is no part of it (RFC 2047, section 6.2).
/// `None` when there is none, or one that cannot be decoded.
fn decode_words(value: &str) -> Option<String> {
    let mut text: Vec<u8> = Vec::new();
    let mut rest = value;
    let mut after_word = false;
    let mut any = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        if !(after_word && before.trim().is_empty()) {
            text.extend_from_slice(before.as_bytes());
        }
        let (decoded, length) = decode_word(word)?;
        text.extend(decoded);
        rest = &word[length..];
        (after_word, any) = (true, true);
    }
    text.extend_from_slice(rest.as_bytes());
    // Words may be cut inside of a character, so only the whole must be text.
    if any { String::from_utf8(text).ok() } else { None }
}

/// The bytes of the encoded word that `text` begins with, and its length.
fn decode_word(text: &str) -> Option<(Vec<u8>, usize)> {
    let mut fields = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let end = rest.find("?=")?;
    let payload = &rest[..end];
    let bytes = match encoding {
        "B" | "b" => BASE64.decode(payload).ok()?,
        "Q" | "q" => decode_q(payload)?,
        _ => return None,
    };
    let bytes = if charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
    {
        bytes
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        bytes.into_iter().map(char::from).collect::<String>().into_bytes()
    } else {
        return None;
    };
    Some((bytes, "=?".len() + charset.len() + 1 + encoding.len() + 1 + end + "?=".len()))
}

fn decode_q(payload: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(payload.len());
    let mut rest = payload.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'_' => bytes.push(b' '),
            b'=' => {
                let hex = std::str::from_utf8(rest.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listed_keys_are_decoded_to_bytes() {
        let cases: [(&str, &[u8]); 5] = [
            ("a/b-c", b"a/b-c"),
            ("a+b%2Bc%25", b"a b+c%"),
            ("cr%0D%0Anl", b"cr\r\nnl"),
            ("%C3%BC", "ü".as_bytes()),
            ("%FF%00", &[0xff, 0]),
        ];
        for (text, bytes) in cases {
            assert_eq!(listed_key(text).as_bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn copy_sources_escape_all_but_the_separator() {
        assert_eq!(copy_source("b", "/a b/+ü%//."), "b//a%20b/%2B%C3%BC%25//.");
    }

    #[test]
    fn aws_chunked_is_no_encoding_of_the_object() {
        assert_eq!(stored_encoding("aws-chunked"), None);
        assert_eq!(stored_encoding("gzip, aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(stored_encoding("AWS-Chunked,br,gzip").as_deref(), Some("br, gzip"));
        assert_eq!(stored_encoding(""), None);
    }

    #[test]
    fn metadata_is_decoded_as_s3_and_others_encode_it() {
        let cases = [
            ("plain", "plain"),
            ("=?UTF-8?B?w7w=?=", "ü"),
            ("=?utf-8?q?=C3=BC_x?=", "ü x"),
            ("a =?UTF-8?Q?=C3=BC?= b", "a ü b"),
            ("=?UTF-8?B?ww==?= =?UTF-8?B?vA==?=", "ü"),
            ("=?ISO-8859-1?Q?=FC?=", "ü"),
            // Not decodable, or nothing that S3 would have encoded: left as it is.
            ("=?UTF-8?Q?abc?=", "=?UTF-8?Q?abc?="),
            ("=?UTF-8?B?***?=", "=?UTF-8?B?***?="),
            ("=?koi8-r?B?w7w=?=", "=?koi8-r?B?w7w=?="),
            ("=?", "=?"),
            ("=?UTF-8?Q?=", "=?UTF-8?Q?="),
            ("=?UTF-8?Q?=C?=", "=?UTF-8?Q?=C?="),
        ];
        for (header, value) in cases {
            assert_eq!(metadata_from_header(header), value);
        }
    }

    proptest! {
        #[test]
        fn metadata_survives_its_header(value in "[ -~äöü€𝄞]{0,200}") {
            let header = metadata_to_header(&value);
            prop_assert!(header.is_ascii());
            prop_assert!(header.split(' ').all(|w| !w.starts_with("=?UTF-8?B?") || w.len() <= 75 || value.is_ascii()));
            if !value.is_ascii() {
                prop_assert_eq!(metadata_from_header(&header), value);
            }
        }

        #[test]
        fn any_header_can_be_read(header in ".*") {
            metadata_from_header(&header);
        }
    }
}
