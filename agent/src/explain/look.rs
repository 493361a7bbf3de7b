//! One side of a key: a listing of exactly that key, as a scan sees it and as the proof that it is not there; then a HEAD
//! for the rest.

use s3sync_proto::model::{
    FailureClass, Key, MAX_KEY_BYTES, ObjectState, Presence, ShownChecksum, WorkError,
};

use crate::compare::{Found, STAMP};
use crate::copy::failure_class;
use crate::s3::{Class, HeadRequest, ListRequest, Listed, Object, Operation};
use crate::worker::side::{Failed, Side};

/// Longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 1024;

/// What was found on one side.
pub(super) struct Looked {
    pub(super) state: ObjectState,
    /// As a scan finds it; `None` when it is not there, or could not be listed.
    pub(super) found: Option<Found>,
    /// What a HEAD says of it.
    pub(super) object: Option<Object>,
}

pub(super) async fn look(side: &Side, key: &Key) -> Looked {
    let full = side.full(key);
    let state = nothing_yet(side, &full);
    let nothing = |state| Looked { state, found: None, object: None };
    let length = full.as_bytes().len();
    if length > MAX_KEY_BYTES {
        let message = format!("the full key has {length} bytes; S3 takes {MAX_KEY_BYTES}");
        let problem = problem(FailureClass::Permanent, "key_too_long", message);
        return nothing(ObjectState { problem, ..state });
    }
    if length == 0 {
        let message = "prefix and key together are empty, and S3 has no such key".to_owned();
        let problem = problem(FailureClass::Permanent, "key_empty", message);
        return nothing(ObjectState { problem, ..state });
    }
    // Of all keys that begin with it, the key itself is the first.
    let request = ListRequest { prefix: full.clone(), max_keys: 1, ..ListRequest::default() };
    let page =
        match side.call_briefly(Operation::List, key, || side.store.list(request.clone())).await {
            Ok(page) => page,
            Err(failed) => return nothing(ObjectState { problem: problem_of(&failed), ..state }),
        };
    let Some(listed) = page.objects.into_iter().find(|listed| listed.key == full) else {
        return nothing(ObjectState { presence: Presence::Absent, ..state });
    };
    let state = as_listed(state, &listed);
    let archived = listed.is_archived();
    let Listed { key: _, size, etag, modified, storage_class, restored: _ } = listed;
    let found = Some(Found { key: key.clone(), size, etag, modified, storage_class, archived });
    let request = HeadRequest { key: full, ..HeadRequest::default() };
    match side.call_briefly(Operation::Head, key, || side.store.head(request.clone())).await {
        Ok(object) => {
            let state = with_head(side, key, state, &object).await;
            Looked { state, found, object: Some(object) }
        }
        Err(failed) => {
            let gone = matches!(failed.error.class, Class::NotFound | Class::NoSuchKey);
            let problem = if gone {
                let message = "it was listed, and gone a moment later; ask again".to_owned();
                problem(FailureClass::Changed, "changed", message)
            } else {
                problem_of(&failed)
            };
            Looked { state: ObjectState { problem, ..state }, found, object: None }
        }
    }
}

/// The tags of an object.
pub(super) async fn tags(side: &Side, key: &Key) -> Result<Vec<(String, String)>, Failed> {
    let full = side.full(key);
    side.call_briefly(Operation::GetTags, key, || side.store.get_tags(&full)).await
}

fn nothing_yet(side: &Side, full: &Key) -> ObjectState {
    ObjectState {
        bucket: side.bucket.clone(),
        key: full.clone(),
        presence: Presence::Unknown,
        problem: None,
        size: 0,
        etag: String::new(),
        etag_kind: side.etags(),
        modified: None,
        storage_class: String::new(),
        archived: false,
        encryption: String::new(),
        version_id: String::new(),
        stamp: String::new(),
        checksums: Vec::new(),
        tags: None,
        content_type: String::new(),
    }
}

fn as_listed(state: ObjectState, listed: &Listed) -> ObjectState {
    ObjectState {
        presence: Presence::Present,
        size: listed.size,
        etag: listed.etag.clone(),
        modified: Some(listed.modified),
        storage_class: listed.storage_class.clone(),
        archived: listed.is_archived(),
        ..state
    }
}

async fn with_head(side: &Side, key: &Key, state: ObjectState, object: &Object) -> ObjectState {
    let mut problem = None;
    let count = match object.tag_count {
        Some(count) => Some(count),
        // S3 leaves the count out when there are none, or when it must not tell.
        None => match tags(side, key).await {
            Ok(tags) => u32::try_from(tags.len()).ok(),
            Err(failed) => {
                problem = problem_of(&failed);
                None
            }
        },
    };
    let checksums = object.checksums.iter().map(|checksum| ShownChecksum {
        algorithm: checksum.algorithm.to_owned(),
        value: checksum.value.clone(),
        whole: checksum.whole,
    });
    ObjectState {
        problem,
        archived: state.archived || object.is_archived(),
        encryption: object.encryption.clone().unwrap_or_default(),
        version_id: object.version_id.clone().unwrap_or_default(),
        stamp: object.attributes.metadata.get(STAMP).cloned().unwrap_or_default(),
        checksums: checksums.collect(),
        tags: count,
        content_type: object.attributes.content_type.clone().unwrap_or_default(),
        ..state
    }
}

fn problem(class: FailureClass, code: &str, message: String) -> Option<WorkError> {
    Some(WorkError { class, code: code.to_owned(), message })
}

fn problem_of(failed: &Failed) -> Option<WorkError> {
    let error = &failed.error;
    let mut message = format!("{}: {}", error.operation, error.message);
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    problem(failure_class(error.class), &error.code, message)
}
