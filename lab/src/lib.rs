//! Local stand-ins of S3 and SQS for trying s3sync out and for testing it: real servers on sockets, with real
//! signatures, and with faults that can be switched on. All lives in memory.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use s3sync_lab::{
//!     EndpointConfig, Fault, Faults, Generated, Lab, Notification, Object, QueueConfig, QueuesConfig, Rule, When,
//! };
//!
//! let west = EndpointConfig::new("usw2", "us-west-2").key("AKIAWEST", "west-secret").bucket("media");
//! let sqs = QueuesConfig::new("sqs", "us-west-2").key("AKIAWEST", "west-secret").queue(QueueConfig::new("events"));
//! let mut lab = Lab::start(vec![west]).await?;
//! let (west, queues) = (lab.endpoint("usw2"), lab.start_queues(sqs).await?);
//!
//! // Objects without requests: one by one, or millions that are made when they are looked at.
//! west.seed("media", "folder/a b.txt", "hello");
//! west.seed_object("media", "tagged", Object::new("x").with_tag("team", "films").in_parts(5 << 20));
//! let many = Generated { prefix: "d/".into(), count: 1_000_000, size: 4_096, differs_every: 100, modified: 0 };
//! west.generate("media", many);
//!
//! // Of any size: made when they are read, and verified and dropped where they are written.
//! west.seed_object("media", "giant", Object::giant(200 << 30, 1));
//! west.sink("media", "copies/");
//!
//! // Every change is told to a queue.
//! let (bucket, prefix, queue) = ("media".to_owned(), String::new(), "events".to_owned());
//! west.notify(Notification { bucket, prefix, queues: queues.clone(), queue });
//!
//! // 1 % of all requests are throttled; the third completion has its effect and its answer is lost.
//! let lost = Rule::of("CompleteMultipartUpload", Fault::ResetAfter, When::Nth(3)).at("media", "folder/");
//! west.set_faults(Faults::new(7, vec![Rule::every(Fault::SlowDown, When::Rate(0.01)), lost]));
//!
//! println!("{} {:?} {:?}", west.url(), west.counts().of("PutObject"), west.writes());
//! println!("{} {:?}", queues.queue_url("events"), queues.messages("events"));
//! # Ok(()) }
//! ```

mod admin;
mod auth;
mod checksum;
mod chunked;
mod clock;
mod config;
mod endpoint;
mod error;
mod fault;
mod generated;
mod giant;
mod listing;
mod notify;
mod ops;
mod queue;
mod record;
mod reply;
mod request;
mod run;
mod s3;
mod server;
mod storage;
mod text;

pub use endpoint::{Capabilities, Endpoint, EndpointConfig};
pub use fault::{Fault, Faults, Rule, When};
pub use generated::Generated;
pub use notify::Notification;
pub use queue::{QueueConfig, QueuedMessage, Queues, QueuesConfig};
pub use record::{Counts, Write};
pub use run::{Args, main_with, run};
pub use server::Lab;
pub use storage::{Object, OpenUpload};
