//! AWS Signature Version 4, verified
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};

use crate::clock::now;
use crate::error::{S3Error, S3Result};
use crate::text::{hex, uri_decode, uri_encode};

/// Block size of SHA-256 in bytes, for HMAC (RFC 2104).
const BLOCK: usize = 64;

/// How far a request's time may be from ours, in seconds (S3 User Guide, "RequestTimeTooSkewed").
const MAX_SKEW: i64 = 15 * 60;

/// What a signature covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    /// Path as it was sent.
    pub(crate) path: &'a str,
    /// Decoded names and values.
    pub(crate) query: &'a [(String, String)],
    pub(crate) headers: &'a HeaderMap,
    /// What stands for the body: its SHA-256, or what the client says instead.
    pub(crate) payload: &'a str,
}

/// Who may sign, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    /// Secrets by access key.
    pub(crate) secrets: &'a BTreeMap<String, String>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// Who signed, and what later chunks are signed with.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    signature: String,
    signing_key: [u8; 32],
    timestamp: String,
    scope: String,
}

/// Verifies a request's signature.
pub(crate) fn verify(request: Signed<'_>, keys: Keys<'_>) -> S3Result<Signer> {
    let header = text(request.headers, "authorization").ok_or_else(S3Error::access_denied)?;
    let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(S3Error::access_denied)?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name))
            .ok_or_else(S3Error::malformed_authorization)
    };
    let (credential, signed, given) =
        (field("Credential=")?, field("SignedHeaders=")?, field("Signature=")?);
    let (access_key, scope) =
        credential.split_once('/').ok_or_else(S3Error::malformed_authorization)?;
    let secret = keys.secrets.get(access_key).ok_or_else(S3Error::invalid_access_key)?;
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, region, service, "aws4_request"] = parts[..] else {
        return Err(S3Error::malformed_authorization());
    };
    let timestamp = text(request.headers, "x-amz-date").ok_or_else(S3Error::access_denied)?;
    if region != keys.region || service != keys.service || !timestamp.starts_with(date) {
        return Err(S3Error::malformed_authorization());
    }
    in_time(timestamp)?;
    let canonical = canonical_request(request, signed)?;
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let signing_key = signing_key(secret, date, region, service);
    let signature = hex(&hmac(&signing_key, to_sign.as_bytes()));
    if signature != given {
        return Err(S3Error::signature());
    }
    Ok(Signer { signature, signing_key, timestamp: timestamp.to_owned(), scope: scope.to_owned() })
}

fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> [u8; 32] {
    let first = hmac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    let parts = [region, service, "aws4_request"];
    parts.iter().fold(first, |key, part| hmac(&key, part.as_bytes()))
}

/// The access key a request claims, also when its signature is wrong; for counting.
pub(crate) fn claimed_key(headers: &HeaderMap) -> String {
    let header = text(headers, "authorization").unwrap_or_default();
    let after = header.split("Credential=").nth(1).unwrap_or_default();
    after.split('/').next().unwrap_or_default().to_owned()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn in_time(timestamp: &str) -> S3Result<()> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", timestamp)
        .and_then(|time| jiff::tz::TimeZone::UTC.to_timestamp(time))
        .map_err(|_| S3Error::access_denied())?;
    let distance = time.as_second() - now().div_euclid(1_000_000);
    if distance.abs() > MAX_SKEW { Err(S3Error::time_skewed()) } else { Ok(()) }
}

impl Signer {
    /// Verifies the next chunk of a signed stream; its signature is the base of the one after it.
    pub(crate) fn verify_chunk(&mut self, data: &[u8], given: &str) -> S3Result<()> {
        let previous = &self.signature;
        let to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
            self.timestamp,
            self.scope,
            hex(&Sha256::digest(b"")),
            hex(&Sha256::digest(data))
        );
        self.accept(&to_sign, given)
    }

    /// Verifies the trailer of a signed stream.
    pub(crate) fn verify_trailer(&mut self, trailer: &str, given: &str) -> S3Result<()> {
        let previous = &self.signature;
        let digest = hex(&Sha256::digest(trailer.as_bytes()));
        let to_sign = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{previous}\n{digest}",
            self.timestamp, self.scope
        );
        self.accept(&to_sign, given)
    }

    fn accept(&mut self, to_sign: &str, given: &str) -> S3Result<()> {
        let signature = hex(&hmac(&self.signing_key, to_sign.as_bytes()));
        if signature != given {
            return Err(S3Error::signature());
        }
        self.signature = signature;
        Ok(())
    }
}

fn canonical_request(request: Signed<'_>, signed: &str) -> S3Result<Vec<u8>> {
    let names: Vec<&str> = signed.split(';').collect();
    // An unsigned one could be changed by anybody on the way; AWS refuses it as well.
    let must_be_signed = |name: &str| name == "host" || name.starts_with("x-amz-");
    let forgotten = request
        .headers
        .keys()
        .any(|name| must_be_signed(name.as_str()) && !names.contains(&name.as_str()));
    if forgotten {
        return Err(S3Error::access_denied());
    }
    let mut query: Vec<(String, String)> = request
        .query
        .iter()
        .map(|(name, value)| {
            (uri_encode(name.as_bytes(), false), uri_encode(value.as_bytes(), false))
        })
        .collect();
    query.sort();
    let query: Vec<String> =
        query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let path = uri_encode(&uri_decode(request.path), true);
    let mut canonical = format!("{}\n{path}\n{}\n", request.method, query.join("&")).into_bytes();
    for name in &names {
        let mut values =
            request.headers.get_all(*name).iter().map(|value| value.as_bytes()).peekable();
        values.peek().ok_or_else(S3Error::signature)?;
        canonical.extend_from_slice(name.as_bytes());
        let mut mark = b':';
        for value in values {
            canonical.push(mark);
            canonical.extend_from_slice(&single_spaced(value));
            mark = b',';
        }
        canonical.push(b'\n');
    }
    canonical.extend_from_slice(format!("\n{signed}\n{}", request.payload).as_bytes());
    Ok(canonical)
}

/// A header's value without spaces around it, and one where there are several.
fn single_spaced(value: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> =
        value.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner =
        Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Secret of AWS's published examples.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// Who signed the published example of a chunked upload
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
    pub(crate) fn example_signer() -> Signer {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        Signer {
            signature: seed.to_owned(),
            signing_key: signing_key(SECRET, "20130524", "us-east-1", "s3"),
            timestamp: "20130524T000000Z".to_owned(),
            scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        }
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac(b"Jefe", b"what do ya want for nothing?")), expected);
    }

    /// The example request of AWS (Signature Version 4, "GET Object").
    fn canonical(signed: &str) -> S3Result<Vec<u8>> {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", empty),
            ("x-amz-date", "20130524T000000Z"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let request = Signed {
            method: &Method::GET,
            path: "/test.txt",
            query: &[],
            headers: &headers,
            payload: empty,
        };
        canonical_request(request, signed)
    }

    #[test]
    fn the_canonical_request_is_that_of_the_published_example() {
        let bytes = canonical("host;range;x-amz-content-sha256;x-amz-date").unwrap();
        let expected = "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        assert_eq!(hex(&Sha256::digest(bytes)), expected);
    }

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let canonical = canonical("host;range;x-amz-content-sha256;x-amz-date").unwrap();
        let Signer { signing_key, timestamp, scope, .. } = example_signer();
        let digest = hex(&Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}");
        let expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert_eq!(hex(&hmac(&signing_key, to_sign.as_bytes())), expected);
    }

    #[test]
    fn what_matters_must_be_signed() {
        for signed in ["range;x-amz-content-sha256;x-amz-date", "host;range;x-amz-content-sha256"] {
            assert_eq!(canonical(signed).unwrap_err(), S3Error::access_denied(), "{signed}");
        }
    }

    #[test]
    fn an_old_request_is_refused() {
        assert_eq!(in_time("20130524T000000Z").unwrap_err(), S3Error::time_skewed());
        assert_eq!(in_time("yesterday").unwrap_err(), S3Error::access_denied());
    }
}
