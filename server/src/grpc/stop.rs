//! What calls that wait for agents answer while the server stops.

use tonic::Status;

use super::Context;
use super::status::stopping;

impl Context {
    /// The answer of a call that asks agents. Their sessions end with the server, so whatever such a call finds while the
    /// server stops (that nobody is connected, that an agent left) says nothing of them, and it is told to call again.
    pub(super) async fn unless_stopping<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let answer = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Err(stopping()),
            answer = call => answer,
        };
        // Sessions may have ended between the look at the token and the answer.
        if self.shutdown.is_cancelled() { Err(stopping()) } else { answer }
    }
}

#[cfg(test)]
mod tests;
