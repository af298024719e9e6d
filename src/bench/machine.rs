//! What the figures were measured on, from `/proc`.

use std::fs::read_to_string;
use std::path::Path;

/// What the machine did when a measurement began.
pub(crate) struct Before {
    load: String,
    stolen: Stolen,
}

impl Before {
    pub(crate) fn now() -> Self {
        Self { load: load(), stolen: Stolen::watch() }
    }

    /// A line about the machine, and what else it did from then to now.
    pub(crate) fn describe(mut self) -> String {
        format!(
            "Machine: {}; load before {}, after {}; {:.1} % of its CPU time was stolen: its host gave it to others.",
            describe(),
            self.load,
            load(),
            self.stolen.take()
        )
    }
}

/// The CPU time that a virtual machine wanted and its host gave to others; none on a machine of its own.
pub(crate) struct Stolen {
    /// What `/proc/stat` said when it was last asked.
    ticks: Ticks,
}

/// CPU time since the machine's start, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Stolen {
    /// Counts from now on.
    pub(crate) fn watch() -> Self {
        Self { ticks: Ticks::now() }
    }

    /// Its share of all CPU time since this was last asked, in percent.
    pub(crate) fn take(&mut self) -> f64 {
        let before = std::mem::replace(&mut self.ticks, Ticks::now());
        self.ticks.stolen_since(before)
    }
}

impl Ticks {
    fn now() -> Self {
        Self::parse(&read("/proc/stat"))
    }

    /// The first line has the time of all cores, by use; see proc_stat(5).
    fn parse(stat: &str) -> Self {
        let uses = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
        // Time of guests is counted in the first two, too.
        let uses: Vec<u64> = uses.take(8).filter_map(|ticks| ticks.parse().ok()).collect();
        Self { all: uses.iter().sum(), stolen: uses.get(7).copied().unwrap_or(0) }
    }

    fn stolen_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64 * 100.0
    }
}

fn describe() -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)).unwrap_or(0);
    format!("{cpu}, {cores} cores, {} MiB of memory, Linux {kernel}", memory / 1024)
}

/// The load averages of the last 1, 5 and 15 minutes.
fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The most memory a process has had resident, in bytes.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/status"), "VmHWM").and_then(|text| kibibytes(&text)).map(|kib| kib * 1024)
}

/// The memory a process has resident, in bytes.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS").and_then(|text| kibibytes(&text)).map(|kib| kib * 1024)
}

/// The bytes of all files below a directory.
pub(crate) fn disk_usage(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_usage(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn read(path: &str) -> String {
    read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn stolen_time_is_a_share_of_all_time_without_that_of_guests_twice() {
        let before = Ticks::parse("cpu  10 0 10 70 0 0 0 10 5 5\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        assert_eq!(before, Ticks { all: 100, stolen: 10 });
        let after = Ticks::parse("cpu  20 0 20 130 0 0 0 30 9 9\n");
        assert_eq!(after.stolen_since(before), 20.0);
        assert_eq!(before.stolen_since(before), 0.0);
        assert_eq!(Ticks::parse(""), Ticks::default());
    }
}
