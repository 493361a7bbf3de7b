//! Pure. How an agent signs for an endpoint, and how to tell without a secret whether two endpoints are signed alike.

use sha2::{Digest, Sha256};

use super::Secret;

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
