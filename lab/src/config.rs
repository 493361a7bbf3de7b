//! What the program is to start, from flags and from a TOML file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::endpoint::{Capabilities, EndpointConfig};
use crate::generated::Generated;
use crate::notify::Notification;
use crate::queue::{QueueConfig, QueuesConfig};
use crate::run::Args;
use crate::server::Lab;

/// Everything that is to be started.
#[derive(Debug, Default)]
pub(crate) struct Config {
    endpoints: BTreeMap<String, EndpointConfig>,
    queues: BTreeMap<String, QueuesConfig>,
    generate: Vec<(String, String, Generated)>,
    notify: Vec<Notify>,
}

/// Changes of a bucket of an endpoint go to a queue of a server.
#[derive(Debug)]
struct Notify {
    endpoint: String,
    bucket: String,
    prefix: String,
    queues: String,
    queue: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "endpoint")]
    endpoints: Vec<EndpointTable>,
    #[serde(default, rename = "queues")]
    queues: Vec<QueuesTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    name: String,
    region: String,
    #[serde(default = "any_port")]
    listen: SocketAddr,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    buckets: Vec<String>,
    #[serde(default)]
    capabilities: Capabilities,
    /// By bucket.
    #[serde(default)]
    generate: BTreeMap<String, Generated>,
    #[serde(default)]
    notify: Vec<NotifyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotifyTable {
    bucket: String,
    #[serde(default)]
    prefix: String,
    /// `SERVER:QUEUE`.
    queue: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueuesTable {
    name: String,
    region: String,
    #[serde(default = "any_port")]
    listen: SocketAddr,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default, rename = "queue")]
    queues: Vec<QueueConfig>,
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Config {
    /// What flags and the file they name say together.
    pub(crate) fn of(args: &Args) -> anyhow::Result<Self> {
        let mut config = Self::default();
        if let Some(path) = &args.config {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            config.add_file(&text).with_context(|| path.display().to_string())?;
        }
        config.add_flags(args)?;
        config.check()?;
        Ok(config)
    }

    fn add_file(&mut self, text: &str) -> anyhow::Result<()> {
        let File { endpoints, queues } = toml::from_str(text)?;
        for table in endpoints {
            let EndpointTable { name, region, listen, keys, buckets, capabilities, .. } = table;
            for notify in table.notify {
                let NotifyTable { bucket, prefix, queue } = notify;
                let (queues, queue) = halves("queue", &queue, ':')?;
                self.notify.push(Notify { endpoint: name.clone(), bucket, prefix, queues, queue });
            }
            let spaces = table.generate.into_iter();
            self.generate.extend(spaces.map(|(bucket, space)| (name.clone(), bucket, space)));
            let config =
                EndpointConfig { name: name.clone(), region, listen, keys, buckets, capabilities };
            self.endpoints.insert(name, config);
        }
        for QueuesTable { name, region, listen, keys, queues } in queues {
            let config = QueuesConfig { name: name.clone(), region, listen, keys, queues };
            self.queues.insert(name, config);
        }
        Ok(())
    }

    fn add_flags(&mut self, args: &Args) -> anyhow::Result<()> {
        for text in &args.endpoints {
            let (name, region, listen) = place("--endpoint", text)?;
            let config = EndpointConfig { listen, ..EndpointConfig::new(&name, &region) };
            self.endpoints.insert(name, config);
        }
        for text in &args.queues {
            let (name, region, listen) = place("--queues", text)?;
            let config = QueuesConfig { listen, ..QueuesConfig::new(&name, &region) };
            self.queues.insert(name, config);
        }
        for text in &args.keys {
            let (name, rest) = halves("--key", text, '=')?;
            let (key, secret) = halves("--key", &rest, ':')?;
            let keys = match (self.endpoints.get_mut(&name), self.queues.get_mut(&name)) {
                (Some(endpoint), _) => &mut endpoint.keys,
                (None, Some(queues)) => &mut queues.keys,
                (None, None) => anyhow::bail!("there is no --endpoint and no --queues {name}"),
            };
            keys.insert(key, secret);
        }
        for text in &args.buckets {
            let (name, bucket) = halves("--bucket", text, '=')?;
            let endpoint = self.endpoints.get_mut(&name);
            endpoint
                .with_context(|| format!("there is no --endpoint {name}"))?
                .buckets
                .push(bucket);
        }
        for text in &args.queue {
            let (name, queue) = halves("--queue", text, '=')?;
            let queues = self.queues.get_mut(&name);
            let queues = queues.with_context(|| format!("there is no --queues {name}"))?;
            queues.queues.push(QueueConfig::new(&queue));
        }
        for text in &args.notify {
            let (from, to) = halves("--notify", text, '=')?;
            let (endpoint, bucket) = halves("--notify", &from, ':')?;
            let (queues, queue) = halves("--notify", &to, ':')?;
            self.notify.push(Notify { endpoint, bucket, prefix: String::new(), queues, queue });
        }
        Ok(())
    }

    /// Everything that is named is there.
    fn check(&self) -> anyhow::Result<()> {
        for name in self.queues.keys() {
            ensure!(
                !self.endpoints.contains_key(name),
                "{name} is an endpoint and a server of queues"
            );
        }
        let has_bucket = |endpoint: &str, bucket: &str| {
            let endpoint = self.endpoints.get(endpoint);
            endpoint.is_some_and(|endpoint| endpoint.buckets.iter().any(|name| name == bucket))
        };
        let has_queue = |server: &str, queue: &str| {
            let server = self.queues.get(server);
            server.is_some_and(|server| server.queues.iter().any(|one| one.name == queue))
        };
        for (endpoint, bucket, _) in &self.generate {
            ensure!(has_bucket(endpoint, bucket), "{endpoint} has no bucket {bucket}");
        }
        for Notify { endpoint, bucket, queues, queue, .. } in &self.notify {
            ensure!(has_bucket(endpoint, bucket), "{endpoint} has no bucket {bucket}");
            ensure!(has_queue(queues, queue), "{queues} has no queue {queue}");
        }
        for server in self.queues.values() {
            for dead_letters in server.queues.iter().filter_map(|queue| queue.dead_letters.as_ref())
            {
                ensure!(
                    has_queue(&server.name, dead_letters),
                    "{} has no queue {dead_letters}",
                    server.name
                );
            }
        }
        Ok(())
    }

    /// Starts it.
    pub(crate) async fn start(self) -> anyhow::Result<Lab> {
        let mut lab = Lab::start(self.endpoints.into_values().collect()).await?;
        for config in self.queues.into_values() {
            lab.start_queues(config).await?;
        }
        for (endpoint, bucket, space) in self.generate {
            lab.endpoint(&endpoint).generate(&bucket, space);
        }
        for Notify { endpoint, bucket, prefix, queues, queue } in self.notify {
            let queues = Arc::clone(&lab.queues(&queues));
            lab.endpoint(&endpoint).notify(Notification { bucket, prefix, queues, queue });
        }
        Ok(lab)
    }
}

/// `NAME=REGION` or `NAME=REGION@ADDRESS`.
fn place(flag: &str, text: &str) -> anyhow::Result<(String, String, SocketAddr)> {
    let (name, rest) = halves(flag, text, '=')?;
    let Some((region, address)) = rest.split_once('@') else { return Ok((name, rest, any_port())) };
    let listen =
        address.parse().with_context(|| format!("{flag} {text}: {address} is no address"))?;
    Ok((name, region.to_owned(), listen))
}

fn halves(flag: &str, text: &str, mark: char) -> anyhow::Result<(String, String)> {
    let (first, second) = text
        .split_once(mark)
        .with_context(|| format!("{flag} {text}: two parts with `{mark}` between are expected"))?;
    Ok((first.to_owned(), second.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const FILE: &str = r#"
[[endpoint]]
name = "usw2"
region = "us-west-2"
keys = { AKIAWEST = "west-secret" }
buckets = ["media", "big"]
capabilities = { min_part_size = 1 }
generate = { big = { prefix = "d/", count = 1000000, size = 4096, modified = 0 } }
notify = [{ bucket = "media", prefix = "p/", queue = "sqs:events" }]

[[queues]]
name = "sqs"
region = "us-west-2"
keys = { AKIAWEST = "west-secret" }
queue = [{ name = "events", dead_letters = "dead", max_receives = 3 }, { name = "dead" }]
"#;

    fn args(flags: &[&str]) -> Args {
        Args::parse_from([&["s3sync-lab"], flags].concat())
    }

    #[tokio::test]
    async fn a_file_starts_all_it_declares() {
        let mut config = Config::default();
        config.add_file(FILE).unwrap();
        config.check().unwrap();
        let lab = config.start().await.unwrap();
        let endpoint = lab.endpoint("usw2");
        assert_eq!(endpoint.object("big", "d/0000000007").unwrap().body.len(), 4_096);
        assert_eq!(endpoint.capabilities().min_part_size, 1);
        assert!(lab.queues("sqs").has_queue("dead"));
    }

    #[tokio::test]
    async fn flags_start_all_they_declare() {
        let flags = "--endpoint a=r@127.0.0.1:0 --key a=K:S --bucket a=b --queues q=r --key q=K:S \
                     --queue q=events --notify a:b=q:events";
        let config = Config::of(&args(&flags.split(' ').collect::<Vec<_>>())).unwrap();
        let lab = config.start().await.unwrap();
        assert!(lab.endpoint("a").has_bucket("b"));
        assert_eq!(lab.queues("q").messages("events"), []);
    }

    #[test]
    fn what_is_not_there_cannot_be_named() {
        for (flags, said) in [
            ("--endpoint a", "--endpoint a: two parts with `=` between are expected"),
            ("--endpoint a=r@nowhere", "--endpoint a=r@nowhere: nowhere is no address"),
            ("--endpoint a=r --key b=K:S", "there is no --endpoint and no --queues b"),
            ("--endpoint a=r --bucket b=x", "there is no --endpoint b"),
            ("--endpoint a=r --bucket a=b --notify a:b=q:e", "q has no queue e"),
            ("--endpoint a=r --queues a=r", "a is an endpoint and a server of queues"),
        ] {
            let flags: Vec<&str> = flags.split(' ').collect();
            assert_eq!(Config::of(&args(&flags)).unwrap_err().to_string(), said);
        }
        let unknown = Config::default().add_file("[[endpoint]]\nnames = 1\n").unwrap_err();
        assert!(unknown.to_string().contains("unknown field `names`"), "{unknown}");
    }
}
