//! AWS Signature Version 4, verified
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::error::{S3Error, S3Result};
use crate::request::Call;
use crate::text::{hex, uri_encode};

/// Block size of SHA-256 in bytes, for HMAC (RFC 2104).
const BLOCK: usize = 64;

/// Who signed, and what later chunks are signed with.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    signature: String,
    signing_key: [u8; 32],
    timestamp: String,
    scope: String,
}

/// Verifies a request's signature; `secrets` has the keys this endpoint knows.
pub(crate) fn verify(
    call: &Call,
    secrets: &BTreeMap<String, String>,
    region: &str,
) -> S3Result<Signer> {
    let header = call.header("authorization").ok_or_else(S3Error::access_denied)?;
    let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(S3Error::access_denied)?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name))
            .ok_or_else(S3Error::access_denied)
    };
    let (credential, signed, given) =
        (field("Credential=")?, field("SignedHeaders=")?, field("Signature=")?);
    let (access_key, scope) = credential.split_once('/').ok_or_else(S3Error::access_denied)?;
    let secret = secrets.get(access_key).ok_or_else(S3Error::invalid_access_key)?;
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, signed_region, service, "aws4_request"] = parts[..] else {
        return Err(S3Error::signature());
    };
    if signed_region != region {
        return Err(S3Error::signature());
    }
    let timestamp = call.header("x-amz-date").ok_or_else(S3Error::access_denied)?;
    let canonical = canonical_request(call, signed)?;
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut signing_key = hmac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    for part in [signed_region, service, "aws4_request"] {
        signing_key = hmac(&signing_key, part.as_bytes());
    }
    let signature = hex(&hmac(&signing_key, to_sign.as_bytes()));
    if signature != given {
        return Err(S3Error::signature());
    }
    Ok(Signer { signature, signing_key, timestamp: timestamp.to_owned(), scope: scope.to_owned() })
}

/// The access key a request claims, also when its signature is wrong; for counting.
pub(crate) fn claimed_key(call: &Call) -> String {
    let header = call.header("authorization").unwrap_or_default();
    let after = header.split("Credential=").nth(1).unwrap_or_default();
    after.split('/').next().unwrap_or_default().to_owned()
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

fn canonical_request(call: &Call, signed: &str) -> S3Result<String> {
    let path = uri_encode(&crate::text::uri_decode(&call.path), true);
    let mut query: Vec<String> = call
        .query
        .iter()
        .map(|(name, value)| {
            format!(
                "{}={}",
                uri_encode(name.as_bytes(), false),
                uri_encode(value.as_bytes(), false)
            )
        })
        .collect();
    query.sort();
    let mut headers = String::new();
    for name in signed.split(';') {
        let values: Vec<String> = call
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        if values.is_empty() {
            return Err(S3Error::signature());
        }
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let payload = call.header("x-amz-content-sha256").ok_or_else(S3Error::access_denied)?;
    Ok(format!("{}\n{path}\n{}\n{headers}\n{signed}\n{payload}", call.method, query.join("&")))
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
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac(b"Jefe", b"what do ya want for nothing?")), expected);
    }
}
