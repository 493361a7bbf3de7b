//! One queue, followed until it is let go of: one receives, one tells the server, deletes run beside both. While the
//! server does not answer, what was received is kept hidden and nothing more is received beyond a bound.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use s3sync_proto::model::{Name, News, QueueState, Watch, WorkError};
use s3sync_telemetry::traces;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, Span, debug, info, warn};

use super::inbox::Inbox;
use crate::clock;
use crate::queue::{Class, Error, MAX_BATCH, MAX_WAIT, Queue, Received};
use crate::work::{Lost, Orders, WatchDesk};

/// For how long a message is hidden from others. A holder that dies delays it by as much.
const HIDDEN: Duration = Duration::from_secs(30);
/// A message whose time runs out within this is hidden longer.
const EXTEND_WITHIN: Duration = Duration::from_secs(15);
/// How often that is looked after.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// How often the server is told how the queue stands.
const STATE_EVERY: Duration = Duration::from_secs(30);
/// Tries of a delete before the messages are left to come again.
const DELETE_TRIES: u32 = 4;
/// Pause before a delete is tried again, times the number of tries.
const DELETE_PAUSE: Duration = Duration::from_millis(200);
/// Requests to delete that are under way at most.
const MAX_DELETES: usize = 16;
/// How long a last acknowledgement is waited for when the queue is let go of, and then the last deletes.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Errors in a row, that may pass, before the work is given back with the reason.
const MAX_ERRORS: u32 = 5;
/// Pause after an error, doubled with each more.
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// Why it ended.
enum End {
    Lost,
    Stopped,
    Failed(WorkError),
}

impl From<Lost> for End {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

/// What may be deleted once it is told.
#[derive(Default)]
struct Done {
    receipts: Vec<String>,
    span: Option<Span>,
}

impl Done {
    fn span(&self) -> Span {
        self.span.clone().unwrap_or_else(Span::none)
    }
}

/// What happened.
enum Happening {
    Received(Result<Vec<Received>, Error>),
    Told(Result<(), Lost>),
    Deleted(Option<Vec<String>>),
    State(Result<crate::queue::QueueState, Error>),
    Extend,
    Stopped,
}

/// Follows a queue until it is lost or let go of.
pub async fn follow(watch: Watch, queue: Arc<dyn Queue>, desk: Arc<dyn WatchDesk>, orders: Orders) {
    info!(queue = %watch.queue, "receiving");
    let mut follower = Follower::new(Arc::clone(&queue), watch.queue.clone());
    let end = follower.run(&*desk, &orders).await;
    let error = match end {
        End::Lost => {
            info!(queue = %watch.queue, "receiving is somebody else's");
            // Whoever that is need not wait for what is in these hands.
            return follower.give_back().await;
        }
        End::Stopped => None,
        End::Failed(error) => {
            warn!(queue = %watch.queue, code = error.code, reason = error.message, "not received");
            Some(error)
        }
    };
    follower.give_back().await;
    // Lost means that it is somebody else's already.
    desk.leave(error).await.ok();
}

struct Follower {
    queue: Arc<dyn Queue>,
    name: Name,
    /// Of what was received and is not told yet.
    span: Option<Span>,
    inbox: Inbox,
    /// How the queue stands, as it was last seen.
    state: Option<QueueState>,
    /// What of it is not told.
    untold: bool,
    /// Something was received, or there was nothing. Before that nothing is told: to the server a word means that receiving works.
    heard: bool,
    began: Instant,
    errors: u32,
    deletes: JoinSet<Vec<String>>,
    /// Deletes for which there was no room yet. While there are any, nothing more is told.
    to_delete: VecDeque<(Vec<String>, Span)>,
}

impl Follower {
    fn new(queue: Arc<dyn Queue>, name: Name) -> Self {
        Self {
            queue,
            name,
            span: None,
            inbox: Inbox::default(),
            state: None,
            untold: false,
            heard: false,
            began: Instant::now(),
            errors: 0,
            deletes: JoinSet::new(),
            to_delete: VecDeque::new(),
        }
    }

    async fn run(&mut self, desk: &dyn WatchDesk, orders: &Orders) -> End {
        match self.exchange(desk, orders).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn exchange(&mut self, desk: &dyn WatchDesk, orders: &Orders) -> Result<End, End> {
        let queue = Arc::clone(&self.queue);
        let mut receiving = pin!(None);
        let mut telling = pin!(None);
        let mut looking = pin!(Some(queue.state()));
        let mut next_look = Instant::now() + STATE_EVERY;
        let mut next_extension = Instant::now() + EXTEND_EVERY;
        let mut done = Done::default();
        let mut pause: Option<Duration> = None;
        loop {
            if receiving.is_none() && self.inbox.room() >= MAX_BATCH && self.state.is_some() {
                let (queue, pause) = (Arc::clone(&queue), pause.take());
                // The first answer tells whether it works at all, and is not waited for.
                let wait = if self.heard { MAX_WAIT } else { Duration::ZERO };
                receiving.set(Some(async move {
                    if let Some(pause) = pause {
                        sleep(pause).await;
                    }
                    queue.receive(wait, HIDDEN).await
                }));
            }
            if telling.is_none()
                && let Some((news, when_told)) = self.news()
            {
                done = when_told;
                telling.set(Some(desk.tell(news).instrument(done.span())));
            }
            if looking.is_none() && Instant::now() >= next_look {
                next_look = Instant::now() + STATE_EVERY;
                looking.set(Some(queue.state()));
            }
            let happening = tokio::select! {
                biased;
                () = orders.lost.cancelled() => return Err(End::Lost),
                () = orders.stop.cancelled() => Happening::Stopped,
                told = some(telling.as_mut()) => Happening::Told(told),
                received = some(receiving.as_mut()) => Happening::Received(received),
                state = some(looking.as_mut()) => Happening::State(state),
                Some(deleted) = self.deletes.join_next() => Happening::Deleted(deleted.ok()),
                () = tokio::time::sleep_until(next_extension) => Happening::Extend,
            };
            match happening {
                Happening::Stopped => {
                    // What the server is about to record need not come again.
                    let told = timeout(LAST_WORD, some(telling.as_mut()));
                    if !done.receipts.is_empty() && matches!(told.await, Ok(Ok(()))) {
                        self.delete(&std::mem::take(&mut done));
                    }
                    return Ok(End::Stopped);
                }
                Happening::Told(told) => {
                    telling.set(None);
                    told?;
                    self.delete(&std::mem::take(&mut done));
                }
                Happening::Received(received) => {
                    receiving.set(None);
                    pause = self.received(received)?;
                }
                Happening::State(state) => {
                    looking.set(None);
                    self.looked(state)?;
                }
                Happening::Deleted(deleted) => self.deleted(&deleted.unwrap_or_default()),
                Happening::Extend => {
                    next_extension = Instant::now() + EXTEND_EVERY;
                    self.extend().await;
                }
            }
        }
    }

    /// What to tell the server next, and the messages that may be deleted when it is on its disk.
    fn news(&mut self) -> Option<(News, Done)> {
        if !self.to_delete.is_empty() {
            return None;
        }
        let batch = self.inbox.next(self.began.elapsed());
        let state = self.untold && self.heard;
        if batch.is_none() && !state {
            return None;
        }
        let mut batch = batch.unwrap_or_default();
        if state {
            self.untold = false;
            let oldest_sent = self.inbox.oldest_sent();
            batch.news.state = self.state.clone().map(|state| QueueState { oldest_sent, ..state });
        }
        let span = if self.inbox.is_told() { self.span.take() } else { self.span.clone() };
        batch.news.traceparent = span.as_ref().and_then(traces::traceparent).unwrap_or_default();
        Some((batch.news, Done { receipts: batch.done, span }))
    }

    /// Returns how long to wait before the next receive.
    fn received(
        &mut self,
        received: Result<Vec<Received>, Error>,
    ) -> Result<Option<Duration>, End> {
        match received {
            Ok(messages) => {
                self.errors = 0;
                self.heard = true;
                if !messages.is_empty() && self.span.is_none() {
                    self.span = Some(self::span(&self.name));
                }
                let redriven =
                    self.state.as_ref().is_some_and(|state| state.max_receives.is_some());
                let received = self.began.elapsed();
                self.inbox.take(messages, received, HIDDEN, redriven, clock::now());
                Ok(None)
            }
            Err(error) => self.failed(error).map(Some),
        }
    }

    fn looked(&mut self, state: Result<crate::queue::QueueState, Error>) -> Result<(), End> {
        match state {
            Ok(state) => {
                let crate::queue::QueueState { waiting, in_flight, retention, max_receives } =
                    state;
                let oldest_sent = None;
                self.state =
                    Some(QueueState { waiting, in_flight, retention, max_receives, oldest_sent });
                self.untold = true;
                Ok(())
            }
            // A credential may receive without being allowed to look at the queue's settings. Then nothing is known of a
            // redrive policy, and nothing is shown.
            Err(error) if error.class == Class::Denied => {
                debug!(%error, "the queue's settings cannot be read");
                self.state.get_or_insert_default();
                self.untold = true;
                Ok(())
            }
            Err(error) if self.state.is_none() => Err(End::Failed(WorkError::from(&error))),
            Err(error) => {
                debug!(%error, "the queue was not looked at");
                Ok(())
            }
        }
    }

    /// After an error of receiving: how long to wait.
    fn failed(&mut self, error: Error) -> Result<Duration, End> {
        self.errors += 1;
        let may_pass = matches!(error.class, Class::Throttled | Class::Transient);
        if !may_pass || self.errors >= MAX_ERRORS {
            return Err(End::Failed(WorkError::from(&error)));
        }
        debug!(%error, "not received; trying again");
        Ok(ERROR_PAUSE * 2_u32.saturating_pow(self.errors - 1))
    }

    /// Deletes messages beside everything else, at most so many requests at once.
    fn delete(&mut self, done: &Done) {
        let chunks = done.receipts.chunks(MAX_BATCH);
        self.to_delete.extend(chunks.map(|chunk| (chunk.to_vec(), done.span())));
        self.begin_deletes();
    }

    fn begin_deletes(&mut self) {
        while self.deletes.len() < MAX_DELETES
            && let Some((receipts, span)) = self.to_delete.pop_front()
        {
            self.deletes.spawn(delete(Arc::clone(&self.queue), receipts).instrument(span));
        }
    }

    fn deleted(&mut self, receipts: &[String]) {
        self.inbox.forget(receipts);
        self.begin_deletes();
    }

    /// Waits for all deletes.
    async fn end_deletes(&mut self) {
        while let Some(deleted) = self.deletes.join_next().await {
            self.deleted(&deleted.unwrap_or_default());
        }
    }

    /// Keeps messages hidden that wait for the server.
    async fn extend(&mut self) {
        let now = self.began.elapsed();
        let due = self.inbox.extend(now + EXTEND_WITHIN, now + HIDDEN);
        for chunk in due.chunks(MAX_BATCH) {
            // One that was not hidden longer comes to somebody else, which does no harm.
            match self.queue.hide(chunk, HIDDEN).await {
                Ok(not_done) if not_done.is_empty() => {}
                Ok(not_done) => debug!(count = not_done.len(), "some messages come again"),
                Err(error) => debug!(%error, "messages were not hidden longer"),
            }
        }
    }

    /// Gives back what is held, so that the next one gets it at once.
    async fn give_back(&mut self) {
        // What is on the server's disk is still deleted. What cannot be now comes to the next one, and does no harm.
        if timeout(LAST_WORD, self.end_deletes()).await.is_err() {
            debug!("not everything was deleted; the rest comes again");
            self.deletes.abort_all();
        }
        for chunk in self.inbox.held().chunks(MAX_BATCH) {
            if let Err(error) = self.queue.hide(chunk, Duration::ZERO).await {
                debug!(%error, "messages were not given back; they come again by themselves");
                return;
            }
        }
    }
}

/// The span of what is received, until it is deleted from the queue. An event's way begins with it
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/sqs/>).
fn span(queue: &Name) -> Span {
    tracing::info_span!(
        parent: None,
        "receive",
        otel.kind = "consumer",
        otel.name = %format_args!("receive {queue}"),
        messaging.system = "aws_sqs",
        messaging.operation.name = "receive",
        messaging.operation.type = "receive",
        messaging.destination.name = %queue,
    )
}

/// Waits for a future that may not be there; then for ever.
async fn some<F: Future>(future: std::pin::Pin<&mut Option<F>>) -> F::Output {
    match future.as_pin_mut() {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Deletes messages, and those again that were not deleted. Returns all: what is left comes again, and is told again.
async fn delete(queue: Arc<dyn Queue>, receipts: Vec<String>) -> Vec<String> {
    let mut left = receipts.clone();
    for attempt in 1..=DELETE_TRIES {
        match queue.delete(&left).await {
            Ok(not_done) if not_done.is_empty() => return receipts,
            Ok(not_done) => {
                debug!(count = not_done.len(), code = not_done[0].code, "not deleted");
                left = not_done.into_iter().map(|one| one.receipt).collect();
            }
            Err(error) => debug!(%error, "not deleted"),
        }
        if attempt < DELETE_TRIES {
            sleep(DELETE_PAUSE * attempt).await;
        }
    }
    warn!(count = left.len(), "messages could not be deleted; they will come again");
    receipts
}
