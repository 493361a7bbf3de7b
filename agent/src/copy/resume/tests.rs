//! Which uploads are gone on with, and which of their parts count.

use std::collections::BTreeMap;

use super::*;
use crate::copy::choose::MIN_PART;
use crate::s3::{Attributes, Checksum, Part, WriteEncryption};

const CRC: Algorithm = Algorithm::Crc64Nvme;
const MD5: &str = "0cc175b9c0f1b6a831c399e269772661";

fn source() -> Found {
    Found {
        key: Key::from("k"),
        size: 25,
        etag: "e".to_owned(),
        modified: Timestamp::from_micros(5_700_000),
        storage_class: String::new(),
        archived: false,
    }
}

fn tens() -> Layout {
    Layout { part_size: 10, parts: 3, as_source: true }
}

fn request() -> CreateUploadRequest {
    CreateUploadRequest {
        key: Key::from("to/k"),
        attributes: Attributes {
            content_type: Some("a".into()),
            metadata: BTreeMap::from([("m".into(), "n".into())]),
            ..Attributes::default()
        },
        tags: vec![("x".into(), "y".into()), ("p".into(), "q".into())],
        encryption: None,
        checksum: Some(CRC),
    }
}

fn made(request: &CreateUploadRequest, server_side: bool) -> UploadPlan {
    plan(&source(), tens(), request, server_side).unwrap()
}

#[test]
fn only_what_would_be_made_now_is_gone_on_with() {
    let now = made(&request(), false);
    assert!(now.opened_with.len() <= s3sync_proto::model::MAX_OPENED_WITH);
    let agrees = |recorded: &UploadPlan| agree(recorded, &now, &source());
    assert!(agrees(&made(&request(), false)));
    let mut reordered = request();
    reordered.tags.reverse();
    assert!(agrees(&made(&reordered, false)));

    assert!(!agrees(&made(&request(), true)), "another way");
    let change = |change: &dyn Fn(&mut CreateUploadRequest)| {
        let mut request = request();
        change(&mut request);
        made(&request, false)
    };
    let changes: [&dyn Fn(&mut CreateUploadRequest); 12] = [
        &|r| r.attributes.content_type = Some("b".into()),
        &|r| r.attributes.content_type = None,
        &|r| (r.attributes.content_type, r.attributes.content_encoding) = (None, Some("a".into())),
        &|r| r.attributes.expires = Some("a".into()),
        &|r| r.attributes.website_redirect = Some("a".into()),
        &|r| r.attributes.storage_class = Some("STANDARD_IA".into()),
        &|r| drop(r.attributes.metadata.insert("m".into(), "o".into())),
        &|r| r.attributes.metadata.clear(),
        &|r| r.tags.truncate(1),
        &|r| r.tags[0] = ("xy".into(), String::new()),
        &|r| {
            r.encryption = Some(WriteEncryption { algorithm: "aws:kms".into(), kms_key_id: None });
        },
        &|r| r.checksum = None,
    ];
    for (n, one) in changes.iter().enumerate() {
        assert!(!agrees(&change(one)), "change {n}");
    }
    for other in [
        UploadPlan { source_etag: "f".into(), ..now.clone() },
        UploadPlan { size: 26, ..now.clone() },
        UploadPlan { part_size: 9, ..now.clone() },
        UploadPlan { opened_with: String::new(), ..now.clone() },
    ] {
        assert!(!agrees(&other), "{other:?}");
    }
}

#[test]
fn a_stamp_is_needed_where_it_is_wanted_and_must_be_of_this_version() {
    let stamped = |at: i64| {
        let mut request = request();
        request.attributes.metadata.insert(STAMP.to_owned(), "a stamp".into());
        let source = Found { modified: Timestamp::from_micros(at), ..source() };
        plan(&source, tens(), &request, false).unwrap()
    };
    let plain = made(&request(), false);
    let (now, same_second, older) = (stamped(5_700_000), stamped(5_000_001), stamped(4_999_999));
    assert!(agree(&now, &now, &source()) && agree(&same_second, &now, &source()));
    assert!(agree(&now, &plain, &source()), "one more than is wanted");
    assert!(!agree(&plain, &now, &source()), "none where one is wanted");
    assert!(!agree(&older, &now, &source()) && !agree(&older, &plain, &source()));
}

#[test]
fn a_source_without_an_etag_has_no_plan_and_one_of_another_version_no_layout() {
    let nameless = Found { etag: String::new(), ..source() };
    assert_eq!(plan(&nameless, tens(), &request(), false), None);
    let size = 10 * MIN_PART;
    let source = Found { size, ..source() };
    let facts = Facts {
        size,
        server_side: false,
        single_up_to: 1,
        copy_up_to: 1,
        usual_part: MIN_PART,
        round_trip: std::time::Duration::ZERO,
        max_object: u64::MAX,
        source_layout: None,
        whole_body_only: false,
    };
    let recorded = |etag: &str, size, part_size| UploadPlan {
        source_etag: etag.to_owned(),
        size,
        part_size,
        opened_with: String::new(),
    };
    let layout = |recorded| super::layout(&recorded, &source, facts).map(|layout| layout.parts);
    assert_eq!(layout(recorded("e", size, 3 * MIN_PART)), Some(4));
    assert_eq!(layout(recorded("f", size, 3 * MIN_PART)), None);
    assert_eq!(layout(recorded("e", size - 1, 3 * MIN_PART)), None);
    assert_eq!(layout(recorded("e", size, MIN_PART - 1)), None);
}

#[test]
fn the_newest_upload_of_a_key_that_is_come_to_is_kept() {
    let upload = |key: &str, id: Option<&str>, at: i64, planned: bool| Upload {
        key: Key::from(key),
        upload_id: id.map(str::to_owned),
        intent: Timestamp::from_micros(at),
        plan: planned.then(|| made(&request(), false)),
    };
    let uploads = vec![
        upload("a", None, 1, false),
        upload("a", Some("a1"), 2, true),
        upload("b", Some("b1"), 3, false),
        upload("c", Some("c1"), 6, true),
        upload("c", Some("c2"), 5, true),
        upload("d", Some("d1"), 4, true),
        upload("d", Some("d2"), 5, true),
        upload("z", Some("z1"), 9, true),
    ];
    let (left, rest) = sort(uploads, |key| *key < Key::from("z"));
    let kept: Vec<_> = left.iter().map(|(key, left)| (key.to_string(), left.id.as_str())).collect();
    let expected = [("a", "a1"), ("c", "c1"), ("d", "d2")];
    assert_eq!(kept, expected.map(|(key, id)| (key.to_owned(), id)));
    let rest: Vec<_> = rest.iter().map(|one| one.upload_id.as_deref().unwrap_or("?")).collect();
    assert_eq!(rest, ["?", "b1", "c2", "d1", "z1"]);
}

#[test]
fn parts_count_as_far_as_they_can_be_verified() {
    let needs = Needs {
        layout: tens(),
        size: 25,
        server_side: false,
        plain: false,
        checksum: Some(CRC),
        md5: false,
        etags: None,
    };
    let crc = |body: &[u8]| Some(Crc::of(CRC, body).encode());
    let listed = |number, size, etag: &str, checksum: Option<Checksum>| ListedPart {
        part: Part { number, etag: etag.to_owned(), checksum },
        size,
    };
    let numbers = |needs: &Needs, listed: &[ListedPart]| -> Option<Vec<u32>> {
        kept(needs, listed.to_vec()).map(|kept| kept.into_keys().collect())
    };
    let all = [
        listed(1, 10, MD5, crc(b"1")),
        listed(2, 10, "opaque", crc(b"2")),
        listed(3, 5, MD5, None),
    ];
    assert_eq!(numbers(&needs, &all), Some(vec![1, 2]), "the third tells no checksum");
    let done = kept(&needs, all.to_vec()).unwrap();
    let first = &done[&1].digested;
    assert_eq!((first.length, first.checksum), (10, Some(Crc::of(CRC, b"1"))));
    let other_kind = Needs { checksum: Some(Algorithm::Crc32), ..needs };
    assert_eq!(numbers(&other_kind, &all), Some(vec![]));
    let broken = Checksum { algorithm: CRC, value: "no base64".into() };
    assert_eq!(numbers(&needs, &[listed(1, 10, MD5, Some(broken))]), Some(vec![]));
    assert_eq!(numbers(&needs, &[listed(1, 10, "", crc(b"1"))]), Some(vec![]), "no ETag");

    let by_md5 = Needs { md5: true, etags: Some(EtagKind::Md5), ..needs };
    assert_eq!(numbers(&by_md5, &all), Some(vec![1]));
    let unknown = Needs { etags: None, ..by_md5 };
    assert_eq!(numbers(&unknown, &all), Some(vec![]), "an ETag that may not be an MD5");
    let plain = Needs { plain: true, checksum: None, ..needs };
    assert_eq!(numbers(&plain, &all), Some(vec![1, 2, 3]), "each had its own MD5");
    let server_side = Needs { server_side: true, ..needs };
    assert_eq!(numbers(&server_side, &all), Some(vec![1, 2, 3]), "S3 copied them");

    for strange in [
        listed(0, 10, MD5, crc(b"0")),
        listed(4, 10, MD5, crc(b"4")),
        listed(1, 9, MD5, crc(b"1")),
        listed(3, 10, MD5, crc(b"3")),
    ] {
        assert_eq!(kept(&needs, vec![all[0].clone(), strange.clone()]), None, "{strange:?}");
    }
    let large = Layout { part_size: COLLECT_PLAIN_UP_TO + 1, parts: 1, as_source: false };
    let large = Needs { layout: large, size: COLLECT_PLAIN_UP_TO + 1, ..plain };
    let unverified = listed(1, COLLECT_PLAIN_UP_TO + 1, MD5, None);
    assert_eq!(numbers(&large, &[unverified]), Some(vec![]), "sent with nothing to verify");
}
