//! What an object carries, on each way of copying and on each server: copied by the agent's worker, read back, and
//! written down in `docs/metadata.md`. `UPDATE_EXPECT=1` rewrites that file; else it must be what was measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use expect_test::expect_file;
use s3sync_agent::config::Credential;
use s3sync_agent::copy::digest::Crc;
use s3sync_agent::s3::aws::{AwsClient, AwsStore};
use s3sync_agent::s3::{
    Algorithm, Attributes, CompleteRequest, CreateUploadRequest, HeadRequest, ObjectStore,
    PartRequest, PutBody, PutRequest, Verify, WriteEncryption,
};
use s3sync_agent::work::{Begun, Desk, Lost, Orders, Progress};
use s3sync_agent::worker::{Engine, Settings, Sides, run};
use s3sync_lab::{EndpointConfig, Lab};
use s3sync_proto::client::Secret;
use s3sync_proto::model::{
    Assignment, BucketFacts, CompareMode, Counters, Destination, Encryption, EndpointSpec, Failure,
    Filter, Held, Key, KeyRange, Location, Name, Outcome, RunName, Work,
};
use s3sync_tests::servers::{Server, ministack, seaweedfs};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) const KIB: u64 = 1024;

/// A way of copying: its heading, the size of the object, and whether S3 is to copy by itself.
const WAYS: [(&str, u64, bool); 5] = [
    ("GET and PUT, read first", 10, false),
    ("GET and PUT, streamed", 300 * KIB, false),
    ("parts", 500 * KIB, false),
    ("CopyObject", 10, true),
    ("copies of parts", 500 * KIB, true),
];

/// Larger ones go in parts.
const IN_ONE_UP_TO: u64 = 400 * KIB;

/// What a job may ask of a destination.
#[derive(Clone, Default)]
pub(super) struct Asked {
    storage_class: Option<&'static str>,
    encryption: Option<(&'static str, Option<&'static str>)>,
}

/// What is carried: each is told by its name, with the value that is expected.
type Carried = BTreeMap<&'static str, String>;

/// The order of the table.
const ROWS: [&str; 18] = [
    "Content-Type",
    "Content-Encoding",
    "Content-Language",
    "Content-Disposition",
    "Cache-Control",
    "Expires, a date",
    "Expires, any text",
    "website redirect",
    "website redirect, no bytes",
    "metadata, ASCII",
    "metadata, not ASCII",
    "metadata, 2 KB",
    "tags",
    "storage class, kept",
    "storage class, mapped",
    "SSE-S3, asked for",
    "SSE-KMS, asked for",
    "checksum of its algorithm (CRC-32C)",
];

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// An object to copy: what it carries, and which rows it shows. Separate ones, so that what a server refuses spoils no
/// other.
struct Sample {
    key: &'static str,
    attributes: Attributes,
    tags: Vec<(String, String)>,
    rows: Vec<&'static str>,
}

fn samples() -> Vec<Sample> {
    let metadata = |name: &str, value: String| BTreeMap::from([(name.to_owned(), value)]);
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = Attributes {
        content_type: text("image/jpeg"),
        content_encoding: text("gzip"),
        content_language: text("de, en"),
        content_disposition: text("attachment; filename=\"a b.jpg\""),
        cache_control: text("max-age=60, no-transform"),
        expires: text("Wed, 21 Oct 2026 07:28:00 GMT"),
        ..Attributes::default()
    };
    let odd = Attributes { expires: text("never"), ..Attributes::default() };
    let redirect = Attributes { website_redirect: text("/b.html"), ..Attributes::default() };
    let of = |metadata| Attributes { metadata, ..Attributes::default() };
    let class = Attributes { storage_class: text("STANDARD_IA"), ..Attributes::default() };
    let tags = vec![tag("a", "1 2"), tag("b+c", "d=e/f")];
    let sample = |key, attributes, rows: &[&'static str]| Sample {
        key,
        attributes,
        tags: Vec::new(),
        rows: rows.to_vec(),
    };
    vec![
        sample("headers", headers, &ROWS[..6]),
        sample("odd-expires", odd, &ROWS[6..7]),
        sample("redirect", redirect.clone(), &ROWS[7..8]),
        sample("redirect-empty", redirect, &ROWS[8..9]),
        sample("ascii", of(metadata("who", "me, and 'you'".into())), &ROWS[9..10]),
        sample("unicode", of(metadata("name", "äöü €𝄞 名前".into())), &ROWS[10..11]),
        sample("much", of(metadata("much", "x".repeat(2_000))), &ROWS[11..12]),
        Sample { tags, ..sample("tags", Attributes::default(), &ROWS[12..13]) },
        sample("class", class, &ROWS[13..14]),
        sample("checksum", Attributes::default(), &ROWS[17..]),
    ]
}

/// What jobs ask of their destination, and the row that shows it.
fn asked() -> [(&'static str, Asked); 3] {
    let encryption =
        |algorithm, key| Asked { encryption: Some((algorithm, key)), ..Asked::default() };
    [
        (ROWS[14], Asked { storage_class: Some("ONEZONE_IA"), ..Asked::default() }),
        (ROWS[15], encryption("AES256", None)),
        (ROWS[16], encryption("aws:kms", Some("arn:aws:kms:us-east-1:123456789012:key/k"))),
    ]
}

/// A desk that allows everything and remembers failures.
#[derive(Default)]
pub(super) struct Lenient {
    pub(super) failures: Mutex<Vec<Failure>>,
    pub(super) counters: Mutex<Counters>,
    ended: Mutex<Option<Outcome>>,
}

#[async_trait]
impl Desk for Lenient {
    async fn report(&self, progress: Progress) -> Result<(), Lost> {
        self.failures.lock().unwrap().extend(progress.failures);
        *self.counters.lock().unwrap() += progress.counters;
        *self.ended.lock().unwrap() = Some(progress.outcome);
        Ok(())
    }

    async fn upload_intent(&self, _key: &Key, _begun: Option<&Begun>) -> Result<(), Lost> {
        Ok(())
    }

    async fn suspect(&self, _key: &Key) -> Result<(), Lost> {
        Ok(())
    }

    async fn propose_split(&self, _at: &Key, _until: Option<&Key>) -> Result<(), Lost> {
        Err(Lost)
    }

    async fn decline_split(&self, _reason: &str) {}

    async fn learned(&self, _facts: BucketFacts) {}

    async fn may_commit(&self) -> Result<(), Lost> {
        Ok(())
    }

    fn may_commit_now(&self) -> bool {
        true
    }
}

fn spec(server: &Server) -> EndpointSpec {
    EndpointSpec {
        region: server.region.clone(),
        url: Some(server.url.clone()),
        path_style: true,
        ..EndpointSpec::default()
    }
}

pub(super) fn store(server: &Server, bucket: &str) -> Arc<dyn ObjectStore> {
    let credential = Credential::Keys {
        access_key_id: server.key.0.clone(),
        secret_access_key: Secret::new(server.key.1.clone()),
        session_token: None,
    };
    let client = AwsClient::new(&spec(server), &credential, None).unwrap();
    Arc::new(AwsStore::new(Arc::new(client), bucket))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A source and a destination.
pub(super) struct Place<'a> {
    pub(super) from: &'a Server,
    pub(super) to: &'a Server,
    pub(super) bucket: String,
}

impl Place<'_> {
    pub(super) const SOURCE: &'static str = "matrix-source";

    /// Runs a job; returns what became of it.
    pub(super) async fn copy(
        &self,
        prefix: &str,
        server_side: bool,
        asked: &Asked,
    ) -> Arc<Lenient> {
        let facts =
            |endpoint: &str, bucket: &str| BucketFacts::unknown(name(endpoint), bucket.into());
        let location = |endpoint: &str, bucket: &str| Location {
            endpoint: name(endpoint),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        let encryption = asked.encryption.map(|(algorithm, key)| Encryption {
            algorithm: algorithm.to_owned(),
            kms_key_id: key.map(str::to_owned),
        });
        let assignment = Assignment {
            held: Held { id: 1, epoch: 1 },
            run: RunName { job: name("matrix"), number: 1 },
            source: location("from", Self::SOURCE),
            destination: Destination {
                location: location("to", &self.bucket),
                storage_class: asked.storage_class.map(str::to_owned),
                agent_labels: BTreeMap::new(),
                encryption,
            },
            source_endpoint: spec(self.from),
            destination_endpoint: spec(self.to),
            source_facts: facts("from", Self::SOURCE),
            destination_facts: facts("to", &self.bucket),
            compare: CompareMode::Default,
            filter: Filter::default(),
            uploads: Vec::new(),
            careful: false,
            traceparent: String::new(),
            trace_links: Vec::new(),
            work: Work::Range { range: KeyRange::default(), cursor: None },
        };
        let sides = Sides {
            source: store(self.from, Self::SOURCE),
            destination: store(self.to, &self.bucket),
            server_side,
        };
        let settings = Settings {
            single_up_to: IN_ONE_UP_TO,
            copy_up_to: IN_ONE_UP_TO,
            ..Settings::default()
        };
        let desk = Arc::new(Lenient::default());
        let (_split, split) = mpsc::channel(1);
        let orders =
            Orders { lost: CancellationToken::new(), stop: CancellationToken::new(), split };
        run(assignment, sides, Arc::clone(&desk) as _, orders, Engine::new(settings)).await;
        let ended = desk.ended.lock().unwrap().clone();
        assert_eq!(ended, Some(Outcome::Completed), "{} to {}", self.from.name, self.to.name);
        desk
    }
}

/// Writes an object directly, in parts where copies are; tells whether the server took it.
async fn put(
    store: &Arc<dyn ObjectStore>,
    key: &str,
    size: u64,
    sample: &Sample,
    asked: &Asked,
) -> bool {
    let length = usize::try_from(size).unwrap();
    let body: Bytes = (0..length).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let checksum = Crc::of(Algorithm::Crc32C, &body).encode();
    let mut attributes = sample.attributes.clone();
    if let Some(class) = asked.storage_class {
        attributes.storage_class = text(class);
    }
    let (key, tags) = (Key::from(key), sample.tags.clone());
    let encryption = asked.encryption.map(|(algorithm, kms_key_id)| WriteEncryption {
        algorithm: algorithm.to_owned(),
        kms_key_id: kms_key_id.map(str::to_owned),
    });
    let verify = Verify::Checksum(checksum.clone());
    if size <= IN_ONE_UP_TO {
        let request =
            PutRequest { key, attributes, tags, encryption, verify, ..PutRequest::default() };
        return store.put(request, PutBody::Bytes(body)).await.is_ok();
    }
    let (upload, algorithm) = (key.clone(), Some(Algorithm::Crc32C));
    let create =
        CreateUploadRequest { key: upload, attributes, tags, encryption, checksum: algorithm };
    let Ok(upload_id) = store.create_upload(create).await else { return false };
    let part = PartRequest { key: key.clone(), upload_id: upload_id.clone(), number: 1, verify };
    let Ok(part) = store.upload_part(part, PutBody::Bytes(body)).await else { return false };
    let complete = CompleteRequest {
        key,
        upload_id,
        parts: vec![part],
        size,
        checksum: Some(checksum),
        ..CompleteRequest::default()
    };
    // Some combine the parts' checksums in another way.
    let without = CompleteRequest { checksum: None, ..complete.clone() };
    store.complete_upload(complete).await.is_ok() || store.complete_upload(without).await.is_ok()
}

/// All that an object carries, by rows.
async fn carried(store: &Arc<dyn ObjectStore>, key: &str) -> Option<Carried> {
    let request = HeadRequest { key: key.into(), ..HeadRequest::default() };
    let object = store.head(request).await.ok()?;
    let mut tags = store.get_tags(&key.into()).await.unwrap_or_default();
    tags.sort();
    let Attributes { metadata, expires, storage_class, website_redirect, .. } =
        object.attributes.clone();
    let meta = |name: &str| metadata.get(name).cloned();
    let encrypted = object.encryption;
    let crc = object.checksum.filter(|checksum| checksum.algorithm == Algorithm::Crc32C);
    let rows = [
        (ROWS[0], object.attributes.content_type),
        (ROWS[1], object.attributes.content_encoding),
        (ROWS[2], object.attributes.content_language),
        (ROWS[3], object.attributes.content_disposition),
        (ROWS[4], object.attributes.cache_control),
        (ROWS[5], expires.clone()),
        (ROWS[6], expires),
        (ROWS[7], website_redirect.clone()),
        (ROWS[8], website_redirect),
        (ROWS[9], meta("who")),
        (ROWS[10], meta("name")),
        (ROWS[11], meta("much")),
        (ROWS[12], (!tags.is_empty()).then(|| format!("{tags:?}"))),
        (ROWS[13], storage_class.clone()),
        (ROWS[14], storage_class),
        (ROWS[15], encrypted.clone().filter(|kind| kind == "AES256")),
        (ROWS[16], encrypted.filter(|kind| kind == "aws:kms")),
        (ROWS[17], crc.map(|checksum| checksum.value)),
    ];
    Some(rows.into_iter().filter_map(|(row, value)| Some((row, value?))).collect())
}

/// What a cell says.
fn cell(row: &str, wanted: &Carried, kept: &Carried, copy: &Carried) -> &'static str {
    let wanted = wanted.get(row).expect("the lab keeps everything");
    match copy.get(row) {
        Some(is) if is == wanted => "yes",
        _ if kept.get(row) != Some(wanted) => "–",
        Some(_) => "**other**",
        None => "**no**",
    }
}

/// The columns of one server: by row, what each way carries.
async fn matrix(lab: &Server, server: &Server) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut table: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
    let (direct, model) = (store(server, "matrix-direct"), store(lab, "matrix-model"));
    for (column, (way, size, server_side)) in WAYS.into_iter().enumerate() {
        let from = if server_side { server } else { lab };
        let mut kinds: Vec<(&str, Asked)> = vec![("", Asked::default())];
        kinds.extend(asked());
        for (number, (row_of_kind, asked)) in kinds.into_iter().enumerate() {
            let place = Place { from, to: server, bucket: format!("matrix-{column}-{number}") };
            bucket(server, &place.bucket).await;
            let prefix = format!("{}-{column}-{number}/", server.name.replace(' ', "-"));
            let source = store(from, Place::SOURCE);
            let all = match number {
                0 => samples(),
                _ => {
                    let (attributes, tags) = (Attributes::default(), Vec::new());
                    vec![Sample { key: "asked", attributes, tags, rows: vec![row_of_kind] }]
                }
            };
            let plain = Asked::default();
            for sample in &all {
                let size = if sample.key == "redirect-empty" { 0 } else { size };
                let key = format!("{prefix}{}", sample.key);
                // What there is to keep, and what the server itself keeps of such an object.
                assert!(put(&model, &key, size, sample, &asked).await, "the lab takes everything");
                if put(&direct, &key, size, sample, &asked).await {
                    put(&source, &key, size, sample, &plain).await;
                }
            }
            let desk = place.copy(&prefix, server_side, &asked).await;
            let failed: Vec<_> = desk.failures.lock().unwrap().drain(..).collect();
            let destination = store(server, &place.bucket);
            for sample in &all {
                let key = format!("{prefix}{}", sample.key);
                let wanted = carried(&model, &key).await.expect("the lab keeps everything");
                let kept = carried(&direct, &key).await.unwrap_or_default();
                let copy = carried(&destination, &key).await.unwrap_or_default();
                let listed = failed.iter().any(|failure| failure.key == Key::from(sample.key));
                for row in &sample.rows {
                    let cell = if listed { "failure" } else { cell(row, &wanted, &kept, &copy) };
                    table.entry(row).or_default().push(cell);
                }
            }
            // Each went the way of its column, or is a failure that says what is lost.
            let counters = *desk.counters.lock().unwrap();
            let what = format!("{way} on {}: {failed:?}", server.name);
            let by_server = if server_side { counters.copied } else { 0 };
            assert_eq!(counters.copied_server_side, by_server, "{what}");
            assert_eq!(counters.listed, counters.copied + failed.len() as u64, "{what}");
            assert!(failed.iter().all(|failure| failure.code == "not_kept"), "{what}");
        }
    }
    table
}

pub(super) async fn bucket(server: &Server, name: &str) {
    let client = super::client(&server.url, &server.region, &server.key.0, &server.key.1);
    client.create_bucket().bucket(name).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_what_is_carried_is_what_was_measured() {
    let config = EndpointConfig::new("lab", "us-east-1").key("AKIALAB", "lab-secret");
    let lab = Lab::start(vec![config]).await.unwrap();
    let lab_server = Server {
        name: "the lab",
        url: lab.endpoint("lab").url(),
        region: "us-east-1".into(),
        key: ("AKIALAB".into(), "lab-secret".into()),
        processes: Vec::new(),
        folder: None,
    };
    let (ministack, seaweedfs) = (ministack().await, seaweedfs().await);
    let mut page = HEAD.to_owned();
    bucket(&lab_server, "matrix-model").await;
    for server in [&lab_server, &ministack, &seaweedfs] {
        for name in ["matrix-direct", Place::SOURCE] {
            bucket(server, name).await;
        }
        let table = matrix(&lab_server, server).await;
        let heading = server.name;
        write!(page, "\n## {heading}\n\n| |").unwrap();
        WAYS.iter().for_each(|(way, ..)| write!(page, " {way} |").unwrap());
        writeln!(page, "\n|{}", "---|".repeat(WAYS.len() + 1)).unwrap();
        for row in ROWS {
            writeln!(page, "| {row} | {} |", table[row].join(" | ")).unwrap();
        }
    }
    expect_file!["../../docs/metadata.md"].assert_eq(&page);
}

const HEAD: &str = "\
# What a copy carries

Measured by `the_table_of_what_is_carried_is_what_was_measured` in `tests/conformance`, which fails when this page is not what it
finds, and writes it with `UPDATE_EXPECT=1`. Bytes that pass through an agent come from the lab; copies inside S3 are made on the
server itself. *–*: the server does not keep it, or refuses it, however it is written. *failure*: the server loses it on this
way, and the run lists the key as a failure (`not_kept`). **no**: it is lost on this way; [copies.md](copies.md) says why, and
what to do.
";
