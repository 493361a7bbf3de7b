//! Counts requests where they leave, whoever makes them: an interceptor of the SDK, for S3 and for SQS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use tokio::time::Instant;

use crate::metrics::{Direction, Requests, carries_object, operation};

/// See the module.
#[derive(Debug)]
pub(crate) struct Counted(Arc<Requests>);

/// A request from being sent to its end. It ends when this is dropped, also when nobody waits for its answer any more.
#[derive(Debug)]
struct Flight {
    requests: Arc<Requests>,
    operation: usize,
    began: Instant,
    /// 0 while there is no answer.
    status: AtomicU16,
}

impl Counted {
    pub(crate) fn new(requests: Arc<Requests>) -> Self {
        Self(requests)
    }
}

impl Storable for Flight {
    type Storer = StoreReplace<Self>;
}

impl Drop for Flight {
    fn drop(&mut self) {
        let status = Some(self.status.load(Ordering::Relaxed)).filter(|status| *status > 0);
        self.requests.ended(self.operation, status, self.began.elapsed());
    }
}

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = operation(config.load::<Metadata>().map_or("", Metadata::name));
        if carries_object(operation) == Some(Direction::Sent) {
            // Bodies in trailers' framing are longer than the object.
            let headers = context.request().headers();
            let length = headers.get("x-amz-decoded-content-length");
            let length = length.or_else(|| headers.get("content-length"));
            let bytes = length.and_then(|length| length.parse().ok()).unwrap_or_default();
            self.0.body(Direction::Sent, bytes);
        }
        self.0.sent();
        let requests = Arc::clone(&self.0);
        let flight =
            Flight { requests, operation, began: Instant::now(), status: AtomicU16::new(0) };
        config.interceptor_state().store_put(flight);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response: &HttpResponse = context.response();
        let status = response.status().as_u16();
        if let Some(flight) = config.load::<Flight>() {
            flight.status.store(status, Ordering::Relaxed);
            if carries_object(flight.operation) == Some(Direction::Received) && status < 300 {
                let length = response.headers().get("content-length");
                let bytes = length.and_then(|length| length.parse().ok()).unwrap_or_default();
                self.0.body(Direction::Received, bytes);
            }
        }
        Ok(())
    }
}
