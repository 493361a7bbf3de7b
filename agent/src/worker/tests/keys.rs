//! Every legal shape of key, over real sockets: listed, compared, cut, copied as one and in parts, with tags, looked at by
//! name, failing, explained, deleted. What does not hold shrinks to the smallest keys that show it.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use s3sync_lab::{Capabilities, Fault, Faults, Object, Rule, When};
use s3sync_proto::model::{DeleteWork, KeyVerdict, MAX_KEY_BYTES};

use super::sockets::{BUCKET, Sockets};
use super::*;
use crate::explain;

/// The longer of the two prefixes of the bench.
const LONGEST_PREFIX: usize = "to/x/".len();

/// Pieces that keys are made of: what other tools lose, change or choke on.
const PIECES: [&str; 40] = [
    "/",
    "//",
    ".",
    "..",
    "./",
    "../",
    "a",
    "b",
    "p",
    "p/",
    "p/q",
    "+",
    "%",
    "%2F",
    "%25",
    "&",
    "?",
    "#",
    "=",
    " ",
    "  ",
    "'",
    "\"",
    "<",
    ">",
    "&amp;",
    "\\",
    "*",
    "[",
    "{",
    "|",
    "~",
    "\t",
    "\n",
    "\r",
    "\u{1}",
    "\u{7f}",
    "\u{e9}",
    "e\u{301}",
    "\u{1f600}",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        // NUL cannot be in a request's line.
        1 => any::<char>().prop_filter("NUL", |c| *c != '\0').prop_map(String::from),
        // Order by UTF-16, as some languages sort, is another one from here on.
        1 => proptest::sample::select(&["\u{ff01}", "\u{10000}", "\u{e000}", "\u{10ffff}", "\u{202e}", "\u{85}"][..])
            .prop_map(str::to_owned),
    ]
}

/// A key without prefix: short ones of odd pieces, some as long as they may be, and the prefix itself.
fn key() -> impl Strategy<Value = String> {
    let pieces = |most| proptest::collection::vec(piece(), 1..most).prop_map(|all| all.concat());
    prop_oneof![
        12 => pieces(5),
        2 => proptest::sample::select(&["", "p", "p/", "p/q", "p//", "p/./q", "/p"][..]).prop_map(str::to_owned),
        1 => (piece(), piece()).prop_map(|(fill, end)| longest(&fill, &end)),
    ]
}

/// As many bytes as there may be, made of one piece, with another at the end.
fn longest(fill: &str, end: &str) -> String {
    let room = MAX_KEY_BYTES - LONGEST_PREFIX - end.len();
    let mut key = fill.repeat(room / fill.len());
    key.push_str(&"k".repeat(room - key.len()));
    key + end
}

struct Case {
    sockets: Sockets,
    keys: Vec<String>,
}

impl Case {
    async fn new(keys: BTreeSet<String>) -> Self {
        let sockets = Sockets::new(Capabilities::default(), Capabilities::default()).await;
        let source = sockets.lab.endpoint("a");
        let keys: Vec<String> = keys.into_iter().collect();
        for (n, key) in keys.iter().enumerate() {
            // Every third travels in parts; each carries itself.
            let size = if n % 3 == 2 { IN_PARTS } else { 10 + n };
            let object = Object::new(pattern(n, size)).with_tag("n", &n.to_string());
            source.seed_object(BUCKET, format!("from/{key}"), object);
        }
        Self { sockets, keys }
    }

    /// Everything is there, under its own key, with its own bytes and tags, and nothing else is.
    fn assert_equal(&self, what: &str) {
        let (from, to) = (self.sockets.lab.endpoint("a"), self.sockets.lab.endpoint("b"));
        for key in &self.keys {
            let source = from.object(BUCKET, format!("from/{key}")).unwrap();
            let Some(copy) = to.object(BUCKET, format!("to/x/{key}")) else {
                panic!("{what}: {key:?} is missing");
            };
            assert!(source.body == copy.body, "{what}: {key:?} has other bytes");
            assert_eq!(source.tags, copy.tags, "{what}: {key:?}");
        }
        assert_eq!(to.objects(BUCKET).len(), self.keys.len(), "{what}: others are there");
    }

    async fn work(&self, work: Work) -> desk::Recorded {
        let assignment = self.sockets.bench.assignment(work, Vec::new());
        let desk: Arc<Recorder> = Arc::default();
        let engine = Arc::clone(&self.sockets.bench.engine);
        run(assignment, self.sockets.sides(), Arc::clone(&desk) as _, orders().0, engine).await;
        desk.with(std::mem::take)
    }

    async fn explained(&self, key: &str) -> s3sync_proto::model::KeyExplanation {
        let work = Work::Keys(vec![Key::from(key)]);
        let assignment = self.sockets.bench.assignment(work, Vec::new());
        let engine = Arc::clone(&self.sockets.bench.engine);
        explain::explain(assignment, self.sockets.sides(), engine).await.unwrap()
    }
}

fn without_copies(case: &Case) {
    let to = case.sockets.lab.endpoint("b");
    for key in case.keys.iter() {
        to.remove(BUCKET, format!("to/x/{key}"));
    }
}

async fn through_everything(keys: BTreeSet<String>) {
    let case = Case::new(keys).await;
    let all = case.keys.len() as u64;
    let cut = case.keys[case.keys.len() / 2].clone();

    // Two holders, cut at one of the keys.
    for (after, until) in [(None, Some(&cut)), (Some(&cut), None)] {
        let key = |key: Option<&String>| key.map(|key| Key::from(key.as_str()));
        let range = KeyRange { after: key(after), until: key(until) };
        case.sockets.bench.desk.with(|recorded| recorded.range = range.clone());
        let recorded = case.work(Work::Range { range, cursor: None }).await;
        assert_eq!(recorded.failures, [], "cut at {cut:?}");
    }
    case.assert_equal("two ranges");
    let again = case.work(Work::Range { range: KeyRange::default(), cursor: None }).await;
    assert_eq!((again.counters.in_step, again.counters.write_requests), (all, 0), "compared");

    // One of them is refused; it is named by its bytes, and the others arrive.
    without_copies(&case);
    let refused = Rule::of("PutObject", Fault::AccessDenied, When::Always);
    let multipart = Rule::of("CreateMultipartUpload", Fault::AccessDenied, When::Always);
    let full = format!("to/x/{cut}");
    let only = |rule: Rule| rule.at(BUCKET, &full);
    case.sockets.lab.endpoint("b").set_faults(Faults::new(1, vec![only(refused), only(multipart)]));
    let recorded = case.work(Work::Range { range: KeyRange::default(), cursor: None }).await;
    case.sockets.lab.endpoint("b").set_faults(Faults::default());
    let failed: Vec<_> = recorded.failures.iter().map(|failure| failure.key.clone()).collect();
    // The rule is for all keys that begin with it.
    let begin: Vec<_> = case.keys.iter().filter(|key| key.starts_with(&cut)).collect();
    assert_eq!(failed, begin.iter().map(|key| Key::from(key.as_str())).collect::<Vec<_>>());
    let told = case.explained(&cut).await;
    assert_eq!((told.verdict, told.source.tags), (KeyVerdict::Differs, Some(1)), "{cut:?}");
    assert_eq!(told.source.key.as_bytes(), format!("from/{cut}").as_bytes());

    // What failed is looked at by name.
    let recorded = case.work(Work::Keys(failed)).await;
    assert_eq!((recorded.failures.len(), recorded.counters.copied), (0, begin.len() as u64));
    case.assert_equal("by name");
    for key in &case.keys {
        assert_eq!(case.explained(key).await.verdict, KeyVerdict::InStep, "{key:?}");
    }
    case.sockets.lab.endpoint("a").remove(BUCKET, format!("from/{cut}"));
    assert_eq!(case.explained(&cut).await.verdict, KeyVerdict::Extra, "{cut:?}");
    deleted_but_one(&case, &cut).await;
}

/// All keys but one go from the source, of which `gone` has gone already, and then from the destination.
async fn deleted_but_one(case: &Case, gone: &str) {
    let (from, to) = (case.sockets.lab.endpoint("a"), case.sockets.lab.endpoint("b"));
    let stays = case.keys.iter().find(|key| *key != gone);
    for key in case.keys.iter().filter(|key| *key != gone && Some(*key) != stays) {
        from.remove(BUCKET, format!("from/{key}"));
    }
    let work = DeleteWork {
        range: KeyRange::default(),
        cursor: None,
        count_only: false,
        unconditional: false,
        deleting: Vec::new(),
    };
    let recorded = case.work(Work::Delete(work)).await;
    assert_eq!(recorded.failures, []);
    let left: Vec<_> = to.objects(BUCKET).into_keys().collect();
    let expected: Vec<_> =
        stays.map(|key| Bytes::from(format!("to/x/{key}"))).into_iter().collect();
    assert_eq!(left, expected);
    assert_eq!(recorded.counters.deleted, (case.keys.len() - expected.len()) as u64);
}

fn few() -> ProptestConfig {
    let usual = ProptestConfig::default();
    let cases = if usual.cases == 256 { 24 } else { usual.cases };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..usual }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn any_set_of_legal_keys_goes_through_everything(
        keys in proptest::collection::btree_set(key(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(through_everything(keys));
    }
}

#[tokio::test]
async fn every_piece_and_every_odd_key_goes_through_everything() {
    let mut keys: BTreeSet<String> = PIECES.iter().map(|piece| (*piece).to_owned()).collect();
    keys.extend(PIECES.iter().map(|piece| format!("x{piece}y")));
    keys.extend(ODD_KEYS.iter().filter_map(|key| key.strip_prefix("from/")).map(str::to_owned));
    keys.insert(longest("k", "k"));
    keys.insert(longest("\u{1f600}", "/"));
    keys.insert(longest("%", "\u{301}"));
    through_everything(keys).await;
}

/// The full key may be no key at the destination: below a longer prefix it is too long, without one it may be empty.
#[tokio::test]
async fn a_key_that_cannot_be_at_the_destination_is_a_failure_that_says_so() {
    let long = "k".repeat(MAX_KEY_BYTES - "from/".len());
    let fits = "k".repeat(MAX_KEY_BYTES - "to/longer/".len());
    let cases = [("to/longer/", long.as_str(), "key_too_long"), ("", "", "key_empty")];
    for (prefix, bad, code) in cases {
        let case = Case::new([bad.to_owned(), fits.clone()].into()).await;
        let at = |work: Work| {
            let mut assignment = case.sockets.bench.assignment(work, Vec::new());
            assignment.destination.location.prefix = prefix.to_owned();
            assignment
        };
        let desk: Arc<Recorder> = Arc::default();
        let engine = Arc::clone(&case.sockets.bench.engine);
        let work = Work::Range { range: KeyRange::default(), cursor: None };
        let sides = case.sockets.sides();
        run(at(work), sides, Arc::clone(&desk) as _, orders().0, Arc::clone(&engine)).await;
        let recorded = desk.with(std::mem::take);
        assert_eq!((recorded.counters.copied, recorded.counters.failed), (1, 1), "{code}");
        let failure = &recorded.failures[0];
        assert_eq!((&failure.key, failure.class), (&Key::from(bad), FailureClass::Permanent));
        assert_eq!(failure.attempts, 1, "{failure:?}");
        let work = Work::Keys(vec![Key::from(bad)]);
        let told = explain::explain(at(work), case.sockets.sides(), engine).await.unwrap();
        assert_eq!(told.destination.problem.unwrap().code, code);
        assert_eq!(told.verdict, KeyVerdict::Unknown);
    }
}
