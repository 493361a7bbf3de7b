//! The fault sweep: each call that a small run makes to S3 fails once in each way the lab knows. Whichever it was, the
//! end is right or the failure is listed, no wrong bytes stay, and one more quiet run mends what is left.

mod deletes;

use futures_util::StreamExt as _;
use s3sync_lab::{Capabilities, Fault, Faults, Object, Rule, When};
use s3sync_proto::model::{Failure, Key, Timestamp, Upload};

use super::sockets::{BUCKET, Sockets};
use super::*;
use crate::s3::{CreateUploadRequest, Operation};

/// Cases at once: most of a case is waiting before a second try.
const AT_ONCE: usize = 48;

/// Operations the product makes, by S3's names. A test holds them against the seam's.
const OPERATIONS: [&str; 15] = [
    "ListObjectsV2",
    "HeadObject",
    "GetObject",
    "GetObjectTagging",
    "PutObject",
    "CopyObject",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListMultipartUploads",
    "ListParts",
    "DeleteObject",
    "DeleteObjects",
];

/// Every way a request can fail. Delays are no failures; what concerns queues is not meant.
const FAULTS: [Fault; 14] = [
    Fault::SlowDown,
    Fault::InternalError,
    Fault::AccessDenied,
    Fault::NoSuchBucket,
    Fault::EmptyNotFound,
    Fault::EmptyBody,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::CutBody,
    Fault::WrongByteDown,
    Fault::WrongByteUp,
    Fault::WrongByteStored,
    Fault::ErrorIn200,
    Fault::FailEntry,
];

/// Whether a fault makes a difference to an operation.
fn strikes(fault: Fault, operation: &str) -> bool {
    match fault {
        Fault::CutBody | Fault::EmptyBody => {
            !matches!(operation, "HeadObject" | "PutObject" | "UploadPart" | "DeleteObject")
                && operation != "AbortMultipartUpload"
        }
        Fault::WrongByteDown => operation == "GetObject",
        Fault::WrongByteUp => matches!(
            operation,
            "PutObject" | "UploadPart" | "CompleteMultipartUpload" | "DeleteObjects"
        ),
        Fault::WrongByteStored => matches!(operation, "PutObject" | "UploadPart"),
        Fault::ErrorIn200 => {
            matches!(operation, "CopyObject" | "UploadPartCopy" | "CompleteMultipartUpload")
        }
        Fault::FailEntry => operation == "DeleteObjects",
        Fault::SlowDown
        | Fault::InternalError
        | Fault::AccessDenied
        | Fault::NoSuchBucket
        | Fault::EmptyNotFound
        | Fault::ResetBefore
        | Fault::ResetAfter => true,
        Fault::Conflict
        | Fault::Delay(_)
        | Fault::DelayAnswer(_)
        | Fault::Duplicate
        | Fault::Hold
        | Fault::HoldAnswer => {
            unreachable!("it is not among those")
        }
    }
}

/// What a run has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// Copies between two places.
    Apart,
    /// Copies inside S3.
    OnePlace,
    /// Copies between two places, one of which an earlier holder had begun.
    Resumed,
    /// The same, of an upload that is not wanted any more, beside one whose id is not known.
    LeftOver,
}

/// What a case is about.
#[derive(Clone, Copy, Debug)]
struct Case {
    scene: Scene,
    endpoint: &'static str,
    operation: &'static str,
    nth: u64,
    fault: Fault,
}

async fn seeded(scene: Scene) -> Sockets {
    let plain = Capabilities::default();
    let mut sockets = Sockets::new(plain.clone(), plain).await;
    sockets.one_place = scene == Scene::OnePlace;
    let settings = sockets.bench.engine.settings;
    sockets.bench.engine = Engine::new(Settings { copy_up_to: 400 * 1024, ..settings });
    let source = sockets.lab.endpoint("a");
    source.seed(BUCKET, "from/changed", pattern(1, 900));
    // In the parts of the source, since others depend on how long an answer takes.
    let in_parts = Object::new(pattern(5, IN_PARTS)).in_parts(200 * 1024);
    source.seed_object(BUCKET, "from/in-parts", in_parts);
    sockets.lab.endpoint(sockets.target()).seed(BUCKET, "to/x/changed", pattern(9, 900));
    if matches!(scene, Scene::Resumed | Scene::LeftOver) {
        sockets.begin_upload().await;
    }
    if scene == Scene::LeftOver {
        source.remove(BUCKET, "from/in-parts");
        sockets.begin_unknown_upload().await;
        return sockets;
    }
    source.seed(BUCKET, "from/new", pattern(2, 700));
    source.seed_object(BUCKET, "from/tagged", Object::new(pattern(3, 50)).with_tag("k", "v"));
    source.seed(BUCKET, "from/streamed", pattern(4, STREAMED));
    sockets
}

impl Sockets {
    fn target(&self) -> &'static str {
        if self.one_place { "a" } else { "b" }
    }

    /// A holder sends parts, but for the last one, and dies.
    async fn begin_upload(&mut self) {
        let destination = self.lab.endpoint("b");
        let hangs = |nth| Rule::of("UploadPart", Fault::Delay(600_000), When::Nth(nth));
        destination.set_faults(Faults::new(1, (3..9).map(hangs).collect()));
        let (orders, _split) = orders();
        let lost = orders.lost.clone();
        let desk = Arc::clone(&self.bench.desk);
        let dies = async {
            let sent = || {
                let open = destination.open_uploads(BUCKET);
                let stored = open.iter().any(|upload| upload.parts == 2);
                stored && destination.counts().of("UploadPart") > 2
            };
            while !sent() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            desk.with(|recorded| recorded.lost = true);
            lost.cancel();
        };
        let dies = tokio::time::timeout(Duration::from_secs(20), dies);
        let (_, died) = tokio::join!(self.hold_with(orders), dies);
        let made = destination.counts();
        assert!(died.is_ok(), "{:?} {:?}", made.by_operation(), destination.open_uploads(BUCKET));
        self.bench.desk.with(|recorded| {
            assert_eq!(recorded.uploads.len(), 1, "it is recorded");
            // As the next holder is told of it. What else was done is looked at anew.
            *recorded = desk::Recorded {
                uploads: std::mem::take(&mut recorded.uploads),
                ..desk::Recorded::default()
            };
        });
        destination.set_faults(Faults::default());
        destination.reset_counts();
        self.lab.endpoint("a").reset_counts();
    }

    /// An upload of which only the intent is on the server's disk.
    async fn begin_unknown_upload(&self) {
        let key = Key::from("to/x/unknown");
        let request = CreateUploadRequest { key, ..CreateUploadRequest::default() };
        self.sides().destination.create_upload(request).await.unwrap();
        let intent = Timestamp::from_micros(crate::clock::now().as_micros() - 1_000_000);
        let key = Key::from("unknown");
        let upload = Upload { key: key.clone(), upload_id: None, intent, plan: None };
        self.bench.desk.with(|recorded| recorded.uploads.insert((key, String::new()), upload));
        self.lab.endpoint("b").reset_counts();
    }

    /// Keys whose copies are not the source's bytes.
    fn differing(&self) -> Vec<String> {
        let (source, copies) = (self.bodies("a", "from/"), self.bodies(self.target(), "to/x/"));
        let differs = source.iter().filter(|(key, body)| copies.get(*key) != Some(*body));
        differs.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// How often each operation was called at each endpoint.
    fn calls(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut calls = Vec::new();
        for endpoint in ["a", "b"] {
            let counts = self.lab.endpoint(endpoint).counts();
            calls.extend(OPERATIONS.map(|operation| (endpoint, operation, counts.of(operation))));
        }
        calls.retain(|(.., count)| *count > 0);
        calls
    }

    fn fail(&self, endpoint: &str, operation: &str, nth: u64, fault: Fault) {
        let rule = Rule::of(operation, fault, When::Nth(nth));
        self.lab.endpoint(endpoint).set_faults(Faults::new(nth, vec![rule]));
    }
}

/// The operations of a run without faults, with the number of calls to each endpoint.
async fn calls(scene: Scene) -> Vec<(&'static str, &'static str, u64)> {
    let mut sockets = seeded(scene).await;
    sockets.run().await;
    assert_eq!(sockets.differing(), [""; 0]);
    sockets.calls()
}

async fn play(case: Case) {
    let mut sockets = seeded(case.scene).await;
    let old = sockets.bodies(sockets.target(), "to/x/");
    sockets.fail(case.endpoint, case.operation, case.nth, case.fault);
    let (outcome, failed) = sockets.attempt().await;
    let differing = sockets.differing();
    match outcome {
        Outcome::Completed => {
            let listed: Vec<_> = failed.iter().map(|failure| failure.key.to_string()).collect();
            // One that is listed may be right all the same: the look that would have told was refused.
            assert!(differing.iter().all(|key| listed.contains(key)), "{case:?}: {differing:?}");
        }
        // The whole range: the run goes on with it or fails, and says why.
        Outcome::Errored(_) => {}
        Outcome::Checkpoint | Outcome::Yielded => panic!("{case:?} ended with {outcome:?}"),
    }
    let (source, copies) =
        (sockets.bodies("a", "from/"), sockets.bodies(sockets.target(), "to/x/"));
    for (key, body) in &copies {
        let right = source.get(key) == Some(body) || old.get(key) == Some(body);
        assert!(right, "{case:?}: {key:?} has bytes that nobody wrote");
    }
    sockets.lab.endpoint(case.endpoint).set_faults(Faults::default());
    let open = sockets.lab.endpoint(sockets.target()).open_uploads(BUCKET);
    assert!(open.is_empty() || sockets.may_stay_open(case, &outcome), "{case:?}: {open:?}");
    let mended = sockets.run().await;
    assert_eq!((mended.failed, sockets.differing()), (0, Vec::new()), "{case:?}");
    let quiet = sockets.run().await;
    assert_eq!((quiet.in_step, quiet.write_requests), (quiet.listed, 0), "{case:?}");
}

impl Sockets {
    /// Whether an upload may be open in the end: its abort failed, or the look for it, or the range goes on and its
    /// record with it.
    fn may_stay_open(&self, case: Case, outcome: &Outcome) -> bool {
        let recorded = matches!(outcome, Outcome::Errored(_));
        recorded || matches!(case.operation, "AbortMultipartUpload" | "ListMultipartUploads")
    }
}

async fn sweep(scene: Scene, operations: &[&str]) {
    let mut cases = Vec::new();
    for (endpoint, operation, count) in calls(scene).await {
        for nth in 1..=count {
            let faults = FAULTS.into_iter().filter(|fault| strikes(*fault, operation));
            cases.extend(faults.map(|fault| Case { scene, endpoint, operation, nth, fault }));
        }
    }
    for operation in operations {
        assert!(cases.iter().any(|case| case.operation == *operation), "{operation} is not made");
    }
    futures_util::stream::iter(cases)
        .for_each_concurrent(AT_ONCE, |case| Box::pin(play(case)))
        .await;
}

#[tokio::test]
async fn each_call_of_a_copy_between_two_places_fails_in_each_way() {
    let made = ["ListObjectsV2", "GetObject", "GetObjectTagging", "PutObject", "UploadPart"];
    sweep(Scene::Apart, &made).await;
}

#[tokio::test]
async fn each_call_of_a_copy_inside_s3_fails_in_each_way() {
    sweep(Scene::OnePlace, &["ListObjectsV2", "CopyObject", "UploadPartCopy"]).await;
}

#[tokio::test]
async fn each_call_of_a_copy_that_is_gone_on_with_fails_in_each_way() {
    sweep(Scene::Resumed, &["ListParts", "UploadPart", "CompleteMultipartUpload"]).await;
}

#[tokio::test]
async fn each_call_that_clears_up_after_others_fails_in_each_way() {
    sweep(Scene::LeftOver, &["AbortMultipartUpload", "ListMultipartUploads"]).await;
}

#[test]
fn every_operation_of_the_seam_is_swept() {
    use Operation::*;
    let all = [
        List,
        Head,
        Get,
        GetTags,
        Put,
        Copy,
        CreateUpload,
        UploadPart,
        CopyPart,
        CompleteUpload,
        AbortUpload,
        ListUploads,
        ListParts,
        Delete,
        DeleteMany,
    ];
    for (operation, name) in all.iter().zip(OPERATIONS) {
        assert_eq!(operation.name(), name);
        match operation {
            // Whoever adds one adds it above, and to a scene.
            List | Head | Get | GetTags | Put | Copy | CreateUpload | UploadPart | CopyPart
            | CompleteUpload | AbortUpload | ListUploads | ListParts | Delete | DeleteMany => {}
            // Of a question, which no run asks.
            GetNotifications => {}
        }
    }
}
