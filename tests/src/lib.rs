//! What the tests, benchmarks and the demo share: real processes, a lab, and bounded waiting.

pub mod collector;
pub mod demo;
pub mod objects;
pub mod process;
pub mod relay;
pub mod rounds;
pub mod secrets;
pub mod servers;
pub mod wait;
pub mod world;
pub mod writers;
