//! Operations without sockets: conditions under contention, ETags and checksums, what listings cost.

mod giants;

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;

use super::{Payload, perform};
use crate::checksum::{Algorithm, md5, multipart_etag};
use crate::endpoint::{Capabilities, Endpoint, EndpointConfig};
use crate::generated::Generated;
use crate::reply::Reply;
use crate::request::Call;
use crate::storage::Object;
use crate::text::{elements, hex};

fn endpoint() -> Arc<Endpoint> {
    with(Capabilities { min_part_size: 1, ..Capabilities::default() })
}

fn with(capabilities: Capabilities) -> Arc<Endpoint> {
    let config = EndpointConfig::new("lab", "us-east-1").bucket("b").capabilities(capabilities);
    Endpoint::new(config, SocketAddr::from(([127, 0, 0, 1], 1)))
}

/// Performs a request such as `PUT /b/k`; an error is its code.
fn ask(
    endpoint: &Endpoint,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, &'static str> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let call = Call::new(&request.body(()).unwrap().into_parts().0);
    let payload = Payload { body: body.to_owned().into(), ..Payload::default() };
    perform(endpoint, &call, &payload).map_err(|error| error.code)
}

fn etag(reply: &Reply) -> String {
    reply.headers["etag"].to_str().unwrap().trim_matches('"').to_owned()
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

fn first<'a>(reply: &'a Reply, name: &str) -> &'a str {
    elements(text(reply), name).first().copied().unwrap_or_default()
}

fn create(endpoint: &Endpoint, key: &str, headers: &[(&str, &str)]) -> String {
    let reply = ask(endpoint, &format!("POST /b/{key}?uploads"), headers, "").unwrap();
    first(&reply, "UploadId").to_owned()
}

fn part(endpoint: &Endpoint, id: &str, number: u32, body: &str) -> String {
    let line = format!("PUT /b/k?partNumber={number}&uploadId={id}");
    etag(&ask(endpoint, &line, &[], body).unwrap())
}

fn complete(
    endpoint: &Endpoint,
    id: &str,
    parts: &[(u32, &str)],
    headers: &[(&str, &str)],
) -> Result<Reply, &'static str> {
    let part = |(number, etag): &(u32, &str)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>")
    };
    let xml: String = parts.iter().map(part).collect();
    let xml = format!("<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>");
    ask(endpoint, &format!("POST /b/k?uploadId={id}"), headers, &xml)
}

/// Deletes a batch, with the digest it needs.
fn batch(endpoint: &Endpoint, xml: &str) -> Result<Reply, &'static str> {
    let checksum = Algorithm::Crc32.of(xml.as_bytes());
    ask(endpoint, "POST /b?delete", &[("x-amz-checksum-crc32", &checksum)], xml)
}

#[test]
fn of_many_conditional_writes_at_once_one_wins() {
    let endpoint = endpoint();
    for round in 0..50 {
        let line = format!("PUT /b/k{round}");
        let won = std::thread::scope(|scope| {
            let put = |_| scope.spawn(|| ask(&endpoint, &line, &[("if-none-match", "*")], "x"));
            let all: Vec<_> = (0..8).map(put).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(Result::is_ok).count()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn of_many_replacements_of_one_etag_one_wins() {
    let endpoint = endpoint();
    let old = etag(&ask(&endpoint, "PUT /b/k", &[], "old").unwrap());
    let put = |n: usize| ask(&endpoint, "PUT /b/k", &[("if-match", &old)], &n.to_string());
    let won = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|n| scope.spawn(move || put(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(Result::is_ok).count()
    });
    assert_eq!(won, 1);
}

#[test]
fn conditions_have_the_errors_of_s3() {
    let endpoint = endpoint();
    let etag = etag(&ask(&endpoint, "PUT /b/k", &[], "x").unwrap());
    let put = |line: &str, name, value| ask(&endpoint, line, &[(name, value)], "y").err();
    assert_eq!(put("PUT /b/k", "if-none-match", "*"), Some("PreconditionFailed"));
    assert_eq!(put("PUT /b/k", "if-match", "\"other\""), Some("PreconditionFailed"));
    assert_eq!(put("PUT /b/none", "if-match", &etag), Some("NoSuchKey"));
    assert_eq!(put("PUT /b/k", "if-none-match", &etag), Some("NotImplemented"));
    assert_eq!(put("DELETE /b/none", "if-match", "*"), Some("NoSuchKey"));
    assert_eq!(put("DELETE /b/k", "if-match", "\"other\""), Some("PreconditionFailed"));
    let source = |condition, value| [("x-amz-copy-source", "/b/k"), (condition, value)];
    let copy = |headers: &[(&str, &str)]| ask(&endpoint, "PUT /b/k2", headers, "").err();
    let wrong = source("x-amz-copy-source-if-match", "\"other\"");
    assert_eq!(copy(&wrong), Some("PreconditionFailed"));
    assert_eq!(copy(&source("if-none-match", "*")), None);
    assert_eq!(copy(&source("if-none-match", "*")), Some("PreconditionFailed"));
    let none = [("x-amz-copy-source", "b/none")];
    assert_eq!(copy(&none), Some("NoSuchKey"));
    let itself = ask(&endpoint, "PUT /b/k", &[("x-amz-copy-source", "b/k")], "");
    assert_eq!(itself.err(), Some("InvalidRequest"));
    assert_eq!(put("DELETE /b/k", "if-match", &etag), None);
}

#[test]
fn a_server_that_ignores_conditions_overwrites_and_says_nothing() {
    let endpoint = with(Capabilities { ignore_conditions: true, ..Capabilities::default() });
    ask(&endpoint, "PUT /b/k", &[], "old").unwrap();
    ask(&endpoint, "PUT /b/k", &[("if-none-match", "*")], "new").unwrap();
    assert_eq!(endpoint.object("b", "k").unwrap().body, "new");
}

#[test]
fn an_etag_is_an_md5_unless_kms_or_parts_say_otherwise() {
    let endpoint = endpoint();
    let md5_of = |bytes: &[u8]| hex(&md5(bytes));
    assert_eq!(etag(&ask(&endpoint, "PUT /b/k", &[], "x").unwrap()), md5_of(b"x"));
    let kms = [("x-amz-server-side-encryption", "aws:kms")];
    assert_ne!(etag(&ask(&endpoint, "PUT /b/kms", &kms, "x").unwrap()), md5_of(b"x"));
    let id = create(&endpoint, "k", &[]);
    let (a, b) = (part(&endpoint, &id, 1, "a"), part(&endpoint, &id, 3, "b"));
    assert_eq!([&a, &b], [&md5_of(b"a"), &md5_of(b"b")]);
    complete(&endpoint, &id, &[(1, &a), (3, &b)], &[]).unwrap();
    let object = endpoint.object("b", "k").unwrap();
    assert_eq!(object.etag, multipart_etag(&[md5(b"a"), md5(b"b")]));
    let copy = [("x-amz-copy-source", "b/k")];
    let copied = ask(&endpoint, "PUT /b/copy", &copy, "").unwrap();
    assert_eq!(first(&copied, "ETag"), format!("&quot;{}&quot;", md5_of(b"ab")));
}

#[test]
fn a_completion_is_refused_for_what_is_wrong_and_leaves_the_upload_open() {
    let endpoint = endpoint();
    let id = create(&endpoint, "k", &[]);
    let (a, b) = (part(&endpoint, &id, 1, "a"), part(&endpoint, &id, 2, "b"));
    let both = [(1, a.as_str()), (2, b.as_str())];
    let refused = |parts: &[(u32, &str)], headers: &[(&str, &str)]| {
        complete(&endpoint, &id, parts, headers).err()
    };
    assert_eq!(refused(&[(2, &b), (1, &a)], &[]), Some("InvalidPartOrder"));
    assert_eq!(refused(&[(1, &b)], &[]), Some("InvalidPart"));
    assert_eq!(refused(&[(4, &b)], &[]), Some("InvalidPart"));
    assert_eq!(refused(&[], &[]), Some("MalformedXML"));
    assert_eq!(refused(&both, &[("x-amz-mp-object-size", "3")]), Some("InvalidRequest"));
    assert_eq!(refused(&both, &[("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")]), Some("BadDigest"));
    assert_eq!(refused(&both, &[("if-match", "*")]), Some("NoSuchKey"));
    endpoint.seed("b", "k", "was first");
    assert_eq!(refused(&both, &[("if-none-match", "*")]), Some("PreconditionFailed"));
    assert_eq!(endpoint.open_uploads("b").len(), 1);
    assert_eq!(refused(&both, &[("x-amz-mp-object-size", "2")]), None);
    assert_eq!(refused(&both, &[]), Some("NoSuchUpload"));
    assert_eq!(endpoint.object("b", "k").unwrap().body, "ab");
}

#[test]
fn of_many_conditional_completions_at_once_one_wins() {
    let endpoint = endpoint();
    let body = "x".repeat(1 << 20);
    for _ in 0..5 {
        let begun = || {
            let id = create(&endpoint, "k", &[]);
            let parts = [1, 2].map(|number| part(&endpoint, &id, number, &body));
            (id, parts)
        };
        let uploads: Vec<_> = (0..4).map(|_| begun()).collect();
        let finish = |(id, [a, b]): &(String, [String; 2])| {
            complete(&endpoint, id, &[(1, a), (2, b)], &[("if-none-match", "*")])
        };
        let won = std::thread::scope(|scope| {
            let all: Vec<_> = uploads.iter().map(|one| scope.spawn(|| finish(one))).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(Result::is_ok).count()
        });
        assert_eq!((won, endpoint.open_uploads("b").len()), (1, 3));
        endpoint.remove("b", "k");
        for upload in endpoint.open_uploads("b") {
            let line = format!("DELETE /b/k?uploadId={}", upload.upload_id);
            ask(&endpoint, &line, &[], "").unwrap();
        }
    }
}

#[test]
fn of_a_completion_and_an_abort_or_a_new_part_at_once_one_wins() {
    let endpoint = endpoint();
    let body = "x".repeat(1 << 20);
    for round in 0..40 {
        let id = create(&endpoint, "k", &[]);
        let [a, b] = [1, 2].map(|number| part(&endpoint, &id, number, &body));
        let abort = format!("DELETE /b/k?uploadId={id}");
        let replace = format!("PUT /b/k?partNumber=1&uploadId={id}");
        let line = if round % 2 == 0 { abort } else { replace };
        let (completed, other) = std::thread::scope(|scope| {
            let complete = scope.spawn(|| complete(&endpoint, &id, &[(1, &a), (2, &b)], &[]));
            // At another moment of the completion each time.
            std::hint::black_box(md5(&vec![0; round * 1_000]));
            let other = ask(&endpoint, &line, &[], "new");
            (complete.join().unwrap().is_ok(), other.is_ok())
        });
        assert_ne!(completed, other, "{line}");
        assert_eq!(endpoint.object("b", "k").is_some(), completed);
        endpoint.remove("b", "k");
    }
}

#[test]
fn parts_have_a_smallest_size_but_the_last() {
    let endpoint = with(Capabilities { min_part_size: 3, ..Capabilities::default() });
    for (first, expected) in [("aa", Some("EntityTooSmall")), ("aaa", None)] {
        let id = create(&endpoint, "k", &[]);
        let (a, b) = (part(&endpoint, &id, 1, first), part(&endpoint, &id, 2, "b"));
        assert_eq!(complete(&endpoint, &id, &[(1, &a), (2, &b)], &[]).err(), expected, "{first}");
    }
}

#[test]
fn a_whole_objects_checksum_is_that_of_all_bytes_however_it_was_written() {
    let endpoint = endpoint();
    let told = |key: &str, name: &str| {
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        let reply = ask(&endpoint, &format!("HEAD /b/{key}"), &mode, "").unwrap();
        let header =
            |name: &str| reply.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (header(name), header("x-amz-checksum-type"))
    };
    for (algorithm, kind) in
        [("CRC32C", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE")]
    {
        let headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        let id = create(&endpoint, "k", &headers);
        let (a, b) = (part(&endpoint, &id, 1, "hello "), part(&endpoint, &id, 2, "world"));
        complete(&endpoint, &id, &[(1, &a), (2, &b)], &[]).unwrap();
        let name = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        let (value, told_kind) = told("k", &name);
        assert_eq!(told_kind.as_deref(), Some(kind));
        assert_eq!(value.unwrap().ends_with("-2"), kind == "COMPOSITE");
        // A copy is one piece.
        ask(&endpoint, "PUT /b/copy", &[("x-amz-copy-source", "b/k")], "").unwrap();
        ask(
            &endpoint,
            "PUT /b/once",
            &[("x-amz-sdk-checksum-algorithm", algorithm)],
            "hello world",
        )
        .unwrap();
        assert_eq!(told("copy", &name).1.as_deref(), Some("FULL_OBJECT"));
    }
    assert_eq!(told("once", "x-amz-checksum-crc64nvme").0.as_deref(), Some("jSnVw/bqjr4="));
}

#[test]
fn a_part_that_was_replaced_is_not_completed_with() {
    let endpoint = endpoint();
    let id = create(&endpoint, "k", &[]);
    let old = part(&endpoint, &id, 1, "old");
    let new = part(&endpoint, &id, 1, "new");
    assert_eq!(complete(&endpoint, &id, &[(1, &old)], &[]).err(), Some("InvalidPart"));
    complete(&endpoint, &id, &[(1, &new)], &[]).unwrap();
    assert_eq!(endpoint.object("b", "k").unwrap().body, "new");
}

#[test]
fn limits_are_those_of_s3() {
    let endpoint = endpoint();
    let put = |key: &str, headers: &[(&str, &str)]| {
        ask(&endpoint, &format!("PUT /b/{key}"), headers, "").err()
    };
    assert_eq!(put(&"k".repeat(1_024), &[]), None);
    assert_eq!(put(&"k".repeat(1_025), &[]), Some("KeyTooLongError"));
    assert_eq!(put("%ff", &[]), Some("InvalidURI"));
    let tags = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
    assert_eq!(put("k", &[("x-amz-tagging", &tags(10))]), None);
    assert_eq!(put("k", &[("x-amz-tagging", &tags(11))]), Some("BadRequest"));
    let metadata = |bytes: usize| "v".repeat(bytes - "name".len());
    assert_eq!(put("k", &[("x-amz-meta-name", &metadata(2_048))]), None);
    assert_eq!(put("k", &[("x-amz-meta-name", &metadata(2_049))]), Some("MetadataTooLarge"));
    assert_eq!(put("k", &[("content-md5", "AAAA")]), Some("InvalidDigest"));
    assert_eq!(put("k", &[("x-amz-checksum-sha1", "AAAA")]), Some("NotImplemented"));
    let many = |keys: usize| {
        let objects = "<Object><Key>k</Key></Object>".repeat(keys);
        batch(&endpoint, &format!("<Delete>{objects}</Delete>")).err()
    };
    assert_eq!((many(1_000), many(1_001)), (None, Some("MalformedXML")));
}

#[test]
fn ranges_are_halfopen_inside_and_ignored_when_they_are_none() {
    let endpoint = endpoint();
    endpoint.seed("b", "k", "0123456789");
    let read = |range: &str| {
        ask(&endpoint, "GET /b/k", &[("range", range)], "")
            .map(|reply| (reply.status, text(&reply).to_owned()))
    };
    let partial = |body: &str| Ok((StatusCode::PARTIAL_CONTENT, body.to_owned()));
    let whole = || Ok((StatusCode::OK, "0123456789".to_owned()));
    assert_eq!(read("bytes=0-0"), partial("0"));
    assert_eq!(read("bytes=8-99"), partial("89"));
    assert_eq!(read("bytes=-3"), partial("789"));
    assert_eq!(read("bytes=-99"), partial("0123456789"));
    assert_eq!(read("bytes=10-"), Err("InvalidRange"));
    assert_eq!(read("bytes=-0"), Err("InvalidRange"));
    for none in ["bytes=3-2", "bytes=a-b", "items=0-1", "bytes=0-1,3-4"] {
        assert_eq!(read(none), whole(), "{none}");
    }
    endpoint.seed_object("b", "parts", Object::new("0123456789").in_parts(4));
    let part = ask(&endpoint, "GET /b/parts?partNumber=3", &[], "").unwrap();
    assert_eq!((text(&part), &part.headers["x-amz-mp-parts-count"]), ("89", &"3".parse().unwrap()));
}

#[test]
fn a_read_that_is_not_needed_says_so_with_the_etag() {
    let endpoint = endpoint();
    let written = ask(&endpoint, "PUT /b/k", &[], "x").unwrap();
    let same = ask(&endpoint, "GET /b/k", &[("if-none-match", &etag(&written))], "").unwrap();
    assert_eq!((same.status, etag(&same)), (StatusCode::NOT_MODIFIED, etag(&written)));
    let long_ago = ("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(ask(&endpoint, "GET /b/k", &[long_ago], "").unwrap().status, StatusCode::OK);
    let long_ago = ("if-unmodified-since", long_ago.1);
    assert_eq!(ask(&endpoint, "GET /b/k", &[long_ago], "").err(), Some("PreconditionFailed"));
}

#[test]
fn archived_objects_are_neither_read_nor_copied() {
    let endpoint = endpoint();
    ask(&endpoint, "PUT /b/k", &[("x-amz-storage-class", "GLACIER")], "x").unwrap();
    assert_eq!(ask(&endpoint, "GET /b/k", &[], "").err(), Some("InvalidObjectState"));
    assert!(ask(&endpoint, "HEAD /b/k", &[], "").is_ok());
    let copy = ask(&endpoint, "PUT /b/c", &[("x-amz-copy-source", "b/k")], "");
    assert_eq!(copy.err(), Some("ObjectNotInActiveTierError"));
    // An archive tier shows only to a HEAD, and when it is read.
    let tiered = Object { archive_status: "ARCHIVE_ACCESS".into(), ..Object::new("x") };
    endpoint.seed_object("b", "tiered", tiered);
    let head = ask(&endpoint, "HEAD /b/tiered", &[], "").unwrap();
    assert_eq!(head.headers["x-amz-archive-status"], "ARCHIVE_ACCESS");
    assert_eq!(ask(&endpoint, "GET /b/tiered", &[], "").err(), Some("InvalidObjectState"));
}

#[test]
fn a_restored_object_is_read_and_shown_as_such_to_those_who_ask() {
    let endpoint = endpoint();
    let restored = Object { storage_class: "GLACIER".into(), restored: true, ..Object::new("x") };
    endpoint.seed_object("b", "k", restored);
    let get = ask(&endpoint, "GET /b/k", &[], "").unwrap();
    assert!(
        get.headers["x-amz-restore"].to_str().unwrap().starts_with("ongoing-request=\"false\"")
    );
    let list = |headers: &[(&str, &str)]| {
        let reply = ask(&endpoint, "GET /b?list-type=2", headers, "").unwrap();
        elements(text(&reply), "RestoreStatus").len()
    };
    assert_eq!(list(&[]), 0);
    assert_eq!(list(&[("x-amz-optional-object-attributes", "RestoreStatus")]), 1);
}

#[test]
fn a_copy_takes_all_headers_but_the_redirect() {
    let endpoint = endpoint();
    let redirect = ("x-amz-website-redirect-location", "/other");
    ask(&endpoint, "PUT /b/k", &[redirect, ("cache-control", "no-store")], "x").unwrap();
    let copy = |more: &[(&str, &str)]| {
        let headers = [&[("x-amz-copy-source", "b/k")], more].concat();
        ask(&endpoint, "PUT /b/c", &headers, "").unwrap();
        endpoint.object("b", "c").unwrap().headers.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(copy(&[]), ["cache-control"]);
    assert_eq!(copy(&[redirect]), ["cache-control", redirect.0]);
}

#[test]
fn a_group_of_millions_costs_what_it_shows() {
    let endpoint = endpoint();
    let prefix = "many/".to_owned();
    // Walked through one by one, this would not end.
    let space =
        Generated { prefix, count: 10_000_000_000, size: 16, differs_every: 0, modified: 0 };
    endpoint.generate("b", space);
    for key in ["a", "z/1", "z/2", "zz"] {
        endpoint.seed("b", key, "x");
    }
    let list =
        |query: &str| ask(&endpoint, &format!("GET /b?list-type=2&{query}"), &[], "").unwrap();
    let all = list("delimiter=/");
    assert_eq!(elements(text(&all), "Key"), ["a", "zz"]);
    let prefixes = elements(text(&all), "Prefix");
    assert_eq!(prefixes[1..], ["many/", "z/"]);
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("delimiter=/&max-keys=1{token}"));
        let [keys, groups] = ["Key", "Prefix"].map(|name| elements(text(&page), name));
        names.extend(keys.into_iter().chain(groups.into_iter().skip(1)).map(str::to_owned));
        let next = first(&page, "NextContinuationToken");
        if next.is_empty() {
            break;
        }
        token = format!("&continuation-token={next}");
    }
    assert_eq!(names, ["a", "many/", "z/", "zz"]);
    let far = list("prefix=many/&start-after=many/9999999998&max-keys=5");
    assert_eq!(elements(text(&far), "Key"), ["many/9999999999"]);
}

#[test]
fn a_listing_tells_what_s3_tells() {
    let endpoint = endpoint();
    endpoint.seed("b", "a b+\u{1}\u{1f600}", "hello");
    endpoint.seed_object("b", "old", Object::new("x").without_checksum());
    let page = ask(&endpoint, "GET /b?list-type=2&encoding-type=url", &[], "").unwrap();
    assert_eq!(elements(text(&page), "Key"), ["a+b%2B%01%F0%9F%98%80", "old"]);
    assert_eq!(elements(text(&page), "Size"), ["5", "1"]);
    assert_eq!(elements(text(&page), "ChecksumAlgorithm"), ["CRC64NVME"]);
    assert_eq!(elements(text(&page), "ChecksumType"), ["FULL_OBJECT"]);
    assert_eq!(elements(text(&page), "StorageClass"), ["STANDARD", "STANDARD"]);
    assert!(elements(text(&page), "LastModified").iter().all(|time| time.ends_with(".000Z")));
    assert_eq!(first(&page, "KeyCount"), "2");
}

#[test]
fn open_uploads_are_listed_in_pages() {
    let endpoint = endpoint();
    let ids: Vec<String> = ["a", "b", "b", "c"].map(|key| create(&endpoint, key, &[])).into();
    let (mut found, mut marker) = (Vec::new(), String::new());
    loop {
        let line = format!("GET /b?uploads&max-uploads=1{marker}");
        let page = ask(&endpoint, &line, &[], "").unwrap();
        found.extend(elements(text(&page), "UploadId").into_iter().map(str::to_owned));
        if first(&page, "IsTruncated") == "false" {
            break;
        }
        let [key, id] = ["NextKeyMarker", "NextUploadIdMarker"].map(|name| first(&page, name));
        marker = format!("&key-marker={key}&upload-id-marker={id}");
    }
    found.sort();
    let mut expected = ids;
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_batch_deletes_what_is_still_as_it_was_and_tells_the_rest() {
    let endpoint = endpoint();
    for key in ["a", "b", "c"] {
        endpoint.seed("b", key, "x");
    }
    let etag = hex(&md5(b"x"));
    let xml = format!(
        "<Delete><Object><Key>a</Key><ETag>\"{etag}\"</ETag></Object>\
         <Object><Key>b</Key><ETag>\"other\"</ETag></Object><Object><Key>none</Key></Object></Delete>"
    );
    assert_eq!(ask(&endpoint, "POST /b?delete", &[], &xml).err(), Some("InvalidRequest"));
    let reply = batch(&endpoint, &xml).unwrap();
    assert_eq!(elements(text(&reply), "Code"), ["PreconditionFailed"]);
    let changed: Vec<_> = reply.changes.iter().map(|change| change.key.clone()).collect();
    assert_eq!(changed, ["a"]);
    let left: Vec<_> = endpoint.objects("b").into_keys().collect();
    assert_eq!(left, ["b", "c"]);
}
