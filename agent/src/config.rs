//! The agent's own configuration: `agent.toml`, the environment and flags. It alone decides which credential signs
//! for which endpoint, and what that credential may be used for.

mod credential;
mod secret;

pub use credential::Credential;
pub use secret::Secret;
