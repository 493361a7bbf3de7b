//! What the tests, benchmarks and the demo share: real processes, a lab, and bounded waiting.

pub mod process;
pub mod wait;
