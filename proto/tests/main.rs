//! What holds for the contract: its rules and its whole surface, conversions there and back, what is refused, and calls
//! over a real connection.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what helps it too")]

mod calls;
mod jobs;
mod json;
mod refused;
mod round_trip;
mod rules;
mod values;
