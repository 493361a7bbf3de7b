//! A queue that is as bad as SQS may be: messages come late, in any order, more than once; answers are lost; entries of a
//! batch fail. It refuses to delete what is not on the server's disk.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use s3sync_proto::model::{Key, QueueAttributes};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::server::Server;
use crate::queue::{Class, Error, MAX_BATCH, NotDone, Queue, QueueState, Received};

pub(super) struct Letters {
    server: Arc<Server>,
    inside: Mutex<Inside>,
}

struct Inside {
    rng: fastrand::Rng,
    messages: Vec<Message>,
    sent: u64,
    /// Nothing goes wrong any more.
    peace: bool,
}

struct Message {
    /// Of the event it tells of; none of rubbish.
    sequencer: Option<String>,
    body: String,
    /// Of its newest receipt.
    nonce: u64,
    receives: u32,
    visible: Instant,
}

impl Letters {
    pub(super) fn new(server: Arc<Server>, rng: fastrand::Rng) -> Arc<Self> {
        let inside = Inside { rng, messages: Vec::new(), sent: 0, peace: false };
        Arc::new(Self { server, inside: Mutex::new(inside) })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// A change is told of: soon or late, now and then twice, and rubbish with it.
    pub(super) fn tell(&self, key: &Key, removal: bool) {
        let mut inside = self.inside();
        inside.sent += 1;
        let sequencer = format!("{:016X}", inside.sent);
        let event = if removal { "ObjectRemoved:Delete" } else { "ObjectCreated:Put" };
        let body = json!({"Records": [{
            "eventName": event,
            "s3": {"bucket": {"name": "source"}, "object": {"key": key.to_string(), "sequencer": sequencer}},
        }]});
        let copies = 1 + usize::from(inside.rng.u32(..5) == 0);
        for _ in 0..copies {
            inside.send(Some(sequencer.clone()), body.to_string());
        }
        if inside.rng.u32(..10) == 0 {
            inside.send(None, "rubbish".to_owned());
        }
    }

    /// From here on nothing goes wrong.
    pub(super) fn peace(&self) {
        self.inside().peace = true;
    }

    pub(super) fn left(&self) -> usize {
        self.inside().messages.len()
    }

    /// One request: takes its time, and may fail before or after its effect.
    async fn request<T>(&self, effect: impl FnOnce(&mut Inside) -> T) -> Result<T, Error> {
        let (before, after, fate) = {
            let inside = &mut *self.inside();
            let mut millis = || Duration::from_millis(inside.rng.u64(..40));
            let times = (millis(), millis());
            (times.0, times.1, if inside.peace { 99 } else { inside.rng.u32(..100) })
        };
        sleep(before).await;
        if fate < 4 {
            return Err(error());
        }
        let done = effect(&mut self.inside());
        sleep(after).await;
        if fate < 8 { Err(error()) } else { Ok(done) }
    }
}

impl Inside {
    fn send(&mut self, sequencer: Option<String>, body: String) {
        let late = if self.rng.bool() { 200 } else { 60_000 };
        let visible = Instant::now() + Duration::from_millis(self.rng.u64(..late));
        self.messages.push(Message { sequencer, body, nonce: 0, receives: 0, visible });
    }

    fn hand_out(&mut self, hidden: Duration) -> Vec<Received> {
        let now = Instant::now();
        self.rng.shuffle(&mut self.messages);
        let Self { rng, messages, peace, .. } = self;
        let visible = messages.iter_mut().filter(|message| message.visible <= now);
        let hand = |message: &mut Message| {
            message.receives += 1;
            message.nonce = rng.u64(..);
            // At least once: some come again at once.
            let again = !*peace && rng.u32(..20) == 0;
            message.visible = now + if again { Duration::ZERO } else { hidden };
            Received {
                receipt: message.nonce.to_string(),
                body: message.body.clone(),
                receives: message.receives,
                sent: None,
                waited: None,
            }
        };
        visible.take(MAX_BATCH).map(hand).collect()
    }

    /// What a batch does to each entry; those that failed.
    fn each(&mut self, receipts: &[String], mut act: impl FnMut(&mut Self, usize)) -> Vec<NotDone> {
        let mut failed = Vec::new();
        for receipt in receipts {
            if !self.peace && self.rng.u32(..10) == 0 {
                failed.push(NotDone { receipt: receipt.clone(), code: "Odd".into() });
                continue;
            }
            // An old receipt has no effect.
            if let Some(index) = self.messages.iter().position(|m| m.nonce.to_string() == *receipt)
            {
                act(self, index);
            }
        }
        failed
    }
}

fn error() -> Error {
    let (operation, url) = ("Request", String::new());
    let (code, message) = ("Odd".to_owned(), "lost".to_owned());
    Error { class: Class::Transient, operation, url, code, message }
}

#[async_trait]
impl Queue for Letters {
    async fn receive(&self, wait: Duration, hidden: Duration) -> Result<Vec<Received>, Error> {
        let until = Instant::now() + wait;
        loop {
            let next = {
                let inside = self.inside();
                inside.messages.iter().map(|message| message.visible).min()
            };
            let now = Instant::now();
            if next.is_some_and(|next| next <= now) || now >= until {
                return self.request(|inside| inside.hand_out(hidden)).await;
            }
            // What is sent meanwhile is seen within a second.
            let soon = now + Duration::from_secs(1);
            sleep_until(next.map_or(soon, |next| next.min(soon)).min(until)).await;
        }
    }

    async fn delete(&self, receipts: &[String]) -> Result<Vec<NotDone>, Error> {
        let server = &self.server;
        self.request(|inside| {
            inside.each(receipts, |inside, index| {
                let message = inside.messages.remove(index);
                if let Some(sequencer) = message.sequencer {
                    assert!(
                        server.has_kept(&sequencer),
                        "deleted before its event was on disk: {}",
                        message.body
                    );
                }
            })
        })
        .await
    }

    async fn hide(&self, receipts: &[String], hidden: Duration) -> Result<Vec<NotDone>, Error> {
        let until = Instant::now() + hidden;
        self.request(|inside| {
            inside.each(receipts, |inside, index| inside.messages[index].visible = until)
        })
        .await
    }

    async fn state(&self) -> Result<QueueState, Error> {
        self.request(|_| QueueState::default()).await
    }

    async fn attributes(&self) -> Result<QueueAttributes, Error> {
        Ok(QueueAttributes::default())
    }
}
