//! From a configured credential to a provider of the SDK.

use std::fmt;

use aws_config::BehaviorVersion;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, future::ProvideCredentials as Provided,
};
use aws_sdk_s3::config::Region;
use tokio::sync::OnceCell;

use crate::config::Credential;

/// Name of the sessions of assumed roles, unless the configuration says another: what CloudTrail shows.
const SESSION_NAME: &str = "s3sync";

/// Name that credentials from our own configuration have in the SDK.
const PROVIDER: &str = "s3sync";

/// The provider of a credential for requests to `region`.
pub(crate) fn provider(credential: &Credential, region: Region) -> SharedCredentialsProvider {
    match credential {
        Credential::Keys { access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_ref().map(|token| token.reveal().to_owned());
            let secret = secret_access_key.reveal();
            SharedCredentialsProvider::new(Credentials::new(
                access_key_id,
                secret,
                token,
                None,
                PROVIDER,
            ))
        }
        // Not through the SDK's chain: there keys in the environment win over a profile that was asked for.
        Credential::Profile(name) => SharedCredentialsProvider::new(
            ProfileFileCredentialsProvider::builder()
                .configure(&provider_config(region))
                .profile_name(name)
                .build(),
        ),
        Credential::Role { .. } | Credential::Chain => SharedCredentialsProvider::new(Lazy {
            credential: credential.clone(),
            region,
            made: OnceCell::new(),
        }),
    }
}

/// A provider that can only be made in a future; made when it is first asked.
struct Lazy {
    credential: Credential,
    region: Region,
    made: OnceCell<SharedCredentialsProvider>,
}

impl Lazy {
    async fn make(&self) -> SharedCredentialsProvider {
        let region = self.region.clone();
        let Credential::Role { arn, external_id, session_name } = &self.credential else {
            let chain = DefaultCredentialsChain::builder()
                .configure(provider_config(region.clone()))
                .region(region);
            return SharedCredentialsProvider::new(chain.build().await);
        };
        // The region decides where STS is asked: roles of China are known only there.
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region.clone());
        let session_name = session_name.as_deref().unwrap_or(SESSION_NAME);
        let mut role = AssumeRoleProvider::builder(arn)
            .configure(&sdk.load().await)
            .region(region)
            .session_name(session_name);
        if let Some(external_id) = external_id {
            role = role.external_id(external_id);
        }
        SharedCredentialsProvider::new(role.build().await)
    }
}

impl ProvideCredentials for Lazy {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(async move {
            let provider = self.made.get_or_init(|| Box::pin(self.make())).await;
            provider.provide_credentials().await
        })
    }
}

impl fmt::Debug for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("kind", &self.credential.kind()).finish_non_exhaustive()
    }
}

fn provider_config(region: Region) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_region(Some(region))
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
}
