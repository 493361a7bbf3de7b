//! A follower in simulated time, against a queue that hides, hands out and forgets as SQS does, and a server that answers
//! when the test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::model::{Held, Name, News, QueueAttributes, QueueSpec, Watch, WorkError};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::follow;
use super::inbox::{MAX_HELD, MAX_RECEIVES_UNREADABLE};
use crate::queue::{Class, Error, MAX_BATCH, NotDone, Queue, QueueState, Received};
use crate::work::{Lost, Orders, WatchDesk};

const BOUND: Duration = Duration::from_secs(3_600);

/// A queue in memory.
#[derive(Default)]
struct FakeQueue(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    messages: BTreeMap<String, Message>,
    /// How often each request was made.
    requests: BTreeMap<&'static str, u32>,
    /// Receipts by message.
    deleted: Vec<String>,
    /// So many entries of deletes fail.
    failing_deletes: u32,
    /// Deletes are not answered.
    hangs: bool,
    /// What the next receives answer.
    errors: Vec<Class>,
    redriven: bool,
    /// How long messages are kept, received or not, and whether some were dropped that never were.
    retention: Option<Duration>,
    dropped: usize,
}

struct Message {
    body: String,
    visible: Instant,
    receives: u32,
    sent: Instant,
    /// How long it had waited when it was received first.
    waited: Option<Duration>,
}

/// A desk whose words come to the test.
struct FakeDesk(
    mpsc::Sender<(News, oneshot::Sender<Result<(), Lost>>)>,
    mpsc::Sender<Option<WorkError>>,
);

struct Follower {
    queue: Arc<FakeQueue>,
    told: mpsc::Receiver<(News, oneshot::Sender<Result<(), Lost>>)>,
    left: mpsc::Receiver<Option<WorkError>>,
    lost: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl FakeQueue {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, id: &str, body: String) {
        let sent = Instant::now();
        let message = Message { body, visible: sent, receives: 0, sent, waited: None };
        self.inside().messages.insert(id.to_owned(), message);
    }

    fn send_keys(&self, keys: std::ops::Range<usize>) {
        for key in keys {
            let id = format!("{key:05}");
            let record = json!({
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": id}},
            });
            self.send(&id, json!({"Records": [record]}).to_string());
        }
    }

    fn left(&self) -> usize {
        self.inside().messages.len()
    }
}

impl Inside {
    fn hand_out(&mut self, hidden: Duration) -> Vec<Received> {
        let now = Instant::now();
        if let Some(kept) = self.retention {
            let dropped = self.messages.extract_if(.., |_, message| now - message.sent > kept);
            self.dropped += dropped.filter(|(_, message)| message.receives == 0).count();
        }
        let visible = self.messages.iter_mut().filter(|(_, message)| message.visible <= now);
        visible
            .take(MAX_BATCH)
            .map(|(id, message)| {
                message.receives += 1;
                message.visible = now + hidden;
                let waited = *message.waited.get_or_insert(now - message.sent);
                Received {
                    receipt: format!("{id} {}", message.receives),
                    body: message.body.clone(),
                    receives: message.receives,
                    sent: None,
                    waited: Some(waited),
                }
            })
            .collect()
    }

    fn count(&mut self, request: &'static str) {
        *self.requests.entry(request).or_default() += 1;
    }
}

fn id_of(receipt: &str) -> String {
    receipt.split(' ').next().unwrap().to_owned()
}

#[async_trait]
impl Queue for FakeQueue {
    async fn receive(&self, wait: Duration, hidden: Duration) -> Result<Vec<Received>, Error> {
        self.inside().count("receive");
        let until = Instant::now() + wait;
        loop {
            if let Some(class) = self.inside().errors.pop() {
                let (operation, code) = ("ReceiveMessage", "X".to_owned());
                let (url, message) = (String::new(), String::new());
                return Err(Error { class, operation, url, code, message });
            }
            let messages = self.inside().hand_out(hidden);
            if !messages.is_empty() || Instant::now() >= until {
                return Ok(messages);
            }
            sleep_until(until.min(Instant::now() + Duration::from_millis(50))).await;
        }
    }

    async fn delete(&self, receipts: &[String]) -> Result<Vec<NotDone>, Error> {
        if self.inside().hangs {
            sleep(Duration::from_secs(35)).await;
            let (url, message) = (String::new(), String::new());
            let (operation, code) = ("DeleteMessageBatch", "timeout".to_owned());
            return Err(Error { class: Class::Transient, operation, url, code, message });
        }
        let mut inside = self.inside();
        inside.count("delete");
        let mut failed = Vec::new();
        for receipt in receipts {
            if inside.failing_deletes > 0 {
                inside.failing_deletes -= 1;
                failed.push(NotDone { receipt: receipt.clone(), code: "Odd".into() });
                continue;
            }
            inside.messages.remove(&id_of(receipt));
            inside.deleted.push(id_of(receipt));
        }
        Ok(failed)
    }

    async fn hide(&self, receipts: &[String], hidden: Duration) -> Result<Vec<NotDone>, Error> {
        let mut inside = self.inside();
        inside.count("hide");
        for receipt in receipts {
            if let Some(message) = inside.messages.get_mut(&id_of(receipt)) {
                message.visible = Instant::now() + hidden;
            }
        }
        Ok(Vec::new())
    }

    async fn state(&self) -> Result<QueueState, Error> {
        let max_receives = self.inside().redriven.then_some(9);
        Ok(QueueState { waiting: 3, max_receives, ..QueueState::default() })
    }

    async fn attributes(&self) -> Result<QueueAttributes, Error> {
        Ok(QueueAttributes::default())
    }
}

#[async_trait]
impl WatchDesk for FakeDesk {
    async fn tell(&self, news: News) -> Result<(), Lost> {
        let (answer, answered) = oneshot::channel();
        self.0.send((news, answer)).await.map_err(|_| Lost)?;
        answered.await.unwrap_or(Err(Lost))
    }

    async fn leave(&self, error: Option<WorkError>) -> Result<(), Lost> {
        self.1.send(error).await.map_err(|_| Lost)
    }
}

impl Follower {
    fn of(queue: FakeQueue) -> Self {
        let queue = Arc::new(queue);
        let (tell, told) = mpsc::channel(1);
        let (leave, left) = mpsc::channel(1);
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let orders = Orders { lost: lost.clone(), stop: stop.clone(), split: mpsc::channel(1).1 };
        let name: Name = "q".parse().unwrap();
        let watch = Watch {
            held: Held { id: 1, epoch: 1 },
            queue: name.clone(),
            spec: QueueSpec { url: String::new(), endpoint: name, receivers: 1 },
            endpoint: Default::default(),
        };
        let desk = Arc::new(FakeDesk(tell, leave));
        let task = tokio::spawn(follow(watch, Arc::clone(&queue) as _, desk, orders));
        Self { queue, told, left, lost, stop, task }
    }

    /// The next news that are more than how the queue stands; such are acknowledged.
    async fn news(&mut self) -> (News, oneshot::Sender<Result<(), Lost>>) {
        let until = Instant::now() + BOUND;
        loop {
            let told = timeout_at(until, self.told.recv()).await.expect("in time");
            let (news, answer) = told.expect("the follower lives");
            if news.messages > 0 || !news.events.is_empty() {
                return (news, answer);
            }
            answer.send(Ok(())).unwrap();
        }
    }
}

fn keys(news: &News) -> Vec<String> {
    news.events.iter().map(|event| event.key.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_deleted_after_the_server_has_it_and_not_before() {
    let queue = FakeQueue::default();
    queue.send_keys(0..3);
    let mut follower = Follower::of(queue);
    let (news, answer) = follower.news().await;
    assert_eq!(keys(&news), ["00000", "00001", "00002"]);
    sleep(Duration::from_secs(1_000)).await;
    {
        let inside = follower.queue.inside();
        assert_eq!(inside.deleted, [""; 0]);
        assert!(inside.messages.values().all(|message| message.receives == 1), "kept hidden");
    }
    answer.send(Ok(())).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(follower.queue.left(), 0);
    // Of ten messages one request each way.
    assert_eq!(follower.queue.inside().requests["delete"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_stops_receiving_at_a_bound() {
    let queue = FakeQueue::default();
    queue.send_keys(0..MAX_HELD + 500);
    let mut follower = Follower::of(queue);
    let (first, answer) = follower.news().await;
    sleep(Duration::from_secs(600)).await;
    let received =
        follower.queue.inside().messages.values().filter(|message| message.receives > 0).count();
    assert_eq!(received, MAX_HELD);
    answer.send(Ok(())).unwrap();
    let mut told = first.events.len();
    while told < MAX_HELD + 500 {
        let (news, answer) = follower.news().await;
        told += news.events.len();
        answer.send(Ok(())).unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!((told, follower.queue.left()), (MAX_HELD + 500, 0));
    let requests = &follower.queue.inside().requests;
    assert!(requests["delete"] <= 160, "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_not_deleted_are_deleted_again() {
    let queue = FakeQueue::default();
    queue.send_keys(0..5);
    queue.inside().failing_deletes = 7;
    let mut follower = Follower::of(queue);
    let (_, answer) = follower.news().await;
    answer.send(Ok(())).unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(follower.queue.left(), 0);
    assert_eq!(follower.queue.inside().requests["delete"], 3);
}

/// Deletes that take as long as they can keep nobody from being told to let go.
#[tokio::test(start_paused = true)]
async fn deletes_that_are_not_answered_hold_up_no_end() {
    for lost in [false, true] {
        let queue = FakeQueue::default();
        queue.send_keys(0..500);
        queue.inside().hangs = true;
        let mut follower = Follower::of(queue);
        let mut told = 0;
        while told < 500 {
            let (news, answer) = follower.news().await;
            told += news.events.len();
            sleep(Duration::from_secs(5)).await;
            answer.send(Ok(())).unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        let begin = Instant::now();
        if lost { &follower.lost } else { &follower.stop }.cancel();
        timeout(BOUND, &mut follower.task).await.unwrap().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        // What could not be deleted comes to the next one at once.
        let inside = follower.queue.inside();
        let now = Instant::now();
        assert_eq!(inside.messages.values().filter(|message| message.visible <= now).count(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_queue_deletes_nothing() {
    let queue = FakeQueue::default();
    queue.send_keys(0..3);
    let mut follower = Follower::of(queue);
    let (_, answer) = follower.news().await;
    follower.lost.cancel();
    answer.send(Err(Lost)).ok();
    timeout(BOUND, &mut follower.task).await.unwrap().unwrap();
    assert_eq!((follower.queue.left(), follower.queue.inside().requests.get("delete")), (3, None));
    // Whose it is now need not wait for them.
    let now = Instant::now();
    assert!(follower.queue.inside().messages.values().all(|message| message.visible <= now));
}

#[tokio::test(start_paused = true)]
async fn who_lets_go_waits_for_the_last_word_and_gives_the_rest_back() {
    let queue = FakeQueue::default();
    queue.send_keys(0..10);
    let mut follower = Follower::of(queue);
    let (first, answer) = follower.news().await;
    assert_eq!(first.events.len(), 10);
    follower.queue.send_keys(10..20);
    sleep(Duration::from_secs(1)).await;
    follower.stop.cancel();
    sleep(Duration::from_secs(1)).await;
    answer.send(Ok(())).unwrap();
    assert_eq!(follower.left.recv().await, Some(None));
    timeout(BOUND, &mut follower.task).await.unwrap().unwrap();
    let inside = follower.queue.inside();
    assert_eq!(inside.deleted.len(), 10, "what the server has");
    let visible = |message: &Message| message.visible <= Instant::now();
    assert!(inside.messages.len() == 10 && inside.messages.values().all(visible), "for the next");
}

#[tokio::test(start_paused = true)]
async fn errors_that_may_pass_are_tried_again_and_others_are_told() {
    let queue = FakeQueue::default();
    queue.send_keys(0..1);
    queue.inside().errors = vec![Class::Throttled, Class::Transient, Class::Transient];
    let mut follower = Follower::of(queue);
    let (news, answer) = follower.news().await;
    assert_eq!(news.messages, 1);
    answer.send(Ok(())).unwrap();
    follower.queue.inside().errors = vec![Class::Denied];
    let left = follower.left.recv().await.unwrap();
    assert_eq!(left.unwrap().message, "ReceiveMessage: ");
}

#[tokio::test(start_paused = true)]
async fn who_may_look_at_a_queue_and_not_receive_tells_nothing() {
    let queue = FakeQueue::default();
    queue.inside().errors = vec![Class::Denied];
    let mut follower = Follower::of(queue);
    let left = timeout(BOUND, follower.left.recv()).await.unwrap().unwrap();
    assert_eq!(left.unwrap().message, "ReceiveMessage: ");
    assert!(follower.told.try_recv().is_err(), "the server would think that somebody receives");
    // Of a queue that is empty it is told at once.
    let mut follower = Follower::of(FakeQueue::default());
    let began = Instant::now();
    let (news, _answer) = timeout(BOUND, follower.told.recv()).await.unwrap().unwrap();
    assert_eq!((news.state.unwrap().waiting, news.messages), (3, 0));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn rubbish_is_told_once_and_goes_in_the_end() {
    let queue = FakeQueue::default();
    queue.send("rubbish", "not json".to_owned());
    let mut follower = Follower::of(queue);
    let (news, answer) = follower.news().await;
    assert_eq!((news.unreadable.len(), news.unreadable[0].removed), (1, false));
    answer.send(Ok(())).unwrap();
    let (news, answer) = follower.news().await;
    let last = &news.unreadable[0];
    assert_eq!((last.removed, last.receives), (true, MAX_RECEIVES_UNREADABLE));
    assert_eq!(last.excerpt, "not json");
    assert_eq!(follower.queue.left(), 1, "not before the server knows");
    answer.send(Ok(())).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(follower.queue.left(), 0);
    // With a redrive policy it is the policy's.
    let queue = FakeQueue::default();
    queue.inside().redriven = true;
    queue.send("rubbish", "{}".to_owned());
    let mut follower = Follower::of(queue);
    let (_, answer) = follower.news().await;
    answer.send(Ok(())).unwrap();
    sleep(Duration::from_secs(3_000)).await;
    let receives = follower.queue.inside().messages["rubbish"].receives;
    assert!(receives > MAX_RECEIVES_UNREADABLE, "{receives}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_costs_three_requests_a_minute() {
    let follower = Follower::of(FakeQueue::default());
    sleep(Duration::from_secs(600)).await;
    let receives = follower.queue.inside().requests["receive"];
    assert!((28..=32).contains(&receives), "{receives}");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_which_some_is_dropped_was_told_of_before() {
    let queue = FakeQueue::default();
    let kept = Duration::from_secs(600);
    queue.inside().retention = Some(kept);
    let mut follower = Follower::of(queue);
    let queue = Arc::clone(&follower.queue);
    // Thirty a second come, and the server takes a third of them.
    tokio::spawn(async move {
        for second in 0..2_000 {
            queue.send_keys(second * 30..(second + 1) * 30);
            sleep(Duration::from_secs(1)).await;
        }
    });
    let (mut longest, mut told) = (Duration::ZERO, 0);
    loop {
        let (news, answer) = follower.news().await;
        // Those that were received with the first that were dropped are not told yet.
        if follower.queue.inside().dropped > 0 {
            break;
        }
        longest = longest.max(news.longest_wait.expect("the queue says"));
        told += news.messages;
        sleep(Duration::from_millis(100 * news.messages)).await;
        answer.send(Ok(())).unwrap();
    }
    assert!(longest >= kept.mul_f64(0.9), "{longest:?}");
    assert!(told > 1_000, "{told}");
    follower.lost.cancel();
    follower.task.await.unwrap();
}
