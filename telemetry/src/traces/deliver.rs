//! Delivers spans to a collector. One that is away costs a bounded queue, and is said once, not with each attempt.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter as Otlp, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::settings::Settings;
use crate::otlp::{http_client, tls};

/// Delivers, and says of failures only that they began and that they are over.
#[derive(Debug)]
pub(super) struct Deliver<E> {
    inner: E,
    /// Spans that were lost since the collector was last reached.
    lost: AtomicU64,
}

/// The exporter of these settings, which else reads the `OTEL_EXPORTER_OTLP_*` variables itself. Must be called where a
/// runtime is entered.
pub(super) fn exporter(settings: &Settings) -> Result<Deliver<Otlp>, ExporterBuildError> {
    let inner = if settings.grpc {
        let mut builder = Otlp::builder().with_tonic();
        if settings.tls {
            builder = builder.with_tls_config(tls(settings.authorities.as_deref())?);
        }
        builder.build()?
    } else {
        let mut builder = Otlp::builder().with_http();
        let authorities = settings.authorities.as_deref();
        if let Some(client) = http_client(settings.tls, authorities, settings.timeout)? {
            builder = builder.with_http_client(client);
        }
        builder.build()?
    };
    Ok(Deliver { inner, lost: AtomicU64::new(0) })
}

impl<E: SpanExporter> SpanExporter for Deliver<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match self.inner.export(batch).await {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::info!(lost, "traces are delivered again");
                }
            }
            Err(error) => {
                if self.lost.fetch_add(count, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "traces cannot be delivered; they are dropped until they can");
                }
            }
        }
        // Said already; the library would say it again each time.
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;
    use crate::logs::tests::logged_as_text;

    /// A collector that can be away.
    #[derive(Debug, Default)]
    struct Collector {
        away: AtomicBool,
    }

    impl SpanExporter for Collector {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            match self.away.load(Ordering::Relaxed) {
                true => Err(OTelSdkError::InternalFailure("connection refused".to_owned())),
                false => Ok(()),
            }
        }
    }

    #[test]
    fn a_collector_that_is_away_is_told_of_once_and_again_when_it_is_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let deliver = Deliver { inner: Collector::default(), lost: AtomicU64::new(0) };
        let span = super::super::keep::tests::span(1, 1, true);
        let batch = || vec![span.clone(), span.clone()];
        let attempt = || runtime.block_on(deliver.export(batch())).unwrap();
        let log = logged_as_text(|| {
            attempt();
            for _ in 0..2 {
                deliver.inner.away.store(true, Ordering::Relaxed);
                (0..50).for_each(|_| attempt());
                deliver.inner.away.store(false, Ordering::Relaxed);
                (0..50).for_each(|_| attempt());
            }
        });
        assert_eq!(log.lines().count(), 4, "{log}");
        assert_eq!(log.matches("connection refused").count(), 2, "{log}");
        assert_eq!(log.matches("delivered again lost=100").count(), 2, "{log}");
    }
}
