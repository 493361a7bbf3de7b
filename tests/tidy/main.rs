//! The rules of the layout, as tests: who may depend on whom, who may name what, how long a file may be, what the
//! lock file may hold. A rule that matters is here and not in a paragraph.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates, and which of ours each may depend on. Dev-dependencies are not meant.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("telemetry", &[]),
    ("server", &["proto", "telemetry"]),
    ("agent", &["proto", "telemetry"]),
    ("ctl", &["proto", "telemetry"]),
    ("lab", &[]),
    ("tests", &["proto", "telemetry", "server", "agent", "ctl", "lab"]),
];

/// A text, where alone it may stand, and why.
struct Confined {
    text: &'static str,
    to: &'static [&'static str],
    why: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        text: "aws_sdk_s3::",
        to: &["agent/src/s3/aws", "tests/"],
        why: "the SDK is named in one folder; the rest speaks `s3::ObjectStore`",
    },
    Confined {
        text: "aws_sdk_sqs::",
        to: &["agent/src/queue/sqs", "tests/"],
        why: "the SDK of queues is named in one file; the rest speaks `queue::Queue`",
    },
    Confined {
        text: "rusqlite",
        to: &["server/src/store/sqlite", "tests/"],
        why: "SQL drivers are named in the store's files; the rest speaks `store::Store`",
    },
    Confined {
        text: "pb::",
        to: &["proto/", "server/src/grpc", "server/tests/", "tests/"],
        why: "generated types are named where the wire is; the rest speaks `model`",
    },
    Confined {
        text: ".reveal()",
        to: &[
            "proto/src/client.rs",
            "agent/src/s3/aws/credentials.rs",
            "agent/src/config/tests.rs",
            "server/src/grpc/auth.rs",
            "ctl/src/import/write.rs",
            "ctl/src/import/tests.rs",
            "tests/",
        ],
        why: "a secret is taken out of its type only to sign, to open a door, or to be written where a person asked for it",
    },
    Confined {
        text: "std::env::var",
        to: &["proto/build.rs", "agent/src/config", "telemetry/src/environment", "tests/"],
        why: "the environment is read by the configuration alone",
    },
];

/// Longest file, in lines before its tests.
const MAX_LINES: usize = 500;

/// What a module that says it is pure must not name.
const NOT_PURE: &[&str] = &[
    "use tokio",
    "tokio::",
    "tonic::",
    "rusqlite::",
    "std::env",
    "std::fs",
    "async fn",
    "SystemTime::now",
];

/// Crates of which one version only is built.
const ONE_VERSION: &[&str] = &[
    "tonic",
    "prost",
    "hyper",
    "rustls",
    "tokio",
    "tower",
    "h2",
    "aws-lc-rs",
    "http",
    "opentelemetry",
];

/// Crates that must not be built: a second TLS stack, or a deprecated one.
const BANNED: &[&str] = &["ring", "openssl", "native-tls", "serde_yaml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

/// Every source file of the workspace, with its path from the root.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in
            fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for (member, _) in MAY_DEPEND_ON {
        walk(&root().join(member), &mut found);
    }
    let relative =
        |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    let sources: BTreeMap<_, _> = found
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).expect("UTF-8")))
        .collect();
    assert!(sources.len() > 20, "the walk found only {} files", sources.len());
    sources
}

/// The part of a file that is not its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// Lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn crates_depend_only_downwards_and_inherit_the_lints() {
    for (member, allowed) in MAY_DEPEND_ON {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{member} does not inherit the lints"
        );
        let production = manifest.split("[dev-dependencies]").next().unwrap();
        for line in production.lines().filter_map(|line| line.strip_prefix("s3sync-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(allowed.contains(&name), "{member} may not depend on {name}");
        }
    }
}

#[test]
fn what_is_confined_stays_where_it_belongs() {
    let mut breaches = Vec::new();
    for (path, text) in sources() {
        for Confined { text: name, to, why } in CONFINED {
            let allowed =
                path == "tests/tidy/main.rs" || to.iter().any(|place| path.starts_with(place));
            if !allowed && code(production(&text)).any(|line| line.contains(name)) {
                breaches.push(format!("{path} names {name}: {why}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn pure_modules_are_pure() {
    let mut pure = 0;
    for (path, text) in sources().iter().filter(|(_, text)| text.starts_with("//! Pure.")) {
        pure += 1;
        for line in code(production(text)) {
            for name in NOT_PURE {
                assert!(!line.contains(name), "{path} says it is pure and names {name}");
            }
        }
    }
    assert!(pure >= 5, "only {pure} modules say they are pure");
}

/// Unless told otherwise, `select!` draws which branch it looks at first, and no seed of ours plays a history again.
#[test]
fn what_an_agent_waits_for_has_an_order() {
    let mut selects = 0;
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("agent/src/")) {
        let mut lines = code(production(text));
        while let Some(line) = lines.next() {
            if line.contains("select! {") {
                selects += 1;
                let first = lines.next().unwrap_or_default().trim();
                assert_eq!(first, "biased;", "{path} has a select! without an order");
            }
        }
    }
    assert!(selects >= 10, "only {selects} are looked at");
}

#[test]
fn files_fit_in_the_head() {
    // The limit is for what comes before the tests, so a file of tests alone has none.
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .map(|(path, text)| (production(&text).lines().count(), path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {long:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(p, _)| p)
        .collect();
    assert!(silent.is_empty(), "no module comment: {silent:?}");
}

#[test]
fn one_tls_stack_and_one_version_of_what_matters_is_built() {
    // The lock file also lists what optional features would need; what counts is what is built.
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let output = std::process::Command::new(cargo)
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--prefix=none",
            "--edges=normal,build",
            "--format={p}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("text");
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    assert!(versions.len() > 100, "only {} crates", versions.len());
    for name in BANNED {
        assert!(!versions.contains_key(name), "{name} is built");
    }
    for name in ONE_VERSION {
        let found = versions.get(name).map_or(0, BTreeSet::len);
        assert!(found <= 1, "{found} versions of {name} are built");
    }
}

#[test]
fn no_test_is_skipped_retried_or_put_to_sleep() {
    for (path, text) in sources() {
        if path == "tests/tidy/main.rs" {
            continue;
        }
        for forbidden in ["#[ignore", "thread::sleep("] {
            assert!(!code(&text).any(|line| line.contains(forbidden)), "{path} has {forbidden}");
        }
    }
}
