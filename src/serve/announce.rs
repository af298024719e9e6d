//! `server.json` in the data directory: where the running server is, for commands on the same machine.

use anyhow::Context;
use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FILE: &str = "server.json";

/// What a running server says of itself.
#[derive(Deserialize, Serialize)]
pub(crate) struct Announcement {
    /// Where it answers on this machine.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: u32,
    /// An API key that holds as long as the process lives.
    pub(crate) api_key: String,
}

impl Announcement {
    /// The server of a data directory, if its process is there. Whether it still is that server, only
    /// asking it tells: after a crash the file stays, and process numbers and ports are used again.
    pub(crate) fn read(data: &Path) -> anyhow::Result<Option<Self>> {
        let path = data.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
        };
        let read: Self = serde_json::from_slice(&text)
            .with_context(|| format!("`{}` is no announcement of a server", path.display()))?;
        Ok(is_alive(read.pid).then_some(read))
    }

    /// Asks the server, which knows its own key; `path` begins with a slash.
    pub(crate) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let client = pipeline::egress::local_client()?;
        Ok(client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.api_key))
    }
}

/// Whether there is such a process. One of another user is there too, though it takes no signal.
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// The announcement of this process.
pub(super) struct Announced(PathBuf);

/// Writes the announcement, readable by its owner only. It appears whole or not at all.
pub(super) fn write(data: &Path, url: &str, api_key: &str) -> anyhow::Result<Announced> {
    let announcement =
        Announcement { url: url.to_owned(), pid: std::process::id(), api_key: api_key.to_owned() };
    let (path, draft) = (data.join(FILE), data.join("server.json.new"));
    let written = || -> std::io::Result<()> {
        if let Err(error) = std::fs::remove_file(&draft)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(&announcement)?)?;
        std::fs::rename(&draft, &path)
    };
    written().with_context(|| format!("`{}` cannot be written", path.display()))?;
    Ok(Announced(path))
}

impl Announced {
    /// Takes the announcement back.
    pub(super) fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "`{}` could not be removed", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_announcement_is_private_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Announcement::read(dir.path()).unwrap().is_none());
        std::fs::write(dir.path().join("server.json.new"), "left by a crash").unwrap();
        let announced = write(dir.path(), "http://127.0.0.1:1", "key").unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Announcement::read(dir.path()).unwrap().unwrap();
        assert_eq!((read.url.as_str(), read.pid), ("http://127.0.0.1:1", std::process::id()));
        let crashed = Announcement { pid: i32::MAX as u32, ..read };
        std::fs::write(dir.path().join(FILE), serde_json::to_vec(&crashed).unwrap()).unwrap();
        assert!(Announcement::read(dir.path()).unwrap().is_none(), "its process is gone");
        announced.remove();
        assert!(!dir.path().join(FILE).exists());
        assert!(Announcement::read(dir.path()).unwrap().is_none());
    }
}
