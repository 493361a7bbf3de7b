//! What only the lab can do: fail on demand, at the socket where a fault says so, and tell what was asked and written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use s3sync_lab::{
    Capabilities, Endpoint, EndpointConfig, Fault, Faults, Generated, Lab, Object, Rule, When,
};

use s3sync_tests::wait::until;

use super::code;

const KEY: (&str, &str) = ("AKIALAB", "lab-secret");

struct Bench {
    #[expect(dead_code, reason = "kept so that it serves")]
    lab: Lab,
    endpoint: Arc<Endpoint>,
    client: Client,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Capabilities { min_part_size: 1, ..Capabilities::default() }).await
    }

    async fn with(capabilities: Capabilities) -> Self {
        let config = EndpointConfig::new("lab", "us-east-1").key(KEY.0, KEY.1).bucket("b");
        let lab = Lab::start(vec![config.capabilities(capabilities)]).await.unwrap();
        let endpoint = lab.endpoint("lab");
        let client = super::client(&endpoint.url(), "us-east-1", KEY.0, KEY.1);
        Self { lab, endpoint, client }
    }

    fn fault(&self, operation: &str, fault: Fault, when: When) {
        self.endpoint.set_faults(Faults::new(1, vec![Rule::of(operation, fault, when)]));
    }

    /// Puts an object; S3's code, or `success`.
    async fn put(&self, key: &str, body: &'static str) -> String {
        let body = ByteStream::from_static(body.as_bytes());
        code(self.client.put_object().bucket("b").key(key).body(body).send().await)
    }

    async fn get(&self, key: &str) -> Result<Vec<u8>, String> {
        let answer = self.client.get_object().bucket("b").key(key).send().await;
        let body = answer.map_err(|error| code::<(), _>(Err(error)))?.body.collect().await;
        body.map(|body| body.to_vec()).map_err(|error| format!("{error:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_no_effect_and_is_counted() {
    let bench = Bench::new().await;
    for (fault, expected) in [
        (Fault::SlowDown, "SlowDown"),
        (Fault::InternalError, "InternalError"),
        (Fault::AccessDenied, "AccessDenied"),
        (Fault::Conflict, "ConditionalRequestConflict"),
    ] {
        bench.fault("PutObject", fault, When::Nth(1));
        assert_eq!(bench.put("k", "x").await, expected);
        assert!(bench.endpoint.objects("b").is_empty(), "{fault:?}");
    }
    assert_eq!(bench.put("k", "x").await, "success");
    assert_eq!(bench.endpoint.counts().of("PutObject"), 5);
    assert_eq!(bench.endpoint.counts().by(KEY.0), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_its_effect_and_a_lost_request_none() {
    let bench = Bench::new().await;
    bench.fault("PutObject", Fault::ResetBefore, When::Nth(1));
    assert!(bench.put("before", "x").await.contains("DispatchFailure"));
    bench.fault("PutObject", Fault::ResetAfter, When::Nth(1));
    assert!(bench.put("after", "x").await.contains("DispatchFailure"));
    let keys: Vec<_> = bench.endpoint.objects("b").into_keys().collect();
    assert_eq!(keys, ["after"]);
    let log: Vec<_> = bench
        .endpoint
        .writes()
        .into_iter()
        .map(|write| (write.key, write.status, write.effect, write.etag.len()))
        .collect();
    assert_eq!(log, [("before".into(), 0, false, 0), ("after".into(), 200, true, 32)]);
}

/// What a plain socket sees after a request without a signature that is to be answered, or not.
async fn raw(endpoint: &Endpoint) -> io::Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = endpoint.url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /b/k HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n").await?;
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).await.map(|_| seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_one_of_the_connection() {
    let bench = Bench::new().await;
    let answer = raw(&bench.endpoint).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 403"), "{}", String::from_utf8_lossy(&answer));
    for fault in [Fault::ResetBefore, Fault::ResetAfter] {
        bench.fault("GetObject", fault, When::Always);
        let error = raw(&bench.endpoint).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_end_early_or_have_a_wrong_byte() {
    let bench = Bench::new().await;
    bench.endpoint.seed("b", "k", "0123456789");
    bench.fault("GetObject", Fault::CutBody, When::Nth(1));
    assert!(bench.get("k").await.is_err());
    bench.fault("GetObject", Fault::WrongByteDown, When::Nth(1));
    let wrong = bench.get("k").await.unwrap();
    let differing = wrong.iter().zip(b"0123456789").filter(|(a, b)| a != b).count();
    assert_eq!((wrong.len(), differing), (10, 1));
    assert_eq!(bench.get("k").await.unwrap(), b"0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_byte_on_the_way_is_stored_unless_a_checksum_says_no() {
    let bench = Bench::new().await;
    bench.fault("PutObject", Fault::WrongByteUp, When::Nth(1));
    assert_eq!(bench.put("k", "hello world").await, "XAmzContentSHA256Mismatch");
    bench.fault("PutObject", Fault::WrongByteStored, When::Always);
    let put =
        bench.client.put_object().bucket("b").key("k").content_md5("XrY7u+Ae7tCTyyK7j1rNww==");
    let refused = put.body(ByteStream::from_static(b"hello world")).send().await;
    assert_eq!(code(refused), "BadDigest");
    assert_eq!(bench.put("k", "hello world").await, "success");
    assert_eq!(bench.endpoint.object("b", "k").unwrap().body, "hello\0world");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_200_has_no_effect() {
    let bench = Bench::new().await;
    bench.endpoint.seed("b", "from", "x");
    bench.fault("CopyObject", Fault::ErrorIn200, When::Nth(1));
    let copy = || bench.client.copy_object().bucket("b").key("to").copy_source("b/from").send();
    assert_eq!(code(copy().await), "InternalError");
    assert!(bench.endpoint.object("b", "to").is_none());
    assert_eq!(code(copy().await), "success");
    let log = bench.endpoint.writes().into_iter().map(|write| (write.status, write.effect));
    assert_eq!(log.collect::<Vec<_>>(), [(200, false), (200, true)]);
    let create = bench.client.create_multipart_upload().bucket("b").key("k").send().await.unwrap();
    let id = create.upload_id.unwrap();
    let part = bench.client.upload_part().bucket("b").key("k").upload_id(&id).part_number(1);
    let etag = part.body(ByteStream::from_static(b"x")).send().await.unwrap().e_tag;
    let part = CompletedPart::builder().part_number(1).set_e_tag(etag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    bench.fault("CompleteMultipartUpload", Fault::ErrorIn200, When::Nth(1));
    let complete = || {
        let complete = bench.client.complete_multipart_upload().bucket("b").key("k").upload_id(&id);
        complete.multipart_upload(parts.clone()).send()
    };
    assert_eq!(code(complete().await), "InternalError");
    assert_eq!(bench.endpoint.open_uploads("b").len(), 1);
    assert_eq!(code(complete().await), "success");
    assert_eq!(bench.endpoint.open_uploads("b"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_refused_by_place() {
    let bench = Bench::new().await;
    let rule = Rule::of("PutObject", Fault::AccessDenied, When::Always).at("b", "closed/");
    bench.endpoint.set_faults(Faults::new(1, vec![rule]));
    assert_eq!(bench.put("closed/k", "x").await, "AccessDenied");
    assert_eq!(bench.put("open/k", "x").await, "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_those_of_the_endpoint_and_count_for_who_claims_them() {
    let bench = Bench::new().await;
    let url = bench.endpoint.url();
    let read = async |region: &str, key: &str, secret: &str| {
        let client = super::client(&url, region, key, secret);
        code(client.get_object().bucket("b").key("k").send().await)
    };
    assert_eq!(read("us-east-1", KEY.0, KEY.1).await, "NoSuchKey");
    assert_eq!(read("us-east-1", KEY.0, "wrong").await, "SignatureDoesNotMatch");
    assert_eq!(read("us-east-1", "AKIAOTHER", KEY.1).await, "InvalidAccessKeyId");
    assert_eq!(read("cn-north-1", KEY.0, KEY.1).await, "AuthorizationHeaderMalformed");
    let counts = bench.endpoint.counts();
    assert_eq!((counts.by(KEY.0), counts.by("AKIAOTHER")), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_checksums_or_trailers_or_md5s_is_one() {
    let capabilities = Capabilities {
        no_checksums: true,
        no_trailers: true,
        opaque_etags: true,
        unordered_listing: true,
        ..Capabilities::default()
    };
    let bench = Bench::with(capabilities).await;
    bench.endpoint.seed("b", "a", "x");
    let bucket = super::Bucket {
        client: bench.client.clone(),
        stranger: bench.client.clone(),
        name: "b".to_owned(),
    };
    let refused = super::integrity::put_streamed(&bucket).await.unwrap_err();
    assert!(refused.contains("XAmzContentSHA256Mismatch"), "{refused}");
    assert_eq!(bench.put("b", "x").await, "success");
    let object = bench.endpoint.object("b", "b").unwrap();
    assert_ne!(object.etag, Object::new("x").etag);
    let head = bench.client.head_object().bucket("b").key("b");
    let head = head.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.checksum_crc64_nvme(), None);
    let page = bench.client.list_objects_v2().bucket("b").send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["b", "a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_key_space_is_listed_read_and_changed() {
    let bench = Bench::new().await;
    let space = Generated {
        prefix: "data/".into(),
        count: 2_500,
        size: 100,
        differs_every: 10,
        modified: 1_700_000_000_000_000,
    };
    bench.endpoint.generate("b", space);
    bench.client.delete_object().bucket("b").key("data/0000000001").send().await.unwrap();
    assert_eq!(bench.put("data/0000000002", "changed").await, "success");
    let mut pages = bench.client.list_objects_v2().bucket("b").into_paginator().send();
    let (mut sizes, mut listed) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let objects = page.unwrap().contents.unwrap_or_default();
        sizes.push(objects.len());
        listed.extend(objects);
    }
    assert_eq!(sizes, [1_000, 1_000, 499]);
    assert_eq!(listed[1].size(), Some(7));
    assert_eq!(listed[2].key(), Some("data/0000000003"));
    assert_eq!(listed[2].last_modified().map(|time| time.secs()), Some(1_700_000_000));
    let read = bench.client.get_object().bucket("b").key("data/0000000003");
    let read = read.if_match(listed[2].e_tag().unwrap()).send().await.unwrap();
    assert_eq!((read.content_length(), listed[2].size()), (Some(100), Some(100)));
    assert_eq!(bench.endpoint.counts().of("ListObjectsV2"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_comes_before_the_effect_and_others_do_not_wait_for_it() {
    let bench = Bench::new().await;
    let hour = Duration::from_secs(3_600);
    let millis = u64::try_from(hour.as_millis()).unwrap();
    let slow = Rule::of("PutObject", Fault::Delay(millis), When::Always).at("b", "slow");
    bench.endpoint.set_faults(Faults::new(1, vec![slow]));
    tokio::select! {
        seen = bench.put("slow", "x") => panic!("{seen}"),
        () = async {
            for _ in 0..20 {
                assert_eq!(bench.put("quick", "x").await, "success");
            }
        } => {}
    }
    let keys: Vec<_> = bench.endpoint.objects("b").into_keys().collect();
    assert_eq!(keys, ["quick"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_answer_comes_after_the_effect() {
    let bench = Bench::new().await;
    bench.fault("PutObject", Fault::DelayAnswer(3_600_000), When::Always);
    tokio::select! {
        seen = bench.put("k", "x") => panic!("{seen}"),
        () = until("the effect is there", Duration::from_secs(60), || async {
            bench.endpoint.object("b", "k").map(drop).ok_or("nothing")
        }) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_which_writes_were_at_the_same_time() {
    let bench = Bench::new().await;
    let slow = Rule::of("PutObject", Fault::Delay(200), When::Nth(1));
    bench.endpoint.set_faults(Faults::new(1, vec![slow]));
    tokio::join!(bench.put("k", "x"), bench.put("k", "y"));
    bench.put("k", "z").await;
    let log = bench.endpoint.writes();
    let [first, second, third] = log.as_slice() else { panic!("{log:?}") };
    assert!(second.begin < first.end && first.begin < second.end, "{log:?}");
    assert!(third.begin > first.end.max(second.end), "{log:?}");
    assert_eq!(third.etag, Object::new("z").etag);
}
