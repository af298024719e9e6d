//! The servers under load: processes of their own, so that memory and start-up are theirs alone.

use super::load::{Connection, Template};
use super::machine;
use anyhow::{Context, bail};
use rustix::process::Signal;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The key of the one source.
pub(crate) const WRITE_KEY: &str = "bench-write-key-0001";
/// The same for an `Authorization` header, with a colon behind it.
pub(crate) const WRITE_KEY_BASE64: &str = "YmVuY2gtd3JpdGUta2V5LTAwMDE6";
/// The key to the management API.
pub(crate) const ADMIN_KEY: &str = "bench-admin-key-0001";

/// A server has this long to answer its first request.
const START_MAX: Duration = Duration::from_secs(120);

/// A running server; dropping it kills it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    /// From the start of the process to its first 200.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts the yardstick.
    pub(crate) fn yardstick(log: &Path) -> anyhow::Result<Self> {
        Self::start(log, 0, |command, address| {
            command.args(["bench", "ingest", "--yardstick", address]);
        })
    }

    /// Starts Flowstate on a directory, as a user would. `run` keeps the id of its first event apart.
    pub(crate) fn flowstate(data: &Path, log: &Path, run: u64, settings: &[&str]) -> anyhow::Result<Self> {
        Self::start(log, run, |command, address| {
            command.args(["serve", "--listen", address, "--log-level", "warn", "--data"]).arg(data);
            command.args(settings);
        })
    }

    fn start(log: &Path, run: u64, arguments: impl FnOnce(&mut Command, &str)) -> anyhow::Result<Self> {
        // A port that is free now; the server must be told one, and nobody else takes ports here.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        arguments(&mut command, &address.to_string());
        isolate(&mut command);
        command
            .env("FLOWSTATE_WRITE_KEY", WRITE_KEY)
            .env("FLOWSTATE_ADMIN_KEY", ADMIN_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(log)?);
        let begun = Instant::now();
        let child = command.spawn().context("starting a server")?;
        let mut server = Self { address, child, started_in: Duration::ZERO };
        server.wait_for_first_answer(run, begun).with_context(|| format!("see `{}`", log.display()))?;
        server.started_in = begun.elapsed();
        Ok(server)
    }

    fn wait_for_first_answer(&mut self, run: u64, begun: Instant) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut template = Template::single(WRITE_KEY_BASE64).for_run(run);
        loop {
            let answer = runtime
                .block_on(async { Connection::open(self.address).await?.exchange(template.next()).await });
            match answer {
                Ok(200) => return Ok(()),
                _ if begun.elapsed() > START_MAX => bail!("the server did not start in time"),
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start with {status}");
            }
        }
    }

    /// The most memory it has had resident, in bytes.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        let pid = self.child.id();
        machine::peak_memory(pid)
            .with_context(|| format!("`/proc/{pid}/status` does not tell the peak memory"))
    }

    /// The most memory it has had resident since this was last asked, in bytes.
    pub(crate) fn take_peak_memory(&self) -> anyhow::Result<u64> {
        let peak = self.peak_memory()?;
        // What this writes is described in proc_pid_clear_refs(5).
        let file = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(&file, "5").with_context(|| format!("writing `{file}`"))?;
        Ok(peak)
    }

    /// The memory it has resident now, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let pid = self.child.id();
        machine::memory(pid).with_context(|| format!("`/proc/{pid}/status` does not tell the memory"))
    }

    /// The compactions it has made, of all tables.
    pub(crate) fn compactions(&self) -> anyhow::Result<u64> {
        Ok(self.metrics()?.sum("flowstate_log_compactions_total") as u64)
    }

    /// Its metrics now.
    pub(crate) fn metrics(&self) -> anyhow::Result<Metrics> {
        let url = format!("http://{}/metrics", self.address);
        let text = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let answer = pipeline::egress::local_client()?.get(url).send().await?;
            anyhow::Ok(answer.error_for_status()?.text().await?)
        })?;
        Ok(Metrics(text))
    }

    /// Ends it as an operator would, waits until it has committed everything, and returns the most
    /// memory it had resident up to its end, in bytes.
    pub(crate) fn stop(mut self) -> anyhow::Result<u64> {
        let mut peak = self.peak_memory()?;
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), Signal::TERM)?;
        let status = loop {
            peak = peak.max(machine::peak_memory(self.child.id()).unwrap_or(0));
            match self.child.try_wait()? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(peak)
    }

    /// Ends it with `kill -9`.
    pub(crate) fn kill(mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Metrics in the text format of Prometheus.
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum over all labels; 0 before its first count.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        // The sum of no values is -0.
        self.values(name).fold(0.0, |sum, value| sum + value)
    }

    /// The largest value over all labels; 0 where there is none.
    pub(crate) fn most(&self, name: &str) -> f64 {
        self.values(name).fold(0.0, f64::max)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = f64> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse().ok())?
        })
    }
}

/// This program, to be run without what the caller has set for servers of their own.
pub(crate) fn isolated() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    isolate(&mut command);
    Ok(command)
}

/// Takes away what the caller has set for servers of their own: variables, and the settings file of
/// the working directory, in whose place an empty one is read.
fn isolate(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLOWSTATE_") {
            command.env_remove(name);
        }
    }
    command.env("FLOWSTATE_CONFIG", "/dev/null");
}

/// Asks the log of a stopped server for one number.
pub(crate) fn count(data: &Path, arguments: &[&str], query: &str) -> anyhow::Result<u64> {
    let output = isolated()?
        .args(["sql", query, "--format", "csv", "--log-level", "warn", "--data"])
        .arg(data)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.lines().last().and_then(|line| line.trim().parse().ok());
    number.with_context(|| format!("`{query}` answered `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn a_metric_is_taken_over_its_labels() {
        let text = "# TYPE made_total counter\nmade_total{table=\"a\"} 2\nmade_total{table=\"b\"} 3.5\nmade_total_else 9\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!((metrics.sum("made_total"), metrics.most("made_total")), (5.5, 3.5));
        assert_eq!((metrics.sum("unmade_total"), metrics.most("unmade_total")), (0.0, 0.0));
        assert!(metrics.sum("unmade_total").is_sign_positive(), "it is shown as 0, not as -0");
    }
}
