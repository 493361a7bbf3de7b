//! What answers say of the endpoint's clock, against this machine's. Only shown: signing has its own ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::clock;

/// No answer has told its time yet.
const UNKNOWN: i64 = i64::MIN;

/// Seconds by which the endpoint's clock is ahead. Shared by all that use one client.
#[derive(Clone, Debug)]
pub(super) struct EndpointClock(Arc<AtomicI64>);

impl EndpointClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }

    /// By how many seconds it is ahead, as of the last answer.
    pub(super) fn ahead(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }
}

impl Intercept for EndpointClock {
    fn name(&self) -> &'static str {
        "EndpointClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let told = context.response().headers().get("date");
        let told = told.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        if let Some(told) = told {
            let here = clock::now().as_micros().div_euclid(1_000_000);
            self.0.store(told.secs().saturating_sub(here), Ordering::Relaxed);
        }
        Ok(())
    }
}
