//! DeleteObject and DeleteObjects.

use bytes::Bytes;
use http::StatusCode;

use super::Payload;
use super::object::verify;
use crate::endpoint::Endpoint;
use crate::error::{S3Error, S3Result};
use crate::record::Change;
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::Bucket;
use crate::text::{element, elements, xml_unescape};

/// Most keys of a batch (API reference, DeleteObjects).
const MAX_BATCH: usize = 1_000;

pub(super) fn one(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let mut state = endpoint.state();
    let conditional = !state.capabilities.ignore_conditions;
    let bucket = state.bucket(&call.bucket)?;
    let wanted = call.header("if-match").filter(|_| conditional);
    let change = remove(endpoint, bucket, &call.key, wanted)?;
    let mut reply = Reply::empty(StatusCode::NO_CONTENT);
    reply.changes.extend(change);
    Ok(reply)
}

/// Removes an object. A condition needs the object, with that ETag (S3 User Guide, "Conditional deletes").
fn remove(
    endpoint: &Endpoint,
    bucket: &mut Bucket,
    key: &Bytes,
    wanted: Option<&str>,
) -> S3Result<Option<Change>> {
    if let Some(wanted) = wanted {
        let object = bucket.get(key).ok_or_else(S3Error::no_such_key)?;
        if wanted != "*" && wanted.trim_matches('"') != object.etag {
            return Err(S3Error::precondition());
        }
    }
    let was_there = bucket.delete(key);
    Ok(was_there.then(|| endpoint.changed(key, "ObjectRemoved:Delete", None)))
}

pub(super) fn many(endpoint: &Endpoint, call: &Call, payload: &Payload) -> S3Result<Reply> {
    let sent = verify(call, payload, &endpoint.capabilities())?;
    if sent.is_none() && call.header("content-md5").is_none() {
        return Err(S3Error::missing_digest());
    }
    let xml = std::str::from_utf8(&payload.body).map_err(|_| S3Error::malformed_xml())?;
    let quiet = elements(xml, "Quiet").first().is_some_and(|text| text.trim() == "true");
    let objects = elements(xml, "Object");
    if objects.is_empty() || objects.len() > MAX_BATCH {
        return Err(S3Error::malformed_xml());
    }
    let mut state = endpoint.state();
    let capabilities = &state.capabilities;
    let conditional = !capabilities.ignore_conditions && !capabilities.ignore_batch_etags;
    let bucket = state.bucket(&call.bucket)?;
    let (mut inner, mut changes) = (String::new(), Vec::new());
    for (index, object) in objects.into_iter().enumerate() {
        let text = |name: &str| elements(object, name).first().map(|text| xml_unescape(text));
        let key = text("Key").ok_or_else(S3Error::malformed_xml)?;
        let wanted = text("ETag").filter(|_| conditional);
        let removed = if index == 0 && payload.first_fails {
            Err(S3Error::internal())
        } else {
            remove(endpoint, bucket, &Bytes::from(key.clone()), wanted.as_deref())
        };
        match removed {
            Ok(change) => {
                changes.extend(change);
                if !quiet {
                    inner.push_str(&format!("<Deleted>{}</Deleted>", element("Key", &key)));
                }
            }
            Err(error) => inner.push_str(&format!(
                "<Error>{}{}{}</Error>",
                element("Key", &key),
                element("Code", error.code),
                element("Message", &error.message)
            )),
        }
    }
    Ok(Reply { changes, ..Reply::xml("DeleteResult", &inner) })
}
