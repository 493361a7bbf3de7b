//! Workers against the lab, through the SDK and real sockets: what the fake cannot show.

use std::collections::BTreeSet;

use s3sync_lab::{Capabilities, EndpointConfig, Fault, Faults, Lab, Object, Rule, When};
use s3sync_proto::client::Secret;
use s3sync_proto::model::Failure;

use super::*;
use crate::config::Credential;
use crate::s3::ObjectStore;
use crate::s3::aws::{AwsClient, AwsStore};

pub(super) const BUCKET: &str = "bucket";

pub(super) struct Sockets {
    pub(super) lab: Lab,
    pub(super) bench: Bench,
    /// Whether the destination is on the source's server too, and S3 may copy by itself.
    pub(super) one_place: bool,
}

fn endpoint(name: &str, capabilities: Capabilities) -> EndpointConfig {
    let capabilities = Capabilities { min_part_size: 1, ..capabilities };
    let keys = (format!("AKIA{name}"), format!("secret-{name}"));
    EndpointConfig::new(name, "us-east-1")
        .key(&keys.0, &keys.1)
        .bucket(BUCKET)
        .capabilities(capabilities)
}

impl Sockets {
    pub(super) async fn new(source: Capabilities, destination: Capabilities) -> Self {
        let endpoints = vec![endpoint("a", source), endpoint("b", destination)];
        let lab = Lab::start(endpoints).await.unwrap();
        Self { lab, bench: Bench::new(MD5, MD5), one_place: false }
    }

    fn store(&self, name: &str) -> Arc<dyn ObjectStore> {
        let spec = EndpointSpec {
            region: "us-east-1".into(),
            url: Some(self.lab.endpoint(name).url()),
            path_style: true,
            ..EndpointSpec::default()
        };
        let credential = Credential::Keys {
            access_key_id: format!("AKIA{name}"),
            secret_access_key: Secret::new(format!("secret-{name}")),
            session_token: None,
        };
        let client = AwsClient::new(&spec, &credential, None).unwrap();
        Arc::new(AwsStore::new(Arc::new(client), BUCKET))
    }

    pub(super) async fn run(&mut self) -> Counters {
        self.run_and(|_| {}).await
    }

    /// A whole run; looks at what it has recorded before that is forgotten.
    async fn run_and(&mut self, look: impl FnOnce(&desk::Recorded)) -> Counters {
        self.hold().await;
        self.bench.desk.with(|recorded| look(recorded));
        self.bench.finish_run()
    }

    /// A run that may not come to its end; returns how it ended and what is listed.
    pub(super) async fn attempt(&mut self) -> (Outcome, Vec<Failure>) {
        self.hold().await;
        let recorded = self.bench.desk.with(std::mem::take);
        (recorded.outcomes.last().expect("it ends with a report").clone(), recorded.failures)
    }

    async fn hold(&self) {
        let (orders, _split) = orders();
        self.hold_with(orders).await;
    }

    /// One holder of the whole range, who is told of the uploads that an earlier one has recorded.
    pub(super) async fn hold_with(&self, orders: Orders) {
        let work = Work::Range { range: KeyRange::default(), cursor: None };
        self.hold_work(work, orders).await;
    }

    pub(super) async fn hold_work(&self, work: Work, orders: Orders) {
        let bench = &self.bench;
        let assignment = bench.assignment(work, bench.desk.uploads());
        let desk = Arc::clone(&bench.desk);
        let engine = Arc::clone(&bench.engine);
        let sides = self.sides();
        let work = run(assignment, sides, desk, orders, engine);
        tokio::time::timeout(Duration::from_secs(120), work).await.expect("it ends");
    }

    pub(super) fn sides(&self) -> Sides {
        let destination = if self.one_place { "a" } else { "b" };
        Sides {
            source: self.store("a"),
            destination: self.store(destination),
            server_side: self.one_place,
        }
    }

    fn seed(&self) {
        let source = self.lab.endpoint("a");
        for (n, key) in ODD_KEYS.iter().enumerate() {
            source.seed(BUCKET, key, pattern(n, n * 100));
        }
        for n in 0..30 {
            source.seed(BUCKET, format!("from/small/{n:02}"), pattern(n, 1000 + n));
        }
        let sizes = [0, 1, STREAMED, 400 * 1024, 400 * 1024 + 1, IN_PARTS];
        for (n, size) in sizes.into_iter().enumerate() {
            source.seed(BUCKET, format!("from/size/{n}"), pattern(n, size));
        }
        let object = Object::new(pattern(3, IN_PARTS)).in_parts(210 * 1024);
        source.seed_object(BUCKET, "from/in-parts", object);
        let old = Object::new(pattern(4, STREAMED)).without_checksum().with_tag("k", "v");
        source.seed_object(BUCKET, "from/old", old);
    }

    pub(super) fn bodies(&self, endpoint: &str, prefix: &str) -> BTreeMap<Bytes, Bytes> {
        let objects = self.lab.endpoint(endpoint).objects(BUCKET);
        let strip =
            |key: &Bytes| key.starts_with(prefix.as_bytes()).then(|| key.slice(prefix.len()..));
        objects.iter().filter_map(|(key, o)| Some((strip(key)?, o.body.clone()))).collect()
    }

    fn assert_equal(&self, what: &str) {
        let (source, copies) = (self.bodies("a", "from/"), self.bodies("b", "to/x/"));
        for (key, body) in &source {
            assert!(copies.get(key) == Some(body), "{what}: {key:?} differs");
        }
        assert_eq!(source.len(), copies.len(), "{what}");
        assert_eq!(self.lab.endpoint("b").open_uploads(BUCKET), [], "{what}");
    }
}

fn trouble(seed: u64, up: bool) -> Faults {
    let rate = |fault, rate| Rule::every(fault, When::Rate(rate));
    let mut rules = vec![
        rate(Fault::SlowDown, 0.02),
        rate(Fault::InternalError, 0.01),
        rate(Fault::ResetBefore, 0.01),
        rate(Fault::ResetAfter, 0.02),
        Rule::of("GetObject", Fault::CutBody, When::Rate(0.05)),
        Rule::of("GetObject", Fault::WrongByteDown, When::Rate(0.05)),
        Rule::of("CompleteMultipartUpload", Fault::ErrorIn200, When::Rate(0.1)),
    ];
    if up {
        rules.push(Rule::of("PutObject", Fault::WrongByteUp, When::Rate(0.05)));
        rules.push(Rule::of("UploadPart", Fault::WrongByteUp, When::Rate(0.05)));
        rules.push(Rule::of("PutObject", Fault::WrongByteStored, When::Rate(0.05)));
        rules.push(Rule::of("UploadPart", Fault::WrongByteStored, When::Rate(0.05)));
    }
    Faults::new(seed, rules)
}

#[tokio::test]
async fn through_all_faults_every_kind_of_server_ends_equal_and_stays_so() {
    let plain = Capabilities::default();
    let servers = [
        ("as S3", plain.clone()),
        ("KMS", Capabilities { opaque_etags: true, ..plain.clone() }),
        ("no conditions", Capabilities { ignore_conditions: true, ..plain.clone() }),
        ("no checksums", Capabilities { no_checksums: true, ..plain.clone() }),
        ("no trailers", Capabilities { no_trailers: true, ..plain.clone() }),
    ];
    for (seed, (what, capabilities)) in (1..).zip(servers) {
        let mut sockets = Sockets::new(plain.clone(), capabilities).await;
        sockets.seed();
        sockets.lab.endpoint("a").set_faults(trouble(seed, false));
        sockets.lab.endpoint("b").set_faults(trouble(seed + 100, true));
        let first = sockets.run().await;
        assert_eq!((first.copied, first.failed), (first.listed, 0), "{what}");
        sockets.assert_equal(what);
        for endpoint in sockets.lab.endpoints() {
            endpoint.set_faults(Faults::default());
        }
        let second = sockets.run().await;
        assert_eq!((second.in_step, second.write_requests), (first.listed, 0), "{what}");
    }
}

#[tokio::test]
async fn a_listing_out_of_order_fails_the_range_and_marks_the_bucket() {
    let plain = Capabilities::default();
    let unordered = Capabilities { unordered_listing: true, ..plain.clone() };
    let sockets = Sockets::new(unordered, plain).await;
    sockets.seed();
    let work = Work::Range { range: KeyRange::default(), cursor: None };
    let assignment = sockets.bench.assignment(work, Vec::new());
    let desk = Arc::clone(&sockets.bench.desk);
    let sides =
        Sides { source: sockets.store("a"), destination: sockets.store("b"), server_side: false };
    run(assignment, sides, Arc::clone(&desk) as _, orders().0, engine()).await;
    let recorded = desk.with(std::mem::take);
    let code = match recorded.outcomes.last() {
        Some(Outcome::Errored(error)) => error.code.as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code, "unordered_listing");
    assert!(recorded.facts.iter().any(|facts| facts.unordered_listing));
}

#[tokio::test]
async fn what_is_archived_is_listed_as_such_and_what_was_restored_is_copied() {
    let mut sockets = Sockets::new(Capabilities::default(), Capabilities::default()).await;
    let source = sockets.lab.endpoint("a");
    for (key, object) in [
        ("from/cold", Object::new("x").in_class("DEEP_ARCHIVE")),
        ("from/restored", Object::new("x").in_class("GLACIER").restored()),
        ("from/tiered", Object::new("x").in_archive_tier("ARCHIVE_ACCESS")),
        ("from/instant", Object::new("x").in_class("GLACIER_IR")),
    ] {
        source.seed_object(BUCKET, key, object);
    }
    let counters = sockets.run_and(|recorded| {
        let listed = recorded.failures.iter();
        let listed: Vec<_> =
            listed.map(|f| (f.key.to_string(), f.class, f.code.clone(), f.attempts)).collect();
        let archived = FailureClass::Archived;
        let expected = [
            ("cold".to_owned(), archived, "archived".to_owned(), 0),
            // No listing shows an archive tier; it is asked for once.
            ("tiered".to_owned(), archived, "InvalidObjectState".to_owned(), 1),
        ];
        assert_eq!(listed, expected);
    });
    let counters = counters.await;
    assert_eq!((counters.archived, counters.copied, counters.failed), (2, 2, 0));
    let reads = sockets.lab.endpoint("a").counts();
    assert_eq!((reads.of("GetObject"), reads.of("HeadObject")), (3, 0));
}

/// Whatever was written at a key, at any time: the ETags of it.
fn written(endpoint: &s3sync_lab::Endpoint) -> BTreeMap<String, BTreeSet<String>> {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let writes = endpoint.writes();
    for write in writes.into_iter().filter(|write| write.effect && !write.etag.is_empty()) {
        if matches!(write.operation, "PutObject" | "CompleteMultipartUpload") {
            written.entry(write.key).or_default().insert(write.etag);
        }
    }
    written
}

#[tokio::test]
async fn wrong_bytes_are_never_stored_not_even_for_a_moment() {
    let plain = Capabilities::default();
    let servers = [
        ("as S3", plain.clone()),
        ("no conditions", Capabilities { ignore_conditions: true, ..plain.clone() }),
        ("no checksums", Capabilities { no_checksums: true, ..plain.clone() }),
        ("no trailers", Capabilities { no_trailers: true, ..plain.clone() }),
    ];
    for (seed, (what, capabilities)) in (1..).zip(servers) {
        let mut sockets = Sockets::new(plain.clone(), capabilities).await;
        // Whether checksums are verified is learned from the first write; wrong bytes of that one are written over.
        sockets.lab.endpoint("a").seed(BUCKET, "from/learned", "what the bucket can");
        sockets.run().await;
        sockets.seed();
        let rate = |operation, fault| Rule::of(operation, fault, When::Rate(0.05));
        let down = vec![rate("GetObject", Fault::WrongByteDown), rate("GetObject", Fault::CutBody)];
        let up = ["PutObject", "UploadPart"].into_iter().flat_map(|operation| {
            [rate(operation, Fault::WrongByteUp), rate(operation, Fault::WrongByteStored)]
        });
        sockets.lab.endpoint("a").set_faults(Faults::new(seed, down));
        sockets.lab.endpoint("b").set_faults(Faults::new(seed + 100, up.collect()));
        let counters = sockets.run().await;
        assert_eq!((counters.in_step, counters.failed), (1, 0), "{what}");
        sockets.assert_equal(what);
        let destination = sockets.lab.endpoint("b");
        for (key, etags) in written(&destination) {
            let now = destination.object(BUCKET, &key).unwrap().etag.clone();
            assert_eq!(etags, BTreeSet::from([now]), "{what}: {key:?} once had other bytes");
        }
    }
}

#[tokio::test]
async fn objects_on_both_sides_of_every_limit_arrive_whole_with_the_settings_of_the_product() {
    const MIB: usize = 1024 * 1024;
    let threshold = usize::try_from(crate::copy::choose::SINGLE_UP_TO).unwrap();
    let plain = Capabilities::default();
    let mute = Capabilities { no_checksums: true, ..plain.clone() };
    for (what, capabilities) in [("as S3", plain.clone()), ("no checksums", mute)] {
        let capabilities = Capabilities { min_part_size: 5 * MIB, ..capabilities };
        let mut sockets = Sockets::new(plain.clone(), capabilities.clone()).await;
        sockets.lab.endpoint("b").set_capabilities(capabilities);
        sockets.bench.engine = Engine::new(Settings::default());
        let source = sockets.lab.endpoint("a");
        let sizes =
            [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, threshold - 1, threshold, threshold + 1];
        for size in sizes {
            source.seed(BUCKET, format!("from/{size}"), pattern(1, size));
        }
        // Of an object without a checksum only one pass over all bytes can show that it is whole.
        let old = Object::new(pattern(2, threshold + 1)).without_checksum();
        source.seed_object(BUCKET, "from/old", old);
        let counters = sockets.run().await;
        assert_eq!((counters.copied, counters.failed), (sizes.len() as u64 + 1, 0), "{what}");
        sockets.assert_equal(what);
        let destination = sockets.lab.endpoint("b");
        let parts = |key: String| destination.object(BUCKET, &key).unwrap().parts.len();
        let in_parts: Vec<_> = sizes.map(|size| parts(format!("to/x/{size}"))).into();
        assert_eq!(in_parts, [0, 0, 0, 0, 0, 0, 0, 3], "{what}");
        assert_eq!(parts("to/x/old".to_owned()), 0, "{what}");
        let again = sockets.run().await;
        assert_eq!((again.in_step, again.write_requests), (counters.listed, 0), "{what}");
    }
}

#[tokio::test]
async fn of_a_bucket_that_ignores_checksums_not_even_the_first_write_stays_wrong() {
    for (operation, size) in
        [("PutObject", 1000), ("PutObject", STREAMED), ("UploadPart", IN_PARTS)]
    {
        let mute =
            Capabilities { no_checksums: true, opaque_etags: true, ..Capabilities::default() };
        let mut sockets = Sockets::new(Capabilities::default(), mute).await;
        // Else it would be written once more for its stamp, whatever its bytes are.
        sockets.bench.facts.get_mut(&name("b")).unwrap().etags = Some(EtagKind::Opaque);
        sockets.lab.endpoint("a").seed(BUCKET, "from/k", pattern(1, size));
        let wrong = Rule::of(operation, Fault::WrongByteStored, When::Nth(1));
        sockets.lab.endpoint("b").set_faults(Faults::new(1, vec![wrong]));
        let counters = sockets.run().await;
        assert_eq!((counters.copied, counters.failed), (1, 0), "{operation} of {size}");
        sockets.assert_equal(&format!("{operation} of {size}"));
    }
}
