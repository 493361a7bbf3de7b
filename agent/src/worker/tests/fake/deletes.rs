//! Conditions and deletes, as S3 has them.

#![expect(clippy::result_large_err, reason = "the seam's own error type, in a test")]

use std::sync::atomic::Ordering;

use s3sync_proto::model::Key;

use super::Fake;
use super::wire::error;
use crate::s3::{Class, Condition, DeleteRequest, Error, Operation};

impl Fake {
    pub(super) fn check(
        &self,
        condition: &Condition,
        key: &Key,
        operation: Operation,
    ) -> Result<(), Error> {
        if !self.nature.conditions {
            return Ok(());
        }
        let there = self.with(|c| c.objects.get(key).map(|object| object.etag.clone()));
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => there.is_none(),
            Condition::Matches(etag) => there.as_ref() == Some(etag),
        };
        if holds { Ok(()) } else { Err(error(Class::Precondition, operation, key)) }
    }

    pub(super) async fn remove_one(&self, request: DeleteRequest) -> Result<(), Error> {
        let key = request.key.clone();
        let fault = self.begin(Operation::Delete, &key).await?;
        self.arrive(&key, move |fake| fake.remove(&request, Operation::Delete)).await?;
        Self::answer(fault, Operation::Delete, &key, ())
    }

    pub(super) async fn remove_all(
        &self,
        requests: Vec<DeleteRequest>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let first = requests[0].key.clone();
        let fault = self.begin(Operation::DeleteMany, &first).await?;
        let each = move |fake: &Self| {
            requests.iter().map(|one| fake.remove(one, Operation::DeleteMany)).collect()
        };
        let each = self.arrive(&first, each).await;
        Self::answer(fault, Operation::DeleteMany, &first, each)
    }

    /// Removes an object, if its ETag is the one that is meant.
    fn remove(&self, request: &DeleteRequest, operation: Operation) -> Result<(), Error> {
        let batch = operation == Operation::DeleteMany && self.with(|c| c.no_batch_etags);
        let honoured = self.nature.conditions && !batch;
        self.with(|c| {
            let there = c.objects.get(&request.key).map(|object| object.etag.clone());
            if let Some(wanted) = request.if_match.as_ref().filter(|_| honoured) {
                let class = match &there {
                    None => Some(Class::NoSuchKey),
                    Some(etag) if etag != wanted => Some(Class::Precondition),
                    Some(_) => None,
                };
                if let Some(class) = class {
                    return Err(error(class, operation, &request.key));
                }
            }
            if c.objects.remove(&request.key).is_some() {
                c.deleted.push(request.key.clone());
                c.deleted_at.insert(request.key.clone(), c.ticks.fetch_add(1, Ordering::SeqCst));
            }
            Ok(())
        })
    }
}
