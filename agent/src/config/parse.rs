//! From the text of `agent.toml` and the flags to a configuration, or to all that is wrong with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3sync_proto::client::Secret;
use s3sync_proto::model::{AllowRule, Name, Verb};
use toml::de::DeTable;

use super::table::{Problems, Table, Taken, table_of, text_of};
use super::{Config, Credential, EndpointConfig, Flags, Limits, Outside, Problem, Tls};
use crate::limits::MIN_REQUESTS;

/// Most requests in flight to one endpoint that can be configured.
const MOST_REQUESTS: u64 = 4096;

/// Least memory for bodies: eight parts of the usual size.
const LEAST_BYTES: u64 = 64 * 1024 * 1024;

/// Most assignments an agent can be configured to hold.
const MOST_ASSIGNMENTS: u64 = 256;

/// How a PEM file of certificates has to look.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A configuration without problems.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) config: Config,
    pub(super) warnings: Vec<String>,
    /// Whether the file itself holds secrets.
    pub(super) has_secrets: bool,
}

struct Parser<'a, 't> {
    problems: Problems<'t>,
    /// Paths are meant from here.
    folder: &'a Path,
    outside: &'a dyn Outside,
    has_secrets: bool,
    warnings: Vec<String>,
}

/// Parses a file in `folder`.
pub(super) fn parse(
    text: &str,
    folder: &Path,
    flags: &Flags,
    outside: &dyn Outside,
) -> Result<Parsed, Vec<Problem>> {
    let mut problems = Problems::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What was recovered is too unsure to be judged.
        for error in errors {
            problems.at(&error.span().unwrap_or_default(), "", error.message());
        }
        return Err(problems.all());
    }
    let mut parser = Parser { problems, folder, outside, has_secrets: false, warnings: Vec::new() };
    let config = parser.config(Table::root(&document), flags);
    let problems = parser.problems.all();
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Parsed { config, warnings: parser.warnings, has_secrets: parser.has_secrets })
        }
        _ => Err(problems),
    }
}

impl Parser<'_, '_> {
    fn config(&mut self, mut root: Table<'_>, flags: &Flags) -> Option<Config> {
        let server = self.server(&mut root, flags);
        let name = self.name(&mut root, flags);
        let token_file = self.path(&mut root, "token_file");
        let labels = self.labels(&mut root);
        let tls = self.tls(&mut root);
        let insecure = root.flag(&mut self.problems, "insecure").unwrap_or_default();
        let http = self.http(&mut root, flags, insecure || flags.insecure);
        let limits = self.limits(&mut root);
        let endpoints = self.endpoints(&mut root);
        root.finish(&mut self.problems);
        Some(Config {
            server: server?,
            token_file: flags.token_file.clone().or(token_file),
            name: name?,
            labels,
            tls,
            http,
            insecure: insecure || flags.insecure,
            limits,
            endpoints,
        })
    }

    fn server(&mut self, root: &mut Table<'_>, flags: &Flags) -> Option<String> {
        let configured = root.text(&mut self.problems, "server");
        let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        let wrong = "must be a URL such as https://control.example:7400";
        if let Some(flag) = &flags.server {
            if !is_url(flag) {
                self.problems.nowhere("--server", wrong);
            }
            return Some(flag.clone());
        }
        match configured {
            Some(Taken { value, field, span }) => {
                if !is_url(&value) {
                    self.problems.at(&span, &field, wrong);
                }
                Some(value)
            }
            None => {
                self.problems.nowhere("server", format!("is missing; it {wrong}"));
                None
            }
        }
    }

    fn name(&mut self, root: &mut Table<'_>, flags: &Flags) -> Option<Name> {
        let configured = root.text(&mut self.problems, "name");
        if let Some(flag) = &flags.name {
            let name = flag.parse::<Name>();
            return name.map_err(|error| self.problems.nowhere("--name", error.to_string())).ok();
        }
        let Some(Taken { value, field, span }) = configured else {
            self.problems.nowhere("name", "is missing; agents are told apart by it");
            return None;
        };
        value.parse().map_err(|error| self.not_a_name(&error, &span, &field)).ok()
    }

    fn not_a_name(
        &mut self,
        error: &s3sync_proto::model::NotAName,
        span: &std::ops::Range<usize>,
        field: &str,
    ) {
        self.problems.at(span, field, error.to_string());
    }

    /// A path, from the folder of the file.
    fn path(&mut self, table: &mut Table<'_>, name: &'static str) -> Option<PathBuf> {
        let Taken { value, field, span } = table.text(&mut self.problems, name)?;
        if value.is_empty() {
            self.problems.at(&span, &field, "is empty; it must name a file");
        }
        Some(self.folder.join(value))
    }

    fn labels(&mut self, root: &mut Table<'_>) -> BTreeMap<String, String> {
        let Some(table) = root.table(&mut self.problems, "labels") else {
            return BTreeMap::new();
        };
        let mut labels = BTreeMap::new();
        for (name, _, (field, value)) in table.entries() {
            if let Some(text) = text_of(&mut self.problems, field, value) {
                labels.insert(name.to_owned(), text.value);
            }
        }
        labels
    }

    /// Where HTTP listens. Its pages have neither TLS nor tokens.
    fn http(&mut self, root: &mut Table<'_>, flags: &Flags, insecure: bool) -> Option<SocketAddr> {
        let open = |address: SocketAddr| {
            (!insecure && !address.ip().is_loopback()).then(|| {
                format!(
                    "{address} is open to the network and has neither TLS nor tokens; use a loopback address, or insecure"
                )
            })
        };
        let configured = root.text(&mut self.problems, "http");
        if let Some(flag) = flags.http {
            if let Some(problem) = open(flag) {
                self.problems.nowhere("--http", problem);
            }
            return Some(flag);
        }
        let Taken { value, field, span } = configured?;
        let Ok(address) = value.parse() else {
            let message = "must be an address and a port such as \"127.0.0.1:7402\"";
            self.problems.at(&span, &field, message);
            return None;
        };
        if let Some(problem) = open(address) {
            self.problems.at(&span, &field, problem);
        }
        Some(address)
    }

    fn tls(&mut self, root: &mut Table<'_>) -> Tls {
        let Some(mut table) = root.table(&mut self.problems, "tls") else {
            return Tls::default();
        };
        let ca_file = self.path(&mut table, "ca_file");
        let cert_file = self.path(&mut table, "cert_file");
        let key_file = self.path(&mut table, "key_file");
        if cert_file.is_some() != key_file.is_some() {
            let message = "needs both cert_file and key_file, or neither";
            self.problems.at(table.span(), table.path(), message);
        }
        table.finish(&mut self.problems);
        Tls { ca_file, identity: cert_file.zip(key_file) }
    }

    fn limits(&mut self, root: &mut Table<'_>) -> Limits {
        let mut limits = Limits::default();
        let Some(mut table) = root.table(&mut self.problems, "limits") else { return limits };
        let least = u64::try_from(MIN_REQUESTS).unwrap_or(u64::MAX);
        if let Some(taken) = table.number(&mut self.problems, "requests_in_flight") {
            limits.requests_in_flight = self.within(&taken, least, MOST_REQUESTS);
        }
        if let Some(Taken { value, field, span }) =
            table.text(&mut self.problems, "bytes_in_flight")
        {
            match size(&value) {
                Some(bytes) if bytes >= LEAST_BYTES => limits.bytes_in_flight = bytes,
                Some(_) => self.problems.at(&span, &field, "must be at least 64MiB"),
                None => self.problems.at(&span, &field, "must be a size such as \"256MiB\""),
            }
        }
        if let Some(taken) = table.number(&mut self.problems, "assignments") {
            limits.assignments = self.within(&taken, 1, MOST_ASSIGNMENTS);
        }
        table.finish(&mut self.problems);
        limits
    }

    fn within(&mut self, taken: &Taken<u64>, least: u64, most: u64) -> u32 {
        if !(least..=most).contains(&taken.value) {
            let message = format!("must be from {least} to {most}");
            self.problems.at(&taken.span, &taken.field, message);
        }
        u32::try_from(taken.value).unwrap_or(u32::MAX)
    }

    fn endpoints(&mut self, root: &mut Table<'_>) -> BTreeMap<Name, EndpointConfig> {
        let mut endpoints = BTreeMap::new();
        let table = root.table(&mut self.problems, "endpoints");
        let entries = table.map(|table| table.entries()).unwrap_or_default();
        if entries.is_empty() {
            let message = "there are none; without a credential for an endpoint, as in [endpoints.NAME], an agent can \
                do nothing";
            self.problems.nowhere("endpoints", message);
        }
        for (name, span, (field, value)) in entries {
            let name = name.parse().map_err(|error| self.not_a_name(&error, &span, &field)).ok();
            let table = table_of(&mut self.problems, field, value);
            let endpoint = table.and_then(|table| self.endpoint(table));
            if let (Some(name), Some(endpoint)) = (name, endpoint) {
                endpoints.insert(name, endpoint);
            }
        }
        endpoints
    }

    fn endpoint(&mut self, mut table: Table<'_>) -> Option<EndpointConfig> {
        let credential = self.credential(&mut table);
        let allow = self.allow(&mut table);
        let queues = self.queues(&mut table);
        let ca = self.certificates(&mut table);
        table.finish(&mut self.problems);
        Some(EndpointConfig { credential: credential?, allow, queues, ca })
    }

    fn certificates(&mut self, table: &mut Table<'_>) -> Option<Vec<u8>> {
        let Taken { value, field, span } = table.text(&mut self.problems, "ca_file")?;
        let path = self.folder.join(value);
        match self.outside.file(&path) {
            Ok(pem) if pem.windows(PEM.len()).any(|window| window == PEM) => Some(pem),
            Ok(_) => {
                let message = format!("{} holds no certificate in PEM", path.display());
                self.problems.at(&span, &field, message);
                None
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.problems.at(&span, &field, message);
                None
            }
        }
    }

    /// One of: a profile, keys, a role, or nothing, which means the SDK's chain.
    fn credential(&mut self, table: &mut Table<'_>) -> Option<Credential> {
        let profile = table.text(&mut self.problems, "profile");
        let id = self.hidden(table, ["access_key_id", "access_key_id_file", "access_key_id_env"]);
        let names = ["secret_access_key", "secret_access_key_file", "secret_access_key_env"];
        let secret = self.hidden(table, names);
        self.has_secrets |= secret.inline;
        let names = ["session_token", "session_token_file", "session_token_env"];
        let token = self.hidden(table, names);
        self.has_secrets |= token.inline;
        let arn = table.text(&mut self.problems, "role_arn");
        let external_id = table.text(&mut self.problems, "external_id");
        let session_name = table.text(&mut self.problems, "session_name");

        let keys = id.named || secret.named || token.named;
        let kinds = [profile.is_some(), keys, arn.is_some()];
        let (span, path) = (table.span().clone(), table.path().to_owned());
        if kinds.iter().filter(|kind| **kind).count() > 1 {
            let message = "has more than one credential; choose one of profile, access_key_id with secret_access_key, \
                role_arn, or none of them for the SDK's chain";
            self.problems.at(&span, &path, message);
            return None;
        }
        if arn.is_none() && (external_id.is_some() || session_name.is_some()) {
            self.problems.at(&span, &path, "external_id and session_name need a role_arn");
        }
        if keys && !(id.named && secret.named) {
            let message = "needs both access_key_id and secret_access_key (or their _file or _env)";
            self.problems.at(&span, &path, message);
            return None;
        }
        if keys {
            return Some(Credential::Keys {
                access_key_id: id.value?,
                secret_access_key: Secret::new(secret.value?),
                session_token: token.value.map(Secret::new),
            });
        }
        if let Some(profile) = profile {
            return Some(Credential::Profile(profile.value));
        }
        let Some(arn) = arn else { return Some(Credential::Chain) };
        if !arn.value.starts_with("arn:") {
            let message = "must be an ARN such as arn:aws:iam::123456789012:role/s3sync";
            self.problems.at(&arn.span, &arn.field, message);
        }
        Some(Credential::Role {
            arn: arn.value,
            external_id: external_id.map(|taken| taken.value),
            session_name: session_name.map(|taken| taken.value),
        })
    }

    /// A value that is written here, in a file or in the environment: `names` are the settings for each.
    fn hidden(&mut self, table: &mut Table<'_>, names: [&'static str; 3]) -> Hidden {
        let [inline, file, variable] = names.map(|name| table.text(&mut self.problems, name));
        let given = [&inline, &file, &variable].into_iter().flatten().count();
        if given > 1 {
            let message = format!("say only one of {}", names.join(", "));
            self.problems.at(table.span(), table.path(), message);
        }
        let mut hidden = Hidden { value: None, named: given > 0, inline: inline.is_some() };
        let (found, taken) = match (inline, file, variable) {
            (Some(taken), ..) => (Ok(taken.value.clone()), taken),
            (None, Some(taken), _) => (self.read_text(&taken.value), taken),
            (None, None, Some(taken)) => {
                let value = self.outside.variable(&taken.value);
                let missing = || format!("the environment has no variable {}", taken.value);
                (value.ok_or_else(missing), taken)
            }
            (None, None, None) => return hidden,
        };
        match found {
            Ok(value) if value.trim().is_empty() => {
                self.problems.at(&taken.span, &taken.field, "is empty");
            }
            // Files end with a line feed, and so do many variables that were made of files.
            Ok(value) => hidden.value = Some(value.trim().to_owned()),
            Err(message) => self.problems.at(&taken.span, &taken.field, message),
        }
        hidden
    }

    fn read_text(&self, name: &str) -> Result<String, String> {
        let path = self.folder.join(name);
        let unreadable =
            |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        let bytes = self.outside.file(&path).map_err(|error| unreadable(&error))?;
        // Not what it holds: that is the secret.
        String::from_utf8(bytes).map_err(|_| unreadable(&"it is not text"))
    }

    fn queues(&mut self, table: &mut Table<'_>) -> Option<Vec<String>> {
        let Taken { value: elements, .. } = table.array(&mut self.problems, "queues")?;
        let mut urls = Vec::new();
        for (path, value) in elements {
            let Some(text) = text_of(&mut self.problems, path, value) else { continue };
            if !text.value.starts_with("https://") && !text.value.starts_with("http://") {
                let message = format!(
                    "{:?} is not the URL of a queue; write it as the server has it, such as \
                     \"https://sqs.us-west-2.amazonaws.com/123456789012/media-events\"",
                    text.value
                );
                self.problems.at(&text.span, &text.field, message);
            }
            urls.push(text.value);
        }
        Some(urls)
    }

    fn allow(&mut self, table: &mut Table<'_>) -> Vec<AllowRule> {
        let Some(Taken { value: rules, field, span }) = table.array(&mut self.problems, "allow")
        else {
            return Vec::new();
        };
        if rules.is_empty() {
            let message = "has no rule, so nothing would be allowed; leave it out to allow everything but delete, or \
                leave out the endpoint";
            self.problems.at(&span, &field, message);
        }
        let tables: Vec<_> = rules
            .into_iter()
            .filter_map(|(path, value)| table_of(&mut self.problems, path, value))
            .collect();
        tables.into_iter().map(|table| self.rule(table)).collect()
    }

    fn rule(&mut self, mut table: Table<'_>) -> AllowRule {
        let bucket = table.text(&mut self.problems, "bucket");
        if let Some(empty) = bucket.as_ref().filter(|bucket| bucket.value.is_empty()) {
            let message = "is empty; leave it out to mean any bucket";
            self.problems.at(&empty.span, &empty.field, message);
        }
        let prefix = table.text(&mut self.problems, "prefix");
        if let Some(prefix) = &prefix
            && !prefix.value.is_empty()
            && !prefix.value.ends_with('/')
        {
            self.warnings.push(format!(
                "{}: {:?} does not end with '/', so it also allows keys such as {:?}",
                prefix.field,
                prefix.value,
                format!("{}-other/key", prefix.value)
            ));
        }
        let verbs = self.verbs(&mut table);
        table.finish(&mut self.problems);
        AllowRule {
            bucket: bucket.map(|taken| taken.value),
            prefix: prefix.map(|taken| taken.value).unwrap_or_default(),
            verbs,
        }
    }

    fn verbs(&mut self, table: &mut Table<'_>) -> Vec<Verb> {
        const KNOWN: &str = "list, read, write, delete";
        let Some(Taken { value: elements, field, span }) = table.array(&mut self.problems, "verbs")
        else {
            let missing = table.field("verbs");
            self.problems.at(table.span(), &missing, format!("must be some of {KNOWN}"));
            return Vec::new();
        };
        if elements.is_empty() {
            self.problems.at(&span, &field, format!("is empty; it must be some of {KNOWN}"));
        }
        let mut verbs = Vec::new();
        for (path, value) in elements {
            let Some(text) = text_of(&mut self.problems, path, value) else { continue };
            match text.value.as_str() {
                "list" => verbs.push(Verb::List),
                "read" => verbs.push(Verb::Read),
                "write" => verbs.push(Verb::Write),
                "delete" => verbs.push(Verb::Delete),
                other => {
                    let message = format!("{other:?} is not a verb; known are {KNOWN}");
                    self.problems.at(&text.span, &text.field, message);
                }
            }
        }
        verbs
    }
}

/// What became of a value that may be hidden.
struct Hidden {
    value: Option<String>,
    /// Whether it is configured at all.
    named: bool,
    /// Whether it stands in the file itself.
    inline: bool,
}

/// A number of bytes such as `256MiB` or `1GB`.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
