//! Configuration files, right and wrong, and what is shown of them.

use super::parse::{Parsed, parse};
use super::*;

/// Files and variables of a machine that is not there.
struct Made;

const SECRET: &str = "wJalrXUtnFEMI/very/secret";

impl Outside for Made {
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/etc/s3sync/cn.secret") => Ok(format!("{SECRET}\n").into_bytes()),
            Some("/etc/s3sync/empty") => Ok(b"\n".to_vec()),
            Some("/etc/s3sync/ca.pem") => Ok(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "CN_SECRET").then(|| SECRET.to_owned())
    }
}

fn read(text: &str, flags: &Flags) -> Result<Parsed, Vec<Problem>> {
    parse(text, Path::new("/etc/s3sync"), flags, &Made)
}

const EXAMPLE: &str = include_str!("../../../docs/examples/agent.toml");

#[test]
fn the_example_is_understood() {
    let Parsed { config, warnings, has_secrets } = read(EXAMPLE, &Flags::default()).unwrap();
    assert_eq!(config.server, "https://control.example:7400");
    assert_eq!(config.token_file.as_deref(), Some(Path::new("/etc/s3sync/agent.token")));
    assert_eq!(config.labels["region"], "cn-north-1");
    let usw2 = &config.endpoints[&"usw2".parse().unwrap()];
    assert_eq!(usw2.credential, Credential::Profile("global-readonly".into()));
    assert_eq!(usw2.allow[0].bucket.as_deref(), Some("srcbucket"));
    assert_eq!((config.limits, warnings, has_secrets), (Limits::default(), vec![], false));
}

#[test]
fn flags_win_over_the_file() {
    let flags = Flags {
        server: Some("http://127.0.0.1:1".into()),
        name: Some("other".into()),
        token_file: Some("here".into()),
        insecure: true,
        ..Flags::default()
    };
    let Parsed { config, .. } = read(EXAMPLE, &flags).unwrap();
    assert_eq!(config.server, "http://127.0.0.1:1");
    assert_eq!(config.name.as_str(), "other");
    // A flag's path is meant from where the program was started.
    assert_eq!(config.token_file.as_deref(), Some(Path::new("here")));
    assert!(config.insecure);
}

/// Everything there is, once.
const FULL: &str = r#"
server = "https://control.example:7400"
name = "a"
insecure = true
http = "0.0.0.0:7402"
[tls]
ca_file = "ca.pem"
cert_file = "agent.pem"
key_file = "agent.key"
[limits]
requests_in_flight = 2
bytes_in_flight = "64MiB"
assignments = 256
[endpoints.inline]
access_key_id = "AKIA1"
secret_access_key = "wJalrXUtnFEMI/very/secret"
session_token = "wJalrXUtnFEMI/very/secret"
[endpoints.file]
access_key_id = "AKIA2"
secret_access_key_file = "cn.secret"
ca_file = "ca.pem"
[endpoints.env]
access_key_id = "AKIA3"
secret_access_key_env = "CN_SECRET"
[endpoints.role]
role_arn = "arn:aws:iam::123456789012:role/s3sync"
external_id = "x"
session_name = "y"
[endpoints.chain]
allow = [{ verbs = ["list"], prefix = "open" }]
queues = ["https://sqs.us-west-2.amazonaws.com/123456789012/media-events"]
"#;

#[test]
fn all_settings_are_understood_and_no_secret_is_shown() {
    let Parsed { config, warnings, has_secrets } = read(FULL, &Flags::default()).unwrap();
    assert!(has_secrets);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let endpoint = |name: &str| &config.endpoints[&name.parse().unwrap()];
    for name in ["inline", "file", "env"] {
        let Credential::Keys { secret_access_key, .. } = &endpoint(name).credential else {
            panic!("{name} has keys");
        };
        assert_eq!(secret_access_key.reveal(), SECRET, "{name}");
    }
    assert_eq!(endpoint("chain").credential, Credential::Chain);
    assert!(endpoint("file").ca.is_some());
    assert_eq!(config.limits.bytes_in_flight, 64 << 20);
    for shown in [config.shown(), format!("{config:?}")] {
        assert!(shown.contains("AKIA1") && !shown.contains("secret/"), "{shown}");
        assert!(!shown.contains(SECRET), "{shown}");
    }
    // What is shown can be read again.
    let again = config.shown().replace("ca_file = \"(28 bytes)\"\n", "");
    let again = read(&again, &Flags::default()).unwrap().config;
    assert_eq!((again.server, again.limits, again.tls), (config.server, config.limits, config.tls));
}

/// What a file needs beside endpoints.
const HEAD: &str = "server = \"http://s:1\"\nname = \"a\"\n";

/// Bad files and the problems each has, in order.
const BAD: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "server: is missing; it must be a URL such as https://control.example:7400",
            "name: is missing; agents are told apart by it",
            "endpoints: there are none",
        ],
    ),
    ("server = \n[x", &["1:10: ", "2:3: "]),
    (
        "server = 1\nname = \"A b\"\nnmae = 2\n[endpoints.x]\n",
        &[
            "1:10: server: must be a text in quotes, not integer",
            "2:8: name: \"A b\" is not a name",
            "3:1: nmae: unknown; known here: server, name, token_file, labels, tls,",
            "server: is missing",
        ],
    ),
    (
        "HEAD[endpoints.X]\nprofile = \"p\"\n[endpoints.y]\nprofile = \"p\"\nrole_arn = \"x\"\n",
        &[
            "3:12: endpoints.X: \"X\" is not a name",
            "5:1: endpoints.y: has more than one credential",
        ],
    ),
    (
        "HEAD[endpoints.x]\naccess_key_id = \"AKIA\"\n[endpoints.y]\nsecret_access_key = \"s3cr3t\"\n",
        &[
            "3:1: endpoints.x: needs both access_key_id and secret_access_key",
            "5:1: endpoints.y: needs both",
        ],
    ),
    (
        "HEAD[endpoints.x]\naccess_key_id = \"A\"\nsecret_access_key_file = \"none\"\n[endpoints.y]\n\
             access_key_id = \"A\"\nsecret_access_key_env = \"NONE\"\n[endpoints.z]\naccess_key_id = \"A\"\n\
             secret_access_key_file = \"empty\"\nca_file = \"empty\"\n",
        &[
            "5:26: endpoints.x.secret_access_key_file: cannot read /etc/s3sync/none: entity not found",
            "8:25: endpoints.y.secret_access_key_env: the environment has no variable NONE",
            "11:26: endpoints.z.secret_access_key_file: is empty",
            "12:11: endpoints.z.ca_file: /etc/s3sync/empty holds no certificate",
        ],
    ),
    (
        "HEAD[endpoints.x]\naccess_key_id = \"A\"\nsecret_access_key = 5\nsecret_access_key_env = \"CN_SECRET\"\n\
             external_id = \"e\"\nallow = []\n",
        &[
            "3:1: endpoints.x: external_id and session_name need a role_arn",
            "5:21: endpoints.x.secret_access_key: must be a text in quotes, not integer",
            "8:9: endpoints.x.allow: has no rule",
        ],
    ),
    (
        "HEAD[endpoints.x]\nallow = [{ bucket = \"\", verbs = [\"raed\", 1] }, { prefx = \"a/\" }, \"x\"]\n",
        &[
            "4:21: endpoints.x.allow[0].bucket: is empty",
            "4:34: endpoints.x.allow[0].verbs[0]: \"raed\" is not a verb; known are list, read, write, delete",
            "4:42: endpoints.x.allow[0].verbs[1]: must be a text",
            "4:48: endpoints.x.allow[1].verbs: must be some of",
            "4:50: endpoints.x.allow[1].prefx: unknown; known here: bucket, prefix, verbs",
            "4:66: endpoints.x.allow[2]: must be a table, not string",
        ],
    ),
    (
        "HEAD[tls]\ncert_file = \"c\"\n[limits]\nrequests_in_flight = 1\nbytes_in_flight = \"1 parsec\"\n\
             assignments = -1\n[endpoints.x]\n",
        &[
            "3:1: tls: needs both cert_file and key_file",
            "6:22: limits.requests_in_flight: must be from 2 to 4096",
            "7:19: limits.bytes_in_flight: must be a size",
            "8:15: limits.assignments: must be a whole number",
        ],
    ),
    (
        "HEAD[limits]\nbytes_in_flight = \"63MiB\"\nassignments = 257\n[endpoints.x]\n",
        &[
            "4:19: limits.bytes_in_flight: must be at least 64MiB",
            "5:15: limits.assignments: must be from 1 to 256",
        ],
    ),
    ("HEADhttp = \"7402\"\n[endpoints.x]\n", &["3:8: http: must be an address and a port"]),
    (
        "HEADhttp = \"0.0.0.0:7402\"\n[endpoints.x]\n",
        &["3:8: http: 0.0.0.0:7402 is open to the network"],
    ),
];

#[test]
fn every_bad_file_gives_all_its_problems_with_their_lines() {
    for (text, expected) in BAD {
        let text = text.replace("HEAD", HEAD);
        let problems = read(&text, &Flags::default()).unwrap_err();
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(problems.len(), expected.len(), "{text}\n{problems:#?}");
        for (problem, expected) in problems.iter().zip(*expected) {
            assert!(problem.starts_with(expected), "{text}\n{problem}\ninstead of\n{expected}");
            assert!(!problem.contains("s3cr3t") && !problem.contains(SECRET), "{problem}");
        }
    }
}

#[test]
fn a_file_with_secrets_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let secrets = "server = \"http://s:1\"\nname = \"a\"\n[endpoints.x]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\n";
    let profile = "server = \"http://s:1\"\nname = \"a\"\n[endpoints.x]\nprofile = \"A\"\n";
    for (text, mode, warned) in [
        (secrets, 0o600, false),
        (secrets, 0o640, true),
        (secrets, 0o604, true),
        (profile, 0o644, false),
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = Config::load(&Flags { config: path.clone(), ..Flags::default() }).unwrap();
        assert_eq!(!loaded.warnings.is_empty(), warned, "{mode:o}");
    }
}

#[test]
fn problems_are_told_as_compilers_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, "x = 1\n").unwrap();
    let flags = Flags { config: path.clone(), ..Flags::default() };
    let told = Config::load(&flags).unwrap_err().to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with(&format!("{}:1:1: x: unknown", path.display())), "{told}");
    assert!(lines[1].starts_with(&format!("{}: server: is missing", path.display())), "{told}");
    let missing = Flags { config: folder.path().join("none"), ..Flags::default() };
    assert!(matches!(Config::load(&missing), Err(ConfigError::Unreadable { .. })));
}
