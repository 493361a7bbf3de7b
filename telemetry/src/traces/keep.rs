//! Which spans are delivered. A trace is chosen where it begins, and of a chosen one all spans are delivered. Those of
//! single objects and requests choose themselves (`detail`), some of them in traces that were not chosen: with these
//! goes what of this process stands above them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceFlags, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler as SdkSampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData,
    SpanProcessor,
};

use super::settings::Sampler;

/// Of how many traces that were not chosen it is remembered that something was delivered.
const MAX_NOTED: usize = 256;

/// Chooses traces; see the module.
#[derive(Clone, Debug)]
pub(super) struct Choose {
    inner: SdkSampler,
    /// Spans of traces that are not chosen are recorded: one that fails is delivered.
    record: bool,
}

/// Delivers some of the spans that end; see the module.
#[derive(Debug)]
pub(super) struct Keep<P> {
    /// What delivers; it knows the resource already.
    next: Arc<P>,
    private: &'static [&'static str],
    /// Traces that were not chosen and of which something was delivered.
    noted: Arc<Mutex<VecDeque<TraceId>>>,
}

// === impl Choose ===

impl Choose {
    pub(super) fn new(sampler: Sampler) -> Self {
        let root = match sampler.ratio {
            1.0 => SdkSampler::AlwaysOn,
            0.0 => SdkSampler::AlwaysOff,
            ratio => SdkSampler::TraceIdRatioBased(ratio),
        };
        let inner =
            if sampler.parent_based { SdkSampler::ParentBased(Box::new(root)) } else { root };
        // Who chose none at all means it.
        Self { inner, record: sampler.ratio > 0.0 }
    }

    /// Whether spans of traces that are not chosen are recorded.
    pub(super) fn records_all(&self) -> bool {
        self.record
    }
}

impl ShouldSample for Choose {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.inner.should_sample(parent, trace, name, kind, attributes, links);
        if self.record && result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

// === impl Keep ===

impl<P> Clone for Keep<P> {
    fn clone(&self) -> Self {
        let Self { next, private, noted } = self;
        Self { next: Arc::clone(next), private, noted: Arc::clone(noted) }
    }
}

impl<P: SpanProcessor> Keep<P> {
    pub(super) fn new(next: P, private: &'static [&'static str]) -> Self {
        Self { next: Arc::new(next), private, noted: Arc::default() }
    }

    /// Delivers a span that chose itself.
    pub(super) fn deliver_detail(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            self.remember(span.span_context.trace_id());
        }
        self.deliver(span);
    }

    fn deliver(&self, mut span: SpanData) {
        span.attributes.retain(|attribute| !self.private.contains(&attribute.key.as_str()));
        if !span.span_context.is_sampled() {
            span.span_context = sampled(&span.span_context);
        }
        self.next.on_end(span);
    }

    fn remember(&self, trace: TraceId) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if !noted.contains(&trace) {
            if noted.len() == MAX_NOTED {
                noted.pop_front();
            }
            noted.push_back(trace);
        }
    }

    fn is_noted(&self, trace: TraceId) -> bool {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).contains(&trace)
    }
}

/// The same span, to be delivered.
fn sampled(context: &SpanContext) -> SpanContext {
    SpanContext::new(
        context.trace_id(),
        context.span_id(),
        TraceFlags::SAMPLED,
        context.is_remote(),
        context.trace_state().clone(),
    )
}

impl<P: SpanProcessor> SpanProcessor for Keep<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let context = &span.span_context;
        if context.is_sampled() || self.is_noted(context.trace_id()) {
            self.deliver(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, _known_already: &Resource) {}
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use opentelemetry::trace::{SpanId, Status, TraceContextExt as _, TraceState};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    /// What was delivered.
    #[derive(Debug, Default)]
    pub(in crate::traces) struct Delivered(pub(in crate::traces) Mutex<Vec<SpanData>>);

    impl SpanProcessor for Delivered {
        fn on_start(&self, _span: &mut Span, _context: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    impl Delivered {
        pub(in crate::traces) fn take(&self) -> Vec<SpanData> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    /// What keeps, without the attribute `key`, and what it delivered.
    pub(in crate::traces) fn keep() -> (Keep<Delivered>, Arc<Delivered>) {
        let keep = Keep::new(Delivered::default(), &["key"]);
        let delivered = Arc::clone(&keep.next);
        (keep, delivered)
    }

    /// A span of trace `trace` with the id `span`.
    pub(in crate::traces) fn span(trace: u128, span: u64, sampled: bool) -> SpanData {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(trace),
                SpanId::from(span),
                flags,
                false,
                TraceState::NONE,
            ),
            parent_span_id: SpanId::from(1),
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: "assignment".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: vec![KeyValue::new("run", "r"), KeyValue::new("key", "a/b")],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }

    #[test]
    fn of_a_chosen_trace_all_is_kept_but_what_is_private() {
        let (keep, delivered) = keep();
        keep.on_end(span(1, 2, true));
        keep.deliver_detail(span(1, 3, true));
        let told = delivered.take();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|span| span.attributes == [KeyValue::new("run", "r")]), "{told:?}");
    }

    #[test]
    fn of_a_trace_that_is_not_chosen_what_stands_above_a_detail_is_kept() {
        let (keep, delivered) = keep();
        keep.on_end(span(1, 2, false));
        assert!(delivered.take().is_empty());
        keep.deliver_detail(span(1, 3, false));
        keep.on_end(span(1, 4, false));
        keep.on_end(span(2, 5, false));
        let told = delivered.take();
        let ids: Vec<_> = told.iter().map(|span| span.span_context.span_id()).collect();
        assert_eq!(ids, [SpanId::from(3), SpanId::from(4)]);
        assert!(told.iter().all(|span| span.span_context.is_sampled()), "else none is delivered");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (keep, _delivered) = keep();
        for trace in 1..=1_000 {
            keep.deliver_detail(span(trace, 1, false));
        }
        assert_eq!(keep.noted.lock().unwrap().len(), MAX_NOTED);
    }

    #[test]
    fn a_trace_is_chosen_where_it_begins() {
        let decide = |sampler: &Choose, parent: Option<TraceFlags>| {
            let context = parent.map(|flags| {
                let parent = SpanContext::new(
                    TraceId::from(7),
                    SpanId::from(1),
                    flags,
                    true,
                    TraceState::NONE,
                );
                Context::new().with_remote_span_context(parent)
            });
            let kind = SpanKind::Internal;
            let id = TraceId::from(7);
            sampler.should_sample(context.as_ref(), id, "x", &kind, &[], &[]).decision
        };
        let none = Choose::new(Sampler { parent_based: true, ratio: 1e-9 });
        assert_eq!(decide(&none, Some(TraceFlags::SAMPLED)), SamplingDecision::RecordAndSample);
        let recorded = decide(&none, Some(TraceFlags::NOT_SAMPLED));
        assert_eq!(recorded, SamplingDecision::RecordOnly);
        let off = Choose::new(Sampler { parent_based: false, ratio: 0.0 });
        assert_eq!(decide(&off, Some(TraceFlags::SAMPLED)), SamplingDecision::Drop);
        let all = Choose::new(Sampler { parent_based: true, ratio: 1.0 });
        assert_eq!(decide(&all, None), SamplingDecision::RecordAndSample);
    }
}
