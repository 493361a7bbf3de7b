//! The span of what is done for one key. There are very many, so most are not delivered.

use s3sync_proto::model::Key;
use s3sync_telemetry::traces;
use tracing::{Instrument as _, Span};

use crate::scan::frontier::Settled;

/// Names of such spans.
pub(crate) const SPANS: [&str; 2] = ["copy", "key"];

/// Field with the key, without prefix. Left out of traces unless it is allowed there.
pub(crate) const KEY: &str = "key";

/// The span of a key that a listing told to differ.
pub(super) fn copy(key: &Key) -> Span {
    tracing::debug_span!("copy", %key)
}

/// The span of a key that is looked at by its name.
pub(super) fn named(key: &Key) -> Span {
    tracing::debug_span!("key", %key)
}

/// Settles a key in its span.
pub(super) async fn settle(
    span: Span,
    work: impl Future<Output = Option<Settled>>,
) -> Option<Settled> {
    traces::is_detail(&span);
    let settled = work.instrument(span.clone()).await;
    if let Some(failure) = settled.as_ref().and_then(|settled| settled.failure.as_ref()) {
        traces::failed(&span, &failure.code);
    }
    settled
}
