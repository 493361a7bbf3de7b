//! The fault sweep: each call that a small run makes to S3 fails once in each way the lab knows. Whichever it was, the
//! end is right or the failure is listed, no wrong bytes stay, and one more quiet run mends what is left.

use futures_util::StreamExt as _;
use s3sync_lab::{Capabilities, Fault, Faults, Object, Rule, When};

use super::sockets::{BUCKET, Sockets};
use super::*;

/// Cases at once: most of a case is waiting before a second try.
const AT_ONCE: usize = 48;

/// Operations the product makes, by S3's names.
const OPERATIONS: [&str; 12] = [
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
];

/// Every way a request can fail. Delays are no failures; what concerns queues is not meant.
const FAULTS: [Fault; 10] = [
    Fault::SlowDown,
    Fault::InternalError,
    Fault::AccessDenied,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::CutBody,
    Fault::WrongByteDown,
    Fault::WrongByteUp,
    Fault::WrongByteStored,
    Fault::ErrorIn200,
];

/// What a case is about.
#[derive(Clone, Copy, Debug)]
struct Case {
    one_place: bool,
    endpoint: &'static str,
    operation: &'static str,
    nth: u64,
    fault: Fault,
}

async fn seeded(one_place: bool) -> Sockets {
    let plain = Capabilities::default();
    let mut sockets = Sockets::new(plain.clone(), plain).await;
    sockets.one_place = one_place;
    let settings = sockets.bench.engine.settings;
    sockets.bench.engine = Engine::new(Settings { copy_up_to: 400 * 1024, ..settings });
    let source = sockets.lab.endpoint("a");
    source.seed(BUCKET, "from/changed", pattern(1, 900));
    source.seed(BUCKET, "from/new", pattern(2, 700));
    source.seed_object(BUCKET, "from/tagged", Object::new(pattern(3, 50)).with_tag("k", "v"));
    source.seed(BUCKET, "from/streamed", pattern(4, STREAMED));
    source.seed(BUCKET, "from/in-parts", pattern(5, IN_PARTS));
    sockets.lab.endpoint(sockets.target()).seed(BUCKET, "to/x/changed", pattern(9, 900));
    sockets
}

impl Sockets {
    fn target(&self) -> &'static str {
        if self.one_place { "a" } else { "b" }
    }

    /// Keys whose copies are not the source's bytes.
    fn differing(&self) -> Vec<String> {
        let (source, copies) = (self.bodies("a", "from/"), self.bodies(self.target(), "to/x/"));
        let differs = source.iter().filter(|(key, body)| copies.get(*key) != Some(*body));
        differs.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }
}

/// The operations of a run without faults, with the number of calls to each endpoint.
async fn calls(one_place: bool) -> Vec<(&'static str, &'static str, u64)> {
    let mut sockets = seeded(one_place).await;
    sockets.run().await;
    assert_eq!(sockets.differing(), [""; 0]);
    let mut calls = Vec::new();
    for endpoint in ["a", "b"] {
        let counts = sockets.lab.endpoint(endpoint).counts();
        calls.extend(OPERATIONS.map(|operation| (endpoint, operation, counts.of(operation))));
    }
    calls.retain(|(.., count)| *count > 0);
    calls
}

async fn play(case: Case) {
    let mut sockets = seeded(case.one_place).await;
    let old = sockets.bodies(sockets.target(), "to/x/");
    let rule = Rule::of(case.operation, case.fault, When::Nth(case.nth));
    sockets.lab.endpoint(case.endpoint).set_faults(Faults::new(case.nth, vec![rule]));
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
    let open = sockets.lab.endpoint(sockets.target()).open_uploads(BUCKET);
    assert!(open.is_empty() || case.operation == "AbortMultipartUpload", "{case:?}: {open:?}");
    sockets.lab.endpoint(case.endpoint).set_faults(Faults::default());
    let mended = sockets.run().await;
    assert_eq!((mended.failed, sockets.differing()), (0, Vec::new()), "{case:?}");
    let quiet = sockets.run().await;
    assert_eq!((quiet.in_step, quiet.write_requests), (quiet.listed, 0), "{case:?}");
}

async fn sweep(one_place: bool, operations: &[&str]) {
    let mut cases = Vec::new();
    for (endpoint, operation, count) in calls(one_place).await {
        for nth in 1..=count {
            let case = |fault| Case { one_place, endpoint, operation, nth, fault };
            cases.extend(FAULTS.map(case));
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
    sweep(false, &made).await;
}

#[tokio::test]
async fn each_call_of_a_copy_inside_s3_fails_in_each_way() {
    sweep(true, &["ListObjectsV2", "CopyObject", "UploadPartCopy"]).await;
}
