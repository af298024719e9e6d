//! Whether the address to listen on is free, or who has it.

use super::report::Report;
use crate::serve::Announcement;
use crate::settings::Settings;
use std::net::{SocketAddr, TcpListener};

const CHECK: &str = "port";

pub(super) fn look(settings: &Settings, server: Option<&Announcement>, report: &mut Report) {
    let wanted = settings.listen;
    match TcpListener::bind(wanted) {
        Ok(_) => report.ok(CHECK, format!("`{wanted}` is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let holder = holder(wanted);
            let ours = server.is_some_and(|server| {
                holder
                    .as_ref()
                    .map_or_else(|| server.url.ends_with(&wanted.to_string()), |(pid, _)| *pid == server.pid)
            });
            let by =
                holder.map_or("another process".to_owned(), |(pid, name)| format!("process {pid}, `{name}`"));
            if ours {
                report.ok(CHECK, format!("`{wanted}` is held by the running server, {by}"));
            } else {
                report.fail(
                    CHECK,
                    format!("`{wanted}` is held by {by}"),
                    "end it, or set `listen` to another address",
                );
            }
        }
        Err(error) => {
            report.fail(
                CHECK,
                format!("`{wanted}` cannot be taken: {error}"),
                "set `listen` to an address of this machine",
            );
        }
    }
}

/// The process that listens there, where `/proc` tells it and this user may see it.
fn holder(wanted: SocketAddr) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, wanted.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.into_iter().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.find(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))?;
        let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
        Some((pid, name.trim().to_owned()))
    })
}

/// The inodes of sockets that listen on a port, in a table of `/proc/net` (proc(5)).
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, at) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(at, 16) == Ok(port) && *fields.get(3)? == LISTEN;
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_held_is_told_with_its_process() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(holder(address).unwrap().0, std::process::id());
        let settings = Settings::load(None, [], &[("listen", address.to_string())]).unwrap();
        let mut report = Report::default();
        look(&settings, None, &mut report);
        assert!(report.has_failed() && report.text().contains(&std::process::id().to_string()));
        drop(held);
    }
}
