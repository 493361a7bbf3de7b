//! What is said of keys to delete.

use super::problems::path;
use super::run::key;
use super::{Problems, int32, int64};
use crate::model::{
    DeleteReview, DeleteShare, DeleteWork, ExtraKey, Extras, Key, KeyRange, MAX_DELETE_SAMPLES,
    MAX_DELETING, MAX_KEY_BYTES_PER_WORK, MAX_KEYS_PER_WORK, MAX_OBJECT_BYTES, Work,
};
use crate::pb::{agent::v1 as agent_pb, v1 as pb};

/// What a run found to delete.
pub(super) fn review(review: pb::DeleteReview, problems: &mut Problems) -> DeleteReview {
    let pb::DeleteReview { etag, destinations } = review;
    let shares = destinations.into_iter().enumerate().filter_map(|(index, share)| {
        let pb::DeleteShare {
            destination,
            extra,
            destination_listed,
            deleted,
            reason,
            sample_keys,
        } = share;
        let at = format!("deletes.destinations[{index}]");
        let destination = problems.small_count(&path(&at, "destination"), destination);
        let mut count = |field: &str, number: i64| problems.count(&path(&at, field), number);
        let (extra, deleted) = (count("extra", extra), count("deleted", deleted));
        let listed = count("destination_listed", destination_listed);
        let samples = sample_keys
            .into_iter()
            .map(|bytes| key(&path(&at, "sample_keys"), bytes, problems))
            .collect::<Option<_>>()?;
        Some(DeleteShare { destination, extra, listed, deleted, reason, samples })
    });
    DeleteReview { etag, destinations: shares.collect() }
}

/// The same for the wire.
pub(super) fn review_to(review: DeleteReview) -> pb::DeleteReview {
    let DeleteReview { etag, destinations } = review;
    let share = |share: DeleteShare| pb::DeleteShare {
        destination: int32(share.destination),
        extra: int64(share.extra),
        destination_listed: int64(share.listed),
        deleted: int64(share.deleted),
        reason: share.reason,
        sample_keys: share.samples.into_iter().map(Key::into_bytes).collect(),
    };
    pb::DeleteReview { etag, destinations: destinations.into_iter().map(share).collect() }
}

/// What a report says of keys to delete: those it names, samples, and those that are gone, with what stands there.
pub(super) fn extras(
    lists: [Vec<bytes::Bytes>; 3],
    gone_objects: Vec<String>,
    problems: &mut Problems,
) -> Extras {
    let [deleting, samples, gone] = lists;
    let deleting = keys("deleting", deleting, MAX_DELETING, problems).unwrap_or_default();
    let samples = samples.into_iter().filter_map(|one| key("extra_samples", one, problems));
    let samples = samples.take(MAX_DELETE_SAMPLES).collect();
    let gone = keys("gone", gone, MAX_KEYS_PER_WORK, problems)
        .map(|gone| with_objects("gone_objects", gone, gone_objects, problems))
        .unwrap_or_default();
    Extras { deleting, samples, gone, ..Extras::default() }
}

/// Delete work of an assignment.
pub(super) fn work(work: agent_pb::DeleteWork, problems: &mut Problems) -> Option<Work> {
    let agent_pb::DeleteWork { after, until, cursor, count_only, unconditional, deleting } = work;
    let mut optional =
        |field: &str, bytes: Option<_>| bytes.and_then(|bytes| key(field, bytes, problems));
    let range =
        KeyRange { after: optional("delete.after", after), until: optional("delete.until", until) };
    let cursor = optional("delete.cursor", cursor);
    let deleting = keys("delete.deleting", deleting, MAX_DELETING, problems)?;
    Some(Work::Delete(DeleteWork { range, cursor, count_only, unconditional, deleting }))
}

/// The same for the wire.
pub(super) fn work_to(work: DeleteWork) -> agent_pb::DeleteWork {
    let DeleteWork { range, cursor, count_only, unconditional, deleting } = work;
    agent_pb::DeleteWork {
        after: range.after.map(Key::into_bytes),
        until: range.until.map(Key::into_bytes),
        cursor: cursor.map(Key::into_bytes),
        count_only,
        unconditional,
        deleting: deleting.into_iter().map(Key::into_bytes).collect(),
    }
}

/// Work that deletes named keys.
pub(super) fn keys_to_delete(
    work: agent_pb::DeleteKeysWork,
    problems: &mut Problems,
) -> Option<Work> {
    let agent_pb::DeleteKeysWork { keys, unconditional, objects } = work;
    let keys = keys_work("delete_keys.keys", keys, problems)?;
    let keys = with_objects("delete_keys.objects", keys, objects, problems);
    Some(Work::DeleteKeys { keys, unconditional })
}

/// The same for the wire.
pub(super) fn keys_to_delete_to(
    keys: Vec<ExtraKey>,
    unconditional: bool,
) -> agent_pb::DeleteKeysWork {
    let (keys, objects) = without_objects(keys);
    agent_pb::DeleteKeysWork { keys, unconditional, objects }
}

/// Keys, each with its object.
fn with_objects(
    field: &str,
    keys: Vec<Key>,
    mut objects: Vec<String>,
    problems: &mut Problems,
) -> Vec<ExtraKey> {
    if objects.is_empty() {
        objects.resize(keys.len(), String::new());
    } else if objects.len() != keys.len() {
        let (there, wanted) = (objects.len(), keys.len());
        problems.add(field, format!("has {there} objects of {wanted} keys; give as many, or none"));
    }
    for (index, object) in objects.iter().enumerate() {
        let bytes = object.len();
        if bytes > MAX_OBJECT_BYTES {
            let text = format!("has {bytes} bytes; at most {MAX_OBJECT_BYTES} are allowed");
            problems.add(format!("{field}[{index}]"), text);
        }
    }
    keys.into_iter().zip(objects).map(|(key, object)| ExtraKey { key, object }).collect()
}

/// The same for the wire.
pub(super) fn without_objects(keys: Vec<ExtraKey>) -> (Vec<bytes::Bytes>, Vec<String>) {
    let (keys, mut objects): (Vec<_>, Vec<_>) =
        keys.into_iter().map(|ExtraKey { key, object }| (key.into_bytes(), object)).unzip();
    if objects.iter().all(String::is_empty) {
        objects.clear();
    }
    (keys, objects)
}

/// Keys, strictly ascending.
pub(super) fn keys(
    field: &str,
    keys: Vec<bytes::Bytes>,
    most: usize,
    problems: &mut Problems,
) -> Option<Vec<Key>> {
    if keys.len() > most {
        problems.add(field, format!("has {} keys; at most {most} are allowed", keys.len()));
        return None;
    }
    let read = |(index, bytes)| key(&format!("{field}[{index}]"), bytes, problems);
    let keys: Vec<_> = keys.into_iter().enumerate().map(read).collect::<Option<_>>()?;
    if !keys.is_sorted_by(|one, next| one < next) {
        problems.add(field, "is not strictly ascending");
        return None;
    }
    Some(keys)
}

/// The keys of key work: as many as one may have, strictly ascending.
pub(super) fn keys_work(
    field: &str,
    keys: Vec<bytes::Bytes>,
    problems: &mut Problems,
) -> Option<Vec<Key>> {
    let count = keys.len();
    if !(1..=MAX_KEYS_PER_WORK).contains(&count) {
        problems.add(field, format!("has {count} keys; 1 to {MAX_KEYS_PER_WORK} are allowed"));
        return None;
    }
    let total: usize = keys.iter().map(bytes::Bytes::len).sum();
    if total > MAX_KEY_BYTES_PER_WORK {
        let text =
            format!("has keys of {total} bytes; at most {MAX_KEY_BYTES_PER_WORK} are allowed");
        problems.add(field, text);
        return None;
    }
    self::keys(field, keys, MAX_KEYS_PER_WORK, problems)
}
