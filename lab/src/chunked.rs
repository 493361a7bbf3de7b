//! The `aws-chunked` encoding: chunks with a size, maybe a signature each, maybe a trailer with a checksum
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).

use bytes::{Bytes, BytesMut};

use crate::auth::Signer;
use crate::error::{S3Error, S3Result};

/// A decoded body and its trailers.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) body: Bytes,
    pub(crate) trailers: Vec<(String, String)>,
}

/// Decodes a body. With `signer`, each chunk and the trailer must be signed.
pub(crate) fn decode(raw: &Bytes, mut signer: Option<Signer>) -> S3Result<Decoded> {
    let mut body = BytesMut::with_capacity(raw.len());
    let mut at = 0;
    loop {
        let line = line(raw, &mut at)?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let size =
            usize::from_str_radix(size.trim(), 16).map_err(|_| S3Error::incomplete_body())?;
        let end = at.checked_add(size).ok_or_else(S3Error::incomplete_body)?;
        let data = raw.get(at..end).ok_or_else(S3Error::incomplete_body)?;
        if let Some(signer) = &mut signer {
            let given =
                extension.strip_prefix("chunk-signature=").ok_or_else(S3Error::signature)?;
            signer.verify_chunk(data, given.trim())?;
        }
        body.extend_from_slice(data);
        at = end;
        if size == 0 {
            break;
        }
        if raw.get(at..at + 2) != Some(b"\r\n") {
            return Err(S3Error::incomplete_body());
        }
        at += 2;
    }
    let trailers = trailers(raw, at, signer.as_mut())?;
    Ok(Decoded { body: body.freeze(), trailers })
}

fn trailers(
    raw: &Bytes,
    mut at: usize,
    signer: Option<&mut Signer>,
) -> S3Result<Vec<(String, String)>> {
    let mut trailers = Vec::new();
    let mut signed = String::new();
    let mut signature = None;
    while at < raw.len() {
        let line = line(raw, &mut at)?;
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim().to_lowercase(), value.trim().to_owned());
        if name == "x-amz-trailer-signature" {
            signature = Some(value);
        } else {
            signed.push_str(&format!("{name}:{value}\n"));
            trailers.push((name, value));
        }
    }
    if let (Some(signer), false) = (signer, trailers.is_empty()) {
        signer.verify_trailer(&signed, signature.as_deref().unwrap_or_default())?;
    }
    Ok(trailers)
}

fn line<'a>(raw: &'a Bytes, at: &mut usize) -> S3Result<&'a str> {
    let rest = &raw[(*at).min(raw.len())..];
    let end =
        rest.windows(2).position(|two| two == b"\r\n").ok_or_else(S3Error::incomplete_body)?;
    *at += end + 2;
    std::str::from_utf8(&rest[..end]).map_err(|_| S3Error::incomplete_body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::example_signer;

    #[test]
    fn chunks_and_trailers_are_taken_apart() {
        let raw = Bytes::from_static(
            b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n",
        );
        let decoded = decode(&raw, None).unwrap();
        assert_eq!(&decoded.body[..], b"hello!");
        assert_eq!(decoded.trailers, [("x-amz-checksum-crc32".to_owned(), "AAAA".to_owned())]);
    }

    const CHUNKS: [(usize, &str); 3] = [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1_024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ];

    /// The body of AWS's published example of a chunked upload.
    fn example(chunks: &[(usize, &str)]) -> Bytes {
        let chunk = |(size, signature): &(usize, &str)| {
            format!("{size:x};chunk-signature={signature}\r\n{}\r\n", "a".repeat(*size))
        };
        Bytes::from(chunks.iter().map(chunk).collect::<String>())
    }

    #[test]
    fn signed_chunks_are_those_of_the_published_example() {
        let decoded = decode(&example(&CHUNKS), Some(example_signer())).unwrap();
        assert_eq!(decoded.body, "a".repeat(66_560));
    }

    #[test]
    fn each_chunk_must_be_signed_and_in_its_place() {
        let [first, second, last] = CHUNKS;
        for chunks in
            [[second, first, last], [first, (1_023, second.1), last], [first, second, (0, first.1)]]
        {
            let refused = decode(&example(&chunks), Some(example_signer())).unwrap_err();
            assert_eq!(refused, S3Error::signature());
        }
        let unsigned = Bytes::from_static(b"0\r\n\r\n");
        assert_eq!(decode(&unsigned, Some(example_signer())).unwrap_err(), S3Error::signature());
    }

    #[test]
    fn a_trailer_must_be_signed_when_chunks_are() {
        let mut raw = example(&CHUNKS).to_vec();
        raw.truncate(raw.len() - 2);
        raw.extend_from_slice(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        let with = |signature: &str| {
            let trailer = format!("x-amz-trailer-signature:{signature}\r\n\r\n");
            decode(
                &Bytes::from([raw.as_slice(), trailer.as_bytes()].concat()),
                Some(example_signer()),
            )
        };
        assert_eq!(with(CHUNKS[0].1).unwrap_err(), S3Error::signature());
        assert_eq!(
            decode(&Bytes::from(raw.clone()), Some(example_signer())).unwrap_err(),
            S3Error::signature()
        );
    }

    #[test]
    fn a_body_that_ends_early_is_refused() {
        for cut in
            ["5\r\nhel", "5\r\nhello\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "ffffffffffffffff\r\n", ""]
        {
            let raw = Bytes::copy_from_slice(cut.as_bytes());
            assert_eq!(decode(&raw, None).unwrap_err(), S3Error::incomplete_body(), "{cut:?}");
        }
    }
}
