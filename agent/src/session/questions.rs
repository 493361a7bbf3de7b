//! Questions of the server that are being answered: a few at a time, and none outlives the session it came in.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use s3sync_proto::model::{Answer, FailureClass, FromAgent, Question, WorkError};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{debug, error};

use super::Workshop;

/// Questions answered at once. One more is refused, so that the server can ask somebody else; it keeps to the same limit.
pub(crate) const MAX_QUESTIONS: usize = 8;

/// See the module.
pub(crate) struct Questions {
    workshop: Arc<dyn Workshop>,
    open: BTreeMap<u64, AbortHandle>,
    tasks: JoinSet<(u64, Answer)>,
    /// At most one for each question that was open, and those that were refused at once.
    answers: VecDeque<FromAgent>,
}

impl Questions {
    pub(crate) fn new(workshop: Arc<dyn Workshop>) -> Self {
        Self { workshop, open: BTreeMap::new(), tasks: JoinSet::new(), answers: VecDeque::new() }
    }

    /// A new session: nobody waits for answers of the one before.
    pub(crate) fn begin_session(&mut self) {
        self.open.clear();
        // Dropped, they are aborted.
        self.tasks = JoinSet::new();
        self.answers.clear();
    }

    /// Begins to answer.
    pub(crate) fn ask(&mut self, question: Question) {
        let Question { id, patience, ask } = question;
        if self.open.contains_key(&id) {
            return;
        }
        if self.open.len() >= MAX_QUESTIONS {
            let message = format!("the agent answers {MAX_QUESTIONS} questions already");
            return self.refuse(id, FailureClass::Transient, "busy", message);
        }
        debug!(id, "asked");
        let workshop = Arc::clone(&self.workshop);
        let task = self.tasks.spawn(async move {
            let answer = AssertUnwindSafe(workshop.answer(ask)).catch_unwind();
            let answer = match timeout(patience, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => {
                    error!(id, "an answer panicked");
                    let message = "the agent failed at this question; see its log".to_owned();
                    refusal(FailureClass::Transient, "answer_panicked", message)
                }
                Err(_) => {
                    let message = format!("the agent found no answer within {patience:?}");
                    refusal(FailureClass::Transient, "late", message)
                }
            };
            (id, answer)
        });
        self.open.insert(id, task);
    }

    /// Says that a question is not answered. Unknown ones are refused, never ignored: the server would wait.
    pub(crate) fn refuse(&mut self, id: u64, class: FailureClass, code: &str, message: String) {
        self.push(id, refusal(class, code, message));
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn withdraw(&mut self, id: u64) {
        if let Some(task) = self.open.remove(&id) {
            task.abort();
        }
    }

    /// Waits until an answer was found. Waits for ever when nothing is asked.
    pub(crate) async fn answered(&mut self) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok((id, answer))) => {
                if self.open.remove(&id).is_some() {
                    self.push(id, answer);
                }
            }
            // Withdrawn.
            Some(Err(_)) => {}
        }
    }

    /// The next answer to send.
    pub(crate) fn next(&mut self) -> Option<FromAgent> {
        self.answers.pop_front()
    }

    fn push(&mut self, id: u64, answer: Answer) {
        self.answers.push_back(FromAgent::Answer { id, answer });
    }
}

fn refusal(class: FailureClass, code: &str, message: String) -> Answer {
    Answer::Refused(WorkError { class, code: code.to_owned(), message })
}
