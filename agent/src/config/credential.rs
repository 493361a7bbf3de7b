//! Pure. How an agent signs for an endpoint, and how to tell without a secret whether two endpoints are signed alike.

use s3sync_proto::client::Secret;
use sha2::{Digest, Sha256};

/// What fingerprints are made with, so that they are of no use to compare with digests made elsewhere.
const FINGERPRINT_SALT: &[u8] = b"s3sync credential fingerprint 1\0";

/// Length of a fingerprint in hexadecimal digits: enough that two credentials never share one by chance.
const FINGERPRINT_CHARS: usize = 16;

/// Where an endpoint's credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A profile of the AWS configuration files.
    Profile(String),
    /// Keys.
    Keys {
        /// Access key id. Not a secret: it travels with every request.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: Secret,
        /// Session token of keys that expire.
        session_token: Option<Secret>,
    },
    /// A role to assume with the credential of the SDK's chain.
    Role {
        /// ARN of the role.
        arn: String,
        /// External id the role asks for.
        external_id: Option<String>,
        /// Name of the sessions; `None` for `s3sync`.
        session_name: Option<String>,
    },
    /// The SDK's chain: environment, profile, web identity, container, instance.
    Chain,
}

impl Credential {
    /// The kind, as it is shown.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Profile(_) => "profile",
            Self::Keys { .. } => "keys",
            Self::Role { .. } => "role",
            Self::Chain => "chain",
        }
    }

    /// Equal for credentials that sign as the same identity, as far as their settings tell. Made of names only, none
    /// of them secret, and there is no way back from it even to those.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let identity: [&str; 2] = match self {
            Self::Profile(name) => [name, ""],
            Self::Keys { access_key_id, .. } => [access_key_id, ""],
            Self::Role { arn, external_id, session_name: _ } => {
                [arn, external_id.as_deref().unwrap_or_default()]
            }
            Self::Chain => ["", ""],
        };
        let mut digest = Sha256::new_with_prefix(FINGERPRINT_SALT);
        for part in [self.kind()].into_iter().chain(identity) {
            // The length keeps "ab" + "c" and "a" + "bc" apart.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let hex = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        hex[..FINGERPRINT_CHARS].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, secret: &str) -> Credential {
        Credential::Keys {
            access_key_id: id.into(),
            secret_access_key: Secret::new(secret),
            session_token: None,
        }
    }

    #[test]
    fn fingerprints_tell_identities_apart_and_hide_them() {
        let role = |arn: &str, external: Option<&str>, session: Option<&str>| Credential::Role {
            arn: arn.into(),
            external_id: external.map(str::to_owned),
            session_name: session.map(str::to_owned),
        };
        let distinct = [
            keys("AKIA1", "s1"),
            keys("AKIA2", "s1"),
            Credential::Profile("AKIA1".into()),
            role("arn", None, None),
            role("ar", Some("n"), None),
            Credential::Chain,
        ];
        let prints: std::collections::BTreeSet<_> =
            distinct.iter().map(Credential::fingerprint).collect();
        assert_eq!(prints.len(), distinct.len());
        assert!(prints.iter().all(|print| print.len() == FINGERPRINT_CHARS));
        // Neither the secret nor the name of the session is part of the identity.
        assert_eq!(keys("AKIA1", "s1").fingerprint(), keys("AKIA1", "s2").fingerprint());
        assert_eq!(role("a", None, Some("x")).fingerprint(), role("a", None, None).fingerprint());
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", keys("AKIA1", "very-secret"));
        assert!(shown.contains("AKIA1") && !shown.contains("very-secret"), "{shown}");
    }
}
