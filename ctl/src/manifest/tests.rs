//! Files that people write, right and wrong.

use super::*;

fn problems(text: &str) -> Vec<String> {
    match parse(Path::new("f.yaml"), text) {
        Ok(documents) => panic!("no problem in {documents:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_of_the_readme_is_read_as_it_is_meant() {
    let documents =
        parse(Path::new("f.yaml"), include_str!("../../../docs/examples/media.yaml")).unwrap();
    let labels: Vec<_> = documents.iter().map(Document::label).collect();
    assert_eq!(labels, ["endpoint/usw2", "endpoint/cnn1", "job/media"]);
    let Resource::Job(job) = &documents[2].resource else { panic!("the third is a job") };
    assert_eq!(job.destinations[1].location.prefix, "destfolder/");
    assert_eq!(job.destinations[1].agent_labels["region"], "cn-north-1");
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = "\
kind: Endpoint
name: Us_West
regoin: us-west-2
---
kind: Job
name: media
source: { endpoint: usw2, prefix: a/ }
destinations:
  - { endpoint: usw2, bucket: b, storage: IA }
  - nothing
compare: fast
filter: { max_size: big, modified_after: yesterday }
limits: { bandwidth: 5MB, requests_per_second: -1 }
---
kind: Bucket
---
- a
";
    assert_eq!(
        problems(text),
        [
            "f.yaml:3: regoin: is not a field here; allowed are kind, name, region, url, path_style, etags, \
             max_object_size",
            "f.yaml:2: name: \"Us_West\" is not a name: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or \
             digit",
            "f.yaml:7: source.bucket: is missing",
            "f.yaml:9: destinations[0].storage: is not a field here; allowed are endpoint, bucket, prefix, \
             storage_class, agents, encryption",
            "f.yaml:10: destinations[1]: is a text; write a map with endpoint, bucket, prefix, storage_class, agents, \
             encryption",
            "f.yaml:11: compare: \"fast\" is not known; use default, size, etag, checksum, full",
            "f.yaml:12: filter.max_size: \"big\" is not a size; write a whole number and B, KB, KiB, MB, MiB, GB, \
             GiB, TB or TiB",
            "f.yaml:12: filter.modified_after: \"yesterday\" is not a time; write 2026-01-01T00:00:00Z",
            "f.yaml:13: limits.bandwidth: \"5MB\" is not a rate; write 200MiB/s",
            "f.yaml:13: limits.requests_per_second: \"-1\" is not a whole number of 0 or more",
            "f.yaml:15: kind: \"Bucket\" is not known; use Endpoint, Queue or Job",
            "f.yaml:17: is a list; a document is a map that begins with kind: Endpoint, Queue or Job",
        ]
    );
}

#[test]
fn what_is_not_yaml_has_a_line() {
    let found = problems("kind: Endpoint\nname: [a\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("f.yaml:") && found[0].contains("is not YAML"), "{found:?}");
}

#[test]
fn a_problem_the_server_finds_gets_the_nearest_line() {
    let text = "kind: Job\nname: m\nsource: { endpoint: a, bucket: bbb }\ndestinations:\n  - endpoint: a\n    bucket: bbb\n";
    let documents = parse(Path::new("f.yaml"), text).unwrap();
    let line = |field: &str| documents[0].locate(&Violation::new(field, "x")).line;
    assert_eq!(line("destinations[0].bucket"), 6);
    assert_eq!(line("destinations[0].prefix"), 5);
    assert_eq!(line("deletes.policy"), 1);
}

#[test]
fn a_queue_has_one_receiver_unless_it_says_otherwise() {
    let text =
        |more: &str| format!("kind: Queue\nname: q\nurl: https://sqs/1/q\nendpoint: usw2\n{more}");
    for (more, receivers) in [("", 1), ("receivers: 3\n", 3), ("receivers: 16\n", 16)] {
        let read = parse(Path::new("f.yaml"), &text(more)).unwrap();
        let Resource::Queue(spec) = &read[0].resource else { panic!("a queue") };
        assert_eq!(spec.receivers, receivers);
        let written = serde_saphyr::to_string(&queue_document(&read[0].name, spec)).unwrap();
        let again = parse(Path::new("g.yaml"), &written).unwrap();
        assert_eq!(again[0].resource, read[0].resource, "{written}");
        assert_eq!(written.contains("receivers"), receivers > 1, "{written}");
    }
    for wrong in ["0", "17", "-1", "two"] {
        let told = format!("f.yaml:5: receivers: \"{wrong}\" is not a number from 1 to 16");
        assert_eq!(problems(&text(&format!("receivers: {wrong}\n"))), [told]);
    }
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let text = "\
kind: Job
name: media
source: { endpoint: usw2, bucket: srcbucket, prefix: srcfolder/ }
destinations:
  - { endpoint: usw2, bucket: dest, prefix: d/ }
  - { endpoint: cnn1, bucket: dest-cn, storage_class: STANDARD_IA, agents: { region: cn-north-1 } }
filter: { include: ['**/*.jpg'], exclude: ['tmp/**'], min_size: 1, max_size: 5TB, modified_after: 2026-01-01T00:00:00Z }
compare: etag
deletes: { policy: mirror, max_percent: 10, max_count: 10000 }
schedule: { cron: '0 3 * * *', timezone: Asia/Shanghai, at_start: false }
events: { queue: media-events }
limits: { bandwidth: 200MiB/s, requests_per_second: 500 }
paused: true
";
    let first = parse(Path::new("f.yaml"), text).unwrap();
    let Resource::Job(spec) = &first[0].resource else { panic!("a job") };
    let written = serde_saphyr::to_string(&job_document(&first[0].name, spec)).unwrap();
    let second = parse(Path::new("g.yaml"), &written).unwrap();
    assert_eq!(second[0].resource, first[0].resource, "{written}");
}
