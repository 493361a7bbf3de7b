//! Object tags.

use std::collections::BTreeMap;

use http::StatusCode;

use super::Payload;
use super::object::verify;
use crate::endpoint::Endpoint;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::Object;
use crate::text::{element, elements, uri_decode, xml_unescape};

/// Most tags of an object (S3 User Guide, "Categorizing your storage using tags").
const MAX_TAGS: usize = 10;

/// Tags of the `x-amz-tagging` header, a query string.
pub(super) fn parse_header(text: &str) -> S3Result<BTreeMap<String, String>> {
    let decode =
        |part: &str| String::from_utf8_lossy(&uri_decode(&part.replace('+', " "))).into_owned();
    let tags: BTreeMap<_, _> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect();
    allowed(tags)
}

fn allowed(tags: BTreeMap<String, String>) -> S3Result<BTreeMap<String, String>> {
    if tags.len() > MAX_TAGS { Err(S3Error::too_many_tags()) } else { Ok(tags) }
}

pub(super) fn get(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let object = endpoint.state().bucket(&call.bucket)?.get(&call.key);
    let tags: String = object
        .ok_or_else(S3Error::no_such_key)?
        .tags
        .iter()
        .map(|(name, value)| {
            format!("<Tag>{}{}</Tag>", element("Key", name), element("Value", value))
        })
        .collect();
    Ok(Reply::xml("Tagging", &format!("<TagSet>{tags}</TagSet>")))
}

pub(super) fn put(endpoint: &Endpoint, call: &Call, payload: &Payload) -> S3Result<Reply> {
    verify(call, payload, &endpoint.capabilities())?;
    let xml = std::str::from_utf8(&payload.body).map_err(|_| S3Error::malformed_xml())?;
    let text = |tag: &str, name: &str| elements(tag, name).first().map(|text| xml_unescape(text));
    let tags = elements(xml, "Tag")
        .into_iter()
        .map(|tag| text(tag, "Key").zip(text(tag, "Value")).ok_or_else(S3Error::malformed_xml))
        .collect::<S3Result<_>>()?;
    set(endpoint, call, (StatusCode::OK, "ObjectTagging:Put"), allowed(tags)?)
}

pub(super) fn delete(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    set(endpoint, call, (StatusCode::NO_CONTENT, "ObjectTagging:Delete"), BTreeMap::new())
}

fn set(
    endpoint: &Endpoint,
    call: &Call,
    (status, event): (StatusCode, &'static str),
    tags: BTreeMap<String, String>,
) -> S3Result<Reply> {
    let mut state = endpoint.state();
    let bucket = state.bucket(&call.bucket)?;
    let object = bucket.get(&call.key).ok_or_else(S3Error::no_such_key)?;
    // Tags change without a change of LastModified or ETag.
    let object = bucket.put(call.key.clone(), Object { tags, ..Object::clone(&object) });
    Ok(Reply::empty(status).changing(endpoint.changed(&call.key, event, Some(&object))))
}
