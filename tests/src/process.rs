//! Real processes: started, killed by pid, with their logs kept in files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// A running program of ours. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `arguments`; stdout and stderr are appended to `folder/NAME.log`. The environment has
    /// nothing that could reach a real cloud.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_in(name, program, arguments, folder, &[])
    }

    /// As [`Self::start`], with these variables in its environment.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn start_in(
        name: &str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).context("open the log")?;
        let child = Command::new(program)
            .args(arguments)
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_ENDPOINT_URL")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// All it has logged, including earlier lives under the same name.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Kills it at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it had ended by itself before.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} had ended by itself: {status}\n{}", self.name, self.log());
        }
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it does not end within `bound`.
    pub async fn terminate(mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} had ended by itself\n{}", self.name, self.log()))?;
        let kill = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
        if !kill.success() {
            bail!("kill -TERM {id}: {kill}");
        }
        match tokio::time::timeout(bound, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                bail!("{} did not end within {bound:?} of SIGTERM\n{}", self.name, self.log())
            }
        }
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it does not within `bound`.
    pub async fn wait(&mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(bound, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not end within {bound:?}\n{}", self.name, self.log()),
        }
    }

    /// Highest resident memory of its life so far in bytes (`VmHWM`), and CPU seconds used (user and system).
    ///
    /// # Errors
    /// When `/proc` does not have it.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let id = self.id().context("it has ended")?;
        usage_of(id)
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Highest resident memory in bytes.
    pub peak_bytes: u64,
    /// CPU seconds, user and system.
    pub cpu_seconds: f64,
}

/// What the process of this id has used so far.
///
/// # Errors
/// When `/proc` does not have it.
pub fn usage_of(id: u32) -> anyhow::Result<Usage> {
    /// Linux counts CPU time in ticks of 1/100 s (`getconf CLK_TCK`).
    const TICKS_PER_SECOND: f64 = 100.0;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let peak_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok())
        .context("no VmHWM")?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is the program's name in parentheses and may hold blanks.
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks = |index: usize| {
        fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("no ticks")
    };
    Ok(Usage {
        peak_bytes: peak_kib * 1024,
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
    })
}
