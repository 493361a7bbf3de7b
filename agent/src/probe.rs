//! Looks anew at the buckets of an endpoint, without writing: whether they answer, what the credential may do there, and
//! what can be learned by reading. What only a write can teach is forgotten, and learned at the next copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use s3sync_proto::model::{
    Answer, BucketFacts, CheckState, EndpointSpec, EtagKind, Key, Name, PlaceProbe, Probe,
    ProbeCheck,
};

use crate::clock;
use crate::compare::is_md5_like;
use crate::copy::body;
use crate::copy::digest::{Running, hex};
use crate::meter::Meter;
use crate::s3::{
    Class, Error, GetRequest, HeadRequest, ListRequest, Listed, Object, ObjectStore, Operation,
};
use crate::scan::PAGE_KEYS;
use crate::stores::Stores;
use crate::worker::Engine;
use crate::worker::side::Side;

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

fn side(
    engine: &Engine,
    endpoint: &Name,
    spec: &EndpointSpec,
    bucket: &str,
    prefix: &str,
    store: Arc<dyn ObjectStore>,
) -> Side {
    Side {
        store,
        bucket: bucket.to_owned(),
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        limiter: engine.limiter(endpoint),
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
        let page = side.call(Operation::List, || side.store.list(request.clone())).await;
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
        match side.call(Operation::Head, || side.store.head(request.clone())).await {
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
        let permit = side.limiter.acquire().await;
        let (_, stream) = side.once(Operation::Get, side.store.get(request)).await.ok()?;
        let read = body::collect(stream, Running::new(None, Some(())), sample.size).await;
        drop(permit);
        let (_, digested) = read.ok()?;
        let equal = digested.md5.is_some_and(|md5| hex(&md5) == sample.etag);
        let what = format!("as one of {} bytes that was read shows", sample.size);
        Some((if equal { EtagKind::Md5 } else { EtagKind::Opaque }, what))
    }

    async fn tags(&mut self, sample: &Listed) {
        let side = self.side;
        match side.call(Operation::GetTags, || side.store.get_tags(&sample.key)).await {
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
