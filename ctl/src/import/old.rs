//! Pure. The settings the original knew, out of what its file exports, with all that is wrong with them at once.

use s3sync_proto::client::Secret;

use super::js::{Node, Value};
use super::{Keys, Note};

/// The original's settings.
#[derive(Debug)]
pub(super) struct Config {
    /// Keys for regions without their own; `None`: whatever the SDK finds.
    pub(super) base: Option<Keys>,
    pub(super) regions: Vec<Region>,
    pub(super) buckets: Vec<Bucket>,
    pub(super) sqs: Option<Sqs>,
    /// Seconds from one full sync to the next; 0: only one.
    pub(super) interval: f64,
    pub(super) skip_fullsync: bool,
}

/// A setting and its line.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: u64,
    pub(super) path: String,
    pub(super) value: T,
}

#[derive(Debug)]
pub(super) struct Region {
    pub(super) region: At<String>,
    pub(super) suffix: String,
    pub(super) keys: Option<Keys>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) src: String,
    pub(super) srcprefix: At<String>,
    pub(super) srcregion: At<String>,
    pub(super) dest: String,
    pub(super) destprefix: At<String>,
    pub(super) destregions: Vec<At<String>>,
}

#[derive(Debug)]
pub(super) struct Sqs {
    pub(super) url: At<String>,
    pub(super) region: Option<At<String>>,
}

/// Reads the settings, and what is to be said about them.
pub(super) fn read(exported: &Node) -> Result<(Config, Vec<Note>), Vec<Note>> {
    let mut found = Found::default();
    let config = config(exported, &mut found);
    match config {
        Some(config) if found.problems.is_empty() => Ok((config, found.notes)),
        _ => Err(found.problems),
    }
}

fn config(exported: &Node, found: &mut Found) -> Option<Config> {
    let mut root = Fields::of(exported, String::new(), found)?;
    let base = root.object("aws", found).and_then(|mut aws| {
        let keys = aws.keys("accessKeyId", "secretAccessKey", found);
        aws.finish(found);
        keys
    });
    let interval = root.object("fullsync", found).and_then(|mut fullsync| {
        let interval = fullsync.number("interval", found);
        fullsync.finish(found);
        interval
    });
    let skip_fullsync = root.flag("skip-fullsync", found);
    if root.take("log4js").is_some() {
        found.note(
            exported.line,
            "log4js",
            "is left out: every program logs to stderr, as JSON when that is no terminal",
        );
    }
    let inner = root.object("s3sync", found);
    root.finish(found);
    let Some(mut inner) = inner else {
        found.problem(exported.line, "s3sync", "is missing; it holds regions and buckets");
        return None;
    };
    let regions = inner.list("regions", found, region);
    let buckets = inner.list("buckets", found, bucket);
    let sqs = inner.object("sqs", found).and_then(|mut sqs| {
        let (url, region) = (sqs.required("url", found), sqs.text("region", found));
        sqs.finish(found);
        Some(Sqs { url: url?, region: region.filter(|region| !region.value.is_empty()) })
    });
    inner.finish(found);
    let interval = interval.unwrap_or_default();
    Some(Config { base, regions, buckets, sqs, interval, skip_fullsync })
}

fn region(mut fields: Fields<'_>, found: &mut Found) -> Option<Region> {
    let region = fields.required("region", found);
    let suffix = fields.text("suffix", found).map(|suffix| suffix.value).unwrap_or_default();
    let keys = fields.keys("access", "secret", found);
    fields.finish(found);
    Some(Region { region: region?, suffix, keys })
}

fn bucket(mut fields: Fields<'_>, found: &mut Found) -> Option<Bucket> {
    let src = fields.required("src", found);
    let srcprefix = fields.text_or_empty("srcprefix", found);
    let srcregion = fields.required("srcregion", found);
    let dest = fields.required("dest", found);
    let destprefix = fields.text_or_empty("destprefix", found);
    let destregions = fields.texts("destregions", found);
    fields.finish(found);
    Some(Bucket {
        src: src?.value,
        srcprefix,
        srcregion: srcregion?,
        dest: dest?.value,
        destprefix,
        destregions,
    })
}

/// What was found to say.
#[derive(Default)]
struct Found {
    problems: Vec<Note>,
    notes: Vec<Note>,
}

impl Found {
    fn problem(&mut self, line: u64, path: &str, text: impl Into<String>) {
        self.problems.push(Note { line, path: path.to_owned(), text: text.into() });
    }

    fn note(&mut self, line: u64, path: &str, text: impl Into<String>) {
        self.notes.push(Note { line, path: path.to_owned(), text: text.into() });
    }

    /// A value of another kind than is needed. The value itself is not said: it may be a secret.
    fn wrong(&mut self, node: &Node, path: &str, wanted: &str) {
        let text = match &node.value {
            Value::Computed(written) => {
                let what =
                    if written.is_empty() { String::new() } else { format!(" (`{written}`)") };
                format!(
                    "is computed{what}, and the file is read, not run; write the value itself there for the import"
                )
            }
            Value::Nothing
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Object(_) => format!("must be {wanted}"),
        };
        self.problem(node.line, path, text);
    }
}

/// The fields of an object that were not asked for yet.
struct Fields<'a> {
    line: u64,
    path: String,
    left: Vec<(&'a str, &'a Node)>,
}

impl<'a> Fields<'a> {
    fn of(node: &'a Node, path: String, found: &mut Found) -> Option<Self> {
        let Value::Object(fields) = &node.value else {
            found.wrong(node, &path, "an object");
            return None;
        };
        let left = fields.iter().map(|(name, node)| (name.as_str(), node)).collect();
        Some(Self { line: node.line, path, left })
    }

    fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take(&mut self, name: &str) -> Option<&'a Node> {
        let index = self.left.iter().position(|(other, _)| *other == name)?;
        let (_, node) = self.left.remove(index);
        (node.value != Value::Nothing).then_some(node)
    }

    fn object(&mut self, name: &str, found: &mut Found) -> Option<Fields<'a>> {
        let node = self.take(name)?;
        Fields::of(node, self.path(name), found)
    }

    fn text(&mut self, name: &str, found: &mut Found) -> Option<At<String>> {
        let node = self.take(name)?;
        text_of(node, self.path(name), found)
    }

    fn text_or_empty(&mut self, name: &str, found: &mut Found) -> At<String> {
        let empty = At { line: self.line, path: self.path(name), value: String::new() };
        self.text(name, found).unwrap_or(empty)
    }

    fn required(&mut self, name: &str, found: &mut Found) -> Option<At<String>> {
        let before = found.problems.len();
        let text = self.text(name, found).filter(|text| !text.value.is_empty());
        if text.is_none() && found.problems.len() == before {
            found.problem(self.line, &self.path(name), "is missing");
        }
        text
    }

    fn texts(&mut self, name: &str, found: &mut Found) -> Vec<At<String>> {
        let path = self.path(name);
        let texts = self.elements(name, found).into_iter().enumerate();
        texts.filter_map(|(index, node)| text_of(node, format!("{path}[{index}]"), found)).collect()
    }

    fn list<T>(
        &mut self,
        name: &str,
        found: &mut Found,
        read: fn(Fields<'_>, &mut Found) -> Option<T>,
    ) -> Vec<T> {
        let path = self.path(name);
        let mut all = Vec::new();
        for (index, node) in self.elements(name, found).into_iter().enumerate() {
            if let Some(fields) = Fields::of(node, format!("{path}[{index}]"), found) {
                all.extend(read(fields, found));
            }
        }
        all
    }

    /// At least one.
    fn elements(&mut self, name: &str, found: &mut Found) -> Vec<&'a Node> {
        let path = self.path(name);
        match self.take(name) {
            Some(Node { value: Value::List(list), .. }) if !list.is_empty() => {
                list.iter().collect()
            }
            Some(node @ Node { value: Value::Computed(_), .. }) => {
                found.wrong(node, &path, "a list");
                Vec::new()
            }
            Some(node) => {
                found.problem(node.line, &path, "must be a list with at least one element");
                Vec::new()
            }
            None => {
                found.problem(
                    self.line,
                    &path,
                    "is missing; it is a list with at least one element",
                );
                Vec::new()
            }
        }
    }

    /// A number, also one in quotes: `rc` makes such of what files and variables say.
    fn number(&mut self, name: &str, found: &mut Found) -> Option<f64> {
        let node = self.take(name)?;
        let number = match &node.value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Nothing
            | Value::Bool(_)
            | Value::List(_)
            | Value::Object(_)
            | Value::Computed(_) => None,
        };
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            found.wrong(node, &self.path(name), "a number, not negative");
        }
        number
    }

    fn flag(&mut self, name: &str, found: &mut Found) -> bool {
        let Some(node) = self.take(name) else { return false };
        match &node.value {
            Value::Bool(flag) => *flag,
            Value::Text(text) if text == "true" => true,
            Value::Text(text) if text == "false" => false,
            Value::Nothing
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Object(_)
            | Value::Computed(_) => {
                found.wrong(node, &self.path(name), "true or false");
                false
            }
        }
    }

    /// A pair of keys. Empty ones are none, as they were to the original.
    fn keys(&mut self, id: &str, secret: &str, found: &mut Found) -> Option<Keys> {
        let filled = |text: &At<String>| !text.value.is_empty();
        let before = found.problems.len();
        let access = self.text(id, found).filter(filled);
        let hidden = self.text(secret, found).filter(filled);
        let token = self.text("sessionToken", found).filter(filled);
        match (access, hidden) {
            (Some(access), Some(hidden)) => Some(Keys {
                access_key_id: access.value,
                secret_access_key: Secret::new(hidden.value),
                session_token: token.map(|token| Secret::new(token.value)),
            }),
            (None, None) => None,
            (access, _) => {
                let missing = if access.is_some() { secret } else { id };
                if found.problems.len() == before {
                    found.problem(
                        self.line,
                        &self.path(missing),
                        "is missing; its other half is set",
                    );
                }
                None
            }
        }
    }

    /// Says what was not asked for.
    fn finish(self, found: &mut Found) {
        for (name, node) in &self.left {
            found.note(node.line, &self.path(name), "is not known and left out");
        }
    }
}

fn text_of(node: &Node, path: String, found: &mut Found) -> Option<At<String>> {
    match &node.value {
        Value::Text(text) => Some(At { line: node.line, path, value: text.clone() }),
        Value::Nothing
        | Value::Bool(_)
        | Value::Number(_)
        | Value::List(_)
        | Value::Object(_)
        | Value::Computed(_) => {
            found.wrong(node, &path, "a text");
            None
        }
    }
}
