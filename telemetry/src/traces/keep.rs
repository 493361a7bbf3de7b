//! Which spans are delivered. A trace is chosen where it begins; of a chosen one all spans are delivered but those of
//! single objects and requests, of which there are too many: of these a share, and each that failed or was slow. Of a
//! trace that was not chosen what failed is delivered all the same. With what is delivered goes what of this process
//! stands above it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler as SdkSampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData,
    SpanProcessor,
};

use super::settings::Sampler;

/// Marks a span of which there are too many to deliver all. Not delivered itself.
pub(super) const DETAIL: &str = "sampling.detail";
/// It is chosen by itself.
pub(super) const ITSELF: &str = "itself";
/// It is chosen as what it is a part of.
pub(super) const PART: &str = "part";

/// Of how much that was delivered out of turn it is remembered that what stands above it is to follow.
const MAX_NOTED: usize = 256;

/// Which spans of requests are delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detail {
    /// The share of them, from 0 to 1.
    pub ratio: f64,
    /// Those that took as long are all delivered.
    pub slow: Duration,
}

impl Detail {
    /// All of them.
    pub const ALL: Self = Self { ratio: 1.0, slow: Duration::ZERO };
}

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
    next: P,
    detail: Detail,
    private: &'static [&'static str],
    noted: Mutex<Noted>,
}

/// What was delivered out of turn.
#[derive(Debug, Default)]
struct Noted {
    /// Traces that were not chosen.
    traces: VecDeque<TraceId>,
    /// Spans that were not chosen and of which a part was delivered.
    spans: VecDeque<SpanId>,
}

/// How many there are of a span.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grain {
    Few,
    Detail,
    Part,
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

impl<P> Keep<P> {
    pub(super) fn new(next: P, detail: Detail, private: &'static [&'static str]) -> Self {
        Self { next, detail, private, noted: Mutex::default() }
    }

    /// What to deliver of a span that ended.
    fn chosen(&self, mut span: SpanData) -> Option<SpanData> {
        let grain = Grain::take(&mut span.attributes);
        span.attributes.retain(|attribute| !self.private.contains(&attribute.key.as_str()));
        let context = &span.span_context;
        let failed = matches!(span.status, Status::Error { .. });
        let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
        let notable = failed || (grain != Grain::Few && took >= self.detail.slow);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let below = grain == Grain::Detail && noted.spans.contains(&context.span_id());
        let by_turn = context.is_sampled()
            && match grain {
                Grain::Few => true,
                Grain::Detail => is_of_share(context.span_id(), self.detail.ratio),
                Grain::Part => is_of_share(span.parent_span_id, self.detail.ratio),
            };
        if by_turn {
            return Some(span);
        }
        let above = grain == Grain::Few && noted.traces.contains(&context.trace_id());
        if !(notable || below || above) {
            return None;
        }
        if grain == Grain::Part {
            remember(&mut noted.spans, span.parent_span_id);
        }
        if !context.is_sampled() {
            remember(&mut noted.traces, context.trace_id());
            span.span_context = SpanContext::new(
                context.trace_id(),
                context.span_id(),
                TraceFlags::SAMPLED,
                context.is_remote(),
                context.trace_state().clone(),
            );
        }
        Some(span)
    }
}

fn remember<T: PartialEq>(known: &mut VecDeque<T>, one: T) {
    if !known.contains(&one) {
        if known.len() == MAX_NOTED {
            known.pop_front();
        }
        known.push_back(one);
    }
}

impl Grain {
    /// What a span is marked as; the mark is taken away.
    fn take(attributes: &mut Vec<KeyValue>) -> Self {
        let Some(at) = attributes.iter().position(|one| one.key.as_str() == DETAIL) else {
            return Self::Few;
        };
        let mark = attributes.swap_remove(at).value;
        if mark.as_str() == PART { Self::Part } else { Self::Detail }
    }
}

/// Ids are random, so a share of them is a share of the spans.
fn is_of_share(span: SpanId, ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let place = u64::from_be_bytes(span.to_bytes()) as f64 / u64::MAX as f64;
    place < ratio || ratio >= 1.0
}

impl<P: SpanProcessor> SpanProcessor for Keep<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if let Some(span) = self.chosen(span) {
            self.next.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use opentelemetry::trace::{TraceContextExt as _, TraceState};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    fn keep(ratio: f64) -> Keep<opentelemetry_sdk::trace::SimpleSpanProcessor<Nowhere>> {
        let nowhere = opentelemetry_sdk::trace::SimpleSpanProcessor::new(Nowhere);
        Keep::new(nowhere, Detail { ratio, slow: Duration::from_secs(5) }, &["key"])
    }

    #[derive(Debug)]
    struct Nowhere;

    impl opentelemetry_sdk::trace::SpanExporter for Nowhere {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            Ok(())
        }
    }

    /// A span of trace `trace` with the id `span`.
    pub(in crate::traces) fn span(trace: u128, span: u64, sampled: bool, detail: bool) -> SpanData {
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
            name: "S3/GetObject".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: if detail {
                vec![KeyValue::new(DETAIL, ITSELF), KeyValue::new("key", "a/b")]
            } else {
                Vec::new()
            },
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }

    fn failed(mut data: SpanData) -> SpanData {
        data.status = Status::error("");
        data
    }

    fn slow(mut data: SpanData) -> SpanData {
        data.end_time = data.start_time + Duration::from_secs(6);
        data
    }

    #[test]
    fn of_a_chosen_trace_all_is_kept_but_of_requests_a_share() {
        let keep = keep(0.5);
        assert!(keep.chosen(span(1, u64::MAX, true, false)).is_some());
        let kept = keep.chosen(span(1, 1, true, true)).unwrap();
        assert!(kept.attributes.is_empty(), "neither the mark nor what is private");
        assert!(keep.chosen(span(1, u64::MAX, true, true)).is_none());
        assert!(keep.chosen(failed(span(1, u64::MAX, true, true))).is_some());
        assert!(keep.chosen(slow(span(1, u64::MAX, true, true))).is_some());
    }

    #[test]
    fn of_a_trace_that_is_not_chosen_what_failed_is_kept_with_what_is_above() {
        let keep = keep(1.0);
        assert!(keep.chosen(span(1, 2, false, true)).is_none());
        assert!(keep.chosen(span(1, 3, false, false)).is_none());
        let kept = keep.chosen(failed(span(1, 4, false, true))).unwrap();
        assert!(kept.span_context.is_sampled(), "else it would not be delivered");
        assert!(keep.chosen(span(1, 5, false, true)).is_none(), "another request");
        assert!(keep.chosen(span(1, 6, false, false)).is_some(), "what is above it");
        assert!(keep.chosen(slow(span(2, 7, false, false))).is_none(), "work may take long");
    }

    #[test]
    fn what_is_a_part_goes_with_the_whole() {
        let keep = keep(0.5);
        let part = |of: u64, id: u64| {
            let mut part = span(1, id, true, true);
            part.attributes = vec![KeyValue::new(DETAIL, PART)];
            part.parent_span_id = SpanId::from(of);
            part
        };
        assert!(keep.chosen(part(1, u64::MAX)).is_some());
        assert!(keep.chosen(span(1, 1, true, true)).is_some());
        assert!(keep.chosen(part(u64::MAX, 1)).is_none());
        assert!(keep.chosen(failed(part(u64::MAX, 2))).is_some());
        assert!(keep.chosen(span(1, u64::MAX, true, true)).is_some(), "a part of it was delivered");
        assert!(keep.chosen(span(1, u64::MAX - 1, true, true)).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let keep = keep(1.0);
        for trace in 1..=1_000 {
            keep.chosen(failed(span(trace, 1, false, true)));
        }
        assert_eq!(keep.noted.lock().unwrap().traces.len(), MAX_NOTED);
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
