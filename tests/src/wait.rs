//! Waiting for a condition, with a bound. Tests never sleep for a time they hope is enough.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Waits until `look` answers `Ok`; `Err` is what it saw instead.
///
/// # Panics
/// When the bound passes; the message has the last thing seen.
pub async fn until<T, S, F>(what: &str, bound: Duration, mut look: impl FnMut() -> F) -> T
where
    S: Debug,
    F: Future<Output = Result<T, S>>,
{
    let deadline = tokio::time::Instant::now() + bound;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if tokio::time::Instant::now() >= deadline => {
                panic!("not within {bound:?}: {what}; last seen: {seen:?}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
