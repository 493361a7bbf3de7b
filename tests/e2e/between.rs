//! An agent, the server or both are killed between any two steps of the way from a message to the object: nothing is lost, and
//! at no moment is a message deleted whose events are neither on the server's disk nor worked off.
//!
//! The steps are held from outside: requests to S3 and SQS by the lab, before and after their effect; messages between
//! agent and server by a relay; commits by a lock on the database.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use s3sync_lab::{Fault, Faults, Object, QueueConfig, QueuedMessage, Queues, Rule, When};
use s3sync_proto::model::RunState;
use s3sync_tests::objects::differences;
use s3sync_tests::relay::{Relay, Said};
use s3sync_tests::wait::until;
use s3sync_tests::world::{CHINA_DESTINATION, SOURCE, Times, World};

use super::event_deletes::agent_of;
use super::events::QUEUE;
use super::{Folder, RUN_BOUND, ended, media, start_run, world};

use Fault::{Hold, HoldAnswer};
use Victim::{Agent, Both, Server};

const AGENT: &str = "one";
/// Objects of a scene. Twice as many as all rounds delete: more would wait for a person.
const OBJECTS: usize = 400;
/// More of a kind of step than any round has.
const MOST: u64 = 20;

/// Between which steps somebody dies.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// A request to the queue has not had its effect, or its answer has not come.
    Queue(&'static str, Fault),
    /// The same of the request that deletes once more what was not deleted at first.
    DeletedAgain(Fault),
    /// The same of the request that hides messages longer, while the server is away.
    Hidden(Fault),
    /// The same of a request to the source's side.
    Source(&'static str, Fault),
    /// The same of a request to the destination's side.
    Destination(&'static str, Fault),
    /// A message between agent and server has not come.
    Said(Said),
    /// The server has the message and has not committed.
    Commit(Said),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Agent,
    Server,
    Both,
}

/// A change of the source, and the message about it.
struct Change {
    key: String,
    /// Later ones are greater.
    version: usize,
    removal: bool,
    message: String,
}

struct Scene {
    world: World,
    _folder: Folder,
    relay: Relay,
    queues: Arc<Queues>,
    changes: Vec<Change>,
    rounds: usize,
}

impl Scene {
    /// A mirror in step, with its one destination in China, and nobody who works.
    async fn new() -> Self {
        let (mut world, folder) = world(Times::short()).await;
        let queues = world.start_queue(QueueConfig::new(QUEUE)).await.unwrap();
        for number in 0..OBJECTS {
            let body = format!("{:08} seeded", 0);
            world.side("usw2").seed(SOURCE, format!("srcfolder/{number:03}"), body);
        }
        let deletes = "deletes: { policy: mirror, max_per_hour: 100000, max_percent: 100, max_count: 100000 }\n";
        world.apply_job_with_events(QUEUE, deletes).await.unwrap();
        let file = world.folder().join("job.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.contains("bucket: destbucket-usw2"));
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        world.ctl_ok(&["apply", "-f", "job.yaml"]).await.unwrap();
        let relay = Relay::start(world.url()).await.unwrap();
        let (changes, rounds) = (Vec::new(), 0);
        let mut scene = Self { world, _folder: folder, relay, queues, changes, rounds };
        scene.start_agent();
        let run = start_run(&scene.world).await;
        assert_eq!(ended(&scene.world, &run).await.state, RunState::Succeeded);
        scene.world.kill_agent(AGENT).await.unwrap();
        scene
    }

    fn start_agent(&mut self) {
        let text = agent_of(AGENT, &self.relay.url());
        self.world.start_agent_with(AGENT, &text).unwrap();
    }

    fn change(&mut self, key: &str, removal: bool) {
        let (key, version) = (format!("srcfolder/{key}"), self.changes.len() + 1);
        let object = (!removal).then(|| Object::new(format!("{version:08} {key}")));
        self.world.side("usw2").change(SOURCE, &key, object);
        let newest = self.queues.messages(QUEUE).pop().expect("a message was sent");
        self.changes.push(Change { key, version, removal, message: newest.body });
    }

    /// One round: changes wait in the queue, the agent begins, and somebody dies at the point. Whether it was reached.
    async fn round(&mut self, point: Point, nth: u64, victim: Victim) -> bool {
        let what = format!("{point:?} {nth} {victim:?}");
        self.rounds += 1;
        let round = self.rounds;
        self.change(&format!("new-{round}"), false);
        self.change(&format!("{:03}", round - 1), false);
        self.change(&format!("new-{round}"), false);
        self.change(&format!("{:03}", round - 1), true);
        self.change(&format!("{round:03}"), false);
        self.arm(point, nth);
        self.start_agent();
        if let Point::Hidden(_) = point {
            self.until_held_by_relay(&what).await;
            self.world.kill_server().await.unwrap();
        }
        let reached = until(&format!("{what}: held, or all is done"), RUN_BOUND, || {
            self.check(&what);
            // The last effect of a round may be the one whose answer is held.
            let left = self.left();
            let looked = match self.holds(point) {
                true => Ok(true),
                false if left.is_empty() => Ok(false),
                false => Err(left),
            };
            std::future::ready(looked)
        })
        .await;
        if reached {
            let lock = matches!(point, Point::Commit(_)).then(|| self.lock());
            if lock.is_some() {
                self.relay.open();
                // What is asked after the message is answered after the server has it.
                self.world.client().unwrap().get_job(&media()).await.unwrap();
            }
            if victim != Victim::Server {
                self.world.kill_agent(AGENT).await.unwrap();
            }
            if victim != Victim::Agent && self.world.server().is_some() {
                self.world.kill_server().await.unwrap();
            }
            drop(lock);
            self.check(&what);
        }
        self.disarm();
        self.queues.show(QUEUE);
        if self.world.server().is_none() {
            self.world.start_server().await.unwrap();
        }
        if reached && victim != Victim::Server {
            self.start_agent();
        }
        until(&format!("{what}: all is in step"), RUN_BOUND, || {
            self.check(&what);
            let left = self.left();
            std::future::ready(if left.is_empty() { Ok(()) } else { Err(left) })
        })
        .await;
        assert_eq!(self.world.side("cnn1").open_uploads(CHINA_DESTINATION), [], "{what}");
        self.world.kill_agent(AGENT).await.unwrap();
        reached
    }

    async fn until_held_by_relay(&self, what: &str) {
        until(&format!("{what}: the relay holds"), RUN_BOUND, || {
            std::future::ready(if self.relay.holds() { Ok(()) } else { Err(()) })
        })
        .await;
    }

    /// What is not done yet.
    fn left(&self) -> Vec<String> {
        let (west, china) = (self.world.side("usw2"), self.world.side("cnn1"));
        let mut left =
            differences((&west, SOURCE, "srcfolder/"), (&china, CHINA_DESTINATION, "destfolder/"));
        left.extend(self.queues.messages(QUEUE).into_iter().map(|message| message.body));
        left.extend(self.dirty().into_iter().map(|key| format!("{key} is dirty")));
        left
    }

    /// Keys that are to be looked at, as they are on the server's disk, whether it runs or not.
    fn dirty(&self) -> BTreeSet<String> {
        let path = self.world.folder().join("data/s3sync.db");
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut statement = db.prepare("SELECT key FROM pending_keys").unwrap();
        let keys = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        keys.map(|key| format!("srcfolder/{}", String::from_utf8(key.unwrap()).unwrap())).collect()
    }

    /// Nobody commits while this is there.
    fn lock(&self) -> Connection {
        let db = Connection::open(self.world.folder().join("data/s3sync.db")).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        db
    }

    /// Of each message that is deleted the events are on the server's disk, or the change is in place. The order of looks
    /// makes that true at every moment: a message is deleted after the commit, a key forgotten after the object is written.
    fn check(&self, what: &str) {
        let there: BTreeSet<String> = self
            .queues
            .messages(QUEUE)
            .into_iter()
            .map(|QueuedMessage { body, .. }| body)
            .collect();
        let dirty = self.dirty();
        for change in self.changes.iter().filter(|change| !there.contains(&change.message)) {
            assert!(
                dirty.contains(&change.key) || self.in_place(change),
                "{what}: the message about {} (version {}) is deleted, and its event is nowhere",
                change.key,
                change.version
            );
        }
    }

    /// Whether a change, or a later one of its key, is at the destination.
    fn in_place(&self, change: &Change) -> bool {
        let rest = change.key.strip_prefix("srcfolder/").expect("all are there");
        let copy = self.world.side("cnn1").object(CHINA_DESTINATION, format!("destfolder/{rest}"));
        let version = |body: &[u8]| -> usize {
            String::from_utf8_lossy(&body[..8]).parse().expect("bodies begin with their version")
        };
        let last = self.changes.iter().rev().find(|one| one.key == change.key);
        match copy {
            Some(copy) => version(&copy.body) >= change.version,
            None => last.is_some_and(|last| last.removal),
        }
    }

    fn arm(&self, point: Point, nth: u64) {
        let rule = |operation, fault| Rule::of(operation, fault, When::Nth(nth));
        let side = |side, operation, fault| {
            self.world.side(side).set_faults(Faults::new(1, vec![rule(operation, fault)]));
        };
        let queue = |rules| self.queues.set_faults(Faults::new(1, rules));
        match point {
            Point::Queue(operation, fault) => queue(vec![rule(operation, fault)]),
            Point::DeletedAgain(fault) => queue(vec![
                Rule::of("DeleteMessageBatch", Fault::FailEntry, When::Nth(1)),
                Rule::of("DeleteMessageBatch", fault, When::Nth(nth + 1)),
            ]),
            Point::Hidden(fault) => {
                self.relay.hold(Said::Events, 1);
                queue(vec![rule("ChangeMessageVisibilityBatch", fault)]);
            }
            Point::Source(operation, fault) => side("usw2", operation, fault),
            Point::Destination(operation, fault) => side("cnn1", operation, fault),
            Point::Said(said) | Point::Commit(said) => self.relay.hold(said, nth),
        }
    }

    /// Whether somebody waits at the point.
    fn holds(&self, point: Point) -> bool {
        match point {
            Point::Queue(..) | Point::DeletedAgain(_) | Point::Hidden(_) => self.queues.held() > 0,
            Point::Source(..) => self.world.side("usw2").held() > 0,
            Point::Destination(..) => self.world.side("cnn1").held() > 0,
            Point::Said(_) | Point::Commit(_) => self.relay.holds(),
        }
    }

    fn disarm(&self) {
        self.queues.set_faults(Faults::default());
        for side in ["usw2", "cnn1"] {
            self.world.side(side).set_faults(Faults::default());
        }
        self.relay.open();
    }
}

/// Kills each victim at the first, the second … of each point, until no round has more of them.
async fn sweep(points: &[Point], victims: &[Victim]) {
    let mut scene = Scene::new().await;
    let began = tokio::time::Instant::now();
    for point in points {
        let mut nth = 1;
        loop {
            let mut reached = 0;
            for victim in victims {
                reached += usize::from(scene.round(*point, nth, *victim).await);
                if reached == 0 {
                    break;
                }
            }
            // How many there are of a kind may differ from round to round, but one there always is.
            assert!(nth > 1 || reached == victims.len(), "{point:?} was not reached");
            if reached == 0 {
                break;
            }
            nth += 1;
            assert!(nth < MOST, "{point:?} does not end");
        }
    }
    println!("{} rounds in {:?}", scene.rounds, began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_steps_of_taking_a_message_nothing_is_lost() {
    let told = [
        Point::Said(Said::Watch),
        Point::Said(Said::Events),
        Point::Commit(Said::Events),
        Point::Said(Said::EventsKept),
    ];
    let asked = [
        Point::Queue("ReceiveMessage", Hold),
        Point::Queue("ReceiveMessage", HoldAnswer),
        Point::Queue("DeleteMessageBatch", Hold),
        Point::Queue("DeleteMessageBatch", HoldAnswer),
        Point::DeletedAgain(Hold),
        Point::DeletedAgain(HoldAnswer),
    ];
    tokio::join!(sweep(&told, &[Agent, Server, Both]), sweep(&asked, &[Agent, Both]));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_steps_of_working_keys_off_nothing_is_lost() {
    let told = [Point::Said(Said::Assignment), Point::Said(Said::Report)];
    let kept = [Point::Commit(Said::Report), Point::Said(Said::ReportKept)];
    let asked = [
        Point::Destination("HeadObject", Hold),
        Point::Source("GetObject", Hold),
        Point::Source("GetObject", HoldAnswer),
        Point::Destination("PutObject", Hold),
        Point::Destination("PutObject", HoldAnswer),
        Point::Destination("DeleteObjects", Hold),
        Point::Destination("DeleteObjects", HoldAnswer),
    ];
    tokio::join!(
        sweep(&told, &[Agent, Server]),
        sweep(&kept, &[Agent, Server, Both]),
        sweep(&asked, &[Agent])
    );
}

/// Messages are hidden longer only after 15 s, so each of these has a world of its own at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_messages_are_hidden_longer_nothing_is_lost() {
    let kill = async |fault, victim| {
        let mut scene = Scene::new().await;
        assert!(scene.round(Point::Hidden(fault), 1, victim).await, "{fault:?} {victim:?}");
    };
    tokio::join!(kill(Hold, Agent), kill(HoldAnswer, Agent), kill(HoldAnswer, Server));
}
