//! Object tags.

use std::collections::BTreeMap;

use http::StatusCode;

use super::Payload;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Bucket, Object};
use crate::text::{element, elements, uri_decode, xml_unescape};

/// Tags of the `x-amz-tagging` header, a query string.
pub(super) fn parse_header(text: &str) -> BTreeMap<String, String> {
    let decode =
        |part: &str| String::from_utf8_lossy(&uri_decode(&part.replace('+', " "))).into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

pub(super) fn get(bucket: &Bucket, call: &Call) -> S3Result<Reply> {
    let object = bucket.get(&call.key).ok_or_else(S3Error::no_such_key)?;
    let tags: String = object
        .tags
        .iter()
        .map(|(name, value)| {
            format!("<Tag>{}{}</Tag>", element("Key", name), element("Value", value))
        })
        .collect();
    Ok(Reply::xml("Tagging", &format!("<TagSet>{tags}</TagSet>")))
}

pub(super) fn put(bucket: &mut Bucket, call: &Call, payload: &Payload) -> S3Result<Reply> {
    let xml = std::str::from_utf8(&payload.body).map_err(|_| S3Error::malformed_xml())?;
    let text = |tag: &str, name: &str| elements(tag, name).first().map(|text| xml_unescape(text));
    let tags = elements(xml, "Tag")
        .into_iter()
        .map(|tag| text(tag, "Key").zip(text(tag, "Value")).ok_or_else(S3Error::malformed_xml))
        .collect::<S3Result<_>>()?;
    set(bucket, call, tags)?;
    Ok(Reply::empty(StatusCode::OK))
}

pub(super) fn delete(bucket: &mut Bucket, call: &Call) -> S3Result<Reply> {
    set(bucket, call, BTreeMap::new())?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn set(bucket: &mut Bucket, call: &Call, tags: BTreeMap<String, String>) -> S3Result<()> {
    let object = bucket.get(&call.key).ok_or_else(S3Error::no_such_key)?;
    // Tags change without a change of LastModified or ETag.
    bucket.put(call.key.clone(), Object { tags, ..Object::clone(&object) });
    Ok(())
}
