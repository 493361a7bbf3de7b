//! Bad jobs, and all that is wrong with each.

use std::collections::BTreeMap;

use s3sync_proto::model::{
    CompareMode, DeleteMode, DeletePolicy, Destination, Endpoint, EndpointSpec, Filter, Job,
    Limits, Queue, Timestamp,
};

use super::*;

fn catalogue() -> Catalogue {
    let endpoint = |name: &str, region: &str, url: Option<&str>| {
        let name: Name = name.parse().unwrap();
        let spec = EndpointSpec {
            region: region.into(),
            url: url.map(str::to_owned),
            ..EndpointSpec::default()
        };
        let time = Timestamp::default();
        (
            name.clone(),
            Endpoint {
                name,
                spec,
                buckets: vec![],
                etag: "e".into(),
                created: time,
                updated: time,
            },
        )
    };
    Catalogue {
        revision: 1,
        endpoints: BTreeMap::from([
            endpoint("usw2", "us-west-2", None),
            endpoint("use1", "us-east-1", None),
            endpoint("cnn1", "cn-north-1", None),
            endpoint("minio", "us-east-1", Some("http://minio:9000")),
            // The same server and the same cloud, by other names.
            endpoint("minio2", "eu-west-1", Some("http://MinIO:9000/")),
            endpoint("store", "us-east-1", Some("https://store:443/s3/")),
            endpoint("store2", "us-east-1", Some("http://store/s3")),
            endpoint(
                "vpce",
                "us-west-2",
                Some("https://bucket.vpce-1.s3.us-west-2.vpce.amazonaws.com"),
            ),
        ]),
        queues: BTreeMap::new(),
        jobs: BTreeMap::new(),
    }
}

fn place(text: &str) -> Location {
    let (endpoint, rest) = text.split_once(':').unwrap();
    let (bucket, prefix) = rest.split_once('/').unwrap();
    Location { endpoint: endpoint.parse().unwrap(), bucket: bucket.into(), prefix: prefix.into() }
}

fn job(source: &str, destinations: &[&str]) -> JobSpec {
    let destination = |text: &&str| Destination {
        location: place(text),
        storage_class: None,
        agent_labels: BTreeMap::new(),
        encryption: None,
    };
    JobSpec {
        source: place(source),
        destinations: destinations.iter().map(destination).collect(),
        filter: Filter::default(),
        compare: CompareMode::Default,
        deletes: DeletePolicy::default(),
        schedule: None,
        events: None,
        limits: Limits::default(),
        paused: false,
    }
}

fn add(catalogue: &mut Catalogue, name: &str, spec: JobSpec) {
    let name: Name = name.parse().unwrap();
    let job = Job {
        name: name.clone(),
        uid: "u".into(),
        spec,
        etag: "e".into(),
        generation: 1,
        created: Timestamp::default(),
        updated: Timestamp::default(),
        latest_run: None,
        next_starts: Vec::new(),
        following: None,
        last: None,
        warnings: vec![],
    };
    catalogue.jobs.insert(name, job);
}

fn problems(catalogue: &Catalogue, job: &JobSpec) -> Vec<String> {
    let name = "new".parse().unwrap();
    match check_job(&name, job, catalogue) {
        Ok(_) => Vec::new(),
        Err(invalid) => {
            invalid.violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
        }
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut job = job("nowhere:src/a/", &["usw2:dst/a/", "use1:dst/a/b/", "gone:x/"]);
    job.deletes.mode = DeleteMode::Mirror;
    assert_eq!(
        problems(&catalogue(), &job),
        [
            "source.endpoint: there is no endpoint nowhere; known are cnn1, minio, minio2, store, store2, use1, usw2, vpce",
            "destinations[2].endpoint: there is no endpoint gone; known are cnn1, minio, minio2, store, store2, use1, usw2, vpce",
            "destinations[1]: overlaps destinations[0]; use another bucket or prefix",
        ]
    );
}

#[test]
fn a_destination_inside_the_source_is_refused_in_each_way_it_can_be() {
    let inside = [
        ("usw2:b/a/", "usw2:b/a/x/"),
        ("usw2:b/a/x/", "usw2:b/a/"),
        ("usw2:b/", "use1:b/a/"),
        ("usw2:b/a", "usw2:b/ab/"),
        ("minio:b/", "minio:b/"),
    ];
    for (source, destination) in inside {
        let found = problems(&catalogue(), &job(source, &[destination]));
        assert_eq!(found.len(), 1, "{source} {destination}: {found:?}");
        assert!(
            found[0].starts_with("destinations[0]: overlaps the job's own source"),
            "{found:?}"
        );
    }
    // Other partitions and other endpoints have other buckets of that name; siblings do not overlap.
    let apart = [
        ("usw2:b/", "cnn1:b/"),
        ("usw2:b/", "minio:b/"),
        ("usw2:b/a/", "usw2:b/b/"),
        ("usw2:b/", "usw2:c/"),
    ];
    for (source, destination) in apart {
        assert_eq!(
            problems(&catalogue(), &job(source, &[destination])),
            [""; 0],
            "{source} {destination}"
        );
    }
}

#[test]
fn jobs_that_feed_each_other_in_a_circle_are_refused() {
    let mut catalogue = catalogue();
    add(&mut catalogue, "one", job("usw2:a/", &["usw2:b/x/"]));
    add(&mut catalogue, "two", job("use1:b/", &["cnn1:c/"]));
    assert_eq!(
        problems(&catalogue, &job("cnn1:c/sub/", &["usw2:a/y/"])),
        ["destinations: jobs would feed each other in a circle: new -> one -> two -> new"]
    );
    assert_eq!(problems(&catalogue, &job("cnn1:c/", &["usw2:d/"])), [""; 0]);
}

#[test]
fn a_mirror_shares_its_destination_with_nobody() {
    let mut catalogue = catalogue();
    let mut mirror = job("usw2:a/", &["cnn1:b/x/"]);
    mirror.deletes.mode = DeleteMode::Mirror;
    add(&mut catalogue, "mirror", mirror);
    let found = problems(&catalogue, &job("usw2:c/", &["cnn1:b/x/y/"]));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("destinations[0]: overlaps a destination of job mirror"),
        "{found:?}"
    );
    assert_eq!(problems(&catalogue, &job("usw2:c/", &["cnn1:b/z/"])), [""; 0]);
}

/// Pairs of places that have keys in common, and pairs that have none.
const SHARED: [(&str, &str); 12] = [
    ("usw2:b/p/", "usw2:b/p/"),
    ("usw2:b/p/", "usw2:b/p/q/"),
    ("usw2:b/p/q/", "usw2:b/p/"),
    // A prefix is a string: `p` has all of `p/`, and of `pq/`.
    ("usw2:b/p", "usw2:b/p/"),
    ("usw2:b/p/", "usw2:b/p"),
    ("usw2:b/p", "usw2:b/pq/"),
    // The empty one has all.
    ("usw2:b/", "usw2:b/p/"),
    ("usw2:b/p/", "usw2:b/"),
    // One partition, and one server, by two names.
    ("usw2:b/p/", "use1:b/p/"),
    ("usw2:b/p/", "vpce:b/p/"),
    ("minio:b/p/", "minio2:b/p/"),
    ("store:b/p/", "store2:b/p/"),
];
const APART: [(&str, &str); 7] = [
    ("usw2:b/p/", "usw2:b/q/"),
    ("usw2:b/p/", "usw2:b/pq/"),
    ("usw2:b/p/", "usw2:c/p/"),
    ("usw2:b/p/", "cnn1:b/p/"),
    ("usw2:b/p/", "minio:b/p/"),
    ("minio:b/p/", "store:b/p/"),
    ("minio:b/P/", "minio2:b/p/"),
];

/// What is told when `new` has this job beside others.
fn beside(others: &[(&str, JobSpec)], new: &JobSpec) -> Vec<String> {
    let mut catalogue = catalogue();
    for (name, spec) in others {
        add(&mut catalogue, name, spec.clone());
    }
    problems(&catalogue, new)
}

fn mirroring(job: JobSpec) -> JobSpec {
    let deletes = DeletePolicy { mode: DeleteMode::Mirror, ..DeletePolicy::default() };
    JobSpec { deletes, ..job }
}

#[test]
fn destinations_that_share_keys_are_refused_when_one_of_the_jobs_mirrors() {
    for (one, other) in SHARED {
        let (ours, theirs) = (job("cnn1:from/", &[one]), job("cnn1:other/", &[other]));
        let what = format!("{one} {other}");
        let pairs = [
            (mirroring(ours.clone()), theirs.clone()),
            (ours.clone(), mirroring(theirs.clone())),
            (mirroring(ours.clone()), mirroring(theirs.clone())),
        ];
        for (ours, theirs) in pairs {
            let found = beside(&[("old", theirs)], &ours);
            let [found] = &found[..] else { panic!("{what}: {found:?}") };
            let told = "new and old would delete each other's objects";
            assert!(found.starts_with("destinations[0]: overlaps a destination of job old"));
            assert!(found.ends_with(told), "{what}: {found}");
        }
        assert_eq!(beside(&[("old", theirs)], &ours), [""; 0], "{what}: neither deletes");
    }
    for (one, other) in APART {
        let (ours, theirs) = (job("cnn1:from/", &[one]), job("cnn1:other/", &[other]));
        let found = beside(&[("old", mirroring(theirs))], &mirroring(ours));
        assert_eq!(found, [""; 0], "{one} {other}");
    }
}

#[test]
fn a_destination_that_shares_keys_with_its_source_is_refused() {
    for (one, other) in SHARED {
        let found = beside(&[], &job(one, &[other]));
        let [found] = &found[..] else { panic!("{one} {other}: {found:?}") };
        assert!(found.starts_with("destinations[0]: overlaps the job's own source"), "{found}");
    }
    for (one, other) in APART {
        assert_eq!(beside(&[], &job(one, &[other])), [""; 0], "{one} {other}");
    }
}

#[test]
fn circles_over_two_and_three_jobs_are_refused_by_the_names_of_all() {
    for (one, other) in SHARED {
        // `new` writes where `old` reads, and `old` where `new` does.
        let ours = job("cnn1:mine/", &[one]);
        let old = job(other, &["cnn1:mine/sub/"]);
        let found = beside(&[("old", old)], &ours);
        let circle = "destinations: jobs would feed each other in a circle: new -> old -> new";
        assert_eq!(found, [circle], "{one} {other}");
        let first = job(other, &["cnn1:second/"]);
        let second = job("cnn1:second/", &["cnn1:elsewhere/", "cnn1:mine/sub/"]);
        let found = beside(&[("first", first), ("second", second)], &ours);
        let circle =
            "destinations: jobs would feed each other in a circle: new -> first -> second -> new";
        assert_eq!(found, [circle], "{one} {other}");
    }
    for (one, other) in APART {
        let ours = job("cnn1:mine/", &[one]);
        let old = job(other, &["cnn1:mine/sub/"]);
        assert_eq!(beside(&[("old", old)], &ours), [""; 0], "{one} {other}");
    }
    // A chain is none, and an older circle is not the new job's.
    let chain = [("first", job("usw2:b/", &["usw2:c/"])), ("second", job("usw2:c/", &["usw2:d/"]))];
    assert_eq!(beside(&chain, &job("usw2:d/", &["usw2:e/"])), [""; 0]);
    let circle =
        [("first", job("usw2:b/", &["usw2:c/"])), ("second", job("usw2:c/", &["usw2:b/"]))];
    assert_eq!(beside(&circle, &job("usw2:b/", &["usw2:e/"])), [""; 0]);
}

#[test]
fn a_prefix_without_a_slash_is_a_warning() {
    let name = "new".parse().unwrap();
    let warnings =
        check_job(&name, &job("usw2:a/media", &["cnn1:b/media/"]), &catalogue()).unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].field, "source.prefix");
}

#[test]
fn an_endpoint_in_use_names_its_users() {
    let mut catalogue = catalogue();
    add(&mut catalogue, "one", job("usw2:a/", &["cnn1:b/"]));
    let queue = QueueSpec {
        url: "https://sqs/1/q".into(),
        endpoint: "cnn1".parse().unwrap(),
        receivers: 1,
    };
    let name: Name = "q".parse().unwrap();
    let time = Timestamp::default();
    let queue = Queue {
        name: name.clone(),
        spec: queue,
        etag: String::new(),
        created: time,
        updated: time,
        status: None,
    };
    catalogue.queues.insert(name.clone(), queue);
    assert_eq!(users_of_endpoint(&"cnn1".parse().unwrap(), &catalogue), ["jobs/one", "queues/q"]);
    assert_eq!(users_of_endpoint(&"minio".parse().unwrap(), &catalogue), [""; 0]);
    assert_eq!(users_of_queue(&name, &catalogue), [""; 0]);
}

#[test]
fn an_endpoint_may_not_move_to_where_jobs_get_in_each_others_way() {
    let mut catalogue = catalogue();
    let mut mirror = job("usw2:src/", &["minio:dst/a/"]);
    mirror.deletes.mode = DeleteMode::Mirror;
    add(&mut catalogue, "mirror", mirror);
    add(&mut catalogue, "other", job("usw2:other/", &["store:dst/"]));
    let moved = |catalogue: &Catalogue, endpoint: &str, url: Option<&str>| {
        let name: Name = endpoint.parse().unwrap();
        let mut spec =
            catalogue.endpoints.get(&name).map(|found| found.spec.clone()).unwrap_or_default();
        spec.url = url.map(str::to_owned);
        match check_endpoint(&name, &spec, catalogue) {
            Ok(()) => Vec::new(),
            Err(invalid) => invalid.violations,
        }
    };
    let same_place = Some("https://minio:9000");
    let problems = moved(&catalogue, "store", same_place);
    let told: Vec<_> = problems.iter().map(|one| (one.field.as_str(), &one.description)).collect();
    assert_eq!(told.len(), 2, "both jobs are named: {told:?}");
    for (job, (field, text)) in ["jobs/mirror, ", "jobs/other, "].iter().zip(&told) {
        assert!(
            *field == "url" && text.contains(job) && text.contains("overlaps"),
            "{field} {text}"
        );
    }
    assert_eq!(moved(&catalogue, "store", Some("https://minio:9001")), [], "another server");
    assert_eq!(moved(&catalogue, "new", same_place), [], "no job can name it yet");
    // Who has the problem already may still change what does not make it worse.
    catalogue.endpoints = catalogue
        .endpoints
        .into_iter()
        .map(|(name, mut endpoint)| {
            if name.as_str() == "store" {
                endpoint.spec.url = same_place.map(str::to_owned);
            }
            (name, endpoint)
        })
        .collect();
    assert_eq!(moved(&catalogue, "store", Some("http://minio:9000/")), []);
}
