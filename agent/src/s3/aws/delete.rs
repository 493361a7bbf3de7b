//! DeleteObject and DeleteObjects.

use std::collections::HashMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use s3sync_proto::model::Key;

use super::fail::{self, About};
use super::{ANSWER_TIMEOUT, AwsStore, answer, key_text, text};
use crate::s3::classify::Cause;
use crate::s3::{DeleteRequest, Error, Operation};

/// What became of each, in their order.
type Each = Vec<Result<(), Error>>;

pub(super) async fn one(store: &AwsStore, request: DeleteRequest) -> Result<(), Error> {
    let about = store.about(Operation::Delete, &request.key);
    let send = (store.client.plain.delete_object())
        .bucket(&store.bucket)
        .key(key_text(about, &request.key)?)
        .set_if_match(request.if_match.as_deref().map(text::quoted_etag))
        .send();
    answer(about, ANSWER_TIMEOUT, send).await.map(drop)
}

pub(super) async fn many(store: &AwsStore, requests: Vec<DeleteRequest>) -> Result<Each, Error> {
    // A batch has no key of its own; the first tells where it was.
    let first = requests.first().map(|request| request.key.clone()).unwrap_or_default();
    let about = store.about(Operation::DeleteMany, &first);
    let mut objects = Vec::with_capacity(requests.len());
    for request in &requests {
        let object = ObjectIdentifier::builder()
            .key(key_text(about, &request.key)?)
            .set_e_tag(request.if_match.as_deref().map(text::quoted_etag));
        objects.push(object.build().map_err(|error| not_a_request(about, &error))?);
    }
    let delete = Delete::builder().set_objects(Some(objects)).build();
    let delete = delete.map_err(|error| not_a_request(about, &error))?;
    let send = (store.client.plain.delete_objects()).bucket(&store.bucket).delete(delete).send();
    let answered = answer(about, ANSWER_TIMEOUT, send).await?;
    let mut told: HashMap<Key, Result<(), (String, String)>> = HashMap::new();
    for deleted in answered.deleted() {
        told.insert(Key::from(deleted.key().unwrap_or_default()), Ok(()));
    }
    for error in answered.errors() {
        let code = error.code().unwrap_or("unknown").to_owned();
        let message = error.message().unwrap_or_default().to_owned();
        told.insert(Key::from(error.key().unwrap_or_default()), Err((code, message)));
    }
    let mut each = Vec::with_capacity(requests.len());
    for request in &requests {
        let about = store.about(Operation::DeleteMany, &request.key);
        each.push(match told.remove(&request.key) {
            Some(Ok(())) => Ok(()),
            Some(Err((code, message))) => {
                // Its status is that of the batch, and says nothing of the key.
                let cause = Cause::Answer { status: 400, code: Some(&code) };
                Err(fail::ours(about, cause, &code, message))
            }
            None => {
                let message = "the answer says nothing of this key".to_owned();
                let cause = Cause::NotUnderstood { status: 200 };
                Err(fail::ours(about, cause, "invalid_answer", message))
            }
        });
    }
    Ok(each)
}

fn not_a_request(about: About<'_>, error: &aws_sdk_s3::error::BuildError) -> Error {
    fail::ours(about, Cause::NotARequest, "not_a_request", error.to_string())
}
