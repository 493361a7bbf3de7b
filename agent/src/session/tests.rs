//! What a session does, in simulated time, against a server and workers that do what the test says.

mod harness;
mod questions;
mod reconnect;
mod watch;
mod windows;
mod work;
