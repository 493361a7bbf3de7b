//! Spans of single objects and requests. There are very many and few are delivered, so none is made before it has ended
//! and is known to be delivered: until then one costs a look at the clock and a random number.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use tokio::time::Instant;

use super::OURS;
use super::keep::Keep;

/// Where they are delivered, in a program that delivers traces.
static OPEN: OnceLock<Details<BatchSpanProcessor>> = OnceLock::new();

tokio::task_local! {
    /// What that is done now is a part of.
    static WHOLE: Arc<Whole>;
}

/// Which spans of objects and requests are delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detail {
    /// The share of them, from 0 to 1.
    pub ratio: f64,
    /// Those that took as long are all delivered.
    pub slow: Duration,
}

/// What there is to tell of something that is done many times.
#[derive(Debug)]
pub struct Told {
    /// The span's name.
    pub name: Cow<'static, str>,
    /// Whether it is a call to another program.
    pub call: bool,
    /// Named by the semantic conventions where they have a name for it.
    pub attributes: Vec<KeyValue>,
}

/// Something that is done in parts.
#[derive(Debug)]
struct Whole {
    id: SpanId,
    of_share: bool,
    /// Whether a part was delivered out of turn: then the whole is to follow.
    followed: AtomicBool,
}

/// Delivers some of what ends.
#[derive(Debug)]
pub(super) struct Details<P> {
    keep: Keep<P>,
    detail: Detail,
    /// Whether of traces that were not chosen anything is delivered.
    unchosen: bool,
    scope: InstrumentationScope,
}

/// Something that goes on. It is given up when this is dropped before its end.
struct Going<'a, P: SpanProcessor, F: Fn() -> Told> {
    details: &'a Details<P>,
    began: Instant,
    whole: Option<Arc<Whole>>,
    part_of: Option<Arc<Whole>>,
    given_up: F,
    ended: bool,
}

/// Does something for one object. Its span is delivered, if it is, when that has ended. `failed` gives a short name and
/// no text: texts may have keys in them. `tell` is called for what is delivered alone; without a result when the work
/// was given up.
pub async fn whole<T>(
    work: impl Future<Output = T>,
    failed: impl Fn(&T) -> Option<&str>,
    tell: impl Fn(Option<&T>) -> Told,
) -> T {
    let Some(details) = OPEN.get() else { return work.await };
    details.whole(work, failed, tell).await
}

/// Makes a request, told of like [`whole`]: together with what it is a part of if there is something, else by itself.
pub async fn part<T>(
    work: impl Future<Output = T>,
    failed: impl Fn(&T) -> Option<&str>,
    tell: impl Fn(Option<&T>) -> Told,
) -> T {
    let Some(details) = OPEN.get() else { return work.await };
    details.follow(None, work, failed, tell).await
}

/// Keeps work that is to be spawned a part of what spawns it.
pub fn in_current_whole<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let whole = WHOLE.try_with(Arc::clone).ok();
    async move {
        match whole {
            Some(whole) => WHOLE.scope(whole, work).await,
            None => work.await,
        }
    }
}

// === impl Detail ===

impl Detail {
    /// All of them.
    pub const ALL: Self = Self { ratio: 1.0, slow: Duration::ZERO };

    fn choose(self) -> bool {
        // Random numbers are below 1, so a ratio of 1 is all.
        fastrand::f64() < self.ratio
    }
}

// === impl Details ===

impl Details<BatchSpanProcessor> {
    /// From now on they are delivered. A second call (several programs in one process, in tests) changes nothing.
    pub(super) fn open(keep: Keep<BatchSpanProcessor>, detail: Detail, unchosen: bool) {
        drop(OPEN.set(Self::new(keep, detail, unchosen)));
    }
}

impl<P: SpanProcessor> Details<P> {
    fn new(keep: Keep<P>, detail: Detail, unchosen: bool) -> Self {
        Self { keep, detail, unchosen, scope: InstrumentationScope::builder(OURS).build() }
    }

    async fn whole<T>(
        &self,
        work: impl Future<Output = T>,
        failed: impl Fn(&T) -> Option<&str>,
        tell: impl Fn(Option<&T>) -> Told,
    ) -> T {
        let whole = Arc::new(Whole {
            id: new_id(),
            of_share: self.detail.choose(),
            followed: AtomicBool::new(false),
        });
        let work = WHOLE.scope(Arc::clone(&whole), work);
        self.follow(Some(whole), work, failed, tell).await
    }

    async fn follow<T>(
        &self,
        whole: Option<Arc<Whole>>,
        work: impl Future<Output = T>,
        failed: impl Fn(&T) -> Option<&str>,
        tell: impl Fn(Option<&T>) -> Told,
    ) -> T {
        let mut going = Going {
            details: self,
            began: Instant::now(),
            whole,
            part_of: WHOLE.try_with(Arc::clone).ok(),
            given_up: || tell(None),
            ended: false,
        };
        let result = work.await;
        going.ended = true;
        going.end(failed(&result), || tell(Some(&result)));
        result
    }
}

// === impl Going ===

impl<P: SpanProcessor, F: Fn() -> Told> Going<'_, P, F> {
    fn end(&self, failed: Option<&str>, tell: impl FnOnce() -> Told) {
        let Details { detail, unchosen, .. } = *self.details;
        let took = self.began.elapsed();
        let notable = failed.is_some() || took >= detail.slow;
        let of_share = match self.whole.as_ref().or(self.part_of.as_ref()) {
            Some(whole) => whole.of_share,
            None => detail.choose(),
        };
        let followed =
            self.whole.as_ref().is_some_and(|whole| whole.followed.load(Ordering::Relaxed));
        if !(notable || of_share || followed) {
            return;
        }
        // What is done many times is not entered as a span: the current one is above it.
        let above = Context::map_current(|context| context.span().span_context().clone());
        let chosen = above.is_sampled() || (unchosen && (notable || followed));
        if !(above.is_valid() && chosen) {
            return;
        }
        if let Some(part_of) = &self.part_of {
            part_of.followed.store(true, Ordering::Relaxed);
        }
        let id = self.whole.as_ref().map_or_else(new_id, |whole| whole.id);
        let parent = self.part_of.as_ref().map_or(above.span_id(), |whole| whole.id);
        let span = self.details.span(tell(), failed, took, (&above, id, parent));
        self.details.keep.deliver_detail(span);
    }
}

impl<P: SpanProcessor, F: Fn() -> Told> Drop for Going<'_, P, F> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(None, || (self.given_up)());
        }
    }
}

impl<P> Details<P> {
    /// A span that ends now.
    fn span(
        &self,
        told: Told,
        failed: Option<&str>,
        took: Duration,
        (above, id, parent): (&SpanContext, SpanId, SpanId),
    ) -> SpanData {
        let end_time = opentelemetry::time::now();
        let mut attributes = told.attributes;
        if let Some(reason) = failed {
            attributes.push(KeyValue::new("error.type", reason.to_owned()));
        }
        SpanData {
            span_context: SpanContext::new(
                above.trace_id(),
                id,
                above.trace_flags(),
                false,
                above.trace_state().clone(),
            ),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: if told.call { SpanKind::Client } else { SpanKind::Internal },
            name: told.name,
            start_time: end_time - took,
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if failed.is_some() { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn new_id() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceId, TraceState};

    use super::*;
    use crate::traces::keep::tests::{Delivered, keep};

    const NONE: Detail = Detail { ratio: 0.0, slow: Duration::from_secs(3_600) };

    fn details(detail: Detail) -> (Details<Delivered>, Arc<Delivered>) {
        let (keep, delivered) = keep();
        (Details::new(keep, detail, true), delivered)
    }

    fn told(name: &'static str) -> Told {
        Told { name: name.into(), call: true, attributes: Vec::new() }
    }

    fn failed<'a>(result: &'a Result<(), &'static str>) -> Option<&'a str> {
        result.err()
    }

    /// An object and the two requests that are made for it, of which the second ends like this.
    async fn copy<P: SpanProcessor>(details: &Details<P>, second: Result<(), &'static str>) {
        let part = |name, result: Result<(), &'static str>| {
            details.follow(None, async move { result }, failed, move |_| told(name))
        };
        let work = async {
            part("get", Ok(())).await.unwrap();
            let _how_it_ended = part("put", second).await;
        };
        details.whole(work, |()| None, |_| told("copy")).await;
    }

    fn above(sampled: bool) -> Context {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let (trace, span) = (TraceId::from(7), SpanId::from(8));
        let above = SpanContext::new(trace, span, flags, false, TraceState::NONE);
        Context::new().with_remote_span_context(above)
    }

    fn names(spans: &[SpanData]) -> Vec<&str> {
        spans.iter().map(|span| &*span.name).collect()
    }

    #[tokio::test]
    async fn whole_objects_are_told_with_their_parts_or_not_at_all() {
        let _above = above(true).attach();
        let (details, delivered) = details(Detail { ratio: 0.5, ..NONE });
        let mut seen = 0;
        for _ in 0..1_000 {
            copy(&details, Ok(())).await;
            let spans = delivered.take();
            if spans.is_empty() {
                continue;
            }
            seen += 1;
            assert_eq!(names(&spans), ["get", "put", "copy"]);
            let whole = &spans[2];
            assert_eq!(whole.parent_span_id, SpanId::from(8));
            for part in &spans[..2] {
                assert_eq!(part.parent_span_id, whole.span_context.span_id());
                assert_eq!(part.span_context.trace_id(), TraceId::from(7));
                assert!(part.start_time >= whole.start_time - Duration::from_millis(10));
            }
        }
        assert!((300..700).contains(&seen), "half of them, and not {seen} of 1000");
    }

    #[tokio::test]
    async fn what_failed_is_told_with_what_it_is_a_part_of_in_every_trace() {
        for sampled in [true, false] {
            let _above = above(sampled).attach();
            let (details, delivered) = details(NONE);
            copy(&details, Ok(())).await;
            assert!(delivered.take().is_empty());
            copy(&details, Err("SlowDown")).await;
            let spans = delivered.take();
            assert_eq!(names(&spans), ["put", "copy"]);
            assert_eq!(spans[0].attributes, [KeyValue::new("error.type", "SlowDown")]);
            assert_eq!(spans[0].status, Status::error(""));
            assert_eq!(spans[1].status, Status::Unset);
            assert!(spans.iter().all(|span| span.span_context.is_sampled()));
        }
    }

    #[tokio::test]
    async fn what_is_slow_is_told() {
        let _above = above(false).attach();
        let (details, delivered) = details(Detail { slow: Duration::ZERO, ..NONE });
        copy(&details, Ok(())).await;
        assert_eq!(names(&delivered.take()), ["get", "put", "copy"]);
    }

    #[tokio::test]
    async fn where_no_trace_is_to_be_delivered_nothing_is() {
        let (keep, delivered) = keep();
        let details = Details::new(keep, Detail::ALL, false);
        copy(&details, Err("SlowDown")).await;
        let _above = above(false).attach();
        copy(&details, Err("SlowDown")).await;
        assert!(delivered.take().is_empty());
    }

    #[tokio::test]
    async fn what_is_given_up_is_told_without_a_result() {
        let _above = above(true).attach();
        let (details, delivered) = details(Detail::ALL);
        {
            let tell =
                |result: Option<&()>| told(if result.is_some() { "done" } else { "given up" });
            let work = details.whole(std::future::pending(), |()| None, tell);
            let mut work = std::pin::pin!(work);
            assert!(futures_poll(work.as_mut()).is_pending());
        }
        assert_eq!(names(&delivered.take()), ["given up"]);
    }

    #[tokio::test]
    async fn what_is_spawned_is_a_part_of_what_spawns_it() {
        let context = above(true);
        let _above = context.clone().attach();
        let (details, delivered) = details(Detail::ALL);
        let details = Arc::new(details);
        let inner = Arc::clone(&details);
        let work = async move {
            let part = async move {
                inner.follow(None, async {}, |()| None, |_| told("part")).await;
            };
            let part =
                in_current_whole(opentelemetry::context::FutureExt::with_context(part, context));
            tokio::spawn(part).await.unwrap();
        };
        details.whole(work, |()| None, |_| told("whole")).await;
        let spans = delivered.take();
        assert_eq!(names(&spans), ["part", "whole"]);
        assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
    }

    fn futures_poll<T>(work: std::pin::Pin<&mut impl Future<Output = T>>) -> std::task::Poll<T> {
        work.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
