//! A whole system for tests and the demo: a lab with two sides of a border in this process, a server and agents as
//! real processes that can be killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use s3sync_lab::{Endpoint, EndpointConfig, Lab, Notification, QueueConfig, Queues, QueuesConfig};
use s3sync_proto::client::{ApiClient, ConnectOptions};
use tempfile::TempDir;

use crate::process::Process;
use crate::secrets;
use crate::wait::until;

/// Key of the agent outside China, for its own side.
pub const WEST: (&str, &str) = ("AKIAWEST00000000001", "west-secret-of-the-agent-in-the-west");
/// Key of the agent inside China, for the other side.
pub const WEST_READ: (&str, &str) = ("AKIAWEST00000000002", "west-secret-of-the-agent-in-china");
/// Key of the agent inside China, for its own side.
pub const CHINA: (&str, &str) = ("AKIACHINA0000000001", "china-secret-of-the-agent-in-china");
/// Bucket of the source.
pub const SOURCE: &str = "srcbucket";
/// Bucket of the destination on the source's side.
pub const WEST_DESTINATION: &str = "destbucket-usw2";
/// Bucket of the destination in China.
pub const CHINA_DESTINATION: &str = "destbucket-cnn1";

/// Name of the server of queues.
const QUEUES: &str = "sqs";

/// A program starts, or answers, within this. Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page of metrics is answered within this.
const METRICS_BOUND: Duration = Duration::from_secs(10);

/// Timing of leases, as flags of the server.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// `--heartbeat-interval`.
    pub heartbeat: Duration,
    /// `--write-window`.
    pub window: Duration,
    /// `--session-ttl`.
    pub ttl: Duration,
}

/// A running system.
pub struct World {
    folder: PathBuf,
    program: PathBuf,
    lab: Lab,
    times: Times,
    /// Variables in the environment of every program.
    environment: Vec<(String, String)>,
    /// Secret keys that were given to agents: nothing that programs write may hold one.
    secrets: Vec<String>,
    port: u16,
    server: Option<Process>,
    agents: BTreeMap<String, Process>,
    /// Its folder, when that is to last as long as it does.
    kept: Option<Arc<TempDir>>,
}

impl Times {
    /// Short ones, so that a killed agent's work moves within seconds.
    #[must_use]
    pub fn short() -> Self {
        let millis = Duration::from_millis;
        Self { heartbeat: millis(500), window: millis(2_000), ttl: millis(4_000) }
    }

    /// Those of the product.
    #[must_use]
    pub fn default_ones() -> Self {
        let seconds = Duration::from_secs;
        Self { heartbeat: seconds(10), window: seconds(35), ttl: seconds(60) }
    }
}

/// The two sides, as lab endpoints with different keys.
#[must_use]
pub fn sides() -> Vec<EndpointConfig> {
    vec![
        EndpointConfig::new("usw2", "us-west-2")
            .key(WEST.0, WEST.1)
            .key(WEST_READ.0, WEST_READ.1)
            .bucket(SOURCE)
            .bucket(WEST_DESTINATION),
        EndpointConfig::new("cnn1", "cn-north-1").key(CHINA.0, CHINA.1).bucket(CHINA_DESTINATION),
    ]
}

impl World {
    /// Starts a lab; server and agents come later. `program` is the one that is all programs.
    ///
    /// # Errors
    /// When the lab cannot listen.
    pub async fn new(folder: &Path, program: &Path, times: Times) -> anyhow::Result<Self> {
        Self::over(folder, program, times, sides()).await
    }

    /// As [`Self::new`], over other sides.
    ///
    /// # Errors
    /// When the lab cannot listen.
    pub async fn over(
        folder: &Path,
        program: &Path,
        times: Times,
        sides: Vec<EndpointConfig>,
    ) -> anyhow::Result<Self> {
        let lab = Lab::start(sides).await?;
        let (folder, program) = (folder.to_owned(), program.to_owned());
        let secrets = [WEST, WEST_READ, CHINA].map(|(_, secret)| secret.to_owned()).into();
        let (environment, agents, server) = (Vec::new(), BTreeMap::new(), None);
        let (port, kept) = (0, None);
        Ok(Self { folder, program, lab, times, environment, secrets, port, server, agents, kept })
    }

    /// Keeps its folder until it has been searched for secrets.
    pub fn keep(&mut self, folder: Arc<TempDir>) {
        self.kept = Some(folder);
    }

    /// Nothing that programs write may hold this.
    pub fn keep_secret(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// Variables in the environment of every program that is started from now on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// A lab endpoint.
    #[must_use]
    pub fn side(&self, name: &str) -> Arc<Endpoint> {
        self.lab.endpoint(name)
    }

    /// Folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts the server, on the port it had before, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_server(&mut self) -> anyhow::Result<()> {
        let ready = self.folder.join("ready.json");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let text = |path: &Path| path.display().to_string();
        let time = |duration: Duration| humantime::format_duration(duration).to_string();
        let arguments = [
            "server".to_owned(),
            format!("--data-dir={}", text(&self.folder.join("data"))),
            format!("--listen=127.0.0.1:{}", self.port),
            "--http=127.0.0.1:0".to_owned(),
            format!("--ready-file={}", text(&ready)),
            format!("--heartbeat-interval={}", time(self.times.heartbeat)),
            format!("--write-window={}", time(self.times.window)),
            format!("--session-ttl={}", time(self.times.ttl)),
        ];
        let mut server = Process::start_in(
            "server",
            &self.program,
            &arguments,
            &self.folder,
            &self.environment,
        )?;
        let found = until("the server is ready", PATIENCE, || {
            let result = match (std::fs::read_to_string(&ready), server.ended()) {
                (Ok(text), _) => Ok(text),
                (Err(_), Ok(Some(status))) => {
                    panic!("the server ended: {status}\n{}", server.log())
                }
                (Err(error), _) => Err(error.to_string()),
            };
            std::future::ready(result)
        })
        .await;
        let value: serde_json::Value = serde_json::from_str(&found)?;
        let address = value["grpc"].as_str().context("no address in the ready file")?;
        self.port = address.rsplit(':').next().context("no port")?.parse()?;
        self.server = Some(server);
        Ok(())
    }

    /// Kills the server at once.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub async fn kill_server(&mut self) -> anyhow::Result<()> {
        self.server.take().context("no server runs")?.kill().await
    }

    /// Stops the server in order.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop_server(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.server.take().context("no server runs")?.terminate(PATIENCE).await
    }

    /// The server's process.
    #[must_use]
    pub fn server(&self) -> Option<&Process> {
        self.server.as_ref()
    }

    /// An agent's process.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Process> {
        self.agents.get(name)
    }

    /// Names of the agents that run.
    #[must_use]
    pub fn agent_names(&self) -> Vec<String> {
        self.agents.keys().cloned().collect()
    }

    /// Starts the agent outside China: it has the keys of its own side only.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_west(&mut self, name: &str) -> anyhow::Result<()> {
        self.start_agent(name, "us-west-2", &[("usw2", WEST)], "")
    }

    /// Starts an agent inside China: it has keys of both sides.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_china(&mut self, name: &str) -> anyhow::Result<()> {
        self.start_agent(name, "cn-north-1", &[("usw2", WEST_READ), ("cnn1", CHINA)], "")
    }

    /// Starts an agent with these credentials, and more of its configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_agent(
        &mut self,
        name: &str,
        region: &str,
        endpoints: &[(&str, (&str, &str))],
        more: &str,
    ) -> anyhow::Result<()> {
        let mut text = format!(
            "server = \"{}\"\nname = \"{name}\"\nlabels = {{ region = \"{region}\" }}\n{more}\n",
            self.url()
        );
        for (endpoint, (key, secret)) in endpoints {
            self.secrets.push((*secret).to_owned());
            write!(
                text,
                "\n[endpoints.{endpoint}]\naccess_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n"
            )?;
        }
        self.start_agent_with(name, &text)
    }

    /// Starts an agent with this configuration.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_agent_with(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let file = self.folder.join(format!("{name}.toml"));
        std::fs::write(&file, text)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        let arguments = ["agent".to_owned(), format!("--config={}", file.display())];
        let agent =
            Process::start_in(name, &self.program, &arguments, &self.folder, &self.environment)?;
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    /// Kills an agent at once.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub async fn kill_agent(&mut self, name: &str) -> anyhow::Result<()> {
        self.agents.remove(name).with_context(|| format!("{name} does not run"))?.kill().await
    }

    /// Stops an agent in order.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop_agent(&mut self, name: &str) -> anyhow::Result<std::process::ExitStatus> {
        let agent = self.agents.remove(name).with_context(|| format!("{name} does not run"))?;
        agent.terminate(PATIENCE).await
    }

    /// A client of the public API.
    ///
    /// # Errors
    /// When the URL is wrong.
    pub fn client(&self) -> anyhow::Result<ApiClient> {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        Ok(ApiClient::new(&ConnectOptions { url: self.url(), ..ConnectOptions::default() })?)
    }

    /// Runs `s3syncctl` as a process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = tokio::process::Command::new(&self.program)
            .arg("ctl")
            .arg(format!("--server={}", self.url()))
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(std::process::Stdio::null())
            .output()
            .await?;
        let shown = [output.stdout.as_slice(), &output.stderr];
        let told = shown.into_iter().any(|bytes| secrets::holds(bytes, &self.secrets));
        ensure!(!told, "s3syncctl {arguments:?} printed a secret");
        Ok(output)
    }

    /// Runs `s3syncctl`, which must succeed; returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn ctl_ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.ctl(arguments).await?;
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "s3syncctl {arguments:?}: {}\n{out}{err}", output.status);
        Ok(out.into_owned())
    }

    /// Gives the source bucket a queue that is told of each change below `srcfolder/`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start_queue(&mut self, queue: QueueConfig) -> anyhow::Result<Arc<Queues>> {
        let name = queue.name.clone();
        let config = QueuesConfig::new(QUEUES, "us-west-2").key(WEST.0, WEST.1);
        let config = config.key(WEST_READ.0, WEST_READ.1).queue(queue);
        let queues = self.lab.start_queues(config).await?;
        self.side("usw2").notify(Notification {
            bucket: SOURCE.to_owned(),
            prefix: "srcfolder/".to_owned(),
            queues: Arc::clone(&queues),
            queue: name,
        });
        Ok(queues)
    }

    /// As [`Self::apply_job`], with the events of a queue and more of the job.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn apply_job_with_events(&self, queue: &str, more: &str) -> anyhow::Result<()> {
        let url = self.lab.queues(QUEUES).queue_url(queue);
        let declared = format!("---\nkind: Queue\nname: {queue}\nurl: {url}\nendpoint: usw2\n");
        let job = self.job_file();
        let text = format!("{job}events: {{ queue: {queue} }}\n{more}{declared}");
        std::fs::write(self.folder.join("job.yaml"), text)?;
        self.ctl_ok(&["apply", "-f", "job.yaml"]).await.map(drop)
    }

    /// Declares the two endpoints and a job with a destination on each side.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn apply_job(&self) -> anyhow::Result<()> {
        let file = self.folder.join("job.yaml");
        std::fs::write(&file, self.job_file())?;
        self.ctl_ok(&["apply", "-f", "job.yaml"]).await.map(drop)
    }

    /// The example of the documentation, with the lab's addresses.
    #[must_use]
    pub fn job_file(&self) -> String {
        let example = include_str!("../../docs/examples/media.yaml");
        let mut text = example.to_owned();
        for (name, region) in [("usw2", "us-west-2"), ("cnn1", "cn-north-1")] {
            let declared = format!("name: {name}\nregion: {region}\n");
            let here = format!("{declared}url: {}\npath_style: true\n", self.side(name).url());
            text = text.replacen(&declared, &here, 1);
        }
        text
    }

    /// Everything that was logged.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "log"))
        {
            text.push_str(&format!("--- {}\n", path.display()));
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()));
        }
        text
    }
}

/// Whatever a test is about: at its end no log, no database and no report holds a secret of the lab.
impl World {
    /// Whether one of the secrets is in a text.
    #[must_use]
    pub fn holds_secret(&self, text: &str) -> bool {
        secrets::holds(text.as_bytes(), &self.secrets)
    }

    /// Where the server's pages (health, metrics) are now.
    ///
    /// # Errors
    /// When the server has not said so.
    pub fn pages(&self) -> anyhow::Result<SocketAddr> {
        let ready = std::fs::read_to_string(self.folder.join("ready.json"))?;
        let ready: serde_json::Value = serde_json::from_str(&ready)?;
        Ok(ready["http"].as_str().context("the server has no pages")?.parse()?)
    }

    /// The server's metrics, when one answers. Blocks for some milliseconds.
    fn metrics(&self) -> Option<String> {
        self.server.as_ref()?;
        let mut stream = TcpStream::connect(self.pages().ok()?).ok()?;
        stream.set_read_timeout(Some(METRICS_BOUND)).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that failed already says what it has to say.
        if std::thread::panicking() {
            return;
        }
        assert!(self.folder.exists(), "the folder went before it could be searched for secrets");
        let found = secrets::found(&self.folder, &self.secrets).expect("the folder can be read");
        assert!(found.is_empty(), "these hold a secret: {found:?}");
        if let Some(page) = self.metrics() {
            assert!(!self.holds_secret(&page), "the server's metrics hold a secret: {page}");
        }
    }
}
