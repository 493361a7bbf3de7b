//! `explain`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use s3sync_proto::client::ApiClient;
use s3sync_proto::model::{Key, Name};

use crate::Terminal;
use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::render;

/// What a key in full begins with.
const URL: &[u8] = b"s3://";

pub(crate) async fn run(
    client: &mut ApiClient,
    job: &Name,
    key: &OsStr,
    encoded: bool,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let (bucket, key) =
        key_of(key.as_bytes(), encoded).map_err(|problem| Failure::new(Exit::Usage, problem))?;
    let explanation = client.explain_key(job, &key, bucket.as_deref()).await?;
    terminal.out.write_all(render::explanation(&explanation, output).as_bytes())?;
    let looked = explanation.destinations.iter().all(|one| one.found.is_ok());
    Ok(if looked { Exit::Done } else { Exit::Precondition })
}

/// The key that is meant, and its bucket when it is one in full.
pub(crate) fn key_of(text: &[u8], encoded: bool) -> Result<(Option<String>, Key), String> {
    let (bucket, key) = match text.strip_prefix(URL) {
        None => (None, text),
        Some(rest) => {
            let slash = rest.iter().position(|byte| *byte == b'/');
            let (bucket, key) = match slash {
                Some(at) if at > 0 => (&rest[..at], &rest[at + 1..]),
                _ => return Err("a key in full is written s3://BUCKET/KEY".to_owned()),
            };
            let bucket = std::str::from_utf8(bucket)
                .map_err(|_| "the bucket's name is not UTF-8".to_owned())?;
            (Some(bucket.to_owned()), key)
        }
    };
    let key = if encoded { decoded(key)? } else { key.to_vec() };
    Ok((bucket, Key::from(key)))
}

/// Takes each `%XX` for the byte it stands for. Nothing else is special: `+` is itself.
fn decoded(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let digits = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let Some(byte) = byte else {
            let at = text.len() - rest.len();
            return Err(format!(
                "with --encoded, % must be followed by two hex digits (at byte {at}); % itself is written %25"
            ));
        };
        bytes.push(byte);
        rest = &after[2..];
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_as_it_is_or_encoded_without_prefix_or_in_full() {
        let of = |text: &[u8], encoded| {
            key_of(text, encoded).map(|(bucket, key)| (bucket, key.as_bytes().to_vec()))
        };
        let bucket = Some("b".to_owned());
        assert_eq!(of(b"a b/+%41", false), Ok((None, b"a b/+%41".to_vec())));
        assert_eq!(of(b"a%20b/+%41%25", true), Ok((None, b"a b/+A%".to_vec())));
        assert_eq!(of(b"\xff", false), Ok((None, vec![0xff])));
        assert_eq!(of(b"%fF%00", true), Ok((None, vec![0xff, 0])));
        assert_eq!(of(b"s3://b//k/", false), Ok((bucket.clone(), b"/k/".to_vec())));
        assert_eq!(of(b"s3://b/%2f", true), Ok((bucket.clone(), b"/".to_vec())));
        assert_eq!(of(b"s3://b/", false), Ok((bucket, Vec::new())));
        // How a key that looks like one in full is written.
        assert_eq!(of(b"s3%3A//b/k", true), Ok((None, b"s3://b/k".to_vec())));
        for bad in ["s3://", "s3:///k", "s3://b"] {
            assert!(of(bad.as_bytes(), false).unwrap_err().contains("s3://BUCKET/KEY"), "{bad}");
        }
        for (bad, at) in [("ab%", 2), ("%4", 0), ("x%zz", 1), ("%%20", 0), ("%+1", 0)] {
            let problem = of(bad.as_bytes(), true).unwrap_err();
            assert!(problem.contains(&format!("(at byte {at})")), "{bad}: {problem}");
        }
    }
}
