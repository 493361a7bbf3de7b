//! The span of what is done for one key. There are very many, so most are not made (`s3sync_telemetry::traces::whole`).

use opentelemetry::KeyValue;
use s3sync_proto::model::Key;
use s3sync_telemetry::traces::{self, Told};
use tracing::Instrument as _;

use crate::scan::frontier::Settled;

/// Attribute with the key, without prefix. Left out of traces unless it is allowed there.
pub(crate) const KEY: &str = "key";

/// Why a key is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// A listing told it to differ.
    Listed,
    /// It was named.
    Named,
}

/// Settles a key in its span.
pub(super) async fn settle(
    why: Why,
    key: &Key,
    work: impl Future<Output = Option<Settled>>,
) -> Option<Settled> {
    // For logs that are as fine.
    let (name, span) = match why {
        Why::Listed => ("copy", tracing::debug_span!("copy", %key)),
        Why::Named => ("key", tracing::debug_span!("key", %key)),
    };
    // Boxed, since it is large and passed through several futures.
    traces::whole(
        Box::pin(work.instrument(span)),
        |settled| Some(settled.as_ref()?.failure.as_ref()?.code.as_str()),
        |_| Told {
            name: name.into(),
            call: false,
            attributes: vec![KeyValue::new(KEY, key.to_string())],
        },
    )
    .await
}
