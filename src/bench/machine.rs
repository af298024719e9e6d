//! What the figures were measured on, from `/proc`.

use std::fs::read_to_string;
use std::path::Path;

/// A line about the machine.
pub(crate) fn describe() -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)).unwrap_or(0);
    format!("{cpu}, {cores} cores, {} MiB of memory, Linux {kernel}", memory / 1024)
}

/// The load averages of the last 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
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
