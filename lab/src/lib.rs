//! Local stand-ins of S3 for trying s3sync out and for testing it: real servers on sockets, with real signatures, and
//! with faults that can be switched on.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use s3sync_lab::{EndpointConfig, Fault, Faults, Lab, Rule, When};
//!
//! let west = EndpointConfig::new("usw2", "us-west-2").key("AKIAWEST", "west-secret").bucket("media");
//! let lab = Lab::start(vec![west]).await?;
//! let west = lab.endpoint("usw2");
//! west.seed("media", "folder/a b.txt", "hello");
//! west.set_faults(Faults::new(7, vec![Rule::every(Fault::SlowDown, When::Rate(0.01))]));
//! println!("{} {:?}", west.url(), west.counts());
//! # Ok(()) }
//! ```

mod admin;
mod auth;
mod checksum;
mod chunked;
mod endpoint;
mod error;
mod fault;
mod generated;
mod listing;
mod ops;
mod record;
mod reply;
mod request;
mod run;
mod server;
mod storage;
mod text;

pub use endpoint::{Capabilities, Endpoint, EndpointConfig};
pub use fault::{Fault, Faults, Rule, When};
pub use generated::Generated;
pub use record::{Counts, Write};
pub use run::{Args, main_with};
pub use server::Lab;
pub use storage::{Object, OpenUpload};
