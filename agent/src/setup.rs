//! Looks at how a queue and buckets are set up for events, without changing anything.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use s3sync_proto::model::{
    Answer, BucketSetup, FailureClass, Key, QueueSetup, QueueSpec, Setup, SetupAsk, WorkError,
};

use crate::copy::work_error;
use crate::probe::side;
use crate::queue::{Error, NotDone, Queue};
use crate::s3::Operation;
use crate::stores::Stores;
use crate::worker::Engine;
use crate::worker::side::BRIEFLY;

/// A receipt that no message ever had. To delete or to hide by it does nothing, and is refused with [`INVALID`] to who may
/// do it and with another code to who may not.
const NO_RECEIPT: &str = "s3sync-queue-check";

/// What SQS answers to a receipt that is none (API reference, DeleteMessageBatch).
const INVALID: &str = "ReceiptHandleIsInvalid";

/// Answers a question about how things are set up.
pub(crate) async fn look(stores: &Stores, engine: &Arc<Engine>, ask: SetupAsk) -> Answer {
    let SetupAsk { endpoint, spec, queue_url, buckets } = ask;
    let queue = match queue_url {
        None => None,
        Some(url) => {
            let queue = QueueSpec { url, endpoint: endpoint.clone(), receivers: 1 };
            match stores.open_queue(&queue, &spec) {
                Ok(queue) => Some(queue),
                Err(error) => return Answer::Refused(error.into()),
            }
        }
    };
    let mut sides = Vec::with_capacity(buckets.len());
    for bucket in &buckets {
        match stores.open(&endpoint, &spec, bucket) {
            Ok(store) => sides.push(side(engine, &endpoint, &spec, bucket, "", store)),
            Err(error) => return Answer::Refused(error.into()),
        }
    }
    let of_queue = async {
        match &queue {
            None => None,
            Some(queue) => Some(queue_setup(queue.as_ref()).await),
        }
    };
    let of_buckets = join_all(sides.iter().map(async |side| {
        let read = || side.store.notifications();
        let told = side.call_briefly(Operation::GetNotifications, &Key::default(), read).await;
        let told = told.map_err(|failed| work_error(&failed.error));
        BucketSetup { bucket: side.bucket.clone(), told }
    }));
    let (queue, buckets) = tokio::join!(of_queue, of_buckets);
    Answer::SetUp(Box::new(Setup { queue, buckets }))
}

async fn queue_setup(queue: &dyn Queue) -> QueueSetup {
    let receipts = [NO_RECEIPT.to_owned()];
    let (attributes, deleting, hiding) = tokio::join!(
        briefly(queue.attributes()),
        briefly(queue.delete(&receipts)),
        briefly(queue.hide(&receipts, Duration::ZERO)),
    );
    QueueSetup { attributes, deleting: permitted(deleting), hiding: permitted(hiding) }
}

async fn briefly<T>(request: BoxFuture<'_, Result<T, Error>>) -> Result<T, WorkError> {
    match tokio::time::timeout(BRIEFLY, request).await {
        Ok(answer) => answer.map_err(|error| WorkError::from(&error)),
        Err(_) => Err(WorkError {
            class: FailureClass::Transient,
            code: "timeout".to_owned(),
            message: format!("no answer within {} s", BRIEFLY.as_secs()),
        }),
    }
}

/// Why something would not be done to a message, by what was answered for one that is none.
fn permitted(answer: Result<Vec<NotDone>, WorkError>) -> Option<WorkError> {
    match answer {
        Ok(not_done) => {
            let NotDone { code, .. } = not_done.into_iter().find(|one| one.code != INVALID)?;
            let message = "SQS refused the entry".to_owned();
            Some(WorkError { class: FailureClass::Permanent, code, message })
        }
        Err(error) if error.code == INVALID => None,
        Err(error) => Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_there_is_no_such_message_tells_that_it_may_be_done() {
        let entry = |code: &str| NotDone { receipt: NO_RECEIPT.to_owned(), code: code.to_owned() };
        let error = |code: &str| WorkError {
            class: FailureClass::Permanent,
            code: code.to_owned(),
            message: String::new(),
        };
        let cases = [
            (Ok(vec![entry(INVALID)]), None),
            // It says that it was done: there was nothing to do.
            (Ok(Vec::new()), None),
            (Ok(vec![entry("InternalError")]), Some("InternalError")),
            (Err(error(INVALID)), None),
            (Err(error("AccessDenied")), Some("AccessDenied")),
        ];
        for (answer, expected) in cases {
            let told = permitted(answer.clone()).map(|error| error.code);
            assert_eq!(told.as_deref(), expected, "{answer:?}");
        }
    }
}
