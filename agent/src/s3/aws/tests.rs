//! Against the lab: real sockets, real signatures.

mod deletes;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use s3sync_lab::{Capabilities, EndpointConfig, Fault, Faults, Lab, Rule, When};
use s3sync_proto::client::Secret;
use s3sync_proto::model::EndpointSpec;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Credential;
use crate::s3::{Algorithm, Attributes, Class, Condition};

const KEY_ID: &str = "AKIAWEST";
const SECRET: &str = "west-secret-0123456789";
const BUCKET: &str = "media";

struct Bench {
    lab: Lab,
    store: AwsStore,
}

impl Bench {
    async fn start() -> Self {
        Self::with(Capabilities { min_part_size: 1, ..Capabilities::default() }).await
    }

    async fn with(capabilities: Capabilities) -> Self {
        let west = EndpointConfig::new("usw2", "us-west-2").key(KEY_ID, SECRET).bucket(BUCKET);
        let lab = Lab::start(vec![west.capabilities(capabilities)]).await.unwrap();
        let store = store(&lab, SECRET);
        Self { lab, store }
    }

    fn endpoint(&self) -> Arc<s3sync_lab::Endpoint> {
        self.lab.endpoint("usw2")
    }

    fn fault(&self, operation: &str, fault: Fault) {
        let rules = vec![Rule::of(operation, fault, When::Always)];
        self.endpoint().set_faults(Faults::new(1, rules));
    }

    async fn put(&self, key: &str, body: &'static str) -> Written {
        let request = PutRequest { key: key.into(), ..PutRequest::default() };
        self.store.put(request, bytes(body)).await.unwrap()
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        let request = GetRequest { key: key.into(), ..GetRequest::default() };
        collect(self.store.get(request).await?.1).await
    }
}

fn store(lab: &Lab, secret: &str) -> AwsStore {
    let spec = EndpointSpec {
        region: "us-west-2".into(),
        url: Some(lab.endpoint("usw2").url()),
        path_style: true,
        ..EndpointSpec::default()
    };
    AwsStore::new(Arc::new(AwsClient::new(&spec, &keys(secret), None).unwrap()), BUCKET)
}

fn keys(secret: &str) -> Credential {
    Credential::Keys {
        access_key_id: KEY_ID.into(),
        secret_access_key: Secret::new(secret),
        session_token: None,
    }
}

fn bytes(body: &'static str) -> PutBody {
    PutBody::Bytes(Bytes::from_static(body.as_bytes()))
}

fn streamed(length: u64, chunks: Vec<&'static str>) -> PutBody {
    let chunks = chunks.into_iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).map(Ok);
    PutBody::Stream { length, body: stream::iter(chunks.collect::<Vec<_>>()).boxed() }
}

async fn collect(body: Body) -> Result<Bytes, Error> {
    let chunks: Vec<Bytes> = body.try_collect().await?;
    Ok(chunks.concat().into())
}

fn crc64(body: &[u8]) -> Checksum {
    let value = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body);
    let value = BASE64.encode(value.to_be_bytes());
    Checksum { algorithm: Algorithm::Crc64Nvme, value }
}

fn class<T>(result: Result<T, Error>) -> (Class, String) {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => (error.class, error.code),
    }
}

fn attributes() -> Attributes {
    let metadata = [("plain", "value"), ("name", "äöü €𝄞 und mehr, damit ein Wort nicht reicht")];
    Attributes {
        content_type: Some("image/jpeg".into()),
        content_encoding: Some("gzip".into()),
        content_language: Some("de".into()),
        content_disposition: Some("attachment; filename=\"a.jpg\"".into()),
        cache_control: Some("no-store".into()),
        expires: Some("never".into()),
        website_redirect: Some("/b.jpg".into()),
        metadata: metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        storage_class: Some("STANDARD_IA".into()),
        missing_metadata: 0,
    }
}

#[tokio::test]
async fn an_object_comes_back_with_all_it_carries() {
    let bench = Bench::start().await;
    let tags = vec![("a&b".to_owned(), "c=d +ü".to_owned()), ("empty".to_owned(), String::new())];
    let request = PutRequest {
        key: "k".into(),
        attributes: attributes(),
        tags: tags.clone(),
        verify: Verify::Trailer(Algorithm::Crc64Nvme),
        ..PutRequest::default()
    };
    let written = bench.store.put(request, streamed(5, vec!["he", "llo"])).await.unwrap();
    assert_eq!(written.etag, "5d41402abc4b2a76b9719d911017c592");
    let get = GetRequest { key: "k".into(), ..GetRequest::default() };
    let (object, body) = bench.store.get(get).await.unwrap();
    assert_eq!(collect(body).await.unwrap(), "hello");
    assert_eq!(object.attributes, attributes());
    assert_eq!((object.length, object.etag.as_str()), (5, written.etag.as_str()));
    assert_eq!(object.checksum, Some(crc64(b"hello")));
    assert_eq!(object.tag_count, Some(2));
    let head = HeadRequest { key: "k".into(), ..HeadRequest::default() };
    let headed = bench.store.head(head).await.unwrap();
    assert_eq!((headed.attributes, headed.checksum), (object.attributes, object.checksum));
    let mut found = bench.store.get_tags(&"k".into()).await.unwrap();
    found.sort();
    assert_eq!(found, tags);
}

#[tokio::test]
async fn keys_are_the_bytes_they_are() {
    let bench = Bench::start().await;
    let long = "x".repeat(1024);
    let keys = [
        "a",
        "a b",
        "a+b",
        "a%2Bb",
        "a%",
        "a//b",
        "/a",
        "//",
        "a/",
        "./a",
        "../a",
        "a/../b",
        "a/./b",
        ".",
        "..",
        "a/..",
        "ü",
        "u\u{308}",
        "\u{10ffff}",
        "a\rb",
        "a\nb",
        "a\tb",
        "a\u{1}b",
        "a\u{7f}",
        "?x=1",
        "a#b",
        "a&b<c>",
        "'\"",
        "\\",
        "*",
        "=",
        "a;b",
        "~-_.!()",
        "{}|^`",
        &long,
    ];
    for key in keys {
        bench.put(key, "body").await;
        assert!(bench.endpoint().object(BUCKET, key).is_some(), "{key:?} arrived as another");
        assert_eq!(bench.read(key).await.unwrap(), "body", "{key:?}");
        let copy = CopyRequest {
            source_bucket: BUCKET.into(),
            source_key: key.into(),
            source_if_match: "841a2d689ad86bd1611447453c22c6fc".into(),
            key: "copy".into(),
            ..CopyRequest::default()
        };
        bench.store.copy(copy).await.unwrap();
        bench.endpoint().remove(BUCKET, "copy");
    }
    let mut sorted: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
    sorted.sort();
    let mut listed = Vec::new();
    let mut request = ListRequest { max_keys: 4, ..ListRequest::default() };
    loop {
        let page = bench.store.list(request.clone()).await.unwrap();
        listed.extend(page.objects.into_iter().map(|object| object.key));
        let Some(next) = page.next else { break };
        request.token = Some(next);
    }
    assert_eq!(listed, sorted);
    let start_after = Some(Key::from("a\rb"));
    let after = ListRequest { max_keys: 1, start_after, ..ListRequest::default() };
    assert_eq!(bench.store.list(after).await.unwrap().objects[0].key, "a b".into());
}

#[tokio::test]
async fn a_key_that_is_no_text_is_refused_before_it_is_sent() {
    let bench = Bench::start().await;
    let get = GetRequest { key: vec![b'a', 0xff].into(), ..GetRequest::default() };
    let refused = class(bench.store.get(get).await);
    assert_eq!(refused, (Class::Permanent, "key_not_utf8".into()));
    assert_eq!(bench.endpoint().counts().total(), 0);
}

#[tokio::test]
async fn reads_are_pinned_and_ranges_exact() {
    let bench = Bench::start().await;
    let etag = bench.put("k", "0123456789").await.etag;
    let get = |if_match: &str, range| GetRequest {
        key: "k".into(),
        if_match: Some(if_match.into()),
        range,
        ..GetRequest::default()
    };
    let (object, body) = bench.store.get(get(&etag, Some(2..5))).await.unwrap();
    assert_eq!((object.length, object.checksum), (3, None));
    assert_eq!(collect(body).await.unwrap(), "234");
    assert_eq!(class(bench.store.get(get("0", Some(2..5))).await).0, Class::Precondition);
    let head = HeadRequest { key: "k".into(), if_match: Some("0".into()), part_number: None };
    assert_eq!(class(bench.store.head(head).await).0, Class::Precondition);
    // Beyond the end fewer bytes come than were asked for: what was pinned is not what was listed.
    let refused = class(bench.store.get(get(&etag, Some(8..12))).await);
    assert_eq!(refused, (Class::Permanent, "wrong_range".into()));
    let same = GetRequest { key: "k".into(), if_none_match: Some(etag), ..GetRequest::default() };
    assert_eq!(class(bench.store.get(same).await).0, Class::NotModified);
}

#[tokio::test]
async fn only_a_get_says_that_an_object_is_not_there() {
    let bench = Bench::start().await;
    let missing = class(bench.read("none").await);
    assert_eq!(missing, (Class::NoSuchKey, "NoSuchKey".into()));
    let head = HeadRequest { key: "none".into(), ..HeadRequest::default() };
    assert_eq!(class(bench.store.head(head).await).0, Class::NotFound);
    let elsewhere = AwsStore::new(Arc::clone(&bench.store.client), "no-such-bucket");
    let get = GetRequest { key: "k".into(), ..GetRequest::default() };
    assert_eq!(class(elsewhere.get(get).await), (Class::Permanent, "NoSuchBucket".into()));
}

#[tokio::test]
async fn writes_hold_their_condition() {
    let bench = Bench::start().await;
    let put = async |condition| {
        let request = PutRequest { key: "k".into(), condition, ..PutRequest::default() };
        bench.store.put(request, bytes("x")).await
    };
    // Nothing is there: S3 answers NoSuchKey, which must not be taken for an object that vanished.
    let absent = class(put(Condition::Matches("0".into())).await);
    assert_eq!(absent.0, Class::Precondition);
    let etag = put(Condition::Absent).await.unwrap().etag;
    assert_eq!(class(put(Condition::Absent).await).0, Class::Precondition);
    assert_eq!(class(put(Condition::Matches("0".into())).await).0, Class::Precondition);
    put(Condition::Matches(etag)).await.unwrap();
}

#[tokio::test]
async fn every_way_of_verifying_finds_a_wrong_byte() {
    let bench = Bench::start().await;
    let md5 = || Verify::ContentMd5("XUFAKrxLKna5cZ2REBfFkg==".into());
    let ways = [Verify::Checksum(crc64(b"hello")), md5(), Verify::Trailer(Algorithm::Crc32C)];
    for verify in ways {
        for stream in [false, true] {
            let body = || if stream { streamed(5, vec!["hel", "lo"]) } else { bytes("hello") };
            let put = async || {
                let request =
                    PutRequest { key: "k".into(), verify: verify.clone(), ..PutRequest::default() };
                bench.store.put(request, body()).await
            };
            put().await.unwrap();
            let stored = bench.endpoint().object(BUCKET, "k").unwrap();
            assert_eq!(stored.body, "hello", "{verify:?} {stream}");
            assert!(!stored.headers.contains_key("content-encoding"), "{verify:?}");
            bench.endpoint().remove(BUCKET, "k");
            bench.fault("PutObject", Fault::WrongByteUp);
            let refused = put().await.unwrap_err();
            assert_ne!(refused.status, None, "{refused:?}");
            assert!(bench.endpoint().object(BUCKET, "k").is_none(), "{verify:?} {stream}");
            bench.endpoint().set_faults(Faults::default());
        }
    }
}

#[tokio::test]
async fn refused_trailers_are_told_apart() {
    let bench = Bench::with(Capabilities { no_trailers: true, ..Capabilities::default() }).await;
    let verify = Verify::Trailer(Algorithm::Crc64Nvme);
    let request = PutRequest { key: "k".into(), verify, ..PutRequest::default() };
    let refused = class(bench.store.put(request, streamed(5, vec!["hello"])).await);
    assert_eq!(refused.0, Class::Unsupported, "{refused:?}");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_is_not_stored() {
    let bench = Bench::start().await;
    for (length, verify) in [
        (6, Verify::Caller),
        (4, Verify::Caller),
        (6, Verify::Trailer(Algorithm::Crc32)),
        (4, Verify::Trailer(Algorithm::Crc32)),
    ] {
        let request = PutRequest { key: "k".into(), verify, ..PutRequest::default() };
        let put = bench.store.put(request, streamed(length, vec!["he", "llo"])).await;
        let error = put.unwrap_err();
        assert_eq!(error.class, Class::Transient, "{length}: {error:?}");
        assert!(bench.endpoint().object(BUCKET, "k").is_none(), "{length}");
    }
}

/// A server that answers everything with these bytes and closes the connection.
struct Canned {
    address: std::net::SocketAddr,
    _tasks: tokio::task::JoinSet<()>,
}

impl Canned {
    async fn start(answer: &[u8]) -> Self {
        let answer = Bytes::copy_from_slice(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self { address, _tasks: tasks }
    }

    fn store(&self) -> AwsStore {
        let url = Some(format!("http://{}", self.address));
        let spec = EndpointSpec { url, path_style: true, ..EndpointSpec::default() };
        AwsStore::new(Arc::new(AwsClient::new(&spec, &keys(SECRET), None).unwrap()), BUCKET)
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_noticed_to_the_byte() {
    let head = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n";
    for length in [0, 1, 9, 10] {
        let canned = Canned::start(format!("{head}{}", "x".repeat(length)).as_bytes()).await;
        let get = GetRequest { key: "k".into(), ..GetRequest::default() };
        let (object, body) = canned.store().get(get).await.unwrap();
        assert_eq!(object.length, 10);
        let read = collect(body).await;
        if length == 10 {
            assert_eq!(read.unwrap().len(), 10);
        } else {
            assert_eq!(class(read), (Class::Corrupt, "short_body".into()), "{length}");
        }
    }
}

#[tokio::test]
async fn answers_that_s3_does_not_give_are_understood_for_what_they_are() {
    let page = "<html><body>Forbidden by the proxy</body></html>";
    let table: [(&str, &[u8], Class, &str); 8] = [
        ("403 Forbidden", page.as_bytes(), Class::Denied, "http_403"),
        ("404 Not Found", page.as_bytes(), Class::NotFound, "http_404"),
        ("404 Not Found", b"", Class::NotFound, "NotFound"),
        ("502 Bad Gateway", page.as_bytes(), Class::Transient, "http_502"),
        ("301 Moved Permanently", b"", Class::Permanent, "http_301"),
        ("200 OK", page.as_bytes(), Class::Transient, "invalid_answer"),
        ("200 OK", b"", Class::Transient, "invalid_answer"),
        (
            "200 OK",
            b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            Class::Transient,
            "invalid_answer",
        ),
    ];
    for (status, body, expected, code) in table {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let canned = Canned::start(&[head.as_bytes(), body].concat()).await;
        let list = ListRequest { max_keys: 1, ..ListRequest::default() };
        let answer = canned.store().list(list).await;
        assert_eq!(class(answer), (expected, code.to_owned()), "{status} {body:?}");
    }
}

#[tokio::test]
async fn headers_that_are_not_utf8_are_read_all_the_same() {
    let answer = b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\nExpires: \xfcber\r\n\
        Content-Type: \xff\r\nx-amz-meta-latin: \xfc\r\nx-amz-meta-utf8: \xc3\xbc\r\n\r\n";
    let canned = Canned::start(answer).await;
    let head = HeadRequest { key: "k".into(), ..HeadRequest::default() };
    let attributes = canned.store().head(head).await.unwrap().attributes;
    assert_eq!(attributes.expires.as_deref(), Some("über"));
    assert_eq!(attributes.content_type.as_deref(), Some("ÿ"));
    let metadata: Vec<_> = attributes.metadata.values().collect();
    assert_eq!(metadata, ["ü", "ü"]);
}

#[tokio::test]
async fn each_call_is_one_request() {
    let bench = Bench::start().await;
    bench.put("k", "x").await;
    for (fault, class_) in [
        (Fault::SlowDown, Class::Throttled),
        (Fault::InternalError, Class::Transient),
        (Fault::AccessDenied, Class::Denied),
        (Fault::ResetBefore, Class::Transient),
        (Fault::ResetAfter, Class::Transient),
    ] {
        bench.endpoint().reset_counts();
        bench.fault("GetObject", fault);
        let error = bench.read("k").await.unwrap_err();
        assert_eq!(error.class, class_, "{fault:?}: {error}");
        assert_eq!(bench.endpoint().counts().total(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn parts_become_an_object() {
    let bench = Bench::start().await;
    let create = CreateUploadRequest {
        key: "k".into(),
        attributes: attributes(),
        tags: vec![("a".into(), "b".into())],
        encryption: None,
        checksum: Some(Algorithm::Crc64Nvme),
    };
    let upload_id = bench.store.create_upload(create).await.unwrap();
    let part = |number, verify| PartRequest {
        key: "k".into(),
        upload_id: upload_id.clone(),
        number,
        verify,
    };
    let sent = Verify::Checksum(crc64(b"hello "));
    let first = bench.store.upload_part(part(1, sent), bytes("hello ")).await.unwrap();
    assert_eq!(first.checksum, Some(crc64(b"hello ")));
    bench.put("source", "a world").await;
    let copy = CopyPartRequest {
        key: "k".into(),
        upload_id: upload_id.clone(),
        number: 2,
        source_bucket: BUCKET.into(),
        source_key: "source".into(),
        source_if_match: "0".into(),
        range: 2..5,
    };
    assert_eq!(class(bench.store.copy_part(copy.clone()).await).0, Class::Precondition);
    let etag = bench.store.list(ListRequest {
        prefix: "source".into(),
        max_keys: 1,
        ..ListRequest::default()
    });
    let source_if_match = etag.await.unwrap().objects[0].etag.clone();
    let second = bench.store.copy_part(CopyPartRequest { source_if_match, ..copy }).await.unwrap();
    let trailer = Verify::Trailer(Algorithm::Crc64Nvme);
    let third =
        bench.store.upload_part(part(3, trailer), streamed(2, vec!["l", "d"])).await.unwrap();

    let open = bench.store.list_uploads(&"k".into()).await.unwrap();
    assert_eq!(open.iter().map(|one| &one.upload_id).collect::<Vec<_>>(), [&upload_id]);
    assert!(bench.store.list_uploads(&"".into()).await.unwrap().is_empty());

    let listed = bench.store.list_parts(&"k".into(), &upload_id).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.size).collect::<Vec<_>>(), [6, 3, 2]);
    let parts: Vec<_> = listed.into_iter().map(|one| one.part).collect();
    assert_eq!(parts, [first.clone(), second.clone(), third.clone()], "with their checksums");
    let other = bench.store.list_parts(&"k".into(), "another").await;
    assert_eq!(class(other).0, Class::NoSuchUpload);

    let complete = |size, condition| CompleteRequest {
        key: "k".into(),
        upload_id: upload_id.clone(),
        parts: vec![first.clone(), second.clone(), third.clone()],
        size,
        checksum: Some(crc64(b"hello world")),
        condition,
    };
    assert!(bench.store.complete_upload(complete(12, Condition::None)).await.is_err());
    bench.fault("CompleteMultipartUpload", Fault::ErrorIn200);
    let late = bench.store.complete_upload(complete(11, Condition::Absent)).await.unwrap_err();
    assert_eq!((late.class, late.status), (Class::Transient, Some(200)), "{late}");
    bench.endpoint().set_faults(Faults::default());
    let written = bench.store.complete_upload(complete(11, Condition::Absent)).await.unwrap();
    assert!(written.etag.ends_with("-3"));
    assert_eq!(bench.read("k").await.unwrap(), "hello world");
    let head = HeadRequest { key: "k".into(), part_number: Some(1), if_match: None };
    let head = bench.store.head(head).await.unwrap();
    assert_eq!((head.length, head.parts_count, head.attributes), (6, Some(3), attributes()));

    let gone = bench.store.upload_part(part(4, Verify::Caller), bytes("x")).await;
    assert_eq!(class(gone).0, Class::NoSuchUpload);
    bench.store.abort_upload(&"k".into(), &upload_id).await.unwrap();
}

#[tokio::test]
async fn an_upload_is_given_up() {
    let bench = Bench::start().await;
    let create = CreateUploadRequest { key: "a+b ü".into(), ..CreateUploadRequest::default() };
    let upload_id = bench.store.create_upload(create).await.unwrap();
    assert_eq!(bench.store.list_uploads(&"a+b ü".into()).await.unwrap().len(), 1);
    bench.store.abort_upload(&"a+b ü".into(), &upload_id).await.unwrap();
    assert!(bench.endpoint().open_uploads(BUCKET).is_empty());
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_metadata() {
    let bench = Bench::start().await;
    let put = PutRequest { key: "a".into(), attributes: attributes(), ..PutRequest::default() };
    let etag = bench.store.put(put, bytes("x")).await.unwrap().etag;
    let copy = |replace, if_match: &str| CopyRequest {
        source_bucket: BUCKET.into(),
        source_key: "a".into(),
        source_if_match: if_match.into(),
        key: "b".into(),
        replace,
        storage_class: Some("ONEZONE_IA".into()),
        ..CopyRequest::default()
    };
    assert_eq!(class(bench.store.copy(copy(None, "0")).await).0, Class::Precondition);
    assert_eq!(bench.store.copy(copy(None, &etag)).await.unwrap().etag, etag);
    let head = async || {
        let head = HeadRequest { key: "b".into(), ..HeadRequest::default() };
        bench.store.head(head).await.unwrap().attributes
    };
    let storage_class = Some("ONEZONE_IA".to_owned());
    let kept = head().await;
    assert_eq!(kept.metadata, attributes().metadata);
    assert_eq!(kept.storage_class, storage_class);
    let other = Attributes { expires: Some("0".into()), ..Attributes::default() };
    bench.store.copy(copy(Some(other.clone()), &etag)).await.unwrap();
    let replaced = head().await;
    assert_eq!((replaced.expires, replaced.metadata), (other.expires, other.metadata));
    bench.fault("CopyObject", Fault::ErrorIn200);
    assert_eq!(class(bench.store.copy(copy(None, &etag)).await).0, Class::Transient);
}

#[tokio::test]
async fn a_wrong_secret_is_denied_and_not_shown() {
    let bench = Bench::start().await;
    let wrong = store(&bench.lab, "wrong-secret-987");
    let error =
        wrong.list(ListRequest { max_keys: 1, ..ListRequest::default() }).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Class::Denied, "SignatureDoesNotMatch"));
    let shown = format!("{error} {error:?} {wrong:?} {:?}", wrong.client);
    assert!(!shown.contains("wrong-secret") && !shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn without_an_answer_or_a_credential_the_class_tells() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let spec = EndpointSpec { url: Some(closed), path_style: true, ..EndpointSpec::default() };
    let table = [
        (keys(SECRET), Class::Transient, "connection"),
        (Credential::Profile("s3sync-test-none".into()), Class::Denied, "credentials"),
    ];
    for (credential, expected, code) in table {
        let client = AwsClient::new(&spec, &credential, None).unwrap();
        let store = AwsStore::new(Arc::new(client), BUCKET);
        let list = store.list(ListRequest { max_keys: 1, ..ListRequest::default() }).await;
        assert_eq!(class(list), (expected, code.to_owned()));
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_once() {
    let bad = ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"];
    for pem in bad {
        let client =
            AwsClient::new(&EndpointSpec::default(), &Credential::Chain, Some(pem.as_bytes()));
        assert!(matches!(client, Err(ConnectError::Certificates(_))), "{pem:?}");
    }
}
