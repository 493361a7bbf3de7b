//! Objects of any size, and places where nothing is stored.

use super::*;

const SIZE: u64 = (5 << 30) + 1;

fn with_giant() -> (Arc<Endpoint>, String) {
    let endpoint = endpoint();
    let giant = Object::giant(SIZE, 3);
    let checksum = giant.checksum().unwrap().to_owned();
    endpoint.seed_object("b", "giant", giant);
    endpoint.sink("b", "sink/");
    (endpoint, checksum)
}

fn complete(
    endpoint: &Endpoint,
    id: &str,
    etags: &[String],
    checksum: &str,
) -> Result<(), &'static str> {
    let parts = etags.iter().enumerate().map(|(index, etag)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1)
    });
    let body =
        format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>());
    let headers = [("x-amz-checksum-crc64nvme", checksum)];
    ask(endpoint, &format!("POST /b/sink/giant?uploadId={id}"), &headers, &body).map(drop)
}

#[test]
fn a_giant_is_copied_by_its_parts_into_a_sink_which_verifies_it() {
    let (endpoint, checksum) = with_giant();
    let id = create(&endpoint, "sink/giant", &[("x-amz-checksum-algorithm", "CRC64NVME")]);
    let size: u64 = 1 << 30;
    let copied: Vec<String> = (0..6)
        .map(|index| {
            let (from, to) = (index * size, ((index + 1) * size).min(SIZE) - 1);
            let range = format!("bytes={from}-{to}");
            let headers =
                [("x-amz-copy-source", "/b/giant"), ("x-amz-copy-source-range", range.as_str())];
            let line = format!("PUT /b/sink/giant?partNumber={}&uploadId={id}", index + 1);
            let reply = ask(&endpoint, &line, &headers, "").unwrap();
            first(&reply, "ETag").replace("&quot;", "")
        })
        .collect();
    let swapped = ask(
        &endpoint,
        &format!("PUT /b/sink/giant?partNumber=1&uploadId={id}"),
        &[
            ("x-amz-copy-source", "/b/giant"),
            ("x-amz-copy-source-range", "bytes=1073741824-2147483647"),
        ],
        "",
    );
    let mut etags = copied;
    etags[0] = first(&swapped.unwrap(), "ETag").replace("&quot;", "");
    assert_eq!(complete(&endpoint, &id, &etags, &checksum), Err("BadDigest"));
    let line = format!("PUT /b/sink/giant?partNumber=1&uploadId={id}");
    let headers =
        [("x-amz-copy-source", "/b/giant"), ("x-amz-copy-source-range", "bytes=0-1073741823")];
    etags[0] = first(&ask(&endpoint, &line, &headers, "").unwrap(), "ETag").replace("&quot;", "");
    complete(&endpoint, &id, &etags, &checksum).unwrap();
    let object = endpoint.object("b", "sink/giant").unwrap();
    assert_eq!((object.size(), object.checksum()), (SIZE, Some(checksum.as_str())));
    assert!(object.body.is_empty() && object.etag.ends_with("-6"));
    assert_eq!(ask(&endpoint, "GET /b/sink/giant", &[], "").unwrap_err(), "NotImplemented");
    let page = ask(&endpoint, "GET /b?list-type=2&prefix=sink/", &[], "").unwrap();
    assert_eq!(first(&page, "Size"), SIZE.to_string());
}

#[test]
fn a_giant_is_read_in_ranges_and_too_large_for_one_copy() {
    let (endpoint, checksum) = with_giant();
    let head = ask(&endpoint, "HEAD /b/giant", &[("x-amz-checksum-mode", "ENABLED")], "").unwrap();
    assert_eq!(head.length, Some(SIZE));
    assert_eq!(head.headers["x-amz-checksum-crc64nvme"].to_str().unwrap(), checksum);
    let last = format!("bytes={}-", SIZE - 10);
    let end = ask(&endpoint, "GET /b/giant", &[("range", &last)], "").unwrap();
    assert_eq!(end.body.len(), 10);
    let copy = ask(&endpoint, "PUT /b/sink/x", &[("x-amz-copy-source", "/b/giant")], "");
    assert_eq!(copy.unwrap_err(), "InvalidRequest");
    endpoint.seed_object("b", "less", Object::giant(SIZE - 1, 3));
    ask(&endpoint, "PUT /b/sink/x", &[("x-amz-copy-source", "/b/less")], "").unwrap();
    let copy = endpoint.object("b", "sink/x").unwrap();
    let source = endpoint.object("b", "less").unwrap();
    assert_eq!((copy.size(), copy.checksum()), (SIZE - 1, source.checksum()));
}

#[test]
fn what_is_sent_to_a_sink_is_verified_and_dropped() {
    let (endpoint, _) = with_giant();
    let sent = Algorithm::Crc64Nvme.of(b"hello");
    let put = |body| {
        let headers = [("x-amz-checksum-crc64nvme", sent.as_str())];
        ask(&endpoint, "PUT /b/sink/k", &headers, body).map(drop)
    };
    assert_eq!(put("hallo"), Err("BadDigest"));
    put("hello").unwrap();
    let object = endpoint.object("b", "sink/k").unwrap();
    assert_eq!((object.size(), object.checksum()), (5, Some(sent.as_str())));
    assert!(object.body.is_empty());
    let id = create(&endpoint, "sink/parts", &[]);
    let etags = [
        part_at(&endpoint, "sink/parts", &id, 1, "hel"),
        part_at(&endpoint, "sink/parts", &id, 2, "lo"),
    ];
    let body = "<C><Part><PartNumber>1</PartNumber><ETag>A</ETag></Part><Part><PartNumber>2</PartNumber><ETag>B</ETag></Part></C>";
    let body = body.replace('A', &etags[0]).replace('B', &etags[1]);
    ask(&endpoint, &format!("POST /b/sink/parts?uploadId={id}"), &[], &body).unwrap();
    let object = endpoint.object("b", "sink/parts").unwrap();
    assert_eq!((object.size(), object.checksum()), (5, Some(sent.as_str())));
}

fn part_at(endpoint: &Endpoint, key: &str, id: &str, number: u32, body: &str) -> String {
    let line = format!("PUT /b/{key}?partNumber={number}&uploadId={id}");
    etag(&ask(endpoint, &line, &[], body).unwrap())
}
