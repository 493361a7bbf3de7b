//! Files people have, and what becomes of them.

use expect_test::{Expect, expect, expect_file};
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

use super::{Imported, agent_toml, documents, read};
use crate::{manifest, render};

const EXAMPLE: &str = include_str!("../../../docs/examples/config.js");

fn imported(text: &str) -> Imported {
    read(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn yaml(imported: &Imported) -> String {
    documents(imported).iter().map(render::yaml).collect::<Vec<_>>().join("---\n")
}

fn notes(imported: &Imported) -> String {
    imported.notes.iter().map(|note| format!("{note}\n")).collect()
}

fn refuses(text: &str, problems: Expect) {
    let found = read(text).expect_err("it is refused");
    problems.assert_eq(&found.iter().map(|note| format!("{note}\n")).collect::<String>());
}

/// The least that is whole, with `more` beside it.
fn least(more: &str) -> String {
    format!(
        "module.exports = {{ s3sync: {{
           regions: [{{ region: 'us-west-2', suffix: '.w' }}],
           buckets: [{{ src: 'a', srcprefix: 'x/', srcregion: 'us-west-2', dest: 'b', destprefix: 'y/',
                       destregions: ['us-west-2'] }}]
         }}, {more} }};"
    )
}

#[test]
fn the_originals_example_becomes_documents() {
    let imported = imported(EXAMPLE);
    expect_file!["example/s3sync.yaml"].assert_eq(&yaml(&imported));
    let agent = agent_toml(&imported, "https://control.example:7400");
    expect_file!["example/agent.toml"].assert_eq(&agent);
    expect_file!["example/notes.txt"].assert_eq(&notes(&imported));
}

#[test]
fn what_is_written_can_be_applied_and_says_the_same() {
    let imported = imported(EXAMPLE);
    let read = manifest::parse(std::path::Path::new("s3sync.yaml"), &yaml(&imported)).unwrap();
    let jobs = read.iter().filter_map(|document| match &document.resource {
        manifest::Resource::Job(job) => Some((document.name.clone(), (**job).clone())),
        manifest::Resource::Endpoint(_) | manifest::Resource::Queue(_) => None,
    });
    assert_eq!(jobs.collect::<Vec<_>>(), imported.jobs);
    assert_eq!(read.len(), 4 + 1 + 2);
}

#[test]
fn secrets_go_into_the_agents_file_alone() {
    let imported = imported(EXAMPLE);
    for secret in ["global-secret", "china-secret"] {
        assert!(!yaml(&imported).contains(secret));
        assert!(!notes(&imported).contains(secret));
        assert!(!format!("{imported:?}").contains(secret));
        assert!(agent_toml(&imported, "http://127.0.0.1:7400").contains(secret));
    }
}

#[test]
fn a_module_and_json_say_the_same_as_rc() {
    let whole = yaml(&imported(EXAMPLE));
    let object = EXAMPLE.split_once("var defaults = ").unwrap().1;
    let object = object.rsplit_once(";\n\nmodule").unwrap().0;
    for text in [
        format!("module.exports = {object};"),
        format!("exports = module.exports = {object}"),
        format!("'use strict'; const c = {object}; module.exports = c;"),
        format!("export default {object};"),
        format!("module.exports = require('rc')('s3sync', {object});"),
        object.to_owned(),
    ] {
        assert_eq!(yaml(&imported(&text)), whole, "{text}");
    }
}

#[test]
fn times_and_the_first_sync_are_kept() {
    let schedule = |more: &str| {
        let imported = imported(&least(more));
        let document = documents(&imported).pop().unwrap();
        document.get("schedule").map_or("none".to_owned(), ToString::to_string)
    };
    let skip = "'skip-fullsync': true";
    assert_eq!(schedule(""), "{}");
    assert_eq!(schedule(skip), "none");
    assert_eq!(schedule("fullsync: { interval: 3600 }"), r#"{"every":"1h"}"#);
    assert_eq!(schedule("fullsync: { interval: '90' }"), r#"{"every":"1m 30s"}"#);
    assert_eq!(schedule("fullsync: { interval: 0.2 }"), r#"{"every":"1s"}"#);
    assert_eq!(schedule("fullsync: { interval: 0 }"), "{}");
    let both = format!("fullsync: {{ interval: 60 }}, {skip}");
    assert_eq!(schedule(&both), r#"{"every":"1m","at_start":false}"#);
}

#[test]
fn the_queue_is_read_with_the_base_keys() {
    let text = |region: &str| {
        EXAMPLE.replace(
            "sqs: { url: 'https://sqs.us-west-2.amazonaws.com/123456789012/s3sync', region: 'us-west-2' }",
            &format!("sqs: {{ url: 'https://sqs.{region}.amazonaws.com.cn/1/q' }}"),
        )
    };
    let endpoint_of = |region: &str| {
        let imported = imported(&text(region));
        let endpoint = imported.queue.unwrap().1.endpoint;
        let found = imported.endpoints.into_iter().find(|one| one.name == endpoint).unwrap();
        (endpoint.to_string(), found.spec.region, found.keys.unwrap().access_key_id)
    };
    let told = |name: &str, region: &str| (name.into(), region.into(), "AKIDGLOBAL".to_owned());
    assert_eq!(endpoint_of("us-west-2"), told("us-west-2", "us-west-2"));
    assert_eq!(endpoint_of("eu-north-1"), told("eu-north-1", "eu-north-1"));
    assert_eq!(endpoint_of("cn-north-1"), told("cn-north-1-queue", "cn-north-1"));
}

#[test]
fn everything_wrong_is_told_at_once() {
    refuses(
        "module.exports = {
           aws: { accessKeyId: process.env.KEY, secretAccessKey: env('hidden') || 'hidden' },
           fullsync: { interval: -1 },
           'skip-fullsync': 'maybe',
           s3sync: {
             regions: [{ suffix: '.a' }, { region: 'us-west-2', access: 'AKID' }, 7],
             buckets: [
               { src: 'a', srcregion: 'us-west-2', dest: ['b'], destregions: [] },
               { src: '', srcregion: 'us-west-2', dest: 'b' },
             ],
             sqs: {},
           },
         };",
        expect![[r#"
            line 2: aws.accessKeyId: is computed (`process.env.KEY`), and the file is read, not run; write the value itself there for the import
            line 2: aws.secretAccessKey: is computed, and the file is read, not run; write the value itself there for the import
            line 3: fullsync.interval: must be a number, not negative
            line 4: skip-fullsync: must be true or false
            line 6: s3sync.regions[0].region: is missing
            line 6: s3sync.regions[1].secret: is missing; its other half is set
            line 6: s3sync.regions[2]: must be an object
            line 8: s3sync.buckets[0].dest: must be a text
            line 8: s3sync.buckets[0].destregions: must be a list with at least one element
            line 9: s3sync.buckets[1].src: is missing
            line 9: s3sync.buckets[1].destregions: is missing; it is a list with at least one element
            line 11: s3sync.sqs.url: is missing
        "#]],
    );
    refuses(
        &least("").replace("['us-west-2']", "['us-west-2', 'mars-1']"),
        expect![[r#"
        line 4: s3sync.buckets[0].destregions[1]: "mars-1" is not among s3sync.regions
    "#]],
    );
    refuses(
        "{\"s3sync\": 1}",
        expect![[r#"
        line 1: s3sync: must be an object
        line 1: s3sync: is missing; it holds regions and buckets
    "#]],
    );
    refuses(
        "module.exports = {",
        expect![[r#"
        line 1: is not JavaScript or JSON: Expected `}` but found `EOF`
    "#]],
    );
    refuses(
        "var c = {}; c.s3sync = {}; module.exports = c;",
        expect![[r#"
        line 1: changes a value after it was written down; write it where the value is first given
    "#]],
    );
    refuses(
        "console.log('hello')",
        expect![[r#"
        exports nothing; it needs `module.exports = {…}`, or `rc("s3sync", {…})` there
    "#]],
    );
    refuses(
        "",
        expect![[r#"
        exports nothing; it needs `module.exports = {…}`, or `rc("s3sync", {…})` there
    "#]],
    );
}

#[test]
fn values_that_stand_for_each_other_end() {
    refuses(
        "var a = b, b = a; module.exports = a;",
        expect![[r#"
        line 1: is computed (`a`), and the file is read, not run; write the value itself there for the import
    "#]],
    );
    let deep = format!("module.exports = {}1{}", "[".repeat(200), "]".repeat(200));
    assert!(read(&deep).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), at in 0usize..1500, cut in 0usize..40) {
        drop(read(&text));
        let mut damaged = EXAMPLE.to_owned();
        let at = (0..=at.min(damaged.len())).rev().find(|at| damaged.is_char_boundary(*at)).unwrap_or(0);
        let end = (at + cut).min(damaged.len());
        damaged.replace_range(at..end, &text);
        if let Ok(imported) = read(&damaged) {
            prop_assert!(manifest::parse(std::path::Path::new("x"), &yaml(&imported)).is_ok());
        }
    }
}
