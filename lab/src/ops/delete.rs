//! DeleteObject and DeleteObjects.

use http::StatusCode;

use super::Payload;
use crate::endpoint::Capabilities;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::Bucket;
use crate::text::{element, elements, xml_unescape};

pub(super) fn one(
    bucket: &mut Bucket,
    call: &Call,
    capabilities: &Capabilities,
) -> S3Result<Reply> {
    let wanted = call.header("if-match").filter(|_| !capabilities.ignore_conditions);
    if let Some(wanted) = wanted {
        check(bucket, &call.key, wanted)?;
    }
    bucket.delete(&call.key);
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// A conditional delete needs the object, with that ETag (S3 User Guide, "Conditional deletes").
fn check(bucket: &Bucket, key: &[u8], wanted: &str) -> S3Result<()> {
    let object = bucket.get(key).ok_or_else(S3Error::no_such_key)?;
    if wanted == "*" || wanted.trim_matches('"') == object.etag {
        Ok(())
    } else {
        Err(S3Error::precondition())
    }
}

pub(super) fn many(
    bucket: &mut Bucket,
    payload: &Payload,
    capabilities: &Capabilities,
) -> S3Result<Reply> {
    let xml = std::str::from_utf8(&payload.body).map_err(|_| S3Error::malformed_xml())?;
    let quiet = elements(xml, "Quiet").first().is_some_and(|text| text.trim() == "true");
    let mut inner = String::new();
    for object in elements(xml, "Object") {
        let text = |name: &str| elements(object, name).first().map(|text| xml_unescape(text));
        let key = text("Key").ok_or_else(S3Error::malformed_xml)?;
        let wanted = text("ETag").filter(|_| !capabilities.ignore_conditions);
        match wanted.map_or(Ok(()), |wanted| check(bucket, key.as_bytes(), &wanted)) {
            Ok(()) => {
                bucket.delete(key.as_bytes());
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
    Ok(Reply::xml("DeleteResult", &inner))
}
