//! Objects to try things with: mixed sizes, and keys of every shape that people have.

use s3sync_lab::{Endpoint, Object};

/// Keys that other tools lose, change or choke on.
pub const ODD_KEYS: &[&str] = &[
    "a b",
    "a+b",
    "a%20b",
    "a%b",
    "a&b=c",
    "a?b#c",
    "quote'\"`",
    "<xml>&amp;",
    "back\\slash",
    "double//slash",
    "trailing/",
    "trailing//",
    "./dot",
    "../dots",
    "a/./b",
    "a/../b",
    "tab\there",
    "line\nfeed",
    "return\rhere",
    "control\u{1}",
    "ümlaut-nfc-\u{e9}",
    "umlaut-nfd-e\u{301}",
    "\u{ff01}-before-\u{10000}",
    "\u{10000}",
    "emoji-\u{1f600}",
    "p",
    "p/",
    "p/q",
    "~tilde",
    "star*",
    "(paren)",
    "semi;colon:,@$!",
    "soap",
    "[bracket]{brace}|^",
];

/// Puts `count` small objects, the odd keys and a few large objects under a prefix.
pub fn seed(side: &Endpoint, bucket: &str, prefix: &str, count: usize, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for index in 0..count {
        let size = match index % 20 {
            0 => 0,
            1..=15 => random.usize(1..4_096),
            16..=18 => random.usize(4_096..65_536),
            _ => random.usize(65_536..400_000),
        };
        let mut object = Object::new(bytes(&mut random, size));
        if index % 7 == 0 {
            object = object
                .with_header("content-type", "image/jpeg")
                .with_header("x-amz-meta-owner", "films");
        }
        if index % 11 == 0 {
            object = object.with_tag("class", "raw").with_tag("team", "a b&c");
        }
        side.seed_object(bucket, format!("{prefix}{:02}/{index:06}.bin", index % 17), object);
    }
    for key in ODD_KEYS {
        side.seed(bucket, format!("{prefix}{key}"), format!("body of {key}"));
    }
    // As long as a key may be, below the longer of the two prefixes that the tests use.
    let longest = "k".repeat(1_024 - prefix.len().max("destfolder/".len()));
    side.seed(bucket, format!("{prefix}{longest}"), "the longest key");
    // Above the multipart threshold: written in one request, and in parts.
    side.seed_object(
        bucket,
        format!("{prefix}large/single"),
        Object::new(bytes(&mut random, 20 << 20)),
    );
    side.seed_object(
        bucket,
        format!("{prefix}large/parts"),
        Object::new(bytes(&mut random, 18 << 20)).in_parts(5 << 20),
    );
}

/// Random bytes.
pub fn bytes(random: &mut fastrand::Rng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    bytes
}

/// What differs between two places, byte for byte and with all that objects carry; a line for each key.
#[must_use]
pub fn differences(
    source: (&Endpoint, &str, &str),
    destination: (&Endpoint, &str, &str),
) -> Vec<String> {
    let under = |(side, bucket, prefix): (&Endpoint, &str, &str)| {
        let objects = side.objects(bucket).into_iter();
        let relative = objects.filter_map(|(key, object)| {
            key.strip_prefix(prefix.as_bytes()).map(|rest| (rest.to_vec(), object))
        });
        relative.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (from, to) = (under(source), under(destination));
    let mut differences = Vec::new();
    let show = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    for (key, object) in &from {
        let Some(copy) = to.get(key) else {
            differences.push(format!("{:?} is missing", show(key)));
            continue;
        };
        if object.body != copy.body {
            differences.push(format!("{:?} has other bytes", show(key)));
        }
        let carried = |object: &Object| {
            let mut headers = object.headers.clone();
            headers.retain(|name, _| !name.starts_with("x-amz-meta-s3sync-"));
            headers
                .entry("content-type".to_owned())
                .or_insert(http::HeaderValue::from_static("binary/octet-stream"));
            (headers, object.tags.clone())
        };
        if carried(object) != carried(copy) {
            differences.push(format!("{:?} carries other things", show(key)));
        }
    }
    differences.extend(
        to.keys()
            .filter(|key| !from.contains_key(*key))
            .map(|key| format!("{:?} is extra", show(key))),
    );
    differences
}
