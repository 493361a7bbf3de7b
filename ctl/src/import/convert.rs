//! Pure. What the original's settings become.

use std::collections::BTreeMap;
use std::time::Duration;

use s3sync_proto::model::{
    AllowRule, DeleteMode, DeletePolicy, Destination, EndpointSpec, JobSpec, Location,
    MAX_NAME_CHARS, Name, QueueSpec, Schedule, Timing, Verb,
};

use super::old::{At, Bucket, Config, Region, Sqs};
use super::{Imported, ImportedEndpoint, Keys, Note};

/// What a queue is called; the original knew one.
const QUEUE: &str = "events";

/// Converts settings.
///
/// # Errors
/// Every region that is named and not described.
pub(super) fn convert(config: Config) -> Result<Imported, Vec<Note>> {
    let mut to = Converter::new(&config);
    let jobs: Vec<_> = config.buckets.iter().filter_map(|bucket| to.job(bucket, &config)).collect();
    let queue = config.sqs.as_ref().and_then(|sqs| to.queue(sqs));
    to.unused(&config);
    to.general(&config);
    let Converter { endpoints, notes, problems, .. } = to;
    if !problems.is_empty() {
        return Err(problems);
    }
    let endpoints = endpoints.into_values().collect();
    Ok(Imported { endpoints, queue, jobs, notes })
}

struct Converter<'c> {
    base: Option<&'c Keys>,
    regions: &'c [Region],
    endpoints: BTreeMap<Name, ImportedEndpoint>,
    names: Vec<Name>,
    notes: Vec<Note>,
    problems: Vec<Note>,
}

fn note<T>(at: &At<T>, text: impl Into<String>) -> Note {
    Note { line: at.line, path: at.path.clone(), text: text.into() }
}

impl<'c> Converter<'c> {
    fn new(config: &'c Config) -> Self {
        Self {
            base: config.base.as_ref(),
            regions: &config.regions,
            endpoints: BTreeMap::new(),
            names: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The first entry of a region, which is the one that the original used.
    fn region(&mut self, named: &At<String>) -> Option<&'c Region> {
        let found = self.regions.iter().find(|region| region.region.value == named.value);
        if found.is_none() {
            let text = format!("{:?} is not among s3sync.regions", named.value);
            self.problems.push(note(named, text));
        }
        found
    }

    /// The endpoint of a region, and one more thing it must be allowed.
    fn endpoint(&mut self, region: &Region, allow: AllowRule) -> Name {
        let keys = region.keys.as_ref().or(self.base);
        self.put(name_of(&region.region.value), &region.region.value, keys, Some(allow))
    }

    fn put(
        &mut self,
        name: Name,
        region: &str,
        keys: Option<&Keys>,
        allow: Option<AllowRule>,
    ) -> Name {
        if let Some(other) = self.endpoints.get(&name)
            && other.spec.region != region
        {
            let text =
                format!("{region:?} and {:?} are too alike to be told apart", other.spec.region);
            self.problems.push(Note { line: 0, path: "s3sync.regions".to_owned(), text });
        }
        let endpoint = self.endpoints.entry(name.clone()).or_insert_with(|| ImportedEndpoint {
            name: name.clone(),
            spec: EndpointSpec {
                region: region.to_owned(),
                url: None,
                path_style: false,
                etags: None,
                max_object_size: None,
            },
            keys: keys.cloned(),
            allow: Vec::new(),
        });
        endpoint.allow.extend(allow.filter(|rule| !endpoint.allow.contains(rule)));
        name
    }

    fn job(&mut self, bucket: &Bucket, config: &Config) -> Option<(Name, JobSpec)> {
        let srcprefix = self.folder(&bucket.srcprefix);
        let destprefix = self.folder(&bucket.destprefix);
        let source = self.region(&bucket.srcregion);
        let destinations: Vec<_> =
            bucket.destregions.iter().filter_map(|named| self.region(named)).collect();
        let source = source?;
        if destinations.len() < bucket.destregions.len() {
            return None;
        }
        let read = allow(&bucket.src, &srcprefix, &[Verb::List, Verb::Read]);
        let endpoint = self.endpoint(source, read);
        let destinations = destinations.into_iter().map(|region| {
            let bucket = format!("{}{}", bucket.dest, region.suffix);
            let verbs = [Verb::List, Verb::Read, Verb::Write, Verb::Delete];
            let endpoint = self.endpoint(region, allow(&bucket, &destprefix, &verbs));
            let location = Location { endpoint, bucket, prefix: destprefix.clone() };
            Destination {
                location,
                storage_class: None,
                agent_labels: BTreeMap::new(),
                encryption: None,
            }
        });
        let spec = JobSpec {
            destinations: destinations.collect(),
            source: Location { endpoint, bucket: bucket.src.clone(), prefix: srcprefix.clone() },
            filter: Default::default(),
            compare: Default::default(),
            deletes: DeletePolicy { mode: DeleteMode::Mirror, ..DeletePolicy::default() },
            schedule: schedule(config),
            events: config.sqs.as_ref().map(|_| name_of(QUEUE)),
            limits: Default::default(),
            paused: false,
        };
        Some((self.job_name(&bucket.src, &srcprefix), spec))
    }

    /// A prefix that ends with a `/`.
    fn folder(&mut self, prefix: &At<String>) -> String {
        let text = &prefix.value;
        if text.is_empty() || text.ends_with('/') {
            return text.clone();
        }
        let changed = format!("{text}/");
        let told = format!(
            "{text:?} became {changed:?}: without the / it would also stand for keys such as {:?}",
            format!("{text}2/a")
        );
        self.notes.push(note(prefix, told));
        changed
    }

    fn job_name(&mut self, bucket: &str, prefix: &str) -> Name {
        let wanted =
            if prefix.is_empty() { bucket.to_owned() } else { format!("{bucket}-{prefix}") };
        let first = name_of(&wanted);
        let numbered = (2..).map(|number| {
            let end = format!("-{number}");
            let kept: String = first.as_str().chars().take(MAX_NAME_CHARS - end.len()).collect();
            name_of(&format!("{kept}{end}"))
        });
        let name = std::iter::once(first.clone())
            .chain(numbered)
            .find(|name| !self.names.contains(name))
            .unwrap_or(first.clone());
        self.names.push(name.clone());
        name
    }

    /// The queue. It was read with the keys for regions without their own.
    fn queue(&mut self, sqs: &Sqs) -> Option<(Name, QueueSpec)> {
        let region = match &sqs.region {
            Some(region) => region.value.clone(),
            None => match region_of(&sqs.url.value) {
                Some(region) => region.to_owned(),
                None => {
                    let text = "does not tell its region; set s3sync.sqs.region";
                    self.problems.push(note(&sqs.url, text));
                    return None;
                }
            },
        };
        let own = self.regions.iter().find(|one| one.region.value == region);
        let name = match own {
            Some(own) if own.keys.is_some() => {
                let text = format!(
                    "is read with the keys of `aws`, as it was, so {region} has a second endpoint; name the other one in \
                     the queue if its keys can read it"
                );
                self.notes.push(note(&sqs.url, text));
                name_of(&format!("{region}-queue"))
            }
            Some(_) | None => name_of(&region),
        };
        let endpoint = self.put(name, &region, self.base, None);
        Some((name_of(QUEUE), QueueSpec { url: sqs.url.value.clone(), endpoint, receivers: 1 }))
    }

    fn unused(&mut self, config: &Config) {
        for (index, region) in config.regions.iter().enumerate() {
            let named = &region.region;
            let before = &config.regions[..index];
            let text = if before.iter().any(|other| other.region.value == named.value) {
                "stands there twice; only the first was ever used, and is"
            } else if !self.endpoints.contains_key(&name_of(&named.value)) {
                "is used by no bucket and left out"
            } else {
                continue;
            };
            self.notes.push(note(named, text));
        }
    }

    /// What is true of every import.
    fn general(&mut self, config: &Config) {
        let mut told = |path: &str, text: &str| {
            self.notes.push(Note { line: 0, path: path.to_owned(), text: text.to_owned() });
        };
        told(
            "deletes",
            "are mirrored by full syncs, as they were, and guarded now: a run that would delete more than its guard lets pass waits \
             for `s3syncctl run approve`; an event alone deletes nothing",
        );
        told(
            "storage class",
            "is that of the source object; REDUCED_REDUNDANCY is no longer forced (storage_class of a destination sets one)",
        );
        told(
            "encryption",
            "is the destination bucket's own; AES256 is no longer forced (encryption of a destination sets it)",
        );
        if self.base.is_none() && config.regions.iter().any(|region| region.keys.is_none()) {
            told(
                "aws",
                "has no keys, so the agent signs with what the SDK finds: environment, profile, role of the machine",
            );
        }
        if config.interval <= 0.0 && config.skip_fullsync && config.sqs.is_none() {
            told("schedule", "there is none: the jobs run only when asked (`s3syncctl job run`)");
        }
    }
}

fn allow(bucket: &str, prefix: &str, verbs: &[Verb]) -> AllowRule {
    AllowRule { bucket: Some(bucket.to_owned()), prefix: prefix.to_owned(), verbs: verbs.to_vec() }
}

/// `fullsync.interval` and `skip-fullsync`. Seconds are rounded up: a shorter interval was never meant.
fn schedule(config: &Config) -> Option<Schedule> {
    let every = (config.interval > 0.0)
        .then(|| Duration::try_from_secs_f64(config.interval.ceil()).unwrap_or(Duration::MAX));
    let at_start = !config.skip_fullsync;
    let timing = every.map(Timing::Every);
    (timing.is_some() || at_start).then_some(Schedule {
        timing,
        at_start,
        jitter: Duration::ZERO,
        overlap: Default::default(),
    })
}

/// The nearest name to a text.
fn name_of(text: &str) -> Name {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut name = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if allowed(c) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(MAX_NAME_CHARS);
    let name = name.trim_end_matches('-');
    name.parse().unwrap_or_else(|_| "unnamed".parse().expect("it is a name"))
}

/// The region in `https://sqs.REGION.amazonaws.com/…`.
fn region_of(url: &str) -> Option<&str> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split_once(".amazonaws.com")?.0;
    (!region.is_empty()).then_some(region)
}
