//! ListObjectsV2 and ListMultipartUploads.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::endpoint::Capabilities;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Bucket, Entry};
use crate::text::{element, form_encode, xml_date};

/// Most keys of a page (ListObjectsV2, API reference).
const MAX_KEYS: usize = 1_000;

/// One page of a listing.
#[derive(Default)]
struct Page {
    contents: Vec<String>,
    groups: Vec<String>,
    /// Where the next page begins after, when there is one.
    next: Option<Vec<u8>>,
}

pub(crate) fn objects(
    bucket: &Bucket,
    call: &Call,
    capabilities: &Capabilities,
) -> S3Result<Reply> {
    let prefix = call.query("prefix").unwrap_or_default().as_bytes().to_vec();
    let encode = encoder(call);
    let max_keys = match call.query("max-keys") {
        None => MAX_KEYS,
        Some(text) => {
            text.parse::<usize>().map_err(|_| S3Error::invalid("max-keys"))?.min(MAX_KEYS)
        }
    };
    let token = call.query("continuation-token").map(|token| URL_SAFE_NO_PAD.decode(token));
    let after = match token {
        Some(Ok(after)) => Some(after),
        Some(Err(_)) => {
            return Err(S3Error::invalid("The continuation token provided is incorrect"));
        }
        None => call.query("start-after").map(|after| after.as_bytes().to_vec()),
    };
    let mut from = prefix.clone();
    let mut above = false;
    if let Some(after) = after.filter(|after| *after >= prefix) {
        from = after;
        above = true;
    }
    let mut page = page(bucket, call, (&from, above), max_keys);
    if capabilities.unordered_listing && page.contents.len() > 1 {
        page.contents.swap(0, 1);
    }
    let mut inner = format!(
        "{}{}{}{}{}",
        element("Name", &call.bucket),
        element("Prefix", &encode(&prefix)),
        element("KeyCount", &(page.contents.len() + page.groups.len()).to_string()),
        element("MaxKeys", &max_keys.to_string()),
        element("IsTruncated", if page.next.is_some() { "true" } else { "false" }),
    );
    if call.query("encoding-type") == Some("url") {
        inner.push_str(&element("EncodingType", "url"));
    }
    if let Some(next) = page.next {
        inner.push_str(&element("NextContinuationToken", &URL_SAFE_NO_PAD.encode(next)));
    }
    inner.extend(page.contents);
    inner.extend(page.groups);
    Ok(Reply::xml("ListBucketResult", &inner))
}

/// The keys and groups of one page, from a place on.
fn page(bucket: &Bucket, call: &Call, from: (&[u8], bool), max_keys: usize) -> Page {
    let prefix = call.query("prefix").unwrap_or_default().as_bytes();
    let delimiter = call.query("delimiter").unwrap_or_default().as_bytes();
    let encode = encoder(call);
    let mut page = Page::default();
    let mut last = None;
    let mut walk = bucket.walk(from.0, from.1).take_while(|entry| entry.key.starts_with(prefix));
    let mut next = walk.next();
    while let Some(entry) = next {
        if page.contents.len() + page.groups.len() == max_keys {
            page.next = last;
            break;
        }
        let rest = &entry.key[prefix.len()..];
        let cut = (!delimiter.is_empty())
            .then(|| rest.windows(delimiter.len()).position(|part| part == delimiter))
            .flatten();
        next = match cut {
            Some(cut) => {
                let group = entry.key.slice(..prefix.len() + cut + delimiter.len());
                page.groups.push(format!(
                    "<CommonPrefixes>{}</CommonPrefixes>",
                    element("Prefix", &encode(&group))
                ));
                // No UTF-8 text is above this.
                let end = [group.as_ref(), &[0xff; 8]].concat();
                last = Some(end.clone());
                walk.find(|entry| entry.key.as_ref() > end.as_slice())
            }
            None => {
                last = Some(entry.key.to_vec());
                page.contents.push(contents(&entry, &encode(&entry.key)));
                walk.next()
            }
        };
    }
    page
}

fn contents(entry: &Entry, key: &str) -> String {
    let class = if entry.storage_class.is_empty() { "STANDARD" } else { &entry.storage_class };
    format!(
        "<Contents>{}{}{}{}{}</Contents>",
        element("Key", key),
        element("LastModified", &xml_date(entry.modified)),
        element("ETag", &format!("\"{}\"", entry.etag)),
        element("Size", &entry.size.to_string()),
        element("StorageClass", class),
    )
}

pub(crate) fn uploads(bucket: &Bucket, call: &Call) -> Reply {
    let prefix = call.query("prefix").unwrap_or_default().as_bytes();
    let encode = encoder(call);
    let mut found: Vec<_> =
        bucket.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix)).collect();
    found.sort_by(|(a_id, a), (b_id, b)| {
        (&a.key, a.initiated, a_id).cmp(&(&b.key, b.initiated, b_id))
    });
    let mut inner =
        format!("{}{}", element("Bucket", &call.bucket), element("IsTruncated", "false"));
    if call.query("encoding-type") == Some("url") {
        inner.push_str(&element("EncodingType", "url"));
    }
    for (id, upload) in found {
        inner.push_str(&format!(
            "<Upload>{}{}{}</Upload>",
            element("Key", &encode(&upload.key)),
            element("UploadId", id),
            element("Initiated", &xml_date(upload.initiated)),
        ));
    }
    Reply::xml("ListMultipartUploadsResult", &inner)
}

fn encoder(call: &Call) -> impl Fn(&[u8]) -> String + use<> {
    let url = call.query("encoding-type") == Some("url");
    move |key| if url { form_encode(key) } else { String::from_utf8_lossy(key).into_owned() }
}
