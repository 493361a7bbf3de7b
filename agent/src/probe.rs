//! Looks anew at the buckets of an endpoint, without writing: whether they answer, what the credential may do there, and
//! what can be learned by reading. What only a write can teach is forgotten, and learned at the next copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use s3sync_proto::model::{
    Answer, BucketFacts, CheckState, EndpointSpec, EtagKind, Key, Name, PlaceProbe, Probe,
    ProbeCheck, RequestSide,
};

use crate::clock;
use crate::compare::is_md5_like;
use crate::copy::body;
use crate::copy::digest::{Running, hex};
use crate::limits::throttle::Access;
use crate::meter::Meter;
use crate::s3::{
    Class, Error, GetRequest, HeadRequest, ListRequest, Listed, Object, ObjectStore, Operation,
};
use crate::scan::PAGE_KEYS;
use crate::stores::Stores;
use crate::worker::Engine;
use crate::worker::side::{BRIEFLY, Side};

/// Largest object that is read to tell whether its ETag is the MD5 of its bytes.
const MAX_SAMPLE: u64 = 64 * 1024;

/// A clock that is off by less says nothing: S3 tells its own in whole seconds, and the answer takes its time.
const CLOCK_OFF: u64 = 5;

/// S3 refuses requests whose time is off by this many seconds (API reference, RequestTimeTooSkewed).
const CLOCK_REFUSED: u64 = 15 * 60;

/// Forgets what this agent knows of the buckets and looks again.
pub(crate) async fn probe(stores: &Stores, engine: &Arc<Engine>, probe: Probe) -> Answer {
    let Probe { endpoint, spec, places } = probe;
    let mut sides = Vec::with_capacity(places.len());
    for (bucket, prefix) in places {
        match stores.open(&endpoint, &spec, &bucket) {
            Ok(store) => {
                sides.push((side(engine, &endpoint, &spec, &bucket, &prefix, store), prefix))
            }
            Err(error) => return Answer::Refused(error.into()),
        }
    }
    for (side, _) in &sides {
        engine.forget(&endpoint, &side.bucket);
    }
    let looked = join_all(sides.iter().map(|(side, prefix)| place(side, prefix, &endpoint))).await;
    let mut facts: BTreeMap<String, BucketFacts> = BTreeMap::new();
    let mut places = Vec::with_capacity(looked.len());
    for (place, learned) in looked {
        match facts.get_mut(&learned.bucket) {
            Some(known) => known.merge(&learned),
            None => drop(facts.insert(learned.bucket.clone(), learned)),
        }
        places.push(place);
    }
    let facts: Vec<_> = facts.into_values().collect();
    for learned in &facts {
        engine.known(learned);
    }
    Answer::Probed { places, facts }
}

pub(crate) fn side(
    engine: &Engine,
    endpoint: &Name,
    spec: &EndpointSpec,
    bucket: &str,
    prefix: &str,
    store: Arc<dyn ObjectStore>,
) -> Side {
    Side {
        which: RequestSide::Destination,
        store,
        bucket: bucket.to_owned(),
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        limiter: Access::new(engine.limiter(endpoint), None, Arc::default()),
        known: engine.known(&BucketFacts::unknown(endpoint.clone(), bucket.to_owned())),
        fixed_etags: spec.etags,
        meter: Arc::new(Meter::default()),
        round_trip: engine.round_trip(endpoint),
    }
}

/// What is found at one place, a check after the other.
struct Looking<'a> {
    side: &'a Side,
    checks: Vec<ProbeCheck>,
    facts: BucketFacts,
}

async fn place(side: &Side, prefix: &str, endpoint: &Name) -> (PlaceProbe, BucketFacts) {
    let facts = BucketFacts::unknown(endpoint.clone(), side.bucket.clone());
    let mut looking = Looking { side, checks: Vec::new(), facts };
    looking.look().await;
    let Looking { checks, mut facts, .. } = looking;
    facts.learned = clock::now();
    (PlaceProbe { bucket: side.bucket.clone(), prefix: prefix.to_owned(), checks }, facts)
}

impl Looking<'_> {
    async fn look(&mut self) {
        let request = ListRequest {
            prefix: Key::new(self.side.prefix.clone()),
            max_keys: PAGE_KEYS,
            ..ListRequest::default()
        };
        let side = self.side;
        let none = Key::default();
        let list = || side.store.list(request.clone());
        let page = side.call_briefly(Operation::List, &none, list).await;
        match page {
            Ok(page) => {
                self.note("reachable", CheckState::Ok, "it answers");
                let detail = format!("it may list; the first page has {} keys", page.objects.len());
                self.note("credential", CheckState::Ok, detail);
                self.clock();
                self.order(&page.objects);
                self.objects(&page.objects).await;
            }
            Err(failed) => {
                self.refused(&failed.error);
                self.clock();
            }
        }
        let detail = "conditional writes and copies, checksums and trailers of writes, and conditional deletes are \
                      learned at the next copy or delete";
        self.note("writes", CheckState::Unknown, detail);
    }

    fn note(&mut self, name: &str, state: CheckState, detail: impl Into<String>) {
        self.checks.push(ProbeCheck { name: name.to_owned(), state, detail: detail.into() });
    }

    /// The listing failed.
    fn refused(&mut self, error: &Error) {
        let what = format!("{}: {}", error.code, error.message);
        if error.code == "not_allowed" {
            self.note("reachable", CheckState::Unknown, "no request was sent");
            self.note("credential", CheckState::Failed, what);
        } else if error.status.is_none() {
            self.note("reachable", CheckState::Failed, what);
            self.note("credential", CheckState::Unknown, "there was no answer");
        } else if error.class == Class::Denied {
            self.note("reachable", CheckState::Ok, "it answers");
            self.note("credential", CheckState::Failed, what);
        } else {
            self.note("reachable", CheckState::Failed, what);
            self.note("credential", CheckState::Unknown, "the listing failed for another reason");
        }
    }

    fn clock(&mut self) {
        let Some(ahead) = self.side.store.clock_ahead() else {
            return self.note("clock", CheckState::Unknown, "the endpoint did not tell its time");
        };
        let off = ahead.unsigned_abs();
        let which = if ahead > 0 { "behind" } else { "ahead of" };
        let detail = format!("this agent's clock is {off} s {which} the endpoint's");
        if off < CLOCK_OFF {
            self.note("clock", CheckState::Ok, format!("less than {CLOCK_OFF} s apart"));
        } else if off < CLOCK_REFUSED {
            self.note("clock", CheckState::Warning, detail);
        } else {
            let detail = format!("{detail}; S3 refuses requests that are off by 15 minutes");
            self.note("clock", CheckState::Failed, detail);
        }
    }

    fn order(&mut self, objects: &[Listed]) {
        let wrong = objects.windows(2).find(|pair| pair[0].key >= pair[1].key);
        if let Some([before, after]) = wrong {
            let detail =
                format!("{} is listed before {}: cannot be compared", before.key, after.key);
            self.facts.unordered_listing = true;
            self.note("order", CheckState::Failed, detail);
        } else if objects.len() < 2 {
            self.note("order", CheckState::Unknown, "there are fewer than two keys to tell by");
        } else {
            self.note("order", CheckState::Ok, "the first page is in ascending order of bytes");
        }
    }

    /// Looks at one object: the smallest that can be read.
    async fn objects(&mut self, objects: &[Listed]) {
        let readable = objects.iter().filter(|object| !object.is_archived());
        let Some(sample) = readable.min_by_key(|object| (!is_md5_like(&object.etag), object.size))
        else {
            for name in ["etags", "tags", "checksums"] {
                self.note(name, CheckState::Unknown, "there is no object to tell by");
            }
            return;
        };
        let side = self.side;
        let request = HeadRequest { key: sample.key.clone(), ..HeadRequest::default() };
        let head = || side.store.head(request.clone());
        match side.call_briefly(Operation::Head, &self.relative(sample), head).await {
            Ok(object) => {
                self.etags(sample, &object).await;
                self.tags(sample).await;
                self.checksums(&object);
            }
            Err(failed) => {
                let detail = format!("{}: {}", failed.error.code, failed.error.message);
                for name in ["etags", "tags", "checksums"] {
                    self.note(name, CheckState::Failed, detail.clone());
                }
            }
        }
    }

    async fn etags(&mut self, sample: &Listed, object: &Object) {
        let encryption = object.encryption.as_deref().unwrap_or_default();
        let known = if let Some(kind) = self.side.fixed_etags {
            Some((kind, "by the endpoint's settings".to_owned()))
        } else if encryption.starts_with("aws:kms") {
            Some((EtagKind::Opaque, format!("objects are encrypted with {encryption}")))
        } else if sample.size <= MAX_SAMPLE && is_md5_like(&sample.etag) {
            self.by_reading(sample).await
        } else {
            None
        };
        match known {
            Some((EtagKind::Md5, why)) => {
                self.facts.etags = Some(EtagKind::Md5);
                self.note("etags", CheckState::Ok, format!("MD5 of the bytes: {why}"));
            }
            Some((EtagKind::Opaque, why)) => {
                self.facts.etags = Some(EtagKind::Opaque);
                let detail = format!("they say nothing of the bytes: {why}; copies are stamped");
                self.note("etags", CheckState::Warning, detail);
            }
            None => {
                let detail = "no small object to tell by; learned at the next copy";
                self.note("etags", CheckState::Unknown, detail);
            }
        }
        if self.side.fixed_etags.is_some() {
            self.facts.etags = None;
        }
    }

    /// Reads a small object to see whether its ETag is the MD5 of its bytes.
    async fn by_reading(&self, sample: &Listed) -> Option<(EtagKind, String)> {
        let side = self.side;
        let request = GetRequest {
            key: sample.key.clone(),
            if_match: Some(sample.etag.clone()),
            ..GetRequest::default()
        };
        let read = async {
            let _permit = side.limiter.acquire().await;
            let (_, stream) = side.once(Operation::Get, side.store.get(request)).await.ok()?;
            body::collect(stream, Running::new(None, Some(())), sample.size).await.ok()
        };
        let (_, digested) = tokio::time::timeout(BRIEFLY, read).await.ok()??;
        let equal = digested.md5.is_some_and(|md5| hex(&md5) == sample.etag);
        let what = format!("as one of {} bytes that was read shows", sample.size);
        Some((if equal { EtagKind::Md5 } else { EtagKind::Opaque }, what))
    }

    async fn tags(&mut self, sample: &Listed) {
        let side = self.side;
        let read = || side.store.get_tags(&sample.key);
        match side.call_briefly(Operation::GetTags, &self.relative(sample), read).await {
            Ok(_) => {
                self.facts.tags = Some(true);
                self.note("tags", CheckState::Ok, "they can be read");
            }
            Err(failed) => {
                let detail = format!("{}: {}", failed.error.code, failed.error.message);
                if matches!(failed.error.class, Class::Denied | Class::Unsupported) {
                    self.facts.tags = Some(false);
                    let detail = format!("they cannot be read, so they are not copied: {detail}");
                    return self.note("tags", CheckState::Warning, detail);
                }
                self.note("tags", CheckState::Failed, detail);
            }
        }
    }

    fn relative(&self, sample: &Listed) -> Key {
        self.side.relative(sample.key.clone()).unwrap_or_default()
    }

    fn checksums(&mut self, object: &Object) {
        let mut names: Vec<_> = object.checksums.iter().map(|one| one.algorithm).collect();
        names.sort_unstable();
        if names.is_empty() {
            let detail = "the object that was looked at has none";
            self.note("checksums", CheckState::Unknown, detail);
        } else {
            self.note("checksums", CheckState::Ok, format!("told: {}", names.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use s3sync_lab::{Capabilities, EndpointConfig, Fault, Faults, Lab, Rule, When};

    use super::*;
    use crate::config::{Config, Flags};
    use crate::s3::{PutBody, PutRequest};
    use crate::worker::Settings;

    /// Stores of an agent with a credential for the lab, with these rules.
    fn stores(allow: &str) -> Stores {
        let config = format!(
            "server = \"http://127.0.0.1:1\"\nname = \"t\"\n[endpoints.lab]\naccess_key_id = \"AKIA1\"\n\
             secret_access_key = \"lab-secret-1\"\n{allow}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, config).unwrap();
        let flags = Flags { config: path, ..Flags::default() };
        Stores::new(&Config::load(&flags).unwrap().config)
    }

    fn spec(url: String) -> EndpointSpec {
        let region = "us-east-1".to_owned();
        EndpointSpec { region, url: Some(url), path_style: true, ..EndpointSpec::default() }
    }

    /// Probes a bucket of the lab; what each check says, and what was learned.
    async fn probed(allow: &str, url: String) -> (BTreeMap<String, ProbeCheck>, BucketFacts) {
        let endpoint: Name = "lab".parse().unwrap();
        let places = vec![("bucket".to_owned(), "p/".to_owned())];
        let question = Probe { endpoint, spec: spec(url), places };
        let engine = Engine::new(Settings::default());
        let Answer::Probed { places, facts } = probe(&stores(allow), &engine, question).await
        else {
            panic!("refused");
        };
        let checks = places.into_iter().flat_map(|place| place.checks);
        (checks.map(|check| (check.name.clone(), check)).collect(), facts[0].clone())
    }

    async fn lab(capabilities: Capabilities) -> Lab {
        let endpoint = EndpointConfig::new("lab", "us-east-1").key("AKIA1", "lab-secret-1");
        Lab::start(vec![endpoint.bucket("bucket").capabilities(capabilities)]).await.unwrap()
    }

    fn seeded(lab: &Lab) -> String {
        for key in ["a", "b", "c"] {
            lab.endpoint("lab").seed("bucket", format!("p/{key}"), key.repeat(100));
        }
        lab.endpoint("lab").url()
    }

    /// As somebody else would write, with what the server makes of it.
    async fn written(lab: &Lab) {
        let endpoint: Name = "lab".parse().unwrap();
        let spec = spec(lab.endpoint("lab").url());
        let store = stores("").open(&endpoint, &spec, "bucket").unwrap();
        for key in ["p/a", "p/b", "p/c"] {
            let request = PutRequest { key: key.into(), ..PutRequest::default() };
            store.put(request, PutBody::Bytes(key.repeat(50).into())).await.unwrap();
        }
    }

    #[tokio::test]
    async fn each_kind_of_bucket_is_told_by_reading_alone() {
        use CheckState::{Failed, Ok, Unknown, Warning};
        let plain = Capabilities::default;
        let (md5, opaque) = (Some(EtagKind::Md5), Some(EtagKind::Opaque));
        let unordered = Capabilities { unordered_listing: true, ..plain() };
        let cases = [
            ("as S3", plain(), [Ok, Ok, Ok, Ok], md5),
            (
                "opaque",
                Capabilities { opaque_etags: true, ..plain() },
                [Ok, Warning, Ok, Ok],
                opaque,
            ),
            ("unordered", unordered, [Failed, Ok, Ok, Ok], md5),
            ("mute", Capabilities { no_checksums: true, ..plain() }, [Ok, Ok, Ok, Unknown], md5),
        ];
        for (what, capabilities, expected, etags) in cases {
            let lab = lab(capabilities).await;
            written(&lab).await;
            let (checks, facts) = probed("", lab.endpoint("lab").url()).await;
            let states = ["order", "etags", "tags", "checksums"].map(|name| checks[name].state);
            assert_eq!(states, expected, "{what}: {checks:?}");
            for name in ["reachable", "credential", "clock"] {
                assert_eq!(checks[name].state, Ok, "{what}: {checks:?}");
            }
            assert_eq!(checks["writes"].state, Unknown, "{what}");
            assert_eq!((facts.etags, facts.tags), (etags, Some(true)), "{what}");
            assert_eq!(facts.unordered_listing, what == "unordered");
            assert_eq!((facts.conditional_writes, facts.checksums), (None, None), "{what}");
            assert_eq!(lab.endpoint("lab").writes().len(), 3, "{what}: nothing more is written");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_where_it_fails() {
        use CheckState::{Failed, Ok, Unknown, Warning};
        let state = |checks: &BTreeMap<String, ProbeCheck>, name: &str| checks[name].state;
        let lab = lab(Capabilities::default()).await;
        let (empty, _) = probed("", lab.endpoint("lab").url()).await;
        assert_eq!((state(&empty, "order"), state(&empty, "etags")), (Unknown, Unknown));
        let url = seeded(&lab);
        let allow = "allow = [{ bucket = \"bucket\", prefix = \"q/\", verbs = [\"list\"] }]";
        let asked = lab.endpoint("lab").counts().total();
        let (forbidden, _) = probed(allow, url.clone()).await;
        assert_eq!(state(&forbidden, "credential"), Failed);
        assert_eq!(state(&forbidden, "reachable"), Unknown);
        assert_eq!(lab.endpoint("lab").counts().total(), asked, "no request left the agent");

        let denied = |operation| {
            let rule = Rule::of(operation, Fault::AccessDenied, When::Always);
            lab.endpoint("lab").set_faults(Faults::new(1, vec![rule]));
        };
        denied("GetObjectTagging");
        let (untagged, facts) = probed("", url.clone()).await;
        assert_eq!((state(&untagged, "tags"), facts.tags), (Warning, Some(false)));
        denied("ListObjectsV2");
        let (unlisted, facts) = probed("", url).await;
        assert_eq!((state(&unlisted, "reachable"), state(&unlisted, "credential")), (Ok, Failed));
        assert_eq!((facts.etags, facts.tags), (None, None));
        let (away, _) = probed("", "http://127.0.0.1:1".to_owned()).await;
        assert_eq!((state(&away, "reachable"), state(&away, "credential")), (Failed, Unknown));
    }
}
