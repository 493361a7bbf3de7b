//! ListObjectsV2 and ListMultipartUploads.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::endpoint::Endpoint;
use crate::error::{S3Error, S3Result};
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::{Bucket, Entry};
use crate::text::{element, form_encode, xml_date, xml_escape};

/// Most keys of a page (ListObjectsV2, API reference).
const MAX_KEYS: usize = 1_000;

/// What a listing tells of an object with a restored copy.
const RESTORED: &str = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
                        <RestoreExpiryDate>2029-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>";

/// Above every key that begins with what it is appended to: no UTF-8 text has this byte.
const ABOVE_ALL: u8 = 0xff;

/// One page of a listing.
#[derive(Default)]
struct Page {
    entries: Vec<Entry>,
    groups: Vec<Bytes>,
    /// Where the next page begins after, when there is one.
    next: Option<Vec<u8>>,
}

/// Where a listing begins: at a key, or just above it.
struct Start {
    key: Vec<u8>,
    above: bool,
}

pub(crate) fn objects(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let max_keys = match call.query("max-keys") {
        None => MAX_KEYS,
        Some(text) => {
            text.parse::<usize>().map_err(|_| S3Error::invalid_argument("max-keys"))?.min(MAX_KEYS)
        }
    };
    let start = start(call)?;
    let (mut page, unordered) = {
        let mut state = endpoint.state();
        let page = page(state.bucket(&call.bucket)?, call, start, max_keys);
        (page, state.capabilities.unordered_listing)
    };
    if unordered && page.entries.len() > 1 {
        page.entries.swap(0, 1);
    }
    Ok(Reply::xml("ListBucketResult", &shown(&page, call, max_keys)))
}

fn start(call: &Call) -> S3Result<Start> {
    let prefix = call.query("prefix").unwrap_or_default().as_bytes();
    let after = match call.query("continuation-token") {
        Some(token) => Some(URL_SAFE_NO_PAD.decode(token).map_err(|_| {
            S3Error::invalid_argument("The continuation token provided is incorrect")
        })?),
        None => call.query("start-after").map(|after| after.as_bytes().to_vec()),
    };
    Ok(match after {
        Some(key) if key.as_slice() >= prefix => Start { key, above: true },
        _ => Start { key: prefix.to_vec(), above: false },
    })
}

/// The keys and groups of one page. Its cost is that of what it shows: a group is stepped over, not walked through.
fn page(bucket: &Bucket, call: &Call, start: Start, max_keys: usize) -> Page {
    let prefix = call.query("prefix").unwrap_or_default().as_bytes();
    let delimiter = call.query("delimiter").unwrap_or_default().as_bytes();
    let mut page = Page::default();
    let mut last = None;
    let mut walk = bucket.walk(&start.key, start.above);
    while let Some(entry) = walk.next().filter(|entry| entry.key.starts_with(prefix)) {
        if page.entries.len() + page.groups.len() == max_keys {
            page.next = last;
            break;
        }
        let rest = &entry.key[prefix.len()..];
        let cut = (!delimiter.is_empty())
            .then(|| rest.windows(delimiter.len()).position(|part| part == delimiter))
            .flatten();
        if let Some(cut) = cut {
            let group = entry.key.slice(..prefix.len() + cut + delimiter.len());
            let end = [group.as_ref(), &[ABOVE_ALL]].concat();
            walk = bucket.walk(&end, true);
            last = Some(end);
            page.groups.push(group);
        } else {
            last = Some(entry.key.to_vec());
            page.entries.push(entry);
        }
    }
    page
}

/// A page as XML.
fn shown(page: &Page, call: &Call, max_keys: usize) -> String {
    let encode = encoder(call);
    let mut inner = format!(
        "{}{}{}{}{}",
        element("Name", &call.bucket),
        element("Prefix", &encode(call.query("prefix").unwrap_or_default().as_bytes())),
        element("KeyCount", &(page.entries.len() + page.groups.len()).to_string()),
        element("MaxKeys", &max_keys.to_string()),
        element("IsTruncated", if page.next.is_some() { "true" } else { "false" }),
    );
    for (name, shown) in [("delimiter", "Delimiter"), ("start-after", "StartAfter")] {
        if let Some(text) = call.query(name) {
            inner.push_str(&element(shown, &encode(text.as_bytes())));
        }
    }
    for (name, shown) in
        [("encoding-type", "EncodingType"), ("continuation-token", "ContinuationToken")]
    {
        if let Some(text) = call.query(name) {
            inner.push_str(&element(shown, text));
        }
    }
    if let Some(next) = &page.next {
        inner.push_str(&element("NextContinuationToken", &URL_SAFE_NO_PAD.encode(next)));
    }
    let asked = call.header("x-amz-optional-object-attributes").unwrap_or_default();
    let restores = asked.split(',').any(|name| name.trim() == "RestoreStatus");
    // Neighbours were often changed within the same second; in generated spaces, all were.
    let mut date = (i64::MIN, String::new());
    for entry in &page.entries {
        if date.0 != entry.modified {
            date = (entry.modified, xml_date(entry.modified));
        }
        contents(&mut inner, entry, &encode(&entry.key), &date.1);
        if restores && entry.restored {
            inner.push_str(RESTORED);
        }
        inner.push_str("</Contents>");
    }
    for group in &page.groups {
        let prefix = element("Prefix", &encode(group));
        inner.push_str(&format!("<CommonPrefixes>{prefix}</CommonPrefixes>"));
    }
    inner
}

fn contents(out: &mut String, entry: &Entry, key: &str, date: &str) {
    let Entry { size, etag, storage_class, .. } = entry;
    let class = if storage_class.is_empty() { "STANDARD" } else { storage_class };
    let checksum = entry.checksum.map(|(algorithm, kind)| {
        let (algorithm, kind) = (algorithm.name(), kind.name());
        format!(
            "<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{kind}</ChecksumType>"
        )
    });
    write!(
        out,
        "<Contents><Key>{}</Key><LastModified>{date}</LastModified><ETag>&quot;{etag}&quot;</ETag>{}<Size>{size}</Size>\
         <StorageClass>{class}</StorageClass>",
        xml_escape(key),
        checksum.unwrap_or_default(),
    )
    .expect("a text takes everything");
}

/// Open uploads, by key and then by their beginning.
pub(crate) fn uploads(endpoint: &Endpoint, call: &Call) -> S3Result<Reply> {
    let prefix = call.query("prefix").unwrap_or_default().as_bytes();
    let marker = call.query("key-marker").unwrap_or_default().as_bytes();
    let id_marker = call.query("upload-id-marker");
    let limit = call.query("max-uploads").and_then(|text| text.parse().ok());
    let limit = limit.map_or(MAX_KEYS, |limit: usize| limit.min(MAX_KEYS));
    let encode = encoder(call);
    let mut state = endpoint.state();
    let bucket = state.bucket(&call.bucket)?;
    let mut found: Vec<_> =
        bucket.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix)).collect();
    found.sort_by_key(|(id, upload)| (&upload.key, upload.initiated, *id));
    let begin = match id_marker.and_then(|marker| found.iter().position(|(id, _)| *id == marker)) {
        Some(at) => at + 1,
        None => found.iter().take_while(|(_, upload)| upload.key.as_ref() <= marker).count(),
    };
    let begin = if marker.is_empty() && id_marker.is_none() { 0 } else { begin };
    let page = &found[begin..found.len().min(begin + limit)];
    let truncated = begin + page.len() < found.len();
    let mut inner = format!(
        "{}{}{}",
        element("Bucket", &call.bucket),
        element("MaxUploads", &limit.to_string()),
        element("IsTruncated", if truncated { "true" } else { "false" })
    );
    if let Some((id, upload)) = page.last().filter(|_| truncated) {
        inner.push_str(&element("NextKeyMarker", &encode(&upload.key)));
        inner.push_str(&element("NextUploadIdMarker", id));
    }
    if call.query("encoding-type") == Some("url") {
        inner.push_str(&element("EncodingType", "url"));
    }
    for (id, upload) in page {
        inner.push_str(&format!(
            "<Upload>{}{}{}</Upload>",
            element("Key", &encode(&upload.key)),
            element("UploadId", id),
            element("Initiated", &xml_date(upload.initiated)),
        ));
    }
    Ok(Reply::xml("ListMultipartUploadsResult", &inner))
}

fn encoder(call: &Call) -> impl Fn(&[u8]) -> String + use<> {
    let url = call.query("encoding-type") == Some("url");
    move |key| if url { form_encode(key) } else { String::from_utf8_lossy(key).into_owned() }
}
